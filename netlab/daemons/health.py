"""The small HTTP server of a daemon: /healthz (it lives), /readyz (it does its work), /metrics (Prometheus).

Requests are a line and headers, answers are short and end the connection: nothing here needs an HTTP library, whose
import would take as long as the whole start of a daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qs

from netlab.base.errors import MachineError

#: bytes of a request, and seconds in which it has to be there
REQUEST_MAX, PATIENCE = 8192, 5.0
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What is said to a request. headers: beyond content type and length."""

    status: str
    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Health:
    """name: who answers; ready: None, or why not yet; metrics: the page, of some names (?name[]=…), of all if none;
    pages: what else there is, or what is answered otherwise, by path.

    What else the metrics page has than the names asked for does not matter; that it costs less does.
    """

    name: str
    ready: Callable[[], str | None]
    metrics: Callable[[Collection[str]], bytes]
    pages: Mapping[str, Callable[[], Answer]] = field(default_factory=dict)

    def answer(self, method: str, path: str) -> Answer:
        """The answer to a request."""
        if method not in ("GET", "HEAD"):
            return Answer("405 Method Not Allowed", PLAIN, b"GET or HEAD\n")
        path, _, query = path.partition("?")
        if path in self.pages:
            return self.pages[path]()
        match path:
            case "/healthz":
                return Answer("200 OK", PLAIN, f"{self.name} is running\n".encode())
            case "/readyz":
                why_not = self.ready()
                if why_not is None:
                    return Answer("200 OK", PLAIN, b"ready\n")
                return Answer("503 Service Unavailable", PLAIN, f"not ready: {why_not}\n".encode())
            case "/metrics":
                page = self.metrics(parse_qs(query).get("name[]", ()))
                return Answer("200 OK", "text/plain; version=0.0.4; charset=utf-8", page)
            case _:
                known = sorted({"/healthz", "/readyz", "/metrics", *self.pages})
                return Answer("404 Not Found", PLAIN, f"there are {', '.join(known)}\n".encode())

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Answer until the server is closed. MachineError if the address is taken or not ours."""
        return await serve(self.name, self.answer, host, port)

    @contextlib.asynccontextmanager
    async def meanwhile(self, host: str, port: int) -> AsyncIterator[None]:
        """Answer in the meantime; not at all with port 0. MachineError as above."""
        server = await self.serve(host, port) if port else None
        try:
            yield
        finally:
            if server:
                server.close()


async def serve(name: str, answer: Callable[[str, str], Answer], host: str, port: int) -> asyncio.Server:
    """Answer requests, given by method and path, until the server is closed. host: "" for every address.

    MachineError if the address is taken or not ours.
    """

    def said(method: str, path: str) -> Answer:
        try:
            return answer(method, path)
        except Exception:
            log.exception("%s cannot answer %s", name, path)
            return Answer("500 Internal Server Error", PLAIN, b"see the log\n")

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                if len(words) == 3:
                    status, kind, body, headers = said(words[0], words[1])
                else:
                    words, (status, kind, body, headers) = ["GET"], Answer("400 Bad Request", PLAIN, b"not HTTP\n")
                listed = [("Content-Type", kind), ("Content-Length", str(len(body))), *headers, ("Connection", "close")]
                lines = "\r\n".join([f"HTTP/1.1 {status}", *(f"{key}: {value}" for key, value in listed), "", ""])
                writer.write(lines.encode() + (b"" if words[0] == "HEAD" else body))
                await writer.drain()
        writer.close()

    try:
        return await asyncio.start_server(client, host or None, port, limit=REQUEST_MAX, reuse_address=True)
    except OSError as e:
        raise MachineError(
            f"{name} cannot answer health questions on {host}:{port}: {e.strerror}",
            hint="choose another address or port",
        ) from e
