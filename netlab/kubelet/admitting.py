"""Whether a pod may begin on this node, whoever sent it here. Pure: the scheduler's own filters are asked.

Source: kubernetes pkg/kubelet/lifecycle/predicate.go; reasons and messages are the original's.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.api import Json
from netlab.kubelet import pods
from netlab.scheduler.asks import NO_EXECUTE, ask_of, tolerates
from netlab.scheduler.filters import by_room, chosen
from netlab.scheduler.nodes import Node, facts
from netlab.scheduler.pods import parse

REJECTED = "Pod was rejected: "


def refusal(pod: Json, node: Json, others: Iterable[Json]) -> tuple[str, str] | None:
    """Reason and message; None if it may begin. node: the Node object; others: the node's pods that have not ended."""
    if pods.static(pod):
        return None
    ask, there = ask_of(pod["spec"], placed=True), Node(facts(node))
    if not chosen(ask, there.facts):
        return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    for taint in there.facts.taints:
        if taint.effect == NO_EXECUTE and not tolerates(ask.tolerations, taint):
            return _failed("TaintToleration", f"node(s) had taints that the pod didn't tolerate: {taint.key}")
    for other in others:
        there.add(parse(other))
    found = by_room(ask, there)
    if found is None:
        return None
    if found.plugin == "NodePorts":
        return _failed("NodePorts", found.reasons[0])
    for name, number in ask.requests:
        used, has = there.used.get(name, 0), there.facts.allocatable.get(name, 0)
        if used + number > has:
            told = f"Node didn't have enough resource: {name}, requested: {number}, used: {used}, capacity: {has}"
            return f"OutOf{name}", told
    return None


def _failed(plugin: str, why: str) -> tuple[str, str]:
    return plugin, f"Predicate {plugin} failed: {why}"
