"""The data path as daemons see it: one object over an open TUN and a bound socket, on the daemon's own event loop.

Both descriptors are served by readiness: whichever wakes the path, both directions take turns of at most a millisecond
until there is nothing more or a millisecond is over, so that neither starves the other, nor both the rest of the loop.
No thread: the two directions would take turns at the interpreter's lock anyway, and a hand-over costs more than a turn.
Nothing is queued but what one turn has read: if the socket is full the TUN is left unread until it has room again, and
the kernel drops at the tail of the TUN's own queue.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network

from netlab.base.errors import KernelError
from netlab.overlay.udp.counters import PathCounters
from netlab.overlay.udp.fast import FastLane
from netlab.overlay.udp.lane import TURN, Lane, OpenTun
from netlab.overlay.udp.plain import PlainLane
from netlab.overlay.udp.routes import RouteTable
from netlab.overlay.udp.wire import can_segment, take_gro

PORT = 8285

__all__ = ["PORT", "OpenTun", "UdpPath"]


class UdpPath:
    """Carries packets between `tun` and `sock` from `start` to `close`; closes neither of them.

    own: this node's subnet; address: flannel0's own, the source of ICMP errors; mtu: flannel0's, in bytes; counters:
    those of an earlier path to count on with; offload: False for the plain way, whatever the kernel can.
    sock: IPv4 UDP, bound to 8285; its DF and error queue options are set here, its buffers are the caller's choice.
    """

    def __init__(
        self,
        tun: OpenTun,
        sock: socket.socket,
        *,
        own: IPv4Network,
        address: IPv4Address,
        mtu: int,
        counters: PathCounters | None = None,
        offload: bool = True,
    ) -> None:
        self.counters = counters or PathCounters()
        self._own = own
        self._tun, self._sock = tun, sock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._writing = False
        table = RouteTable({}, self.counters, own=own)
        # a TUN that speaks virtio-net needs the fast lane even where the socket has no offloads
        self.offload = tun.vnet_hdr
        if tun.vnet_hdr:
            segment = offload and can_segment(sock)
            if offload:
                take_gro(sock)
            self._lane: Lane = FastLane(
                tun, sock, table=table, address=address, mtu=mtu, counters=self.counters, segment=segment
            )
        else:
            self._lane = PlainLane(tun, sock, table=table, address=address, mtu=mtu, counters=self.counters)

    def set_routes(self, routes: Mapping[IPv4Network, tuple[IPv4Address, int]]) -> None:
        """From the next packet on these are the nodes: subnet to PublicIP and port, all of them at once."""
        self._lane.table = RouteTable(routes, self.counters, own=self._own)

    def start(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Begin to carry. `wait` tells how it ends."""
        self._loop = loop or asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.add_reader(self._tun.fd, self._guarded, self._carry, True)
        self._loop.add_reader(self._sock, self._guarded, self._carry, False)

    def close(self) -> None:
        """Stop carrying, now. Any number of times."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        loop.remove_reader(self._tun.fd)
        loop.remove_reader(self._sock)
        if self._writing:
            loop.remove_writer(self._sock)
            self._writing = False
        if self._ended and not self._ended.done():
            self._ended.set_result(None)

    async def wait(self) -> None:
        """Until `close`. KernelError if the TUN or the socket is gone, which closes the path too."""
        if self._ended:
            await asyncio.shield(self._ended)

    async def run(self) -> None:
        """`start`, `wait`, and `close` when cancelled."""
        self.start()
        try:
            await self.wait()
        finally:
            self.close()

    def _guarded(self, turn: Callable[..., None], *args: bool) -> None:
        try:
            turn(*args)
        except Exception as e:  # noqa: BLE001 - told to whoever waits; a turn that fails must not be taken again for ever
            number = e.errno or 0 if isinstance(e, OSError) else 0
            error = KernelError(f"the udp backend's data path has ended: {e}", errno_=number)
            error.__cause__ = e
            if self._ended and not self._ended.done():
                self._ended.set_exception(error)
                self._ended.exception()  # who waits is told; nobody has to
            self.close()

    def _carry(self, tun: bool) -> None:
        """Both directions in turns, until one has nothing more; tun: which is first.

        What the one brings makes the other readable before this process is asked to wait: the kernel answers a segment
        with an ACK, and an ACK with the next segments, while they are written. To ask costs 1 µs, to be woken 10.
        """
        lane, tx, rx = self._lane, self.counters.tx, self.counters.rx
        until = time.monotonic() + TURN
        both = False
        while True:
            before = tx.calls + rx.calls
            if not tun:
                lane.from_socket()
            elif self._writing:
                return
            elif not lane.from_tun():
                self.counters.blocked += 1
                self._pause()
                return
            if (both and tx.calls + rx.calls == before) or time.monotonic() > until:
                return
            both, tun = True, not tun

    def _pause(self) -> None:
        if self._loop and not self._writing:
            self._loop.remove_reader(self._tun.fd)
            self._loop.add_writer(self._sock, self._guarded, self._resume)
            self._writing = True

    def _resume(self) -> None:
        if self._loop and self._lane.resume():
            self._loop.remove_writer(self._sock)
            self._writing = False
            self._loop.add_reader(self._tun.fd, self._guarded, self._carry, True)
