"""Both ways between a TUN, played by a pair of Unix datagram sockets, and real UDP sockets on the loopback device."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import reference

from netlab.base.errors import KernelError
from netlab.overlay.udp import Drop, UdpPath
from netlab.overlay.udp.outbox import MAX_OUTPUT, MAX_SEGMENTS, Outbox
from netlab.overlay.udp.packets import VNET, VNET_LEN
from netlab.overlay.udp.routes import Peer

OWN, OTHER = IPv4Network("100.96.1.0/24"), IPv4Network("100.96.2.0/24")
HERE, THERE = 0x64600102, 0x64600203
MTU = 1472
WAYS = ["plain", "fast", "no-gso"]


@dataclass
class FakeTun:
    fd: int
    vnet_hdr: bool
    tso4: bool = True
    uso4: bool = True


class Bench:
    """A path with its lanes driven by hand: no loop, no waiting."""

    def __init__(self, way: str, stack: ExitStack) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kernel = stack.enter_context(theirs)
        self.device = stack.enter_context(ours)
        ours.setblocking(False)
        theirs.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.stranger = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for sock, address in ((self.sock, "127.0.0.1"), (self.peer, "127.0.0.2"), (self.stranger, "127.0.0.3")):
            sock.bind((address, 0))
            sock.setblocking(False)
        self.vnet = way != "plain"
        tun = FakeTun(ours.fileno(), self.vnet)
        self.path = UdpPath(
            tun, self.sock, own=OWN, address=OWN.network_address, mtu=MTU, offload=way == "fast"
        )  # fmt: skip
        self.path.set_routes(
            {OTHER: (IPv4Address("127.0.0.2"), self.peer.getsockname()[1]), OWN: (IPv4Address("127.0.0.9"), 1)}
        )
        self.counters = self.path.counters

    def give(self, *packets: bytes, offload: bytes = bytes(VNET_LEN)) -> None:
        """Packets from the kernel."""
        for packet in packets:
            self.kernel.send(offload + packet if self.vnet else packet)
        self.out()

    def out(self) -> None:
        """As many turns as it takes."""
        while select.select([self.device], [], [], 0)[0]:
            assert self.path._lane.from_tun()

    def sent(self) -> list[bytes]:
        """What has reached the other node."""
        return drain(lambda: self.peer.recv(65536))

    def receive(self, *datagrams: bytes, by: socket.socket | None = None, gso: int = 0) -> None:
        """Datagrams from another node."""
        for datagram in datagrams:
            control = [(17, 103, struct.pack("=H", gso))] if gso else []
            (by or self.peer).sendmsg([datagram], control, 0, self.sock.getsockname())
        while select.select([self.sock], [], [], 0)[0]:
            self.path._lane.from_socket()

    def written(self) -> list[bytes]:
        """What the kernel has got: packets, super packets taken apart."""
        out = []
        for data in drain(lambda: self.kernel.recv(70000)):
            if not self.vnet:
                out.append(data)
                continue
            gso = VNET.unpack_from(data)[3]
            out += reference.segment(data[VNET_LEN:], gso) if gso else [data[VNET_LEN:]]
        return out


def drain(receive: Callable[[], bytes]) -> list[bytes]:
    out = []
    while True:
        try:
            out.append(receive())
        except BlockingIOError:
            return out


@pytest.fixture(params=WAYS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(request.param, stack)


def outgoing(n: int = 0, **fields: int) -> bytes:
    return reference.udp(bytes([n]) * 30, src=HERE, dst=THERE, ident=n, **fields)


def incoming(n: int = 0, **fields: int) -> bytes:
    return reference.udp(bytes([n]) * 30, **({"src": THERE, "dst": HERE, "ident": n} | fields))


def test_out(bench: Bench) -> None:
    packets = [outgoing(n) for n in range(30)] + [reference.ipv4(b"\x08" + bytes(40), protocol=1, src=HERE, dst=THERE)]
    bench.give(*packets)
    assert bench.sent() == [reference.hop(packet) for packet in packets]
    assert bench.counters.tx.packets == 31 == bench.counters.peers["127.0.0.2"].tx_packets
    assert bench.counters.tx.bytes == sum(map(len, packets))


def test_in(bench: Bench) -> None:
    packets = [incoming(n) for n in range(30)] + [reference.ipv4(b"\x08" + bytes(40), protocol=1, src=THERE, dst=HERE)]
    bench.receive(*packets)
    assert bench.written() == [reference.hop(packet) for packet in packets]
    assert bench.counters.rx.packets == 31 == bench.counters.peers["127.0.0.2"].rx_packets
    assert bench.counters.rx.dropped == 0


def test_sizes_in_turns(bench: Bench) -> None:
    """As fragments of fragments come: a long one, a short one."""
    sizes = [900, 12, 900, 12, 904, 904, 16, 900, 900, 8, 12, 12, 900]
    out = [reference.ipv4(bytes([n]) * size, protocol=99, src=HERE, dst=THERE, ident=n) for n, size in enumerate(sizes)]
    back = [
        reference.ipv4(bytes([n]) * size, protocol=99, src=THERE, dst=HERE, ident=n) for n, size in enumerate(sizes)
    ]
    bench.give(*out)
    bench.receive(*back)
    assert bench.sent() == [reference.hop(packet) for packet in out]
    assert bench.written() == [reference.hop(packet) for packet in back]


def test_other_sizes_behind_a_batch_that_ends_short(bench: Bench) -> None:
    first = reference.segment(reference.udp(bytes(1500), src=THERE, dst=HERE), 100)
    second = reference.segment(reference.udp(bytes(range(200)) * 5, src=THERE, dst=HERE, ident=99), 60)
    first[-1] = first[-1][:20] + first[-1][20:-3]  # truncated, and shorter than the others
    bench.receive(*first, *second)
    assert bench.written() == [reference.hop(packet) for packet in first[:-1] + second]
    assert bench.counters.rx.drops[Drop.TRUNCATED] == 1


@pytest.mark.parametrize("way", ["fast", "no-gso"])
def test_a_super_packet_goes_as_the_plain_way_would_send_its_parts(way: str) -> None:
    whole = reference.tcp(bytes(range(256)) * 240, src=HERE, dst=THERE, flags=0x18, options=b"\x01" * 12)
    with ExitStack() as stack:
        fast, plain = Bench(way, stack), Bench("plain", stack)
        fast.give(reference.unfinished(whole), offload=VNET.pack(1, 1, 52, 1420, 20, 16))
        plain.give(*reference.segment(whole, 1420))
        assert fast.sent() == plain.sent() == [reference.hop(one) for one in reference.segment(whole, 1420)]


def test_super_packets_of_tiny_segments_fit() -> None:
    """Many at once, and each becomes nine times as much: they are not the usual case, and not the end of the path."""
    whole = reference.tcp(bytes(range(200)) * 20, src=HERE, dst=THERE, options=b"\x01" * 32)
    with ExitStack() as stack:
        bench = Bench("fast", stack)
        for _ in range(60):
            bench.kernel.send(VNET.pack(1, 1, 72, 8, 20, 16) + reference.unfinished(whole))
        bench.out()
        tx = bench.counters.tx
        assert tx.packets + tx.dropped == 60 * len(reference.segment(whole, 8))
        sent = bench.sent()  # as many as the other socket's buffer holds
        assert len(sent) > 50
        assert sent == [reference.hop(one) for one in reference.segment(whole, 8)][: len(sent)]


def test_a_batch_goes_in_as_the_plain_way_would_write_it() -> None:
    whole = reference.tcp(bytes(range(256)) * 200, src=THERE, dst=HERE, flags=0x18)
    parts = reference.segment(whole, 1400)
    with ExitStack() as stack:
        fast, plain = Bench("fast", stack), Bench("plain", stack)
        fast.receive(b"".join(parts), gso=1440)
        plain.receive(*parts)
        assert fast.counters.rx.packets == len(parts)
        assert fast.written() == plain.written() == [reference.hop(one) for one in parts]


@pytest.mark.parametrize(
    ("packet", "reason", "errors"),
    [
        (outgoing(ttl=1), Drop.TTL, 0),
        (outgoing(ttl=0), Drop.TTL, 0),
        (reference.udp(b"x", src=HERE, dst=0x64600303), Drop.NO_ROUTE, 1),
        (reference.udp(b"x", src=HERE, dst=0x64600109), Drop.NO_ROUTE, 1),  # our own, come back
        (reference.udp(b"x", src=HERE, dst=0x64600303, fragment=0x2001), Drop.NO_ROUTE, 0),
        (reference.ipv4(b"\x08" + bytes(9), protocol=1, src=HERE, dst=0x64600303), Drop.NO_ROUTE, 0),
        (reference.udp(b"x", src=HERE, dst=0xE00000FB), Drop.NO_ROUTE, 0),
        (b"\x60" + bytes(39), Drop.VERSION, 0),
        (b"\x45" + bytes(15), Drop.MALFORMED, 0),
        (outgoing()[:-1], Drop.TRUNCATED, 0),
    ],
)
@pytest.mark.parametrize("count", [1, 8])
def test_what_does_not_go_out(bench: Bench, packet: bytes, reason: Drop, errors: int, count: int) -> None:
    bench.give(*[packet] * count)
    assert bench.sent() == []
    assert {r: n for r, n in bench.counters.tx.drops.items() if n} == {reason: count}
    written = bench.written()
    assert len(written) == errors * count == bench.counters.icmp
    assert all(said[20:22] == b"\x03\x00" and said[16:20] == HERE.to_bytes(4, "big") for said in written)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (incoming(ttl=1), Drop.TTL),
        (incoming(src=0x64600303), Drop.SPOOFED),
        (incoming(src=HERE), Drop.SPOOFED),
        (reference.udp(bytes(1600), src=THERE, dst=HERE), Drop.OVERSIZED),
        (b"\x60" + bytes(39), Drop.VERSION),
        (b"\x45" + bytes(15), Drop.MALFORMED),
        (incoming()[:-1], Drop.TRUNCATED),
        (incoming()[:10] + b"\x12\x34" + incoming()[12:], Drop.CHECKSUM),
    ],
)
@pytest.mark.parametrize("count", [1, 8])
def test_what_does_not_come_in(bench: Bench, packet: bytes, reason: Drop, count: int) -> None:
    bench.receive(*[packet] * count)
    assert bench.written() == []
    assert {r: n for r, n in bench.counters.rx.drops.items() if n} == {reason: count}
    assert bench.counters.peers["127.0.0.2"].rx_dropped == count


def test_an_empty_datagram(bench: Bench) -> None:
    bench.receive(b"", incoming(), b"")
    assert bench.written() == [reference.hop(incoming())]
    assert bench.counters.rx.drops[Drop.MALFORMED] == 2


def test_a_batch_of_spoofed_ones(bench: Bench) -> None:
    parts = reference.segment(reference.udp(bytes(3000), src=HERE, dst=HERE), 100)
    bench.receive(b"".join(parts), gso=128)
    assert bench.written() == []
    assert bench.counters.rx.drops[Drop.SPOOFED] == len(parts) == 30


def test_a_stranger(bench: Bench) -> None:
    bench.receive(incoming(), by=bench.stranger)
    assert bench.written() == []
    assert bench.counters.rx.drops[Drop.UNKNOWN_PEER] == 1
    assert "127.0.0.3" not in bench.counters.peers


def test_padding_is_cut_off(bench: Bench) -> None:
    bench.receive(incoming() + bytes(5))
    assert bench.written() == [reference.hop(incoming())]


def test_routes_are_swapped(bench: Bench) -> None:
    bench.path.set_routes({})
    bench.give(outgoing())
    bench.receive(incoming())
    assert bench.sent() == []
    assert bench.counters.rx.drops[Drop.UNKNOWN_PEER] == 1
    bench.path.set_routes({OTHER: (IPv4Address("127.0.0.2"), bench.peer.getsockname()[1])})
    bench.give(outgoing())
    assert len(bench.sent()) == 1
    assert bench.counters.peers["127.0.0.2"].tx_packets == 1


def test_a_node_that_is_down(bench: Bench) -> None:
    """ICMP "port unreachable" for earlier datagrams neither stops nor delays later ones."""
    port = bench.peer.getsockname()[1]
    bench.peer.close()
    for n in range(5):
        bench.give(outgoing(n))
        bench.path._lane.from_socket()
    assert bench.counters.errors > 0
    assert bench.counters.tx.packets + bench.counters.tx.dropped == 5
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind(("127.0.0.2", port))
        back.setblocking(False)
        bench.path._lane.from_socket()
        bench.give(outgoing(9))
        assert drain(lambda: back.recv(2000)) == [reference.hop(outgoing(9))]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=10), st.booleans(), st.sampled_from(WAYS))
def test_anything_from_the_tun(packets: list[bytes], headers: bool, way: str) -> None:
    with ExitStack() as stack:
        bench = Bench(way, stack)
        for packet in packets:
            bench.kernel.send(packet if headers else bytes(VNET_LEN if bench.vnet else 0) + packet)
        bench.out()
        tx = bench.counters.tx
        assert tx.packets + tx.dropped >= len(packets)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=20, max_size=400), st.integers(0, 7), st.integers(0, 300), st.sampled_from([6, 17]))
def test_any_offload_from_the_tun(data: bytes, kind: int, gso: int, protocol: int) -> None:
    with ExitStack() as stack:
        bench = Bench("fast", stack)
        head = b"\x45" + data[1:2] + len(data).to_bytes(2, "big") + data[4:8] + b"\x40" + bytes([protocol])
        packet = head + data[10:16] + THERE.to_bytes(4, "big") + data[20:]
        bench.give(packet[: len(data)], offload=VNET.pack(1, kind, 99, gso, data[3], data[4]))
        assert bench.counters.tx.packets + bench.counters.tx.dropped >= 1


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=600), st.integers(0, 200), st.booleans(), st.sampled_from(WAYS))
def test_anything_from_the_socket(data: bytes, gso: int, known: bool, way: str) -> None:
    if gso and len(data) > gso * 60:
        gso = 0
    with ExitStack() as stack:
        bench = Bench(way, stack)
        bench.receive(data, by=bench.peer if known else bench.stranger, gso=gso if len(data) > gso else 0)
        assert bench.counters.rx.packets + bench.counters.rx.dropped >= 1


def test_a_tun_that_refuses(bench: Bench) -> None:
    bench.kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    bench.device.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for _ in range(100):
        bench.receive(incoming(ident=0), incoming(ident=50))
    assert bench.counters.rx.drops[Drop.TUN_REFUSED] > 0
    assert bench.counters.rx.packets + bench.counters.rx.dropped == 200


class FullSocket:
    """Takes `room` sends, then is full."""

    def __init__(self) -> None:
        self.room = 0
        self.taken: list[bytes] = []

    def __call__(self, data: memoryview, size: int, peer: Peer) -> bool:
        assert len(data) <= max(65507, size) and -(-len(data) // size) <= MAX_SEGMENTS
        if not self.room:
            return False
        self.room -= 1
        self.taken += [bytes(data[n : n + size]) for n in range(0, len(data), size)]
        return True


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 50), st.integers(1, 3000), st.integers(0, 99)), max_size=30),
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30),
)
def test_the_outbox_keeps_order_and_loses_nothing(
    adds: list[tuple[int, int, int, int]], rooms: list[tuple[int, bool]]
) -> None:
    path = FullSocket()
    box = Outbox(path)
    peers = [Peer(("a", 1), None), Peer(("b", 1), None)]  # type: ignore[arg-type]
    expected = []
    for n, (peer, count, size, last) in enumerate(adds):
        if not box.room:
            path.room = 10**6
            assert box.flush(everything=True)
        parts = [bytes([(n + i) % 256]) * size for i in range(count)]
        parts[-1] = parts[-1][: max(1, size - last)]
        size = size if count > 1 else len(parts[0])
        expected += parts
        whole = b"".join(parts)
        assert len(whole) <= MAX_OUTPUT
        at = box.at(peers[peer], size)
        box.view[at : at + len(whole)] = whole
        box.add(peers[peer], size, at, len(whole))
        if n < len(rooms):
            path.room = rooms[n][0]
            box.flush(everything=rooms[n][1])
    path.room = 10**6
    assert box.flush(everything=True)
    assert not box
    assert path.taken == expected


def test_a_full_socket_stops_the_reading_of_the_tun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lane = bench.path._lane
    sock = Blocked(bench.sock)
    monkeypatch.setattr(lane.wire, "_sock", sock)
    for n in range(3):
        bench.kernel.send((bytes(VNET_LEN) if bench.vnet else b"") + outgoing(n))
    assert not lane.from_tun()
    assert not lane.resume()
    sock.full = False
    assert lane.resume()
    assert lane.from_tun()
    assert bench.sent() == [reference.hop(outgoing(n)) for n in range(3)]


class Blocked:
    """A socket that is full until told."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self.full = sock, True

    def sendto(self, *args: object) -> int:
        if self.full:
            raise BlockingIOError
        return self._sock.sendto(*args)  # type: ignore[arg-type, call-overload, no-any-return]

    def sendmsg(self, *args: object) -> int:
        if self.full:
            raise BlockingIOError
        return self._sock.sendmsg(*args)  # type: ignore[arg-type, call-overload, no-any-return]


