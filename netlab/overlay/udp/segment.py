"""A super packet of TCP or UDP into the packets that the kernel would have made of it (TSO and USO in numpy).

What the kernel does (net/ipv4: tcp_offload.c, udp_offload.c, af_inet.c), and so the pure segmenter in the tests:
headers are repeated; total length and id count on, also where DF is set; sequence numbers advance; CWR stays on the
first segment, FIN and PSH on the last; all checksums are computed anew.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from netlab.overlay.udp.packets import CWR, FIN, PSH, TCP, TCP_CHECK, UDP, UDP_CHECK, WORD, Buffer
from netlab.overlay.udp.sums import Bytes, complements, pitch, swapped

#: bytes of output that the largest super packet may need: 64 KiB in segments of half header, half payload
MAX_OUTPUT = 160 << 10

_KEPT = 64  # places; a flow needs one or two


class Cut(NamedTuple):
    """What was written: `packets` packets of `size` bytes each, the last of `last` bytes, without gaps."""

    packets: int
    size: int
    last: int

    @property
    def total(self) -> int:
        return (self.packets - 1) * self.size + self.last


def headers(data: Buffer, at: int, end: int) -> int:
    """Bytes of the IPv4 and the TCP or UDP header of the packet from `at` to `end`; 0 if they do not fit in it."""
    size = (data[at] & 15) * 4
    if data[at + 9] == UDP:
        return size + 8 if at + size + 8 <= end else 0
    if data[at + 9] != TCP or at + size + 20 > end:
        return 0
    whole = size + (data[at + size + 12] >> 4) * 4
    return whole if whole >= size + 20 and at + whole <= end else 0


@lru_cache(256)
def _steps(
    count: int, header: int, size: int, payload: int, protocol: int, short: int, flags: int
) -> npt.NDArray[np.uint32]:
    """What each segment's header has more than the first one's, as 32-bit numbers that wrap. Shape (count, words).

    size: of the IPv4 header; short: bytes that the last segment lacks; flags: FIN, PSH and CWR as far as they are set.
    An IPv4 checksum falls by one where the id grows by one: true until one of the two wraps, see `_carry`.
    """
    numbers = np.arange(count, dtype=np.int64)
    words = np.zeros((count, header >> 2), np.int64)
    words[:, 1] = numbers << 16
    words[:, 2] = -numbers
    words[-1, 0] -= short
    words[-1, 2] += short
    l4 = size >> 2
    if protocol == TCP:
        words[:, l4 + 1] = numbers * payload
        words[:-1, l4 + 3] -= (flags & (FIN | PSH)) << 16
        words[1:, l4 + 3] -= (flags & CWR) << 16
    else:
        words[-1, l4 + 1] -= short << 16
    return (words & 0xFFFFFFFF).astype(np.uint32)


def _carry(heads: npt.NDArray[np.uint32], ident: int, check: int, short: int, upper: int) -> None:
    """The word of the IPv4 checksum where ids or checksums wrap. upper: its other half, TTL and protocol."""
    ids = np.arange(ident, ident + len(heads), dtype=np.int64)
    checks = check + ident - ids
    checks += ids > 0xFFFF  # the header's sum falls by 65536 there, which is 1 modulo 65535
    checks[-1] += short
    heads[:, 2] = checks % 0xFFFF + (upper << 16)


class _Place(NamedTuple):
    """Where super packets of one shape are cut to: views that take as long to make as to use, so they are kept.

    ip: bytes of the IPv4 header; split: where in the packet the payload of a last segment begins that is shorter than
    the others; rows: all segments, each with zeros behind it to a multiple of 8; bodies: the payloads of those that are
    of one size, (k, segments, bytes); tail: that of the other; blank: what has to be zero; numbers: room for the
    headers, which go to `heads`; parts: of it, for each packet; checks: the place of the checksums of TCP or UDP; out:
    the segments in the output, if they are not built there; steps: `_steps` that were asked for, by the flags.
    """

    cut: Cut
    ip: int
    split: int
    rows: Bytes
    bodies: Bytes
    tail: Bytes | None
    blank: tuple[Bytes, ...]
    numbers: npt.NDArray[np.uint32]
    parts: tuple[npt.NDArray[np.uint32], ...]
    heads: npt.NDArray[np.uint32]
    checks: npt.NDArray[np.uint16]
    out: Bytes | None
    steps: dict[int, npt.NDArray[np.uint32]]


class Segmenter:
    """Writes segments to `out`, which has room for as many bytes as it is ever asked for: see `cut`.

    Headers are computed as 32-bit numbers, all segments' at once, and swapped to network order in the end: half as many
    calls of numpy as field by field, and it is the calls that cost (0.5 to 1 µs each, a segment's arithmetic 10 ns).
    """

    def __init__(self, out: Bytes) -> None:
        self._out = out
        self._scratch: Bytes = np.zeros(MAX_OUTPUT, np.uint8)
        self._places: dict[tuple[int, int, int, int, int, int, int], _Place] = {}

    def cut(self, packets: Bytes, header: int, gso_size: int, at: int) -> Cut | None:
        """Write the segments of all packets to out[at:], in their order.

        packets: shape (k, n), IPv4 with TCP or UDP, of one protocol and one size of headers, so that k packets take no
        more calls than one; their IPv4 headers already judged; header: as `headers` tells it; gso_size: payload bytes
        of a segment; at: with room for k * MAX_OUTPUT bytes behind it. Unless k is 1 they have to be `level`. None
        if the segments do not fit there.
        """
        view = packets[0].data  # indexing it is 3 times faster than indexing the array
        size, protocol = (view[0] & 15) * 4, view[9]
        key = at, len(packets), len(view), header, gso_size, size, protocol
        place = self._places.get(key)
        if place is None:
            place = self._place(*key)
            if place is None:
                return None
        cut, _, split, rows, bodies, tail, blank, numbers, parts, heads, checks, out, _ = place
        bodies[...] = packets[:, header:split].reshape(bodies.shape)
        if tail is not None:
            tail[...] = packets[0, split:]
        for zeros in blank:
            zeros[...] = 0
        short = cut.size - cut.last
        for packet, part in zip(packets, parts, strict=True):
            _head(packet.data, header, place, short, part)
        heads[...] = numbers.byteswap()
        sums = complements(rows)
        if short:
            sums[-1] += swapped(short)  # its pseudo header says so much less
        sums %= 0xFFFF
        if protocol == UDP:
            sums[sums == 0] = 0xFFFF  # zero would say that there is none (RFC 768)
        checks[...] = sums
        if out is not None:
            out[...] = rows[:, : cut.size]
        return cut

    def _place(
        self, at: int, many: int, size: int, header: int, gso_size: int, ip: int, protocol: int
    ) -> _Place | None:
        shape = shape_of(size, header, gso_size)
        if shape is None:
            return None
        count, length, last = shape
        total_, step = many * count, pitch(length)
        # whole words are summed, so rows of other sizes are built with a gap between them, and closed up at the end
        direct = step == length and not at & 7
        if not direct and total_ * step > len(self._scratch):
            self._scratch = np.zeros(total_ * step, np.uint8)
            self._places.clear()
        rows = (self._out[at : at + total_ * step] if direct else self._scratch[: total_ * step]).reshape(total_, step)
        whole = count if last == length else count - 1
        blank = []
        if whole < count:
            blank.append(rows[-1, last:])
        if step > length:
            blank.append(rows[:, length:])
        if len(self._places) >= _KEPT:
            self._places.clear()
        numbers = np.empty((total_, header >> 2), np.uint32)
        place = self._places[at, many, size, header, gso_size, ip, protocol] = _Place(
            Cut(total_, length, last),
            ip,
            header + whole * (length - header),
            rows,
            rows.reshape(many, count, step)[:, :whole, header:length],
            rows[-1, header:last] if whole < count else None,
            tuple(blank),
            numbers,
            tuple(numbers.reshape(many, count, header >> 2)),
            rows.view(np.uint32)[:, : header >> 2],
            rows.view(np.uint16)[:, (ip + (TCP_CHECK if protocol == TCP else UDP_CHECK)) >> 1],
            None if direct else self._out[at : at + total_ * length].reshape(total_, length),
            {},
        )
        return place


def _head(packet: memoryview, header: int, place: _Place, short: int, into: npt.NDArray[np.uint32]) -> None:
    """The headers of a packet's segments as numbers.

    IPv4's checksum is right; in the place of the other one is the pseudo header's sum, for the last segment too as if
    it did not lack `short` bytes.
    """
    # a few bytes are faster changed as bytes than by calls of numpy
    first = bytearray(packet[:header])
    size, length, protocol = place.ip, place.cut.size, first[9]
    WORD.pack_into(first, 2, length)
    first[10:12] = b"\0\0"
    check = -int.from_bytes(first[:size], "big") % 0xFFFF
    WORD.pack_into(first, 10, check)
    pseudo = (int.from_bytes(first[12:20], "big") + protocol + length - size) % 0xFFFF
    flags = 0
    if protocol == TCP:
        WORD.pack_into(first, size + TCP_CHECK, pseudo)
        flags = first[size + 13] & (FIN | PSH | CWR)
    else:
        WORD.pack_into(first, size + 4, length - size)
        WORD.pack_into(first, size + UDP_CHECK, pseudo)
    count = len(into)
    steps = place.steps.get(flags)
    if steps is None:
        steps = place.steps[flags] = _steps(count, header, size, length - header, protocol, short, flags)
    np.add(steps, np.frombuffer(first, np.uint32).byteswap(), out=into)
    ident = first[4] << 8 | first[5]
    if ident + count > 0x10000 or not count <= check < 0xFFFF - short:
        _carry(into, ident, check, short, first[8] << 8 | protocol)


def shape_of(size: int, header: int, gso_size: int) -> tuple[int, int, int] | None:
    """How many segments a packet of `size` bytes gives, how long each, and the last one; None if it cannot be cut."""
    payload = size - header
    if gso_size <= 0 or payload <= 0:
        return None
    count = -(-payload // gso_size)
    length = header + min(gso_size, payload)
    return None if count * pitch(length) > MAX_OUTPUT else (count, length, header + payload - (count - 1) * gso_size)


def level(size: int, header: int, gso_size: int) -> bool:
    """Whether packets of this size can be cut together: no segment is shorter than the others."""
    return size > header and gso_size > 0 and (size - header) % gso_size == 0
