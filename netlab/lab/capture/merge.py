"""Packets of many taps in time order.

Every tap is in order by itself, but one thread reads them in turn, so a packet may be read after a later one of
another tap. Packets are held back for a moment, on the capture's clock, and leave sorted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from netlab.lab.capture.packet import Packet

#: nanoseconds a packet is held back. One round over 200 busy taps takes about 50 ms; more would be felt as lag.
HOLD_NS = 50_000_000


def time_order(packet: Packet) -> tuple[int, int]:
    """The key to sort packets by: time, then size where the kernel's time is the same.

    A packet that comes in keeps its time stamp while it rises through tunnel, VLAN and bridge devices of a namespace,
    and gets smaller there.
    """
    size = packet.wire_length
    return packet.time_ns, size if packet.outgoing else -size


class TimeMerge:
    """A buffer that sorts by `time_order`. Equals leave in the order in which they came in.

    A packet that comes in later than `hold_ns` after its time leaves at once, out of order; readers of pcapng
    have to cope with that (draft-ietf-opsawg-pcapng section 4.3), and it is better than losing it.
    """

    def __init__(self, hold_ns: int = HOLD_NS) -> None:
        self._hold_ns = hold_ns
        self._heap: list[tuple[tuple[int, int], int, Packet]] = []
        self._count = 0

    def push(self, packet: Packet) -> None:
        """Take a packet in."""
        heapq.heappush(self._heap, (time_order(packet), self._count, packet))
        self._count += 1

    def ready(self, now_ns: int) -> Iterator[Packet]:
        """Those that are older than the holding time at `now_ns` (nanoseconds since 1970), sorted."""
        limit = now_ns - self._hold_ns
        while self._heap and self._heap[0][2].time_ns <= limit:
            yield heapq.heappop(self._heap)[2]

    def rest(self) -> Iterator[Packet]:
        """All that are left, sorted."""
        while self._heap:
            yield heapq.heappop(self._heap)[2]
