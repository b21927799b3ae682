"""rtnetlink dumps to items. What netlab cannot express is left out; what the kernel makes by itself is left out too."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network

from netlab.base.addresses import Address as IpAddress
from netlab.base.addresses import Network, default_network
from netlab.kernel.rtnl import encode, wire
from netlab.kernel.rtnl.wire import as_int, as_mac, as_text, attrs
from netlab.model.l3 import PROTOCOL_NAMES, Address, Fdb, Neighbour, NextHop, Route, RouteType, Rule
from netlab.model.links import (
    Bridge,
    BridgePort,
    BridgeVlan,
    Dummy,
    Ipip,
    Kind,
    Link,
    Loopback,
    Macvlan,
    OtherKind,
    Tun,
    Veth,
    Vxlan,
    Wireguard,
)
from netlab.model.qdisc import Netem, Qdisc, Tbf

_SCOPES = {number: name for name, number in encode.SCOPES.items()}
_TYPES = {number: name for name, number in encode.ROUTE_TYPES.items()}
_ACTIONS = {number: name for name, number in encode.RULE_ACTIONS.items()}
_MODES = {number: name for name, number in encode.MACVLAN_MODES.items()}

IFF_LOOPBACK = 0x8
RTM_F_CLONED = 0x200
RTPROT_KERNEL, RTPROT_RA, RTPROT_REDIRECT = 2, 9, 1
NUD_PERMANENT = 0x80


@dataclass(slots=True)
class RawLink:
    """A device as dumped, before indices are names. link: index of the peer or parent.

    netnsid: what its namespace calls the one in which `link` counts, None for its own.
    """

    index: int
    name: str
    up: bool
    loopback: bool
    mtu: int
    mac: str | None
    master: int
    link: int
    netnsid: int | None
    alias: str
    kind: str
    data: dict[int, memoryview]
    port: dict[int, memoryview]


def address_of(view: memoryview) -> IpAddress:
    """4 or 16 octets as an address."""
    return IPv4Address(bytes(view)) if len(view) == 4 else IPv6Address(bytes(view))


def raw_link(body: memoryview) -> RawLink:
    """One message of a link dump."""
    _, _, index, flags, _ = wire.IFINFO.unpack_from(body)
    a = attrs(body, 16)
    info = attrs(a[18]) if 18 in a else {}
    kind = as_text(info[1]) if 1 in info else ""
    slave = as_text(info[4]) if 4 in info else ""
    return RawLink(
        index=index,
        name=as_text(a[3]),
        up=bool(flags & wire.IFF_UP),
        loopback=bool(flags & IFF_LOOPBACK),
        mtu=as_int(a[4]) if 4 in a else 0,
        mac=as_mac(a[1]) if 1 in a and len(a[1]) == 6 else None,
        master=as_int(a[10]) if 10 in a else 0,
        link=as_int(a[5]) if 5 in a else 0,
        netnsid=as_int(a[37]) if 37 in a else None,
        alias=as_text(a[20]) if 20 in a else "",
        kind=kind,
        data=attrs(info[2]) if 2 in info and kind != "veth" else {},
        port=attrs(info[5]) if slave == "bridge" and 5 in info else {},
    )


def link(raw: RawLink, names: Mapping[int, str], peer: Veth) -> Link:
    """A device as an item. names: by index; peer: the other end, if it is a veth and that end is known."""
    # a bridge that is none of ours may be master, or a bond: only bridges are expressed
    master = names.get(raw.master) if raw.port else None
    return Link(
        name=raw.name,
        kind=_kind(raw, names, peer),
        up=raw.up,
        mtu=raw.mtu,
        mac=None if raw.loopback else raw.mac,
        master=master,
        port=_port(raw.port) if master else None,
        alias=raw.alias,
    )


def _port(a: Mapping[int, memoryview]) -> BridgePort:
    def flag(number: int, default: bool) -> bool:
        return bool(as_int(a[number])) if number in a else default

    return BridgePort(hairpin=flag(4, False), learning=flag(8, True), flood=flag(9, True), isolated=flag(33, False))


def _kind(raw: RawLink, names: Mapping[int, str], peer: Veth) -> Kind:
    a = raw.data

    def number(n: int, default: int = 0) -> int:
        return as_int(a[n]) if n in a else default

    def ip(*numbers: int) -> IpAddress | None:
        for n in numbers:
            if n in a and any(a[n]):
                return address_of(a[n])
        return None

    if raw.loopback:
        return Loopback()
    match raw.kind:
        case "veth":
            return peer
        case "bridge":
            return Bridge(
                stp=bool(number(5)),
                vlan_filtering=bool(number(7)),
                ageing=number(4) // 100,
                forward_delay=number(1) // 100,
                mcast_snooping=bool(number(23, 1)),
                # a kernel without VLAN filtering tells none
                default_pvid=number(39, 1),
            )
        case "vxlan":
            return Vxlan(
                vni=number(1),
                port=struct.unpack(">H", a[15])[0] if 15 in a else 4789,
                local=ip(4, 17),
                group=ip(2, 16),
                dev=names.get(number(3)) if number(3) else None,
                learning=bool(number(7)),
                ttl=number(5),
                gbp=23 in a,  # IFLA_VXLAN_GBP, a flag
            )
        case "tun":
            return Tun(
                mode="tap" if number(3) == 2 else "tun",
                packet_info=bool(number(4)),
                vnet_hdr=bool(number(5)),
                multi_queue=bool(number(7)),
            )
        case "ipip":
            dev = names.get(number(1)) if number(1) else None
            return Ipip(local=ip(2), remote=ip(3), dev=dev, ttl=number(4), pmtudisc=bool(number(10)))
        case "dummy":
            return Dummy()
        case "macvlan" if _MODES.get(number(1)) and raw.link in names:
            return Macvlan(names[raw.link], _MODES[number(1)])  # type: ignore[arg-type]
        case "wireguard":
            return Wireguard("")  # its keys and peers are read by generic netlink
        case other:
            return OtherKind(other)


def address(body: memoryview, names: Mapping[int, str]) -> Address | None:
    """An address, or None for those that the kernel makes itself (127.0.0.1, ::1, link-local)."""
    _, prefixlen, _, scope, index = wire.IFADDR.unpack_from(body)
    a = attrs(body, 8)
    ip = address_of(a.get(2, a.get(1, memoryview(b"\0\0\0\0"))))
    if ip.is_loopback or (ip.version == 6 and ip.is_link_local) or index not in names:
        return None
    broadcast = address_of(a[4]) if 4 in a else None
    return Address(
        dev=names[index],
        address=ip_interface((ip, prefixlen)),
        scope=_SCOPES.get(scope, "global"),  # type: ignore[arg-type]
        broadcast=broadcast if isinstance(broadcast, IPv4Address) else None,
    )


def _network(version: int, view: memoryview | None, length: int) -> Network:
    return default_network(version) if view is None else ip_network((bytes(view), length))


def route(body: memoryview, names: Mapping[int, str]) -> Route | None:
    """A route of the main or another table; None for what follows from an address and for kernel caches."""
    family, length, _, _, table, protocol, scope, kind, flags = wire.RTMSG.unpack_from(body)
    if protocol in (RTPROT_KERNEL, RTPROT_REDIRECT) or flags & RTM_F_CLONED or kind not in _TYPES:
        return None
    if family not in (wire.AF_INET, wire.AF_INET6):
        return None
    version = 4 if family == wire.AF_INET else 6
    a = attrs(body, 12)
    route_type: RouteType = _TYPES[kind]  # type: ignore[assignment]
    unicast = route_type in ("unicast", "local")
    metrics = attrs(a[8]) if 8 in a else {}
    nexthops = tuple(_nexthops(a[9], names)) if 9 in a else ()
    if len(nexthops) == 1:
        return None
    dev = names.get(as_int(a[4])) if 4 in a and unicast and not nexthops else None
    if route_type == "unicast" and not dev and not nexthops:
        return None
    return Route(
        dst=_network(version, a.get(1), length),
        dev=dev,
        via=_gateway(a) if unicast and not nexthops else None,
        src=address_of(a[7]) if 7 in a else None,
        type=route_type,
        table=as_int(a[15]) if 15 in a else table,
        metric=as_int(a[6]) if 6 in a else 0,
        protocol=PROTOCOL_NAMES.get(protocol, str(protocol)),
        scope=_SCOPES.get(scope, "global"),  # type: ignore[arg-type]
        onlink=bool(flags & encode.RTNH_F_ONLINK) and not nexthops,
        mtu=as_int(metrics[2]) if 2 in metrics else 0,
        nexthops=nexthops,
    )


def _gateway(a: Mapping[int, memoryview]) -> IpAddress | None:
    if 5 in a:
        return address_of(a[5])
    if 18 in a:
        return address_of(a[18][2:])
    return None


def _nexthops(view: memoryview, names: Mapping[int, str]) -> list[NextHop]:
    hops = []
    at = 0
    while at + 8 <= len(view):
        length, flags, weight, index = wire.RTNEXTHOP.unpack_from(view, at)
        if length < 8:
            break
        gateway = _gateway(attrs(view[at + 8 : at + length]))
        onlink = bool(flags & encode.RTNH_F_ONLINK)
        hops.append(NextHop(names.get(index, "?"), gateway, weight + 1, onlink))
        at += (length + 3) & ~3
    return hops


def neighbour(body: memoryview, names: Mapping[int, str]) -> Neighbour | None:
    """A permanent or proxy entry; None for what was learnt."""
    family, index, state, flags, _ = wire.NDMSG.unpack_from(body)
    if family not in (wire.AF_INET, wire.AF_INET6) or index not in names:
        return None
    a = attrs(body, 12)
    if flags & encode.NTF_PROXY:
        return Neighbour(dev=names[index], address=address_of(a[1]), proxy=True)
    if not state & NUD_PERMANENT or 2 not in a or len(a[2]) != 6:
        return None
    return Neighbour(dev=names[index], address=address_of(a[1]), mac=as_mac(a[2]))


def fdb(body: memoryview, names: Mapping[int, str]) -> Fdb | None:
    """A permanent entry of a VXLAN device, or a static one of a bridge port; None for learnt ones and devices' own."""
    family, index, state, flags, _ = wire.NDMSG.unpack_from(body)
    a = attrs(body, 12)
    if family != wire.AF_BRIDGE or index not in names or 2 not in a or len(a[2]) != 6:
        return None
    if flags & encode.NTF_SELF and state & NUD_PERMANENT and 1 in a:
        return Fdb(dev=names[index], mac=as_mac(a[2]), dst=address_of(a[1]))
    if 9 in a and state & encode.NUD_NOARP and not state & NUD_PERMANENT and 5 not in a:
        return Fdb(dev=names[index], mac=as_mac(a[2]))
    return None


