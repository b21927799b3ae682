"""NetworkPolicy: oracle = simulator = kernel, 9 by 9 pods over three namespaces, on bridges and routed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from oracle import worlds
from oracle.policies import Cluster
from podnet import Net, pods_of

from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyConfig
from netlab.compile.rules import completed, policy_rules, world
from netlab.compile.walk import Packet, Place
from netlab.model import HostState

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
EXAMPLES = max(1, int(os.environ.get("NETLAB_EXAMPLES", "60")) // 12)
#: one arrangement of pods is enough to see that another kernel understands the rules
ONCE = pytest.mark.not_in_vm("the same rules, with pods elsewhere")
PORTS = (("tcp", 80), ("tcp", 81), ("udp", 80))


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
    got = net.ask(asked)
    wrong = [(q, g, w) for q, g, w in zip(asked, got, wanted, strict=True) if g != w]
    assert not wrong, (wrong[:5], len(wrong), policies)
    node_asks = [(n, p.ip, "tcp", 80) for p in pods_of(pods) for n in net.nodes if p.node == n]
    assert "drop" not in net.ask(node_asks)  # N14
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
    "N16_same_names": [
        policy("x", {"podSelector": {}, "policyTypes": ["Ingress"]}, "same"),
        policy("y", {"podSelector": {}, "ingress": [{}]}, "same"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", HAND)
def test_policy(net: Net, name: str) -> None:
    judge(net, HAND[name])


def test_random_policies(net: Net) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=[p for p in Phase if p is not Phase.shrink],
    )  # fmt: skip
    @given(made=worlds.policies())
    def holds(made: list[dict[str, Any]]) -> None:
        judge(net, made)

    holds()
