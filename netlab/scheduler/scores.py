"""How good a node is for a pod: 0 to 100 for each respect, with the weights of the original's default profile.

Source: kubernetes pkg/scheduler/framework/plugins/{noderesources,imagelocality,tainttoleration,nodeaffinity}.
"""

from __future__ import annotations

from collections.abc import Mapping

from netlab.scheduler.asks import PREFER_NO_SCHEDULE, Ask, tolerates
from netlab.scheduler.nodes import Facts, Node

BEST = 100
TAINTS, AFFINITY, SPREAD, RELATIONS, SIBLINGS = 3, 2, 2, 2, 2
_MB = 1024 * 1024
#: an image counts from here on, and per container up to there
_IMAGE_MIN, _IMAGE_MAX = 23 * _MB, 1000 * _MB


def room(ask: Ask, node: Node) -> int:
    """How much would be left over (LeastAllocated), and how evenly (BalancedAllocation): 0 to 200."""
    has, (cpu, memory), (more_cpu, more_memory) = node.facts.allocatable, node.compared, ask.compared
    total_cpu, total_memory = has.get("cpu", 0), has.get("memory", 0)
    least, shares = 0, []
    for total, taken in ((total_cpu, cpu + more_cpu), (total_memory, memory + more_memory)):
        if total:
            least += max(0, (total - taken) * BEST // total)
            shares.append(min(1.0, taken / total))
    spread = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
    return least // max(1, len(shares)) + int((1 - spread) * BEST)


def images(ask: Ask, facts: Facts) -> int:
    """How much of the pod's images is there already."""
    if not facts.images:
        return 0
    there = sum(facts.images.get(name, 0) for name in ask.images)
    most = _IMAGE_MAX * max(1, len(ask.images))
    return BEST * (min(max(there, _IMAGE_MIN), most) - _IMAGE_MIN) // (most - _IMAGE_MIN)


def disliked(ask: Ask, facts: Facts) -> int:
    """How many taints ask the pod to rather go elsewhere."""
    return sum(t.effect == PREFER_NO_SCHEDULE and not tolerates(ask.tolerations, t) for t in facts.taints)


def liked(ask: Ask, facts: Facts) -> int:
    """The weights of the preferred node affinities that the node has."""
    return sum(weight for weight, term in ask.preferred if term.matches(facts.name, facts.labels))


def normalised(raw: Mapping[str, int], *, reverse: bool = False) -> dict[str, int]:
    """Scaled so that the highest is 100; reverse: the highest is 0."""
    most = max(raw.values(), default=0)
    if not most:
        return dict.fromkeys(raw, BEST if reverse else 0)
    scaled = {name: number * BEST // most for name, number in raw.items()}
    return {name: BEST - number for name, number in scaled.items()} if reverse else scaled
