"""Items to rtnetlink messages. A function returns (type, flags, body); indices come from the caller's table."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from netlab.kernel.rtnl import wire
from netlab.kernel.rtnl.wire import attr, nested, text, u8, u16, u32
from netlab.model.l3 import PROTOCOLS, Address, Fdb, Neighbour, Route, Rule
from netlab.model.links import Bridge, BridgePort, BridgeVlan, Dummy, Ipip, Link, Macvlan, Veth, Vxlan, Wireguard
from netlab.model.qdisc import Netem, Qdisc, Tbf

#: (message type, flags, body)
Request = tuple[int, int, bytes]

SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
ROUTE_TYPES = {"unicast": 1, "local": 2, "blackhole": 6, "unreachable": 7, "prohibit": 8, "throw": 9}
RULE_ACTIONS = {"lookup": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
NUD_REACHABLE, NUD_NOARP, NUD_PERMANENT = 0x02, 0x40, 0x80
NTF_SELF, NTF_MASTER, NTF_PROXY = 0x02, 0x04, 0x08
RTNH_F_ONLINK = 4
IFA_F_NODAD = 0x02
BRIDGE_FLAGS_SELF = 2
BRIDGE_VLAN_INFO_PVID, BRIDGE_VLAN_INFO_UNTAGGED = 0x02, 0x04
TC_ROOT = 0xFFFFFFFF
TICK_NS = 64  # one tick of the packet scheduler (PSCHED_SHIFT 6)

_CREATE = wire.NLM_F_CREATE | wire.NLM_F_EXCL
_PUT = wire.NLM_F_CREATE | wire.NLM_F_REPLACE


@dataclass(slots=True)
class Indices:
    """Interface indices of one namespace by device name, and the way to a peer's namespace.

    fresh: hands out an index that is free everywhere, so that a new device needs no look-up afterwards.
    """

    by_name: dict[str, int]
    fresh: Callable[[], int]
    netns_fd: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return self.by_name[name]


def _family(version: int) -> int:
    return wire.AF_INET if version == 4 else wire.AF_INET6


def link_create(link: Link, indices: Indices, peer: Link | None = None, peer_index: int = 0) -> Request:
    """A new device, up if wanted. peer: the other end of a veth pair, born down in its own namespace."""
    index = indices.by_name[link.name] = indices.fresh()
    parts = [_ifinfo(index, up=link.up), text(3, link.name), u32(4, link.mtu)]
    if link.mac:
        parts.append(attr(1, wire.mac(link.mac)))
    if link.master:
        parts.append(u32(10, indices[link.master]))
    if link.parent:
        parts.append(u32(5, indices[link.parent]))
    data = _kind_data(link, indices, peer, peer_index)
    parts.append(nested(18, attr(1, link.kind.NAME.encode()), *([nested(2, data)] if data else [])))
    return wire.RTM_NEWLINK, _CREATE, b"".join(parts)


def _ifinfo(index: int, *, up: bool | None = None) -> bytes:
    flags, change = (0, 0) if up is None else (wire.IFF_UP if up else 0, wire.IFF_UP)
    return wire.IFINFO.pack(0, 0, index, flags, change)


def _kind_data(link: Link, indices: Indices, peer: Link | None, peer_index: int) -> bytes:
    match link.kind:
        case Veth(peer=name, peer_netns=netns):
            other = peer or Link(name=name, kind=Veth(link.name), mtu=link.mtu)
            # the far end cannot be born up: it would open before it is connected (ENOTCONN from veth_open)
            parts = [_ifinfo(peer_index), text(3, name), u32(4, other.mtu)]
            if other.mac:
                parts.append(attr(1, wire.mac(other.mac)))
            if netns:
                parts.append(u32(28, indices.netns_fd[netns]))
            return attr(1, b"".join(parts))
        case Bridge() as bridge:
            return bridge_options(bridge, Bridge())
        case Vxlan() as vxlan:
            return _vxlan(vxlan, indices)
        case Ipip() as ipip:
            parts = [u8(4, ipip.ttl), u8(10, ipip.pmtudisc)]
            if ipip.dev:
                parts.append(u32(1, indices[ipip.dev]))
            parts += [attr(n, a.packed) for n, a in ((2, ipip.local), (3, ipip.remote)) if a]
            return b"".join(parts)
        case Macvlan(mode=mode):
            return u32(1, MACVLAN_MODES[mode])
        case Dummy() | Wireguard():
            return b""
        case other_kind:
            raise ValueError(f"link {link.name}: netlab cannot make a device of kind {other_kind.NAME}")


def bridge_options(bridge: Bridge, old: Bridge) -> bytes:
    """The options in which a bridge differs from `old`; the kernel counts time in hundredths of a second.

    Only those: a kernel without VLAN filtering or multicast snooping refuses the mere mention of it.
    """
    options = (
        (bridge.forward_delay, old.forward_delay, u32(1, bridge.forward_delay * 100)),
        (bridge.ageing, old.ageing, u32(4, bridge.ageing * 100)),
        (bridge.stp, old.stp, u32(5, bridge.stp)),
        (bridge.vlan_filtering, old.vlan_filtering, u8(7, bridge.vlan_filtering)),
        (bridge.mcast_snooping, old.mcast_snooping, u8(23, bridge.mcast_snooping)),
        (bridge.default_pvid, old.default_pvid, u16(39, bridge.default_pvid)),
    )
    return b"".join(encoded for new, before, encoded in options if new != before)


def _vxlan(vxlan: Vxlan, indices: Indices) -> bytes:
    parts = [u32(1, vxlan.vni), attr(15, struct.pack(">H", vxlan.port)), u8(7, vxlan.learning), u8(5, vxlan.ttl)]
    if vxlan.dev:
        parts.append(u32(3, indices[vxlan.dev]))
    if vxlan.local:
        parts.append(attr(4 if vxlan.local.version == 4 else 17, vxlan.local.packed))
    if vxlan.group:
        parts.append(attr(2 if vxlan.group.version == 4 else 16, vxlan.group.packed))
    if vxlan.gbp:
        parts.append(attr(23, b""))  # IFLA_VXLAN_GBP, a flag
    return b"".join(parts)


def afterthoughts(link: Link, indices: Indices) -> list[Request]:
    """What a new device can only be given when it is there: its alias, and its options as a port of a bridge."""
    requests: list[Request] = []
    if link.alias:
        requests.append((wire.RTM_NEWLINK, 0, _ifinfo(indices[link.name]) + attr(20, link.alias.encode())))
    if link.port not in (None, BridgePort()):
        requests.append(port_options(link, indices))
    return requests


def link_change(old: Link, link: Link, indices: Indices) -> list[Request]:
    """Messages that give a living device what differs. A device goes down before and up after what needs that."""
    index = indices[link.name]
    parts = []
    if link.mtu != old.mtu:
        parts.append(u32(4, link.mtu))
    if link.mac and link.mac != old.mac:
        parts.append(attr(1, wire.mac(link.mac)))
    if link.master != old.master:
        parts.append(u32(10, indices[link.master] if link.master else 0))
    if link.alias != old.alias:
        parts.append(attr(20, link.alias.encode() or b"\0"))
    if isinstance(link.kind, Bridge) and isinstance(old.kind, Bridge) and link.kind != old.kind:
        parts.append(nested(18, attr(1, b"bridge"), nested(2, bridge_options(link.kind, old.kind))))
    requests: list[Request] = []
    if parts or link.up != old.up:
        up = link.up if link.up != old.up else None
        requests.append((wire.RTM_NEWLINK, 0, _ifinfo(index, up=up) + b"".join(parts)))
    joined = BridgePort() if link.master != old.master else old.port
    if link.port and link.port != joined:
        requests.append(port_options(link, indices))
    return requests


def port_options(link: Link, indices: Indices) -> Request:
    """What a port of a bridge may do (`bridge link set`)."""
    port = link.port or BridgePort()
    options = (u8(4, port.hairpin), u8(8, port.learning), u8(9, port.flood), u8(33, port.isolated))
    body = wire.IFINFO.pack(wire.AF_BRIDGE, 0, indices[link.name], 0, 0)
    return wire.RTM_SETLINK, 0, body + nested(12 | wire.NLA_F_NESTED, *options)


def link_delete(name: str, indices: Indices) -> Request:
    """Remove a device."""
    return wire.RTM_DELLINK, 0, _ifinfo(indices[name])


def address(item: Address, indices: Indices, *, delete: bool = False) -> Request:
    """Add (or give anew) or delete an address."""
    ip = item.address.ip
    flags = IFA_F_NODAD if ip.version == 6 else 0
    head = wire.IFADDR.pack(
        _family(ip.version), item.address.network.prefixlen, flags, SCOPES[item.scope], indices[item.dev]
    )
    body = head + attr(2, ip.packed) + attr(1, ip.packed)
    if item.broadcast:
        body += attr(4, item.broadcast.packed)
    return (wire.RTM_DELADDR, 0, body) if delete else (wire.RTM_NEWADDR, _PUT, body)


def route(item: Route, indices: Indices, *, delete: bool = False) -> Request:
    """Add (or replace) or delete a route."""
    version = item.dst.version
    table = item.table if item.table < 256 else 252  # RT_TABLE_COMPAT: the number is in the attribute
    protocol = PROTOCOLS[item.protocol] if item.protocol in PROTOCOLS else int(item.protocol)
    head = wire.RTMSG.pack(
        _family(version),
        item.dst.prefixlen,
        0,
        0,
        table,
        protocol,
        SCOPES[item.scope or "global"],
        ROUTE_TYPES[item.type],
        RTNH_F_ONLINK if item.onlink else 0,
    )
    parts = [head, u32(15, item.table)]
    if item.dst.prefixlen:
        parts.append(attr(1, item.dst.network_address.packed))
    if item.metric:
        parts.append(u32(6, item.metric))
    if item.src:
        parts.append(attr(7, item.src.packed))
    if item.dev:
        parts.append(u32(4, indices[item.dev]))
    if item.via:
        if item.via.version == version:
            parts.append(attr(5, item.via.packed))
        else:
            parts.append(attr(18, struct.pack("=H", _family(item.via.version)) + item.via.packed))
    if item.mtu:
        parts.append(nested(8, u32(2, item.mtu)))
    if item.nexthops:
        hops = []
        for hop in item.nexthops:
            gateway = attr(5, hop.via.packed) if hop.via else b""
            flags = RTNH_F_ONLINK if hop.onlink else 0
            hops.append(wire.RTNEXTHOP.pack(8 + len(gateway), flags, hop.weight - 1, indices[hop.dev]) + gateway)
        parts.append(attr(9, b"".join(hops)))
    return (wire.RTM_DELROUTE, 0, b"".join(parts)) if delete else (wire.RTM_NEWROUTE, _PUT, b"".join(parts))


def neighbour(item: Neighbour, indices: Indices, *, delete: bool = False) -> Request:
    """Put or delete a permanent or proxy neighbour."""
    flags = NTF_PROXY if item.proxy else 0
    body = wire.NDMSG.pack(_family(item.address.version), indices[item.dev], NUD_PERMANENT, flags, 0)
    body += attr(1, item.address.packed)
    if item.mac and not delete:
        body += attr(2, wire.mac(item.mac))
    return (wire.RTM_DELNEIGH, 0, body) if delete else (wire.RTM_NEWNEIGH, _PUT, body)


def fdb(item: Fdb, indices: Indices, *, delete: bool = False) -> Request:
    """Put or delete a forwarding entry: of a VXLAN device if it has a destination, else of a bridge port."""
    state, flags = (NUD_PERMANENT, NTF_SELF) if item.dst else (NUD_NOARP | NUD_REACHABLE, NTF_MASTER)
    body = wire.NDMSG.pack(wire.AF_BRIDGE, indices[item.dev], state, flags, 0) + attr(2, wire.mac(item.mac))
    if item.dst:
        body += attr(1, item.dst.packed)
    # the all-zero MAC may have many destinations, which are appended; another MAC has one, which is replaced
    put = wire.NLM_F_CREATE | wire.NLM_F_APPEND if item.mac == "00:00:00:00:00:00" else _PUT
    return (wire.RTM_DELNEIGH, 0, body) if delete else (wire.RTM_NEWNEIGH, put, body)


def vlan(item: BridgeVlan, indices: Indices, *, delete: bool = False) -> Request:
    """Put or delete a VLAN of a bridge's port or of the bridge itself; put again, it has the new flags."""
    flags = BRIDGE_VLAN_INFO_PVID * item.pvid | BRIDGE_VLAN_INFO_UNTAGGED * item.untagged
    # IFLA_BRIDGE_FLAGS: without, the master of the device is spoken to
    where = u16(0, BRIDGE_FLAGS_SELF) if item.on_bridge else b""
    body = wire.IFINFO.pack(wire.AF_BRIDGE, 0, indices[item.dev], 0, 0)
    body += nested(26, where, attr(2, struct.pack("=HH", flags, item.vid)))
    return wire.RTM_DELLINK if delete else wire.RTM_SETLINK, 0, body


