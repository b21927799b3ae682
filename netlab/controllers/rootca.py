"""The root CA publisher: every namespace has a ConfigMap `kube-root-ca.crt` by which its pods know the API server.

Source: kubernetes pkg/controller/certificates/rootcacertpublisher.
"""

from __future__ import annotations

from netlab.client.informer import Interest
from netlab.client.resources import Resource
from netlab.controllers.shape import NAMESPACES, Tools, Watch, create_missing, namespace_key

CONFIG_MAPS = Resource("v1", "configmaps")
NAME = "kube-root-ca.crt"
_DESCRIPTION = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
    "distributions of Kubernetes clusters."
}
PUBLISHED = Interest(CONFIG_MAPS, field_selector=f"metadata.name={NAME}")


class RootCa:
    """Keys are names of namespaces."""

    NAME = "root-ca-certificate-publisher-controller"
    WATCHES = (Watch(Interest(NAMESPACES)), Watch(PUBLISHED, namespace_key))

    def __init__(self, tools: Tools) -> None:
        self._client, self._data = tools.client, {"ca.crt": tools.ca.decode("ascii")}
        self._namespaces, self._published = tools.store(Interest(NAMESPACES)), tools.store(PUBLISHED)

    async def reconcile(self, key: str) -> float | None:
        """Publish it, or put it right."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return None
        there = self._published.get(f"{key}/{NAME}")
        if there is None:
            meta = {"name": NAME, "namespace": key, "annotations": _DESCRIPTION}
            config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": self._data}
            await create_missing(self._client, CONFIG_MAPS.path(key), config)
        elif there.get("data") != self._data or (there["metadata"].get("annotations") or {}) != _DESCRIPTION:
            meta = {**there["metadata"], "annotations": _DESCRIPTION}
            await self._client.replace(CONFIG_MAPS.path(key, NAME), {**there, "metadata": meta, "data": self._data})
        return None
