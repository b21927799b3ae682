"""Who has to go when the node runs out of memory or disk. Pure; the node's kubelet looks every ten seconds.

One pod goes at a time: first those that use more than they asked for, of these the least important, of these whoever
is furthest above. Pods that a cluster or node needs to live stay. A pressure is told of for a while after it has gone,
so that it does not come and go with every look. Source: kubernetes pkg/kubelet/eviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netlab.api import Json
from netlab.api.quantity import QuantityError, value
from netlab.base.errors import InputError, Problem
from netlab.kubelet import pods
from netlab.kubelet.node import DISK, MEMORY
from netlab.scheduler.asks import amounts

EVICTED = "Evicted"
#: what is looked at: the condition that it brings, the resource, as messages name it
SIGNALS = {
    "memory.available": (MEMORY, "memory"), "nodefs.available": (DISK, "ephemeral-storage"),
}  # fmt: skip
#: The original keeps a tenth of the disk free. A lab on somebody's nearly full disk is not to stand still for that.
DEFAULT = "memory.available<100Mi,nodefs.available<500Mi"
#: priority from which on a pod is one that its node or cluster needs (system-cluster-critical)
CRITICAL = 2_000_000_000
#: seconds that a pressure is told of after it was seen last
HOLD = 300.0


@dataclass(frozen=True, slots=True)
class Amount:
    """Of something: bytes, all and available."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """limit: bytes, or a share of all if `share`; text: as it was given."""

    signal: str
    limit: float
    share: bool
    text: str

    def met(self, amount: Amount) -> bool:
        """Whether there is less."""
        return amount.available < (self.limit * amount.total if self.share else self.limit)


def thresholds(text: str) -> tuple[Threshold, ...]:
    """`memory.available<100Mi,nodefs.available<10%`. InputError."""
    found, problems = [], []
    for part in filter(None, text.split(",")):
        signal, less, limit = part.partition("<")
        try:
            number = float(limit.removesuffix("%")) / 100 if limit.endswith("%") else float(value(limit))
        except (ValueError, QuantityError):
            number = -1.0
        if signal not in SIGNALS or not less or number < 0:
            hint = f"expected SIGNAL<AMOUNT, such as {DEFAULT}; signals are {', '.join(SIGNALS)}"
            problems.append(Problem("--eviction-hard", f"{part!r} is no threshold", hint))
        else:
            found.append(Threshold(signal, number, limit.endswith("%"), limit))
    if problems:
        raise InputError(problems)
    return tuple(found)


@dataclass(slots=True)
class Pressure:
    """What was seen of late. seen: by condition, when last (seconds since 1970)."""

    thresholds: tuple[Threshold, ...]
    seen: dict[str, float] = field(default_factory=dict)

    def look(self, available: Mapping[str, Amount], now: float) -> list[Threshold]:
        """Those that are met now, memory first."""
        met = [t for t in self.thresholds if t.signal in available and t.met(available[t.signal])]
        for threshold in met:
            self.seen[SIGNALS[threshold.signal][0]] = now
        return met

    def conditions(self, now: float) -> frozenset[str]:
        """Those that the node has."""
        return frozenset(kind for kind, last in self.seen.items() if now - last < HOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a pod uses of a resource, in bytes, by container; what is the pod's own under ""."""

    pod: Json
    used: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.used.values())


def requests(pod: Json, resource: str) -> dict[str, int]:
    """What its containers have asked for, in bytes."""
    return {
        spec.name: amounts((spec.container.get("resources") or {}).get("requests")).get(resource, 0)
        for spec in pods.specs(pod) if spec.kind in ("main", "sidecar")
    }  # fmt: skip


def victim(uses: Iterable[Use], resource: str) -> Use | None:
    """Who goes."""

    def rank(use: Use) -> tuple[bool, int, int, str]:
        above = use.total - sum(requests(use.pod, resource).values())
        return above <= 0, int(use.pod["spec"].get("priority") or 0), -above, pods.uid(use.pod)

    candidates = [
        use for use in uses if not pods.static(use.pod) and int(use.pod["spec"].get("priority") or 0) < CRITICAL
    ]  # fmt: skip
    return min(candidates, key=rank, default=None)


def words(threshold: Threshold, amount: Amount, use: Use) -> str:
    """Why it had to go."""
    resource = SIGNALS[threshold.signal][1]
    told = f"The node was low on resource: {resource}. Threshold quantity: {threshold.text}, available: "
    told += f"{amount.available // 1024}Ki. "
    for name, asked in requests(use.pod, resource).items():
        used = use.used.get(name, 0)
        if used > asked:
            told += (
                f"Container {name} was using {used // 1024}Ki, request is {_asked(asked)}, has larger consumption of "
            )
            told += f"{resource}. "
    return told


def _asked(number: int) -> str:
    return f"{number // 1024}Ki" if number else "0"


def unwelcome(pod: Json, conditions: Iterable[str]) -> tuple[str, str] | None:
    """Why a pod may not begin on a node under pressure; None if it may. Reason and message."""
    pressed = sorted(conditions)
    if not pressed or pods.static(pod) or int(pod["spec"].get("priority") or 0) >= CRITICAL:
        return None
    if pressed == [MEMORY] and (pod.get("status") or {}).get("qosClass") != "BestEffort":
        return None
    return EVICTED, f"The node had condition: [{' '.join(pressed)}]. "
