"""Mirroring: Endpoints that a person made for a Service without a selector, as slices, for those who read only these.

Source: kubernetes pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from netlab.client.informer import Interest
from netlab.client.resources import split_key
from netlab.client.rest import Object
from netlab.compile.endpoints import MIRRORED_BY, mirrored
from netlab.compile.objects import LABEL_MANAGED_BY, LABEL_SERVICE
from netlab.controllers.serving import ENDPOINTS, SLICES, labels_of, service_key, settle
from netlab.controllers.shape import SERVICES, Tools, Watch

MIRRORS = Interest(SLICES, label_selector=f"{LABEL_MANAGED_BY}={MIRRORED_BY}")
#: whoever makes both by themselves says so
SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"


class EndpointSliceMirroring:
    """Keys are those of Services, which are those of their Endpoints."""

    NAME = "endpointslicemirroring-controller"
    WATCHES = (Watch(Interest(ENDPOINTS)), Watch(Interest(SERVICES)), Watch(MIRRORS, service_key))

    def __init__(self, tools: Tools) -> None:
        self._client = tools.client
        self._endpoints, self._services = tools.store(Interest(ENDPOINTS)), tools.store(Interest(SERVICES))
        self._mirrors = tools.store(MIRRORS)

    async def reconcile(self, key: str) -> float | None:
        """Write the slices that say what the Endpoints say, or take them away."""
        namespace, name = split_key(key)
        endpoints = self._endpoints.get(key)
        wanted = mirrored(endpoints) if endpoints is not None and self._wanted(key, endpoints) else []
        existing = [p for p in self._mirrors.find("namespace", namespace) if labels_of(p).get(LABEL_SERVICE) == name]
        await settle(self._client, key, MIRRORED_BY, cached=existing, wanted=wanted)
        return None

    def _wanted(self, key: str, endpoints: Object) -> bool:
        service = self._services.get(key)
        if service is None or (service.get("spec") or {}).get("selector"):
            return False
        meta = endpoints["metadata"]
        return labels_of(endpoints).get(SKIP) != "true" and _LEADER not in (meta.get("annotations") or {})
