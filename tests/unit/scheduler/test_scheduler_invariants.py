"""Whatever happens in whatever order: no node has more than it can, none that a pod may not go to, and memory is no lie."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import given, settings
from hypothesis import strategies as st
from making import Object, World, node, parsed, pod, taint

from netlab.scheduler import nodes
from netlab.scheduler.asks import tolerates
from netlab.scheduler.decide import Decider, Unfit
from netlab.scheduler.preempt import Room, make_room
from netlab.scheduler.volumes import Claims

TAINTS = st.lists(st.sampled_from(["x", "y"]).map(lambda k: taint(k)), max_size=1)
NODES = st.builds(
    lambda name, cpu, zone, taints, cordoned: node(
        name, labels={"zone": zone}, taints=taints, cordoned=cordoned, cpu=f"{cpu}", pods="3"
    ),
    st.sampled_from("abcd"), st.integers(1, 3), st.sampled_from("12"), TAINTS, st.booleans(),
)  # fmt: skip
APP = {"matchLabels": {"app": "x"}}
ANTI = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
    {"topologyKey": "zone", "labelSelector": APP}]}}  # fmt: skip
SPREAD = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": APP}]
EXTRA = st.sampled_from([
    {}, {}, {"affinity": ANTI}, {"topologySpreadConstraints": SPREAD}, {"nodeSelector": {"zone": "1"}}, {"host_port": 80},
])  # fmt: skip
PODS = st.builds(
    lambda name, cpu, tolerates, app, priority, extra: pod(
        name, labels={"app": app}, requests={"cpu": f"{cpu}00m"}, priority=priority,
        tolerations=[{"key": key, "operator": "Exists"} for key in tolerates], **extra,
    ),
    st.sampled_from([f"p{n}" for n in range(12)]), st.integers(0, 15), st.lists(st.sampled_from("xy"), max_size=2),
    st.sampled_from("xz"), st.integers(0, 3), EXTRA,
)  # fmt: skip
STEPS = st.lists(st.one_of(st.tuples(st.just("node"), NODES), st.tuples(st.just("pod"), PODS),
                           st.tuples(st.just("gone"), PODS), st.tuples(st.just("lost"), NODES)), max_size=40)  # fmt: skip


def allowed(w: World, name: str, obj: Object) -> None:
    """That a pod that was just placed may be there."""
    there, asked = w.snapshot.by_age[name], parsed(obj)
    assert there.used["pods"] == len(there.pods) <= there.facts.allocatable["pods"]
    assert there.used.get("cpu", 0) <= there.facts.allocatable["cpu"] or not dict(asked.ask.requests).get("cpu")
    assert not there.facts.unschedulable
    assert all(tolerates(asked.ask.tolerations, t) for t in there.facts.taints)
    assert all(there.facts.labels.get(k) == v for k, v in asked.ask.node_selector)
    assert all(count == 1 for count in there.ports.values())
    if asked.relations.anti:
        zone = there.facts.labels["zone"]
        others = [p for n in w.snapshot for p in n.pods.values() if n.facts.labels["zone"] == zone]
        assert not [p for p in others if p.labels["app"] == "x" and p.key != asked.key]


@settings(max_examples=150, deadline=None)
@given(st.lists(NODES, min_size=1, max_size=4), STEPS)
def test_invariants(start: list[Object], steps: list[tuple[str, Object]]) -> None:
    w = World(*start)
    for what, obj in steps:
        match what:
            case "node":
                w.snapshot.set_node(nodes.facts(obj))
            case "lost":
                w.snapshot.remove_node(obj["metadata"]["name"])
            case "gone":
                w.snapshot.remove(parsed(obj).key)
            case _ if parsed(obj).key in w.snapshot.pods:
                continue
            case _:
                found = w.decide(obj)
                fresh = Decider(w.snapshot).decide(parsed(obj), Claims())
                if isinstance(found, Unfit):
                    assert isinstance(fresh, Unfit) and fresh.message() == found.message()
                    helps(w, obj, found)
                else:
                    assert isinstance(fresh, str)
                    w.put(obj, on=found)
                    allowed(w, found, obj)


def helps(w: World, obj: Object, unfit: Unfit) -> None:
    """Room that can be made is made by less important pods of that node, and is enough."""
    room = make_room(parsed(obj), unfit, w.snapshot, Claims(), [])
    if not isinstance(room, Room):
        return
    assert all(v.priority < parsed(obj).priority and v.node == room.node for v in room.victims)
    for victim in room.victims:
        w.snapshot.remove(victim.key)
    again = w.decide(obj)
    assert isinstance(again, str), again.message()
    for victim in room.victims:
        w.snapshot.place(victim)
