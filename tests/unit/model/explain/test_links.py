"""Devices as commands."""

from ipaddress import ip_address, ip_network

import pytest

from netlab.model import (
    Bridge,
    BridgePort,
    Dummy,
    HostState,
    Ipip,
    Link,
    Loopback,
    Macvlan,
    OtherKind,
    Tun,
    Veth,
    Vxlan,
    Wireguard,
    WireguardPeer,
)  # fmt: skip
from netlab.model.diff import Change, Create, Delete, diff
from netlab.model.explain import commands, explain
from netlab.model.links import TUNL0


def lines(*links: Link) -> list[str]:
    return [line.shell() for line in explain(HostState.of(links))]


def link(name: str, kind: object, **fields: object) -> Link:
    return Link(name=name, kind=kind, **{"up": False, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "typed"),
    [
        (link("lo", Loopback(), up=True), ["ip link set lo up"]),
        (link("lo", Loopback()), []),
        (link("br0", Bridge()), ["ip link add br0 type bridge"]),
        (link("br0", Bridge(), up=True), ["ip link add br0 type bridge", "ip link set br0 up"]),
        (
            link("docker0", Bridge(stp=True, ageing=30, forward_delay=4), mac="02:42:00:00:00:01", mtu=1450),
            [
                "ip link add docker0 address 02:42:00:00:00:01 mtu 1450 "
                "type bridge stp_state 1 ageing_time 3000 forward_delay 400"
            ],
        ),
        (
            link("br0", Bridge(vlan_filtering=True, mcast_snooping=False)),
            ["ip link add br0 type bridge vlan_filtering 1 mcast_snooping 0"],
        ),
        (
            link("br0", Bridge(vlan_filtering=True, default_pvid=0)),
            ["ip link add br0 type bridge vlan_filtering 1 vlan_default_pvid 0"],
        ),
        (link("br0", Bridge(), alias="the LAN"), ["ip link add br0 type bridge", "ip link set br0 alias 'the LAN'"]),
        (link("veth1", Veth("eth0", "lab.web")), ["ip link add veth1 type veth peer name eth0 netns lab.web"]),
        (link("flannel.1", Vxlan(1, 8472)), ["ip link add flannel.1 mtu 1450 type vxlan id 1 dstport 8472"]),
        (
            link("v", Vxlan(7, group=ip_address("239.1.1.1"), dev="eth0", ttl=5)),
            ["ip link add v mtu 1450 type vxlan id 7 group 239.1.1.1 dev eth0 dstport 4789 ttl 5"],
        ),
        (
            link("v", Vxlan(7, group=ip_address("10.0.0.2"), local=ip_address("10.0.0.1")), mtu=1500),
            ["ip link add v type vxlan id 7 remote 10.0.0.2 local 10.0.0.1 dstport 4789"],
        ),
        (link("flannel0", Tun()), ["ip tuntap add dev flannel0 mode tun"]),
        (
            link(
                "tap0", Tun("tap", packet_info=True, vnet_hdr=True, multi_queue=True), mac="02:00:00:00:00:01", mtu=1400
            ),
            [
                "ip tuntap add dev tap0 mode tap pi vnet_hdr multi_queue",
                "ip link set tap0 address 02:00:00:00:00:01 mtu 1400",
            ],
        ),
        (
            link("ipip0", Ipip(local=ip_address("10.0.0.1"), ttl=64, pmtudisc=False)),
            ["ip link add ipip0 type ipip local 10.0.0.1 ttl 64 nopmtudisc"],
        ),
        # the module puts it into every namespace
        (link("tunl0", TUNL0, mtu=1440, up=True), ["ip link set tunl0 mtu 1440", "ip link set tunl0 up"]),
        (link("dummy0", Dummy(), mtu=1400), ["ip link add dummy0 mtu 1400 type dummy"]),
        (link("m0", Macvlan("eth0", "private")), ["ip link add m0 link eth0 mtu 1500 type macvlan mode private"]),
    ],
)
def test_one_device(wanted: Link, typed: list[str]) -> None:
    assert lines(wanted) == typed


def test_a_kind_that_nobody_makes_is_refused() -> None:
    with pytest.raises(ValueError, match="does not make"):
        lines(link("x", OtherKind("vrf")))


def test_ports_come_after_their_bridge_and_go_up_last() -> None:
    port = BridgePort(hairpin=True, learning=False, flood=False, isolated=True)
    assert lines(
        link("a", Veth("b"), master="br0", port=port, up=True),
        link("b", Veth("a"), mac="02:00:00:00:00:0b", mtu=1400),
        link("br0", Bridge(), up=True),
    ) == [
        "ip link add br0 type bridge",
        "ip link set br0 up",
        "ip link add a type veth peer name b address 02:00:00:00:00:0b mtu 1400",
        "ip link set a master br0",
        "bridge link set dev a hairpin on learning off flood off isolated on",
        "ip link set a up",
    ]


