"""NetworkPolicy: oracle = simulator = kernel, 9 by 9 pods over three namespaces, on bridges and routed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from oracle import worlds
from oracle.policies import Cluster
from podnet import SCTP, Net, pods_of

from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyConfig
from netlab.compile.proxying import ProxyConfig
from netlab.compile.rules import completed, policy_rules, proxy_config, service_rules, world
from netlab.compile.walk import Packet, Place
from netlab.model import HostState

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
EXAMPLES = max(1, int(os.environ.get("NETLAB_EXAMPLES", "60")) // 12)
#: one arrangement of pods is enough to see that another kernel understands the rules
ONCE = pytest.mark.not_in_vm("the same rules, with pods elsewhere")
PORTS = (("tcp", 80), ("tcp", 81), ("udp", 80), *((("sctp", 80),) if SCTP else ()))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((how, spread), id=f"{how}-{'three-nodes' if spread else 'one-node'}", marks=marks)
        for how, spread, marks in (
            ("bridged", True, ()),
            ("bridged", False, ONCE),
            ("routed", True, ONCE),
            ("routed", False, ONCE),
        )
    ],
)
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    how, spread = request.param
    pods = worlds.nine(spread)
    nodes = {n: ip for n, ip in worlds.NODE_IPS.items() if spread or n == "n1"}
    made = Net(nodes, pods_of(pods), routed=how == "routed", variant="legacy" if how == "routed" else "nft")
    made.objects = pods  # type: ignore[attr-defined]
    with made.up():
        yield made


def judge(net: Net, policies: list[dict[str, Any]]) -> None:
    """Apply, ask every pair, compare all three."""
    pods: list[dict[str, Any]] = net.objects  # type: ignore[attr-defined]
    listed = [worlds.node(n) for n in net.nodes] + worlds.namespaces() + pods + policies
    parsed = completed(objects(listed))
    oracle, simulated = Cluster(listed), world(parsed, "iptables")
    nodes = {n: worlds.NODE_IPS[n] for n in net.nodes}
    for node in net.nodes:
        state = policy_rules(parsed, PolicyConfig(node=node, bridged=not net.routed), 4)
        net.kernel.apply(net.ns(node), "policy", state)
        assert net.kernel.plan_all("policy", {net.ns(node): state}) == {}
    net.forget()
    asked, wanted = [], []
    for a in pods_of(pods):
        for b in pods_of(pods):
            for proto, port in PORTS:
                asked.append((a.name, b.ip, proto, port))
                fine = oracle.allowed(a.ip, b.ip, proto, port, nodes)
                outcome = simulated.walk(Place("pod", a.name, a.node), Packet(a.ip, b.ip, proto, port))
                assert (outcome.verdict == "delivered") == fine, asked[-1]
                wanted.append((b.name, a.ip) if fine else "drop")
        for name in net.nodes:
            # by which address a node comes to its own pods is not told; that it may (N14), and others as no pod (N15), is
            asked.append((name, a.ip, "tcp", 80))
            fine = name == a.node or oracle.allowed(nodes[name], a.ip, "tcp", 80, nodes)
            outcome = simulated.walk(Place("node", name, name), Packet(nodes[name], a.ip, "tcp", 80))
            assert (outcome.verdict == "delivered") == fine, asked[-1]
            wanted.append((a.name,) if fine else "drop")
    got = net.ask(asked)
    told = [g[:1] if isinstance(g, tuple) and len(w) == 1 else g for g, w in zip(got, wanted, strict=True)]
    wrong = [(q, g, w) for q, g, w in zip(asked, told, wanted, strict=True) if g != w]
    assert not wrong, (wrong[:5], len(wrong), policies)
    for node in net.nodes:
        net.kernel.apply(net.ns(node), "policy", HostState())


def policy(space: str, spec: dict[str, Any], name: str = "p") -> dict[str, Any]:
    meta = {"namespace": space, "name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


B = {"matchLabels": {"pod": "b"}}
HAND = {
    "N1_types_absent": [policy("x", {"podSelector": {}, "ingress": [{}]}), policy("y", {"podSelector": {}, "egress": [{}]})],
    "N1_egress_isolates_by_rules": [policy("y", {"podSelector": B, "egress": [{"to": [{"podSelector": {}}]}]})],
    "N2_deny_and_allow_all": [
        policy("x", {"podSelector": {}, "policyTypes": ["Ingress"]}),
        policy("x", {"podSelector": B, "ingress": [{}]}, "q"),
    ],
    "N3_empty_is_any_nothing_is_deny": [
        policy("x", {"podSelector": B, "ingress": [{"from": [], "ports": [{"port": 80}]}]}),
        policy("y", {"podSelector": B, "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "nobody"}}}]}]}),
    ],
    "N4_own_namespace_and_both": [
        policy("x", {"podSelector": {}, "ingress": [{"from": [{"podSelector": B}]}]}),
        policy("y", {"podSelector": {}, "ingress": [{"from": [{"podSelector": B, "namespaceSelector": {"matchLabels": {"team": "x"}}}]}]}),
        policy("z", {"podSelector": {}, "ingress": [{"from": [{"podSelector": B}, {"namespaceSelector": {"matchLabels": {"team": "x"}}}]}]}),
    ],
    "N5_all_namespaces": [policy("x", {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]})],
    "N6_expressions": [
        policy("x", {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["x"]}]}}]}]}),
        policy("y", {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"env": ""}}}]}]}),
    ],
    "N7_ports": [
        policy("x", {"podSelector": {}, "ingress": [{"ports": [{}]}]}),
        policy("y", {"podSelector": {}, "ingress": [{"ports": [{"protocol": "UDP"}]}]}),
        policy("z", {"podSelector": {}, "ingress": [{"ports": [{"port": 81}, {"port": 80, "protocol": "UDP"}]}]}),
    ],
    "N8_named_ports": [
        policy("x", {"podSelector": {}, "ingress": [{"ports": [{"port": "serve-81-tcp"}]}]}),
        policy("y", {"podSelector": {}, "egress": [{"ports": [{"port": "serve-80-udp", "protocol": "UDP"}]}]}),
        policy("z", {"podSelector": {}, "ingress": [{"ports": [{"port": "serve-80-tcp", "protocol": "UDP"}]}]}),
    ],
    "N9_end_port": [policy("x", {"podSelector": {}, "ingress": [{"ports": [{"port": 79, "endPort": 80}]}]})],
    "N10_no_cross_product": [
        policy("x", {"podSelector": {}, "ingress": [
            {"from": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}], "ports": [{"port": 80}]},
            {"from": [{"podSelector": B}], "ports": [{"port": 81}]},
        ]}),
    ],
    "N11_except": [
        policy("x", {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.2.0/24"]}}, {"ipBlock": {"cidr": "10.244.2.11/32"}}]}]}),
        policy("y", {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.1.10/32"]}}]}]}),
    ],
    "N12_both_sides": [
        policy("x", {"podSelector": {}, "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}]}]}),
        policy("y", {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}),
    ],
    "N13_replies_pass": [
        policy("x", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]}),
        policy("y", {"podSelector": {}, "policyTypes": ["Egress"]}),
    ],
    "N14_loopback": [policy(space, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}) for space in "xyz"],
    "N15_a_pod_of_the_nodes_network_is_the_node": [
        worlds.pod("x", "host", "n1", worlds.NODE_IPS["n1"], host=True),
        policy("x", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}], "ingress": [{}]}),
        policy("y", {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "x"}}}]}]}),
        policy("z", {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": f"{worlds.NODE_IPS['n1']}/32"}}]}]}),
    ],
    "N18_whose_address_a_finished_pod_had": [
        worlds.pod("z", "done", "n1", "10.244.1.13", labels={"pod": "done"}, phase="Succeeded"),
        policy("x", {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"pod": "done"}}}]}]}),
        policy("z", {"podSelector": {"matchLabels": {"pod": "done"}}, "policyTypes": ["Ingress", "Egress"]}),
    ],
    "N16_same_names": [
        policy("x", {"podSelector": {}, "policyTypes": ["Ingress"]}, "same"),
        policy("y", {"podSelector": {}, "ingress": [{}]}, "same"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", HAND)
def test_policy(net: Net, name: str) -> None:
    judge(net, HAND[name])


def test_N17_judged_behind_a_service(net: Net) -> None:
    """By the pods at both ends, whoever's address the client has called."""
    pods: list[dict[str, Any]] = net.objects  # type: ignore[attr-defined]
    made = {
        "kind": "Service", "metadata": {"namespace": "x", "name": "web"},
        "spec": {"clusterIP": "10.96.0.20", "selector": {"pod": "b"}, "ports": [{"port": 80}]},
    }  # fmt: skip
    only_a = policy("x", {"podSelector": B, "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "a"}}}]}]})
    parsed = completed(objects([*(worlds.node(n) for n in net.nodes), *worlds.namespaces(), *pods, made, only_a]))
    try:
        for node in parsed.nodes:
            config = proxy_config(parsed, node, ProxyConfig(node="", cluster_cidrs=("10.244.0.0/16",)))
            net.kernel.apply(net.ns(node.name), "proxy", service_rules(parsed, config, "iptables", 4))
            config_here = PolicyConfig(node=node.name, bridged=not net.routed)
            net.kernel.apply(net.ns(node.name), "policy", policy_rules(parsed, config_here, 4))
        net.forget()
        ips = {pod.name: pod.ip for pod in net.pods}
        got = net.ask([(name, "10.96.0.20", "tcp", 80) for name in ("x-a", "x-c", "y-a")])
        assert got == [("x-b", ips["x-a"]), "drop", "drop"]
    finally:
        for name in net.nodes:
            for owner in ("policy", "proxy"):
                net.kernel.apply(net.ns(name), owner, HostState())


def test_random_policies(net: Net) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=[p for p in Phase if p is not Phase.shrink],
    )  # fmt: skip
    @given(made=worlds.policies())
    def holds(made: list[dict[str, Any]]) -> None:
        judge(net, made)

    holds()
