"""The policy agent's programme on a kernel that refuses: what is left out, who is told, what is tried again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from oracle import worlds

from netlab.base.errors import KernelError
from netlab.compile.objects import Objects
from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyConfig, policy_chain
from netlab.daemons.policyd.programme import Programme
from netlab.model import Chain, HostState, Item
from netlab.model.diff import Op
from netlab.model.flows import Flow


class Picky:
    """A kernel that refuses chains with a word in them, and can be broken altogether."""

    def __init__(self, word: str) -> None:
        self.word, self.broken = word, False
        self.items: dict[object, Item] = {}
        self.calls: list[str] = []
        self.tracked: list[Flow] = []

    def claimed(self) -> HostState:
        return HostState()

    def apply(self, wanted: HostState) -> list[Op]:
        self.calls.append("apply")
        self._judge(wanted)
        self.items = {item.order: item for item in wanted}
        return []

    def step(self, gone: Collection[Item], new: Collection[Item]) -> list[Op]:
        self.calls.append("step")
        self._judge(new)
        for item in gone:
            self.items.pop(item.order, None)
        self.items |= {item.order: item for item in new}
        return []

    def flows(self, family: int, protocol: str) -> list[Flow]:
        return [f for f in self.tracked if f.protocol == protocol and f.address.version == family]

    def forget(self, flows: Iterable[Flow]) -> int:
        gone = list(flows)
        self.tracked = [f for f in self.tracked if f not in gone]
        return len(gone)

    def counts(self, family: int) -> dict[str, list[int]]:
        return {i.name: [1] * len(i.rules) for i in self.items.values() if isinstance(i, Chain)}

    def _judge(self, items: Collection[Item] | HostState) -> None:
        if self.broken:
            raise KernelError("out of memory")
        for item in items:
            if isinstance(item, Chain) and any(self.word in rule.args for rule in item.rules):
                raise KernelError(f"chain {item.name}: no such match", item=str(item))


def world(*protocols: str) -> Objects:
    policies = [
        {"kind": "NetworkPolicy", "metadata": {"namespace": "x", "name": p.lower()},
         "spec": {"podSelector": {}, "ingress": [{"ports": [{"protocol": p, "port": 80}]}]}}
        for p in protocols
    ]  # fmt: skip
    return objects([worlds.node("n1"), *worlds.nine(), *policies])


@pytest.fixture
def kernel() -> Picky:
    return Picky("sctp")


def test_a_policy_that_the_kernel_refuses_isolates_and_allows_nobody(kernel: Picky) -> None:
    programme = Programme(kernel, PolicyConfig(node="n1"))
    found = world("TCP", "SCTP")
    programme.follow(found)
    (problem,) = programme.problems
    assert problem.startswith("NetworkPolicy x/sctp: the kernel refuses its rules: ")
    chains = {i.name: i.rules for i in kernel.items.values() if isinstance(i, Chain)}
    refused, taken = (policy_chain(p, "ingress") for p in sorted(found.policies, key=lambda p: p.name))
    assert chains[refused] == () and len(chains[taken]) == 2
    assert programme.obeyed
    # it is left out as long as it says the same, and tried when it says something else
    kernel.calls.clear()
    programme.follow(found)
    assert programme.problems and programme.obeyed
    programme.follow(world("TCP", "UDP"))
    assert programme.problems == []


def test_a_kernel_that_is_broken_is_tried_again(kernel: Picky) -> None:
    programme = Programme(kernel, PolicyConfig(node="n1"))
    kernel.broken = True
    with pytest.raises(KernelError, match="out of memory"):
        programme.follow(world("TCP"))
    assert not programme.obeyed and programme.problems == []
    kernel.broken = False
    programme.mend()
    assert programme.obeyed and kernel.items


def test_a_change_is_a_step_and_a_look_is_not(kernel: Picky) -> None:
    programme = Programme(kernel, PolicyConfig(node="n1"))
    programme.follow(world("TCP"))
    kernel.calls.clear()
    programme.follow(world("TCP", "UDP"))
    assert set(kernel.calls) == {"step"}
    kernel.calls.clear()
    programme.follow(world("TCP", "UDP"))
    assert kernel.calls == []
    programme.mend()
    assert kernel.calls == ["apply"]


def test_figures_by_rule_and_pod(kernel: Picky) -> None:
    programme = Programme(kernel, PolicyConfig(node="n1"))
    programme.follow(world("TCP"))
    found = {(f.what, f.name, f.rule): f.packets for f in programme.figures() if f.family == 4}
    assert found[("allowed", "tcp", "0")] == 1 and found[("dropped", "a", "")] == 1
    assert found[("held", "", "")] == 2  # one rule for each direction


def flow(protocol: str, source: str, target: str, answerer: str = "") -> Flow:
    return Flow(protocol, ip_address(source), 4000, ip_address(target), 53, ip_address(answerer or target), 53)


def test_N20_what_a_pod_had_with_others_ends_with_it(kernel: Picky) -> None:
    programme = Programme(kernel, PolicyConfig(node="n1"))
    found = world("TCP")
    (one, other) = [pod for pod in found.pods if pod.node == "n1"][:2]
    programme.follow(found)
    kept = [flow("udp", "203.0.113.9", other.ips[0]), flow("tcp", "203.0.113.9", one.ips[0])]
    dead = [
        flow("udp", "203.0.113.9", one.ips[0]), flow("sctp", one.ips[0], "203.0.113.9"),
        flow("udp", "203.0.113.9", "10.96.0.10", one.ips[0]),
    ]  # fmt: skip
    kernel.tracked = [*kept, *dead]
    programme.follow(found)
    assert kernel.tracked == [*kept, *dead]
    # another pod has its address, and it another one
    renamed = replace(one, name="another")
    programme.follow(replace(found, pods=tuple(renamed if pod is one else pod for pod in found.pods)))
    assert kernel.tracked == kept
    kernel.tracked = [*kept, *dead]
    # one of the same name, as a StatefulSet makes it, at the same address
    again = replace(renamed, uid="another")
    programme.follow(replace(found, pods=tuple(again if pod is one else pod for pod in found.pods)))
    assert kernel.tracked == kept
    kernel.tracked = [*kept, *dead]
    programme.follow(replace(found, pods=tuple(pod for pod in found.pods if pod is not one)))
    assert kernel.tracked == kept


def test_a_nodes_prefix_says_nothing_where_pods_are_held_by_their_devices() -> None:
    """With Calico a node has a podCIDR, too, and pods of all nodes have addresses in it."""
    node = worlds.node("n1")
    assert node["spec"]["podCIDR"]
    kernel = Picky("nothing")
    programme = Programme(kernel, PolicyConfig(node="n1", devices="cali+"))
    programme.follow(objects([node, *worlds.namespaces()]))
    rules = [rule.line for item in kernel.items.values() if isinstance(item, Chain) for rule in item.rules]
    assert any("-i cali+" in rule for rule in rules)
    assert not any(node["spec"]["podCIDR"] in rule for rule in rules)
