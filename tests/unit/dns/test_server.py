"""The name server over real sockets on loopback: UDP, TCP, upstream, and strangers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dnsworld import cluster

from netlab.base.errors import MachineError
from netlab.dns import asking
from netlab.dns.records import Records, ZoneConfig
from netlab.dns.search import Resolver
from netlab.dns.server import Handled, NameServer
from netlab.dns.upstream import Upstreams

LIMIT = 10.0
HOSTNAMES = "hostnames.default.svc.cluster.local"


class Upstream(asyncio.DatagramProtocol):
    """A name server that knows example.com. deaf: it says nothing; liar: it answers another question first."""

    def __init__(self, *, deaf: bool = False, liar: bool = False, short: bool = False) -> None:
        self.deaf, self.liar, self.short = deaf, liar, short
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.deaf:
            return
        if self.liar:
            other = bytes([data[0] ^ 1]) + self.answer(data)[1:]
            self.transport.sendto(other, addr)  # type: ignore[attr-defined]
            self.transport.sendto(b"nonsense", addr)  # type: ignore[attr-defined]
        answer = self.answer(data)
        if self.short:
            empty = dns.message.make_response(dns.message.from_wire(data))
            empty.flags |= dns.flags.TC
            answer = empty.to_wire()
        self.transport.sendto(answer, addr)  # type: ignore[attr-defined]

    def answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        self.asked.append(query.question[0].to_text())
        response = dns.message.make_response(query, recursion_available=True)
        name = query.question[0].name
        if name.to_text() in ("example.com.", "my.database.example.com."):
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "198.51.100.1"))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            answer = self.answer(data)
            writer.write(len(answer).to_bytes(2) + answer)
            await writer.drain()
        finally:
            writer.close()


class Bench:
    """A name server and its port."""

    def __init__(self, server: NameServer, told: list[Handled]) -> None:
        self.server, self.told = server, told
        self.port = server.places[0][1]

    async def udp(self, *wires: bytes, count: int | None = None) -> list[bytes]:
        """Send datagrams, and wait for as many answers."""
        got: asyncio.Queue[bytes] = asyncio.Queue()

        class Asker(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                got.put_nowait(data)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Asker, remote_addr=("127.0.0.1", self.port))
        try:
            for wire in wires:
                transport.sendto(wire)
            async with asyncio.timeout(LIMIT):
                return [await got.get() for _ in range(len(wires) if count is None else count)]
        finally:
            transport.close()

    async def ask(self, name: str, kind: str = "A") -> dns.message.Message:
        return dns.message.from_wire((await self.udp(dns.message.make_query(name, kind).to_wire()))[0])


async def free(upstream: Upstream) -> tuple[asyncio.Server, int]:
    """The TCP half of an upstream, on a port that is free for UDP as well."""
    while True:
        tcp = await asyncio.start_server(upstream.stream, "127.0.0.1", 0)
        port = tcp.sockets[0].getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                tcp.close()
                continue
        return tcp, port


def serving(
    body: Callable[[Bench], Awaitable[None]], *upstreams: Upstream, patience: float = LIMIT, known: bool = True
) -> None:
    """A test with a server on a free port of loopback, and upstreams."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        places, opened, servers = [], [], []
        for upstream in upstreams:
            tcp, port = await free(upstream)
            transport, _ = await loop.create_datagram_endpoint(lambda u=upstream: u, local_addr=("127.0.0.1", port))  # type: ignore[misc]
            servers.append(tcp)
            opened.append(transport)
            places.append(("127.0.0.1", port))
        told: list[Handled] = []
        server = NameServer(Upstreams(places, patience=patience), told.append)
        if known:
            server.records = Records.of(cluster(), ZoneConfig())
        await server.listen(["127.0.0.1"], 0)
        try:
            await body(Bench(server, told))
        finally:
            server.close()
            for transport in opened:
                transport.close()
            for tcp in servers:
                tcp.close()

    asyncio.run(run())


def test_150_answers_by_udp_and_goes_on_after_nonsense() -> None:
    async def body(bench: Bench) -> None:
        await bench.udp(b"", b"\xff" * 600, b"x" * 20, count=1)
        answer = await bench.ask(HOSTNAMES)
        assert answer.answer[0].to_text().endswith("A 10.96.0.5")
        assert bench.told[-1][:4] == ("udp", "A", "NOERROR", "cluster")

    serving(body)


