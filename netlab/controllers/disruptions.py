"""PodDisruptionBudgets: how many of the pods that a budget means may be evicted now.

How many there should be is what their owners want, if the budget speaks in percentages or of how many may be missing.
A pod whose eviction was let through counts as gone until it is, or two minutes have passed. Source: kubernetes
pkg/controller/disruption. Not done: unhealthyPodEvictionPolicy (the eviction itself looks at it).
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.owning import (
    active,
    controller_of,
    ready_since,
    selector_of,
    with_condition,
    write_status,
)
from netlab.controllers.rolling import share
from netlab.controllers.shape import LEAN_PODS, Tools, Watch

BUDGETS = Resource("policy/v1", "poddisruptionbudgets")
#: what may own pods, and says in spec.replicas how many it wants; a ReplicaSet may itself be owned by a Deployment
_OWNERS = {
    ("apps", "ReplicaSet"): Resource("apps/v1", "replicasets"),
    ("apps", "Deployment"): Resource("apps/v1", "deployments"),
    ("apps", "StatefulSet"): Resource("apps/v1", "statefulsets"),
    ("", "ReplicationController"): Resource("v1", "replicationcontrollers"),
}
#: seconds after which a pod that was let go and is still there counts again
EVICTED = 120.0


class Unknown(Exception):
    """It cannot be said how many pods there should be; the text is the original's."""


def allowance(expected: int, desired: int, healthy: int, pods: int) -> int:
    """How many may go."""
    return max(0, healthy - desired) if expected and pods else 0


class Disruptions:
    """Keys are those of budgets."""

    NAME = "disruption-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says, self._now = tools.client, tools.says, tools.now
        self._budgets, self._pods = tools.store(Interest(BUDGETS)), tools.store(LEAN_PODS)
        self.WATCHES = (Watch(Interest(BUDGETS)), Watch(LEAN_PODS, self._of_pod))

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        obj = new if new is not None else old
        if obj is None:
            return
        for budget in self._budgets.find("namespace", obj["metadata"]["namespace"]):
            selector = selector_of(budget)
            if selector is not None and any(
                selector.matches(one["metadata"].get("labels")) for one in (old, new) if one is not None
            ):
                yield key_of(budget)

    async def reconcile(self, key: str) -> float | None:
        """Count, and write what was counted."""
        budget = self._budgets.get(key)
        if budget is None:
            return None
        meta, selector = budget["metadata"], selector_of(budget)
        pods = [] if selector is None else [
            pod for pod in self._pods.find("namespace", meta["namespace"])
            if selector.matches(pod["metadata"].get("labels")) and active(pod)
        ]  # fmt: skip
        state, now = budget.get("status") or {}, self._now()
        let_go, again = self._let_go(state, pods, now)
        healthy = sum(ready_since(pod) is not None and pod["metadata"]["name"] not in let_go for pod in pods)
        error = ""
        try:
            expected, desired = await self._wanted(budget, pods)
        except Unknown as e:
            error, expected, desired = str(e), 0, 0
            self._says.warning(
                budget, "CalculateExpectedPodCountFailed", f"Failed to calculate the number of expected pods: {e}"
            )
        allowed = allowance(expected, desired, healthy, len(pods))
        condition = {"type": "DisruptionAllowed", "status": "True" if allowed else "False", "message": error}
        condition["reason"] = "SyncFailed" if error else "SufficientPods" if allowed else "InsufficientPods"
        condition["observedGeneration"] = meta.get("generation", 0)
        conditions = with_condition(state.get("conditions") or (), condition, times.seconds(now))
        wanted = {
            "observedGeneration": meta.get("generation", 0), "disruptionsAllowed": allowed, "currentHealthy": healthy,
            "desiredHealthy": desired, "expectedPods": expected, "conditions": conditions,
            **({"disruptedPods": let_go} if let_go else {}),
        }  # fmt: skip
        await write_status(self._client, BUDGETS, budget, wanted)
        return again

    def _let_go(self, state: Object, pods: list[Object], now: float) -> tuple[dict[str, str], float | None]:
        """The pods that were let go and are still there; seconds until one of them counts again."""
        there = {pod["metadata"]["name"] for pod in pods}
        kept, again = {}, None
        for name, stamp in (state.get("disruptedPods") or {}).items():
            left = times.parse(stamp).timestamp() + EVICTED - now
            if name in there and left > 0:
                kept[name] = stamp
                again = left if again is None else min(again, left)
        return kept, again

    async def _wanted(self, budget: Object, pods: list[Object]) -> tuple[int, int]:
        """How many pods there should be, and how many of them at least. Unknown, ApiError."""
        spec = budget.get("spec") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if most is not None:
            expected = await self._scale(pods)
            return expected, max(0, expected - share(most, expected, up=True))
        if least is None:
            return len(pods), 0
        if isinstance(least, int):
            return len(pods), least
        expected = await self._scale(pods)
        return expected, share(least, expected, up=True)

    async def _scale(self, pods: list[Object]) -> int:
        """How many pods their owners want in all."""
        found: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                continue  # it is a pod of its own, and one that nobody wants back
            if owner["uid"] not in found:
                found[owner["uid"]] = -1
                uid, replicas = await self._replicas(pod["metadata"]["namespace"], owner)
                found[owner["uid"]] = 0
                found[uid] = replicas
        return sum(found.values())

    async def _replicas(self, namespace: str, owner: Object) -> tuple[str, int]:
        """The uid of the topmost owner that says how many it wants, and how many."""
        group = owner.get("apiVersion", "").rpartition("/")[0]
        resource = _OWNERS.get((group, owner["kind"]))
        if resource is None:
            raise Unknown(f"{owner['kind'].lower()}s.{group} does not implement the scale subresource")
        try:
            there = await self._client.get(resource.path(namespace, owner["name"]))
        except ApiError as e:
            if e.code == 404:
                return owner["uid"], 0
            raise
        above = controller_of(there)
        if owner["kind"] == "ReplicaSet" and above is not None and above["kind"] == "Deployment":
            return await self._replicas(namespace, above)
        return there["metadata"]["uid"], int(there["spec"].get("replicas", 1))
