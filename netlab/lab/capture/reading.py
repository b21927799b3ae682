"""Capture files back to packets: pcapng of either byte order, and classic pcap with micro- or nanoseconds.

Sources: draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap. Whatever the bytes are, only InputError leaves, naming
the file and the offset (from 0) of the block or record that is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from netlab.base.errors import InputError
from netlab.lab.capture import pcapng
from netlab.lab.capture.packet import Packet, Place

#: Wireshark refuses larger blocks too; a length beyond it is a corrupt length, not a packet
_BLOCK_MAX = 16 * 1024 * 1024

#: magic number of classic pcap, as the file has it -> (byte order, nanoseconds per tick)
_PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_SECTION = struct.pack("<I", pcapng.SECTION)  # a palindrome, the same in both orders


def read(path: str | Path) -> Iterator[Packet]:
    """The packets of a file, in its order. InputError, on iteration, if it cannot be read or is no sound capture."""
    try:
        with Path(path).open("rb") as stream:
            yield from read_stream(stream, str(path))
    except OSError as e:
        raise InputError(f"{path}: cannot be read: {e.strerror or e}") from e


def read_stream(stream: BinaryIO, name: str) -> Iterator[Packet]:
    """As `read`, from an open binary stream; `name` is what errors call it."""
    source = _Source(stream, name)
    magic = source.take(4, "the magic number")
    if magic == _SECTION:
        yield from _Section(source).packets()
    elif magic in _PCAP_MAGICS:
        yield from _pcap(source, *_PCAP_MAGICS[magic])
    else:
        source.fail(f"starts with {magic.hex(' ')}: neither pcapng nor pcap", at=0)


class _Source:
    """A stream that knows how far it was read, and its name."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self.offset = 0

    def fail(self, message: str, *, at: int) -> NoReturn:
        raise InputError(f"{self._name}: at byte {at}: {message}")

    def take(self, length: int, what: str) -> bytes:
        """Exactly `length` bytes, or InputError."""
        data = self.take_or_end(length, what)
        if data is None and length:
            self.fail(f"the file ends before {what}", at=self.offset)
        return data or b""

    def take_or_end(self, length: int, what: str) -> bytes | None:
        """As `take`, but None where the file ends cleanly."""
        data = self._stream.read(length)
        if not data:
            return None
        if len(data) < length:
            self.fail(f"the file ends inside {what}: {len(data)} of {length} bytes", at=self.offset)
        self.offset += length
        return data


def _pcap(source: _Source, order: str, tick_ns: int) -> Iterator[Packet]:
    """Records after the magic number. All belong to one place, that the format has no name for."""
    head = source.take(20, "the file header")
    linktype = struct.unpack(order + "HHiIII", head)[5] & 0xFFFF  # the upper bits tell about the frame check sequence
    place = Place("", "pcap")
    while True:
        at = source.offset
        record = source.take_or_end(16, "a record header")
        if record is None:
            return
        seconds, ticks, captured, original = struct.unpack(order + "IIII", record)
        if captured > _BLOCK_MAX:
            source.fail(f"a record claims {captured} bytes", at=at)
        data = source.take(captured, "a packet")
        yield Packet(seconds * 1_000_000_000 + ticks * tick_ns, place, None, data, original, linktype)


@dataclass(frozen=True, slots=True)
class _Described:
    """An Interface Description Block: what is needed to read its packets."""

    place: Place
    linktype: int
    snaplen: int  # 0: no limit
    resolution: int  # if_tsresol as written
    offset_s: int

    def time_ns(self, high: int, low: int) -> int:
        """Ticks to nanoseconds: if_tsresol is a negative power of 10, or of 2 with its top bit set."""
        base, exponent = (2, self.resolution & 0x7F) if self.resolution & 0x80 else (10, self.resolution)
        ticks_per_second: int = base**exponent
        return ((high << 32) | low) * 1_000_000_000 // ticks_per_second + self.offset_s * 1_000_000_000


