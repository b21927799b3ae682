"""Who has to go for whom."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from making import Object, World, node, parsed, pod, taint

from netlab.api.selectors import from_object
from netlab.scheduler.decide import Unfit
from netlab.scheduler.preempt import Budget, Room, make_room, why_not
from netlab.scheduler.volumes import Claims


def room(w: World, obj: Object, *budgets: Budget) -> Room | str:
    found = w.decide(obj)
    assert isinstance(found, Unfit)
    return make_room(parsed(obj), found, w.snapshot, Claims(), budgets)


def ranked(name: str, priority: int, cpu: str = "1", **labels: str) -> Object:
    return pod(name, priority=priority, requests={"cpu": cpu}, labels=labels)


def victims(found: Room | str) -> tuple[str, list[str]]:
    assert isinstance(found, Room), found
    return found.node, [v.key.removeprefix("default/") for v in found.victims]


def test_the_least_that_helps_goes_where_it_hurts_least() -> None:
    w = World(node("a", cpu="2"), node("b", cpu="2"), node("c", taints=[taint("k")]))
    for name, priority, where in (("a1", 1, "a"), ("a2", 5, "a"), ("b1", 2, "b"), ("b2", 5, "b")):
        w.put(ranked(name, priority), on=where)
    assert victims(room(w, ranked("p", 10))) == ("a", ["a1"])
    assert victims(room(w, ranked("p", 10, "2"))) == ("a", ["a2", "a1"])
    assert room(w, ranked("p", 1)) == (
        "0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )
    # a pod that is larger than the node is not helped by anybody's end
    assert room(w, ranked("p", 10, "3")) == "0/3 nodes are available: 3 Preemption is not helpful for scheduling."


def test_budgets_are_spared_where_that_can_be() -> None:
    w = World(node("a", cpu="1"), node("b", cpu="1"))
    w.put(ranked("a1", 1, app="x"), on="a")
    w.put(ranked("b1", 5), on="b")
    selector = from_object({"matchLabels": {"app": "x"}})
    assert selector is not None
    assert victims(room(w, ranked("p", 10))) == ("a", ["a1"])
    assert victims(room(w, ranked("p", 10), Budget("default", selector, 0))) == ("b", ["b1"])
    assert victims(room(w, ranked("p", 10), Budget("default", selector, 1))) == ("a", ["a1"])


def test_room_that_is_made_is_not_free_for_others() -> None:
    w = World(node("a", cpu="1"))
    w.snapshot.nominate(parsed(ranked("p", 10)), "a")
    assert "Insufficient cpu" in w.why(ranked("q", 10))
    assert w.decide(ranked("p", 10)) == "a" and w.decide(ranked("more", 11)) == "a"
    w.snapshot.nominate(parsed(ranked("p", 10)), "")
    assert w.decide(ranked("q", 10)) == "a"


def test_who_may_not() -> None:
    w = World(node("a", cpu="1"))
    w.snapshot.place(replace(parsed(ranked("v", 1)), node="a", ending=True))
    modest = ranked("p", 10)
    modest["spec"]["preemptionPolicy"] = "Never"
    assert why_not(parsed(modest), w.snapshot) == "not eligible due to preemptionPolicy=Never."
    waiting = replace(parsed(ranked("p", 10)), nominated="a")
    assert why_not(waiting, w.snapshot) == "not eligible due to a terminating pod on the nominated node."
    assert why_not(parsed(ranked("p", 10)), w.snapshot) == ""


def test_anti_affinity_can_be_preempted() -> None:
    w = World(node("a"))
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]}}  # fmt: skip
    w.put(ranked("low", 1, "100m", app="x"))
    w.put(ranked("bystander", 1, "100m"))
    assert victims(room(w, pod("p", priority=10, affinity=anti))) == ("a", ["low"])
