"""nftables mode: table, names, maps, chains. Numbers are the specification's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netlab.compile.objects import Endpoint, EndpointSlice, Service, ServicePort, SlicePort
from netlab.compile.proxying import ProxyConfig
from netlab.compile.services_nft import NftProxier, hashed
from netlab.kernel.nft import parse
from netlab.model import HostState, NftChain, NftSet
from netlab.model.diff import diff
from netlab.model.explain import explain
from netlab.model.nft import duration, listing
from netlab.model.nftscript import script

CONFIG = ProxyConfig(node="n1", cluster_cidrs=("10.0.0.0/8",), service_cidrs=("172.30.0.0/16",))
PORT = ServicePort("p80", "tcp", 80, 80)


def proxier(*endpoints: str, config: ProxyConfig = CONFIG, **more: Any) -> NftProxier:
    made = Service("ns1", "svc1", **{"type": "ClusterIP", "ports": (PORT,), "cluster_ips": ("172.30.0.41",), **more})
    one = EndpointSlice("ns1", "x", "svc1", 4, (SlicePort("p80", "tcp", 80),), tuple(Endpoint(e) for e in endpoints))
    found = NftProxier(config, 4)
    found.put(made.key, made, (one,))
    return found


def chains(of: NftProxier) -> dict[str, list[str]]:
    state = of.state()
    assert all(rule.why for c in state.all(NftChain) for rule in c.rules)
    return {c.name: [rule.text for rule in c.rules] for c in state.all(NftChain)}


def elements(of: NftProxier, name: str) -> list[str]:
    return [str(e) for s in of.state().all(NftSet) if s.name == name for e in s.elements]


def test_S105_table_and_base_chains() -> None:
    state = proxier("10.180.0.1").state()
    based = {c.name: (c.type, c.hook, c.priority) for c in state.all(NftChain) if c.hook}
    assert based == {
        "filter-prerouting": ("filter", "prerouting", -110),
        "filter-input": ("filter", "input", -110),
        "filter-forward": ("filter", "forward", -110),
        "filter-output": ("filter", "output", -110),
        "filter-output-post-dnat": ("filter", "output", -90),
        "nat-prerouting": ("nat", "prerouting", -100),
        "nat-output": ("nat", "output", -100),
        "nat-postrouting": ("nat", "postrouting", 100),
    }
    kinds = {s.name: (s.type, s.value) for s in state.all(NftSet)}
    assert kinds["service-ips"] == ("ipv4_addr . inet_proto . inet_service", "verdict")
    assert kinds["no-endpoint-nodeports"] == ("inet_proto . inet_service", "verdict")
    assert set(kinds) == {
        "cluster-ips", "service-ips", "service-nodeports", "no-endpoint-services", "no-endpoint-nodeports", "firewall-ips",
    }  # fmt: skip
    limited = proxier(
        "10.180.0.1", config=replace(CONFIG, node_ips=("192.168.0.1",), node_port_addresses=("192.168.0.0/24",))
    )
    assert elements(limited, "nodeport-ips") == ["192.168.0.1"]


def test_S106_undefined_ports_and_unallocated_addresses() -> None:
    found = chains(proxier("10.180.0.1"))["cluster-ips-check"]
    assert found[0].startswith("ip daddr @cluster-ips reject") and found[1].startswith("ip daddr 172.30.0.0/16 drop")
    assert chains(proxier())["masquerading"][-1] == "masquerade fully-random"


def test_S107_names() -> None:
    assert hashed("ns1/svc1/tcp/p80") == "ULMVA6XW-ns1/svc1/tcp/p80"
    assert hashed("ns1/svc1/tcp/p80__10.180.0.1/80") == "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    long = hashed("n" * 400)
    assert long.endswith("...") and len("firewall-" + long) <= 255


def test_S108_balance_and_affinity() -> None:
    found = chains(proxier("10.180.0.1", "10.180.0.2", affinity=10800))
    service, endpoint = found["service-ULMVA6XW-ns1/svc1/tcp/p80"], "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    assert service[1] == f"ip saddr @affinity-{endpoint} goto endpoint-{endpoint}"
    assert service[-1].startswith("numgen random mod 2 vmap { 0 : goto endpoint-5OJB2KTY")
    assert found[f"endpoint-{endpoint}"] == [
        "ip saddr 10.180.0.1 jump mark-for-masquerade",
        f"update @affinity-{endpoint} {{ ip saddr }}",
        "meta l4proto tcp dnat to 10.180.0.1:80",
    ]
    sets = {s.name: s for s in proxier("10.180.0.1", affinity=10800).state().all(NftSet)}
    assert sets[f"affinity-{endpoint}"].flags == ("dynamic", "timeout") and duration(10800) == "3h"


def test_S108_a_direct_choice_needs_no_chains_of_endpoints() -> None:
    config, name = replace(CONFIG, choice="direct"), "service-ULMVA6XW-ns1/svc1/tcp/p80"
    found = chains(proxier("10.180.0.1", "10.180.0.2", config=config))
    assert found[name][1:] == [
        "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.180.0.1 . 80, 1 : 10.180.0.2 . 80 }",
    ]  # fmt: skip
    assert not [other for other in found if other.startswith("endpoint-")]
    assert found["masquerading"][0] == "ip saddr . ip daddr @hairpin-connections jump mark-for-masquerade"
    assert chains(proxier("10.180.0.1", config=config))[name][1:] == ["meta l4proto tcp dnat to 10.180.0.1:80"]


def test_S12_who_may_call_himself_by_way_of_this_node() -> None:
    """Those that are here or may be: what is elsewhere has its own node."""
    config = replace(CONFIG, choice="direct")
    made = proxier("10.180.0.1", config=config)
    assert elements(made, "hairpin-connections") == ["10.180.0.1 . 10.180.0.1"]
    service = Service("ns1", "svc1", "ClusterIP", (PORT,), cluster_ips=("172.30.0.41",))
    elsewhere = (Endpoint("10.180.0.1", node="n1"), Endpoint("10.180.0.2", node="n2"))
    made.put(service.key, service, (EndpointSlice("ns1", "x", "svc1", 4, (SlicePort("p80", "tcp", 80),), elsewhere),))
    assert elements(made, "hairpin-connections") == ["10.180.0.1 . 10.180.0.1"]


def test_S109_localhost_is_not_served() -> None:
    assert "ip daddr != 127.0.0.0/8" in chains(proxier())["services"][1]


def test_S28_S30_nobody_serves() -> None:
    made = proxier(external_ips=("80.11.12.10",))
    assert elements(made, "no-endpoint-services") == [
        "172.30.0.41 . tcp . 80 : goto reject-chain", "80.11.12.10 . tcp . 80 : goto reject-chain",
    ]  # fmt: skip
    made = proxier("10.180.0.1", external_ips=("80.11.12.10",), external_local=True)
    assert elements(made, "no-endpoint-services") == ["80.11.12.10 . tcp . 80 : drop"]


def test_a_change_is_a_few_lines() -> None:
    made = proxier("10.180.0.1", "10.180.0.2")
    made.step()
    service = Service("ns1", "svc1", "ClusterIP", (PORT,), cluster_ips=("172.30.0.41",))
    one = EndpointSlice("ns1", "x", "svc1", 4, (SlicePort("p80", "tcp", 80),), (Endpoint("10.180.0.1"),))
    made.put(service.key, service, (one,))
    step = made.step()
    text = script(diff(HostState(tuple(sorted(step.gone, key=lambda i: i.order))), HostState(tuple(step.new))))
    assert [line.split(" ")[0] for line in text.splitlines()] == ["flush", "flush", "add", "add", "delete"]


def test_listing_is_read_back() -> None:
    state = proxier("10.180.0.1", "10.180.0.2", affinity=60, external_ips=("80.11.12.10",)).state()
    assert HostState.of(parse(listing(state))) == state
    commands = explain(state)
    assert commands[0].argv[:2] == ("nft", "add table ip kube-proxy") and all(c.why for c in commands)
    assert len(explain(state, style="restore")) == 1
