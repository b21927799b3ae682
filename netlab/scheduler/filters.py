"""Why a pod cannot go to a node, by what that node is and has. Pure functions; the words are the original's.

Source: kubernetes pkg/scheduler/framework/plugins/{nodeunschedulable,nodename,tainttoleration,nodeaffinity,nodeports,
noderesources}, in the order in which the default profile asks them.
"""

from __future__ import annotations

from dataclasses import dataclass

from netlab.scheduler.asks import NO_EXECUTE, NO_SCHEDULE, Ask, Port, Taint, tolerates
from netlab.scheduler.nodes import Facts, Node

UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", NO_SCHEDULE)
EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Reject:
    """Why not. plugin: who says so, by the original's name; final: that no other pod's end would change it."""

    plugin: str
    reasons: tuple[str, ...]
    final: bool = False


_CORDONED = Reject("NodeUnschedulable", ("node(s) were unschedulable",), True)
_OTHER_NAME = Reject("NodeName", ("node(s) didn't match the requested node name",), True)
_AFFINITY = Reject("NodeAffinity", ("node(s) didn't match Pod's node affinity/selector",), True)
_PORTS = Reject("NodePorts", ("node(s) didn't have free ports for the requested pod ports",))


def by_facts(ask: Ask, facts: Facts) -> Reject | None:
    """What does not change with the pods that are there."""
    if facts.unschedulable and not tolerates(ask.tolerations, UNSCHEDULABLE):
        return _CORDONED
    if ask.node_name and ask.node_name != facts.name:
        return _OTHER_NAME
    taint = untolerated(ask, facts)
    if taint is not None:
        reason = f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
        return Reject("TaintToleration", (reason,), True)
    return None if chosen(ask, facts) else _AFFINITY


def untolerated(ask: Ask, facts: Facts) -> Taint | None:
    """The first taint that keeps the pod out."""
    for taint in facts.taints:
        if taint.effect in (NO_SCHEDULE, NO_EXECUTE) and not tolerates(ask.tolerations, taint):
            return taint
    return None


def chosen(ask: Ask, facts: Facts) -> bool:
    """Whether node selector and required node affinity mean the node."""
    if any(facts.labels.get(key) != value for key, value in ask.node_selector):
        return False
    return ask.required is None or any(term.matches(facts.name, facts.labels) for term in ask.required)


def by_room(ask: Ask, node: Node) -> Reject | None:
    """What the pods that are there leave over."""
    if ask.ports and any(_taken(port, node) for port in ask.ports):
        return _PORTS
    has, used = node.facts.allocatable, node.used
    short, never = [], False
    for name, number in ask.requests:
        if used.get(name, 0) + number > has.get(name, 0):
            short.append("Too many pods" if name == "pods" else f"Insufficient {name}")
            never = never or number > has.get(name, 0)
    return Reject("NodeResourcesFit", tuple(short), never) if short else None


def _taken(port: Port, node: Node) -> bool:
    if port.address != EVERYWHERE:
        return bool(node.ports[port]) or bool(node.ports[port._replace(address=EVERYWHERE)])
    return any(p.number == port.number and p.protocol == port.protocol for p in node.ports)


def reject(ask: Ask, node: Node) -> Reject | None:
    """Both; None if the node will do."""
    return by_facts(ask, node.facts) or by_room(ask, node)
