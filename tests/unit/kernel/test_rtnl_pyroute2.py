"""Our rtnetlink encoder and decoder, judged by pyroute2's: every kind of message means to it what it means to us."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from netlab.kernel.rtnl import decode, encode, wire
from netlab.kernel.rtnl.encode import Indices
from netlab.model import (
    Address,
    Bridge,
    BridgePort,
    BridgeVlan,
    Dummy,
    Fdb,
    Ipip,
    Link,
    Macvlan,
    Neighbour,
    Netem,
    NextHop,
    Qdisc,
    Route,
    Rule,
    Tbf,
    Veth,
    Vxlan,
)

NAMES = {"lo": 1, "eth0": 2, "docker0": 3, "veth1": 4}


def indices() -> Indices:
    return Indices(dict(NAMES), lambda: 9, {"lab.b": 7})


def parsed(cls: type, request: encode.Request) -> Any:
    """What pyroute2 makes of our message."""
    message = cls(wire.message(request[0], request[1], 1, request[2]))
    message.decode()
    return message


def info(message: Any, attribute: str = "IFLA_LINKINFO") -> Any:
    return message.get_attr(attribute)


def test_a_veth_pair() -> None:
    near = Link(name="v0", kind=Veth("eth0", "lab.b"), mac="02:00:00:00:00:01", mtu=1400, master="docker0")
    far = Link(name="eth0", kind=Veth("v0", "lab.a"), mac="02:00:00:00:00:02", mtu=1400)
    message = parsed(ifinfmsg, encode.link_create(near, indices(), far, 11))
    assert (message["index"], message["flags"] & 1, message["change"] & 1) == (9, 1, 1)
    assert message.get_attr("IFLA_IFNAME") == "v0"
    assert message.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:01"
    assert message.get_attr("IFLA_MTU") == 1400
    assert message.get_attr("IFLA_MASTER") == 3
    assert info(message).get_attr("IFLA_INFO_KIND") == "veth"
    peer = info(message).get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert (peer["index"], peer.get_attr("IFLA_IFNAME"), peer.get_attr("IFLA_NET_NS_FD")) == (11, "eth0", 7)
    assert peer.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:02"


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        (
            Link(
                name="br0", kind=Bridge(stp=True, ageing=30, forward_delay=4, mcast_snooping=False, vlan_filtering=True)
            ),
            {
                "IFLA_BR_STP_STATE": 1,
                "IFLA_BR_AGEING_TIME": 3000,
                "IFLA_BR_FORWARD_DELAY": 400,
                "IFLA_BR_MCAST_SNOOPING": 0,
                "IFLA_BR_VLAN_FILTERING": 1,
            },
        ),
        (
            Link(
                name="flannel.1", kind=Vxlan(vni=1, port=8472, local=ip_address("10.0.0.1"), dev="eth0", learning=False)
            ),
            {
                "IFLA_VXLAN_ID": 1,
                "IFLA_VXLAN_PORT": 8472,
                "IFLA_VXLAN_LOCAL": "10.0.0.1",
                "IFLA_VXLAN_LINK": 2,
                "IFLA_VXLAN_LEARNING": 0,
            },
        ),
        (
            Link(name="vx6", kind=Vxlan(vni=7, local=ip_address("fd00::1"), group=ip_address("ff05::1"))),
            {"IFLA_VXLAN_ID": 7, "IFLA_VXLAN_LOCAL6": "fd00::1", "IFLA_VXLAN_GROUP6": "ff05::1"},
        ),
        (
            Link(name="tunl1", kind=Ipip(local=ip_address("10.0.0.1"), remote=ip_address("10.0.0.2"), ttl=64)),
            {
                "IFLA_IPIP_LOCAL": "10.0.0.1",
                "IFLA_IPIP_REMOTE": "10.0.0.2",
                "IFLA_IPIP_TTL": 64,
                "IFLA_IPIP_PMTUDISC": 1,
            },
        ),
        (Link(name="mv0", kind=Macvlan("eth0", "private")), {"IFLA_MACVLAN_MODE": "private"}),
    ],
    ids=lambda value: value.kind.NAME if isinstance(value, Link) else "",
)
def test_options_of_a_kind(link: Link, wanted: dict[str, object]) -> None:
    message = parsed(ifinfmsg, encode.link_create(link, indices()))
    data = info(message).get_attr("IFLA_INFO_DATA")
    assert info(message).get_attr("IFLA_INFO_KIND") == link.kind.NAME
    assert {name: data.get_attr(name) for name in wanted} == wanted


def test_a_kind_without_options() -> None:
    message = parsed(ifinfmsg, encode.link_create(Link(name="d0", kind=Dummy(), up=False), indices()))
    assert info(message).get_attr("IFLA_INFO_KIND") == "dummy"
    assert (message["flags"] & 1, message["change"] & 1) == (0, 1)


def test_a_change_says_only_what_differs() -> None:
    old = Link(name="eth0", kind=Veth("x"), mtu=1500, up=False)
    new = Link(name="eth0", kind=Veth("x"), mtu=1400, up=True, master="docker0", port=BridgePort(hairpin=True))
    first, second = encode.link_change(old, new, indices())
    message = parsed(ifinfmsg, first)
    assert [message["index"], message["flags"] & 1, message["change"]] == [2, 1, 1]
    assert [message.get_attr(n) for n in ("IFLA_MTU", "IFLA_MASTER", "IFLA_ADDRESS")] == [1400, 3, None]
    port = parsed(ifinfmsg, second)
    assert port["family"] == wire.AF_BRIDGE
    assert encode.link_change(new, new, indices()) == []


def test_addresses() -> None:
    v4 = Address(dev="eth0", address=ip_interface("10.0.0.1/24"), broadcast=ip_address("10.0.0.255"))  # type: ignore[arg-type]
    message = parsed(ifaddrmsg, encode.address(v4, indices()))
    assert (message["index"], message["prefixlen"], message.get_attr("IFA_LOCAL")) == (2, 24, "10.0.0.1")
    assert message.get_attr("IFA_BROADCAST") == "10.0.0.255"
    v6 = Address(dev="eth0", address=ip_interface("fd00::1/64"), scope="link")
    message = parsed(ifaddrmsg, encode.address(v6, indices()))
    assert (message["flags"], message["scope"], message.get_attr("IFA_ADDRESS")) == (encode.IFA_F_NODAD, 253, "fd00::1")


def test_routes() -> None:
    plain = Route(dst=ip_network("10.9.0.0/16"), via=ip_address("10.0.0.9"), dev="eth0", src=ip_address("10.0.0.1"),
                  table=1000, metric=50, mtu=1400, onlink=True, protocol="bird")  # fmt: skip
    message = parsed(rtmsg, encode.route(plain, indices()))
    assert (message["dst_len"], message["proto"], message["scope"], message["flags"]) == (16, 12, 0, 4)
    wanted = {"RTA_DST": "10.9.0.0", "RTA_GATEWAY": "10.0.0.9", "RTA_OIF": 2, "RTA_TABLE": 1000, "RTA_PRIORITY": 50}
    assert {name: message.get_attr(name) for name in wanted} == wanted
    assert message.get_attr("RTA_PREFSRC") == "10.0.0.1"
    assert message.get_attr("RTA_METRICS").get_attr("RTAX_MTU") == 1400
    several = Route(
        dst=ip_network("::/0"),
        nexthops=(NextHop("eth0", ip_address("fe80::1"), 2), NextHop("veth1", ip_address("fe80::2"))),
    )
    message = parsed(rtmsg, encode.route(several, indices()))  # kept: its parts know it by a weak reference only
    hops = message.get_attr("RTA_MULTIPATH")
    assert [(h["oif"], h["hops"], h.get_attr("RTA_GATEWAY")) for h in hops] == [(2, 1, "fe80::1"), (4, 0, "fe80::2")]
    hole = parsed(rtmsg, encode.route(Route(dst=ip_network("10.8.0.0/16"), type="blackhole"), indices()))
    assert (hole["type"], hole.get_attr("RTA_OIF")) == (6, None)


def test_neighbours_and_forwarding_entries() -> None:
    message = parsed(
        ndmsg,
        encode.neighbour(Neighbour(dev="eth0", address=ip_address("10.0.0.2"), mac="02:00:00:00:00:02"), indices()),
    )
    assert (message["ifindex"], message["state"], message.get_attr("NDA_LLADDR")) == (2, 0x80, "02:00:00:00:00:02")
    message = parsed(
        ndmsg, encode.neighbour(Neighbour(dev="eth0", address=ip_address("fd00::2"), proxy=True), indices())
    )
    assert (message["flags"], message.get_attr("NDA_DST")) == (8, "fd00::2")
    vtep = Fdb(dev="eth0", mac="02:00:00:00:00:03", dst=ip_address("10.0.0.3"))
    message = parsed(ndmsg, encode.fdb(vtep, indices()))
    assert (message["family"], message["state"], message["flags"]) == (7, 0x80, 2)
    assert message.get_attr("NDA_DST") == "10.0.0.3"


def test_vlans_of_bridges() -> None:
    port = BridgeVlan(dev="eth0", vid=10, pvid=True, untagged=True)
    for item, delete in (
        (port, False),
        (port, True),
        (replace(port, dev="docker0", pvid=False, on_bridge=True), False),
    ):
        kind, _, body = encode.vlan(item, indices(), delete=delete)
        assert kind == (wire.RTM_DELLINK if delete else wire.RTM_SETLINK)
        message = parsed(ifinfmsg, (kind, 0, body))
        assert (message["family"], message["index"]) == (7, indices()[item.dev])
        spec = message.get_attr("IFLA_AF_SPEC")
        assert spec.get_attr("IFLA_BRIDGE_VLAN_FLAGS") == (2 if item.on_bridge else None)
        info = spec.get_attr("IFLA_BRIDGE_VLAN_INFO")
        assert (info["vid"], info["flags"]) == (10, 4 if item.on_bridge else 6)
    option = parsed(ifinfmsg, encode.link_create(Link(name="b", kind=Bridge(default_pvid=0)), indices()))
    data = option.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert data.get_attr("IFLA_BR_VLAN_DEFAULT_PVID") == 0


def test_the_vlans_of_a_dump() -> None:
    """Two of a port; a bridge is its own master; a device that is neither has none."""
    infos = [wire.attr(2, struct.pack("=HH", flags, vid)) for flags, vid in ((0, 10), (6, 20))]

    def dumped(index: int, master: bytes, *parts: bytes) -> memoryview:
        return memoryview(wire.IFINFO.pack(wire.AF_BRIDGE, 0, index, 0, 0) + master + wire.nested(26, *parts))

    names = {2: "eth0", 3: "br0"}
    assert decode.vlans(dumped(2, wire.u32(10, 3), *infos), names) == [
        BridgeVlan(dev="eth0", vid=10),
        BridgeVlan(dev="eth0", vid=20, pvid=True, untagged=True),
    ]
    assert decode.vlans(dumped(3, wire.u32(10, 3), infos[0]), names) == [BridgeVlan(dev="br0", vid=10, on_bridge=True)]
    assert decode.vlans(dumped(2, b"", wire.attr(1, bytes(2))), names) == []


def test_rules() -> None:
    rule = Rule(
        priority=100, family=4, src=ip_network("10.0.0.0/8"), fwmark=0x10, mask=0xFF, iif="eth0", table=300, invert=True
    )
    message = parsed(fibmsg, encode.rule(rule))
    wanted = {"FRA_PRIORITY": 100, "FRA_SRC": "10.0.0.0", "FRA_FWMARK": 16, "FRA_FWMASK": 255, "FRA_IIFNAME": "eth0"}
    assert {name: message.get_attr(name) for name in wanted} == wanted
    assert (message.get_attr("FRA_TABLE"), message["action"], message["flags"]) == (300, 1, 2)


def test_netem() -> None:
    kind = Netem(
        delay=50_000, jitter=5_000, loss=1.5, duplicate=2.0, reorder=25.0, corrupt=0.1, rate=8_000_000, limit=500
    )
    message = parsed(tcmsg, encode.qdisc(Qdisc(dev="eth0", kind=kind), indices()))
    assert (message["index"], message["handle"], message["parent"]) == (2, 0x10000, 0xFFFFFFFF)
    options = message.get_attr("TCA_OPTIONS")
    assert (options["delay"], options["jitter"], options["limit"]) == (50_000_000 // 64, 5_000_000 // 64, 500)
    assert options["loss"] == round(0.015 * 0xFFFFFFFF)
    assert options.get_attr("TCA_NETEM_REORDER")["prob_reorder"] == round(0.25 * 0xFFFFFFFF)
    assert options.get_attr("TCA_NETEM_RATE")["rate"] == 1_000_000


QDISCS = [
    Tbf(rate=10_000_000, burst=12_500, limit=75_000),
    Tbf(rate=1_000_000_000, burst=1_250_000, limit=7_500_000),
    Netem(delay=50_000, jitter=5_000, loss=1.5, duplicate=2.0, reorder=25.0, corrupt=0.1, rate=8_000_000, limit=500),
    Netem(loss=100.0),
]


@pytest.mark.parametrize("kind", QDISCS, ids=lambda kind: kind.NAME)
def test_our_decoder_reads_what_our_encoder_writes(kind: Tbf | Netem) -> None:
    item = Qdisc(dev="eth0", kind=kind, parent="1:1", handle="10:")
    found = decode.qdisc(memoryview(encode.qdisc(item, indices())[2]), {2: "eth0"})
    assert found is not None
    assert found.key == item.key
    if isinstance(kind, Netem):
        assert found == item
    else:
        assert isinstance(found.kind, Tbf)
        assert (found.kind.rate, found.kind.limit) == (kind.rate, kind.limit)
        # the kernel keeps the burst as time in ticks of 64 ns
        assert abs(found.kind.burst - kind.burst) <= kind.rate // 8 * 64e-9 + 1
