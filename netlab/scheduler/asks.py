"""What a pod asks of a node, as a value that can be compared: parsed once for all pods that ask for the same.

Source: kubernetes pkg/scheduler/framework/types.go, k8s.io/component-helpers/resource, scheduling/corev1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from netlab.api.quantity import QuantityError, value
from netlab.api.selectors import LabelSelector, Requirement, from_object

Object = dict[str, Any]

#: what a container that asks for nothing counts as when nodes are compared: milli-CPUs, bytes
DEFAULT_CPU, DEFAULT_MEMORY = 100, 200 * 1024 * 1024
NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"
_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


class Toleration(NamedTuple):
    """operator: Exists or Equal; an empty key or effect stands for every one."""

    key: str
    operator: str
    value: str
    effect: str


class Taint(NamedTuple):
    """As in Node.spec.taints."""

    key: str
    value: str
    effect: str


class Port(NamedTuple):
    """A port of the node. address: "0.0.0.0" for all of its addresses."""

    address: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """A term of a node selector: labels and the node's name both have to fit. A term without either fits nothing."""

    labels: tuple[Requirement, ...] = ()
    names: tuple[Requirement, ...] = ()

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a node is meant."""
        if not self.labels and not self.names:
            return False
        named = {"metadata.name": name}
        return all(r.matches(labels) for r in self.labels) and all(r.matches(named) for r in self.names)


@dataclass(frozen=True, slots=True)
class Ask:
    """requests: by resource, milli-CPUs and bytes, `pods` 1; compared: the same of CPU and memory for comparing nodes;
    required: one of these terms, None for no such wish; preferred: (weight, term)."""

    requests: tuple[tuple[str, int], ...] = (("pods", 1),)
    compared: tuple[int, int] = (DEFAULT_CPU, DEFAULT_MEMORY)
    ports: frozenset[Port] = frozenset()
    node_name: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()
    required: tuple[NodeTerm, ...] | None = None
    preferred: tuple[tuple[int, NodeTerm], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether it names nodes by selector or affinity."""
        return bool(self.node_selector) or self.required is not None


def amount(name: str, text: str) -> int:
    """A quantity as a whole number: milli-CPUs of `cpu`, units of all else, rounded up. What is no quantity is 0."""
    try:
        number = value(str(text))
    except QuantityError:
        return 0
    if name == "cpu":
        number *= 1000
    return int(number.to_integral_value(rounding=ROUND_CEILING))


def amounts(quantities: Mapping[str, str] | None) -> dict[str, int]:
    """The same of a whole resource list."""
    return {name: amount(name, text) for name, text in (quantities or {}).items()}


def ask_of(spec: Object, *, placed: bool = False) -> Ask:
    """What a pod's spec asks for. placed: of a pod that has its node, whose name is then no wish."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity")
    told = [
        [[c.get("resources"), c.get("ports"), c.get("image")] for c in spec.get("containers") or ()],
        [[c.get("resources"), c.get("ports"), c.get("restartPolicy")] for c in spec.get("initContainers") or ()],
        spec.get("overhead"), spec.get("resources"), spec.get("nodeSelector"), affinity, spec.get("tolerations"),
        "" if placed else spec.get("nodeName", ""),
    ]  # fmt: skip
    return _parsed(orjson.dumps(told))


@lru_cache(4096)
def _parsed(told: bytes) -> Ask:
    containers, init, overhead, whole, selector, affinity, tolerations, node_name = orjson.loads(told)
    required = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    preferred = (affinity or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    requests = _requests(containers, init, overhead, whole)
    compared = _requests(containers, init, overhead, whole, {"cpu": DEFAULT_CPU, "memory": DEFAULT_MEMORY})
    return Ask(
        requests=(("pods", 1), *sorted((n, a) for n, a in requests.items() if a)),
        compared=(compared.get("cpu", DEFAULT_CPU), compared.get("memory", DEFAULT_MEMORY)),
        ports=frozenset(_ports([c[1] for c in containers] + [c[1] for c in init if c[2] == "Always"])),
        node_name=node_name,
        node_selector=tuple(sorted((selector or {}).items())),
        required=None if required is None else tuple(node_term(t) for t in required.get("nodeSelectorTerms") or ()),
        preferred=tuple((int(p.get("weight", 0)), node_term(p.get("preference") or {})) for p in preferred),
        tolerations=tuple(
            Toleration(t.get("key", ""), t.get("operator") or "Equal", t.get("value", ""), t.get("effect", ""))
            for t in tolerations or ()
        ),
        images=tuple(c[2] for c in containers if c[2]),
    )


def _requests(
    containers: list[Any], init: list[Any], overhead: Any, whole: Any, default: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Containers run together, init containers one after another beside the sidecars that came before them."""
    total: dict[str, int] = {}
    for resources, *_ in containers:
        _add(total, _of(resources, default))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for resources, _, restart in init:
        mine = _of(resources, default if restart == "Always" else None)
        if restart == "Always":
            _add(total, mine)
            _add(sidecars, mine)
            mine = dict(sidecars)
        else:
            _add(mine, sidecars)
        for name, number in mine.items():
            peak[name] = max(peak.get(name, 0), number)
    for name, number in peak.items():
        total[name] = max(total.get(name, 0), number)
    total |= amounts((whole or {}).get("requests"))  # what is said for the whole pod counts in place of the sum
    _add(total, amounts(overhead))
    return total


def _of(resources: Any, default: Mapping[str, int] | None) -> dict[str, int]:
    return {**(default or {}), **amounts((resources or {}).get("requests"))}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


def _ports(lists: Iterable[Any]) -> Iterable[Port]:
    for ports in lists:
        for port in ports or ():
            if port.get("hostPort"):
                yield Port(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])


def node_term(term: Object) -> NodeTerm:
    """A NodeSelectorTerm."""
    return NodeTerm(
        tuple(_requirement(e) for e in term.get("matchExpressions") or ()),
        tuple(_requirement(e) for e in term.get("matchFields") or ()),
    )


def _requirement(expression: Object) -> Requirement:
    operator = _OPERATORS.get(expression.get("operator", ""), "in")
    return Requirement(expression.get("key", ""), operator, frozenset(expression.get("values") or ()))


def selector_of(selector: Object | None) -> LabelSelector | None:
    """A label selector; None selects nothing."""
    return _selector(orjson.dumps(selector, option=orjson.OPT_SORT_KEYS))


@lru_cache(4096)
def _selector(told: bytes) -> LabelSelector | None:
    return from_object(orjson.loads(told))


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether one of them lets a pod past the taint."""
    for t in tolerations:
        if t.effect and t.effect != taint.effect:
            continue
        if t.key and t.key != taint.key:
            continue
        if t.operator == "Exists" or (t.key and t.value == taint.value):
            return True
    return False