def test_no_buffers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted:
        def sendto(self, *_: object) -> int:
            raise OSError(errno.ENOBUFS, "none left")

        sendmsg = sendto

    monkeypatch.setattr(bench.path._lane.wire, "_sock", Exhausted())
    bench.give(outgoing(1), outgoing(2))
    assert bench.counters.tx.drops[Drop.SOCKET_FULL] == 2 == bench.counters.peers["127.0.0.2"].tx_dropped


def test_on_a_loop(bench: Bench) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(bench.path.run())
        await asyncio.sleep(0)
        bench.kernel.send((bytes(VNET_LEN) if bench.vnet else b"") + outgoing(1))
        assert await loop.sock_recv(bench.peer, 2000) == reference.hop(outgoing(1))
        bench.peer.sendto(incoming(1), bench.sock.getsockname())
        assert (await loop.sock_recv(bench.kernel, 2000))[VNET_LEN if bench.vnet else 0 :] == reference.hop(incoming(1))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        bench.path.close()

    asyncio.run(asyncio.wait_for(body(), 10))


def test_one_turn_carries_both_ways(bench: Bench) -> None:
    bench.kernel.send((bytes(VNET_LEN) if bench.vnet else b"") + outgoing(1))
    bench.peer.sendto(incoming(1), bench.sock.getsockname())
    bench.path._carry(False)
    assert bench.sent() == [reference.hop(outgoing(1))]
    assert bench.written() == [reference.hop(incoming(1))]


