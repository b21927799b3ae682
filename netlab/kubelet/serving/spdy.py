"""SPDY/3.1 as far as Kubernetes speaks it: frames to and from bytes, and what a session makes of them. No I/O.

`Session.receive` turns bytes into events; what is to be said goes into a buffer that the caller takes (`taken`) and
sends. Both roles are here. A peer that breaks the protocol gets GOAWAY, and the caller `SpdyError`.

Windows: a receiver here grants what has been consumed; a sender here does not wait for grants, because Go's spdystream,
which is what every kubectl has, gives none. What bounds memory is TCP: who does not read is not written to.
Source: SPDY draft 3.1 (chromium.org/spdy/spdy-protocol), moby/spdystream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

VERSION = 3
#: bytes of a control frame, of its headers unpacked, and of a data frame that we send
CONTROL_MAX, HEADERS_MAX, DATA_MAX = 64 * 1024, 64 * 1024, 32 * 1024
#: streams of a peer that are open at once: two for each connection that is forwarded
STREAMS_MAX = 8192
#: consumed bytes after which they are granted anew: half of the protocol's first window
GRANT = 32 * 1024
_FIN, _UNIDIRECTIONAL = 1, 2
_WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length content-location
content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match
if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range
referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get
status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin
"""
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
#: what both ends' zlib knows in advance (section 2.6.10.1)
DICTIONARY = b"".join(
    struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()
) + _TAIL.encode()  # fmt: skip


class Type(IntEnum):
    """Control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(IntEnum):
    """Why a stream is reset: those that are said here."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    STREAM_ALREADY_CLOSED = 9


class SpdyError(Exception):
    """The peer does not speak SPDY/3.1. The session is over; what it still has to say says so."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer has opened a stream. headers: by names in lower case."""

    stream: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer has accepted a stream of ours."""

    stream: int


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of a stream; say `consumed` when they are no longer held."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer sends no more on a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class WasReset:
    """The peer wants nothing more of a stream, in either direction."""

    stream: int
    why: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer opens no more streams."""


Event = Opened | Replied | Received | Ended | WasReset | GoneAway


@dataclass(slots=True)
class _Stream:
    """read, write: whether bytes may still come and go; held: consumed bytes that are not granted yet."""

    read: bool = True
    write: bool = True
    held: int = 0


