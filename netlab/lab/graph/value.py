"""What there is to draw: boxes with ports, and the cables between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from netlab.compile.topology import Device, Place, Topology
from netlab.lab import impairments
from netlab.model import Bridge, Dummy, Ipip, Kind, Macvlan, Tun, Vxlan

#: a device of a place
End = tuple[str, str]
FORWARDS = "forwards packets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A device. kind: empty for a veth end, else what it is; impaired: what it does to packets that leave through it.

    broken: it is not as it should be (`--live`).
    """

    name: str
    kind: str = ""
    addresses: tuple[str, ...] = ()
    master: str | None = None
    up: bool = True
    impaired: str = ""
    broken: bool = False

    @property
    def state(self) -> str:
        """What is wrong with it; empty if nothing."""
        return "not as it should be" if self.broken else "" if self.up else "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A namespace, or a guest in one. notes: what it does; runs: its processes; inside: containers and guests in it.

    role: network (a switch), node, container, or guest: what shares the namespace of the box around it.
    """

    name: str
    role: Literal["network", "node", "container", "guest"]
    ports: tuple[Port, ...] = ()
    notes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    inside: tuple[Box, ...] = ()

    @property
    def guests(self) -> list[Box]:
        """Who shares its namespace."""
        return [box for box in self.inside if box.role == "guest"]

    @property
    def containers(self) -> list[Box]:
        """Who runs on it, in a namespace of its own."""
        return [box for box in self.inside if box.role == "container"]

    @property
    def own_ports(self) -> list[Port]:
        """Devices that are no port of a bridge; bridges last, as packets come from outside."""
        return sorted((port for port in self.ports if not port.master), key=lambda port: port.kind == "bridge")

    @property
    def routed(self) -> list[tuple[str, str]]:
        """Pairs of a device and a bridge between which it forwards packets."""
        if FORWARDS not in self.notes:
            return []
        spoken = [port for port in self.ports if port.addresses]
        bridges = [port.name for port in spoken if port.kind == "bridge"]
        return [(port.name, bridge) for port in spoken if port.kind != "bridge" for bridge in bridges]

    def ports_of(self, bridge: str) -> list[Port]:
        """What is plugged into one of its bridges."""
        return [port for port in self.ports if port.master == bridge]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A veth pair. The end that comes first in the lab is `a`; switches come before nodes, nodes before containers."""

    a: End
    b: End
    impaired: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A lab: its outermost boxes in the order of the file, and all its cables."""

    name: str
    title: str
    boxes: tuple[Box, ...]
    cables: tuple[Cable, ...]

    def all_boxes(self) -> Iterator[Box]:
        """Every box, the outer one before those inside."""

        def walk(boxes: tuple[Box, ...]) -> Iterator[Box]:
            for box in boxes:
                yield box
                yield from walk(box.inside)

        return walk(self.boxes)

    def port(self, end: End) -> Port | None:
        """The device of that name."""
        box = next((box for box in self.all_boxes() if box.name == end[0]), None)
        return next((port for port in (box.ports if box else ()) if port.name == end[1]), None)

    def far_end(self, end: End) -> End | None:
        """The other end of the cable that is plugged in there."""
        return next((c.b if c.a == end else c.a for c in self.cables if end in (c.a, c.b)), None)


def picture(topology: Topology, *, broken: Collection[End] = ()) -> Graph:
    """The value to draw. broken: devices that are not as they should be."""
    boxes = {place.name: _box(place, topology, broken) for place in topology.places}
    for place in reversed(topology.places):  # a guest is put into its container before that goes into its node
        home = place.shares or place.on
        if home in boxes:
            inner = boxes.pop(place.name)
            boxes[home] = replace(boxes[home], inside=(inner, *boxes[home].inside))
    return Graph(
        name=topology.name,
        title=topology.title,
        boxes=tuple(boxes.values()),
        cables=tuple(_cables(topology, broken)),
    )


def _box(place: Place, topology: Topology, broken: Collection[End]) -> Box:
    notes = [FORWARDS] if any(n.endswith("ip_forward") and v == "1" for n, v, _ in place.sysctls) else []
    notes += [f"masquerades {bridge.name}" for bridge in place.bridges if bridge.masquerade]
    return Box(
        name=place.name,
        role="guest" if place.shares else place.role,
        ports=tuple(_port(device, place, broken) for device in place.devices),
        notes=tuple(notes),
        runs=tuple(
            " ".join([process.name, *(f"{port}/{protocol}" for port, protocol in process.serve)])
            for process in place.processes
        ),
        published=tuple(_published(place, topology)),
    )


def _port(device: Device, place: Place, broken: Collection[End]) -> Port:
    return Port(
        name=device.name,
        kind=_words(device.kind),
        addresses=tuple(map(str, device.addresses)),
        master=device.master,
        up=device.up,
        impaired=impairments.words(device.impairment.qdiscs) if device.impairment else "",
        broken=(place.name, device.name) in broken,
    )


def _words(kind: Kind | None) -> str:
    match kind:
        case None:
            return ""
        case Bridge():
            return "bridge"
        case Vxlan(vni=vni, dev=dev):
            return f"VXLAN {vni}" + (f" over {dev}" if dev else "")
        case Macvlan(parent=parent, mode=mode):
            return f"macvlan of {parent}, {mode}"
        case Ipip(remote=remote):
            return "IPIP" + (f" to {remote}" if remote else "")
        case Tun(mode=mode):
            return mode
        case Dummy():
            return "dummy"
        case _:
            return kind.NAME


def _published(place: Place, topology: Topology) -> Iterator[str]:
    """`8080 → 80/tcp`, once for both families."""
    host = topology.by_name.get(place.on or "")
    mine = {address.ip for device in place.devices for address in device.addresses}
    found = (port for bridge in (host.bridges if host else ()) for port in bridge.published if port.address in mine)
    yield from dict.fromkeys(f"{port.host_port} → {port.port}/{port.protocol}" for port in found)


def _cables(topology: Topology, broken: Collection[End]) -> Iterator[Cable]:
    drawn: set[End] = set()
    for place in topology.places:
        for device in place.devices:
            a, b = (place.name, device.name), device.peer
            if b is None or a in drawn:
                continue
            drawn |= {a, b}
            far = next((d for d in topology.by_name[b[0]].devices if d.name == b[1]), None)
            both = [(end, d.impairment) for end, d in ((a, device), (b, far)) if d and d.impairment]
            says = [f"{':'.join(end)} {impairments.words(impairment.qdiscs)}" for end, impairment in both]
            yield Cable(a=a, b=b, impaired="; ".join(says), broken=a in broken or b in broken)
