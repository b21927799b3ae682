"""Policies where a point is about compiling; what they mean is held against the oracle and the kernel elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from oracle import worlds

from netlab.compile.objects import Objects
from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyCompiler, PolicyConfig, block, policy_chain
from netlab.compile.rules import completed, policy_rules, world
from netlab.compile.walk import Packet, Place
from netlab.model import Chain, HostState, Ipset, Sysctl


def policy(space: str, spec: dict[str, Any], name: str = "p") -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": space, "name": name},
        "spec": spec,
    }


def cluster(*made: dict[str, Any], pods: list[dict[str, Any]] | None = None) -> Objects:
    base = [worlds.node(n) for n in worlds.NODES] + worlds.namespaces()
    return completed(objects([*base, *(worlds.nine() if pods is None else pods), *made]))


def verdict(of: Objects, source: str, target: str, node: str = "n1", port: int = 80, **more: Any) -> str:
    kind = "pod" if source.startswith("10.244.") else "node" if source in worlds.NODE_IPS.values() else "outside"
    return world(of, "iptables").walk(Place(kind, source, node), Packet(source, target, "tcp", port, **more)).verdict  # type: ignore[arg-type]


DENY = {"podSelector": {}, "policyTypes": ["Ingress"]}
FROM_ALL_PODS = {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}


def test_N5_all_namespaces_is_no_host() -> None:
    of = cluster(policy("x", FROM_ALL_PODS))
    assert verdict(of, "10.244.3.18", "10.244.1.10", "n3") == "delivered"
    assert verdict(of, worlds.OUTSIDE, "10.244.1.10", "n2") == "drop"
    assert verdict(of, worlds.NODE_IPS["n2"], "10.244.1.10", "n2") == "drop"


def test_N13_replies_pass() -> None:
    of = cluster(policy("x", DENY), policy("y", {"podSelector": {}, "policyTypes": ["Egress"]}))
    assert verdict(of, "10.244.1.13", "10.244.1.10") == "drop"
    assert verdict(of, "10.244.1.13", "10.244.1.10", state="ESTABLISHED") == "delivered"


def test_N14_the_own_node() -> None:
    of = cluster(policy("x", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))
    assert verdict(of, worlds.NODE_IPS["n1"], "10.244.1.10") == "delivered"
    assert verdict(of, "10.244.1.10", worlds.NODE_IPS["n1"]) == "delivered"
    assert verdict(of, "10.244.1.10", worlds.NODE_IPS["n2"]) == "drop"


def test_N15_pods_of_the_nodes_network_are_nodes() -> None:
    host = worlds.pod("x", "host", "n1", worlds.NODE_IPS["n1"], host=True)
    of = cluster(policy("x", DENY), policy("y", FROM_ALL_PODS), pods=[*worlds.nine(), host])
    chains = policy_rules(of, PolicyConfig(node="n1"), 4)
    assert not any(worlds.NODE_IPS["n1"] in str(rule) for c in chains.all(Chain) for rule in c.rules)
    assert not any(worlds.NODE_IPS["n1"] in s.entries for s in chains.all(Ipset))


def test_N16_same_names_do_not_clash() -> None:
    of = cluster(policy("x", DENY, "a-b"), policy("x-a", DENY, "b"), policy("y", DENY, "a-b"))
    assert len({policy_chain(p, "ingress") for p in of.policies}) == 3


def test_N17_judged_behind_the_service() -> None:
    service = {
        "kind": "Service", "metadata": {"namespace": "x", "name": "web"},
        "spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "selector": {"pod": "b"}, "ports": [{"port": 80, "nodePort": 30080}]},
    }  # fmt: skip
    only_a = policy("x", {"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "a"}}}]}]})
    of = cluster(service, only_a)
    assert verdict(of, "10.244.1.10", "10.96.0.1") == "delivered"  # x/a, with its own address
    assert verdict(of, "10.244.1.13", "10.96.0.1") == "drop"  # y/a


def test_S122_node_port_and_ip_block() -> None:
    spec: dict[str, Any] = {
        "type": "NodePort",
        "clusterIP": "10.96.0.1",
        "selector": {"pod": "b"},
        "ports": [{"port": 80, "nodePort": 30080}],
    }
    service = {"kind": "Service", "metadata": {"namespace": "x", "name": "web"}, "spec": spec}
    outside = policy("x", {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}]})
    # by way of another node the client is that node; with Local policy it is itself
    assert verdict(cluster(service, outside), worlds.OUTSIDE, worlds.NODE_IPS["n1"], "n1", 30080) == "drop"
    local = {**service, "spec": {**spec, "externalTrafficPolicy": "Local"}}
    assert verdict(cluster(local, outside), worlds.OUTSIDE, worlds.NODE_IPS["n2"], "n2", 30080) == "delivered"
    one_backend = policy(
        "x",
        {
            "podSelector": {"matchLabels": {"pod": "a"}},
            "egress": [{"to": [{"podSelector": {"matchLabels": {"pod": "b"}}}]}],
        },
    )
    both = {**service, "spec": {**spec, "selector": {"shared": "yes"}}}
    pods = worlds.nine()
    for pod in pods:
        pod["metadata"]["labels"] |= {"shared": "yes"} if pod["metadata"]["name"] != "a" else {}
    found = world(cluster(both, one_backend, pods=pods), "iptables").outcomes(
        Place("pod", "x/a", "n1"), Packet("10.244.1.10", "10.96.0.1")
    )
    assert sorted((o.verdict, round(o.probability, 3)) for o in found) == [("delivered", 0.5), ("drop", 0.5)]


def test_N18_finished_pods_are_nobody() -> None:
    done = worlds.pod("x", "done", "n1", "10.244.1.99", phase="Succeeded")
    of = cluster(policy("x", FROM_ALL_PODS), pods=[*worlds.nine(), done])
    state = policy_rules(of, PolicyConfig(node="n1"), 4)
    assert not any("10.244.1.99" in e for s in state.all(Ipset) for e in s.entries)
    assert not any("10.244.1.99" in r.line for c in state.all(Chain) for r in c.rules)


def test_N19_a_pod_that_is_not_known_yet_is_held_back() -> None:
    of = cluster(policy("x", DENY))
    states = {
        n: policy_rules(of, PolicyConfig(node=n, hold=(f"10.244.{i}.0/24",)), 4) for i, n in enumerate(worlds.NODES, 1)
    }
    from netlab.compile.walk import World

    held = World(of, states)
    assert held.walk(Place("pod", "new", "n1"), Packet("10.244.1.77", "10.244.2.14")).verdict == "drop"
    assert held.walk(Place("pod", "x/a", "n1"), Packet("10.244.1.10", "10.244.1.77")).verdict == "drop"
    assert held.walk(Place("pod", "y/a", "n1"), Packet("10.244.1.13", "10.244.2.14")).verdict == "delivered"


def test_bridged_pods_need_the_bridge_to_ask() -> None:
    state = policy_rules(cluster(policy("x", DENY)), PolicyConfig(node="n1", bridged=True), 4)
    assert [(s.name, s.value) for s in state.all(Sysctl)] == [("net/bridge/bridge-nf-call-iptables", "1")]


def test_N11_blocks_as_sets() -> None:
    assert block("10.0.0.0/8", ["10.1.0.0/16", "10.1.2.3/32"]) == [
        "10.0.0.0/8",
        "10.1.0.0/16 nomatch",
        "10.1.2.3 nomatch",
    ]
    assert block("0.0.0.0/0", ["0.0.0.0/1"]) == ["0.0.0.0/1 nomatch", "128.0.0.0/1"]
    assert block("::/0", []) == ["::/1", "8000::/1"]


def test_ipv6_lets_neighbours_find_each_other() -> None:
    state = policy_rules(cluster(policy("x", DENY)), PolicyConfig(node="n1"), 6)
    entry = next(c for c in state.all(Chain) if c.name == "NETPOL-FORWARD")
    assert sum("icmpv6-type 13" in r.line for r in entry.rules) == 4


def test_every_rule_says_why() -> None:
    state = policy_rules(cluster(policy("x", FROM_ALL_PODS)), PolicyConfig(node="n1"), 4)
    whys = {rule.why for chain in state.all(Chain) for rule in chain.rules}
    assert "NetworkPolicy x/p ingress[0]" in whys and "" not in whys


def test_incremental_a_pod_more_touches_sets_and_its_own_chains() -> None:
    of = cluster(policy("x", FROM_ALL_PODS), policy("y", DENY))
    compiler = PolicyCompiler(PolicyConfig(node="n1"), 4)
    compiler.load(of)
    compiler.step()
    compiler.load(of)
    assert not compiler.step()
    more = objects([worlds.pod("z", "d", "n3", "10.244.3.50")]).pods
    compiler.load(replace(of, pods=(*of.pods, *more)))
    step = compiler.step()
    assert {type(item) for item in step.new} == {Ipset} and len(step.new) == 1
    here = objects([worlds.pod("x", "e", "n1", "10.244.1.50")]).pods
    compiler.load(replace(of, pods=(*of.pods, *more, *here)))
    step = compiler.step()
    assert sorted(item.key[-1] for item in step.new if isinstance(item, Chain))[0] == "NETPOL-FORWARD"
    assert len(step.new) == 3  # the set, the pod's chain, the way to it
    assert HostState.of(compiler.state()) == policy_rules(
        replace(of, pods=(*of.pods, *more, *here)), PolicyConfig(node="n1"), 4
    )


def test_pods_are_held_by_their_devices_where_addresses_do_not_tell_whose_they_are() -> None:
    """Another node's pod may well have an address of this one's podCIDR: only this node's own are held."""
    config = PolicyConfig(node="n1", devices="cali+")
    items = policy_rules(cluster(), config, 4)
    (entry,) = [item for item in items if isinstance(item, Chain) and item.name == "NETPOL-FORWARD"]
    dropped = [rule.line for rule in entry.rules if rule.line.endswith("-j DROP")]
    assert dropped == [
        "-i cali+ -m set ! --match-set NETPOL-4-KNOWN src -j DROP",
        "-o cali+ -m set ! --match-set NETPOL-4-KNOWN dst -j DROP",
    ]
