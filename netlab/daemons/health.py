"""The small HTTP server of a daemon: /healthz (it lives), /readyz (it does its work), /metrics (Prometheus).

Requests are a line and headers, answers are short and end the connection: nothing here needs an HTTP library, whose
import would take as long as the whole start of a daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import parse_qs

from netlab.base.errors import MachineError

#: bytes of a request, and seconds in which it has to be there
REQUEST_MAX, PATIENCE = 8192, 5.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """name: who answers; ready: None, or why not yet; metrics: the page, of some names (?name[]=…), of all if none.

    What else the page has than the names asked for does not matter; that it costs less does.
    """

    name: str
    ready: Callable[[], str | None]
    metrics: Callable[[Collection[str]], bytes]

    def answer(self, method: str, path: str) -> tuple[str, str, bytes]:
        """Status line, content type and body for a request."""
        plain = "text/plain; charset=utf-8"
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", plain, b"GET or HEAD\n"
        path, _, query = path.partition("?")
        match path:
            case "/healthz":
                return "200 OK", plain, f"{self.name} is running\n".encode()
            case "/readyz":
                why_not = self.ready()
                if why_not is None:
                    return "200 OK", plain, b"ready\n"
                return "503 Service Unavailable", plain, f"not ready: {why_not}\n".encode()
            case "/metrics":
                page = self.metrics(parse_qs(query).get("name[]", ()))
                return "200 OK", "text/plain; version=0.0.4; charset=utf-8", page
            case _:
                return "404 Not Found", plain, b"there are /healthz, /readyz and /metrics\n"

    def _answer(self, method: str, path: str) -> tuple[str, str, bytes]:
        try:
            return self.answer(method, path)
        except Exception:
            log.exception("%s cannot answer %s", self.name, path)
            return "500 Internal Server Error", "text/plain; charset=utf-8", b"see the log\n"

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Answer until the server is closed. MachineError if the address is taken or not ours."""
        try:
            return await asyncio.start_server(self._client, host, port, limit=REQUEST_MAX, reuse_address=True)
        except OSError as e:
            raise MachineError(
                f"{self.name} cannot answer health questions on {host}:{port}: {e.strerror}",
                hint="choose another address or port",
            ) from e

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                if len(words) == 3:
                    status, kind, body = self._answer(words[0], words[1])
                else:
                    words, (status, kind, body) = ["GET"], ("400 Bad Request", "text/plain", b"not HTTP\n")
                lines = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"{lines}Connection: close\r\n\r\n".encode() + (b"" if words[0] == "HEAD" else body))
                await writer.drain()
        writer.close()
