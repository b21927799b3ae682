"""Which captures are of one and the same packet, although NAT, routing or a tunnel has changed it in between.

A packet is known by what nothing on its way rewrites, in the innermost packet of a tunnel: the IP identification (IPv6:
flow label), the protocol, sequence numbers and the start of the payload; not by addresses, ports, TTL, MACs or
checksums. Segmentation offload: a 64 KiB segment and the first of its pieces count as the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.lab.capture import decode
from netlab.lab.capture.merge import time_order
from netlab.lab.capture.packet import Packet, Place

if TYPE_CHECKING:
    from netlab.lab.capture.dissect import Level, Value

#: nanoseconds between two sightings of one packet, more than any delay of a lab; then the 16 bits of IP
#: identification are somebody else's
WINDOW_NS = 2_000_000_000
#: bytes of payload compared: enough to tell, and the same however much of the packet was captured
_COMPARED = 64

Identity = tuple["Value | bytes | None", ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet at a place, taken apart."""

    packet: Packet
    levels: tuple[Level, ...]
    fields: dict[str, Value]

    @classmethod
    def of(cls, packet: Packet) -> Sighting:
        """Decode the packet."""
        levels = tuple(decode.levels(packet))
        return cls(packet, levels, decode.flat(levels))

    def where(self) -> tuple[Place, bool | None]:
        """The place and the direction."""
        return self.packet.place, self.packet.outgoing


def identity(levels: Sequence[Level]) -> Identity:
    """What the packet keeps on its way. Equal identities: the same packet, or one that was sent again unchanged."""
    level = levels[-1]
    f, payload = level.fields, level.payload[:_COMPARED]
    if "arp.op" in f:
        return ("arp", f["arp.op"], f["arp.hwsrc"], f["arp.psrc"], f["arp.pdst"])
    if "ip.id" in f:
        network: Identity = ("ip", f["ip.proto"], f["ip.id"], f["ip.frag"])
    elif "ip6.flow" in f:
        network = ("ip6", f["ip6.nh"], f["ip6.flow"])
    else:
        return ("link", f.get("eth.type"), payload)
    if "quoted.ip.src" in f or "quoted.ip6.src" in f:  # NAT rewrites what an ICMP error quotes, and its payload is that
        return (*network, f.get("icmp.type", f.get("icmp6.type")), f.get("icmp.code", f.get("icmp6.code")))
    if "tcp.seq" in f:  # PSH and FIN belong to the last piece of a segment, SYN and RST to all
        kept = "".join(letter for letter in str(f["tcp.flags"]) if letter in "SR")
        return (*network, f["tcp.seq"], f["tcp.ack"], kept, payload)
    kinds = ("icmp.type", "icmp.code", "icmp.seq", "icmp6.type", "icmp6.code", "icmp6.seq", "icmp6.target")
    return (*network, *(f.get(key) for key in kinds), payload)


def journeys(packets: Iterable[Packet]) -> list[list[Sighting]]:
    """The sightings of each packet, in order of time, journeys in the order of their first sighting.

    What is sent again unchanged (an ARP request each second) is a journey of its own: the same bytes at the same
    place in the same direction, or WINDOW_NS without a sighting, begin a new one.
    """
    groups: dict[Identity, list[Sighting]] = {}
    for packet in sorted(packets, key=time_order):
        sighting = Sighting.of(packet)
        groups.setdefault(identity(sighting.levels), []).append(sighting)
    split = [journey for group in groups.values() for journey in _split(group)]
    return sorted(split, key=lambda journey: journey[0].packet.time_ns)


def _split(group: Sequence[Sighting]) -> Iterator[list[Sighting]]:
    journey: list[Sighting] = []
    seen: set[tuple[Place, bool | None, bytes]] = set()
    for sighting in group:
        mark = (*sighting.where(), sighting.packet.data)
        late = journey and sighting.packet.time_ns - journey[-1].packet.time_ns > WINDOW_NS
        if late or mark in seen:
            yield journey
            journey, seen = [], set()
        journey.append(sighting)
        seen.add(mark)
    if journey:
        yield journey