def test_before_there_are_objects_it_fails() -> None:
    async def body(bench: Bench) -> None:
        assert (await bench.ask(HOSTNAMES)).rcode() == dns.rcode.SERVFAIL

    serving(body, known=False)


def test_142_tcp_takes_several_questions_at_once() -> None:
    async def body(bench: Bench) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        queries = [dns.message.make_query(name, "A") for name in (HOSTNAMES, "example.com", "gone.cluster.local")]
        writer.write(b"".join(len(w).to_bytes(2) + w for w in (q.to_wire() for q in queries)))
        async with asyncio.timeout(LIMIT):
            got = {}
            for _ in queries:
                wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                answer = dns.message.from_wire(wire)
                got[answer.id] = answer
        assert [got[q.id].rcode() for q in queries] == [dns.rcode.NOERROR, dns.rcode.NOERROR, dns.rcode.NXDOMAIN]
        writer.write(b"\0\5hello")
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b"", "who sends nonsense is let go"
        writer.close()

    serving(body, Upstream())


def test_143_other_names_go_upstream() -> None:
    upstream = Upstream()

    async def body(bench: Bench) -> None:
        answer = await bench.ask("example.com")
        assert answer.answer[0].to_text().endswith("A 198.51.100.1") and answer.flags & dns.flags.RA
        assert (await bench.ask("gone.example")).rcode() == dns.rcode.NXDOMAIN
        await bench.ask(HOSTNAMES)
        assert len(upstream.asked) == 2, "the cluster's own names stay here"
        assert bench.told[0].source == "upstream"

    serving(body, upstream)


def test_143_without_upstream_they_are_refused() -> None:
    async def body(bench: Bench) -> None:
        answer = await bench.ask("example.com")
        assert answer.rcode() == dns.rcode.REFUSED and not answer.flags & dns.flags.RA

    serving(body)


def test_143_only_the_answer_to_the_question_is_taken() -> None:
    async def body(bench: Bench) -> None:
        assert (await bench.ask("example.com")).answer

    serving(body, Upstream(liar=True))


def test_143_a_deaf_upstream_is_followed_by_the_next() -> None:
    async def body(bench: Bench) -> None:
        assert (await bench.ask("example.com")).answer
        first, second = bench.server.upstreams.servers
        assert bench.told[0].seconds > 0.05
        assert (await bench.ask("example.com")).answer
        assert bench.told[1].seconds < bench.told[0].seconds, "who answered last is asked first"
        assert [first, second] == bench.server.upstreams.servers

    serving(body, Upstream(deaf=True), Upstream(), patience=0.5)


def test_143_nobody_answers() -> None:
    async def body(bench: Bench) -> None:
        assert (await bench.ask("example.com")).rcode() == dns.rcode.SERVFAIL
        assert bench.server.upstreams.failures == 1

    serving(body, Upstream(deaf=True), patience=0.1)


@pytest.mark.parametrize("short", [False, True])
def test_134_what_an_external_name_is(short: bool) -> None:
    upstream = Upstream(short=short)

    async def body(bench: Bench) -> None:
        answer = await bench.ask("my-service.default.svc.cluster.local")
        assert [r.to_text().split(" ", 2)[2] for r in answer.answer] == [
            "IN CNAME my.database.example.com.", "IN A 198.51.100.1",
        ]  # fmt: skip

    serving(body, upstream)


def test_134_the_alias_alone_if_nobody_knows_more() -> None:
    async def body(bench: Bench) -> None:
        answer = await bench.ask("my-service.default.svc.cluster.local")
        assert len(answer.answer) == 1 and answer.rcode() == dns.rcode.NOERROR

    serving(body, Upstream(deaf=True), patience=0.1)


def test_as_a_person_asks() -> None:
    async def body(bench: Bench) -> None:
        resolver = Resolver(("127.0.0.1",), ("default.svc.cluster.local",), 5)
        ask = asyncio.to_thread(asking.by_wire, ("127.0.0.1", bench.port), "web-0.nginx", "", resolver)
        (found,) = await ask
        assert found.name == "web-0.nginx.default.svc.cluster.local"
        assert [(s.type, [r.data for r in s.records]) for s in found.answers] == [("A", ["10.244.0.30"]), ("AAAA", [])]

    serving(body)


def test_a_port_that_is_taken() -> None:
    async def body(bench: Bench) -> None:
        with pytest.raises(MachineError, match=r"cannot answer on 127\.0\.0\.1"):
            await NameServer(Upstreams(())).listen(["127.0.0.1"], bench.port)

    serving(body)
