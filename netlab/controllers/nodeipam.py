"""Every node gets its pods' prefix: spec.podCIDR and podCIDRs, once, out of the cluster's.

No prefix is handed out twice: nothing is, before the cache has all nodes with theirs; what is on its way to a node is
held until the cache shows it or the node is gone, however often the server is asked; and the request names the node's
uid, so that it cannot reach another one of the same name. A node that came with a prefix keeps it. Without
prefixes of the cluster (--cluster-cidr) this does nothing. Source: kubernetes pkg/controller/nodeipam/ipam.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.client.informer import Interest
from netlab.client.rest import ApiError, Object
from netlab.controllers.podranges import Pools, networks_of
from netlab.controllers.shape import NODES, Hopeless, Tools, Watch


class NodeIpam:
    """Keys are names of nodes."""

    NAME = "node-ipam-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says = tools.client, tools.says
        self._pools = Pools(tools.pod_ranges)
        self._nodes = tools.store(Interest(NODES)) if tools.pod_ranges else None
        #: nodes for which nothing was left
        self._waiting: set[str] = set()
        self.WATCHES = (Watch(Interest(NODES), self._of_node),) if tools.pod_ranges else ()

    def _of_node(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Keeps who holds what; what a node gives back is for those who wait."""
        if new is None:
            if old is not None:
                self._pools.release(_holder(old))
            waiting, self._waiting = self._waiting, set()
            return waiting
        has = networks_of(new.get("spec") or {})
        if has:
            self._pools.hold(_holder(new), has)
            return ()
        return (str(new["metadata"]["name"]),)

    async def reconcile(self, key: str) -> float | None:
        """Give the node its prefixes if it has none."""
        node = None if self._nodes is None else self._nodes.get(key)
        if node is None or networks_of(node.get("spec") or {}):
            return None
        networks = self._pools.of(_holder(node)) or self._pools.take(_holder(node))
        if not networks:
            self._waiting.add(key)
            self._says.normal(node, "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable")
            raise Hopeless(f"no prefix is left for the pods of node {key}", hint="choose a larger --cluster-cidr")
        texts = [str(network) for network in networks]
        patch = {"metadata": {"uid": node["metadata"]["uid"]}, "spec": {"podCIDR": texts[0], "podCIDRs": texts}}
        try:
            await self._client.patch(NODES.path("", key), patch)
        except ApiError as e:
            if e.code != 404:  # it is gone
                raise
        return None


def _holder(node: Object) -> str:
    return str(node["metadata"]["uid"])
