"""RuntimeClass: a pod that names one gets its overhead and its nodes; one that is not there is refused."""

from __future__ import annotations

from netlab.api import Json, status
from netlab.apiserver import objects
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister
from netlab.store.protocol import Store


class RuntimeClasses(Plugin):
    """classes: their cache; the store is asked where it has no answer."""

    def __init__(self, store: Store, classes: Lister) -> None:
        self.store, self.classes = store, classes

    async def mutate(self, a: Attributes) -> None:
        if a.group_kind != ("", "Pod") or a.operation != "CREATE" or a.subresource or a.obj is None:
            return
        spec, name = a.obj["spec"], a.obj["metadata"].get("name", "")
        wanted = spec.get("runtimeClassName")
        if not wanted:
            if spec.get("overhead"):
                raise _rejected(name, "Pod Overhead set without corresponding RuntimeClass defined Overhead")
            return
        found = self.classes.get(wanted)
        if found is None:
            kv, _ = await self.store.get(f"/registry/runtimeclasses/{wanted}")
            found = objects.load(kv) if kv is not None else None
        if found is None:
            raise _rejected(name, f'RuntimeClass "{wanted}" not found')
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and spec["overhead"] != overhead:
                raise _rejected(name, "Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(overhead)
        _schedule(spec, found.get("scheduling") or {}, name)


def _schedule(spec: Json, scheduling: Json, name: str) -> None:
    nodes = spec.get("nodeSelector") or {}
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if nodes.get(key, value) != value:
            raise _rejected(name, f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                            f"pod.spec.nodeSelector[{key}] = {nodes[key]}")  # fmt: skip
        spec.setdefault("nodeSelector", {})[key] = value
    for toleration in scheduling.get("tolerations") or ():
        if toleration not in spec.setdefault("tolerations", []):
            spec["tolerations"].append(toleration)


def _rejected(pod: str, why: str) -> status.ApiError:
    return status.forbidden("pods", "", pod, f"pod rejected: {why}")