def test_a_full_socket_stops_one_direction_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        vnet = bytes(VNET_LEN) if bench.vnet else b""
        sock = Blocked(bench.sock)
        monkeypatch.setattr(bench.path._lane.wire, "_sock", sock)
        bench.path.start()
        bench.kernel.send(vnet + outgoing(1))
        while not bench.counters.blocked:
            await asyncio.sleep(0)
        bench.kernel.send(vnet + outgoing(2))
        bench.peer.sendto(incoming(1), bench.sock.getsockname())
        assert (await loop.sock_recv(bench.kernel, 2000))[len(vnet) :] == reference.hop(incoming(1))
        assert bench.counters.blocked == 1 == bench.counters.tx.calls
        sock.full = False
        for n in (1, 2):
            assert await loop.sock_recv(bench.peer, 2000) == reference.hop(outgoing(n))
        bench.path.close()

    asyncio.run(asyncio.wait_for(body(), 60))


def test_a_tun_that_is_gone_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        def gone() -> bool:
            raise OSError(errno.EBADFD, "File descriptor in bad state")

        monkeypatch.setattr(bench.path._lane, "from_tun", gone)
        bench.path.start()
        bench.kernel.send(outgoing())
        with pytest.raises(KernelError, match="bad state"):
            await bench.path.wait()

    asyncio.run(asyncio.wait_for(body(), 10))