def vlans(body: memoryview, names: Mapping[int, str]) -> list[BridgeVlan]:
    """The VLANs of one device out of a dump with RTEXT_FILTER_BRVLAN; none for what is neither bridge nor port."""
    family, _, index, _, _ = wire.IFINFO.unpack_from(body)
    a = attrs(body, 16)
    if family != wire.AF_BRIDGE or index not in names or 26 not in a or 10 not in a:
        return []
    found = []
    for info in wire.repeated(a[26], 2):
        flags, vid = struct.unpack_from("=HH", info)
        pvid, untagged = bool(flags & encode.BRIDGE_VLAN_INFO_PVID), bool(flags & encode.BRIDGE_VLAN_INFO_UNTAGGED)
        # a bridge is shown as its own master
        own = as_int(a[10]) == index
        found.append(BridgeVlan(dev=names[index], vid=vid, pvid=pvid, untagged=untagged, on_bridge=own))
    return found


def rule(body: memoryview) -> Rule | None:
    """A policy rule; None for the three that every namespace has, and for actions that netlab does not use."""
    family, dst_len, src_len, _, table, action, flags = wire.FIBRULE.unpack_from(body)
    if family not in (wire.AF_INET, wire.AF_INET6) or action not in _ACTIONS:
        return None
    a = attrs(body, 12)
    version = 4 if family == wire.AF_INET else 6
    priority = as_int(a[6]) if 6 in a else 0
    table = as_int(a[15]) if 15 in a else table
    if (priority, table) in ((0, 255), (32766, 254), (32767, 253)):
        return None
    return Rule(
        priority=priority,
        family=4 if version == 4 else 6,
        src=_network(version, a[2], src_len) if 2 in a else None,
        dst=_network(version, a[1], dst_len) if 1 in a else None,
        fwmark=as_int(a[10]) if 10 in a else 0,
        mask=as_int(a[16]) if 16 in a else 0xFFFFFFFF,
        iif=as_text(a[3]) if 3 in a else None,
        oif=as_text(a[17]) if 17 in a else None,
        invert=bool(flags & 2),
        action=_ACTIONS[action],  # type: ignore[arg-type]
        table=table,
    )