class _Section:
    """Reads blocks; a section header starts again with no interfaces and perhaps another byte order."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._order = "<"
        self._interfaces: list[_Described] = []
        self._at = 0  # offset of the block at hand

    def packets(self) -> Iterator[Packet]:
        kind: bytes | None = _SECTION  # read already, to tell the format
        while kind is not None:
            self._at = self._source.offset - 4
            packet = self._block(kind)
            if packet is not None:
                yield packet
            kind = self._source.take_or_end(4, "a block type")

    def _fail(self, message: str) -> NoReturn:
        self._source.fail(message, at=self._at)

    def _unpack(self, layout: str, body: bytes, offset: int = 0) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self._order + layout, body, offset)
        except struct.error:
            self._fail(f"the block is too short: {len(body)} bytes of content")

    def _block(self, kind_bytes: bytes) -> Packet | None:
        length_bytes = self._source.take(4, "a block length")
        prefix = b""
        if kind_bytes == _SECTION:
            prefix = self._source.take(4, "the byte-order magic")
            self._order = {0x1A2B3C4D: "<", 0x4D3C2B1A: ">"}.get(int.from_bytes(prefix, "little"), "")
            if not self._order:
                self._fail(f"the section header has no byte-order magic ({prefix.hex(' ')})")
        kind, length = self._unpack("II", kind_bytes + length_bytes)
        if length % 4 or not 12 + len(prefix) <= length <= _BLOCK_MAX:
            self._fail(f"a block claims {length} bytes")
        body = prefix + self._source.take(length - 12 - len(prefix), "a block's content")
        (closing,) = self._unpack("I", self._source.take(4, "a block's closing length"))
        if closing != length:
            self._fail(f"the block's lengths differ: {length} before, {closing} after")
        if kind == pcapng.SECTION:
            self._section(body)
        elif kind == pcapng.INTERFACE:
            self._interface(body)
        elif kind == pcapng.PACKET:
            number, high, low, captured, original = self._unpack("IIIII", body)
            return self._packet(body, number, (high, low), captured, original)
        elif kind == pcapng.LEGACY_PACKET:
            number, _drops, high, low, captured, original = self._unpack("HHIIII", body)
            return self._packet(body, number, (high, low), captured, original)
        elif kind == pcapng.SIMPLE_PACKET:
            return self._simple_packet(body)
        return None  # names, statistics, secrets, whatever is to come: skipped, as the draft asks

    def _section(self, body: bytes) -> None:
        _magic, major, _minor = self._unpack("IHH", body)
        if major != 1:
            self._fail(f"pcapng version {major} is not known")
        self._interfaces = []

    def _interface(self, body: bytes) -> None:
        linktype, _reserved, snaplen = self._unpack("HHI", body)
        options = self._options(body[8:])
        name = options.get(pcapng.IF_NAME, b"").decode(errors="replace").rstrip("\0")
        place = Place.parse(name or f"if{len(self._interfaces)}")
        resolution = (options.get(pcapng.IF_TSRESOL) or b"\x06")[0]
        offset = int.from_bytes(
            options.get(pcapng.IF_TSOFFSET, b""), "little" if self._order == "<" else "big", signed=True
        )
        self._interfaces.append(_Described(place, linktype, snaplen, resolution, offset))

    def _described(self, number: int) -> _Described:
        if number >= len(self._interfaces):
            self._fail(f"a packet of interface {number}, but {len(self._interfaces)} are described")
        return self._interfaces[number]

    def _packet(self, body: bytes, number: int, time: tuple[int, int], captured: int, original: int) -> Packet:
        """Enhanced and legacy packets: both have 20 bytes before the data, and epb_flags is pack_flags."""
        interface = self._described(number)
        data = body[20 : 20 + captured]
        if len(data) < captured:
            self._fail(f"a packet claims {captured} bytes, its block has {len(data)}")
        flag_bytes = self._options(body[20 + captured + -captured % 4 :]).get(pcapng.EPB_FLAGS, bytes(4))
        direction = self._unpack("I", flag_bytes)[0] & pcapng.DIRECTION
        outgoing = {pcapng.INBOUND: False, pcapng.OUTBOUND: True}.get(direction)
        return Packet(interface.time_ns(*time), interface.place, outgoing, data, original, interface.linktype)

    def _simple_packet(self, body: bytes) -> Packet:
        """No time, no direction, always the first interface; the captured length follows from the snap length."""
        (original,) = self._unpack("I", body)
        interface = self._described(0)
        captured = min(original, interface.snaplen or original)
        data = body[4 : 4 + captured]
        if len(data) < captured:
            self._fail(f"a packet claims {captured} bytes, its block has {len(data)}")
        return Packet(0, interface.place, None, data, original, interface.linktype)

    def _options(self, data: bytes) -> dict[int, bytes]:
        """Code -> value, the last of each; options may end with the block instead of opt_endofopt."""
        found: dict[int, bytes] = {}
        offset = 0
        while offset < len(data):
            code, length = self._unpack("HH", data, offset)
            if code == pcapng.OPT_END:
                break
            value = data[offset + 4 : offset + 4 + length]
            if len(value) < length:
                self._fail(f"option {code} claims {length} bytes, {len(value)} are left")
            found[code] = value
            offset += 4 + length + -length % 4
        return found
