"""ResourceQuota: status.used is what there is. Admission adds what comes; this takes off what went.

All that a quota counts is counted anew, from what the server has. It is looked at when the quota changes, when anything
in its namespace is deleted, when a pod ends, and now and then. Source: kubernetes pkg/controller/resourcequota.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from netlab.api.quantity import canonical
from netlab.api.quotas import COUNTED, in_scope, text, usage
from netlab.client.informer import METADATA_LIST, Interest
from netlab.client.resources import Resource, Served, key_of
from netlab.client.rest import Object
from netlab.controllers.shape import LEAN_PODS, Tools, Watch, WatchAll, namespace_key

QUOTAS = Resource("v1", "resourcequotas")
#: seconds after which a quota is counted for no reason
RECOUNT = 300.0
#: kinds whose contents a quota looks into: of the others it is enough that they are there
_WHOLE = ("pods", "services", "persistentvolumeclaims")
_ENDED = ("Succeeded", "Failed")


def counted(names: Iterable[str]) -> set[tuple[str, str]]:
    """Group and plural of the resources that a quota with these names in `hard` has to count."""
    found: set[tuple[str, str]] = set()
    for name in names:
        if name.startswith("count/"):
            plural, _, group = name.removeprefix("count/").partition(".")
            found.add((group, plural))
        elif name in COUNTED.values():
            found.add(("", name))
        elif name.startswith("services."):
            found.add(("", "services"))
        elif name == "requests.storage" or ".storageclass." in name:
            found.add(("", "persistentvolumeclaims"))
        else:
            found.add(("", "pods"))
    return found


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


class ResourceQuotas:
    """Keys are those of quotas."""

    NAME = "resourcequota-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._kinds = tools.client, tools.kinds
        self._quotas = tools.store(Interest(QUOTAS))
        self.WATCHES = (Watch(Interest(QUOTAS)), Watch(LEAN_PODS, self._ended), WatchAll(self._deleted))

    def _in(self, namespace: str) -> Iterable[str]:
        return [key_of(quota) for quota in self._quotas.find("namespace", namespace)]

    def _ended(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """A pod that has ended takes nothing any more."""
        if old is None or new is None or _phase(old) in _ENDED or _phase(new) not in _ENDED:
            return
        for namespace in namespace_key(old, new):
            yield from self._in(namespace)

    def _deleted(self, served: Served, old: Object | None, new: Object | None) -> Iterable[str]:
        if new is None:
            for namespace in namespace_key(old, new):
                yield from self._in(namespace)

    async def reconcile(self, key: str) -> float | None:
        """Count, and write what was counted."""
        quota = self._quotas.get(key)
        if quota is None:
            return None
        # as the server has it: what admission wrote since must not be overwritten by an older count
        quota = await self._client.get(QUOTAS.at(key))
        hard = {name: canonical(value) for name, value in ((quota.get("spec") or {}).get("hard") or {}).items()}
        used = await self._count(quota, hard)
        state = quota.get("status") or {}
        wanted = {"hard": hard, "used": {name: text(name, used.get(name, Decimal(0))) for name in hard}}
        if {name: state.get(name) or {} for name in wanted} != wanted:
            await self._client.replace(QUOTAS.at(key, "status"), {**quota, "status": wanted})
        return RECOUNT

    async def _count(self, quota: Object, hard: Iterable[str]) -> dict[str, Decimal]:
        total: dict[str, Decimal] = {}
        wanted = counted(hard)
        for served in self._kinds:
            resource = served.resource
            if (resource.group, resource.plural) not in wanted or not served.namespaced:
                continue
            whole = resource.group == "" and resource.plural in _WHOLE
            listed = await self._client.list(
                resource.path(quota["metadata"]["namespace"]), accept="" if whole else METADATA_LIST
            )
            for obj in listed["items"]:
                if in_scope(quota, served.kind, obj):
                    for name, amount in usage(resource.group, served.kind, resource.plural, obj).items():
                        total[name] = total.get(name, Decimal(0)) + amount
        return total
