"""ServiceAccount: every pod runs as one, with its token in a volume unless it does not want it."""

from __future__ import annotations

import asyncio

from netlab.api import Json, status
from netlab.apiserver import objects
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister
from netlab.apiserver.metadata import generated
from netlab.store.protocol import Store

VOLUME = "kube-api-access-"
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
#: seconds of the token in a pod, as the original's (an hour and the time of a refresh)
TOKEN_SECONDS = 3607
#: a namespace's own account is made a moment after it: how often it is looked for, and seconds between two looks
DEFAULT, LOOKS, LOOK = "default", 10, 0.15


def token_volume(name: str) -> Json:
    """The volume with the token, the CA and the namespace."""
    return {
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                {"downwardAPI": {"items": [
                    {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"},
                ]}},
            ],
        },
    }  # fmt: skip


class ServiceAccounts(Plugin):
    """accounts: their cache; required: whether a pod without an account is refused."""

    def __init__(self, store: Store, accounts: Lister, *, required: bool) -> None:
        self.store, self.accounts, self.required = store, accounts, required

    async def mutate(self, a: Attributes) -> None:
        """Name the account, mount the token."""
        if a.group_kind != ("", "Pod") or a.operation != "CREATE" or a.subresource or a.obj is None:
            return
        spec, meta = a.obj["spec"], a.obj["metadata"]
        if "kubernetes.io/config.mirror" in (meta.get("annotations") or {}):
            return
        name = spec.get("serviceAccountName") or DEFAULT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = self.accounts.get(a.namespace, name) or await self._read(a.namespace, name)
        if account is None:
            if not self.required:
                return
            why = f'error looking up service account {a.namespace}/{name}: serviceaccount "{name}" not found'
            raise status.forbidden("pods", "", meta.get("name", ""), why)
        mount = spec.get("automountServiceAccountToken")
        if mount is None:
            mount = account.get("automountServiceAccountToken")
        if mount is not False:
            _mount(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(s) for s in account["imagePullSecrets"]]

    async def _read(self, namespace: str, name: str) -> Json | None:
        for look in range(LOOKS if self.required and name == DEFAULT else 1):
            if look:
                await asyncio.sleep(LOOK)
            kv, _ = await self.store.get(f"/registry/serviceaccounts/{namespace}/{name}")
            if kv is not None:
                return objects.load(kv)
        return None


def _mount(spec: Json) -> None:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    without = [c for c in containers if all(m.get("mountPath") != MOUNT for m in c.get("volumeMounts") or ())]
    if not without:
        return
    # a webhook may have added a container since the volume was made
    there = next((v["name"] for v in spec.get("volumes") or () if v["name"].startswith(VOLUME)), "")
    volume = there or generated(VOLUME)
    for container in without:
        container.setdefault("volumeMounts", []).append({"name": volume, "readOnly": True, "mountPath": MOUNT})
    if not there:
        spec.setdefault("volumes", []).append(token_volume(volume))
