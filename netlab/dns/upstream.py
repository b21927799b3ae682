"""Other name servers, which are asked about what is not the cluster's.

Each question goes out from a port and with a number of its own, both by chance, and only an answer to just this
question is taken (RFC 5452). A server that does not answer in time is followed by the next, and is then the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence

#: seconds that one server is waited for
PATIENCE = 2.0
#: questions that are on their way at once; more are turned down: a circle of servers would else never come to rest
WAITING_MAX = 1000
log = logging.getLogger("dns")

#: address and port
Server = tuple[str, int]


class Upstreams:
    """The servers, the one that answered last first."""

    def __init__(self, servers: Sequence[Server], *, patience: float = PATIENCE) -> None:
        self.servers = list(servers)
        self._patience = patience
        self._waiting = 0
        self.failures = 0

    async def ask(self, wire: bytes, *, stream: bool) -> bytes | None:
        """The answer to a question, with the asker's number; None if nobody answers."""
        if self._waiting >= WAITING_MAX:
            self.failures += 1
            return None
        self._waiting += 1
        try:
            number = secrets.token_bytes(2)
            sent = number + wire[2:]
            for server in list(self.servers):
                with contextlib.suppress(OSError, TimeoutError, EOFError):
                    async with asyncio.timeout(self._patience):
                        answer = await (_by_tcp if stream else _by_udp)(server, sent)
                    return wire[:2] + answer[2:]
                self._put_last(server)
            self.failures += 1
            return None
        finally:
            self._waiting -= 1

    def _put_last(self, server: Server) -> None:
        if len(self.servers) > 1 and self.servers[0] == server:
            self.servers.append(self.servers.pop(0))
            log.warning("upstream %s port %d does not answer; %s is asked first now", *server, self.servers[0][0])


def answers(sent: bytes, got: bytes) -> bool:
    """Whether this is the answer to that: the same number and the very same question."""
    end = _question_end(sent)
    return len(got) >= end and got[2] & 0x80 != 0 and got[:2] == sent[:2] and got[4:6] == sent[4:6] and (
        got[12:end].lower() == sent[12:end].lower()
    )  # fmt: skip


def _question_end(wire: bytes) -> int:
    """Where the first question ends. The message has been parsed; its name may end in a pointer (two bytes)."""
    at = 12
    while 0 < wire[at] < 0xC0:
        at += 1 + wire[at]
    return at + (6 if wire[at] else 5)


class _Once(asyncio.DatagramProtocol):
    def __init__(self, sent: bytes) -> None:
        self._sent = sent
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if answers(self._sent, data) and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _by_udp(server: Server, sent: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, once = await loop.create_datagram_endpoint(lambda: _Once(sent), remote_addr=server)
    try:
        transport.sendto(sent)
        return await once.answer
    finally:
        once.answer.cancel()
        transport.close()


async def _by_tcp(server: Server, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(sent).to_bytes(2) + sent)
        got = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        if not answers(sent, got):
            raise OSError("the answer is not to what was asked")
        return got
    finally:
        writer.close()
