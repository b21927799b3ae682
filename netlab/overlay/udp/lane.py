"""What the plain and the fast way have in common: judging one packet, and writing to the TUN."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Protocol

from netlab.overlay.udp import icmp
from netlab.overlay.udp.counters import Drop, PathCounters
from netlab.overlay.udp.packets import NO_OFFLOAD, Buffer, Header, decrease_ttl, header_ok, parse
from netlab.overlay.udp.routes import Peer, RouteTable
from netlab.overlay.udp.wire import Wire

#: seconds that one direction may keep the event loop in one go; then the other one and everybody else has a turn
TURN = 0.001

#: what a TUN answers when it is down, out of memory, or does not like the packet: the packet is lost, the TUN is not
_REFUSED = frozenset({errno.EIO, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EINVAL, errno.EMSGSIZE})


class OpenTun(Protocol):
    """An open TUN device, non-blocking, as `netlab.kernel.tun.open_device` gives it."""

    @property
    def fd(self) -> int:
        """Its descriptor."""

    @property
    def vnet_hdr(self) -> bool:
        """Whether packets are preceded by 10 bytes of struct virtio_net_hdr."""

    @property
    def tso4(self) -> bool:
        """Whether TCP may come and go as super packets."""

    @property
    def uso4(self) -> bool:
        """Whether UDP may."""


class Lane:
    """Both directions between one TUN and one socket. `table` may be replaced at any time."""

    def __init__(
        self,
        tun: OpenTun,
        sock: socket.socket,
        *,
        table: RouteTable,
        address: IPv4Address,
        mtu: int,
        counters: PathCounters,
        segment: bool = False,
    ) -> None:
        self.table = table
        self.counters = counters
        self._tun, self._fd, self._sock = tun, tun.fd, sock
        self._address = int(address)
        self._mtu = mtu
        self._prefix = NO_OFFLOAD if tun.vnet_hdr else b""
        self._limit = icmp.RateLimit(time.monotonic)
        self.wire = Wire(sock, counters=counters, segment=segment, told=self.too_big)

    def from_tun(self) -> bool:
        """Carry what the TUN has, for one turn. False if the socket is full: nothing is read until `resume` is true."""
        raise NotImplementedError

    def from_socket(self) -> None:
        """Carry what the socket has, for one turn."""
        raise NotImplementedError

    def resume(self) -> bool:
        """Send what `from_tun` could not. False if the socket is full still."""
        raise NotImplementedError

    def write(self, parts: Sequence[Buffer | bytes]) -> bool:
        """One packet, or super packet, into the TUN. False if it refuses: the caller counts. OSError if it is gone."""
        try:
            os.writev(self._fd, parts)
        except OSError as e:
            if e.errno not in _REFUSED:
                raise
            return False
        return True

    def _error(self, data: Buffer, at: int, header: Header, *, code: int, mtu: int = 0) -> None:
        packet = icmp.error(data, at, header, code=code, source=self._address, mtu=mtu)
        if packet is None:
            return
        if not self._limit.take():
            self.counters.icmp_limited += 1
        elif self.write((self._prefix, packet)):
            self.counters.icmp += 1

    def too_big(self, data: memoryview, header: Header, mtu: int) -> None:
        """Tell the sender of an inner packet what fits through the underlay. mtu: of inner packets."""
        if mtu < self._mtu and self.table.lookup(header.dst):
            self._error(data, 0, header, code=icmp.TOO_BIG, mtu=mtu)

    def outbound(self, data: Buffer, at: int, length: int) -> Peer | None:
        """Judge a packet that the TUN gave and take one hop off. The node that it goes to, or None: it is counted."""
        header = parse(data, at, length)
        if not isinstance(header, Header):
            self.counters.tx.drop(header)
            return None
        peer = self.table.lookup(header.dst)
        if peer is None:
            self.counters.tx.drop(Drop.NO_ROUTE)
            self._error(data, at, header, code=icmp.NET)
        elif header.ttl <= 1:
            self.counters.tx.drop(Drop.TTL)
            peer.counters.tx_dropped += 1
        else:
            decrease_ttl(data, at, header.ttl, header.check)
            return peer
        return None

    def judge(self, data: Buffer, at: int, length: int, outer: str) -> tuple[Header, Peer] | Drop:
        """Judge a packet that came from `outer`: its header and the node that it is from, or why it goes no further.

        Its destination is not asked about: that is for the kernel's own routes, as with the original.
        """
        if outer not in self.table.addresses:
            return Drop.UNKNOWN_PEER
        header = parse(data, at, length)
        if not isinstance(header, Header):
            return header
        peer = self.table.lookup(header.src)
        if peer is None or peer.address != outer:
            return Drop.SPOOFED
        if header.length > self._mtu:
            return Drop.OVERSIZED
        if not header_ok(data, at, header.size):
            return Drop.CHECKSUM
        if header.ttl <= 1:
            return Drop.TTL
        return header, peer

    def refuse(self, reason: Drop, outer: str, count: int = 1) -> None:
        """Count packets that came and go no further."""
        self.counters.rx.drop(reason, count)
        known = self.counters.peers.get(outer)
        if known is not None:
            known.rx_dropped += count

    def deliver(self, data: memoryview, at: int, length: int, outer: str) -> None:
        """One packet from `outer` into the TUN, if it is right."""
        judged = self.judge(data, at, length, outer)
        if isinstance(judged, Drop):
            self.refuse(judged, outer)
            return
        header, peer = judged
        decrease_ttl(data, at, header.ttl, header.check)
        packet = data[at : at + header.length]
        if self.write((self._prefix, packet) if self._prefix else (packet,)):
            self.received(peer, 1, header.length)
        else:
            self.refuse(Drop.TUN_REFUSED, outer)

    def received(self, peer: Peer, packets: int, length: int) -> None:
        """Count packets that went into the TUN."""
        rx, counters = self.counters.rx, peer.counters
        rx.packets += packets
        rx.bytes += length
        counters.rx_packets += packets
        counters.rx_bytes += length
