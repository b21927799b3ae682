"""How a Deployment goes from one set of pods to another: how many replicas each of its ReplicaSets is to have next.

Pure. Between two steps the ReplicaSets do their part, and the statuses say when the next step may come. Source:
kubernetes pkg/controller/deployment (rolling.go, sync.go, util/deployment_util.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netlab.client.rest import Object


@dataclass(frozen=True, slots=True)
class Size:
    """A ReplicaSet. available: pods; limit: how many replicas the Deployment might have had at most when it was last
    scaled (0 if that is not known)."""

    name: str
    replicas: int
    available: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """replicas: wanted; surge: how many more there may be; unavailable: how many of them may be missing."""

    replicas: int
    surge: int = 0
    unavailable: int = 0

    @property
    def most(self) -> int:
        """How many replicas there may be."""
        return self.replicas + self.surge if self.replicas else 0


def plan_of(spec: Object) -> Plan:
    """What a Deployment's spec allows. If it allows nothing, one may be missing: else nothing would ever move."""
    replicas = int(spec.get("replicas", 1))
    strategy = spec.get("strategy") or {}
    if strategy.get("type") != "RollingUpdate":
        return Plan(replicas)
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = share(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Plan(replicas, surge, min(unavailable, replicas))


def share(value: object, total: int, *, up: bool) -> int:
    """A number, or a percentage of a total, rounded up or down."""
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    part = int(text[:-1]) * total
    return -(-part // 100) if up else part // 100


def new_size(plan: Plan, new: Size, old: Sequence[Size], *, rolling: bool) -> int:
    """How many replicas the new ReplicaSet gets: all that fit below the limit."""
    if not rolling or new.replicas >= plan.replicas:
        return plan.replicas
    total = new.replicas + sum(size.replicas for size in old)
    room = plan.replicas + plan.surge - total
    return new.replicas + max(0, min(room, plan.replicas - new.replicas))


def old_sizes(plan: Plan, new: Size, old: Sequence[Size]) -> dict[str, int]:
    """How many replicas the old ones, the oldest first, are left with: first those go that serve nobody anyway."""
    least = plan.replicas - plan.unavailable
    total = new.replicas + sum(size.replicas for size in old)
    going = total - least - max(0, new.replicas - new.available)
    sizes = {size.name: size.replicas for size in old}
    left = max(0, going)
    for size in old:
        sick = min(left, max(0, sizes[size.name] - size.available))
        sizes[size.name] -= sick
        left -= sick
    # what serves may go as long as enough of them do
    healthy = new.available + sum(min(size.available, sizes[size.name]) for size in old)
    left = min(max(0, healthy - least), left)
    for size in old:
        down = min(left, sizes[size.name])
        sizes[size.name] -= down
        left -= down
    return sizes


def proportional(plan: Plan, sets: Sequence[Size]) -> dict[str, int]:
    """How many replicas each gets when a Deployment is scaled in the middle of a roll; the oldest first.

    Each grows or shrinks by its share; what rounding leaves over is the largest one's.
    """
    total = sum(size.replicas for size in sets)
    change = plan.most - total
    # who is largest comes first; of those alike the newer when there is more, the older when there is less
    order = list(reversed(sets)) if change > 0 else list(sets)
    order.sort(key=lambda size: -size.replicas)
    sizes, done = {}, 0
    for size in order:
        limit = size.limit or plan.replicas
        part = _rounded(size.replicas * plan.most / limit) - size.replicas if limit else 0
        left = change - done
        part = max(0, min(part, left)) if change > 0 else min(0, max(part, left))
        sizes[size.name] = size.replicas + part
        done += part
    if order:
        largest = order[0].name
        sizes[largest] = max(0, sizes[largest] + change - done)
    return sizes


def _rounded(number: float) -> int:
    return int(number + 0.5)
