"""EndpointSlices: which pods serve a Service, where, and whether they are ready.

What the slices should be is `netlab.compile.endpoints`, the same that labs without a server use. Source: kubernetes
pkg/controller/endpointslice/endpointslice_controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.client.informer import Interest
from netlab.client.resources import key_of, split_key
from netlab.client.rest import Object
from netlab.compile.endpoints import MANAGED_BY, slices
from netlab.compile.objects import LABEL_MANAGED_BY, LABEL_SERVICE, LABEL_ZONE
from netlab.controllers.serving import SLICES, labels_of, parsed, service_key, services_of, settle
from netlab.controllers.shape import LEAN_PODS, NODES, SERVICES, Tools, Watch

OURS = Interest(SLICES, label_selector=f"{LABEL_MANAGED_BY}={MANAGED_BY}")


class EndpointSlices:
    """Keys are those of Services."""

    NAME = "endpointslice-controller"

    def __init__(self, tools: Tools) -> None:
        self._client = tools.client
        self._services, self._pods = tools.store(Interest(SERVICES)), tools.store(LEAN_PODS)
        self._nodes, self._slices = tools.store(Interest(NODES)), tools.store(OURS)
        self.WATCHES = (
            Watch(Interest(SERVICES)), Watch(LEAN_PODS, self._of_pod), Watch(Interest(NODES), self._of_node),
            Watch(OURS, service_key),
        )  # fmt: skip

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        return services_of(self._services, old, new)

    def _of_node(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """A node's zone is in the slices of every Service that has a pod there: all are looked at."""
        if labels_of(old).get(LABEL_ZONE) != labels_of(new).get(LABEL_ZONE):
            for service in self._services:
                yield key_of(service)

    async def reconcile(self, key: str) -> float | None:
        """Write the slices of a Service."""
        namespace, name = split_key(key)
        service = self._services.get(key)
        if service is None or service["metadata"].get("deletionTimestamp"):
            return None  # its slices have it as their owner
        pods = [parsed(pod) for pod in self._pods.find("namespace", namespace)]
        nodes = {node["metadata"]["name"]: parsed(node) for node in self._nodes}
        wanted = slices(parsed(service), pods, nodes)
        existing = [p for p in self._slices.find("namespace", namespace) if labels_of(p).get(LABEL_SERVICE) == name]
        await settle(self._client, key, MANAGED_BY, cached=existing, wanted=wanted)
        return None
