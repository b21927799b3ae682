"""The health server: what it answers, also to nonsense, and that nothing stops it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from netlab.base.errors import MachineError
from netlab.daemons import health
from netlab.daemons.flanneld import metrics
from netlab.daemons.health import Health

Ask = Callable[[bytes], Awaitable[bytes]]


def serving(body: Callable[[Ask, dict[str, str | None]], Awaitable[None]]) -> None:
    """A test with a server on loopback. The second argument holds why it is not ready."""

    async def run() -> None:
        state: dict[str, str | None] = {"why": "just started"}

        def metrics(names: Collection[str]) -> bytes:
            if state["why"] == "broken":
                raise RuntimeError("no figures")
            return b"figures 1\n"

        server = await Health("thing", lambda: state["why"], metrics).serve("127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def ask(request: bytes) -> bytes:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
                return answer

        try:
            await body(ask, state)
        finally:
            server.close()
            await server.wait_closed()

    asyncio.run(run())


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.30\r\n\r\n".encode()


def test_lives_is_ready_and_counts() -> None:
    async def body(ask: Ask, state: dict[str, str | None]) -> None:
        assert (await ask(get("/healthz"))).startswith(b"HTTP/1.1 200 OK\r\n")
        answer = await ask(get("/readyz?verbose"))
        assert answer.startswith(b"HTTP/1.1 503 ") and answer.endswith(b"\r\n\r\nnot ready: just started\n")
        state["why"] = None
        answer = await ask(get("/readyz"))
        assert answer.startswith(b"HTTP/1.1 200 ") and b"Content-Length: 6\r\n" in answer
        assert b"version=0.0.4" in await ask(get("/metrics"))

    serving(body)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/"), b"404"),
        (get("/healthz", "POST"), b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"\xff\xfe \x00 \x01\r\n\r\n", b"405"),
    ],
)
def test_what_makes_no_sense_is_answered(request_: bytes, status: bytes) -> None:
    async def body(ask: Ask, state: dict[str, str | None]) -> None:
        assert (await ask(request_)).split()[1] == status

    serving(body)


def test_head_has_the_length_and_no_body() -> None:
    async def body(ask: Ask, state: dict[str, str | None]) -> None:
        answer = await ask(get("/healthz", "HEAD"))
        assert b"Content-Length: 17\r\n" in answer and answer.endswith(b"\r\n\r\n")

    serving(body)


def test_those_who_say_nothing_or_too_much_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)

    async def body(ask: Ask, state: dict[str, str | None]) -> None:
        assert await ask(b"GET /healthz HTTP/1.1\r\n") == b""
        assert await ask(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20000) == b""
        assert b" 200 " in await ask(get("/healthz"))

    serving(body)


def test_figures_that_cannot_be_had_are_an_error_of_the_server() -> None:
    async def body(ask: Ask, state: dict[str, str | None]) -> None:
        state["why"] = "broken"
        assert (await ask(get("/metrics"))).split()[1] == b"500"
        assert b" 200 " in await ask(get("/healthz"))

    serving(body)


def test_an_address_that_is_taken() -> None:
    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(MachineError, match=f"on 127.0.0.1:{port}"):
                await Health("thing", lambda: None, lambda _: b"").serve("127.0.0.1", port)

    asyncio.run(body())


class Peers:
    """A data path of three peers."""

    def samples(self) -> Iterator[tuple[str, dict[str, str], int]]:
        for name in ("tx", "rx"):
            yield "packets", {"direction": name}, 7
            yield "drops", {"direction": name, "reason": "no_route"}, 2
        for peer in ("10.168.0.3", "10.168.0.4", "10.168.0.5"):
            for name in ("tx", "rx"):
                yield "packets", {"peer": peer, "direction": name}, 1 << 60
        yield "blocked", {}, 3


def test_the_figures_of_flanneld_are_prometheus_text() -> None:
    page = metrics.text(metrics.Figures(leases=3, lease_expires=1.7e9), Peers()).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert families["flannel_leases"].samples[0].value == 3
    assert families["flannel_udp_packets"].type == "counter"
    assert {s.labels["direction"]: s.value for s in families["flannel_udp_packets"].samples} == {"tx": 7, "rx": 7}
    peers = families["flannel_udp_peer_packets"].samples
    assert [(s.name, s.labels["peer"]) for s in peers][::2] == [
        ("flannel_udp_peer_packets_total", f"10.168.0.{n}") for n in (3, 4, 5)
    ]
    assert families["flannel_udp_blocked"].samples[0].labels == {}
    assert page.count("# TYPE flannel_udp_peer_packets_total counter") == 1
