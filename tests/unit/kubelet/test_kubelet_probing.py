"""When an answer of a probe counts; who is asked when; how questions and answers are worded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from patience import patience
from podvalues import NOW, container

from netlab.kubelet import health
from netlab.kubelet.handlers import Asker, Outcome, Ran, Target
from netlab.kubelet.needs import Clock
from netlab.kubelet.probing import Prober, Tally, counted
from netlab.kubelet.seen import Health

GOOD, BAD, UNKNOWN = Outcome("success"), Outcome("failure", "no"), Outcome("unknown", "nobody")


def test_answers_count_when_there_are_enough_in_a_row() -> None:
    probe = {"successThreshold": 2, "failureThreshold": 3}
    tally, seen = Tally(False), []
    for good in (True, False, True, True, False, False, True, False, False, False, False):
        tally = counted(tally, good, probe)
        seen.append(tally.verdict)
    assert seen == [False, False, False, True, True, True, True, True, True, False, False]


class Held(Clock):
    """Time passes when everybody sleeps."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


def probed(answers: dict[str, list[Outcome]], spec: dict[str, Any], begin: Health | None = None) -> list[Any]:
    """What a prober tells: (seconds, health), complaints among it, until the answers are used up."""
    told: list[Any] = []
    clock = Held()

    async def ask(probe: Any, target: Target, seconds: float) -> Outcome:
        listed = answers[probe["kind"]]
        if not listed:
            raise asyncio.CancelledError
        return listed.pop(0)

    def tell(found: Health) -> None:
        told.append((clock.time - NOW, found))

    async def run() -> None:
        prober = Prober(
            ask, Target(id="c0", ip="10.0.0.5", container=spec), started=NOW, health=begin or Prober.first(spec),
            told=tell, complain=lambda kind, o: told.append((clock.time - NOW, kind, o.output)), clock=clock,
        )  # fmt: skip
        await asyncio.gather(prober.run(), return_exceptions=True)

    asyncio.run(run())
    return told


def probe(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "periodSeconds": 2, "failureThreshold": 2, **more}


def test_readiness_comes_and_goes() -> None:
    spec = container(readinessProbe=probe("r", initialDelaySeconds=5))
    told = probed({"r": [BAD, GOOD, BAD, BAD, UNKNOWN, GOOD]}, spec)
    assert told == [
        (5, "readiness", "no"), (7, Health(ready=True)), (9, "readiness", "no"), (11, "readiness", "no"),
        (11, Health(ready=False)), (13, "readiness", "nobody"), (15, Health(ready=True)),
    ]  # fmt: skip


def test_what_liveness_has_given_up_is_asked_no_more() -> None:
    told = probed({"l": [GOOD, BAD, BAD, GOOD]}, container(livenessProbe=probe("l")))
    assert told == [(2, "liveness", "no"), (4, "liveness", "no"), (4, Health(failed="liveness"))]


def test_startup_comes_first() -> None:
    spec = container(startupProbe=probe("s"), readinessProbe=probe("r"), livenessProbe=probe("l"))
    told = probed({"s": [BAD, GOOD], "r": [GOOD], "l": []}, spec)
    assert told[:3] == [
        (0, "startup", "no"), (2, Health(started=True, ready=False)), (2, Health(started=True, ready=True)),
    ]  # fmt: skip
    told = probed({"s": [BAD, BAD]}, spec)
    assert told[-1] == (2, Health(started=False, ready=False, failed="startup"))


# -- questions over real sockets


async def nobody(id: str, argv: Sequence[str], seconds: float) -> Ran:
    raise AssertionError("no command is run")


def asking(test: Callable[[Asker], Awaitable[None]], run: Any = nobody) -> None:
    async def whole() -> None:
        asker = Asker(run)
        try:
            async with asyncio.timeout(patience(30)):
                await test(asker)
        finally:
            await asker.aclose()

    asyncio.run(whole())


def target(**more: Any) -> Target:
    return Target(id="c0", ip="127.0.0.1", container=container(**more))


