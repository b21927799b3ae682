"""Room for a pod that has none: which pods of lower priority would have to go, and where that hurts least.

On a node where the ends of other pods could help, all pods of lower priority are taken away; what then still fits is
given back, those of a disruption budget that is used up first, then the more important ones. Source: kubernetes
pkg/scheduler/framework/preemption and plugins/defaultpreemption. Not done: reprieving pods of other nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netlab.api.selectors import LabelSelector
from netlab.scheduler.decide import Unfit
from netlab.scheduler.filters import Reject, reject
from netlab.scheduler.nodes import Node, Snapshot
from netlab.scheduler.pods import Pod
from netlab.scheduler.relations import Related
from netlab.scheduler.volumes import Claims

#: of many nodes it is enough to have looked at so many that would do (the original's 10 %, and no less than 100)
SHARE, AT_LEAST = 0.1, 100
_NOT_HELPFUL = Reject("preemption", ("Preemption is not helpful for scheduling",))
_NO_VICTIMS = Reject("preemption", ("No preemption victims found for incoming pod",))


@dataclass(slots=True)
class Budget:
    """A PodDisruptionBudget. allowed: how many more may go."""

    namespace: str
    selector: LabelSelector
    allowed: int


@dataclass(frozen=True, slots=True)
class Room:
    """Where room can be made, and who goes for it: the most important first. violations: of budgets."""

    node: str
    victims: tuple[Pod, ...]
    violations: int = 0

    def cost(self) -> tuple[int, int, int, int]:
        """The less the better; of the same cost, the youngest victims go."""
        return (self.violations, self.victims[0].priority, sum(v.priority + 2**31 for v in self.victims),
                len(self.victims))  # fmt: skip


def why_not(pod: Pod, snapshot: Snapshot) -> str:
    """Why room is not made for this pod at all; "" if it may be."""
    if not pod.preempts:
        return "not eligible due to preemptionPolicy=Never."
    node = snapshot.get(pod.nominated) if pod.nominated else None
    if node is not None and any(p.ending and p.priority < pod.priority for p in node.pods.values()):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def make_room(pod: Pod, unfit: Unfit, snapshot: Snapshot, claims: Claims, budgets: Sequence[Budget]) -> Room | str:
    """Where, at whose cost; or why nowhere, in the original's words."""
    hopeful = [node for node in snapshot if not unfit.helpless(node.facts.name)]
    rejects = {node.facts.name: _NOT_HELPFUL for node in snapshot}
    found: list[Room] = []
    lower = any(priority < pod.priority for priority in snapshot.priorities)
    enough = max(AT_LEAST, int(len(snapshot) * SHARE))
    for node in hopeful:
        room = _on(node, pod, snapshot, claims, budgets) if lower and len(found) < enough else None
        if room is None:
            rejects[node.facts.name] = _NO_VICTIMS
        else:
            found.append(room)
    if not found:
        return Unfit(len(snapshot), rejects=rejects).message()
    least = min(room.cost() for room in found)
    return max((r for r in found if r.cost() == least), key=_youngest)


def _youngest(room: Room) -> str:
    """When the first of the most important victims started: times of the API sort as they are written."""
    top = room.victims[0].priority
    return min(v.started for v in room.victims if v.priority == top)


def _on(node: Node, pod: Pod, snapshot: Snapshot, claims: Claims, budgets: Sequence[Budget]) -> Room | None:
    going = [p for p in node.pods.values() if p.priority < pod.priority]
    if not going or claims.reject(node.facts) is not None:
        return None
    trial = node.copy()
    for victim in going:
        trial.remove(victim.key)
    waiting = [p for p in snapshot.nominated.get(node.facts.name, {}).values()
               if p.key != pod.key and p.priority >= pod.priority]  # fmt: skip
    for other in waiting:
        trial.add(other)
    gone = {victim.key: victim for victim in going}
    if not _fits(pod, trial, snapshot, gone.values()):
        return None
    violating, fine = _by_budget(sorted(going, key=_importance), budgets)
    victims, violations = [], 0
    for victim in [*violating, *fine]:
        trial.add(victim)
        del gone[victim.key]
        if not _fits(pod, trial, snapshot, gone.values()):
            trial.remove(victim.key)
            gone[victim.key] = victim
            victims.append(victim)
            violations += victim in violating
    return Room(node.facts.name, tuple(sorted(victims, key=_importance)), violations) if victims else None


def _fits(pod: Pod, node: Node, snapshot: Snapshot, gone: Iterable[Pod]) -> bool:
    if reject(pod.ask, node) is not None:
        return False
    if not Related.concerns(pod, snapshot):
        return True
    return Related(pod, snapshot, without=tuple(gone)).reject(node.facts) is None


def _importance(pod: Pod) -> tuple[int, str]:
    return -pod.priority, pod.started


def _by_budget(pods: Iterable[Pod], budgets: Sequence[Budget]) -> tuple[list[Pod], list[Pod]]:
    """Those whose end would break a budget, if all before them ended, too; and the others."""
    left = [budget.allowed for budget in budgets]
    violating: list[Pod] = []
    fine: list[Pod] = []
    for pod in pods:
        broken = False
        for number, budget in enumerate(budgets):
            if budget.namespace == pod.namespace and budget.selector and budget.selector.matches(pod.labels):
                left[number] -= 1
                broken = broken or left[number] < 0
        (violating if broken else fine).append(pod)
    return violating, fine
