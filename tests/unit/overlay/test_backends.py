"""From leases to a HostState: what the original would have done, line by line, and what is left out and why."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.model import Address, HostState, Item, Link, Loopback, OtherKind, Route
from netlab.overlay.backends import TABLE, Compiler, backend_of
from netlab.overlay.backends.wireguard import Keys, Wireguard
from netlab.overlay.config import NetworkConfig
from netlab.overlay.firewall import chains
from netlab.overlay.lease import Lease, LeaseAttrs, Subnet
from netlab.overlay.underlay import Underlay, Wish, choose

UNDERLAY = Underlay(
    dev="eth0",
    mtu=1500,
    interfaces=(ip_interface("10.168.0.2/24"), ip_interface("fd00:10:168::2/64")),
    ip=IPv4Address("10.168.0.2"),
    ipv6=IPv6Address("fd00:10:168::2"),
    public_ip=IPv4Address("10.168.0.2"),
    public_ipv6=IPv6Address("fd00:10:168::2"),
)
KEY = Keys(
    private="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", public="c29tZXB1YmxpY2tleXNvbWVwdWJsaWNrZXlzb21lcHU="
)


def config(kind: str, *, dual: bool = False, **options: object) -> NetworkConfig:
    data: dict[str, object] = {"Network": "10.244.0.0/16", "Backend": {"Type": kind, **options}}
    if dual:
        data |= {"EnableIPv6": True, "IPv6Network": "fd00:244::/48"}
    return NetworkConfig.parse(json.dumps(data), place="net-conf.json")


def lease(number: int, kind: str, *, dual: bool = False, public: str = "", **data: object) -> Lease:
    subnet = f"10.244.{number}.0-24" + (f"&fd00:244:0:{number}::-64" if dual else "")
    v6 = {key: value.replace(":04:", ":06:") if isinstance(value, str) else value for key, value in data.items()}
    attrs = LeaseAttrs(
        public_ip=IPv4Address(public or f"10.168.0.{number + 2}"),
        public_ipv6=IPv6Address(f"fd00:10:168::{number + 2}") if dual else None,
        backend_type=kind,
        backend_data=dict(data) or None,
        backend_v6_data=(v6 or None) if dual else None,
    )
    return Lease(subnet=Subnet.parse(subnet), attrs=attrs)


def vxlan_lease(number: int, *, dual: bool = False, **more: object) -> Lease:
    return lease(number, "vxlan", dual=dual, **{"VNI": 1, "VtepMAC": f"0e:00:00:04:00:{number:02x}", **more})


def compiled(conf: NetworkConfig, *others: Lease, underlay: Underlay = UNDERLAY) -> tuple[HostState, dict[str, str]]:
    backend = backend_of(conf, place="net-conf.json")
    if isinstance(backend, Wireguard):
        backend = replace(backend, keys=KEY)
    own = Lease(
        subnet=Subnet.parse("10.244.0.0-24" + ("&fd00:244:0:0::-64" if conf.ipv6 else "")),
        attrs=backend.attrs(underlay, HostState()),
    )
    desired = Compiler(backend, underlay).desired(own, {one.subnet.key: one for one in (own, *others)}, [])
    return desired.state, desired.refused


def test_vxlan_writes_route_neighbour_and_fdb_for_each_lease() -> None:
    state, refused = compiled(config("vxlan"), vxlan_lease(1), vxlan_lease(2))
    assert refused == {}
    assert [str(item) for item in state] == [
        "link flannel.1",
        "sysctl net/ipv6/conf/flannel.1/accept_ra",
        "address 10.244.0.0/32 dev flannel.1",
        "neighbour 10.244.1.0 dev flannel.1",
        "neighbour 10.244.2.0 dev flannel.1",
        "fdb 0e:00:00:04:00:01 dev flannel.1",
        "fdb 0e:00:00:04:00:02 dev flannel.1",
        "route 10.244.1.0/24",
        "route 10.244.2.0/24",
    ]
    link = state.link("flannel.1")
    assert link is not None and link.mtu == 1450
    route = next(r for r in state.all(Route) if str(r.dst) == "10.244.1.0/24")
    assert (str(route.via), route.dev, route.onlink) == ("10.244.1.0", "flannel.1", True)
    assert route.why == "lease 10.244.1.0/24 of 10.168.0.3"


def test_vxlan_dual_stack_has_a_vtep_per_family() -> None:
    state, refused = compiled(config("vxlan", dual=True), vxlan_lease(1, dual=True))
    assert refused == {}
    assert {link.name: link.mtu for link in state.all(Link)} == {"flannel.1": 1430, "flannel-v6.1": 1430}
    gateways = {str(r.dst): (str(r.via), r.dev) for r in state.all(Route)}
    assert gateways == {
        "10.244.1.0/24": ("10.244.1.0", "flannel.1"),
        "fd00:244:0:1::/64": ("fd00:244:0:1::", "flannel-v6.1"),
    }


def test_vxlan_takes_the_direct_way_where_it_is_allowed_and_there_is_one() -> None:
    far = vxlan_lease(2)
    far = replace(far, attrs=replace(far.attrs, public_ip=IPv4Address("192.0.2.9")))
    state, _ = compiled(config("vxlan", DirectRouting=True), vxlan_lease(1), far)
    assert {str(r.dst): r.dev for r in state.all(Route)} == {"10.244.1.0/24": "eth0", "10.244.2.0/24": "flannel.1"}


def test_vxlan_keeps_the_mac_of_a_device_that_is_there() -> None:
    backend = backend_of(config("vxlan"), place="x")
    first = backend.attrs(UNDERLAY, HostState())
    assert first == backend.attrs(UNDERLAY, HostState())
    device = Link(
        name="flannel.1",
        kind=compiled(config("vxlan"))[0].link("flannel.1").kind,  # type: ignore[union-attr]
        mac="0e:12:34:56:78:9a",
    )
    assert backend.attrs(UNDERLAY, HostState.of([device])).backend_data == {"VNI": 1, "VtepMAC": "0e:12:34:56:78:9a"}


def test_host_gw_is_one_route_per_lease_and_refuses_another_link() -> None:
    state, refused = compiled(
        config("host-gw"), lease(1, "host-gw"), lease(2, "host-gw", public="192.0.2.9"), lease(3, "vxlan")
    )
    assert [(str(r.dst), str(r.via), r.dev) for r in state.all(Route)] == [("10.244.1.0/24", "10.168.0.3", "eth0")]
    assert "not on the link of eth0 (10.168.0.0/24" in refused["10.244.2.0-24"]
    assert refused["10.244.3.0-24"] == "is of backend vxlan, this node runs host-gw"


def test_udp_has_one_device_whose_address_gives_the_route_of_the_text() -> None:
    state, _ = compiled(config("udp"), lease(1, "udp"))
    assert [str(a.address) for a in state.all(Address)] == ["10.244.0.0/16"]
    assert [(link.name, link.mtu) for link in state.all(Link)] == [("flannel0", 1472)]
    assert state.all(Route) == []


def test_ipip_goes_by_the_node_s_own_address() -> None:
    state, _ = compiled(config("ipip"), lease(1, "ipip"))
    assert [(str(r.via), r.dev, r.onlink) for r in state.all(Route)] == [("10.168.0.3", "flannel.ipip", True)]
    assert [(link.name, link.mtu) for link in state.all(Link)] == [("flannel.ipip", 1480)]


@pytest.mark.parametrize("mode", ["separate", "auto", "ipv4", "ipv6"])
def test_wireguard_has_a_peer_per_lease(mode: str) -> None:
    other = lease(1, "wireguard", dual=True, PublicKey="YW5vdGhlcnB1YmxpY2tleWFub3RoZXJwdWJsaWNrZXk=")
    state, refused = compiled(config("wireguard", dual=True, Mode=mode, PSK=""), other)
    assert refused == {}
    devices = {link.name: link.kind for link in state.all(Link)}
    assert list(devices) == (["flannel-wg", "flannel-wg-v6"] if mode == "separate" else ["flannel-wg"])
    peer = devices["flannel-wg"].peers[0]  # type: ignore[union-attr]
    assert peer.endpoint[0].version == (6 if mode == "ipv6" else 4)
    assert len(peer.allowed_ips) == (1 if mode == "separate" else 2)
    assert {str(r.dst) for r in state.all(Route)} == {"10.244.0.0/16", "fd00:244::/48"}


def test_alloc_touches_nothing() -> None:
    assert compiled(config("alloc"), lease(1, "alloc")) == (HostState(), {})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no BackendData"),
        ({"VNI": 1}, "VtepMAC is None"),
        ({"VNI": 1, "VtepMAC": "zz"}, "not a MAC"),
        ({"VNI": 7, "VtepMAC": "0e:00:00:04:00:01"}, "of VNI 7"),
        ({"VNI": 1, "VtepMAC": 5}, "VtepMAC is 5"),
    ],
)
def test_a_lease_that_makes_no_sense_is_left_out_and_the_others_stay(data: dict[str, object], said: str) -> None:
    state, refused = compiled(config("vxlan"), lease(1, "vxlan", **data), vxlan_lease(2))
    assert said in refused["10.244.1.0-24"]
    assert [str(r.dst) for r in state.all(Route)] == ["10.244.2.0/24"]


def test_two_leases_with_one_mac_do_not_stop_the_node() -> None:
    state, refused = compiled(config("vxlan"), vxlan_lease(1), vxlan_lease(2, VtepMAC="0e:00:00:04:00:01"))
    assert refused == {"10.244.2.0-24": "asks for what 10.244.1.0-24 asks for, too"}
    assert [str(r.dst) for r in state.all(Route)] == ["10.244.1.0/24"]


def test_another_lease_of_this_very_node_is_no_peer() -> None:
    mine = replace(vxlan_lease(9), attrs=replace(vxlan_lease(9).attrs, public_ip=UNDERLAY.public_ip))
    state, refused = compiled(config("vxlan"), mine)
    assert state.all(Route) == [] and refused == {}


@given(st.lists(st.sets(st.integers(1, 30), max_size=12), min_size=1, max_size=6))
def test_what_is_kept_between_two_states_changes_nothing(steps: list[set[int]]) -> None:
    backend = backend_of(config("vxlan"), place="x")
    own = Lease(subnet=Subnet.parse("10.244.0.0-24"), attrs=backend.attrs(UNDERLAY, HostState()))
    kept = Compiler(backend, UNDERLAY)
    extra: list[Item] = list(chains(config("vxlan"), own.subnet, masq=True, forwarding=True))
    for numbers in steps:
        leases = {one.subnet.key: one for one in (own, *map(vxlan_lease, numbers))}
        warm, cold = kept.desired(own, leases, extra), Compiler(backend, UNDERLAY).desired(own, leases, extra)
        assert (warm.state, warm.refused) == (cold.state, cold.refused)
        again = kept.desired(own, dict(leases), extra)
        assert all(a is b for a, b in zip(warm.state, again.state, strict=True))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("vxlan", {"VNI": 0}, "Backend.VNI: is 0, expected a number from 1 to 16777215"),
        ("vxlan", {"Port": "8472"}, "Backend.Port: is '8472'"),
        ("vxlan", {"vni": 2}, "did you mean 'VNI'?"),
        ("vxlan", {"MacPrefix": "01-00"}, "not locally administered"),
        ("udp", {"Port": 70000}, "expected a number from 1 to 65535"),
        ("host-gw", {"Port": 1}, "it has none"),
        ("wireguard", {"Mode": "both"}, "expected one of separate, auto, ipv4, ipv6"),
    ],
)
def test_a_wrong_option_is_named(kind: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        backend_of(config(kind, **options), place="net-conf.json")
    assert said in str(caught.value) and "net-conf.json" in str(caught.value)


@pytest.mark.parametrize("kind", ["udp", "ipip"])
def test_what_carries_ipv4_alone_says_so(kind: str) -> None:
    with pytest.raises(InputError, match="carries IPv4 only"):
        backend_of(config(kind, dual=True), place="x")


def test_every_type_of_the_configuration_has_a_backend() -> None:
    from netlab.overlay.config import BACKENDS

    assert set(TABLE) == set(BACKENDS)


# -- the underlay


def node(*addresses: tuple[str, str], default: str | None = "eth0") -> HostState:
    devices = sorted({dev for dev, _ in addresses})
    items: list[Item] = [Link(name="lo", kind=Loopback())]
    items += [Link(name=dev, kind=OtherKind("x"), mtu=1400 if dev == "eth1" else 1500) for dev in devices]
    items += [Address(dev=dev, address=ip_interface(text)) for dev, text in addresses]
    if default:
        via = IPv4Address("10.168.0.1")
        items.append(Route(dst=ip_interface("0.0.0.0/0").network, via=via, dev=default))
    return HostState.of(items)


TWO = (("eth0", "10.168.0.2/24"), ("eth0", "fd00::2/64"), ("eth1", "192.0.2.5/24"), ("eth1", "fe80::5/64"))


@pytest.mark.parametrize(
    ("wish", "dev"),
    [
        (Wish(), "eth0"),
        (Wish(iface=["eth1"]), "eth1"),
        (Wish(iface=["none", "192.0.2.5"]), "eth1"),
        (Wish(regex=["^eth1$"]), "eth1"),
        (Wish(regex=[r"192\.0\.2\..*"]), "eth1"),
        (Wish(can_reach=IPv4Address("192.0.2.77")), "eth1"),
        (Wish(can_reach=IPv4Address("8.8.8.8")), "eth0"),
    ],
)
def test_the_device_is_the_one_that_was_asked_for(wish: Wish, dev: str) -> None:
    assert choose(node(*TWO), wish).dev == dev


def test_the_public_address_may_be_another() -> None:
    found = choose(node(*TWO), Wish(public_ip=IPv4Address("203.0.113.1"), ipv6=True))
    assert (str(found.ip), str(found.public_ip), str(found.public_ipv6)) == ("10.168.0.2", "203.0.113.1", "fd00::2")
    assert found.on_link(IPv4Address("10.168.0.9")) and not found.on_link(IPv4Address("10.169.0.9"))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(iface=["eth7"]), "there are: eth0 (10.168.0.2, fd00::2), eth1 (192.0.2.5)"),
        (Wish(regex=["("]), "not a regular expression"),
        (Wish(iface=["eth1"], ipv6=True), "eth1 has no global IPv6 address"),
        (Wish(can_reach=IPv6Address("2001:db8::1")), "no route leads there"),
    ],
)
def test_an_underlay_that_is_not_there_is_told_with_what_is(wish: Wish, said: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(node(*TWO), wish)
    assert said in str(caught.value)


def test_without_a_default_route_the_device_has_to_be_named() -> None:
    with pytest.raises(InputError, match="no default route"):
        choose(node(*TWO, default=None), Wish())


# -- iptables


def test_masquerade_and_forward_are_the_original_s_rules() -> None:
    found = list(
        chains(config("vxlan", dual=True), Subnet.parse("10.244.0.0-24&fd00:244::-64"), masq=True, forwarding=True)
    )
    four = {(c.table, c.name): [str(rule) for rule in c.rules] for c in found if c.family == 4}
    comment = '-m comment --comment "flanneld masq"'
    assert four[("nat", "FLANNEL-POSTRTG")] == [
        f"-m mark --mark 0x4000/0x4000 {comment} -j RETURN",
        f"-s 10.244.0.0/24 -d 10.244.0.0/16 {comment} -j RETURN",
        f"-s 10.244.0.0/16 -d 10.244.0.0/24 {comment} -j RETURN",
        f"! -s 10.244.0.0/16 -d 10.244.0.0/24 {comment} -j RETURN",
        f"-s 10.244.0.0/16 ! -d 224.0.0.0/4 {comment} -j MASQUERADE --random-fully",
        f"! -s 10.244.0.0/16 -d 10.244.0.0/16 {comment} -j MASQUERADE --random-fully",
    ]
    assert four[("nat", "POSTROUTING")] == [f"{comment} -j FLANNEL-POSTRTG"]
    assert four[("filter", "FLANNEL-FWD")] == [
        '-s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
        '-d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
    ]
    six = {(c.table, c.name): [str(rule) for rule in c.rules] for c in found if c.family == 6}
    assert f"-s fd00:244::/48 ! -d ff00::/8 {comment} -j MASQUERADE --random-fully" in six[("nat", "FLANNEL-POSTRTG")]
    assert {c.family for c in chains(config("vxlan"), Subnet.parse("10.244.0.0-24"), masq=True, forwarding=True)} == {4}
    assert list(chains(config("vxlan"), Subnet.parse("10.244.0.0-24"), masq=False, forwarding=False)) == []
