"""Packets that wait for the socket: one buffer, in which batches for one node lie behind each other without gaps.

What is read from the TUN in one turn is at most what the buffer holds, and the TUN is not read again before there is
room: that is all the queue there is. When the socket is full, packets wait here and then in the TUN's own queue, which
drops at its tail and counts that itself.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

from netlab.overlay.udp.routes import Peer
from netlab.overlay.udp.segment import MAX_OUTPUT
from netlab.overlay.udp.sums import Bytes

#: datagrams of one UDP_SEGMENT send (UDP_MAX_SEGMENTS before Linux 6.13), and bytes (65535 less two headers)
MAX_SEGMENTS, MAX_BYTES = 64, 65507

#: what one more round of reading may become: MAX_READ super packets, and small packets
MAX_READ = 4
ROOM = (MAX_READ + 1) * MAX_OUTPUT


class Send(Protocol):
    """Hands datagrams to the socket: data, of `size` bytes each but for the last. False if it is full."""

    def __call__(self, data: memoryview, size: int, peer: Peer, /) -> bool: ...


class _Batch:
    __slots__ = ("begin", "closed", "end", "peer", "size")

    def __init__(self, peer: Peer, size: int, begin: int, end: int) -> None:
        self.peer, self.size, self.begin, self.end = peer, size, begin, end
        self.closed = False  # by a datagram that is shorter: only the last one may be


class Outbox:
    """Write packets to `buffer` at `at()`, then `add` them; `flush` when there is nothing more to read."""

    def __init__(self, send: Send, capacity: int = ROOM + 2 * MAX_OUTPUT) -> None:
        self.buffer: Bytes = np.zeros(capacity, np.uint8)
        self.view = self.buffer.data
        self._send = send
        self._batches: deque[_Batch] = deque()
        self._end = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def room(self) -> bool:
        """Whether ROOM bytes can be written."""
        return self._end + ROOM <= len(self.buffer)

    def at(self, peer: Peer, size: int) -> int:
        """Where to write packets of `size` bytes for `peer`: behind those that they go with, or at a multiple of 8."""
        if self._batches:
            batch = self._batches[-1]
            if batch.peer is peer and batch.size == size and not batch.closed:
                return self._end
        return (self._end + 7) & ~7

    def add(self, peer: Peer, size: int, at: int, length: int) -> None:
        """Packets of `size` bytes, the last of which may be shorter, have been written: `length` bytes at `at`."""
        batch = self._batches[-1] if self._batches else None
        if batch is None or batch.end != at or batch.peer is not peer or batch.closed or batch.size != size:
            batch = _Batch(peer, size, at, at)
            self._batches.append(batch)
        batch.end = self._end = at + length
        batch.closed = (batch.end - batch.begin) % batch.size != 0

    def flush(self, *, everything: bool) -> bool:
        """Send full batches, and with `everything` those that could still grow. False if the socket is full."""
        while self._batches:
            batch = self._batches[0]
            most = min(MAX_SEGMENTS, MAX_BYTES // batch.size) * batch.size or batch.size
            grows = not everything and not batch.closed and len(self._batches) == 1
            while batch.begin < batch.end:
                stop = min(batch.begin + most, batch.end)
                if grows and stop - batch.begin < most:
                    self._make_room(batch)
                    return True
                if not self._send(self.view[batch.begin : stop], batch.size, batch.peer):
                    return False
                batch.begin = stop
            self._batches.popleft()
        self._end = 0
        return True

    def _make_room(self, batch: _Batch) -> None:
        """Move the only batch, less than one send, to the front when the buffer's end is near."""
        if not self.room:
            length = batch.end - batch.begin
            self.buffer[:length] = self.buffer[batch.begin : batch.end].copy()
            batch.begin, batch.end = 0, length
            self._end = length
