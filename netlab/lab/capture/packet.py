"""The nouns of a capture: a place, a packet seen there, and what is needed of whoever listens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

#: the link types of LINKTYPE.html (tcpdump.org) that netlab writes
LINKTYPE_ETHERNET, LINKTYPE_RAW = 1, 101
#: bytes kept of a packet: what tcpdump keeps, more than the largest GSO packet of veth (64 KiB)
SNAPLEN = 262_144


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A device of a node. Prints as `nginx-1:eth0`; the node is empty in files that netlab did not write."""

    node: str
    device: str

    def __str__(self) -> str:
        return f"{self.node}:{self.device}" if self.node else self.device

    @classmethod
    def parse(cls, text: str) -> Place:
        """`nginx-1:eth0` to a place; a device of no node if there is no colon. Any text is a place."""
        node, _, device = text.rpartition(":")
        return cls(node, device)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet at one place.

    time_ns: nanoseconds since 1970 (UTC), by the kernel's clock; outgoing: True if the device sent it, False if it
    received it, None if the file does not say; data: from the link type's header on, at most SNAPLEN bytes;
    wire_length: bytes before the cut; linktype: of tcpdump.org's list.
    """

    time_ns: int
    place: Place
    outgoing: bool | None
    data: bytes
    wire_length: int
    linktype: int = LINKTYPE_ETHERNET


@dataclass(frozen=True, slots=True)
class Interface:
    """A place as the capture file describes it. filter: the expression in force there, empty for none."""

    place: Place
    linktype: int = LINKTYPE_ETHERNET
    description: str = ""
    filter: str = ""


class Frame(Protocol):
    """What a listener hands over: a packet that does not know its lab. `tap` is the tap's number, from 0."""

    @property
    def tap(self) -> int: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def outgoing(self) -> bool: ...
    @property
    def data(self) -> bytes: ...
    @property
    def wire_length(self) -> int: ...


class Listener(Protocol):
    """All taps of a capture (kernel.packets.Taps is the real one)."""

    def poll(self, timeout: float) -> Iterable[Frame]:
        """Wait at most `timeout` seconds for packets; yield those of one round."""

    def statistics(self) -> Sequence[tuple[int, int]]:
        """(received, dropped) of every tap, in their order; received includes dropped."""
