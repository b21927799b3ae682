"""What the clients of etcd share: HTTP to whichever of several servers answers, TLS from files, lines out of a stream.

A request whose connection breaks after it was sent may or may not have been carried out. So only what may be said twice
is said again to the next endpoint; for the rest the caller gets `Unavailable` and asks what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from netlab.base.errors import InputError, NetlabError, Problem

#: a dead peer is noticed after IDLE + INTERVAL × COUNT = 25 s, whatever the protocol above does (seconds)
_KEEPALIVE_IDLE, _KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT = 10, 5, 3
#: how much of an answer that makes no sense is put into the message
_EXCERPT = 200
#: bytes of a body that are sent in one go
_LARGE = 1 << 19


class Unavailable(NetlabError):
    """No endpoint answers, or one broke off in the middle: the outcome of a write is not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def excerpt(self) -> str:
        """Its beginning, for messages."""
        return f"HTTP {self.status} {self.body[:_EXCERPT].decode(errors='replace')!r}"


def tls_context(*, ca: str | Path | None = None, cert: str | Path | None = None, key: str | Path | None = None,
                server: str = "etcd") -> ssl.SSLContext:  # fmt: skip
    """TLS that trusts `ca` (without it the system's authorities) and shows `cert`. InputError names the file."""
    if bool(cert) != bool(key):
        raise InputError(f"{server}: a certificate and its key go together; only one of the two files is given")
    place = str(ca)
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert and key:
            place = f"{cert}, {key}"
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as e:
        raise InputError([Problem(place, f"cannot be used for TLS to {server}: {e}")]) from e
    return context


def keep_alive(response: aiohttp.ClientResponse) -> None:
    """Let the kernel notice when the other end of a long stream has gone without a word."""
    transport = response.connection.transport if response.connection else None
    found = transport.get_extra_info("socket") if transport else None
    if found is None:
        return
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)


async def lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """The lines of a stream, without their ends, however long (aiohttp's own readline gives up at 64 KiB).

    A last line that has no end was cut off and is not given out.
    """
    rest = bytearray()
    async for chunk in content.iter_any():
        seen = len(rest)
        rest += chunk
        if (end := rest.rfind(b"\n", seen)) < 0:
            continue
        whole = bytes(rest[:end])
        del rest[: end + 1]
        for line in whole.split(b"\n"):
            if line.strip():
                yield line


class Endpoints:
    """HTTP to one of several equal servers: the one that answered last is asked first.

    addresses: `http://10.0.0.1:2379`; timeout: seconds for one attempt at one of them. refused: says of an answer
    that this server cannot help but another might (it has lost its leader).
    """

    def __init__(self, addresses: Sequence[str], *, tls: ssl.SSLContext | None, timeout: float, name: str,
                 refused: Callable[[Answer], bool]) -> None:  # fmt: skip
        self.addresses = tuple(address.rstrip("/") for address in addresses)
        bad = [a for a in self.addresses if not a.startswith(("http://", "https://"))]
        if bad or not self.addresses:
            raise InputError(f"{name}: {', '.join(map(repr, bad)) or 'no endpoint'} where http://HOST:PORT is expected")
        self.timeout, self.name = timeout, name
        self._tls, self._refused = tls, refused
        self._current = 0
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """Made on first use, for it belongs to the running loop."""
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session

    async def ask(self, method: str, path: str, *, again: bool, body: bytes = b"", **arguments: Any) -> Answer:
        """One request. again: it may be repeated elsewhere after it was sent. arguments: aiohttp's. Unavailable."""
        faults: list[str] = []
        # one more than there are: a kept connection that the server has closed meanwhile is no fault of the server
        for _ in range(len(self.addresses) + 1):
            address = self.addresses[self._current]
            if body:
                # a large one is written bit by bit, so that it does not hold up the loop
                arguments["data"] = io.BytesIO(body) if len(body) > _LARGE else body
            try:
                async with asyncio.timeout(self.timeout):
                    async with self.session().request(method, address + path, **arguments) as r:
                        answer = Answer(r.status, r.headers, await r.read())
            except aiohttp.ClientConnectorError as e:
                faults.append(f"{address}: {e.strerror or e}")
            except (TimeoutError, aiohttp.ClientError, OSError) as e:
                faults.append(f"{address}: {self._words(e)}")
                if not again:
                    self._next()
                    break
            else:
                if not self._refused(answer):
                    return answer
                faults.append(f"{address}: {answer.excerpt()}")
                if not again:
                    self._next()
                    break
            self._next()
        raise Unavailable(f"{self.name} does not answer: {'; '.join(dict.fromkeys(faults))}")

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, **arguments: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request whose answer is read as it comes, from the first endpoint that answers. Unavailable, also later on,
        when it breaks off; how long silence may last is the caller's to say."""
        faults: list[str] = []
        for _ in self.addresses:
            address = self.addresses[self._current]
            limit = aiohttp.ClientTimeout(total=None)
            request = self.session().request(method, address + path, timeout=limit, **arguments)
            try:
                async with asyncio.timeout(self.timeout):
                    response = await request
            except (TimeoutError, aiohttp.ClientError, OSError) as e:
                faults.append(f"{address}: {self._words(e)}")
                self._next()
                continue
            try:
                keep_alive(response)
                yield response
            except (aiohttp.ClientError, OSError) as e:
                if isinstance(e, TimeoutError):
                    raise
                self._next()
                raise Unavailable(f"{self.name} broke off: {address}: {self._words(e)}") from e
            finally:
                # the rest of the stream never ends: the connection cannot be used again
                response.close()
            return
        raise Unavailable(f"{self.name} does not answer: {'; '.join(faults)}")

    def _next(self) -> None:
        self._current = (self._current + 1) % len(self.addresses)

    def _words(self, error: BaseException) -> str:
        return f"no answer within {self.timeout:g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
