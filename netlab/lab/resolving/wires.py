"""Devices and what connects them: networks, bridges, interfaces, cables, devices on top of others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from netlab.base.addresses import Interface
from netlab.base.names import DEVICE_NAME_MAX, device_name_problem
from netlab.base.yamlfile import Location
from netlab.compile.topology import Device, Impairment
from netlab.lab import schema
from netlab.lab.impairments import qdiscs
from netlab.lab.resolving.desk import Desk
from netlab.lab.segments import Segment
from netlab.model import Bridge, Dummy, Ipip, Kind, Macvlan, Tun, Vxlan
from netlab.model.links import TUNL0

#: a Linux bridge has 1,024 ports (BR_MAX_PORTS)
BRIDGE_PORTS_MAX = 1023
#: outer Ethernet, IP, UDP and VXLAN headers, by the version of the outer IP (RFC 7348)
VXLAN_OVERHEAD = {4: 50, 6: 70}


def networks(desk: Desk) -> None:
    """The switches between nodes."""
    for name, network in desk.lab.networks.items():
        segment = Segment(f"network {name}", list(network.subnets), network.mtu or 1500)
        desk.segments[name, ""] = segment
        problem = device_name_problem(name)
        if problem:
            desk.problem(("networks", name), f"{problem}: a network's bridge has its name")
            continue
        bridge = Device(name=name, kind=Bridge(), mtu=segment.mtu, why=desk.why("networks", name))
        desk.put(name, bridge, ("networks", name))


def node_bridges(desk: Desk, name: str, node: schema.Node) -> None:
    """The bridges of a node, and the addresses that a segment gets from them."""
    for dev, bridge in node.bridges.items():
        path: Location = ("nodes", name, "bridges", dev)
        addresses = tuple(bridge.addresses)
        segment = Segment(f"bridge {dev} of {name}", [a.network for a in addresses], bridge.mtu or 1500)
        desk.segments[name, dev] = segment
        take(desk, segment, addresses, (*path, "addresses"))
        device = Device(
            name=dev, kind=Bridge(stp=bridge.stp), addresses=addresses, mac=bridge.mac, mtu=segment.mtu,
            why=desk.why(*path),
        )  # fmt: skip
        desk.put(name, device, path)


def take(desk: Desk, segment: Segment, addresses: Sequence[Interface], path: Location) -> None:
    """Claim addresses on a segment; each may be claimed once."""
    for i, address in enumerate(addresses):
        where = desk.document.place((*path, i))
        holder = segment.take(address.ip, f"{where}#{i}")
        if holder:
            text = f"address {address.ip} is in use on {segment.name} already, at {holder.split('#')[0]}"
            desk.problem((*path, i), text, "give each interface its own address")


def given_addresses(desk: Desk, name: str, node: schema.Node) -> None:
    """Given addresses first, so that none of them is allotted to another."""
    for dev, interface in node.interfaces.items():
        segment = desk.segments.get((interface.network or "", ""))
        if segment and interface.addresses:
            take(desk, segment, interface.addresses, ("nodes", name, "interfaces", dev, "addresses"))


def interfaces(desk: Desk, name: str, node: schema.Node) -> None:
    """The interfaces of a node: on a network, at a cable's end, or of a kind of their own."""
    for dev, interface in node.interfaces.items():
        path: Location = ("nodes", name, "interfaces", dev)
        kinds = [
            k for k in ("network", "cable", "vxlan", "macvlan", "ipip", "tun") if getattr(interface, k) is not None
        ]
        kinds += ["dummy"] if interface.dummy else []
        if len(kinds) != 1:
            hint = "one of network, cable, vxlan, macvlan, ipip, tun, dummy"
            desk.problem(path, f"interface {dev} must be exactly one kind, not {' and '.join(kinds) or 'none'}", hint)
            continue
        device = _interface(desk, name, dev, interface, path)
        if device:
            desk.put(name, device, path)