def rule(item: Rule, *, delete: bool = False) -> Request:
    """Add or delete a policy routing rule."""
    table = item.table if item.table < 256 else 252
    head = wire.FIBRULE.pack(
        _family(item.family),
        item.dst.prefixlen if item.dst else 0,
        item.src.prefixlen if item.src else 0,
        0,
        table,
        RULE_ACTIONS[item.action],
        2 if item.invert else 0,
    )
    parts = [head, u32(6, item.priority)]
    if item.action == "lookup":
        parts.append(u32(15, item.table))
    parts += [attr(n, net.network_address.packed) for n, net in ((1, item.dst), (2, item.src)) if net]
    parts += [text(n, name) for n, name in ((3, item.iif), (17, item.oif)) if name]
    if item.fwmark:
        parts += [u32(10, item.fwmark), u32(16, item.mask)]
    return (wire.RTM_DELRULE, 0, b"".join(parts)) if delete else (wire.RTM_NEWRULE, _CREATE, b"".join(parts))


def handle(spelt: str) -> int:
    """`1:`, `1:10` or `root` as the 32-bit number of the traffic control."""
    if spelt == "root":
        return TC_ROOT
    major, _, minor = spelt.partition(":")
    return int(major, 16) << 16 | int(minor or "0", 16)


def qdisc(item: Qdisc, indices: Indices, *, delete: bool = False) -> Request:
    """Put or delete a queueing discipline."""
    body = wire.TCMSG.pack(0, indices[item.dev], 0 if delete else handle(item.handle), handle(item.parent), 0)
    if delete:
        return wire.RTM_DELQDISC, 0, body
    options = _tbf(item.kind) if isinstance(item.kind, Tbf) else _netem(item.kind)
    return wire.RTM_NEWQDISC, _PUT, body + text(1, item.kind.NAME) + attr(2, options)


