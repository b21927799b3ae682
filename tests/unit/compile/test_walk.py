"""The simulator: chance, memory, what it says of each rule, and that it never guesses."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from oracle import worlds

from netlab.compile.objects import Node, Objects
from netlab.compile.parse import objects
from netlab.compile.rules import Mode, completed, world
from netlab.compile.walk import Dice, Memory, Packet, Place, UnknownRule, World
from netlab.model import Chain, HostState, IptablesRule

A = Place("pod", "x/a", "n1")
MODES: list[Mode] = ["iptables", "nftables", "ipvs"]


def cluster(**spec: Any) -> Objects:
    pods = worlds.nine()
    for pod in pods:
        pod["metadata"]["labels"] |= {"app": "web"}
    whole = {"clusterIP": "10.96.0.1", "selector": {"app": "web"}, "ports": [{"port": 80}], **spec}
    service = {"kind": "Service", "metadata": {"namespace": "x", "name": "web"}, "spec": whole}
    return completed(objects([worlds.node(n) for n in worlds.NODES] + pods + [service]))


@pytest.mark.parametrize("mode", MODES)
def test_S1_S86_every_endpoint_has_the_same_chance(mode: Mode) -> None:
    found = list(world(cluster(), mode).outcomes(A, Packet("10.244.1.10", "10.96.0.1")))
    assert len(found) == 3 and sum(o.probability for o in found) == pytest.approx(1)
    assert all(o.probability == pytest.approx(1 / 3, abs=1e-6) for o in found)


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_S86_thrown_dice_are_fair(mode: Mode) -> None:
    made, rng = world(cluster(), mode), random.Random(7)
    count = Counter(made.walk(A, Packet("10.244.1.10", "10.96.0.1"), dice=Dice(rng=rng)).where for _ in range(3000))
    expected = 1000.0
    assert sum((n - expected) ** 2 / expected for n in count.values()) < 13.8  # chi-square, 2 degrees, 0.999


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_S39_S41_S43_affinity(mode: Mode) -> None:
    of = cluster(sessionAffinity="ClientIP")
    made, memory, rng = world(of, mode), Memory(), random.Random(3)

    def ask(ip: str = "10.244.1.10", of: World = made) -> str:
        return of.walk(A, Packet(ip, "10.96.0.1"), dice=Dice(rng=rng), memory=memory).where

    first = ask()
    assert {ask() for _ in range(20)} == {first}
    assert len({ask(f"10.244.1.{n}") for n in range(100, 140)}) == 3
    # the endpoint goes: the client is given another at once
    from dataclasses import replace

    name = first.removeprefix("pod ").partition("/")[2]
    (one,) = of.slices
    left = replace(one, endpoints=tuple(e for e in one.endpoints if e.target != name))
    after = world(replace(of, slices=(left,)), mode)
    assert ask(of=after) != first


@pytest.mark.parametrize("mode", ["ipvs"])
def test_S97_S102_ipvs(mode: Mode) -> None:
    made = world(cluster(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), mode)
    outcome = made.walk(A, Packet("10.244.1.10", "10.96.0.1"))
    assert (outcome.verdict == "delivered" and not outcome.packet.masqueraded) or outcome.where == "pod x/a"
    outcome = made.walk(Place("outside", "", "n2"), Packet(worlds.OUTSIDE, "192.168.0.2", "tcp", 30080))
    assert outcome.verdict == "delivered" and outcome.packet.masqueraded
    outcome = made.walk(A, Packet("10.244.1.10", "10.96.0.1", "tcp", 22))
    assert outcome.verdict == "reject"  # S101
    empty = world(cluster(selector={"app": "nobody"}), mode)
    assert empty.walk(A, Packet("10.244.1.10", "10.96.0.1")).verdict == "reject"


def test_a_step_tells_rule_why_and_effect() -> None:
    outcome = world(cluster(), "iptables").walk(A, Packet("10.244.1.10", "10.96.0.1"), dice=Dice([1, 0]))
    steps = [(s.chain[:8], s.effect.split(" ")[0], s.why) for s in outcome.steps]
    assert ("KUBE-SER", "→", "Service x/web port 80") in steps
    assert ("KUBE-SEP", "destination", "Service x/web port 80") in steps
    assert all(s.why for s in outcome.steps)


@pytest.mark.parametrize("line", ["-m quota --quota 5 -j ACCEPT", "-p tcp -m tcp --syn -j ACCEPT", "-j NFQUEUE"])
def test_what_it_does_not_know_is_an_error(line: str) -> None:
    chain = Chain(family=4, table="filter", name="FORWARD", rules=(IptablesRule.of(line),))
    made = World(Objects(nodes=(Node("n1", ("192.168.0.1",)),)), {"n1": HostState.of([chain])})
    with pytest.raises(UnknownRule):
        made.walk(Place("outside", "", "n1"), Packet("1.2.3.4", "10.0.0.1"))


def test_a_policy_of_drop_ends_it() -> None:
    chain = Chain(family=4, table="filter", name="FORWARD", policy="DROP")
    made = World(Objects(nodes=(Node("n1", ("192.168.0.1",)),)), {"n1": HostState.of([chain])})
    assert made.walk(Place("outside", "", "n1"), Packet("1.2.3.4", "10.0.0.1")).verdict == "drop"