def test_an_mtu_that_follows_from_below_is_not_said() -> None:
    assert lines(
        link("a", Veth("b"), mtu=1400),
        link("b", Veth("a")),
        link("m0", Macvlan("a"), mtu=1400),
        link("v4", Vxlan(1, dev="a"), mtu=1350),
        link("v6", Vxlan(2, dev="a", local=ip_address("fd00::1")), mtu=1330),
    ) == [
        "ip link add a mtu 1400 type veth peer name b",
        "ip link add m0 link a type macvlan mode bridge",
        "ip link add v4 type vxlan id 1 dev a dstport 4789",
        "ip link add v6 type vxlan id 2 local fd00::1 dev a dstport 4789",
    ]


def test_a_bridge_keeps_its_mtu_whatever_its_ports_have() -> None:
    assert lines(link("br0", Bridge()), link("t", Tun("tap"), mtu=1400, master="br0")) == [
        "ip link add br0 type bridge",
        "ip tuntap add dev t mode tap",
        "ip link set t mtu 1400",
        "ip link set t master br0",
        "ip link set br0 mtu 1500",
    ]


@pytest.mark.parametrize(
    ("old", "new", "typed"),
    [
        (link("a", Dummy(), up=True), link("a", Dummy()), ["ip link set a down"]),
        (link("a", Dummy()), link("a", Dummy(), mtu=1400), ["ip link set a mtu 1400"]),
        (link("a", Dummy(), mac="02:00:00:00:00:01"), link("a", Dummy()), []),
        (link("a", Dummy(), master="br0"), link("a", Dummy()), ["ip link set a nomaster"]),
        (link("a", Dummy(), alias="x"), link("a", Dummy()), ["ip link set a alias ''"]),
        # another bridge gives the port fresh options
        (
            link("a", Dummy(), master="br0", port=BridgePort(isolated=True)),
            link("a", Dummy(), master="br1", port=BridgePort(isolated=True)),
            ["ip link set a master br1", "bridge link set dev a isolated on"],
        ),
        (
            link("a", Dummy(), master="br0", port=BridgePort(isolated=True)),
            link("a", Dummy(), master="br0", port=BridgePort(hairpin=True)),
            ["bridge link set dev a hairpin on isolated off"],
        ),
        (link("b", Bridge(stp=True)), link("b", Bridge()), ["ip link set b type bridge stp_state 0"]),
    ],
)
def test_change(old: Link, new: Link, typed: list[str]) -> None:
    assert [line.shell() for line in commands([Change(old, new)])] == typed


def test_delete_says_nothing_twice() -> None:
    state = HostState.of(
        [
            link("lo", Loopback(), up=True),
            link("a", Veth("b")),
            link("b", Veth("a")),
            link("m0", Macvlan("a")),
            link("v", Vxlan(1, dev="m0")),
        ]
    )
    typed = [line.shell() for line in commands(diff(state, HostState()))]
    assert typed == ["ip link del m0", "ip link del a", "ip link set lo down"]
    assert [line.shell() for line in commands([Delete(link("lo", Loopback()))])] == []


def test_wireguard() -> None:
    peer = WireguardPeer(
        "PUB", (ip_network("10.1.0.0/24"), ip_network("fd01::/64")), (ip_address("fd00::2"), 51820), 25
    )
    old = link("wg0", Wireguard("PRIVATE", 51820, peers=(peer, WireguardPeer("XGONE"))))
    made = commands([Create(old)])
    assert [(line.shell().splitlines()[0], line.stdin) for line in made] == [
        ("ip link add wg0 type wireguard", None),
        ("wg set wg0 listen-port 51820 private-key /dev/stdin <<'EOF'", "PRIVATE"),
        (
            "wg set wg0 peer PUB endpoint '[fd00::2]:51820' persistent-keepalive 25 allowed-ips 10.1.0.0/24,fd01::/64",
            None,
        ),
        ("wg set wg0 peer XGONE", None),
    ]
    changed = WireguardPeer("PUB", (ip_network("10.2.0.0/24"),), keepalive=0, preshared_key="PSK")
    new = link("wg0", Wireguard("PRIVATE", 51820, fwmark=16, peers=(changed,)))
    assert [(line.shell().splitlines()[0], line.stdin) for line in commands([Change(old, new)])] == [
        ("wg set wg0 fwmark 0x10", None),
        ("wg set wg0 peer PUB remove", None),
        ("wg set wg0 peer PUB preshared-key /dev/stdin allowed-ips 10.2.0.0/24 <<'EOF'", "PSK"),
        ("wg set wg0 peer XGONE remove", None),
    ]