def _spelt(number: int) -> str:
    if number == encode.TC_ROOT:
        return "root"
    major, minor = number >> 16, number & 0xFFFF
    return f"{major:x}:{minor:x}" if minor else f"{major:x}:"


def qdisc(body: memoryview, names: Mapping[int, str]) -> Qdisc | None:
    """A tbf or netem qdisc; None for others."""
    _, index, handle, parent, _ = wire.TCMSG.unpack_from(body)
    a = attrs(body, 20)
    kind = as_text(a[1]) if 1 in a else ""
    if index not in names or 2 not in a or kind not in ("tbf", "netem"):
        return None
    shaped = _tbf(a[2]) if kind == "tbf" else _netem(a[2])
    return Qdisc(dev=names[index], kind=shaped, parent=_spelt(parent), handle=_spelt(handle))


def _tbf(options: memoryview) -> Tbf:
    a = attrs(options)
    octets = struct.unpack_from("=I", a[1], 8)[0]
    limit, buffer, _ = struct.unpack_from("=III", a[1], 24)
    if 4 in a:
        octets = as_int(a[4])
    return Tbf(rate=octets * 8, burst=round(buffer * encode.TICK_NS * octets / 1e9), limit=limit)


def _netem(options: memoryview) -> Netem:
    latency, limit, loss, _, duplicate, jitter = struct.unpack_from("=IIIIII", options)
    a = attrs(options, 24)

    def per_cent(value: int) -> float:
        return round(value / 0xFFFFFFFF * 100, 6)

    def first(n: int) -> int:
        return int(struct.unpack_from("=I", a[n])[0]) if n in a else 0

    octets = as_int(a[8]) if 8 in a else first(6)
    return Netem(
        delay=as_int(a[10]) // 1000 if 10 in a else round(latency * encode.TICK_NS / 1000),
        jitter=as_int(a[11]) // 1000 if 11 in a else round(jitter * encode.TICK_NS / 1000),
        loss=per_cent(loss),
        duplicate=per_cent(duplicate),
        reorder=per_cent(first(3)),
        corrupt=per_cent(first(4)),
        rate=octets * 8,
        limit=limit,
    )