class Session:
    """One connection. server: which end this is; a server's streams have even numbers."""

    def __init__(self, *, server: bool) -> None:
        self.server = server
        self.gone = False
        self._next = 2 if server else 1
        self._last = 0  # the peer's newest stream
        self._streams: dict[int, _Stream] = {}
        self._in = bytearray()
        self._out = bytearray()
        self._data: tuple[int, int, int] | None = None  # of the data frame under way: stream, flags, bytes to come
        self._packer = zlib.compressobj(zdict=DICTIONARY)
        self._unpacker = zlib.decompressobj(zdict=DICTIONARY)

    # -- saying

    def taken(self) -> bytes:
        """What is to be sent, which is then the caller's."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def open(self, headers: Mapping[str, str], *, fin: bool = False) -> int:
        """A stream of ours. fin: that we send nothing on."""
        number, self._next = self._next, self._next + 2
        self._streams[number] = _Stream(write=not fin)
        body = struct.pack(">IIH", number, 0, 0) + self._packed(headers)
        self._control(Type.SYN_STREAM, body, _FIN if fin else 0)
        return number

    def send(self, stream: int, data: bytes | memoryview) -> bool:
        """Bytes on a stream. False if the stream takes none (any more)."""
        found = self._streams.get(stream)
        if found is None or not found.write:
            return False
        view = memoryview(data)
        for start in range(0, len(view), DATA_MAX):
            part = view[start : start + DATA_MAX]
            self._out += struct.pack(">II", stream, len(part))
            self._out += part
        return True

    def end(self, stream: int) -> None:
        """No more on a stream from us."""
        found = self._streams.get(stream)
        if found is not None and found.write:
            found.write = False
            self._out += struct.pack(">II", stream, _FIN << 24)
            self._forget(stream, found)

    def reset(self, stream: int, why: Reset = Reset.CANCEL) -> None:
        """Nothing more on a stream, in either direction."""
        if self._streams.pop(stream, None) is not None:
            self._control(Type.RST_STREAM, struct.pack(">II", stream, why))

    def consumed(self, stream: int, size: int) -> None:
        """So many bytes that came on a stream are no longer held."""
        found = self._streams.get(stream)
        if found is None or not found.read:
            return
        found.held += size
        if found.held >= GRANT:
            self._control(Type.WINDOW_UPDATE, struct.pack(">II", stream, found.held))
            found.held = 0

    def go_away(self, why: int = 0) -> None:
        """No more streams are taken."""
        if not self.gone:
            self.gone = True
            self._control(Type.GOAWAY, struct.pack(">II", self._last, why))

    def _control(self, kind: Type, body: bytes, flags: int = 0) -> None:
        self._out += struct.pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(body)) + body

    def _packed(self, headers: Mapping[str, str]) -> bytes:
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        block = struct.pack(">I", len(pairs)) + b"".join(
            struct.pack(">I", len(name)) + name + struct.pack(">I", len(value)) + value for name, value in pairs
        )
        return self._packer.compress(block) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    # -- hearing

    def receive(self, data: bytes) -> list[Event]:
        """What the bytes tell. SpdyError."""
        self._in += data
        try:
            return list(self._events())
        except (SpdyError, struct.error, zlib.error, UnicodeDecodeError) as e:
            self._in.clear()
            self.go_away(1)
            raise SpdyError(str(e)) from e

    def _events(self) -> Iterator[Event]:
        while True:
            if self._data is not None:
                stream, flags, left = self._data
                part = bytes(self._in[:left])
                del self._in[: len(part)]
                left -= len(part)
                self._data = (stream, flags, left) if left else None
                yield from self._on_data(stream, part, fin=not left and bool(flags & _FIN))
                if left:
                    return
            if len(self._in) < 8:
                return
            first, second = struct.unpack_from(">II", self._in)
            flags, length = second >> 24, second & 0xFFFFFF
            if not first & 0x80000000:
                del self._in[:8]
                self._data = (first, flags, length)
                continue
            version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
            if version != VERSION:
                raise SpdyError(f"version {version} of SPDY, 3 was expected")
            if length > CONTROL_MAX:
                raise SpdyError(f"a control frame of {length} bytes")
            if len(self._in) < 8 + length:
                return
            body = bytes(self._in[8 : 8 + length])
            del self._in[: 8 + length]
            yield from self._on_control(kind, flags, body)

    def _on_control(self, kind: int, flags: int, body: bytes) -> Iterator[Event]:
        match kind:
            case Type.SYN_STREAM:
                number = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
                # unpacked even if it is refused: both ends' zlib go through all headers
                yield from self._on_open(number, flags, self._unpacked(body[10:]))
            case Type.SYN_REPLY | Type.HEADERS:
                number = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
                self._unpacked(body[4:])
                if number in self._streams:
                    if kind == Type.SYN_REPLY:
                        yield Replied(number)
                    if flags & _FIN:
                        yield from self._on_end(number)
            case Type.RST_STREAM:
                number, why = struct.unpack_from(">II", body)
                if self._streams.pop(number & 0x7FFFFFFF, None) is not None:
                    yield WasReset(number & 0x7FFFFFFF, why)
            case Type.PING:
                (number,) = struct.unpack_from(">I", body)
                if number % 2 == self.server:  # the peer's own, not the answer to one of ours
                    self._control(Type.PING, struct.pack(">I", number))
            case Type.GOAWAY:
                struct.unpack_from(">II", body)
                yield GoneAway()
            case Type.WINDOW_UPDATE:
                struct.unpack_from(">II", body)
            case _:  # SETTINGS, and what others may invent: "must ignore"
                pass

    def _on_open(self, number: int, flags: int, headers: dict[str, str]) -> Iterator[Event]:
        if number % 2 != self.server or number <= self._last:
            raise SpdyError(f"stream {number} is opened after {self._last}")
        self._last = number
        if self.gone:
            return
        if len(self._streams) >= STREAMS_MAX:
            self._control(Type.RST_STREAM, struct.pack(">II", number, Reset.REFUSED_STREAM))
            return
        self._streams[number] = _Stream(write=not flags & _UNIDIRECTIONAL)
        self._control(Type.SYN_REPLY, struct.pack(">I", number) + self._packed({}))
        yield Opened(number, headers)
        if flags & _FIN:
            yield from self._on_end(number)

    def _on_data(self, number: int, data: bytes, *, fin: bool) -> Iterator[Event]:
        found = self._streams.get(number)
        if found is None:
            # to what was closed a moment ago bytes may be on their way; to what never was, none
            if number == 0 or number > max(self._last, self._next - 2):
                raise SpdyError(f"data of stream {number}, which nobody has opened")
            return
        if not found.read:
            self.reset(number, Reset.STREAM_ALREADY_CLOSED)
            yield WasReset(number, Reset.STREAM_ALREADY_CLOSED)
            return
        if data:
            yield Received(number, data)
        if fin:
            yield from self._on_end(number)

    def _on_end(self, number: int) -> Iterator[Event]:
        found = self._streams.get(number)
        if found is not None and found.read:
            found.read = False
            self._forget(number, found)
            yield Ended(number)

    def _forget(self, number: int, stream: _Stream) -> None:
        if not stream.read and not stream.write:
            self._streams.pop(number, None)

    def _unpacked(self, block: bytes) -> dict[str, str]:
        data = self._unpacker.decompress(block, HEADERS_MAX)
        if self._unpacker.unconsumed_tail or self._unpacker.eof:
            raise SpdyError(f"headers of more than {HEADERS_MAX} bytes, or after their end")
        (count,) = struct.unpack_from(">I", data)
        at, found = 4, dict[str, str]()
        if count > len(data) // 8:
            raise SpdyError(f"{count} headers in {len(data)} bytes")
        for _ in range(count):
            words = []
            for _ in range(2):
                (length,) = struct.unpack_from(">I", data, at)
                if at + 4 + length > len(data):
                    raise SpdyError("a header is longer than its block")
                words.append(data[at + 4 : at + 4 + length].decode())
                at += 4 + length
            found[words[0].lower()] = words[1]
        return found
