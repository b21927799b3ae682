"""What pods refer to, by hand: for the tests of how they are made."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from netlab.api import Json
from netlab.base.errors import NetlabError
from netlab.kubelet.making import NodeFacts

NODE = NodeFacts(
    name="node1", ips=(ip_address("192.0.2.11"), ip_address("2001:db8::11")), memory=4 << 30,
    allocatable={"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"}, dns=(ip_address("10.96.0.10"),),
)  # fmt: skip


class Given:
    """A World. tokens: what was asked for, in order; refusal: what asking comes to, if it is set."""

    def __init__(self, now: Callable[[], float] = lambda: 1_000_000.0) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.tokens: list[Json] = []
        self.refusal = ""
        self._now = now

    def put(self, kind: str, name: str, namespace: str = "default", **content: Any) -> None:
        """Have an object, or another of its name."""
        self.objects[kind, namespace, name] = {"metadata": {"name": name, "namespace": namespace}, **content}

    def put_secret(self, name: str, **texts: str) -> None:
        """Have a Secret of texts."""
        self.put("secret", name, data={k: base64.b64encode(t.encode()).decode() for k, t in texts.items()})

    def configmap(self, namespace: str, name: str) -> Json | None:
        return self.objects.get(("configmap", namespace, name))

    def secret(self, namespace: str, name: str) -> Json | None:
        return self.objects.get(("secret", namespace, name))

    def services(self, namespace: str) -> Sequence[Json]:
        return [obj for (kind, of, _), obj in self.objects.items() if (kind, of) == ("service", namespace)]

    def claim(self, namespace: str, name: str) -> Json | None:
        return self.objects.get(("claim", namespace, name))

    def volume(self, name: str) -> Json | None:
        return self.objects.get(("volume", "default", name))

    async def token(self, namespace: str, service_account: str, request: Json) -> Json:
        if self.refusal:
            raise NetlabError(self.refusal)
        self.tokens.append({"namespace": namespace, "account": service_account, **request})
        end = datetime.fromtimestamp(self._now() + request["expirationSeconds"], UTC)
        text = f"{namespace}/{service_account}#{len(self.tokens)}"
        return {"token": text, "expirationTimestamp": end.isoformat().replace("+00:00", "Z")}


def pod(*containers: Json, uid: str = "u1", **spec: Any) -> Json:
    """web-0 of default, as the API server gives it; containers: what is not the default."""
    return {
        "metadata": {"name": "web-0", "namespace": "default", "uid": uid, "labels": {"app": "web", "tier": 'a "b"'}},
        "spec": {
            "nodeName": "node1", "serviceAccountName": "default", "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": True,
            "containers": [
                {"name": f"c{number}" if number else "main", "image": "busybox", **c}
                for number, c in enumerate(containers or ({},))
            ],
            **spec,
        },
    }  # fmt: skip
