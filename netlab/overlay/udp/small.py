"""Small packets of one size, which the TUN gives one by one, made ready for the wire all at once."""

from __future__ import annotations

import numpy as np

from netlab.overlay.udp.outbox import Outbox
from netlab.overlay.udp.packets import GSO_NONE, NEEDS_CSUM, UDP_CHECK, VNET, VNET_LEN, Header, parse
from netlab.overlay.udp.routes import Peer, RouteTable
from netlab.overlay.udp.sums import Bytes, complements, pitch, swapped

_SCRATCH = 160 << 10
#: what packets of one flow have in common of their IPv4 headers: all but id, fragment and checksum
_FLOW = np.frombuffer(bytes.fromhex("ffffffff 00000000 ffff0000 ffffffff ffffffff"), np.uint32)


class Small:
    """Packs batches into an outbox."""

    def __init__(self, box: Outbox) -> None:
        self._box = box
        self._scratch: Bytes = np.empty(_SCRATCH, np.uint8)

    def pack(self, packets: Bytes, table: RouteTable) -> bool:
        """Route, take one hop off, complete the checksums that the kernel has left out, put into the outbox.

        packets: shape (n, p), each with its virtio-net header, which is the same for all. False, and nothing is done,
        if one of them is not like most are (options, unknown destination, TTL used up, damage): then each is to be
        looked at by itself.
        """
        count, length = packets.shape[0], packets.shape[1] - VNET_LEN
        step = pitch(length)
        if length < 20 or count * step > _SCRATCH:
            return False
        flags, kind, _, _, start, offset = VNET.unpack(packets[0, :VNET_LEN].tobytes())
        rows = self._scratch[: count * step].reshape(count, step)
        rows[:, :length] = packets[:, VNET_LEN:]
        if step > length:
            rows[:, length:] = 0
        words = rows.view(np.uint16)
        header = parse(rows[0].data, 0, length)
        if kind != GSO_NONE or not isinstance(header, Header):
            return False
        parts = self._routed(rows, header, length, table)
        if parts is None:
            return False
        if flags & NEEDS_CSUM:
            field = start + offset
            if start != 20 or field & 1 or field + 2 > length:
                return False
            # the header's own sum is zero, so the sum of all is the sum of what follows it
            sums = complements(rows) % 0xFFFF
            if offset == UDP_CHECK:
                sums[sums == 0] = 0xFFFF
            words[:, field >> 1] = sums
        # RFC 1624 as in packets.decrease_ttl, in the other byte order: the TTL counts 1 there, not 256
        rows[:, 8] -= 1
        words[:, 5] = (words[:, 5].astype(np.uint32) + 1) % 0xFFFF
        first = 0
        for end, peer in parts:
            at, total = self._box.at(peer, length), (end - first) * length
            self._box.buffer[at : at + total].reshape(end - first, length)[...] = rows[first:end, :length]
            self._box.add(peer, length, at, total)
            first = end
        return True

    @staticmethod
    def _routed(rows: Bytes, header: Header, length: int, table: RouteTable) -> list[tuple[int, Peer]] | None:
        """Where the packets for one node end, and the node; None if one of them is not like most are."""
        alike = (rows.view(np.uint32)[:, :5] & _FLOW).tobytes()
        if alike == alike[:20] * len(rows):  # one flow: what is true of the first is true of all
            peer = table.lookup(header.dst)
            if rows[0, 0] != 0x45 or header.length != length or header.ttl <= 1 or peer is None:
                return None
            return [(len(rows), peer)]
        if (
            (rows[:, 0] != 0x45).any()
            or (rows.view(np.uint16)[:, 1] != swapped(length)).any()
            or int(rows[:, 8].min()) <= 1
        ):
            return None
        owners = table.lookup_many(rows.view(">u4")[:, 4].astype(np.int64))
        if int(owners.min()) < 0:
            return None
        ends = [*(np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist(), len(rows)]
        return [(end, table.peers[owners[end - 1]]) for end in ends]
