"""Endpoints: the older, shorter way to say which pods serve a Service; many clients still read it.

Not done: the original cuts Endpoints off after a thousand addresses. Source: kubernetes
pkg/controller/endpoint/endpoints_controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.client.informer import Interest
from netlab.client.resources import split_key
from netlab.client.rest import ApiError, Object
from netlab.compile.endpoints import ENDPOINTS_BY, LABEL_ENDPOINTS_BY, subsets
from netlab.compile.objects import LABEL_HEADLESS
from netlab.controllers.serving import ENDPOINTS, parsed, services_of
from netlab.controllers.shape import LEAN_PODS, SERVICES, Tools, Watch, create_missing, own_key


class Endpoints:
    """Keys are those of Services, which are those of their Endpoints."""

    NAME = "endpoints-controller"

    def __init__(self, tools: Tools) -> None:
        self._client = tools.client
        self._services, self._pods = tools.store(Interest(SERVICES)), tools.store(LEAN_PODS)
        self._endpoints = tools.store(Interest(ENDPOINTS))
        self.WATCHES = (
            Watch(Interest(SERVICES)), Watch(LEAN_PODS, self._of_pod), Watch(Interest(ENDPOINTS), self._of_endpoints),
        )  # fmt: skip

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        return services_of(self._services, old, new)

    def _of_endpoints(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Endpoints without a Service may have been made before it: they are left alone."""
        return [key for key in own_key(old, new) if self._services.get(key) is not None]

    async def reconcile(self, key: str) -> float | None:
        """Write the Endpoints of a Service that has a selector, and remove those of one that is gone."""
        namespace, name = split_key(key)
        service, there = self._services.get(key), self._endpoints.get(key)
        if service is None:
            await self._remove(key, there)
            return None
        spec = service.get("spec") or {}
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return None  # they are a person's own
        parts = subsets(parsed(service), [parsed(pod) for pod in self._pods.find("namespace", namespace)])
        labels = {**(service["metadata"].get("labels") or {}), LABEL_ENDPOINTS_BY: ENDPOINTS_BY}
        if spec.get("clusterIP") == "None":
            labels[LABEL_HEADLESS] = ""
        if there is None:
            meta = {"name": name, "namespace": namespace, "labels": labels}
            made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": parts}
            await create_missing(self._client, ENDPOINTS.path(namespace), made)
        elif (there.get("subsets") or []) != parts or (there["metadata"].get("labels") or {}) != labels:
            changed = {**there, "metadata": {**there["metadata"], "labels": labels}, "subsets": parts}
            await self._client.replace(ENDPOINTS.at(key), changed)
        return None

    async def _remove(self, key: str, there: Object | None) -> None:
        """Endpoints have no owner: whoever had a Service of that name loses them with it, as the original does."""
        if there is None:
            return
        if "control-plane.alpha.kubernetes.io/leader" in (there["metadata"].get("annotations") or {}):
            return  # somebody elects a leader by them
        try:
            await self._client.delete(ENDPOINTS.at(key), uid=there["metadata"]["uid"])
        except ApiError as e:
            if e.code != 404:
                raise
