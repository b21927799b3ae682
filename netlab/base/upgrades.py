"""A connection of aiohttp's server that becomes something else: what HTTP calls an upgrade (RFC 9110 section 7.8).

aiohttp upgrades to WebSocket alone. Here the connection is taken from it whole, after the head of the request: a reader
and a writer of asyncio for whatever is spoken from then on. Its handler returns `Taken`, which says nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

#: bytes that are read ahead
LIMIT = 128 * 1024
#: seconds that a peer has to take what was said last
LINGER = 5.0


class Taken(web.StreamResponse):
    """The answer of a request whose connection was taken: all has been said."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Protocol(asyncio.StreamReaderProtocol):
    """Streams, with the former owner of the connection told of its end: it counts its connections."""

    def __init__(self, reader: asyncio.StreamReader, before: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._before = before

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._before.connection_lost(exc)


def take(request: web.BaseRequest) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The connection. ConnectionError if the client has gone."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    reader = asyncio.StreamReader(limit=LIMIT)
    protocol = _Protocol(reader, request.protocol)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


def head(first: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of a message."""
    return "".join(f"{line}\r\n" for line in (first, *(f"{k}: {v}" for k, v in headers), "")).encode("latin-1")


def switching(headers: Iterable[tuple[str, str]], protocol: str) -> bytes:
    """The answer to a request for another protocol, from which on that is spoken."""
    return head("HTTP/1.1 101 Switching Protocols", [("Connection", "Upgrade"), ("Upgrade", protocol), *headers])


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close when the peer has, or after a while: what it still sends would make the kernel throw away what we said."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LINGER):
            await writer.drain()
            while await reader.read(LIMIT):
                pass
    writer.close()


async def joined(
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter], server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Carry bytes both ways until either end has closed. What the server said before that still reaches the client;
    when the client goes, the server is to know at once."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(LIMIT):
                writer.write(data)
                await writer.drain()

    up, down = asyncio.create_task(carry(client[0], server[1])), asyncio.create_task(carry(server[0], client[1]))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        heard = down.done()
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        server[1].close()
    if heard:
        await close(*client)
    client[1].close()
