"""What pods get beside their account: tolerations (DefaultTolerationSeconds), a priority, a quality of service.

Sources: kubernetes plugin/pkg/admission/{defaulttolerationseconds,priority}, pkg/apis/core/v1/helper/qos.
"""

from __future__ import annotations

from netlab.api import status
from netlab.api.qos import qos_class
from netlab.apiserver import objects
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister
from netlab.store.protocol import Store

#: seconds that a pod stays on a node that is gone
TOLERATION_SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def _is_new_pod(a: Attributes) -> bool:
    return a.group_kind == ("", "Pod") and a.operation == "CREATE" and not a.subresource and a.obj is not None


class DefaultTolerationSeconds(Plugin):
    """A pod that says nothing of nodes that are gone stays five minutes."""

    async def mutate(self, a: Attributes) -> None:
        if a.group_kind != ("", "Pod") or a.obj is None or a.subresource:
            return
        tolerations = a.obj["spec"].setdefault("tolerations", [])
        for taint in _TAINTS:
            tolerated = any(
                t.get("key") in (taint, None, "") and t.get("effect") in ("NoExecute", None, "") for t in tolerations
            )
            if not tolerated:
                tolerations.append({
                    "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
                })  # fmt: skip


class Priority(Plugin):
    """The number that a pod's PriorityClass stands for."""

    def __init__(self, store: Store, classes: Lister) -> None:
        self.store, self.classes = store, classes

    async def mutate(self, a: Attributes) -> None:
        if not _is_new_pod(a) or a.obj is None:
            return
        spec = a.obj["spec"]
        name = spec.get("priorityClassName", "")
        value, policy = 0, "PreemptLowerPriority"
        if not name:
            found = next((c for c in self.classes.all() if c.get("globalDefault")), None)
            if found is not None:
                name = spec["priorityClassName"] = found["metadata"]["name"]
                value, policy = found.get("value", 0), found.get("preemptionPolicy", policy)
        else:
            found = self.classes.get(name)
            if found is None:
                kv, _ = await self.store.get(f"/registry/priorityclasses/{name}")
                found = objects.load(kv) if kv is not None else None
            if found is None:
                pod = a.obj["metadata"].get("name", "")
                raise status.forbidden("pods", "", pod, f"no PriorityClass with name {name} was found")
            value, policy = found.get("value", 0), found.get("preemptionPolicy", policy)
        given = spec.get("priority")
        if given is not None and given != value:
            why = f"the integer value of priority ({given}) must not be provided in pod spec; priority admission "
            why += f"controller computed {value} from the given PriorityClass name"
            raise status.forbidden("pods", "", a.obj["metadata"].get("name", ""), why)
        spec["priority"] = value
        spec.setdefault("preemptionPolicy", policy)


class QualityOfService(Plugin):
    """status.qosClass of a new pod."""

    async def mutate(self, a: Attributes) -> None:
        if _is_new_pod(a) and a.obj is not None:
            a.obj.setdefault("status", {})["qosClass"] = qos_class(a.obj["spec"])
