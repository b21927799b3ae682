"""Devices: ip link, ip tuntap, bridge link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace

from netlab.model.diff import Create, Delete, Op
from netlab.model.explain import wireguard
from netlab.model.explain.command import Command, command, option, reasons
from netlab.model.links import (
    Bridge,
    BridgePort,
    BridgeVlan,
    Dummy,
    Ipip,
    Link,
    Loopback,
    Macvlan,
    OtherKind,
    Tun,
    Veth,
    Vxlan,
    Wireguard,
)

#: what an outer header takes from the underlay's MTU (VXLAN_HEADROOM and VXLAN6_HEADROOM of include/net/vxlan.h)
_VXLAN_HEADROOM = {4: 50, 6: 70}
_IPIP_HEADROOM = 20
#: ip link wants hundredths of a second (USER_HZ) for the timers of a bridge
_USER_HZ = 100
#: the device that the ipip module puts into every namespace; it can be set, never added
_IPIP_FALLBACK = "tunl0"


def create(link: Link, *, mtus: Mapping[str, int] | None = None, peer: Link | None = None) -> list[Command]:
    """Make a device and set it as wanted. mtus: of the devices below it; peer: the other end of a veth in full."""
    return [*add(link, mtus=mtus, peer=peer), *change(_born(link), link)]


def change(old: Link, new: Link) -> list[Command]:
    """Set a living device: only what differs."""
    if isinstance(new.kind, Loopback):
        return _up_or_down(old, new)
    out: list[Command] = []
    if isinstance(new.kind, Bridge) and isinstance(old.kind, Bridge) and new.kind != old.kind:
        out.append(_set(new, "type", "bridge", *_bridge_options(new.kind, old.kind)))
    if isinstance(new.kind, Wireguard) and isinstance(old.kind, Wireguard):
        out += wireguard.change(new.name, old.kind, new.kind, why=new.why)
    identity = _identity(new, mtu=old.mtu, mac=old.mac)
    if identity:
        out.append(_set(new, *identity))
    if new.master != old.master:
        out.append(_set(new, *(("master", new.master) if new.master else ("nomaster",))))
    if new.port:
        # a bridge gives its ports fresh options
        before = old.port if old.port and old.master == new.master else BridgePort()
        flags = _port_options(new.port, before)
        if flags:
            out.append(command("bridge", "link", "set", "dev", new.name, *flags, why=new.why))
    if new.alias != old.alias:
        out.append(_set(new, "alias", new.alias))
    return [*out, *_up_or_down(old, new)]


def delete(link: Link) -> list[Command]:
    """Remove a device; `lo` can only be set down."""
    if isinstance(link.kind, Loopback):
        return [_set(link, "down")] if link.up else []
    return [command("ip", "link", "del", link.name, why=link.why)]


def create_vlan(vlan: BridgeVlan) -> list[Command]:
    """What frames of a VLAN may do at a port: `add` also gives one that is there its new flags."""
    flags = [word for word in ("pvid", "untagged") if getattr(vlan, word)] + ["self"] * vlan.on_bridge
    return [command("bridge", "vlan", "add", "dev", vlan.dev, "vid", str(vlan.vid), *flags, why=vlan.why)]


def change_vlan(old: BridgeVlan, new: BridgeVlan) -> list[Command]:
    return create_vlan(new)


def delete_vlan(vlan: BridgeVlan) -> list[Command]:
    own = ("self",) if vlan.on_bridge else ()
    return [command("bridge", "vlan", "del", "dev", vlan.dev, "vid", str(vlan.vid), *own, why=vlan.why)]


def add(
    link: Link, *, mtus: Mapping[str, int] | None = None, peer: Link | None = None, peer_netns: str | None = None
) -> list[Command]:
    """Only bring a device into being, with what can be said at its birth. ValueError for a kind that nobody makes.

    peer_netns: where the other end of a veth goes, if not where its kind says.
    """
    kind, name, why = link.kind, link.name, link.why
    mtu = _usual_mtu(link, mtus or {})
    identity = _identity(link, mtu=mtu)

    def plain(*words: object) -> list[Command]:
        return [command("ip", "link", "add", name, *identity, *words, why=why)]

    match kind:
        case Loopback():
            return []
        case Veth():
            there = kind.peer_netns if peer_netns is None else peer_netns
            other = _identity(peer, mtu=1500) if peer else ()
            both = reasons((why, peer.why if peer else ""))
            words = (*identity, "type", "veth", "peer", "name", kind.peer, *other, *option("netns", there))
            return [command("ip", "link", "add", name, *words, why=both)]
        case Bridge():
            return plain("type", "bridge", *_bridge_options(kind, Bridge()))
        case Vxlan():
            group = option("group" if kind.group and kind.group.is_multicast else "remote", kind.group)
            words = ("id", str(kind.vni), *group, *option("local", kind.local), *option("dev", kind.dev))
            rest = ("dstport", str(kind.port), *option("ttl", kind.ttl), *(() if kind.learning else ("nolearning",)))
            rest += ("gbp",) if kind.gbp else ()
            return plain("type", "vxlan", *words, *rest)
        case Tun():
            flags = {"pi": kind.packet_info, "vnet_hdr": kind.vnet_hdr, "multi_queue": kind.multi_queue}
            words = tuple(flag for flag, wanted in flags.items() if wanted)
            return [command("ip", "tuntap", "add", "dev", name, "mode", kind.mode, *words, why=why)]
        case Ipip():
            if name == _IPIP_FALLBACK:
                return []
            ends = (*option("remote", kind.remote), *option("local", kind.local), *option("dev", kind.dev))
            return plain("type", "ipip", *ends, *option("ttl", kind.ttl), *(() if kind.pmtudisc else ("nopmtudisc",)))
        case Wireguard():
            return [*plain("type", "wireguard"), *wireguard.create(name, kind, why=why)]
        case Dummy():
            return plain("type", "dummy")
        case Macvlan():
            words = ("link", kind.parent, *identity, "type", "macvlan", "mode", kind.mode)
            return [command("ip", "link", "add", name, *words, why=why)]
        case OtherKind():
            raise ValueError(f"{link} is of kind {kind.name}, which netlab reads but does not make")


class Wiring:
    """Link operations that depend on one another: veth pairs, MTUs that come from below.

    made: names of the veth ends that exist already, because the other end brought them.
    """

    def __init__(self, ops: Iterable[Op], *, made: Iterable[str] = ()) -> None:
        self._made = set(made)
        self._gone: set[str] = set()
        self._fresh = {op.item.name: op.item for op in ops if isinstance(op, Create) and isinstance(op.item, Link)}
        self._mtus = {link.name: link.mtu for link in self._fresh.values()}

    def commands(self, op: Op) -> list[Command]:
        """What one link operation takes."""
        link = op.item
        assert isinstance(link, Link)
        if isinstance(op, Delete):
            return self._delete(link)
        return self._create(link) if isinstance(op, Create) else change(_as_link(op.old), link)

    def _create(self, link: Link) -> list[Command]:
        if link.name in self._made:
            return change(_born(link), link)
        peer = None
        if isinstance(link.kind, Veth) and not link.kind.peer_netns:
            peer = self._fresh.get(link.kind.peer)
            self._made.add(link.kind.peer)
        return create(link, mtus=self._mtus, peer=peer)

    def _delete(self, link: Link) -> list[Command]:
        """A device goes with its veth peer and with the one below it, and is not to be deleted twice."""
        known = link.name in self._gone or link.parent in self._gone
        self._gone.add(link.name)
        if isinstance(link.kind, Veth) and not link.kind.peer_netns:
            self._gone.add(link.kind.peer)
        return [] if known else delete(link)


def _as_link(item: object) -> Link:
    assert isinstance(item, Link)
    return item


def _set(link: Link, *words: object) -> Command:
    return command("ip", "link", "set", link.name, *words, why=link.why)


def _up_or_down(old: Link, new: Link) -> list[Command]:
    return [] if old.up == new.up else [_set(new, "up" if new.up else "down")]


def _identity(link: Link, *, mtu: int | None, mac: str | None = None) -> tuple[str, ...]:
    """MAC and MTU where they are not what the device has anyway."""
    return (
        *(("address", link.mac) if link.mac and link.mac != mac else ()),
        *(("mtu", str(link.mtu)) if link.mtu != mtu else ()),
    )


def _born(link: Link) -> Link:
    """The device as `add` leaves it."""
    bare = replace(link, up=False, master=None, port=None, alias="")
    if isinstance(link.kind, Loopback | Tun) or link.name == _IPIP_FALLBACK:
        return replace(bare, mac=None, mtu=0)
    return bare


def _usual_mtu(link: Link, mtus: Mapping[str, int]) -> int | None:
    """The MTU that the kernel gives without being asked, None if that depends on a device we know nothing of."""
    match link.kind:
        case Vxlan(dev=dev, local=local, group=group) if dev:
            version = next((a.version for a in (group, local) if a), 4)
            return mtus[dev] - _VXLAN_HEADROOM[version] if dev in mtus else None
        case Ipip(dev=dev) if dev:
            return mtus[dev] - _IPIP_HEADROOM if dev in mtus else None
        case Macvlan(parent=parent):
            return mtus.get(parent)
        case Vxlan():
            return 1500
        case _:
            return replace(link, mtu=0).mtu


def _bridge_options(new: Bridge, old: Bridge) -> tuple[str, ...]:
    spelt = {
        "stp": ("stp_state", int(new.stp)),
        "vlan_filtering": ("vlan_filtering", int(new.vlan_filtering)),
        "ageing": ("ageing_time", new.ageing * _USER_HZ),
        "forward_delay": ("forward_delay", new.forward_delay * _USER_HZ),
        "mcast_snooping": ("mcast_snooping", int(new.mcast_snooping)),
        "default_pvid": ("vlan_default_pvid", new.default_pvid),
    }
    different = [f.name for f in fields(Bridge) if getattr(new, f.name) != getattr(old, f.name)]
    return tuple(str(word) for name in different for word in spelt[name])


def _port_options(new: BridgePort, old: BridgePort) -> tuple[str, ...]:
    different = [f.name for f in fields(BridgePort) if getattr(new, f.name) != getattr(old, f.name)]
    return tuple(word for name in different for word in (name, "on" if getattr(new, name) else "off"))
