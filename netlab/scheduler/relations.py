"""What pods want of each other: to be together, apart, or spread out. Counted once for a pod, asked for each node.

Source: kubernetes pkg/scheduler/framework/plugins/{interpodaffinity,podtopologyspread}. Not done: the original's weight
for those who must be together already (HardPodAffinityWeight).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log

from netlab.scheduler.filters import Reject, chosen, untolerated
from netlab.scheduler.nodes import Facts, Snapshot
from netlab.scheduler.pods import NONE, Group, Pod, PodTerm, Spread
from netlab.scheduler.scores import BEST, RELATIONS, SPREAD

#: a label of nodes with one of its values
_Place = tuple[str, str]

AFFINITY, TOPOLOGY = "InterPodAffinity", "PodTopologySpread"
_NOT_TOGETHER = Reject(AFFINITY, ("node(s) didn't match pod affinity rules",), True)
_NOT_APART = Reject(AFFINITY, ("node(s) didn't match pod anti-affinity rules",))
_UNWANTED = Reject(AFFINITY, ("node(s) didn't satisfy existing pods anti-affinity rules",))
_UNEVEN = Reject(TOPOLOGY, ("node(s) didn't match pod topology spread constraints",))
_NO_LABEL = Reject(TOPOLOGY, ("node(s) didn't match pod topology spread constraints (missing required label)",), True)


class Related:
    """A pod against a snapshot. without: placed pods that count as gone."""

    def __init__(self, pod: Pod, snapshot: Snapshot, *, without: Sequence[Pod] = ()) -> None:
        self._pod, self._snapshot, self._without = pod, snapshot, without
        wishes = pod.relations
        self._unwanted = self._keep_out()
        self._unwanted_keys = {key for key, _ in self._unwanted}
        self._apart = [(t.topology_key, self._values(self._matching((t,)), t.topology_key)) for t in wishes.anti]
        together = self._matching(wishes.affinity) if wishes.affinity else {}
        self._together = [(t.topology_key, self._values(together, t.topology_key)) for t in wishes.affinity]
        #: the first of a group that wants to be together may go anywhere
        self._first = not any(there for _, there in self._together) and all(
            t.matches(pod, snapshot.namespaces) for t in wishes.affinity
        )
        self._hard = [(c, *self._skew(c, [c for c in wishes.spread if c.hard])) for c in wishes.spread if c.hard]

    @staticmethod
    def concerns(pod: Pod, snapshot: Snapshot) -> bool:
        """Whether there is anything to ask: for most pods there is not."""
        return pod.relations is not NONE or bool(snapshot.anti) or bool(snapshot.likes)

    # -- filters

    def reject(self, facts: Facts) -> Reject | None:
        """Why not there."""
        labels = facts.labels
        for constraint, counts, least, own in self._hard:
            value = labels.get(constraint.topology_key)
            if value is None:
                return _NO_LABEL
            if counts.get(value, 0) + own - least > constraint.max_skew:
                return _UNEVEN
        for key, there in self._together:
            if key not in labels or not (labels[key] in there or self._first):
                return _NOT_TOGETHER
        if any(labels.get(key) in there for key, there in self._apart):
            return _NOT_APART
        if any((key, labels.get(key)) in self._unwanted for key in self._unwanted_keys):
            return _UNWANTED
        return None

    def _matching(self, terms: tuple[PodTerm, ...]) -> Counter[str]:
        """By node, how many placed pods all the terms mean."""
        names, found = self._snapshot.namespaces, Counter[str]()
        for groups in self._snapshot.alike.values():
            for group in groups.values():
                if all(term.matches(group, names) for term in terms):
                    found.update(group.nodes)
        found.subtract(p.node for p in self._without if all(term.matches(p, names) for term in terms))
        return found

    def _values(self, counts: Mapping[str, int], key: str) -> set[str]:
        """The values of a label that nodes with such pods have."""
        found = set()
        for name, count in counts.items():
            node = self._snapshot.get(name) if count > 0 else None
            if node is not None and key in node.facts.labels:
                found.add(node.facts.labels[key])
        return found

    def _keep_out(self) -> set[_Place]:
        """Where pods are that do not want this one beside them."""
        found: set[_Place] = set()
        for terms, counts in self._snapshot.anti.items():
            mine = [t for t in terms if t.matches(self._pod, self._snapshot.namespaces)]
            if mine:
                left = Counter(counts)
                left.subtract(p.node for p in self._without if p.relations.anti == terms)
                found.update((t.topology_key, value) for t in mine for value in self._values(left, t.topology_key))
        return found

    def _skew(self, c: Spread, together: list[Spread]) -> tuple[Counter[str], int, int]:
        """How many pods there are in each domain, how many in the emptiest, and whether the pod itself counts."""
        counts = self._domains(c, [other.topology_key for other in together])
        least = 0 if len(counts) < c.min_domains else min(counts.values(), default=0)
        return counts, least, int(_selected(c, self._pod))

    def _domains(self, c: Spread, keys: Iterable[str]) -> Counter[str]:
        counts: Counter[str] = Counter()
        nodes = {}
        for node in self._snapshot:
            facts = node.facts
            if any(key not in facts.labels for key in keys):
                continue
            if c.honor_affinity and not chosen(self._pod.ask, facts):
                continue
            if c.honor_taints and untolerated(self._pod.ask, facts):
                continue
            nodes[facts.name] = facts.labels[c.topology_key]
            counts[facts.labels[c.topology_key]] += 0
        for group in self._snapshot.alike.get(self._pod.namespace, {}).values():
            if _selected(c, group):
                for name, count in group.nodes.items():
                    if name in nodes:
                        counts[nodes[name]] += count - group.ending.get(name, 0)
        for pod in self._without:
            if pod.node in nodes and not pod.ending and pod.namespace == self._pod.namespace and _selected(c, pod):
                counts[nodes[pod.node]] -= 1
        return counts

    # -- scores

    def scores(self, among: Iterable[Facts]) -> dict[str, int]:
        """Weighted, by node."""
        nodes = list(among)
        total = dict.fromkeys((n.name for n in nodes), 0)
        for weight, scaled in ((SPREAD, self._spread(nodes)), (RELATIONS, self._likes(nodes))):
            for name, number in scaled.items():
                total[name] += weight * number
        return total

    def _spread(self, nodes: list[Facts]) -> dict[str, int]:
        soft = [c for c in self._pod.relations.spread if not c.hard]
        if not soft:
            return {}
        cost = dict.fromkeys((n.name for n in nodes if all(c.topology_key in n.labels for c in soft)), 0.0)
        for c in soft:
            counts = self._domains(c, [o.topology_key for o in soft])
            weight = log(len(counts) + 2)
            for n in nodes:
                if n.name in cost:
                    cost[n.name] += counts[n.labels[c.topology_key]] * weight + c.max_skew - 1
        most, least = max(cost.values(), default=0.0), min(cost.values(), default=0.0)
        return {name: int(BEST * (most + least - number) / most) if most else BEST for name, number in cost.items()}

    def _likes(self, nodes: list[Facts]) -> dict[str, int]:
        weights: Counter[_Place] = Counter()
        for term in self._pod.relations.likes:
            self._weigh(weights, term, self._matching((term,)))
        for terms, there in self._snapshot.likes.items():
            for term in terms:
                if term.matches(self._pod, self._snapshot.namespaces):
                    self._weigh(weights, term, there)
        if not weights:
            return {}
        raw = {n.name: sum(weights.get(place, 0) for place in n.labels.items()) for n in nodes}
        most, least = max(raw.values(), default=0), min(raw.values(), default=0)
        return {name: BEST * (number - least) // (most - least) if most > least else 0 for name, number in raw.items()}

    def _weigh(self, weights: Counter[_Place], term: PodTerm, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            node = self._snapshot.get(name)
            value = None if node is None else node.facts.labels.get(term.topology_key)
            if value is not None:
                weights[(term.topology_key, value)] += term.weight * count


def _selected(c: Spread, group: Group) -> bool:
    return c.selector is not None and c.selector.matches(group.labels)
