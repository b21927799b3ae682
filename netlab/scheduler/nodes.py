"""The snapshot: nodes, and what pods take of them. It is changed piece by piece, never built anew.

Each change of a node gives it the next generation and moves it to the end of `by_age`: who remembers what was so up to
some generation finds what changed since by walking back from there. Source: kubernetes pkg/scheduler/backend/cache.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from netlab.scheduler.asks import Object, Port, Taint, amounts
from netlab.scheduler.pods import Pod, PodTerm

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node is by itself."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    allocatable: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)


def facts(node: Object) -> Facts:
    """A Node object's. Heartbeats change none of them."""
    meta, spec, state = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    return Facts(
        name=meta["name"], labels=dict(meta.get("labels") or {}),
        taints=tuple(Taint(t["key"], t.get("value", ""), t["effect"]) for t in spec.get("taints") or ()),
        unschedulable=bool(spec.get("unschedulable")),
        allocatable=amounts(state.get("allocatable") or state.get("capacity")),
        images={name: int(i.get("sizeBytes") or 0) for i in state.get("images") or () for name in i.get("names") or ()},
    )  # fmt: skip


class Node:
    """A node with its pods. used: of each resource; compared: (CPU, memory) as nodes are compared by them."""

    __slots__ = ("compared", "facts", "generation", "pods", "ports", "used")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.generation = 0
        self.pods: dict[str, Pod] = {}
        self.used: dict[str, int] = {}
        self.compared = (0, 0)
        self.ports: Counter[Port] = Counter()

    def add(self, pod: Pod) -> None:
        """The pod takes what it asks for."""
        self.pods[pod.key] = pod
        self._count(pod, 1)

    def remove(self, key: str) -> None:
        """And gives it back."""
        self._count(self.pods.pop(key), -1)

    def _count(self, pod: Pod, sign: int) -> None:
        for name, number in pod.ask.requests:
            self.used[name] = self.used.get(name, 0) + sign * number
        cpu, memory = pod.ask.compared
        self.compared = (self.compared[0] + sign * cpu, self.compared[1] + sign * memory)
        for port in pod.ask.ports:
            self.ports[port] += sign
            if not self.ports[port]:
                del self.ports[port]

    def copy(self) -> Node:
        """One to try things on."""
        other = Node(self.facts)
        other.pods, other.used, other.compared = dict(self.pods), dict(self.used), self.compared
        other.ports = Counter(self.ports)
        return other


@dataclass(slots=True)
class Alike:
    """Placed pods of one namespace with the same labels. nodes: how many are where; ending: how many of them end."""

    namespace: str
    labels: dict[str, str]
    nodes: Counter[str] = field(default_factory=Counter)
    ending: Counter[str] = field(default_factory=Counter)


class Snapshot:
    """All nodes and all placed pods."""

    def __init__(self) -> None:
        self.by_age: OrderedDict[str, Node] = OrderedDict()
        self.generation = 0
        #: pods by key, and as selectors see them: there are far fewer sorts of pods than pods
        self.pods: dict[str, Pod] = {}
        self.alike: dict[str, dict[frozenset[tuple[str, str]], Alike]] = {}
        #: what placed pods want of others, and how many on each node want it
        self.anti: dict[tuple[PodTerm, ...], Counter[str]] = {}
        self.likes: dict[tuple[PodTerm, ...], Counter[str]] = {}
        #: pods by the claims that they use (namespace/name)
        self.users: dict[str, set[str]] = {}
        self.siblings: dict[str, Counter[str]] = {}
        self.priorities: Counter[int] = Counter()
        #: pods for which room is being made, by node
        self.nominated: dict[str, dict[str, Pod]] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        #: pods on nodes that are not known (any more)
        self._homeless: dict[str, dict[str, Pod]] = {}

    def __len__(self) -> int:
        return len(self.by_age)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.by_age.values())

    def get(self, name: str) -> Node | None:
        """A node."""
        return self.by_age.get(name)

    def node_of(self, pod: Pod) -> Node | None:
        """Where a placed pod is."""
        return self.by_age.get(pod.node)

    # -- nodes

    def set_node(self, facts: Facts) -> bool:
        """There is this node; whether that is news."""
        node = self.by_age.get(facts.name)
        if node is None:
            node = self.by_age[facts.name] = Node(facts)
            for pod in self._homeless.pop(facts.name, {}).values():
                node.add(pod)
        elif node.facts == facts:
            return False
        node.facts = facts
        self._changed(node)
        return True

    def remove_node(self, name: str) -> None:
        """The node is gone; its pods are known until somebody removes them, too."""
        node = self.by_age.pop(name, None)
        if node is not None:
            self.generation += 1
            self._homeless[name] = node.pods

    def _changed(self, node: Node) -> None:
        self.generation += 1
        node.generation = self.generation
        self.by_age.move_to_end(node.facts.name)

    # -- pods

    def place(self, pod: Pod) -> None:
        """A pod has its node, or has changed there."""
        self.remove(pod.key)
        self.pods[pod.key] = pod
        self._count(pod, 1)
        node = self.by_age.get(pod.node)
        if node is None:
            self._homeless.setdefault(pod.node, {})[pod.key] = pod
            return
        node.add(pod)
        self._changed(node)

    def remove(self, key: str) -> Pod | None:
        """A pod takes nothing any more; what it was."""
        pod = self.pods.pop(key, None)
        if pod is None:
            return None
        self._count(pod, -1)
        node = self.by_age.get(pod.node)
        if node is None:
            self._homeless.get(pod.node, {}).pop(key, None)
        else:
            node.remove(key)
            self._changed(node)
        return pod

    def _count(self, pod: Pod, sign: int) -> None:
        _add(self.priorities, pod.priority, sign)
        labels = frozenset(pod.labels.items())
        groups = self.alike.setdefault(pod.namespace, {})
        group = groups.get(labels)
        if group is None:
            group = groups[labels] = Alike(pod.namespace, pod.labels)
        _add(group.nodes, pod.node, sign)
        if pod.ending:
            _add(group.ending, pod.node, sign)
        if not group.nodes:
            del groups[labels]
        if pod.siblings:
            _tally(self.siblings, pod.siblings, pod.node, sign)
        if pod.relations.anti:
            _tally(self.anti, pod.relations.anti, pod.node, sign)
        if pod.relations.likes:
            _tally(self.likes, pod.relations.likes, pod.node, sign)
        for claim in pod.claims:
            users = self.users.setdefault(f"{pod.namespace}/{claim}", set())
            if sign > 0:
                users.add(pod.key)
            else:
                users.discard(pod.key)

    def nominate(self, pod: Pod, node: str) -> None:
        """Room is being made for a pod on a node; "" for no longer."""
        for there in list(self.nominated):
            self.nominated[there].pop(pod.key, None)
            if not self.nominated[there]:
                del self.nominated[there]
        if node:
            self.nominated.setdefault(node, {})[pod.key] = pod


def _add(counts: Counter[_K], key: _K, number: int) -> None:
    """Count, and hold no zeros."""
    counts[key] += number
    if not counts[key]:
        del counts[key]


def _tally(tallies: dict[_K, Counter[str]], of: _K, node: str, number: int) -> None:
    counts = tallies.setdefault(of, Counter())
    _add(counts, node, number)
    if not counts:
        del tallies[of]
