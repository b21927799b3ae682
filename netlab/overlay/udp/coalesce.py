"""Datagrams that came in one batch from one node, back into super packets (the inverse of `segment`).

Packets that follow each other in the batch, belong to one flow and differ in nothing but what segmentation changes are
one run: same addresses, ports, TOS, TTL, flags and TCP options; consecutive ids and sequence numbers; all of one size
but the last; no flag but ACK, ECE and, on the last one, PSH. A run is written as one super packet with NEEDS_CSUM,
which makes the kernel compute what goes on: so only packets join whose own checksums were right, each verified by
itself. One that is wrong goes alone, as it came, for its receiver to judge.

Ids count on in what the kernel makes of a super packet. Where DF is set on packets with one and the same id (Linux
sends unconnected UDP so), they join too: with DF an id means nothing (RFC 6864 section 4.1).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from netlab.overlay.udp.packets import (
    ACK,
    DF,
    ECE,
    GSO_TCPV4,
    GSO_UDP_L4,
    IPV4,
    MAX_PACKET,
    NEEDS_CSUM,
    PSH,
    TCP,
    TCP_CHECK,
    UDP,
    UDP_CHECK,
    VNET,
    VNET_LEN,
    WORD,
    header_ok,
)
from netlab.overlay.udp.sums import Bytes, complements, pitch, swapped

_KEPT = 64  # lists of slices; a flow needs one

#: the kernel takes no more segments of UDP in one packet (linux/udp.h, UDP_MAX_SEGMENTS; 64 before Linux 6.13)
MAX_UDP_SEGMENTS = 64

#: packets of a batch that are compared with one ramp, and ends of runs up to which that is worth it
_RAMP, _FEW = 1024, 16


class _Shape(NamedTuple):
    """What the headers of a run have in common. Shape (header words,) each, 32-bit numbers.

    mask: what must not differ but by `steps`, which are what each packet has more than the one before it.
    """

    mask: npt.NDArray[np.uint32]
    steps: npt.NDArray[np.uint32]


@lru_cache(256)
def _shape(size: int, header: int, protocol: int, ids_stay: bool) -> _Shape:
    mask = np.full(header >> 2, 0xFFFFFFFF, np.uint32)
    steps = np.zeros(header >> 2, np.uint32)
    steps[1] = 0 if ids_stay else 1 << 16
    mask[2] = 0xFFFF0000  # without IPv4's checksum
    if protocol == TCP:
        steps[6] = size - header
        mask[8] = 0xFFFFFFFF ^ PSH << 16
        mask[9] = 0x0000FFFF
    else:
        mask[6] = 0xFFFF0000
    return _Shape(mask, steps)


@lru_cache(_KEPT)
def _ramp(size: int, header: int, protocol: int, ids_stay: bool) -> _Shape:
    """As `_shape`, for whole batches: `steps` is what each packet has more than the first one, (_RAMP, header words).

    IPv4's checksum is among it: it falls by one where the id grows by one, as long as neither of them wraps.
    """
    shape = _shape(size, header, protocol, ids_stay)
    mask, steps = shape.mask.copy(), shape.steps.astype(np.int64)
    mask[2] = 0xFFFFFFFF
    steps[2] = 0 if ids_stay else -1
    ramp = np.arange(_RAMP, dtype=np.int64)[:, None] * steps
    return _Shape(mask, (ramp & 0xFFFFFFFF).astype(np.uint32))


@lru_cache(_KEPT)
def _lack(short: int, header: int, protocol: int) -> npt.NDArray[np.uint32]:
    """What the headers of a last packet that is `short` bytes shorter have less. Shape (header words,)."""
    words = np.zeros(header >> 2, np.int64)
    words[0], words[2] = short, -short
    if protocol == UDP:
        words[6] = short << 16
    return (words & 0xFFFFFFFF).astype(np.uint32)


class Run(NamedTuple):
    """Packets first to end (exclusive) of the batch, to be written as one; header: bytes of IPv4 and L4 header."""

    first: int
    end: int
    header: int


class Inbox:
    """Where datagrams are received, and room to work.

    A batch begins in the first 192 KiB, and ends in the first 256 KiB; zeros may be written behind it, up to 64 KiB.
    udp: whether the TUN takes super packets of UDP.
    """

    def __init__(self, *, udp: bool = True) -> None:
        self.udp = udp
        self.buffer: Bytes = np.zeros(6 * (MAX_PACKET + 9) & ~7, np.uint8)
        self.view = self.buffer.data
        self.scratch: Bytes = np.zeros(2 * len(self.buffer), np.uint8)
        #: slices by start, datagram size and header size: what they frame changes, they do not
        self.parts: dict[tuple[int, int, int], list[memoryview]] = {}


class Batch:
    """Datagrams of one size in an inbox, without gaps; the last one may be shorter."""

    __slots__ = ("_inbox", "_rows", "_view", "count", "last", "size", "start")

    def __init__(self, inbox: Inbox, start: int, size: int, length: int, *, alone: bool = True) -> None:
        """start: a place in the inbox's buffer; size: bytes of a datagram; length: of all of them; alone: whether
        nothing lies behind them that is yet to be read.
        """
        self._inbox, self._view = inbox, inbox.view
        self.start, self.size = start, size
        self.count = -(-length // size)
        self.last = length - (self.count - 1) * size
        step, tight = pitch(size), self.count * size
        buffer = inbox.buffer
        short = size - self.last
        if step == size and not start & 7 and (alone or not short):
            if short:
                buffer[start + length : start + tight] = 0
            self._rows = buffer[start : start + tight].reshape(self.count, size)
        else:
            self._rows = inbox.scratch[: self.count * step].reshape(self.count, step)
            self._rows[:, :size] = buffer[start : start + tight].reshape(self.count, size)
            self._rows[:, size:] = 0
            if short:
                self._rows[-1, self.last :] = 0

    def runs(self) -> list[Run]:
        """The batch in runs, in its order. A run of one packet says nothing about that packet."""
        return self._even() or self._any()

    def _even(self) -> list[Run]:
        """The runs where they are few and nothing is wrong, as nearly always; else none.

        It finds no other than `_any`, in a third of the time: headers less what each is expected to have more than the
        first one are compared as bytes, and checksums in one go.
        """
        count, view, start, size = self.count, self._view, self.start, self.size
        header = self._header(0) if count > 1 else 0
        short = size - self.last
        if short and self.last <= header:  # an ACK behind the data
            count, short = count - 1, 0
        if header == 0 or not 1 < count <= _RAMP:
            return []
        _, _, _, _, fragment, _, protocol, _, src, dst = IPV4.unpack_from(view, start)
        stay = bool(fragment & DF) and view[start + 4 : start + 6] == view[start + size + 4 : start + size + 6]
        mask, steps = _ramp(size, header, protocol, stay)
        rows = self._rows if count == self.count else self._rows[:count]
        heads = rows.view(np.uint32)[:, : header >> 2].byteswap()
        heads -= steps[:count]
        if short:
            heads[-1] += _lack(short, header, protocol)
        heads &= mask
        alike = heads.tobytes()
        bounds = [0, count]
        if alike != alike[:header] * count:
            bounds[1:1] = (np.flatnonzero((heads[1:] != heads[:-1]).any(axis=1)) + 1).tolist()
            if len(bounds) > _FEW:
                return []
        # ids that wrap anywhere in the first flow would end its run, which they need not
        if not self._leads(0, count, header, stay, short) or not all(
            self._leads(first, end, header, stay, short) for first, end in pairwise(bounds[1:])
        ):
            return []
        sums = complements(rows)
        pseudo = src + dst + protocol + size - 20
        sums -= swapped(pseudo % 0xFFFF)
        if short:
            sums[-1] += swapped(pseudo % 0xFFFF) - swapped((pseudo - short) % 0xFFFF)
        sums %= 0xFFFF
        if np.count_nonzero(sums):
            return []
        most = self._most(header, protocol)
        found: list[Run] = []
        if protocol == UDP:
            if np.count_nonzero(rows.view(np.uint16)[:, 13]) < count:
                return []  # the sender has left a checksum out
            for first, end in pairwise(bounds):
                found += [Run(n, min(n + most, end), header) for n in range(first, end, most)]
        else:
            flags = rows[:, 33].tobytes()
            for first, end in pairwise(bounds):
                while first < end:
                    pushed = flags.find(flags[first] | PSH, first, end)
                    to = min(end if pushed < 0 else pushed + 1, first + most)
                    found.append(Run(first, to, header))
                    first = to
        if count < self.count:
            found.append(Run(count, self.count, 0))
        return found

    def _leads(self, first: int, end: int, header: int, ids_stay: bool, short: int) -> bool:
        """Whether packets from `first` to `end` are a run if they are even: it can begin one, and no ramp wraps."""
        if end == self.count == first + 1:
            return True
        view, at = self._view, self.start + first * self.size
        if self._header(first) != header or not header_ok(view, at, 20):
            return False
        check = view[at + 10] << 8 | view[at + 11]
        if check + short > 0xFFFF:
            return False
        return ids_stay or (check >= end - first <= 0x10000 - (view[at + 4] << 8 | view[at + 5]))

    def _any(self) -> list[Run]:
        """The runs of whatever it is."""
        found: list[Run] = []
        at = 0
        while at < self.count:
            header = self._header(at) if at < self.count - 1 else 0
            if header == 0:
                found.append(Run(at, at + 1, 0))
                at += 1
                continue
            joins = self._joins(at, header)
            if joins.all():
                found.extend(self._bounded(at, self.count, header))
                break
            # as far as the headers are as long as this one; what comes then is compared by its own length
            kind = self._kind(at)
            for end in (np.flatnonzero(~joins) + (at + 1)).tolist():
                found.extend(self._bounded(at, end, header))
                at = end
                if self._kind(at) != kind:
                    break
            else:
                found.extend(self._bounded(at, self.count, header))
                break
        return found

    def _kind(self, index: int) -> tuple[int, int]:
        at = self.start + index * self.size
        return self._view[at + 9], self._view[at + 32] >> 4 if self._view[at + 9] == TCP and self.size > 40 else 0

    def _header(self, index: int) -> int:
        """Bytes of IPv4 and L4 header, if the packet can be the first of a run; else 0."""
        at, view = self.start + index * self.size, self._view
        if self.size <= 28 or view[at] != 0x45 or view[at + 2] << 8 | view[at + 3] != self.size:
            return 0
        if view[at + 6] & 0x3F | view[at + 7]:  # a fragment
            return 0
        if view[at + 9] == UDP:
            return 28 if self._inbox.udp and view[at + 24] << 8 | view[at + 25] == self.size - 20 else 0
        if view[at + 9] != TCP or self.size <= 40 or view[at + 33] & ~(ACK | PSH | ECE):
            return 0
        size = (view[at + 32] >> 4) * 4
        return 20 + size if 20 <= size < self.size - 20 else 0

    def _joins(self, first: int, header: int) -> npt.NDArray[np.bool_]:
        """For each packet after `first`: whether it continues the one before it. Shape (count - first - 1,).

        True where headers are as long as that of the first one; where they are not, anything.
        """
        rows, size, short = self._rows[first:], self.size, self.size - self.last
        protocol = self._view[self.start + first * size + 9]
        heads = rows.view(np.uint32)[:, : header >> 2].byteswap()
        sums = np.empty((2, len(rows)), np.int64)
        np.add.reduce(heads[:, :5], axis=1, dtype=np.int64, out=sums[0])
        # the pseudo header; IPv4's own sum, which must be zero, adds nothing to that of the whole packet
        np.add.reduce(rows.view(np.uint32)[:, 3:5], axis=1, dtype=np.int64, out=sums[1])
        sums[1] += swapped(protocol + size - 20)
        if short:
            sums[1, -1] += swapped(protocol + self.last - 20) - swapped(protocol + size - 20)
            if self.last > header:
                # as long as the others, if it is as long as it says
                heads[-1:, 0] += short  # by arrays, in which it may wrap
                heads[-1:, 6] += short << 16 if protocol == UDP else 0
        sums[1] -= complements(rows)
        sums %= 0xFFFF
        wrong = (sums[0] | sums[1]) != 0
        if protocol == UDP:
            wrong |= rows.view(np.uint16)[:, 13] == 0  # the sender has left the checksum out
        pushed = heads[:-1, 8] & (PSH << 16) if protocol == TCP else None
        stay = bool(heads[0, 1] == heads[1, 1] and heads[0, 1] & DF)
        shape = _shape(self.size, header, protocol, stay)
        heads &= shape.mask
        joins: npt.NDArray[np.bool_] = (heads[1:] - heads[:-1] == shape.steps).all(axis=1)
        if pushed is not None:
            joins &= pushed == 0
        if wrong.any():
            joins &= ~(wrong[1:] | wrong[:-1])
        return joins

    def _bounded(self, first: int, end: int, header: int) -> list[Run]:
        """A run in pieces that fit a packet; one whose first packet cannot be the first of a run, in single packets."""
        if end - first > 1 and self._header(first) != header:
            return [Run(n, n + 1, 0) for n in range(first, end)]
        most = self._most(header, self._view[self.start + first * self.size + 9])
        return [Run(n, min(n + most, end), header) for n in range(first, end, most)]

    def _most(self, header: int, protocol: int) -> int:
        """Packets that fit one super packet."""
        most = (MAX_PACKET - header) // (self.size - header)
        return min(most, MAX_UDP_SEGMENTS) if protocol == UDP else most

    def place(self, index: int) -> tuple[int, int]:
        """Where a datagram is in the buffer, and its length."""
        return self.start + index * self.size, self.last if index == self.count - 1 else self.size

    def head(self, run: Run) -> bytearray:
        """The virtio-net header and the packet's headers of a run's super packet, one hop on.

        NEEDS_CSUM asks for IPv4's checksum to be right, and in the place of the other one for the pseudo header's sum.
        """
        view, size, header = self._view, self.size, run.header
        at = self.start + run.first * size
        end = self.start + (run.end - 1) * size
        payload = size - header
        length = header + (run.end - 1 - run.first) * payload
        length += (self.last if run.end == self.count else size) - header
        first, tos, _, ident, fragment, ttl, protocol, _, src, dst = IPV4.unpack_from(view, at)
        ttl -= 1
        addresses = src + dst
        # 65536 is 1 modulo 65535, so numbers of 32 bits add like those of 16
        check = -((first << 8) + tos + length + ident + fragment + (ttl << 8) + protocol + addresses) % 0xFFFF
        rest = length - 20
        head = bytearray(VNET_LEN + 20)
        IPV4.pack_into(head, VNET_LEN, first, tos, length, ident, fragment, ttl, protocol, check, src, dst)
        head += view[at + 20 : at + header]
        if protocol == TCP:
            VNET.pack_into(head, 0, NEEDS_CSUM, GSO_TCPV4, header, payload, 20, TCP_CHECK)
            head[VNET_LEN + 33] |= view[end + 33] & PSH
            WORD.pack_into(head, VNET_LEN + 36, (addresses + protocol + rest) % 0xFFFF)
        else:
            VNET.pack_into(head, 0, NEEDS_CSUM, GSO_UDP_L4, header, payload, 20, UDP_CHECK)
            WORD.pack_into(head, VNET_LEN + 24, rest)
            WORD.pack_into(head, VNET_LEN + 26, (addresses + protocol + rest) % 0xFFFF)
        return head

    def payloads(self, run: Run) -> list[memoryview]:
        """The payloads of a run, to be written behind `head` without a copy."""
        view, size, header = self._view, self.size, run.header
        key = (self.start, size, header)
        kept = self._inbox.parts
        parts = kept.get(key)
        if parts is None or len(parts) < run.end:
            if len(kept) >= _KEPT:
                kept.clear()
            at = self.start + header
            parts = [view[n : n + size - header] for n in range(at, at + max(self.count, 64) * size, size)]
            kept[key] = parts
        parts = parts[run.first : run.end]
        if run.end == self.count and self.last < size:
            parts[-1] = parts[-1][: self.last - header]
        return parts
