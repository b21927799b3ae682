"""The capture file that netlab writes: pcapng, one interface per place, nanoseconds, direction, drops.

Source: draft-ietf-opsawg-pcapng. Little-endian, one section, all interfaces described before the first packet, so
that Wireshark shows every place although nothing was seen there yet.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from netlab.lab.capture.packet import SNAPLEN, Interface, Packet, Place

SECTION, INTERFACE, LEGACY_PACKET, SIMPLE_PACKET, STATISTICS, PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D

OPT_END, OPT_COMMENT = 0, 1
SHB_HARDWARE, SHB_OS, SHB_USERAPPL = 2, 3, 4
IF_NAME, IF_DESCRIPTION, IF_TSRESOL, IF_FILTER, IF_TSOFFSET = 2, 3, 9, 11, 14
EPB_FLAGS = 2
ISB_STARTTIME, ISB_ENDTIME, ISB_IFRECV, ISB_IFDROP = 2, 3, 4, 5

INBOUND, OUTBOUND, DIRECTION = 1, 2, 3  # the two low bits of epb_flags, and their mask
_NANOSECONDS = 9  # if_tsresol: 10^-9 s


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """The options with a value, closed by opt_endofopt; nothing if there are none. A value has at most 65535 bytes."""
    packed = b"".join(_option(code, value[:0xFFFF]) for code, value in options if value)
    return packed + _option(OPT_END, b"") if packed else b""


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _timestamp(time_ns: int) -> bytes:
    return struct.pack("<II", time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF)


class Writer:
    """Writes packets to a binary stream, which stays the caller's to close. OSError of the stream passes through.

    Packets are written in the order in which they come (merge.TimeMerge sorts). `flush` after each batch, so that a
    `wireshark -k -i -` at the other end of a pipe is never behind.
    """

    def __init__(self, stream: BinaryIO, interfaces: Sequence[Interface], *, application: str = "netlab") -> None:
        self._stream = stream
        self._ids = {interface.place: number for number, interface in enumerate(interfaces)}
        self._start_ns: int | None = None
        self._end_ns = 0
        stream.write(_section(application))
        for interface in interfaces:
            stream.write(_interface(interface))
        self.flush()

    def write(self, packet: Packet) -> None:
        """One Enhanced Packet Block. KeyError if the packet's place was not among the interfaces."""
        data = packet.data[:SNAPLEN]
        head = struct.pack("<I", self._ids[packet.place]) + _timestamp(packet.time_ns)
        head += struct.pack("<II", len(data), packet.wire_length)
        flags = 0 if packet.outgoing is None else OUTBOUND if packet.outgoing else INBOUND
        options = _options([(EPB_FLAGS, struct.pack("<I", flags))] if flags else [])
        self._stream.write(_block(PACKET, head + _padded(data) + options))
        self._start_ns = packet.time_ns if self._start_ns is None else min(self._start_ns, packet.time_ns)
        self._end_ns = max(self._end_ns, packet.time_ns)

    def statistics(self, place: Place, *, received: int, dropped: int) -> None:
        """An Interface Statistics Block: what the tap received (dropped included) and what it dropped.

        As in dumpcap's files, a full socket buffer counts as isb_ifdrop, which is where capinfos looks.
        """
        start = self._start_ns if self._start_ns is not None else self._end_ns
        options = _options(
            [
                (ISB_STARTTIME, _timestamp(start)),
                (ISB_ENDTIME, _timestamp(self._end_ns)),
                (ISB_IFRECV, struct.pack("<Q", received)),
                (ISB_IFDROP, struct.pack("<Q", dropped)),
            ]
        )
        head = struct.pack("<I", self._ids[place]) + _timestamp(self._end_ns)
        self._stream.write(_block(STATISTICS, head + options))

    def flush(self) -> None:
        """Push what was written to the reader at the other end."""
        self._stream.flush()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()


def _section(application: str) -> bytes:
    unknown_length = -1  # a stream cannot be gone back in
    head = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, unknown_length)
    return _block(
        SECTION,
        head
        + _options(
            [
                (SHB_HARDWARE, platform.machine().encode()),
                (SHB_OS, f"{platform.system()} {platform.release()}".encode()),
                (SHB_USERAPPL, application.encode()),
            ]
        ),
    )


def _interface(interface: Interface) -> bytes:
    head = struct.pack("<HHI", interface.linktype, 0, SNAPLEN)
    return _block(
        INTERFACE,
        head
        + _options(
            [
                (IF_NAME, str(interface.place).encode()),
                (IF_DESCRIPTION, interface.description.encode()),
                (IF_TSRESOL, bytes([_NANOSECONDS])),
                (IF_FILTER, b"\0" + interface.filter.encode() if interface.filter else b""),  # 0: libpcap's language
            ]
        ),
    )
