"""The way from the API server to nodes and pods: where they answer, and what is carried between them and a client.

Kubelets are asked over TLS, with the server's own client certificate, at the address and port that their Node tells.
An answer is passed on as it comes; a connection that becomes another protocol is carried byte for byte.
Source: kubernetes pkg/kubelet/client, apimachinery pkg/util/proxy (upgradeaware.go).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from netlab.api import status
from netlab.apiserver import objects
from netlab.base import upgrades
from netlab.store.protocol import Store

#: which of a node's addresses is taken, the best first
ADDRESSES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
PORT = 10250
#: seconds to connect; bytes of a head, and of the text of an error that is passed on
CONNECT, HEAD_MAX, ERROR_MAX = 10.0, 64 * 1024, 64 * 1024
#: headers that are of one connection, not of what goes over it (RFC 9110 section 7.6.1); and who the client was
_HOP = frozenset(("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
                  "trailer", "transfer-encoding", "upgrade"))  # fmt: skip
_WHO = ("authorization", "impersonate-")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go. tls: None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    def url(self, target: str) -> URL:
        """Of a path with its query, both encoded already."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return URL(f"{'https' if self.tls else 'http'}://{host}:{self.port}{target}", encoded=True)


def unreached(e: Exception, place: Place) -> str:
    """Why, in the words of Go."""
    cause: BaseException = e.os_error if isinstance(e, aiohttp.ClientConnectorError) else e
    if isinstance(cause, ConnectionRefusedError):
        why = "connect: connection refused"
    elif isinstance(cause, TimeoutError):
        why = "i/o timeout"
    elif isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {cause.verify_message}"
    else:
        why = (cause.strerror if isinstance(cause, OSError) else "") or str(cause) or type(cause).__name__
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"dial tcp {host}:{place.port}: {why}"


def dial_error(e: Exception, place: Place) -> status.ApiError:
    """That a connection could not be made."""
    return status.ApiError(500, "", f"error dialing backend: {unreached(e, place)}")


def passed_on(headers: Sequence[tuple[str, str]], *, upgrade: bool = False) -> CIMultiDict[str]:
    """The headers of a request or an answer without those that are not for the next. upgrade: those are kept."""
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(_WHO) or lower == "host":
            continue
        if lower not in _HOP or (upgrade and lower in ("connection", "upgrade")):
            kept.add(name, value)
    return kept


def upgrading(request: web.BaseRequest) -> bool:
    """Whether a request asks for another protocol."""
    tokens = [word.strip().lower() for word in request.headers.get("Connection", "").split(",")]
    return "upgrade" in tokens and bool(request.headers.get("Upgrade"))


class Kubelets:
    """tls: with the server's client certificate and the CA of the kubelets'."""

    def __init__(self, store: Store, tls: ssl.SSLContext) -> None:
        self._store, self._tls = store, tls
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def place(self, node: str) -> Place:
        """Where a node's kubelet answers. ApiError 404, 500."""
        kv, _ = await self._store.get(f"/registry/minions/{node}")
        if kv is None:
            raise status.not_found("nodes", "", node)
        state = objects.load(kv).get("status") or {}
        known = {a.get("type"): str(a.get("address")) for a in state.get("addresses") or ()}
        host = next((known[kind] for kind in ADDRESSES if kind in known), None)
        if host is None:
            raise status.ApiError(500, "", f"no preferred addresses found; known addresses: {list(known.values())}")
        port = ((state.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or PORT
        return Place(host, int(port), self._tls)

    # -- plain requests

    async def request(
        self, method: str, place: Place, target: str, headers: CIMultiDict[str] | None = None,
        data: AsyncIterator[bytes] | None = None,
    ) -> aiohttp.ClientResponse:  # fmt: skip
        """An answer, as far as its head. aiohttp.ClientError, TimeoutError. Close it."""
        if self._session is None:  # made in the loop that uses it
            self._session = aiohttp.ClientSession(
                auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                connector=aiohttp.TCPConnector(limit=0),
            )  # fmt: skip
        return await self._session.request(
            method, place.url(target), headers=headers, data=data, ssl=place.tls or False, allow_redirects=False
        )

    async def passed(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        """Pass an answer on, as fast as the client takes it."""
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        if "Content-Length" not in headers and request.method != "HEAD" and answer.status not in (204, 304):
            response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                async for data in answer.content.iter_any():
                    await response.write(data)
                await response.write_eof()
        except aiohttp.ClientError as e:  # the server behind broke off: the client is to see that it is not all
            raise ConnectionResetError(str(e)) from e
        finally:
            answer.close()
        return response

    # -- other protocols

    async def tunnel(
        self, request: web.BaseRequest, place: Place, target: str, method: str | None = None
    ) -> web.StreamResponse:
        """Ask for another protocol as the client does, and carry that both ways. ApiError if there is no connection."""
        try:
            async with asyncio.timeout(CONNECT):
                reader, writer = await asyncio.open_connection(
                    place.host, place.port, ssl=place.tls, limit=upgrades.LIMIT
                )
        except (OSError, TimeoutError) as e:
            raise dial_error(e, place) from e
        try:
            kept = passed_on(list(request.headers.items()), upgrade=True)
            host = f"[{place.host}]" if ":" in place.host else place.host
            lines = [("Host", f"{host}:{place.port}"), *kept.items()]
            writer.write(upgrades.head(f"{method or request.method} {target} HTTP/1.1", lines))
            try:
                said = await reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as e:
                raise status.ApiError(500, "", "error dialing backend: the node broke off") from e
            code, headers = _answer(said)
            if code != 101:
                return await _refusal(reader, code, headers)
            client = upgrades.take(request)
            client[1].write(said)
            await upgrades.joined(client, (reader, writer))
            return upgrades.Taken(101)
        finally:
            writer.close()


def _answer(said: bytes) -> tuple[int, CIMultiDict[str]]:
    first, *lines = said.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise status.ApiError(500, "", "error dialing backend: malformed HTTP response")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.add(name.strip(), value.strip())
    return int(words[1]), headers


async def _refusal(reader: asyncio.StreamReader, code: int, headers: CIMultiDict[str]) -> web.Response:
    """An answer that is no upgrade, passed on."""
    length = headers.get("Content-Length", "")
    size = min(int(length), ERROR_MAX) if length.isdecimal() else 0
    try:
        body = await reader.readexactly(size)
    except asyncio.IncompleteReadError as e:
        body = e.partial
    kind = headers.get("Content-Type", "text/plain; charset=utf-8")
    return web.Response(status=code, body=body, headers={"Content-Type": kind})
