"""The way with offloads: up to 64 KiB per system call, in both directions."""

from __future__ import annotations

import os
import socket
import struct
import time
from ipaddress import IPv4Address

import numpy as np

from netlab.overlay.udp.coalesce import Batch, Inbox, Run
from netlab.overlay.udp.counters import Drop, PathCounters
from netlab.overlay.udp.lane import TURN, Lane, OpenTun
from netlab.overlay.udp.outbox import MAX_BYTES, MAX_READ, MAX_SEGMENTS, Outbox
from netlab.overlay.udp.packets import (
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_UDP_L4,
    MAX_PACKET,
    NEEDS_CSUM,
    TCP,
    UDP,
    VNET,
    VNET_LEN,
    Buffer,
    complete,
)
from netlab.overlay.udp.routes import Peer, RouteTable
from netlab.overlay.udp.segment import Segmenter, headers, level, shape_of
from netlab.overlay.udp.small import Small
from netlab.overlay.udp.sums import Bytes
from netlab.overlay.udp.wire import SOL_UDP, UDP_GRO

#: bytes of one packet at most, as it comes from the TUN
_READ = VNET_LEN + MAX_PACKET
#: bytes that are collected before they are looked at, so that a call of numpy is for many; what they become, and one
#: packet more, fits the outbox's room
_COLLECTED = (MAX_READ - 1) * _READ
#: and packets: as many small ones as go in one send
_COUNT = 64
#: small packets below which a batch is not worth its numpy calls (some 25 µs; a packet by itself takes 4 to 5)
_VECTOR = 6

#: bytes that are received before they are delivered, if that is a good place to stop, and at most
_GATHERED, _LIMIT = 3 * MAX_PACKET // 2, 3 * MAX_PACKET
#: datagrams that are delivered together at most
_MOST = 512

_GSO_SIZE = struct.Struct("=i")
_CONTROL = socket.CMSG_SPACE(_GSO_SIZE.size)


