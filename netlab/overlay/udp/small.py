"""Small packets of one size, which the TUN gives one by one, made ready for the wire all at once."""

from __future__ import annotations

import numpy as np

from netlab.overlay.udp.outbox import Outbox
from netlab.overlay.udp.packets import GSO_NONE, NEEDS_CSUM, UDP_CHECK, VNET, VNET_LEN, Header, parse
from netlab.overlay.udp.routes import RouteTable
from netlab.overlay.udp.sums import Bytes, pitch, row_sums, swapped

_SCRATCH = 160 << 10


class Small:
    """Packs batches into an outbox."""

    def __init__(self, box: Outbox) -> None:
        self._box = box
        self._scratch: Bytes = np.empty(_SCRATCH, np.uint8)

    def pack(self, packets: Bytes, table: RouteTable) -> bool:
        """Route, take one hop off, complete the checksums that the kernel has left out, put into the outbox.

        packets: shape (n, p), each with its virtio-net header. False, and nothing is done, if one of them is not like
        most are (options, unknown destination, TTL used up, damage): then each is to be looked at by itself.
        """
        count, length = packets.shape[0], packets.shape[1] - VNET_LEN
        step = pitch(length)
        if length < 20 or count * step > _SCRATCH:
            return False
        flags, kind, _, _, start, offset = VNET.unpack(packets[0, :VNET_LEN].tobytes())
        rows = self._scratch[: count * step].reshape(count, step)
        rows[:, :length] = packets[:, VNET_LEN:]
        rows[:, length:] = 0
        if kind != GSO_NONE or not isinstance(parse(rows[0].data, 0, length), Header):
            return False
        words = rows.view(np.uint16)
        offloads = packets[:, :VNET_LEN]
        if (
            (offloads != offloads[0]).any()
            or (rows[:, 0] != 0x45).any()
            or (words[:, 1] != swapped(length)).any()
            or int(rows[:, 8].min()) <= 1
        ):
            return False
        targets = rows.view(">u4")[:, 4].astype(np.int64)
        owners = table.lookup_many(targets)
        if int(owners.min()) < 0:
            return False
        rows[:, 8] -= 1
        # RFC 1624 as in packets.decrease_ttl, in the other byte order: the TTL counts 1 there, not 256
        check = words[:, 5].astype(np.uint32) + 1
        check += check >> 16
        words[:, 5] = np.where(check & 0xFFFF == 0xFFFF, 0, check)
        if flags & NEEDS_CSUM:
            field = start + offset
            if start != 20 or field & 1 or field + 2 > length:
                return False
            # the header's own sum is zero, so the sum of all is the sum of what follows it
            sums = np.negative(row_sums(rows)) % 0xFFFF
            if offset == UDP_CHECK:
                sums[sums == 0] = 0xFFFF
            words[:, field >> 1] = sums
        first = 0
        for end in [*(np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist(), count]:
            peer = table.peers[owners[first]]
            at, total = self._box.at(peer, length), (end - first) * length
            self._box.buffer[at : at + total].reshape(end - first, length)[...] = rows[first:end, :length]
            self._box.add(peer, length, at, total)
            first = end
        return True
