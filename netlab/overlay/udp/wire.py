"""The socket on port 8285: sends with and without UDP_SEGMENT, and what can go wrong under way.

The socket sets DF on what it sends, as an original flanneld's does. A datagram that the underlay's path MTU does not
let through comes back as EMSGSIZE, with the MTU in the error queue (ip(7), IP_RECVERR): if the inner packet has DF its
sender is told, as by any router; if it has not, the outer one is sent without DF, in fragments.
Errors that ICMP brought for earlier datagrams (a node whose flanneld is down) are read off and counted; they fail
whatever call comes next, which is then made again.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from netlab.overlay.udp.counters import Drop, PathCounters
from netlab.overlay.udp.packets import DF, Header, parse
from netlab.overlay.udp.routes import Peer

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104  # linux/udp.h
IP_MTU_DISCOVER, IP_RECVERR = 10, 11  # linux/in.h
PMTUDISC_WANT, PMTUDISC_DO = 1, 2
MSG_ERRQUEUE = 0x2000
OUTER = 28  # bytes of outer IPv4 and UDP header

_SIZE = struct.Struct("=H")
#: errno, origin, type, code, pad, info, data (linux/errqueue.h, sock_extended_err)
_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_LOCAL, _ORIGIN_ICMP = 1, 2

#: errors of an earlier datagram that fail the next call, which is good
_STALE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.EPROTO})
#: a datagram that did not go, and the next one may
_NO_WAY = _STALE | {
    errno.EPERM,
    errno.EACCES,
    errno.EADDRNOTAVAIL,
    errno.EINVAL,
    errno.ENETDOWN,
    errno.ENODEV,
    errno.EHOSTDOWN,
}
#: what the kernel answers to UDP_SEGMENT where it cannot: no such option, no checksum offload on the device
_NO_SEGMENT = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP})

#: an inner packet that ICMP quotes is cut short, whatever length its header tells
_QUOTED = 65535
_MAX_ERRORS = 64  # read per turn: a flood of them may not hold up the packets


def can_segment(sock: socket.socket) -> bool:
    """Whether the kernel knows UDP_SEGMENT (Linux 4.18)."""
    try:
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
    except OSError:
        return False
    return True


def take_gro(sock: socket.socket) -> bool:
    """Ask the kernel for datagrams in batches (Linux 5.0). False if it cannot."""
    try:
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True


class Wire:
    """Sends to peers. told: called with an inner packet that DF keeps from going, its header, and the MTU for it."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        counters: PathCounters,
        segment: bool,
        told: Callable[[memoryview, Header, int], None],
    ) -> None:
        self.segment = segment
        self._sock = sock
        self._counters = counters
        self._told = told
        self._control: dict[int, list[tuple[int, int, bytes]]] = {}
        self._errors = bytearray(2048)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)

    def send(self, data: memoryview, size: int, peer: Peer) -> bool:
        """Datagrams of `size` bytes, the last may be shorter, to one node. False if the socket is full: call again.

        Datagrams that cannot be sent are dropped and counted.
        """
        length = len(data)
        if length <= size:
            return self.send_one(data, peer)
        if not self.segment:
            return self._one_by_one(data, size, peer)
        control = self._control.get(size)
        if control is None:
            if len(self._control) > 1024:
                self._control.clear()
            control = self._control[size] = [(SOL_UDP, UDP_SEGMENT, _SIZE.pack(size))]
        for attempt in range(3):
            try:
                self._sock.sendmsg((data,), control, 0, peer.sockaddr)
            except BlockingIOError:
                return False
            except OSError as e:
                if e.errno == errno.EMSGSIZE:
                    return self._one_by_one(data, size, peer)
                if e.errno in _NO_SEGMENT:
                    # EINVAL was the word for a size above the MTU up to Linux 5; the others hold for every batch
                    self.segment = e.errno == errno.EINVAL
                    return self._one_by_one(data, size, peer)
                if e.errno in _STALE and attempt < 2:
                    self.read_errors()
                    continue
                self._failed(e, -(-length // size), peer)
            else:
                self._sent(-(-length // size), length, peer)
            break
        return True

    def _one_by_one(self, data: memoryview, size: int, peer: Peer) -> bool:
        for at in range(0, len(data), size):
            if not self.send_one(data[at : at + size], peer):
                if at == 0:
                    return False
                # the batch cannot be given back in part: the rest goes the way of a full queue
                self._drop(Drop.SOCKET_FULL, -(-(len(data) - at) // size), peer)
                break
        return True

    def send_one(self, data: memoryview, peer: Peer) -> bool:
        """One datagram. False if the socket is full."""
        for attempt in range(3):
            try:
                self._sock.sendto(data, peer.sockaddr)
            except BlockingIOError:
                return False
            except OSError as e:
                if e.errno == errno.EMSGSIZE:
                    mtu = self.read_errors(peer.address)
                    if mtu:
                        self._too_big(data, mtu, peer)
                        break
                    if attempt < 2:
                        continue
                if e.errno in _STALE and attempt < 2:
                    self.read_errors()
                    continue
                self._failed(e, 1, peer)
            else:
                self._sent(1, len(data), peer)
            break
        return True

    def _sent(self, packets: int, length: int, peer: Peer) -> None:
        tx, counters = self._counters.tx, peer.counters
        tx.packets += packets
        tx.bytes += length
        counters.tx_packets += packets
        counters.tx_bytes += length

    def _drop(self, reason: Drop, count: int, peer: Peer) -> None:
        self._counters.tx.drop(reason, count)
        peer.counters.tx_dropped += count

    def _failed(self, error: OSError, count: int, peer: Peer) -> None:
        if error.errno in (errno.ENOBUFS, errno.ENOMEM):
            self._drop(Drop.SOCKET_FULL, count, peer)
        elif error.errno == errno.EMSGSIZE:
            self._drop(Drop.TOO_BIG, count, peer)
        elif error.errno in _NO_WAY:
            self._drop(Drop.SEND_REFUSED, count, peer)
        else:
            raise error

    def _too_big(self, data: memoryview, mtu: int, peer: Peer) -> None:
        """A packet that is larger than the path to its node. mtu: the underlay's."""
        header = parse(data, 0, len(data))
        if isinstance(header, Drop) or header.fragment & DF:
            self._drop(Drop.TOO_BIG, 1, peer)
            if not isinstance(header, Drop):
                self._told(data, header, mtu - OUTER)
            return
        self._sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_WANT)
        try:
            self._sock.sendto(data, peer.sockaddr)
        except BlockingIOError:
            self._drop(Drop.SOCKET_FULL, 1, peer)
        except OSError as e:
            self._failed(e, 1, peer)
        else:
            self._counters.fragmented += 1
            self._sent(1, len(data), peer)
        finally:
            self._sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO)

    def read_errors(self, local: str = "") -> int:
        """Empty the error queue, or a part of it. Returns the MTU towards `local`, if a call to it was refused; or 0.

        Where an ICMP error says that a datagram was too big for a router, it may quote enough of it to tell the inner
        sender at once; else the next packet will.
        """
        found = 0
        for _ in range(_MAX_ERRORS):
            try:
                length, control, _, name = self._sock.recvmsg_into((self._errors,), 512, MSG_ERRQUEUE)
            except BlockingIOError:
                return found
            except OSError as e:
                if e.errno not in _STALE:
                    raise
                continue
            self._counters.errors += 1
            for level, kind, value in control:
                if level != socket.IPPROTO_IP or kind != IP_RECVERR or len(value) < _ERROR.size:
                    continue
                number, origin, _, _, _, mtu, _ = _ERROR.unpack_from(value)
                if number != errno.EMSGSIZE:
                    continue
                if origin == _ORIGIN_LOCAL:
                    found = mtu if name and name[0] == local else found
                elif origin == _ORIGIN_ICMP and length >= 28:
                    data = memoryview(self._errors)
                    header = parse(data, 0, _QUOTED)
                    if isinstance(header, Header) and header.fragment & DF and header.size + 8 <= length:
                        self._told(data, header, mtu - OUTER)
        return found
