"""Services: oracle = simulator = kernel, in both variants of iptables and in nftables, on bridges and routed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from oracle import worlds
from podnet import Net, pods_of
from servicejudge import CIDR, HAND, judge

from netlab.compile.parse import objects
from netlab.compile.proxying import ProxyConfig
from netlab.compile.rules import Mode, completed, proxy_config, service_rules
from netlab.model import HostState

pytestmark = [
    pytest.mark.not_in_vm(
        "the rules of here and there are the same; IPVS, which is there alone, has its own in tests/vm"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
EXAMPLES = max(1, int(os.environ.get("NETLAB_EXAMPLES", "60")) // 12)


@pytest.fixture(
    scope="module",
    params=[("bridged", "legacy", "iptables"), ("routed", "nft", "iptables"), ("bridged", "nft", "nftables"), ("routed", "legacy", "nftables")],
    ids="-".join,
)  # fmt: skip
def net(request: pytest.FixtureRequest) -> Iterator[tuple[Net, Mode]]:
    how, variant, mode = request.param
    made = Net(dict(worlds.NODE_IPS), pods_of(worlds.nine()), routed=how == "routed", variant=variant)
    with made.up():
        yield made, mode


@pytest.mark.parametrize("name", HAND)
def test_service(net: tuple[Net, Mode], name: str) -> None:
    judge(net, HAND[name])


@pytest.mark.parametrize("net", [("bridged", "nft", "nftables")], ids="-".join, indirect=True)
@pytest.mark.parametrize("name", HAND)
def test_service_of_many(net: tuple[Net, Mode], name: str) -> None:
    """As nftables has it where there are thousands of Services."""
    judge(net, HAND[name], config=ProxyConfig(node="", cluster_cidrs=(CIDR,), choice="direct"))


def test_S10_no_detector(net: tuple[Net, Mode]) -> None:
    judge(net, HAND["S1_S7_S8_S9_cluster_ip"], config=ProxyConfig(node="", cluster_cidrs=("fd77::/64",)))


def test_S11_masquerade_all(net: tuple[Net, Mode]) -> None:
    config = ProxyConfig(node="", cluster_cidrs=(CIDR,), masquerade_all=True)
    judge(net, HAND["S1_S7_S8_S9_cluster_ip"], config=config)


def test_S17_addresses_of_node_ports(net: tuple[Net, Mode]) -> None:
    """n1 has no address in the range, and n2 has one."""
    made, mode = net
    config = ProxyConfig(node="", cluster_cidrs=(CIDR,), node_port_addresses=("192.168.0.2/32",))
    parsed = completed(
        objects([*(worlds.node(n) for n in worlds.NODES), *worlds.nine(), *HAND["S13_S14_S15_S19_node_port"]])
    )
    try:
        for node in parsed.nodes:
            here = proxy_config(parsed, node, replace(config, local_ips=(worlds.NODE_IPS[node.name], "127.0.0.1")))
            made.kernel.apply(made.ns(node.name), "proxy", service_rules(parsed, here, mode, 4))
        made.forget()
        asked = [("ext", worlds.NODE_IPS[n], "tcp", 30080) for n in ("n1", "n2")] + [("n2", "127.0.0.1", "tcp", 30080)]
        refused, served, local = made.ask(asked)
        assert refused == "refused" and served[0] in ("x-a", "x-b", "x-c") and local == "refused"
    finally:
        for name in worlds.NODES:
            made.kernel.apply(made.ns(name), "proxy", HostState())


def test_random_services(net: tuple[Net, Mode]) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=[p for p in Phase if p is not Phase.shrink],
    )  # fmt: skip
    @given(made=worlds.services())
    def holds(made: list[dict[str, Any]]) -> None:
        for one in made:  # pods listen on these alone
            for port in one.get("ports", ()) if one["kind"] == "EndpointSlice" else ():
                if port.get("port", 0) and port["protocol"] == "TCP":
                    port["port"] = 80
                elif port.get("port", 0):
                    port["port"] = 8053
        judge(net, made)

    holds()