def _interface(desk: Desk, name: str, dev: str, spec: schema.Interface, path: Location) -> Device | None:
    addresses = tuple(spec.addresses or ())
    mtu, peer = spec.mtu or 0, None
    kind: Kind | None = None
    if spec.network is not None:
        segment = desk.segments.get((spec.network, ""))
        if segment is None:
            desk.unknown((*path, "network"), "network", spec.network, desk.lab.networks)
            return None
        if spec.addresses is None:
            addresses = allot(desk, segment, path)
        mtu = spec.mtu or segment.mtu
        peer = _plug(desk, spec.network, name, dev, mtu, path)
    elif spec.cable is not None:
        peer = _cable(desk, name, dev, spec, path)
        if peer is None:
            return None
    else:
        kind = _kind(dev, spec)
        if dev == "tunl0" and isinstance(kind, Ipip) and kind != TUNL0:
            hint = "leave local and remote out, or take another name for the device, such as ipip0"
            desk.problem(
                (*path, "ipip"), "tunl0 is the kernel's own IPIP device, whose options cannot be changed", hint
            )
            return None
    if spec.bridge and spec.bridge not in desk.lab.nodes[name].bridges:
        desk.unknown((*path, "bridge"), f"bridge of {name}", spec.bridge, desk.lab.nodes[name].bridges)
        return None
    return Device(
        name=dev, kind=kind, peer=peer, addresses=addresses, mac=spec.mac, mtu=mtu, up=spec.up,
        master=spec.bridge, impairment=impairment(desk, spec.impair, path), why=desk.why(*path),
    )  # fmt: skip


def parents(desk: Desk, name: str, node: schema.Node) -> None:
    """Devices on top of others: the one below must be there, and leaves them so much room."""
    devices = desk.drafts[name].devices if name in desk.drafts else {}
    for dev, spec in node.interfaces.items():
        below = spec.vxlan.dev if spec.vxlan else spec.macvlan.parent if spec.macvlan else None
        device = devices.get(dev)
        if below is None or device is None:
            continue
        path: Location = ("nodes", name, "interfaces", dev)
        if below not in devices or below == dev:
            desk.unknown(path, f"device of {name} below {dev}:", below, set(devices) - {dev})
            continue
        local = spec.vxlan.local if spec.vxlan else None
        room = (devices[below].mtu or 1500) - (0 if spec.macvlan else VXLAN_OVERHEAD[local.version if local else 4])
        if device.mtu > room:
            why = f"mtu {device.mtu} does not fit into {below}, which leaves {room}"
            desk.problem((*path, "mtu"), why, f"at most {room}, or leave it out")
        devices[dev] = replace(device, mtu=device.mtu or room)


def allot(desk: Desk, segment: Segment, path: Location) -> tuple[Interface, ...]:
    """The next free address of each subnet."""
    try:
        return tuple(segment.allot(desk.document.place(path)))
    except ValueError as e:
        desk.problem(path, str(e), "use a larger subnet")
        return ()


def _plug(desk: Desk, network: str, name: str, dev: str, mtu: int, path: Location) -> tuple[str, str]:
    port = f"{name}-{dev}"
    if len(port) > DEVICE_NAME_MAX:
        port = f"p{hashlib.sha256(port.encode()).hexdigest()[:10]}"
    switch = Device(name=port, kind=None, peer=(name, dev), mtu=mtu, master=network, why=desk.why(*path))
    desk.put(network, switch, path)
    if len(desk.drafts[network].devices) > BRIDGE_PORTS_MAX:
        desk.problem(path, f"network {network} has more than {BRIDGE_PORTS_MAX - 1} ports", "use several networks")
    return network, port


def _cable(desk: Desk, name: str, dev: str, spec: schema.Interface, path: Location) -> tuple[str, str] | None:
    other, _, far = (spec.cable or "").partition(":")
    node = desk.lab.nodes.get(other)
    if node is None:
        desk.unknown((*path, "cable"), "node", other, desk.lab.nodes)
        return None
    back = node.interfaces.get(far)
    if back is None or back.cable != f"{name}:{dev}":
        says = f"it says {back.cable!r}" if back and back.cable else "it says nothing of a cable"
        hint = f"give {other} an interface {far} with cable: {name}:{dev}"
        desk.problem((*path, "cable"), f"{other}:{far or '?'} is not the other end of {name}:{dev}: {says}", hint)
        return None
    return other, far


def impairment(desk: Desk, spec: schema.Impair | None, path: Location) -> Impairment | None:
    """What an `impair` says, if it makes sense."""
    if spec is None:
        return None
    try:
        return Impairment(qdiscs=qdiscs(spec), why=desk.why(*path, "impair"))
    except ValueError as e:
        desk.problem((*path, "impair"), str(e))
        return None


def _kind(dev: str, spec: schema.Interface) -> Kind:
    if spec.vxlan:
        v = spec.vxlan
        return Vxlan(vni=v.vni, port=v.port, local=v.local, dev=v.dev, learning=v.learning)
    if spec.macvlan:
        return Macvlan(spec.macvlan.parent, spec.macvlan.mode)
    if spec.ipip:
        return Ipip(local=spec.ipip.local, remote=spec.ipip.remote, pmtudisc=dev != "tunl0")
    if spec.tun:
        return Tun(mode=spec.tun)
    return Dummy()
