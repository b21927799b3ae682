"""The namespace lifecycle: what is in a namespace that is going goes first, then its finalizer `kubernetes`, then it.

Pods go before everything else, so that nothing is taken away below what still runs. What cannot be deleted at once,
for it has finalizers or is given time, is named in the namespace's conditions. Source: kubernetes
pkg/controller/namespace/deletion (namespaced_resources_deleter.go, status_condition_utils.go).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from netlab.api import times
from netlab.client.informer import METADATA_LIST, Interest
from netlab.client.resources import Resource, Served
from netlab.client.rest import ApiError, ApiUnavailable, Object
from netlab.controllers.shape import NAMESPACES, PODS, Tools, Watch

FINALIZER = "kubernetes"
#: requests at once for one namespace
TOGETHER = 8
#: seconds until a namespace is looked at again that something holds up
LOOK_AGAIN = 1.0


@dataclass(slots=True)
class Remains:
    """What a namespace still has. counts: by resource; finalizers: objects that have each; errors: what failed."""

    counts: Counter[Resource] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.counts or self.errors)

    def add(self, resource: Resource, items: Iterable[Object]) -> None:
        """Objects that are still there."""
        for item in items:
            self.counts[resource] += 1
            self.finalizers.update(item["metadata"].get("finalizers") or ())


def conditions(remains: Remains, before: Iterable[Object], now: str) -> list[Object]:
    """The conditions of a namespace that is going. before: those it has, whose times stay where nothing changed."""
    errors = ", ".join(sorted(remains.errors))
    counts = ", ".join(
        f"{r.plural}.{r.group} has {n} resource instances" for r, n in sorted(remains.counts.items())
    )  # fmt: skip
    held = ", ".join(f"{name} in {n} resource instances" for name, n in sorted(remains.finalizers.items()))
    told = [
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered", ""),
        ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
         "All legacy kube types successfully parsed", ""),
        ("NamespaceDeletionContentFailure", "ContentDeletionFailed" if errors else "ContentDeleted",
         f"Failed to delete all resource types, {len(remains.errors)} remaining: {errors}" if errors
         else "All content successfully deleted, may be waiting on finalization", errors),
        ("NamespaceContentRemaining", "SomeResourcesRemain" if counts else "ContentRemoved",
         f"Some resources are remaining: {counts}" if counts else "All content successfully removed", counts),
        ("NamespaceFinalizersRemaining", "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
         f"Some content in the namespace has finalizers remaining: {held}" if held
         else "All content-preserving finalizers finished", held),
    ]  # fmt: skip
    old = {c["type"]: c for c in before}
    out = [c for c in old.values() if c["type"] not in {kind for kind, *_ in told}]
    for kind, reason, message, wrong in told:
        status = "True" if wrong else "False"
        was = old.get(kind)
        since = was["lastTransitionTime"] if was is not None and was["status"] == status else now
        out.append(
            {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
        )  # fmt: skip
    return out


class NamespaceLifecycle:
    """Keys are names of namespaces."""

    NAME = "namespace-controller"
    WATCHES = (Watch(Interest(NAMESPACES)),)

    def __init__(self, tools: Tools) -> None:
        self._tools, self._client = tools, tools.client
        self._namespaces = tools.store(Interest(NAMESPACES))

    async def reconcile(self, key: str) -> float | None:
        """Empty a namespace that is going."""
        known = self._namespaces.get(key)
        if known is None or not known["metadata"].get("deletionTimestamp"):
            return None
        try:
            namespace = await self._client.get(NAMESPACES.at(key))
        except ApiError as e:
            if e.code == 404:
                return None
            raise
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER not in finalizers or not namespace["metadata"].get("deletionTimestamp"):
            return None
        await self._tools.kinds.refresh()
        remains = await self._empty(key)
        if remains:
            await self._tell(namespace, remains)
            return LOOK_AGAIN
        namespace["spec"]["finalizers"] = [f for f in finalizers if f != FINALIZER]
        await self._client.replace(NAMESPACES.path(name=key, subresource="finalize"), namespace)
        return None

    async def _empty(self, namespace: str) -> Remains:
        """Delete all that is in a namespace; what is left."""
        inside = [s for s in self._tools.kinds if s.namespaced and {"list", "delete"} <= s.verbs]
        remains = Remains()
        for these in ([s for s in inside if s.resource == PODS], [s for s in inside if s.resource != PODS]):
            limit = asyncio.Semaphore(TOGETHER)
            await asyncio.gather(*(self._take(served, namespace, remains, limit) for served in these))
            if remains:
                break
        return remains

    async def _take(self, served: Served, namespace: str, remains: Remains, limit: asyncio.Semaphore) -> None:
        """Delete the objects of one kind. What fails is told to `remains`."""
        path = served.resource.path(namespace)
        try:
            async with limit:
                listed = await self._client.list(path, accept=METADATA_LIST)
                if not listed["items"]:
                    return
                if "deletecollection" in served.verbs:
                    await self._client.delete(path)
                else:
                    for item in listed["items"]:
                        await self._delete(served, namespace, item)
                listed = await self._client.list(path, accept=METADATA_LIST)
        except (ApiError, ApiUnavailable) as e:
            if not (isinstance(e, ApiError) and e.code == 404):  # the kind went away meanwhile
                remains.errors.append(str(e))
            return
        remains.add(served.resource, listed["items"])

    async def _delete(self, served: Served, namespace: str, item: Object) -> None:
        try:
            await self._client.delete(served.resource.path(namespace, item["metadata"]["name"]))
        except ApiError as e:
            if e.code != 404:
                raise

    async def _tell(self, namespace: Object, remains: Remains) -> None:
        before = (namespace.get("status") or {}).get("conditions") or []
        now = times.seconds(self._tools.now())
        after = conditions(remains, before, now)
        if after != before:
            path = NAMESPACES.path(name=namespace["metadata"]["name"], subresource="status")
            await self._client.patch(path, {"status": {"conditions": after}})
