"""The kubelet's HTTPS: who asks is looked at first, then what is asked for, then the streams begin.

Whoever has no certificate of the cluster's is told whether the kubelet lives, and nothing else. Errors are plain text,
as the original's; the API server makes a Status of them.
Source: kubernetes pkg/kubelet/server (paths, parameters, texts).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
from aiohttp import web

from netlab.api import Json, times
from netlab.base import upgrades
from netlab.base.aio import in_thread
from netlab.base.errors import MachineError, NetlabError
from netlab.kubelet import logs
from netlab.kubelet.serving import Pods, channels, forward, remote, stats
from netlab.kubelet.serving.access import Access, asks, who
from netlab.kubelet.serving.remote import Asked, Remote
from netlab.kubelet.serving.sessions import Messages, Session, Tcp
from netlab.runtime.containers import NoContainer
from netlab.runtime.execs import AtTerminal, NotStarted, Piped
from netlab.runtime.streams import Unattachable, attach, dial

log = logging.getLogger("kubelet.server")

PORT = 10250
#: seconds between pings of a WebSocket that is silent
HEARTBEAT = 30.0
_KINDS = ("initContainers", "containers", "ephemeralContainers")
_VERSION = "X-Stream-Protocol-Version"


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def truthy(request: web.Request, name: str) -> bool:
    """A boolean parameter, as Go reads it."""
    return request.query.get(name, "") in ("1", "t", "T", "true", "TRUE", "True")


class Server:
    """One node's. pods: the kubelet; access: who may; bind: the addresses to listen on, in the caller's network
    namespace. `start` and `aclose`."""

    def __init__(self, pods: Pods, access: Access, *, cert: Path, key: Path, client_ca: Path) -> None:
        self._pods, self._access = pods, access
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self.renew(cert, key)
        self._tls.load_verify_locations(client_ca)
        self._tls.verify_mode = ssl.CERT_OPTIONAL
        app = web.Application(middlewares=[self._checked])
        app.router.add_get("/healthz", self._healthz)
        for path in ("/pods", "/pods/"):
            app.router.add_get(path, self._list)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        streams: tuple[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]], ...] = (
            ("exec", "/{container}", self._exec), ("attach", "/{container}", self._attach),
            ("portForward", "", self._forward),
        )  # fmt: skip
        for name, rest, handler in streams:
            for pod in ("{namespace}/{pod}", "{namespace}/{pod}/{uid}"):
                for method in ("GET", "POST"):
                    app.router.add_route(method, f"/{name}/{pod}{rest}", handler)
        for path, page in (("/metrics", stats.own), ("/metrics/resource", stats.resource),
                           ("/metrics/cadvisor", stats.cadvisor)):  # fmt: skip
            app.router.add_get(path, self._metrics(page))
        app.router.add_get("/stats/summary", self._summary)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)

    async def start(self, addresses: Sequence[str] = ("0.0.0.0",), port: int = PORT) -> int:
        """Answer; the port, which is another if 0 was asked for. MachineError if it is taken."""
        await self._runner.setup()
        try:
            for address in addresses:
                await web.TCPSite(self._runner, address, port, ssl_context=self._tls, reuse_address=True).start()
                port = self._runner.addresses[-1][1]
        except OSError as e:
            await self._runner.cleanup()
            raise MachineError(f"the kubelet cannot listen on port {port}: {e.strerror}", hint="choose another") from e
        return port

    def renew(self, cert: Path, key: Path) -> None:
        """Show this certificate to whoever connects from now on."""
        self._tls.load_cert_chain(cert, key)

    async def aclose(self) -> None:
        """End all streams; what was run in containers by exec ends with them."""
        await self._runner.cleanup()

    @web.middleware
    async def _checked(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if request.path != "/healthz":
                user = who(request)
                if user is None:
                    raise Refused(401, "Unauthorized")
                verb, part = asks(request.method, request.path)
                if not await self._access.allowed(user, verb, part):
                    name = self._pods.node
                    raise Refused(403, f"Forbidden (user={user.name}, verb={verb}, resource=nodes, "
                                       f"subresource({part})={name})")  # fmt: skip
            return await handler(request)
        except Refused as e:
            return web.Response(status=e.code, text=f"{e.text}\n")
        except (web.HTTPException, ConnectionError):
            raise
        except NetlabError as e:
            return web.Response(status=500, text=f"{e.message}\n")
        except Exception:
            log.exception("%s %s", request.method, request.path)
            return web.Response(status=500, text="an error on the node has prevented the request from succeeding\n")

    async def _healthz(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _list(self, _: web.Request) -> web.StreamResponse:
        found: Json = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(self._pods.all())}
        return web.Response(body=orjson.dumps(found), content_type="application/json")

    def _metrics(self, page: Callable[[stats.Sample], bytes]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(_: web.Request) -> web.StreamResponse:
            body = await stats.measured(self._pods, page)
            return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

        return handler

    async def _summary(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=await stats.measured(self._pods, stats.summary), content_type="application/json")

    # -- which container

    def _pod(self, request: web.Request) -> Json:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        pod = self._pods.get(namespace, name)
        uid = request.match_info.get("uid", "")
        if pod is None or (uid and pod["metadata"].get("uid") != uid):
            raise Refused(404, "pod does not exist")
        return pod

    async def _running(self, request: web.Request, otherwise: str) -> str:
        """The runtime's name of a container, which runs. otherwise: what is said if it does not."""
        self._pod(request)
        found = request.match_info
        name = self._pods.container_id(found["namespace"], found["pod"], found["container"])
        with contextlib.suppress(NoContainer):
            if name is not None and (await in_thread(self._pods.runtime.status, name)).state == "running":
                return name
        raise Refused(500, otherwise)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        found = request.match_info
        pod = self._pods.get(found["namespace"], found["pod"])
        if pod is None:
            raise Refused(404, f'pod "{found["pod"]}" does not exist')
        if not any(c["name"] == found["container"] for kind in _KINDS for c in pod["spec"].get(kind) or ()):
            raise Refused(404, f'container "{found["container"]}" not found in pod "{found["pod"]}"')
        wanted, previous = _wanted(request), truthy(request, "previous")
        if why := unavailable(pod, found["container"], previous=previous):
            raise Refused(400, why)
        name = self._pods.container_id(found["namespace"], found["pod"], found["container"], previous=previous)
        if name is None:
            raise Refused(400, f'container "{found["container"]}" in pod "{found["pod"]}" is not available')
        path = Path(self._pods.runtime.status(name).log)
        if not path.exists():
            raise Refused(400, f"failed to try resolving symlinks in path {str(path)!r}: no such file or directory")
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for data in logs.read(path, wanted, ended=lambda: logs.until_written(self._pods.runtime, name)):
            await response.write(data)
        await response.write_eof()
        return response

    # -- streams

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        absent = f'container not found ("{request.match_info["container"]}")'
        name, asked = await self._running(request, absent), _asked(request)
        argv = request.query.getall("command", [])
        if not argv:
            raise Refused(400, "you must specify at least one command")

        async def work(client: Remote) -> Json:
            try:
                kind = AtTerminal if asked.tty else Piped
                async with kind(self._pods.runtime, name, argv, stdin=asked.stdin) as program:
                    await remote.joined(client, program)
                    return remote.exited(argv, await program.wait())
            except NotStarted as e:
                return remote.failed(f"error executing command in container: failed to exec in container: {e.message}")

        return await self._streamed(request, asked, work)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        absent = "container {container} not found in pod {pod}_{namespace}".format_map(request.match_info)
        name, asked = await self._running(request, absent), _asked(request)

        async def work(client: Remote) -> Json:
            try:
                async with attach(self._pods.runtime, name, stdin=asked.stdin) as program:
                    await remote.joined(client, program)
                    return remote.SUCCESS
            except Unattachable as e:
                return remote.failed(f"error attaching to container: {e.message}")

        return await self._streamed(request, asked, work)

    async def _streamed(
        self, request: web.Request, asked: Asked, work: Callable[[Remote], Awaitable[Json]]
    ) -> web.StreamResponse:
        """The upgrade that the client asks for, then the work while it is there."""
        if not (asked.stdin or asked.stdout or asked.stderr):
            raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr")

        if _upgrade(request) == "websocket":
            protocol, ws = await self._websocket(request, channels.REMOTE)
            client = remote.OverChannels(ws, asked, protocol)
            await client.begin()
            await remote.while_there(client, lambda: _work(work, client))
            return ws
        version = _version(request, remote.SPDY_VERSIONS)
        found: list[remote.OverSpdy] = []
        session = Session(Tcp(*self._spdy(request, version)), lambda stream: found[0].opened(stream))
        over = remote.OverSpdy(session, asked, version)
        found.append(over)

        async def begin() -> Json:
            try:
                await over.complete()
            except TimeoutError:
                return remote.failed("timed out waiting for client to create streams")
            return await work(over)

        await remote.while_there(over, begin)
        return upgrades.Taken(101)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        name, uid = pod["metadata"]["name"], pod["metadata"].get("uid", "")
        where = self._pods.netns(request.match_info["namespace"], name)
        if where is None:
            raise Refused(500, f'pod "{name}" has no sandbox that runs')

        async def connect(port: int) -> forward.Connection:
            return await dial(where, port)

        over = forward.OverSpdy(connect, pod=name, uid=uid)
        if _upgrade(request) == "websocket":
            ports = [int(p) for text in request.query.getall("port", []) for p in text.split(",") if p.isdecimal()]
            known = (*channels.forwarding(len(ports)), channels.Protocol(forward.TUNNEL))
            protocol, ws = await self._websocket(request, known)
            if protocol.name == forward.TUNNEL:
                await over.serve(Session(Messages(ws), over.opened))
            else:
                await forward.over_channels(ws, protocol, ports, connect, pod=name, uid=uid)
            return ws
        version = _version(request, (forward.PROTOCOL,))
        await over.serve(Session(Tcp(*self._spdy(request, version)), over.opened))
        return upgrades.Taken(101)

    def _spdy(self, request: web.Request, version: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = upgrades.take(request)
        writer.write(upgrades.switching([(_VERSION, version)] if version else [], "SPDY/3.1"))
        return reader, writer

    async def _websocket(
        self, request: web.Request, known: Sequence[channels.Protocol]
    ) -> tuple[channels.Protocol, web.WebSocketResponse]:
        offered = [w.strip() for line in request.headers.getall("Sec-WebSocket-Protocol", []) for w in line.split(",")]
        protocol = channels.chosen([w for w in offered if w], known)
        if protocol is None:
            raise Refused(400, f"none of the protocols {', '.join(offered)} is known here: "
                               f"{', '.join(p.name for p in known)}")  # fmt: skip
        ws = web.WebSocketResponse(
            protocols=[protocol.name] if protocol.name else (), heartbeat=HEARTBEAT, compress=False
        )
        await ws.prepare(request)
        return protocol, ws


async def _work(work: Callable[[Remote], Awaitable[Json]], client: Remote) -> Json:
    return await work(client)


def _upgrade(request: web.Request) -> str:
    wanted = request.headers.get("Upgrade", "").lower()
    tokens = [word.strip().lower() for word in request.headers.get("Connection", "").split(",")]
    if "upgrade" not in tokens or wanted not in ("websocket", "spdy/3.1"):
        raise Refused(400, "unable to upgrade: missing upgrade headers in request: "
                           "Upgrade: SPDY/3.1 or websocket was expected")  # fmt: skip
    if wanted == "websocket" and request.method != "GET":
        raise Refused(405, "a WebSocket begins with GET")
    return wanted


def _version(request: web.Request, known: Sequence[str]) -> str:
    """The newest version that both know. Who says none speaks the oldest."""
    offered = [w.strip() for line in request.headers.getall(_VERSION, []) for w in line.split(",") if w.strip()]
    if not offered:
        return ""
    found = next((version for version in offered if version in known), None)
    if found is None:
        text = f"client supports {offered}, server accepts {list(known)}"
        raise Refused(403, f"unable to upgrade: unable to negotiate protocol: {text}")
    return found


def _asked(request: web.Request) -> Asked:
    return Asked(*(truthy(request, name) for name in ("input", "output", "error", "tty")))


def _wanted(request: web.Request) -> logs.Wanted:
    def number(name: str) -> int | None:
        text = request.query.get(name)
        if text is None or not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise Refused(400, f"{name}: {text!r} is no number") from None

    since, ago = None, number("sinceSeconds")
    if ago is not None:
        since = logs.ago(ago)
    elif text := request.query.get("sinceTime"):
        try:
            since = times.parse(text).timestamp()
        except times.TimeError as e:
            raise Refused(400, f"sinceTime: {e}") from e
    stream = {"Stdout": "stdout", "Stderr": "stderr"}.get(request.query.get("stream", ""), "")
    return logs.Wanted(
        follow=truthy(request, "follow"), timestamps=truthy(request, "timestamps"), since=since,
        tail=number("tailLines"), limit=number("limitBytes"), stream=stream,
    )  # fmt: skip


def unavailable(pod: Json, container: str, *, previous: bool) -> str:
    """Why there is no log of a container; "" if there should be one."""
    state, where = pod.get("status") or {}, f'container "{container}" in pod "{pod["metadata"]["name"]}"'
    listed = [s for kind in _KINDS for s in state.get(f"{kind.removesuffix('s')}Statuses") or ()]
    found = next((s for s in listed if s.get("name") == container), None)
    if found is None:
        return f"{where} is not available"
    now, last = found.get("state") or {}, (found.get("lastState") or {}).get("terminated") or {}
    if previous:
        return "" if last.get("containerID") else f"previous terminated {where} not found"
    if now.get("running") or (now.get("terminated") or {}).get("containerID") or last.get("containerID"):
        return ""
    reason = (now.get("waiting") or {}).get("reason") or (now.get("terminated") or {}).get("reason")
    if not reason:
        return f"{where} is waiting to start - no logs yet"
    why = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
    return f"{where} is waiting to start: {why.get(reason, reason)}"
