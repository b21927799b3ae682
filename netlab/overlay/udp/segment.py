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

from netlab.overlay.udp.packets import CWR, FIN, PSH, TCP, UDP, Buffer, total
from netlab.overlay.udp.sums import Bytes, pitch, row_sums, swapped

#: bytes of output that the largest super packet may need: 64 KiB in segments of half header, half payload
MAX_OUTPUT = 160 << 10


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


class _Steps(NamedTuple):
    """What depends on the shape of a super packet alone. Shapes (n, header words) and (n,).

    header: what each segment's header has more than the first one's, in 32-bit words; ids: what its IPv4 checksum has
    less.
    """

    header: npt.NDArray[np.uint32]
    ids: npt.NDArray[np.int64]


@lru_cache(256)
def _steps(count: int, header: int, size: int, gso_size: int, protocol: int) -> _Steps:
    numbers = np.arange(count, dtype=np.int64)
    words = np.zeros((count, header >> 2), np.uint32)
    words[:, 1] = (numbers << 16) & 0xFFFFFFFF
    if protocol == TCP:
        words[:, (size >> 2) + 1] = (numbers * gso_size) & 0xFFFFFFFF
    return _Steps(words, numbers)


class Segmenter:
    """Keeps the scratch space for packets whose size is no multiple of 8.

    Headers are computed as 32-bit numbers, all segments' at once, and swapped to network order in the end: half as many
    calls of numpy as field by field, and it is the calls that cost (1 µs each, a segment's arithmetic 10 ns).
    """

    def __init__(self) -> None:
        self._scratch: Bytes = np.zeros(MAX_OUTPUT, np.uint8)

    def cut(self, packets: Bytes, header: int, gso_size: int, out: Bytes, at: int) -> Cut | None:
        """Write the segments of all packets to out[at:], in their order.

        packets: shape (k, n), IPv4 with TCP or UDP, of one protocol and one size of headers, so that k packets take no
        more calls than one; their IPv4 headers already judged; header: as `headers` tells it; gso_size: payload bytes
        of a segment; out: with room for k * MAX_OUTPUT bytes from `at` on. Unless k is 1 they have to be `level`. None
        if the segments do not fit there.
        """
        many = len(packets)
        view = packets[0].data  # indexing it is 3 times faster than indexing the array
        shape = shape_of(len(view), header, gso_size)
        if shape is None:
            return None
        count, length, last = shape
        total_, step = many * count, pitch(length)
        # whole words are summed, so rows of other sizes are built with a gap between them, and closed up at the end
        direct = step == length and not at & 7
        if not direct and total_ * step > len(self._scratch):
            self._scratch = np.zeros(total_ * step, np.uint8)
        rows = (out[at : at + total_ * step] if direct else self._scratch[: total_ * step]).reshape(total_, step)
        cube = rows.reshape(many, count, step)
        whole = count if last == length else count - 1
        split = header + whole * (length - header)
        cube[:, :whole, header:length] = packets[:, header:split].reshape(many, whole, length - header)
        if whole < count:
            cube[:, -1, header:last] = packets[:, split:]
            cube[:, -1, last:] = 0
        if step > length:
            rows[:, length:] = 0
        size, protocol = (view[0] & 15) * 4, view[9]
        rows.view(np.uint32)[:, : header >> 2] = _heads(packets, header, count, length=length, last=last)
        sums = row_sums(rows)
        for n, packet in enumerate(packets):
            addresses = total(packet.data[12:20]) + protocol
            sums[n * count : (n + 1) * count] += swapped((addresses + length - size) % 0xFFFF)
        if last < length:
            sums[-1] += swapped((addresses + last - size) % 0xFFFF) - swapped((addresses + length - size) % 0xFFFF)
        check = np.negative(sums, out=sums)
        check %= 0xFFFF
        words = rows.view(np.uint16)
        if protocol == TCP:
            words[:, (size + 16) >> 1] = check
        else:
            check[check == 0] = 0xFFFF  # zero would say that there is none (RFC 768)
            words[:, (size + 6) >> 1] = check
        if not direct:
            out[at : at + total_ * length].reshape(total_, length)[...] = rows[:, :length]
        return Cut(total_, length, last)


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


def _heads(packets: Bytes, header: int, count: int, *, length: int, last: int) -> npt.NDArray[np.uint32]:
    """The segments' headers in network order, IPv4's checksum right, that of TCP or UDP zero. Shape (k * count, words).

    packets: as for `cut`; count: segments of each of them.
    """
    many = len(packets)
    firsts = bytearray()
    bases, flags = [], 0
    for packet in packets:
        # a few bytes are faster changed as bytes than by calls of numpy
        first = bytearray(packet[:header])
        size, protocol = (first[0] & 15) * 4, first[9]
        first[2:4] = length.to_bytes(2, "big")
        first[10:12] = b"\0\0"
        bases.append([-total(first[:size])])
        if protocol == TCP:
            first[size + 16 : size + 18] = b"\0\0"
            flags |= first[size + 13]
        else:
            first[size + 4 : size + 6] = (length - size).to_bytes(2, "big")
            first[size + 6 : size + 8] = b"\0\0"
        firsts += first
    steps = _steps(count, header, size, length - header, protocol)
    heads = np.frombuffer(firsts, ">u4").reshape(many, 1, header >> 2) + steps.header
    check = np.array(bases) - steps.ids
    for n in range(many):
        ident = int.from_bytes(firsts[n * header + 4 : n * header + 6], "big")
        if ident + count > 0x10000:
            check[n, 0x10000 - ident :] += 1  # the header's sum falls by 65536 there, which is 1 modulo 65535
    if last < length:
        check[:, -1] += length - last
        heads[:, -1, 0] -= length - last
        if protocol == UDP:
            heads[:, -1, (size >> 2) + 1] -= (length - last) << 16
    check %= 0xFFFF
    heads[:, :, 2] |= check.astype(np.uint32)
    if protocol == TCP and flags & (FIN | PSH | CWR):
        word = (size >> 2) + 3
        heads[:, 1:, word] &= 0xFFFFFFFF ^ CWR << 16
        heads[:, :-1, word] &= 0xFFFFFFFF ^ (FIN | PSH) << 16
    swapped_: npt.NDArray[np.uint32] = heads.reshape(-1, header >> 2).byteswap(inplace=True)
    return swapped_
