"""The order in which policies reach the kernel: nobody is let through before his rules are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import worlds

from netlab.compile.objects import Objects
from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyCompiler, PolicyConfig, known_set, pod_chain
from netlab.compile.policies_steps import Owners, in_order, moved, opened, owners
from netlab.compile.proxier import Step
from netlab.model import Chain, HostState, Ipset
from netlab.model.item import Item, Key

CONFIG = PolicyConfig(node="n1", hold=("10.244.1.0/24",))
DENY = {"kind": "NetworkPolicy", "metadata": {"namespace": "x", "name": "p"}, "spec": {"podSelector": {}}}
World = dict[Key, Item]

#: pods of n1 by name, each with an address: they come, go, and get each other's addresses
PODS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["10.244.1.2", "10.244.1.3", "10.244.1.4"]), max_size=3)


def cluster(pods: dict[str, str]) -> Objects:
    listed: list[dict[str, Any]] = []
    for name, ip in pods.items():
        if ip not in [p["status"]["podIP"] for p in listed]:
            listed.append(worlds.pod("x", name, "n1", ip))
    return objects([*listed, DENY])


def after(world: World, step: Step) -> World:
    kept = {order: item for order, item in world.items() if order not in {g.order for g in step.gone}}
    return {**kept, **{item.order: item for item in step.new}}


def moments(world: World, step: Step) -> Iterator[World]:
    """What the kernel holds while it takes a step: sets come before the rules that refer to them."""
    yield after(world, Step((), tuple(item for item in step.new if isinstance(item, Ipset))))
    yield after(world, step)


def let_through(world: World) -> set[str]:
    gate = next((i for i in world.values() if isinstance(i, Ipset) and i.name == known_set(4)), None)
    return set(gate.entries) if gate else set()


def isolated(world: World, ip: str, name: str) -> bool:
    """Whether a packet to the address goes through the chain of that pod."""
    chains = {i.name: i for i in world.values() if isinstance(i, Chain)}
    wanted = pod_chain("x", name, "ingress")
    entry = chains.get("NETPOL-FORWARD")
    jumps = entry is not None and any(f"{ip}/32" in rule.args and wanted in rule.args for rule in entry.rules)
    return jumps and wanted in chains


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PODS, min_size=1, max_size=4))
def test_N19_whoever_is_let_through_is_isolated_at_every_moment(lives: list[dict[str, str]]) -> None:
    compiler = PolicyCompiler(CONFIG, 4)
    world: World = {}
    before: Owners = {}
    for pods in lives:
        now = cluster(pods)
        compiler.load(now)
        here = owners(now, "n1")
        for step in in_order(compiler.step(), moved(before, here), [compiler.gate] if compiler.gate else []):
            for moment in moments(world, step):
                for ip in let_through(moment) & set(here):
                    assert isolated(moment, ip, here[ip].pod[1]), (ip, here, step)
            world = after(world, step)
        before = here
        assert world == {item.order: item for item in compiler.state()}
        assert let_through(world) == set(here)


@given(PODS, PODS)
def test_a_successor_opens_no_gate_too_early(was: dict[str, str], pods: dict[str, str]) -> None:
    first, second = PolicyCompiler(CONFIG, 4), PolicyCompiler(CONFIG, 4)
    first.load(cluster(was))
    second.load(cluster(pods))
    begun, rest = opened(second.state(), first.state())
    world = {item.order: item for item in begun}
    assert let_through(world) == set(owners(cluster(was), "n1")) & set(owners(cluster(pods), "n1"))
    assert after(world, rest) == {item.order: item for item in second.state()}


def test_without_anything_to_hold_it_is_one_step() -> None:
    compiler = PolicyCompiler(PolicyConfig(node="n1"), 4)
    compiler.load(cluster({"a": "10.244.1.2"}))
    step = compiler.step()
    assert in_order(step) == [step]
    assert opened(HostState(), ()) == (HostState(), Step())


def test_a_set_without_room_is_empty_and_says_whose_it_is() -> None:
    compiler = PolicyCompiler(PolicyConfig(node="n1", set_size=1), 4)
    allow = {**DENY, "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}}
    pods = [worlds.pod("x", name, "n1", f"10.244.1.{i}") for i, name in enumerate("ab", 2)]
    compiler.load(objects([*pods, allow]))
    assert compiler.problems == (
        "NetworkPolicy x/p: pods all of namespace x: 2 entries, and a set has room for 1: it allows none of them",
    )
    (found,) = compiler.state().all(Ipset)
    assert found.entries == ()
    compiler.load(objects([pods[0], allow]))
    assert compiler.problems == ()
