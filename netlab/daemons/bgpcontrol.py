"""Doors into a running bgpd: a UNIX socket for `netlab bgp`, and HTTP for health and metrics.

The socket speaks JSON lines: a request {"verb": …, …}, one answer {"ok": …} or {"error": …}. Long answers are one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from netlab.base.errors import InputError, MachineError, NetlabError
from netlab.bgp import views
from netlab.bgp.codes import RESET, Notification
from netlab.bgp.fsm import State
from netlab.bgp.speaker import Speaker

if TYPE_CHECKING:
    from aiohttp import web

#: octets of a request, and of an answer (100,000 routes with all their paths are about 60 MB)
REQUEST_MAX, ANSWER_MAX = 1 << 16, 1 << 30
TIMEOUT = 60.0


class Control:
    """The server side. reload, end: what the daemon does about them; end takes whether to leave quietly."""

    def __init__(
        self, speaker: Speaker, reload: Callable[[], Awaitable[dict[str, Any]]], end: Callable[[bool], None]
    ) -> None:
        self._speaker, self._reload, self._end = speaker, reload, end
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    async def start(self, path: Path) -> None:
        """Listen. MachineError."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # the lock beside it is ours, so nobody listens there
            self._server = await asyncio.start_unix_server(self._serve, str(path), limit=REQUEST_MAX)
            path.chmod(0o600)
        except OSError as e:
            raise MachineError(f"the control socket {path} cannot be made: {e.strerror}") from e

    async def stop(self) -> None:
        """Close and remove it."""
        if self._server is not None:
            self._server.close()
            self._server = None
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(orjson.dumps(await self._answer(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or did not ask for anything
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = orjson.loads(line)
            return {"ok": await self._do(request)}
        except NetlabError as e:
            return e.as_json()
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            return InputError(f"the request makes no sense: {e!r}").as_json()

    async def _do(self, request: dict[str, Any]) -> Any:
        speaker, verb = self._speaker, request["verb"]
        family, prefix, peer = request.get("family"), request.get("prefix"), request.get("peer")
        match verb:
            case "summary":
                return views.summary(speaker)
            case "neighbors":
                return views.neighbors(speaker, peer)
            case "rib":
                return list(views.told_to(speaker, peer) if peer else views.rib(speaker, family=family, prefix=prefix))
            case "routes":
                return list(views.routes(speaker, family=family))
            case "explain":
                return views.explain(speaker, str(prefix))
            case "reload":
                return await self._reload()
            case "refresh":
                views.neighbors(speaker, peer)
                found = [p for p in speaker.peers.values() if peer in (None, p.config.name, str(p.config.address))]
                return {"asked": sum(speaker.ask_refresh(p) for p in found)}
            case "reset":
                views.neighbors(speaker, peer)
                for p in speaker.peers.values():
                    if peer in (None, p.config.name, str(p.config.address)):
                        p.reset(Notification.ceasing(RESET, str(request.get("text") or "")))
                return {"reset": peer}
            case "stop":
                self._end(bool(request.get("quietly")))
                return {"stopping": True}
        raise InputError(f"unknown verb {verb!r}")


def ask(path: Path, request: dict[str, Any]) -> Any:
    """The client side: a question, its answer. MachineError if nobody answers; the daemon's own errors as they are."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(str(path))
            sock.sendall(orjson.dumps(request) + b"\n")
            with sock.makefile("rb") as stream:
                line = stream.readline(ANSWER_MAX)
    except (FileNotFoundError, ConnectionRefusedError) as e:
        raise MachineError(f"no bgpd answers at {path}", hint="start one: netlab bgpd --config FILE") from e
    except OSError as e:
        raise MachineError(f"the bgpd at {path} does not answer: {e.strerror or e}") from e
    if not line:
        raise MachineError(f"the bgpd at {path} ended before it answered")
    answer = orjson.loads(line)
    if "ok" not in answer:
        error = InputError if answer.get("exit_status") == 2 else NetlabError
        raise error(str(answer.get("error")), hint=answer.get("hint"))
    return answer["ok"]


class Metrics:
    """/healthz, /readyz and /metrics."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. MachineError."""
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as e:
            raise MachineError(f"cannot listen on {host} port {port}: {e.strerror}") from e

    async def stop(self) -> None:
        """Close."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        """Ready when our own restart is over and the kernel takes what it is given."""
        from aiohttp import web

        if self._speaker.restarting:
            return web.Response(status=503, text="restarting: waiting for the peers' routes\n")
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="".join(exposition(self._speaker)), content_type="text/plain", charset="utf-8")


def exposition(speaker: Speaker) -> Iterator[str]:
    """The metrics in Prometheus's text format (0.0.4)."""

    def metric(name: str, kind: str, help_: str) -> str:
        return f"# HELP netlab_bgp_{name} {help_}\n# TYPE netlab_bgp_{name} {kind}\n"

    yield metric("peer_up", "gauge", "Whether the session is established.")
    for name, peer in speaker.peers.items():
        yield f'netlab_bgp_peer_up{{peer="{name}"}} {int(peer.state is State.ESTABLISHED)}\n'
    yield metric("peer_received_prefixes", "gauge", "Prefixes that the peer has announced, refused ones included.")
    for name, peer in speaker.peers.items():
        for family in peer.config.families:
            count = peer.source.counts.get(family, 0)
            yield f'netlab_bgp_peer_received_prefixes{{peer="{name}",family="{family.label}"}} {count}\n'
    yield metric("peer_messages_total", "counter", "Messages by direction and type.")
    for name, peer in speaker.peers.items():
        for direction, counts in (("in", peer.stats.received), ("out", peer.stats.sent)):
            for kind, count in sorted(counts.items()):
                labels = f'peer="{name}",direction="{direction}",type="{kind}"'
                yield f"netlab_bgp_peer_messages_total{{{labels}}} {count}\n"
    yield metric("peer_established_total", "counter", "Sessions that came up.")
    for name, peer in speaker.peers.items():
        yield f'netlab_bgp_peer_established_total{{peer="{name}"}} {peer.stats.established}\n'
    yield metric("peer_faults_total", "counter", "Malformed UPDATEs that the session survived (RFC 7606).")
    for name, peer in speaker.peers.items():
        yield f'netlab_bgp_peer_faults_total{{peer="{name}"}} {peer.stats.faults}\n'
    yield metric("routes", "gauge", "Prefixes in the table.")
    for family, table in speaker.tables.items():
        yield f'netlab_bgp_routes{{family="{family.label}"}} {len(table.entries)}\n'
    yield metric("kernel_routes", "gauge", "Routes that the kernel was asked for.")
    yield f"netlab_bgp_kernel_routes {len(speaker.fib.installed)}\n"
    yield metric("kernel_errors_total", "counter", "Refusals of the kernel.")
    yield f"netlab_bgp_kernel_errors_total {speaker.kernel_errors}\n"
    yield metric("resident_memory_bytes", "gauge", "Memory of the process.")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    yield f"netlab_bgp_resident_memory_bytes {pages * os.sysconf('SC_PAGE_SIZE')}\n"