def ticks(nanoseconds: float) -> int:
    """Time in ticks of the packet scheduler."""
    return min(round(nanoseconds / TICK_NS), 0xFFFFFFFF)


def _ratespec(octets: int) -> bytes:
    # link layer Ethernet: the kernel then computes times itself and wants no rate table
    return struct.pack("=BBHhHI", 0, 1, 0, -1, 0, min(octets, 0xFFFFFFFF))


def _tbf(tbf: Tbf) -> bytes:
    octets = tbf.rate // 8
    buffer = ticks(tbf.burst * 1e9 / octets)
    parms = _ratespec(octets) + bytes(12) + struct.pack("=III", tbf.limit, buffer, 0)
    wide = attr(4, struct.pack("=Q", octets)) if octets > 0xFFFFFFFF else b""
    return attr(1, parms) + u32(6, tbf.burst) + wide


def share(per_cent: float) -> int:
    """A probability as the kernel keeps it: 32 bits."""
    return round(per_cent / 100 * 0xFFFFFFFF)


def _netem(netem: Netem) -> bytes:
    gap = 1 if netem.reorder else 0
    head = struct.pack(
        "=IIIIII",
        ticks(netem.delay * 1000),
        netem.limit,
        share(netem.loss),
        gap,
        share(netem.duplicate),
        ticks(netem.jitter * 1000),
    )
    parts = [head]
    if netem.reorder:
        parts.append(attr(3, struct.pack("=II", share(netem.reorder), 0)))
    if netem.corrupt:
        parts.append(attr(4, struct.pack("=II", share(netem.corrupt), 0)))
    if netem.rate:
        octets = netem.rate // 8
        parts.append(attr(6, struct.pack("=IiIi", min(octets, 0xFFFFFFFF), 0, 0, 0)))
        if octets > 0xFFFFFFFF:
            parts.append(attr(8, struct.pack("=Q", octets)))
    if netem.delay:
        parts.append(attr(10, struct.pack("=q", netem.delay * 1000)))
    if netem.jitter:
        parts.append(attr(11, struct.pack("=q", netem.jitter * 1000)))
    return b"".join(parts)
