"""Steps that are handed over: only what changed reaches the kernel, what is there is as if it had been applied."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from netlab.base.errors import KernelError
from netlab.compile.objects import Endpoint, EndpointSlice, Service, ServicePort, SlicePort
from netlab.compile.proxier import Proxier
from netlab.compile.proxying import ProxyConfig
from netlab.compile.services_iptables import IptablesProxier
from netlab.compile.services_nft import NftProxier
from netlab.kernel import netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.commands import run_in
from netlab.kernel.iptables import Iptables
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import Chain, HostState, IptablesRule, NftChain, NftRule, NftTable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

CONFIG = ProxyConfig(
    node="n1", node_ips=("192.168.0.1", "fd00:192::1"), cluster_cidrs=("10.0.0.0/8", "fd00:10::/64"),
    service_cidrs=("172.30.0.0/16", "fd00:172::/112"),
)  # fmt: skip
PORTS = (ServicePort("p", "tcp", 80, 80, 30080), ServicePort("u", "udp", 53, 53), ServicePort("s", "sctp", 90, 90))


def address(family: int, kind: str, number: int) -> str:
    v4 = {"pod": "10.180.0", "service": "172.30.0", "outside": "80.11.12", "balancer": "198.51.100"}[kind]
    return f"{v4}.{number}" if family == 4 else f"fd00:{v4.split('.')[0]}::{number}"


def services(family: int) -> list[tuple[Service, EndpointSlice]]:
    """One of everything that a Service can ask for."""
    ranges = ("203.0.113.0/24", "192.168.0.1/32") if family == 4 else ("fd00:203::/64", "fd00:192::1/128")
    kinds: list[dict[str, Any]] = [
        {},
        {"affinity": 10800, "source_ranges": ranges, "balancer_ips": (address(family, "balancer", 1),)},
        {"external_local": True, "internal_local": True, "health_port": 31000},
        {"external_ips": (address(family, "outside", 10),)},
        {"selector": {}},
    ]
    found = []
    for number, more in enumerate(kinds):
        name = f"svc-{number}"
        ports = tuple(replace(p, node_port=p.node_port and p.node_port + number) for p in PORTS)
        made = Service(
            "ns", name, "LoadBalancer", ports, (address(family, "service", 10 + number),), families=(family,), **more
        )
        endpoints = (
            () if number == 4 else tuple(Endpoint(address(family, "pod", n), node=f"n{n % 2}") for n in range(1, 4))
        )
        listed = (SlicePort("p", "tcp", 8080), SlicePort("u", "udp", 53), SlicePort("s", "sctp", 90))
        found.append((made, EndpointSlice("ns", name, name, family, listed, endpoints)))
    return found


@pytest.fixture
def where() -> Iterator[str]:
    name = f"rl{os.getpid()}.step"
    os.close(netns.create(name))
    try:
        yield name
    finally:
        netns.delete(name)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("mode", "variant", "choice"),
    [
        (IptablesProxier, "legacy", "map"),
        (IptablesProxier, "nft", "map"),
        (NftProxier, "legacy", "map"),
        (NftProxier, "legacy", "rules"),
    ],
)
def test_steps_are_as_good_as_apply(
    where: str, mode: type[Proxier[Any]], variant: str, choice: Any, family: Any
) -> None:
    kernel = DaemonKernel(LinuxBackend(iptables=variant), MemoryLedger())
    proxier = mode(replace(CONFIG, choice=choice), family)

    def step() -> int:
        made = proxier.step()
        ops = kernel.step(where, "proxy", made.gone, made.new)
        assert kernel.plan_all("proxy", {where: proxier.state()}) == {}
        assert kernel.drift("proxy", {where: proxier.state()}) == ({}, {})
        return len(ops)

    listed = services(family)
    for made, one in listed:
        proxier.put(made.key, made, (one,))
    step()
    made, one = listed[1]
    proxier.put(made.key, made, (replace(one, endpoints=one.endpoints[1:]),))
    # three ports: the balancing chain and the endpoint that goes, in nftables with its affinity set
    assert step() <= 9
    proxier.put(made.key, made, ())
    step()
    proxier.put(made.key, None)
    step()
    proxier.put(made.key, made, (one,))
    step()
    kernel.apply(where, "proxy", HostState())
    assert kernel.drift("proxy", {where: HostState()}) == ({}, {})


def test_S46_a_change_leaves_the_counters_of_the_others(where: str) -> None:
    kernel = DaemonKernel(LinuxBackend(iptables="legacy"), MemoryLedger())
    proxier = IptablesProxier(CONFIG, 4)
    listed = services(4)
    for made, one in listed:
        proxier.put(made.key, made, (one,))
    step = proxier.step()
    kernel.step(where, "proxy", step.gone, step.new)
    run_in(where, ["iptables-legacy", "-t", "nat", "-L", "KUBE-SERVICES", "1", "-v"], check=True)
    made, one = listed[0]
    proxier.put(made.key, made, (replace(one, endpoints=one.endpoints[1:]),))
    ops = kernel.step(where, "proxy", *(lambda s: (s.gone, s.new))(proxier.step()))
    assert {op.item.key[-1][:9] for op in ops} == {"KUBE-SVC-", "KUBE-SEP-"}  # type: ignore[index]


def test_S92_foreign_rules_survive_and_a_flushed_chain_is_mended(where: str) -> None:
    kernel = DaemonKernel(LinuxBackend(iptables="nft"), MemoryLedger())
    run_in(where, ["iptables-nft", "-t", "nat", "-A", "PREROUTING", "-d", "1.2.3.4", "-j", "ACCEPT"], check=True)
    run_in(where, ["iptables-nft", "-N", "MINE"], check=True)
    proxier = IptablesProxier(CONFIG, 4)
    for made, one in services(4):
        proxier.put(made.key, made, (one,))
    step = proxier.step()
    kernel.step(where, "proxy", step.gone, step.new)
    run_in(where, ["iptables-nft", "-t", "nat", "-F", "KUBE-SERVICES"], check=True)
    plans, _ = kernel.drift("proxy", {where: proxier.state()})
    assert [op.item.key[-1] for op in plans[where]] == ["KUBE-SERVICES"]
    kernel.apply(where, "proxy", proxier.state())
    assert kernel.plan_all("proxy", {where: proxier.state()}) == {}
    kernel.apply(where, "proxy", HostState())
    left = {(c.name, r.line) for c in Iptables("nft").read(where) for r in c.rules}
    assert left == {("PREROUTING", "-d 1.2.3.4/32 -j ACCEPT")}
    assert "MINE" in {c.name for c in Iptables("nft").read(where)}


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_refused_rule_names_its_object(where: str, variant: str) -> None:
    kernel = DaemonKernel(LinuxBackend(iptables=variant), MemoryLedger())
    rule = IptablesRule.trusted("-m set --match-set nowhere dst -j ACCEPT", "Service default/broken port 80")
    chain = Chain(family=4, table="filter", name="KUBE-X", rules=(rule,))
    with pytest.raises(KernelError, match="Service default/broken port 80"):
        kernel.step(where, "proxy", (), (chain,))


def test_a_refused_nft_rule_names_its_object_and_nothing_is_done(where: str) -> None:
    kernel = DaemonKernel(LinuxBackend(iptables="nft"), MemoryLedger())
    rule = NftRule("ip daddr @nowhere drop", "Service default/broken port 80")
    table = NftTable(family="ip", name="t")
    with pytest.raises(KernelError, match="Service default/broken port 80"):
        kernel.step(where, "proxy", (), (table, NftChain(family="ip", table="t", name="c", rules=(rule,))))
    assert run_in(where, ["nft", "list", "ruleset"]).stdout == ""
    kernel.apply(where, "proxy", HostState())
