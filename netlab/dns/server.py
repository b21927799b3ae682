"""The sockets of a name server: UDP and TCP on the same port, many questions at once.

What the cluster knows is answered at once; what goes upstream is waited for on the side. A client by TCP may send one
question after the other without waiting for answers (RFC 7766), and one that is silent is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import secrets
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, cast

from netlab.base.errors import MachineError
from netlab.dns import message
from netlab.dns.hosts import Hosts
from netlab.dns.message import Query
from netlab.dns.records import Answer, Records
from netlab.dns.upstream import Upstreams

#: seconds that a silent connection is kept, connections at once, questions of one connection that wait for upstream
IDLE, CONNECTIONS_MAX, PIPELINE_MAX = 10.0, 500, 32
#: questions by UDP that wait for upstream; more are dropped, as the network would
WAITING_MAX = 4000
#: free ports that are tried, since one for UDP may be taken for TCP
FREE_TRIES = 10
log = logging.getLogger("dns")


class Handled(NamedTuple):
    """One question and its fate. status: NOERROR, NXDOMAIN …; source: cluster, upstream, or none, of nonsense."""

    transport: str
    kind: str
    status: str
    source: str
    seconds: float


#: hears of every question
Tell = Callable[[Handled], None]


class NameServer:
    """Answers from `records`, which may change at any time; before there are some, it fails (SERVFAIL)."""

    def __init__(self, upstreams: Upstreams, tell: Tell = lambda handled: None, hosts: Hosts | None = None) -> None:
        self.records: Records | None = None
        self.upstreams, self.hosts, self._tell = upstreams, hosts, tell
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._connections = 0
        #: (address, port) pairs that it answers on
        self.places: list[tuple[str, int]] = []

    async def listen(self, addresses: list[str], port: int) -> None:
        """Answer on these. MachineError if one of them is taken, or is not ours. port: 0 for a free one."""
        for address in addresses:
            for left in reversed(range(1 if port else FREE_TRIES)):
                try:
                    self.places.append((address, await self._bind(address, port)))
                    break
                except OSError as e:
                    if left and e.errno == errno.EADDRINUSE:
                        continue
                    self.close()
                    raise MachineError(
                        f"cannot answer on {address} port {port}: {e.strerror or e}",
                        hint="choose another --address or --port; ss -lnup sport = :53 tells who has it",
                    ) from e

    async def _bind(self, address: str, port: int) -> int:
        sock = _udp_socket(address, port)
        chosen: int = sock.getsockname()[1]
        try:
            server = await asyncio.start_server(self._connected, address, chosen)
        except OSError:
            sock.close()
            raise
        self._servers.append(server)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
        self._transports.append(transport)
        return chosen

    def close(self) -> None:
        """Stop answering."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()

    # -- one question

    def handle(self, wire: bytes, *, stream: bool) -> bytes | Coroutine[Any, Any, bytes] | None:
        """The answer; a coroutine that will have it, if others have to be asked; None if there is none."""
        started = time.perf_counter()
        query = message.read(wire)
        if query is None:
            return None
        if isinstance(query, bytes):
            self._told(query, stream, "", "none", started)
            return query
        recursion = bool(self.upstreams.servers)
        if self.records is None:
            answer: Answer | None = Answer("SERVFAIL")
        else:
            answer = self.records.look(query.labels, query.kind)
            if answer is None and self.hosts is not None:
                answer = self.hosts.look(query.labels, query.kind)
        if answer is None and recursion:
            return self._forwarded(query, stream, started)
        if answer is None or answer.status in ("SERVFAIL", "REFUSED"):
            return self._told(
                message.status(query, answer.status if answer else "REFUSED", recursion=recursion),
                stream, query.kind, "cluster", started,
            )  # fmt: skip
        if answer.alias and recursion:
            return self._aliased(query, answer, stream, started)
        reply = message.reply(query, answer, stream=stream, recursion=recursion)
        return self._told(reply, stream, query.kind, "cluster", started)

    async def _forwarded(self, query: Query, stream: bool, started: float) -> bytes:
        answer = await self.upstreams.ask(query.wire, stream=stream)
        if answer is None:
            answer = message.status(query, "SERVFAIL", recursion=True)
        return self._told(answer, stream, query.kind, "upstream", started)

    async def _aliased(self, query: Query, answer: Answer, stream: bool, started: float) -> bytes:
        """An alias to a name outside, with what that name is; alone, if nobody tells."""
        asked = message.question(answer.alias, query.kind, secrets.randbelow(1 << 16))
        got = await self.upstreams.ask(asked, stream=False)
        if got is not None and message.truncated(got):
            got = await self.upstreams.ask(asked, stream=True)
        more = (message.answers(got) if got else None) or ()
        reply = message.reply(query, answer, stream=stream, recursion=True, more=more)
        return self._told(reply, stream, query.kind, "cluster", started)

    def _told(self, wire: bytes, stream: bool, kind: str, source: str, started: float) -> bytes:
        seconds = time.perf_counter() - started
        self._tell(Handled("tcp" if stream else "udp", kind, message.told(wire), source, seconds))
        return wire

    # -- UDP

    def datagram(self, wire: bytes, send: Callable[[bytes], None]) -> None:
        """One datagram, and how to answer it."""
        answer = self._safely(wire, stream=False)
        if isinstance(answer, bytes):
            send(answer)
        elif answer is not None:
            if len(self._tasks) >= WAITING_MAX:
                answer.close()
                return
            self._later(answer, send)

    def _safely(self, wire: bytes, *, stream: bool) -> bytes | Coroutine[Any, Any, bytes] | None:
        """`handle`, and silence in place of a fault of ours: one question that we stumble over ends nothing."""
        try:
            return self.handle(wire, stream=stream)
        except Exception:
            log.exception("cannot answer %s", wire[:80].hex())
            return None

    def _later(self, answer: Coroutine[Any, Any, bytes], send: Callable[[bytes], None]) -> asyncio.Task[None]:
        async def work() -> None:
            try:
                send(await answer)
            except Exception:
                log.exception("cannot answer")

        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- TCP

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        waiting: set[asyncio.Task[None]] = set()

        def send(wire: bytes) -> None:
            if not writer.is_closing():
                writer.write(len(wire).to_bytes(2) + wire)

        try:
            while self._connections <= CONNECTIONS_MAX:
                async with asyncio.timeout(IDLE):
                    wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                    answer = self._safely(wire, stream=True)
                    if answer is None:
                        break  # what sends nonsense by TCP has lost its place in the stream
                    if isinstance(answer, bytes):
                        send(answer)
                    else:
                        task = self._later(answer, send)
                        waiting.add(task)
                        task.add_done_callback(waiting.discard)
                        if len(waiting) >= PIPELINE_MAX:
                            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    await writer.drain()
        except (OSError, TimeoutError, EOFError):
            pass
        finally:
            self._connections -= 1
            if waiting:
                await asyncio.wait(waiting)
            with contextlib.suppress(OSError):
                writer.close()


def _udp_socket(address: str, port: int) -> socket.socket:
    """Bound, and for one family alone: `::` beside `0.0.0.0` (asyncio does the same for TCP, and not for UDP)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # it is one, if not by its class

    def datagram_received(self, data: bytes, addr: Any) -> None:
        transport = self._transport
        if transport is not None and addr[1]:  # nobody is at port 0
            self._server.datagram(data, lambda answer: transport.sendto(answer, addr))
