"""NamespaceLifecycle: nothing is made in a namespace that is not there or going; three namespaces never go."""

from __future__ import annotations

from netlab.api import status
from netlab.apiserver import objects
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister
from netlab.store.protocol import Store

IMMORTAL = ("default", "kube-system", "kube-public")


class NamespaceLifecycle(Plugin):
    """namespaces: their cache; the store is asked where it has no answer."""

    def __init__(self, store: Store, namespaces: Lister) -> None:
        self.store, self.namespaces = store, namespaces

    async def mutate(self, a: Attributes) -> None:
        """Refuse, before anything else is looked at."""
        r = a.kind.resource
        core_namespace = r.kind == "Namespace" and r.group == ""
        if a.operation == "DELETE" and core_namespace and a.name in IMMORTAL:
            raise status.forbidden("namespaces", "", a.name, "this namespace may not be deleted")
        if a.operation != "CREATE" or not r.namespaced or not a.namespace:
            return
        namespace = self.namespaces.get(a.namespace)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            kv, _ = await self.store.get(f"/registry/namespaces/{a.namespace}")
            if kv is None:
                raise status.not_found("namespaces", "", a.namespace)
            namespace = objects.load(kv)
        if namespace["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {a.namespace} because it is being terminated"
            message = f"namespace {a.namespace} is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
            raise status.forbidden(r.plural, r.group, a.name, why, [cause])
