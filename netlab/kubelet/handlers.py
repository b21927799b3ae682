"""One question to a container, as probes and hooks ask it: a command in it, HTTP, TCP, gRPC, or some seconds.

The node asks, from its own network. Outputs are worded as the original's, which are Go's.
Source: kubernetes pkg/probe, pkg/kubelet/lifecycle/handlers.go.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import aiohttp

from netlab.api import Json
from netlab.base.errors import NetlabError
from netlab.kubelet import health

#: bytes of an answer that are looked at
OUTPUT_MAX = 10 * 1024
AGENT = "kube-probe/1.33"
REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """result: unknown is neither: nobody could be asked."""

    result: Literal["success", "failure", "unknown"]
    output: str = ""

    @property
    def ok(self) -> bool:
        """All is well."""
        return self.result == "success"


class Ran(NamedTuple):
    """How a command in a container ended. timed_out: it was not done in time."""

    output: str
    status: int
    timed_out: bool = False


#: (container's id, command, seconds)
Exec = Callable[[str, Sequence[str], float], Awaitable[Ran]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who is asked. id: the container's; ip: the pod's, "" if it has none; container: its spec."""

    id: str
    ip: str
    container: Json


class Asker:
    """Asks. run: one more command in a container."""

    def __init__(self, run: Exec) -> None:
        self._run = run
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Nothing more is asked."""
        if self._session is not None:
            await self._session.close()

    async def ask(self, handler: Mapping[str, Any], target: Target, seconds: float) -> Outcome:
        """handler: an ExecAction, HTTPGetAction … by its name."""
        try:
            if (command := handler.get("exec")) is not None:
                return await self._exec(target, list(command.get("command") or ()), seconds)
            if (get := handler.get("httpGet")) is not None:
                return await self._http(get, target, seconds)
            if (tcp := handler.get("tcpSocket")) is not None:
                return await _tcp(tcp.get("host") or target.ip, _port(tcp.get("port"), target.container), seconds)
            if (grpc := handler.get("grpc")) is not None:
                address = target.ip, int(grpc.get("port", 0))
                return Outcome(*await health.check(*address, grpc.get("service") or "", AGENT, seconds))
            if (sleep := handler.get("sleep")) is not None:
                await asyncio.sleep(float(sleep.get("seconds", 0)))
                return Outcome("success")
        except (NetlabError, ValueError) as e:
            return Outcome("unknown", getattr(e, "message", str(e)))
        return Outcome("unknown", "missing probe handler")

    async def _exec(self, target: Target, command: list[str], seconds: float) -> Outcome:
        ran = await self._run(target.id, command, seconds)
        if ran.timed_out:
            return Outcome(
                "failure", f"command timed out: {json.dumps(' '.join(command))} timed out after {seconds:g}s"
            )
        return Outcome("success" if ran.status == 0 else "failure", ran.output[:OUTPUT_MAX])

    async def _http(self, get: Json, target: Target, seconds: float) -> Outcome:
        host, port = get.get("host") or target.ip, _port(get.get("port"), target.container)
        scheme = str(get.get("scheme") or "HTTP").lower()
        path = get.get("path") or "/"
        url = f"{scheme}://{_joined(host, port)}{path if path.startswith('/') else '/' + path}"
        headers = {"User-Agent": AGENT, "Accept": "*/*"}
        headers |= {h["name"]: h.get("value", "") for h in get.get("httpHeaders") or ()}
        if self._session is None:
            # nobody's certificate is asked for: the node knows whom it asks by the address
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, force_close=True, limit=0))
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.get(url, headers=headers, max_redirects=REDIRECTS, allow_redirects=True) as response,
            ):
                body = (await response.content.read(OUTPUT_MAX)).decode(errors="replace")
        except TimeoutError:
            return Outcome("failure", f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while '
                           "awaiting headers)")  # fmt: skip
        except aiohttp.ClientConnectorError as e:
            return Outcome("failure", f'Get "{url}": {_dialling(host, port, e.os_error)}')
        except (aiohttp.ClientError, OSError) as e:
            return Outcome("failure", f'Get "{url}": {str(e) or "EOF"}')
        if 200 <= response.status < 400:
            return Outcome("success", body)
        return Outcome("failure", f"HTTP probe failed with statuscode: {response.status}")


async def _tcp(host: str, port: int, seconds: float) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome("failure", f"dial tcp {_joined(host, port)}: i/o timeout")
    except OSError as e:
        return Outcome("failure", _dialling(host, port, e))
    writer.close()
    return Outcome("success")


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _dialling(host: str, port: int, error: OSError) -> str:
    words = {errno.ECONNREFUSED: "connection refused", errno.EHOSTUNREACH: "no route to host",
             errno.ENETUNREACH: "network is unreachable", errno.ECONNRESET: "connection reset by peer"}  # fmt: skip
    said = words.get(error.errno or 0) or error.strerror or str(error)
    return f"dial tcp {_joined(host, port)}: connect: {said}"


def _port(given: Any, container: Json) -> int:
    """A number, or the name of one of the container's ports. ValueError."""
    if isinstance(given, int):
        return given
    for port in container.get("ports") or ():
        if port.get("name") == given:
            return int(port["containerPort"])
    if str(given).isdecimal():
        return int(given)
    raise ValueError(f"couldn't find port {given!r} in container {container.get('name', '')!r}")
