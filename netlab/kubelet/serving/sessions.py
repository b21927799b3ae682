"""A SPDY session over a connection: streams to read and write, none of which holds more than a window of bytes.

Below it is a TCP connection that was upgraded, or the messages of a WebSocket (which kubectl since 1.31 has for
port-forward). A stream that nobody reads stops the connection, and with it the other streams, as in the original.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from aiohttp import WSMsgType, web

from netlab.base import upgrades
from netlab.kubelet.serving import spdy

#: bytes that a stream holds for its reader: the protocol's first window
WINDOW = 64 * 1024


class Wire(Protocol):
    """What carries a session's bytes."""

    async def read(self) -> bytes:
        """What has come; b"" at the end."""

    async def write(self, data: bytes) -> None:
        """Returns when the other end keeps up. ConnectionError."""

    async def close(self) -> None:
        """Say no more."""


class Tcp:
    """A connection that was taken from the HTTP server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(upgrades.LIMIT)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()


class Messages:
    """The binary messages of a WebSocket: where one ends and the next begins means nothing."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self._ws = ws

    async def read(self) -> bytes:
        while (message := await self._ws.receive()).type in (WSMsgType.BINARY, WSMsgType.TEXT):
            if message.type == WSMsgType.BINARY and message.data:
                return bytes(message.data)
        return b""

    async def write(self, data: bytes) -> None:
        await self._ws.send_bytes(data)

    async def close(self) -> None:
        await self._ws.close()


class Stream:
    """One stream of a session. headers: by names in lower case."""

    def __init__(self, session: Session, number: int, headers: dict[str, str]) -> None:
        self.number, self.headers = number, headers
        self.broken = False  # reset, or the connection has gone
        self._session = session
        self._parts: list[bytes] = []
        self._held = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def read(self) -> bytes:
        """What has come; b"" at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._parts or self._ended)
            data, self._parts, self._held = b"".join(self._parts), [], 0
            self._changed.notify_all()
        if data:
            self._session.spdy.consumed(self.number, len(data))
            with contextlib.suppress(OSError):
                await self._session.flush()
        return data

    async def write(self, data: bytes) -> None:
        """Returns when the client keeps up. ConnectionError if it takes no more."""
        if self.broken or not self._session.spdy.send(self.number, data):
            raise ConnectionResetError(f"stream {self.number} is closed")
        await self._session.flush()

    async def end(self) -> None:
        """No more from us."""
        self._session.spdy.end(self.number)
        with contextlib.suppress(OSError):
            await self._session.flush()

    async def reset(self) -> None:
        """Nothing more, in either direction."""
        self._session.spdy.reset(self.number)
        await self.finish(broken=True)
        with contextlib.suppress(OSError):
            await self._session.flush()

    async def feed(self, data: bytes) -> None:
        """The session's: bytes have come. Returns when there is room for more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._held < WINDOW or self._ended)
            if not self._ended:
                self._parts.append(data)
                self._held += len(data)
                self._changed.notify_all()

    async def finish(self, *, broken: bool) -> None:
        """The session's: nothing more comes."""
        async with self._changed:
            self._ended = True
            self.broken = self.broken or broken
            self._changed.notify_all()


class Session:
    """The server's end. opened: told of each stream that the client opens."""

    def __init__(self, wire: Wire, opened: Callable[[Stream], None]) -> None:
        self.spdy = spdy.Session(server=True)
        self._wire, self._opened = wire, opened
        self._streams: dict[int, Stream] = {}
        self._saying = asyncio.Lock()

    async def run(self) -> None:
        """Until the client has gone. SpdyError if it breaks the protocol."""
        try:
            while data := await self._wire.read():
                for event in self.spdy.receive(data):
                    await self._on(event)
                await self.flush()
        finally:
            for stream in self._streams.values():
                await stream.finish(broken=True)
            self._streams.clear()

    async def _on(self, event: spdy.Event) -> None:
        if isinstance(event, spdy.Opened):
            stream = self._streams[event.stream] = Stream(self, event.stream, event.headers)
            self._opened(stream)
            return
        found = self._streams.get(getattr(event, "stream", 0))
        if found is None:
            return
        match event:
            case spdy.Received():
                await self.flush()  # replies first: who waits for one does not make room
                await found.feed(event.data)
            case spdy.Ended():
                await found.finish(broken=False)
            case spdy.WasReset():
                self.forget(found)
                await found.finish(broken=True)

    def forget(self, stream: Stream) -> None:
        """Of a stream that both ends have done with."""
        self._streams.pop(stream.number, None)

    async def flush(self) -> None:
        """Send what is to be sent. ConnectionError."""
        async with self._saying:
            if data := self.spdy.taken():
                await self._wire.write(data)

    async def go_away(self) -> None:
        """No more streams are taken."""
        self.spdy.go_away()
        with contextlib.suppress(OSError):
            await self.flush()

    async def close(self) -> None:
        """Say good-bye, and be done with the connection. Not while `run` is under way."""
        await self.go_away()
        await self._wire.close()
