"""A node for a pod, or why there is none.

What the nodes say to an `Ask` is kept from pod to pod, and only nodes that changed since are asked again. It does no
I/O and reads no clock; which of several best nodes it is, is left to the chance that it is handed, as in the
original.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from netlab.scheduler import scores
from netlab.scheduler.asks import Ask
from netlab.scheduler.filters import Reject, by_facts, by_room
from netlab.scheduler.nodes import Node, Snapshot
from netlab.scheduler.pods import Pod
from netlab.scheduler.relations import Related
from netlab.scheduler.volumes import Claims

#: how many different asks are kept; each costs some hundred bytes for every node
KEPT = 128


@dataclass(frozen=True, slots=True)
class Unfit:
    """Nowhere to go. whole: a reason that is not one of any node; rejects: by node."""

    total: int
    whole: Reject | None = None
    rejects: Mapping[str, Reject] = field(default_factory=dict)

    @property
    def plugins(self) -> frozenset[str]:
        """Who said no: what changes nothing for them changes nothing for the pod."""
        if self.whole is not None:
            return frozenset({self.whole.plugin})
        return frozenset(reject.plugin for reject in self.rejects.values())

    def helpless(self, node: str) -> bool:
        """Whether no end of other pods would make room there."""
        reject = self.whole or self.rejects.get(node)
        return reject is None or reject.final

    def message(self, after: str = "") -> str:
        """In the original's words. after: what preemption said."""
        if not self.total:
            return "no nodes available to schedule pods"
        text = f"0/{self.total} nodes are available:"
        if self.whole is not None:
            return f"{text} {self.whole.reasons[0]}.{after and f' {after}'}"
        counts = Counter(reason for reject in self.rejects.values() for reason in reject.reasons)
        parts = sorted(f"{count} {reason}" for reason, count in counts.items())
        return f"{text} {', '.join(parts)}.{after and f' {after}'}"


@dataclass(slots=True)
class _Told:
    """What the nodes said to one ask, up to a generation of the snapshot. extra: raw scores that are not all alike."""

    generation: int = -1
    rejects: dict[str, Reject] = field(default_factory=dict)
    base: dict[str, int] = field(default_factory=dict)
    disliked: dict[str, int] = field(default_factory=dict)
    liked: dict[str, int] = field(default_factory=dict)

    def forget(self, name: str) -> None:
        for part in (self.rejects, self.base, self.disliked, self.liked):
            part.pop(name, None)

    def take(self, ask: Ask, node: Node) -> None:
        name, facts = node.facts.name, node.facts
        self.forget(name)
        reject = by_facts(ask, facts) or by_room(ask, node)
        if reject is not None:
            self.rejects[name] = reject
            return
        self.base[name] = scores.room(ask, node) + scores.images(ask, facts)
        if facts.taints and (taints := scores.disliked(ask, facts)):
            self.disliked[name] = taints
        if ask.preferred and (weight := scores.liked(ask, facts)):
            self.liked[name] = weight


class Decider:
    """Decides by a snapshot that others keep up to date."""

    def __init__(self, snapshot: Snapshot, *, chance: random.Random | None = None) -> None:
        self.snapshot = snapshot
        self._chance = chance or random.Random()
        self._told: OrderedDict[Ask, _Told] = OrderedDict()

    def decide(self, pod: Pod, claims: Claims) -> str | Unfit:
        """The name of a node, or why there is none."""
        snapshot = self.snapshot
        if not len(snapshot):
            return Unfit(0)
        if claims.whole is not None:
            return Unfit(len(snapshot), claims.whole)
        told = self._ask(pod.ask)
        related = Related(pod, snapshot) if Related.concerns(pod, snapshot) else None
        more: dict[str, Reject] = {}
        for check in self._checks(pod, claims, related):
            for name in told.base:
                if name not in more and (reject := check(snapshot.by_age[name])) is not None:
                    more[name] = reject
        feasible = told.base if not more else {name: n for name, n in told.base.items() if name not in more}
        if not feasible:
            return Unfit(len(snapshot), rejects={**told.rejects, **more})
        return self._best(pod, told, feasible, related)

    def _checks(self, pod: Pod, claims: Claims, related: Related | None) -> list[Callable[[Node], Reject | None]]:
        checks: list[Callable[[Node], Reject | None]] = []
        if self.snapshot.nominated:
            checks.append(lambda node: self._reserved(pod, node))
        if pod.claims:
            checks.append(lambda node: claims.reject(node.facts))
        if related is not None:
            checks.append(lambda node: related.reject(node.facts))
        return checks

    def _reserved(self, pod: Pod, node: Node) -> Reject | None:
        """Room that is being made for another pod, no less important, is not free."""
        waiting = self.snapshot.nominated.get(node.facts.name)
        others = [p for p in (waiting or {}).values() if p.key != pod.key and p.priority >= pod.priority]
        if not others:
            return None
        trial = node.copy()
        for other in others:
            trial.add(other)
        return by_room(pod.ask, trial)

    def _ask(self, ask: Ask) -> _Told:
        told = self._told.get(ask)
        if told is None:
            told = self._told[ask] = _Told()
            if len(self._told) > KEPT:
                self._told.popitem(last=False)
        else:
            self._told.move_to_end(ask)
        snapshot = self.snapshot
        if told.generation == snapshot.generation:
            return told
        for node in reversed(snapshot.by_age.values()):
            if node.generation <= told.generation:
                break
            told.take(ask, node)
        if len(told.base) + len(told.rejects) > len(snapshot):
            for name in [n for part in (told.base, told.rejects) for n in part if n not in snapshot.by_age]:
                told.forget(name)
        told.generation = snapshot.generation
        return told

    def _best(self, pod: Pod, told: _Told, feasible: Mapping[str, int], related: Related | None) -> str:
        totals = feasible
        adding: list[Mapping[str, int]] = []
        if told.disliked:
            raw = {name: told.disliked.get(name, 0) for name in feasible}
            adding.append(_times(scores.TAINTS, scores.normalised(raw, reverse=True)))
        if told.liked:
            raw = {name: told.liked.get(name, 0) for name in feasible}
            adding.append(_times(scores.AFFINITY, scores.normalised(raw)))
        if related is not None:
            adding.append(related.scores(self.snapshot.by_age[name].facts for name in feasible))
        siblings = self.snapshot.siblings.get(pod.siblings) if pod.siblings and not pod.relations.spread else None
        if siblings:
            # the original spreads what belongs together by default constraints (ScheduleAnyway)
            most = max(siblings.values())
            adding.append({name: -scores.SIBLINGS * scores.BEST * count // most for name, count in siblings.items()})
        if adding:
            totals = dict(feasible)
            for more in adding:
                for name, number in more.items():
                    if name in totals:
                        totals[name] += number
        best = max(totals.values())
        return self._chance.choice([name for name, number in totals.items() if number == best])


def _times(weight: int, raw: Mapping[str, int]) -> dict[str, int]:
    return {name: weight * number for name, number in raw.items()}