def test_http_and_tcp() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/moved":
            raise web.HTTPFound("/ok")
        if request.path == "/slow":
            await asyncio.sleep(60)
        return web.Response(text=request.headers.get("X-A", ""), status=200 if request.path == "/ok" else 503)

    async def test(asker: Asker) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        there = target(ports=[{"name": "web", "containerPort": port}])

        async def get(path: str, **more: Any) -> Outcome:
            return await asker.ask({"httpGet": {"path": path, "port": "web", **more}}, there, more.pop("wait", 20))

        assert await get("/ok", httpHeaders=[{"name": "X-A", "value": "b"}]) == Outcome("success", "b")
        assert (await get("/moved")).ok
        assert await get("/bad") == Outcome("failure", "HTTP probe failed with statuscode: 503")
        slow = await asker.ask({"httpGet": {"path": "slow", "port": port}}, there, 0.2)
        assert slow.output == f'Get "http://127.0.0.1:{port}/slow": context deadline exceeded ' \
            "(Client.Timeout exceeded while awaiting headers)"  # fmt: skip
        assert (await asker.ask({"tcpSocket": {"port": port}}, there, 20)).ok
        await runner.cleanup()
        refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
        assert await asker.ask({"tcpSocket": {"port": port}}, there, 20) == Outcome("failure", refused)
        assert (await get("/ok")).output == f'Get "http://127.0.0.1:{port}/ok": {refused}'
        assert (await asker.ask({"tcpSocket": {"port": "no"}}, there, 20)).result == "unknown"

    asking(test)


def test_commands() -> None:
    async def run(id: str, argv: Sequence[str], seconds: float) -> Ran:
        return {"ok": Ran("fine", 0), "bad": Ran("oh", 2), "slow": Ran("", -1, True)}[argv[0]]

    async def test(asker: Asker) -> None:
        said = [await asker.ask({"exec": {"command": [c]}}, target(), 1) for c in ("ok", "bad", "slow")]
        assert said == [
            Outcome("success", "fine"), Outcome("failure", "oh"),
            Outcome("failure", 'command timed out: "slow" timed out after 1s'),
        ]  # fmt: skip
        assert (await asker.ask({"sleep": {"seconds": 0}}, target(), 1)).ok
        assert (await asker.ask({}, target(), 1)).result == "unknown"

    asking(test, run)


def test_grpc_over_a_real_http2_connection() -> None:
    """A server made of the same library as the client is, which knows three services."""
    import h2.config
    import h2.connection
    import h2.events

    known = {b"": b"\x08\x01", b"\x0a\x02up": b"\x08\x01", b"\x0a\x04down": b"\x08\x02"}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        asked = b""
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    asked += event.data or b""
                if isinstance(event, h2.events.StreamEnded):
                    headers = [(":status", "200"), ("content-type", "application/grpc")]
                    message = known.get(asked[5:])
                    stream = event.stream_id
                    assert stream is not None
                    if message is None:
                        missing = [("grpc-status", "5"), ("grpc-message", "unknown service")]
                        connection.send_headers(stream, [*headers, *missing], end_stream=True)
                    else:
                        connection.send_headers(stream, headers)
                        connection.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message)
                        connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            writer.write(connection.data_to_send())
        writer.close()

    async def test(asker: Asker) -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def ask(service: str) -> Outcome:
            return await asker.ask({"grpc": {"port": port, "service": service}}, target(), 20)

        assert await ask("") == await ask("up") == Outcome("success", 'service healthy (responded with "SERVING")')
        assert await ask("down") == Outcome("failure", 'service unhealthy (responded with "NOT_SERVING")')
        assert await ask("else") == Outcome("failure", "error: health rpc probe failed: unknown service")
        server.close()
        await server.wait_closed()
        assert (await ask("up")).result == "failure"

    asking(test)
    assert health.request("") == b"\0\0\0\0\0"
    assert health.status_of(b"") == 0
