"""The way without offloads: one read, one send; one receive, one write. The reference for the fast one."""

from __future__ import annotations

import os
import time

from netlab.overlay.udp.lane import TURN, Lane
from netlab.overlay.udp.packets import MAX_PACKET
from netlab.overlay.udp.routes import Peer


class PlainLane(Lane):
    """Packet by packet. The packet that the socket had no room for is all that ever waits here."""

    _out = memoryview(b"")
    _in = memoryview(b"")
    _waiting: tuple[memoryview, Peer] | None = None

    def from_tun(self) -> bool:
        if not self._out:
            self._out = memoryview(bytearray(MAX_PACKET + 1))
        view, fd, tx = self._out, self._fd, self.counters.tx
        into = (view,)
        until = time.monotonic() + TURN
        while True:
            try:
                length = os.readv(fd, into)
            except BlockingIOError:
                return True
            tx.calls += 1
            peer = self.outbound(view, 0, length)
            if peer and not self.wire.send_one(view[:length], peer):
                self._waiting = view[:length], peer
                return False
            if time.monotonic() > until:
                return True

    def resume(self) -> bool:
        if self._waiting and not self.wire.send_one(*self._waiting):
            return False
        self._waiting = None
        return True

    def from_socket(self) -> None:
        if not self._in:
            self._in = memoryview(bytearray(MAX_PACKET + 1))
        view, sock, rx = self._in, self._sock, self.counters.rx
        until = time.monotonic() + TURN
        first = True
        while True:
            try:
                length, name = sock.recvfrom_into(view)
            except BlockingIOError:
                if first:
                    self.wire.read_errors()  # an error queue that is not empty wakes the reader, too
                return
            except OSError:
                self.wire.read_errors()
                return
            first = False
            rx.calls += 1
            self.deliver(view, 0, length, name[0])
            if time.monotonic() > until:
                return
