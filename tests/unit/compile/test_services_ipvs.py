"""IPVS mode: device, virtual servers, sets, rules. Numbers are the specification's; the kernel's part is in tests/vm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netlab.compile.objects import Endpoint, EndpointSlice, Service, ServicePort, SlicePort
from netlab.compile.proxying import ProxyConfig
from netlab.compile.services_ipvs import SCHEDULERS, IpvsProxier
from netlab.model import Address, Chain, HostState, Ipset, IpvsService, Link, Sysctl

CONFIG = ProxyConfig(
    node="n1", node_ips=("192.168.0.1",), local_ips=("10.244.1.1", "127.0.0.1"), cluster_cidrs=("10.244.0.0/16",)
)
PORT = ServicePort("p", "tcp", 80, 80)


def state(*endpoints: Endpoint, config: ProxyConfig = CONFIG, **more: Any) -> HostState:
    made = Service("d", "s", **{"type": "ClusterIP", "ports": (PORT,), "cluster_ips": ("10.96.0.1",), **more})
    proto = made.ports[0].protocol
    one = EndpointSlice("d", "x", "s", 4, (SlicePort("p", proto, 80),), endpoints)
    proxier = IpvsProxier(config, 4)
    proxier.put(made.key, made, (one,))
    return proxier.state()


def entries(of: HostState, name: str) -> tuple[str, ...]:
    return next(s.entries for s in of.all(Ipset) if s.name == name)


def rules(of: HostState, table: str, name: str) -> list[str]:
    return [r.line for c in of.all(Chain) if (c.table, c.name) == (table, name) for r in c.rules]


def test_S95_device_and_addresses() -> None:
    made = state(Endpoint("10.244.1.2"), external_ips=("80.11.12.10", "192.168.0.1"))
    assert made.link("kube-ipvs0") is not None
    assert [str(a.address) for a in made.all(Address)] == ["10.96.0.1/32", "80.11.12.10/32"]
    assert rules(made, "nat", "KUBE-SERVICES")[0] == "-s 127.0.0.0/8 -j RETURN"
    assert [link.up for link in made.all(Link)] == [False]


def test_S96_sysctls() -> None:
    names = {s.name: s.value for s in state(config=replace(CONFIG, strict_arp=True)).all(Sysctl)}
    assert names["net/ipv4/vs/conntrack"] == "1" and names["net/ipv4/conf/all/arp_ignore"] == "1"


def test_S97_virtual_servers() -> None:
    made = state(
        Endpoint("10.244.1.2"), type="NodePort", ports=(replace(PORT, node_port=30080),), external_ips=("80.11.12.10",)
    )
    assert sorted(f"{s.address}:{s.port}" for s in made.all(IpvsService)) == [
        "10.244.1.1:30080", "10.96.0.1:80", "192.168.0.1:30080", "80.11.12.10:80",
    ]  # fmt: skip
    (first,) = {s.destinations for s in made.all(IpvsService)}
    assert (str(first[0].address), first[0].port, first[0].weight, first[0].method) == ("10.244.1.2", 80, 1, "masq")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_S97_schedulers(scheduler: str) -> None:
    assert state(config=replace(CONFIG, scheduler=scheduler)).all(IpvsService)[0].scheduler == scheduler


def test_S97_unknown_scheduler() -> None:
    with pytest.raises(ValueError, match="no scheduler 'x'"):
        IpvsProxier(replace(CONFIG, scheduler="x"), 4)


def test_S98_affinity() -> None:
    assert state(affinity=300).all(IpvsService)[0].persistence == 300


def test_S99_sets() -> None:
    made = state(
        Endpoint("10.244.1.2", node="n1"), Endpoint("10.244.2.2", node="n2"),
        type="LoadBalancer", ports=(replace(PORT, node_port=30080),), balancer_ips=("1.2.3.4",), external_local=True,
        source_ranges=("0.0.0.0/0", "203.0.113.0/24"), external_ips=("80.11.12.10",), health_port=31999,
    )  # fmt: skip
    kinds = {s.name: s.type for s in made.all(Ipset)}
    assert (
        kinds["KUBE-LOAD-BALANCER-SOURCE-CIDR"] == "hash:ip,port,net" and kinds["KUBE-NODE-PORT-TCP"] == "bitmap:port"
    )
    assert entries(made, "KUBE-LOOP-BACK") == ("10.244.1.2,tcp:80,10.244.1.2",)
    assert entries(made, "KUBE-CLUSTER-IP") == ("10.96.0.1,tcp:80",)
    assert (
        entries(made, "KUBE-EXTERNAL-IP-LOCAL") == ("80.11.12.10,tcp:80",) and entries(made, "KUBE-EXTERNAL-IP") == ()
    )
    assert entries(made, "KUBE-LOAD-BALANCER-LOCAL") == ("1.2.3.4,tcp:80",)
    assert entries(made, "KUBE-LOAD-BALANCER-SOURCE-CIDR") == (
        "1.2.3.4,tcp:80,0.0.0.0/1", "1.2.3.4,tcp:80,128.0.0.0/1", "1.2.3.4,tcp:80,203.0.113.0/24",
    )  # fmt: skip
    assert entries(made, "KUBE-LOAD-BALANCER-SOURCE-IP") == ("1.2.3.4,tcp:80,1.2.3.4",)
    assert entries(made, "KUBE-NODE-PORT-LOCAL-TCP") == entries(made, "KUBE-NODE-PORT-TCP") == ("30080",)
    assert entries(made, "KUBE-HEALTH-CHECK-NODE-PORT") == ("31999",)
    assert entries(made, "KUBE-IPVS-IPS") == ("1.2.3.4", "10.96.0.1", "80.11.12.10")
    sctp = state(type="NodePort", ports=(ServicePort("p", "sctp", 80, 80, 30080),))
    assert entries(sctp, "KUBE-NODE-PORT-SCTP-HASH") == ("10.244.1.1,sctp:30080", "192.168.0.1,sctp:30080")


def test_S99_names_of_IPv6() -> None:
    names = {s.name for s in IpvsProxier(CONFIG, 6).state().all(Ipset)}
    assert "KUBE-6-LOAD-BALANCER-SOURCE-CID" in names and all(len(name) <= 31 for name in names)


def test_S100_rules() -> None:
    made = state()
    post = rules(made, "nat", "KUBE-POSTROUTING")
    assert "--match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE" in post[0]
    services = rules(made, "nat", "KUBE-SERVICES")
    assert any(
        r.startswith("! -s 10.244.0.0/16") and "KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ" in r for r in services
    )
    assert services[-2].endswith("KUBE-CLUSTER-IP dst,dst -j ACCEPT") and services[-1].endswith("-j ACCEPT")
    ports = rules(made, "nat", "KUBE-NODE-PORT")
    assert [r.endswith("RETURN") for r in ports] == [True, False] * 3
    every = rules(state(config=replace(CONFIG, masquerade_all=True)), "nat", "KUBE-SERVICES")
    assert any(r.startswith("-m comment") and r.endswith("KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ") for r in every)
    none = rules(state(config=replace(CONFIG, cluster_cidrs=())), "nat", "KUBE-SERVICES")
    assert any(r.endswith("KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ") for r in none)


def test_S101_filter() -> None:
    made = state()
    assert rules(made, "filter", "KUBE-IPVS-FILTER")[-1] == (
        "-m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT"
    )
    assert rules(made, "filter", "KUBE-SOURCE-RANGES-FIREWALL")[-1] == "-j DROP"


def test_S102_without_endpoints_there_is_a_server_without_destinations() -> None:
    made = state()
    assert [s.destinations for s in made.all(IpvsService)] == [()]
    assert not any("REJECT" in r.line and "has no endpoints" in r.line for c in made.all(Chain) for r in c.rules)


def test_S103_local_policy_falls_back() -> None:
    made = state(Endpoint("10.244.2.2", node="n2"), internal_local=True)
    assert len(made.all(IpvsService)[0].destinations) == 1
