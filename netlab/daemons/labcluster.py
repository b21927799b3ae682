"""The cluster that a lab runs on, as its checks see it: the API, and where on this machine its nodes and pods are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from netlab.base.addresses import Address
from netlab.base.clusters import SWITCH
from netlab.base.patience import patience
from netlab.client.kubeconfig import load
from netlab.client.resources import Served, discover, distinct
from netlab.client.rest import ApiError, ApiUnavailable, RestClient
from netlab.cluster import plan
from netlab.cluster.machine import Machine
from netlab.cluster.plan import Cluster, Node
from netlab.daemons import kubectl
from netlab.daemons.podnetwork import wired
from netlab.lab.checks.result import CannotProbe
from netlab.lab.machine import Spot

Json = dict[str, Any]

#: seconds that one answer of the API may take
ANSWER = 10.0
#: in a node: what each pod has of its own
_KUBELET = "/var/lib/kubelet"
#: where the BGP speaker of a node answers
_BGP = "/run/netlab/bgp"
#: in /etc of its containers, and in its directory
_FILES = {"resolv.conf": "resolv.conf", "hosts": "etc-hosts"}


class LabCluster:
    """See `netlab.lab.machine.Cluster`. agent: as whom objects are written."""

    def __init__(self, cluster: Cluster, machine: Machine, *, agent: str = "netlab-lab") -> None:
        self.cluster, self._machine, self._agent = cluster, machine, agent
        self._client: RestClient | None = None
        self._served: list[Served] = []

    # -- the API

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        config = load(self.cluster.kubeconfig)
        self._client, self._served = RestClient(config, timeout=patience(ANSWER), user_agent=self._agent), []
        try:
            yield
        finally:
            await self._client.aclose()
            self._client = None

    @property
    def client(self) -> RestClient:
        """Within `opened`."""
        assert self._client is not None, "requests are made within opened()"
        return self._client

    async def served(self, *, anew: bool = False) -> list[Served]:
        """What the server has, in all versions."""
        if anew or not self._served:
            self._served = await discover(self.client)
        return self._served

    async def _resource(self, kind: str) -> Served:
        for anew in (False, True):  # a definition may have come since
            found = [s for s in distinct(await self.served(anew=anew)) if _is(s, kind)]
            if found:
                return found[0]
        raise CannotProbe(f"the server has no kind {kind!r}", hint="kubectl api-resources lists them")

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Json | None:
        with _probing():
            served = await self._resource(kind)
            try:
                return await self.client.get(served.resource.path(namespace if served.namespaced else None, name))
            except ApiError as e:
                if e.code == 404:
                    return None
                raise

    async def all(self, kind: str, *, namespace: str = "", selector: str = "") -> list[Json]:
        with _probing():
            served = await self._resource(kind)
            at = served.resource.path(namespace if served.namespaced else None)
            return list((await self.client.list(at, label_selector=selector))["items"])

    def kubectl(self, words: Sequence[str], *, timeout: float) -> tuple[int, str]:
        return kubectl.said(words, environ=kubectl.environment(self.cluster.places.run), timeout=timeout)

    # -- this machine

    def bgp(self, node: str) -> Path | None:
        pid = self._init(self.cluster.node(node)) if node in self.cluster.options.nodes else None
        # a socket in the node's own /run, which is seen through its first process
        return Path(f"/proc/{pid}/root{_BGP}/{node}.sock") if pid is not None else None

    def netns(self, node: str) -> str:
        return f"{self.cluster.name}.{node}"

    def addresses(self, node: str) -> list[Address]:
        if node == SWITCH:
            return [network[1] for network in plan.families(self.cluster.options)]
        if node in self.cluster.options.outside:
            return [ip_address(self.cluster.options.outside[node].address)]
        return list(self.cluster.node(node).ips)

    def spot(self, pod: Mapping[str, Any]) -> Spot | None:
        name = (pod.get("spec") or {}).get("nodeName")
        node = next((node for node in self.cluster.nodes if node.name == name), None)
        if node is None:
            return None
        own = node.own[_KUBELET] / "pods" / pod["metadata"]["uid"]
        files = {name: own / file for name, file in _FILES.items() if (own / file).is_file()}
        if pod["spec"].get("hostNetwork"):
            return Spot(node.netns, node.name, "", files)
        init = self._init(node)
        found = wired(node, init, pod) if init is not None else None
        return Spot(found.netns, node.name, found.veth, files) if found else None

    def _init(self, node: Node) -> int | None:
        found = self._machine.processes(self.cluster.places.run).get(node.init, {})
        return found["pid"] if found.get("state") == "running" else None


def _is(served: Served, kind: str) -> bool:
    word, _, group = kind.partition(".")
    named = word.lower() in (served.kind.lower(), served.resource.plural)
    return (named and group in ("", served.resource.group)) or kind == str(served.resource)


@contextlib.contextmanager
def _probing() -> Any:
    """What the API does not answer is not known; it may be a moment later."""
    try:
        yield
    except (ApiError, ApiUnavailable) as e:
        raise CannotProbe(e.message, hint=e.hint) from e
