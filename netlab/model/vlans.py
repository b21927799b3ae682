"""The VLAN that a bridge gives to itself and to its ports without being asked (`Bridge.default_pvid`). Pure.

It is nobody's: netlab neither shows it as a stranger nor takes it away, until somebody asks for a `BridgeVlan` of that
number. A port has one PVID at most, so that another PVID takes the mark from it, and it stays there as untagged. When
what was asked for is no longer wanted, it gets the mark back: without a PVID a port lets no untagged frame in. Whoever
wants a port with the VLANs that were asked for and no other makes the bridge with `default_pvid=0`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from netlab.base.addresses import derived_mac
from netlab.model.item import Key
from netlab.model.links import Bridge, BridgeVlan, Link
from netlab.model.state import HostState

NO_ADDRESS = "00:00:00:00:00:00"


class Upkeep(NamedTuple):
    """delete: entries to take away first; put: (as it is or None, as it has to be) afterwards; kept: not to delete."""

    delete: list[BridgeVlan]
    put: list[tuple[BridgeVlan | None, BridgeVlan]]
    kept: set[Key]


def default_pvid(links: Mapping[str, Link], dev: str) -> int:
    """The VLAN that the kernel gives to `dev`, a bridge or a bridge's port; 0 for none."""
    link = links.get(dev)
    bridge = links.get(link.master) if link and link.master else link
    return bridge.kind.default_pvid if bridge and isinstance(bridge.kind, Bridge) else 0


def kernels_own(vlan: BridgeVlan, state: HostState) -> bool:
    """Whether `vlan`, read from a kernel as a part of `state`, is what the kernel made, or what a PVID left of it."""
    links = {link.name: link for link in state.all(Link)}
    if not vlan.untagged or vlan.vid != default_pvid(links, vlan.dev):
        return False
    return vlan.pvid or any(v.pvid for v in state.all(BridgeVlan) if v.dev == vlan.dev)


def upkeep(actual: HostState, wanted: HostState, was: HostState) -> Upkeep:
    """What has to be done for the kernel's own VLANs, beside what is asked for.

    A bridge whose `default_pvid` changes takes the VLANs of its ports with it that look like the old one, and the PVID
    from all the others: what is asked for there is made anew.
    """
    found = Upkeep([], [], set())
    now = {link.name: link for link in actual.all(Link)}
    then = now | {link.name: link for link in wanted.all(Link)}
    ours, asked = ({v.order: v for v in state.all(BridgeVlan)} for state in (was, wanted))
    for dev in sorted({v.dev for v in (*ours.values(), *asked.values())} & set(now)):
        if now[dev].master != then[dev].master:
            continue  # of a port that leaves its bridge nothing is left
        here = [v for v in actual.all(BridgeVlan) if v.dev == dev]
        old, new = default_pvid(now, dev), default_pvid(then, dev)
        others = [v for v in here if v.order not in ours and v.vid not in (old, new)]
        pvid = any(v.pvid for v in (*others, *asked.values()) if v.dev == dev)
        bridge = isinstance(now[dev].kind, Bridge)
        own = BridgeVlan(dev=dev, vid=new, pvid=not pvid, untagged=True, on_bridge=bridge) if new else None
        if old != new:
            found.delete.extend(v for v in here if v.order in ours or v.order in asked or (v.vid == old and v.untagged))
            if own and own.order not in asked:
                found.put.append((None, own))
        elif own and own.order not in asked:
            current = next((v for v in here if v.order == own.order), None)
            released = own.order in ours
            robbed = current is not None and current.untagged and any(v.pvid for v in ours.values() if v.dev == dev)
            if released:
                found.kept.add(own.order)
            if (released or robbed) and current != own:
                found.put.append((current, own))
    return found


def unaddressed(actual: HostState, wanted: HostState, asked: Iterable[BridgeVlan]) -> list[tuple[Link, Link]]:
    """Bridges that have to get an address first: as they are, and with one.

    A bridge takes its address from a port, and when the last has left it is 00:00:00:00:00:00 again; such a bridge
    takes no VLAN of its own, for it could not enter itself into its forwarding table.
    """
    found = []
    for name in sorted({vlan.dev for vlan in asked if vlan.on_bridge}):
        bridge, target = actual.link(name), wanted.link(name)
        ports = {link.name: link.master for link in (*actual.all(Link), *wanted.all(Link))}
        if bridge and target and not target.mac and name not in ports.values():
            had = any(link.master == name for link in actual.all(Link))
            if had or bridge.mac == NO_ADDRESS:
                found.append((bridge, replace(bridge, mac=derived_mac("bridge", name))))
    return found
