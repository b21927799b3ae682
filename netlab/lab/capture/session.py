"""Run a capture: poll the taps, put packets in order, write and show them, until something says stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from netlab.lab.capture.merge import HOLD_NS, TimeMerge
from netlab.lab.capture.packet import Interface, Listener, Packet, Place
from netlab.lab.capture.pcapng import Writer

#: seconds in which a stop, an end of time or a packet held back is noticed
_TICK = 0.05
#: seconds to empty the taps after the end, if packets do not cease to come
_DRAIN = 1.0


@dataclass(frozen=True, slots=True)
class Count:
    """One place at the end: packets that left the capture, that its tap received, and that it dropped."""

    place: Place
    packets: int
    received: int
    dropped: int


def run(
    listener: Listener,
    interfaces: Sequence[Interface],
    *,
    writer: Writer | None = None,
    show: Callable[[Packet], object] | None = None,
    duration: float | None = None,
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    hold_ns: int = HOLD_NS,
    monotonic: Callable[[], float] = time.monotonic,
    now_ns: Callable[[], int] = time.time_ns,
) -> list[Count]:
    """Capture until `stop()`, `duration` seconds, `limit` packets, or the reader of the output has gone away.

    interfaces: of the listener's taps, in their order. `stop` is asked some 20 times a second (an Event's `is_set`).
    `writer` and `show` get packets in time order; a packet that was on the wire before the stop is not lost: the taps
    are emptied first. Returns one Count for each interface, in their order. Errors of `show` pass through.
    """
    merge = TimeMerge(hold_ns)
    out = _Out(writer, show, limit)
    end = None if duration is None else monotonic() + duration
    try:
        while not (out.full or stop()):
            left = _TICK if end is None else min(_TICK, end - monotonic())
            if left <= 0:
                break
            _round(listener, interfaces, merge, left)
            out.send(merge.ready(now_ns()))
        drained = monotonic() + _DRAIN
        while not out.full and _round(listener, interfaces, merge, 0) and monotonic() < drained:
            pass
        out.send(merge.rest())
        return _finish(listener, interfaces, writer, out)
    except BrokenPipeError:  # whoever showed it has seen enough
        return _finish(listener, interfaces, None, out)


def _round(listener: Listener, interfaces: Sequence[Interface], merge: TimeMerge, timeout: float) -> bool:
    """One poll into the buffer. True if something came."""
    came = False
    for frame in listener.poll(timeout):
        of = interfaces[frame.tap]
        merge.push(Packet(frame.time_ns, of.place, frame.outgoing, frame.data, frame.wire_length, of.linktype))
        came = True
    return came


class _Out:
    """Where packets go, and how many went, by place."""

    def __init__(self, writer: Writer | None, show: Callable[[Packet], object] | None, limit: int | None) -> None:
        self._writer, self._show, self._limit = writer, show, limit
        self._total = 0
        self.by_place: dict[Place, int] = {}

    @property
    def full(self) -> bool:
        """The limit is reached."""
        return self._limit is not None and self._total >= self._limit

    def send(self, packets: Iterable[Packet]) -> None:
        """Write and show packets up to the limit, and flush, so that a pipe's reader is never behind."""
        before = self._total
        for packet in packets:
            if self.full:
                break
            if self._writer is not None:
                self._writer.write(packet)
            if self._show is not None:
                self._show(packet)
            self._total += 1
            self.by_place[packet.place] = self.by_place.get(packet.place, 0) + 1
        if self._writer is not None and self._total > before:
            self._writer.flush()


def _finish(listener: Listener, interfaces: Sequence[Interface], writer: Writer | None, out: _Out) -> list[Count]:
    counts = [
        Count(interface.place, out.by_place.get(interface.place, 0), received, dropped)
        for interface, (received, dropped) in zip(interfaces, listener.statistics(), strict=True)
    ]
    if writer is not None:
        for count in counts:
            writer.statistics(count.place, received=count.received, dropped=count.dropped)
        writer.flush()
    return counts