class FastLane(Lane):
    """Super packets of the TUN become UDP_SEGMENT sends, UDP_GRO receives become super packets for the TUN."""

    def __init__(
        self,
        tun: OpenTun,
        sock: socket.socket,
        *,
        table: RouteTable,
        address: IPv4Address,
        mtu: int,
        counters: PathCounters,
        segment: bool,
    ) -> None:
        super().__init__(tun, sock, table=table, address=address, mtu=mtu, counters=counters, segment=segment)
        self._box = Outbox(self.wire.send)
        self._segmenter = Segmenter(self._box.buffer)
        self._small = Small(self._box)
        self._out: Bytes = np.zeros(_COLLECTED + 2 * _READ, np.uint8)
        self._out_view = self._out.data
        self._lengths: list[int] = []  # of the packets that have been read, each with its virtio-net header
        self._inbox = Inbox(udp=tun.uso4)

    # ---- from the TUN

    def from_tun(self) -> bool:
        view, fd, tx, box, lengths = self._out_view, self._fd, self.counters.tx, self._box, self._lengths
        until = time.monotonic() + TURN
        whole = (view,)
        more = True
        while more:
            if not box.room and not (box.flush(everything=False) and box.room) and not box.flush(everything=True):
                return False
            end = calls = 0
            while end <= _COLLECTED and calls < _COUNT:
                try:
                    length = os.readv(fd, (view[end:],) if end else whole)
                except BlockingIOError:
                    more = False
                    break
                calls += 1
                if length > VNET_LEN:
                    lengths.append(length)
                    end += length
                else:
                    tx.drop(Drop.MALFORMED)
            tx.calls += calls
            if lengths:
                self._pack()
            if more:
                box.flush(everything=False)
                more = time.monotonic() <= until
        return not box or box.flush(everything=True)

    def resume(self) -> bool:
        return self._box.flush(everything=True)

    def _pack(self) -> None:
        """What has been read into the outbox, in its order: packets of one kind and length together."""
        lengths = self._lengths
        at = first = 0
        while first < len(lengths):
            length, end = lengths[first], self._alike(first, at)
            count = end - first
            offloads = bytes(self._out_view[at : at + VNET_LEN])
            if offloads[1] != GSO_NONE:
                self._cut(at, length, self._block(at, length, count))
            elif count < _VECTOR or not self._small.pack(self._block(at, length, count), self.table):
                for begin in range(at, at + count * length, length):
                    self._pack_one(begin, length, offloads)
            at += count * length
            first = end
        lengths.clear()

    def _block(self, at: int, length: int, count: int) -> Bytes:
        return self._out[at : at + count * length].reshape(count, length)

    def _alike(self, first: int, at: int) -> int:
        """The end of the packets that are as long as the first of them, which is at `at`, and have its offloads."""
        lengths = self._lengths
        length, end, count = lengths[first], first + 1, len(lengths)
        while end < count and lengths[end] == length:
            end += 1
        if end - first == 1:
            return end
        offloads = self._block(at, length, end - first)[:, :VNET_LEN].tobytes()
        one = offloads[:VNET_LEN]
        if offloads != one * (end - first):
            end = first + 1
            while offloads.startswith(one, (end - first) * VNET_LEN):
                end += 1
        return end

    def _cut(self, at: int, length: int, packets: Bytes) -> None:
        """Super packets of one length into the outbox: those for one node that are cut alike all at once."""
        view = self._out_view
        _, kind, _, gso_size, _, _ = VNET.unpack_from(view, at)
        first = 0
        alike: tuple[Peer, int] | None = None  # with the node and the size of headers of packets[first:n]
        for n in range(len(packets)):
            begin = at + n * length + VNET_LEN
            end = begin + length - VNET_LEN
            found = self._outbound_super(begin, end, kind)
            if found != alike or (alike and not level(length - VNET_LEN, alike[1], gso_size)):
                if alike:
                    self._cut_alike(packets[first:n, VNET_LEN:], gso_size, *alike)
                first, alike = n, found
        if alike:
            self._cut_alike(packets[first:, VNET_LEN:], gso_size, *alike)

    def _outbound_super(self, at: int, end: int, kind: int) -> tuple[Peer, int] | None:
        """Judge a super packet: the node that it goes to, and the size of its headers. None: it is counted."""
        view = self._out_view
        protocol = view[at + 9] if end - at >= 20 else 0
        header = headers(view, at, end) if protocol else 0
        if header == 0 or (kind & ~GSO_ECN, protocol) not in ((GSO_TCPV4, TCP), (GSO_UDP_L4, UDP)):
            self.counters.tx.drop(Drop.MALFORMED)
            return None
        peer = self.outbound(view, at, end - at)
        return (peer, header) if peer else None

    def _cut_alike(self, packets: Bytes, gso_size: int, peer: Peer, header: int) -> None:
        box, tx = self._box, self.counters.tx
        shape = shape_of(packets.shape[1], header, gso_size)
        if shape is None:
            tx.drop(Drop.MALFORMED, len(packets))
            return
        count, size, _ = shape
        to = box.at(peer, size)
        if to + len(packets) * count * size > len(box.buffer):
            # segments of a few bytes, so many that their headers do not fit: never seen, but it is not forbidden
            if len(packets) > 1:
                for n in range(len(packets)):
                    self._cut_alike(packets[n : n + 1], gso_size, peer, header)
                return
            if not box.flush(everything=True):
                tx.drop(Drop.SOCKET_FULL, count)
                return
            to = box.at(peer, size)
        cut = self._segmenter.cut(packets, header, gso_size, to)
        if cut is None:
            tx.drop(Drop.MALFORMED, len(packets))
        else:
            box.add(peer, size, to, cut.total)

    def _pack_one(self, at: int, length: int, offloads: bytes) -> None:
        view, end = self._out_view, at + length
        at += VNET_LEN
        length -= VNET_LEN
        peer = self.outbound(view, at, length)
        if peer is None:
            return
        if offloads[0] & NEEDS_CSUM:
            _, _, _, _, start, offset = VNET.unpack(offloads)
            if not complete(view, at, end, start, offset):
                self.counters.tx.drop(Drop.MALFORMED)
                return
        if len(self._lengths) == 1 and not self._box and self.wire.send_one(view[at:end], peer):
            return  # alone: it need not go through the outbox
        to = self._box.at(peer, length)
        self._box.view[to : to + length] = view[at:end]
        self._box.add(peer, length, to, length)

    # ---- from the socket

    def from_socket(self) -> None:
        view, sock, rx = self._inbox.view, self._sock, self.counters.rx
        until = time.monotonic() + TURN
        whole = (view,)
        # datagrams of one size from one node, from as many receives as there are, behind each other
        start = end = size = 0
        outer, grows, first = "", False, True
        while True:
            try:
                length, control, _, name = sock.recvmsg_into((view[end:],) if end else whole, _CONTROL)
            except BlockingIOError:
                if first:
                    self.wire.read_errors()  # an error queue that is not empty wakes the reader, too
                break
            except OSError:
                self.wire.read_errors()
                break
            first = False
            rx.calls += 1
            if not length:
                self.refuse(Drop.MALFORMED, name[0])
                if time.monotonic() > until:
                    break
                continue
            each = length
            if control and control[0][:2] == (SOL_UDP, UDP_GRO):
                each = min(_GSO_SIZE.unpack(control[0][2])[0], length) or length
            if not (grows and name[0] == outer and (each == size or length < size)):
                if size:
                    self._deliver_batch(start, size, end - start, outer, alone=False)
                outer, size, start = name[0], each, end
            end += length
            grows = each == size and length % size == 0
            # a send that is not full ends what the other side has had, so most likely at the end of a super packet:
            # to stop there and not anywhere gives the kernel a third less of them, and as many ACKs less come back
            full = min(MAX_SEGMENTS, MAX_BYTES // each) * each
            if end - start > min(_GATHERED if length < full else _LIMIT, _MOST * size) or end > _LIMIT:
                self._deliver_batch(start, size, end - start, outer)
                start = end = size = 0
                grows = False
            if time.monotonic() > until:
                break
        if size:
            self._deliver_batch(start, size, end - start, outer)

    def _deliver_batch(self, start: int, size: int, length: int, outer: str, *, alone: bool = True) -> None:
        """Datagrams of `size` bytes, `length` in all, from one node into the TUN."""
        if length <= size:
            self.deliver(self._inbox.view, start, length, outer)
            return
        batch = Batch(self._inbox, start, size, length, alone=alone)
        for run in batch.runs():
            if run.end - run.first > 1:
                self._deliver_run(batch, run, outer)
            else:
                self.deliver(self._inbox.view, *batch.place(run.first), outer)

    def _deliver_run(self, batch: Batch, run: Run, outer: str) -> None:
        """A run as one super packet: what is true of its first packet's addresses, TTL and size is true of all."""
        at, length = batch.place(run.first)
        count = run.end - run.first
        judged = self.judge(self._inbox.view, at, length, outer)
        if isinstance(judged, Drop):
            self.refuse(judged, outer, count)
            return
        _, peer = judged
        parts: list[Buffer] = [batch.head(run), *batch.payloads(run)]
        if self.write(parts):
            self.received(peer, count, (count - 1) * batch.size + batch.place(run.end - 1)[1])
        else:
            self.refuse(Drop.TUN_REFUSED, outer, count)
