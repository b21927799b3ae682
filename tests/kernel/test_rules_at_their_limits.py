"""Services and policies as large, and with names as long, as they get: the kernel takes them, and holds what it was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from oracle import worlds

from netlab.compile.parse import objects
from netlab.compile.policies_iptables import PolicyConfig
from netlab.compile.proxying import ProxyConfig
from netlab.compile.rules import Mode, policy_rules, service_rules
from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState, Ipset

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.not_in_vm("tens of thousands of rules are more than an emulator can do"),
]
Choice = Literal["map", "direct"]
MODES = [
    ("legacy", "iptables", "map"),
    ("nft", "iptables", "map"),
    ("nft", "nftables", "map"),
    ("nft", "nftables", "direct"),
]
MANY = 5000
#: 63 characters of a namespace and of a Service, 15 of a port: what the API takes, and all that it takes
SPACE, NAME, PORT = (
    "n-0" + "abcdefghijklmnopqrstuvwxyz-9" * 2 + "1234",
    "s-1" + "zyxwvutsrqponmlkjihgfedcba-8" * 2 + "0-7y",
    "p-80-abcdefghij",
)


@pytest.fixture
def where() -> Iterator[str]:
    name = f"limits{os.getpid()}"
    os.close(netns.create(name))
    try:
        yield name
    finally:
        netns.delete(name)


def address(number: int) -> str:
    return f"10.{244 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def service(space: str, name: str, port: str, ips: list[str], **spec: Any) -> list[dict[str, Any]]:
    """A Service with its slices, of a hundred endpoints each."""
    ports = [{"name": port, "port": 65535, "nodePort": 32767, "protocol": "SCTP"}]
    found: list[dict[str, Any]] = [{
        "kind": "Service", "metadata": {"namespace": space, "name": name},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.20", "ports": ports, **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}},
    }]  # fmt: skip
    for at in range(0, len(ips), 100):
        found.append({
            "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": space, "name": f"{name}-{at}", "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": port, "protocol": "SCTP", "port": 65535}],
            "endpoints": [{"addresses": [ip], "nodeName": "n1"} for ip in ips[at : at + 100]],
        })  # fmt: skip
    return found


def holds(where: str, variant: str, owner: str, state: HostState) -> None:
    """The kernel takes it, holds it, and lets go of it."""
    kernel = Kernel(LinuxBackend(iptables=variant), MemoryLedger())
    kernel.apply(where, owner, state)
    assert kernel.plan_all(owner, {where: state}) == {}
    kernel.apply(where, owner, HostState())


@pytest.mark.parametrize(("variant", "mode", "choice"), MODES, ids=["legacy", "nft", "nftables", "nftables-direct"])
def test_names_of_every_length_and_character(where: str, variant: str, mode: Mode, choice: Choice) -> None:
    assert [len(name) for name in (SPACE, NAME, PORT)] == [63, 63, 15]
    ranges = {
        "loadBalancerSourceRanges": ["203.0.113.0/24"],
        "externalIPs": ["80.11.12.10"],
        "sessionAffinity": "ClientIP",
    }
    made = service(SPACE, NAME, PORT, ["10.244.100.100", "10.244.100.101"], **ranges)
    config = ProxyConfig(node="n1", node_ips=("192.168.0.1",), cluster_cidrs=("10.244.0.0/16",), choice=choice)
    holds(where, variant, "proxy", service_rules(objects(made), config, mode, 4))


@pytest.mark.parametrize(("variant", "mode", "choice"), MODES, ids=["legacy", "nft", "nftables", "nftables-direct"])
def test_a_service_of_five_thousand_endpoints(where: str, variant: str, mode: Mode, choice: Choice) -> None:
    made = service("x", "web", "p", [address(number) for number in range(MANY)])
    config = ProxyConfig(node="n1", node_ips=("192.168.0.1",), cluster_cidrs=("10.244.0.0/16",), choice=choice)
    holds(where, variant, "proxy", service_rules(objects(made), config, mode, 4))


def test_a_policy_for_five_thousand_pods_with_the_longest_names(where: str) -> None:
    """By their labels, by a port that each has, and by a prefix without five thousand others."""
    own = worlds.pod(SPACE, f"{NAME}.{NAME}.{NAME}"[:253].rstrip("-."), "n1", "10.244.200.1")
    ports = [(PORT, 80, "TCP")]
    pods = [worlds.pod("y", f"p-{n}", "n2", address(n), labels={"app": "y"}, ports=ports) for n in range(MANY)]
    block = {"cidr": "0.0.0.0/0", "except": [f"{address(2 * n)}/32" for n in range(MANY)]}
    peers = [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "y"}}}, {"ipBlock": block}]
    spec = {
        "podSelector": {},
        "ingress": [{"from": peers, "ports": [{"port": 80}]}],
        "egress": [{"ports": [{"port": PORT}]}],
    }
    policy = {"kind": "NetworkPolicy", "metadata": {"namespace": SPACE, "name": NAME + ".0" * 90}, "spec": spec}
    state = policy_rules(objects([worlds.node("n1"), own, *pods, policy]), PolicyConfig(node="n1"), 4)
    assert sorted(len(s.entries) for s in state.all(Ipset))[-3:] == [MANY, MANY, MANY + 2]
    holds(where, "nft", "policy", state)
