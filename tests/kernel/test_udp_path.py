"""The udp data path between real namespaces: fast to fast, and to and from the plain way, which is the original's."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import patience

sys.path.insert(0, str(Path(__file__).parent))

from udp_network import CONTAINER, MTU, Network, network

from netlab.base.errors import KernelError
from netlab.kernel import netns
from netlab.kernel.tun import open_device

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no /dev/net/tun: modprobe tun"),
]

WAYS = {"fast": (True, True), "plain": (False, False), "fast to plain": (True, False), "plain to fast": (False, True)}
#: bytes of a bulk: an emulator, which is that much slower, gets that much less to do
SIZE = int(50_000_000 / patience(1))
IP_MTU_DISCOVER, IP_RECVERR, PMTUDISC_DONT = 10, 11, 0  # linux/in.h


@pytest.fixture(scope="module", params=WAYS)
def net(request: pytest.FixtureRequest) -> Iterator[Network]:
    with network(f"up{os.getpid()}{list(WAYS).index(request.param)}", WAYS[request.param]) as made:
        yield made


def until(condition: Callable[[], bool], what: str, seconds: float = patience(10)) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        select.select([], [], [], 0.02)


def transfer(net: Network, source: str, sink: str, address: str, port: int, size: int) -> None:
    """`size` random bytes over TCP, compared by their hash."""
    with net.socket(sink) as server, net.socket(source) as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen()
        sums: list[str] = []

        def receive() -> None:
            got = hashlib.blake2b()
            with server.accept()[0] as connection:
                connection.settimeout(patience(30))
                while data := connection.recv(1 << 20):
                    got.update(data)
            sums.append(got.hexdigest())

        thread = threading.Thread(target=receive)
        thread.start()
        sent = hashlib.blake2b()
        client.connect((address, port))
        chance = random.Random(port)
        for _ in range(0, size, 1 << 20):
            data = chance.randbytes(min(size, 1 << 20))
            sent.update(data)
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        thread.join(patience(60))
        assert sums == [sent.hexdigest()]


def test_negotiated(net: Network, request: pytest.FixtureRequest) -> None:
    """This kernel has all the offloads there are; what lacks them takes the plain way, which is tested too."""
    offload = WAYS[request.node.callspec.params["net"]]
    assert (net.said[1]["offload"], net.said[2]["offload"]) == offload


def test_bulk(net: Network) -> None:
    transfer(net, net.c1, net.c2, CONTAINER[1], 5000, SIZE)
    for number in (1, 2):
        counters = net.ask(number, "counters")
        assert not any(counters["rx"]["drops"].values()), counters["rx"]
    # most of it went by the batch, if it could
    counters = net.ask(2, "counters")["rx"]
    if net.said[1]["offload"] and net.said[2]["offload"]:
        assert counters["packets"] > 5 * counters["calls"]


@pytest.mark.not_in_vm("megabytes through Python both ways: an emulator needs minutes")
def test_both_directions_at_once(net: Network) -> None:
    errors: list[BaseException] = []

    def there(*args: object) -> None:
        try:
            transfer(net, *args, SIZE // 4)  # type: ignore[arg-type]
        except BaseException as e:  # noqa: BLE001 - told below
            errors.append(e)

    jobs = [
        (net.c1, net.c2, CONTAINER[1], 5001),
        (net.c2, net.c1, CONTAINER[0], 5002),
        (net.c1, net.c2, CONTAINER[1], 5003),
    ]
    threads = [threading.Thread(target=there, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(90))
    assert errors == []


@pytest.mark.parametrize("size", [0, 1, 36, 1443, 1444, 1445, 9000, 60000])
def test_datagrams(net: Network, size: int) -> None:
    """Also those that are sent in fragments."""
    with net.socket(net.c2, socket.SOCK_DGRAM) as server, net.socket(net.c1, socket.SOCK_DGRAM) as client:
        server.bind((CONTAINER[1], 6000))
        for end in (server, client):
            end.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)
        data = [random.Random(n).randbytes(size) for n in range(20)]
        for one in data:  # in step, so that no buffer on the way is too small for them
            client.sendto(one, (CONTAINER[1], 6000))
            got, back = server.recvfrom(65536)
            assert got == one
            server.sendto(got, back)
            assert client.recv(65536) == one


def test_super_datagrams(net: Network) -> None:
    """UDP_SEGMENT in the container: USO down to flannel0, and the same datagrams come out."""
    with net.socket(net.c2, socket.SOCK_DGRAM) as server, net.socket(net.c1, socket.SOCK_DGRAM) as client:
        server.bind((CONTAINER[1], 6001))
        client.setsockopt(17, 103, 100)
        for n in range(50):
            data = random.Random(n).randbytes(1950)
            client.sendto(data, (CONTAINER[1], 6001))
            assert b"".join(server.recv(65536) for _ in range(20)) == data


def ping(net: Network, *options: str, to: str = CONTAINER[1]) -> str:
    return net.run(net.c1, "ping", "-n", "-W", "3", *options, to)


def test_round_trip_and_ttl(net: Network) -> None:
    """One hop less by each node's kernel, and one by flanneld on each side: 64 becomes 60."""
    said = ping(net, "-c", "5", "-i", "0.05")
    assert "5 received" in said, said
    assert set(re.findall(r"ttl=(\d+)", said)) == {"60"}


def test_ttl_ends_silently_in_flanneld(net: Network) -> None:
    before = net.ask(1, "counters")["tx"]["drops"]["ttl"]
    with net.socket(net.c1, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
        client.sendto(b"x", (CONTAINER[1], 6002))
    until(lambda: bool(net.ask(1, "counters")["tx"]["drops"]["ttl"] == before + 1), "dropped for its TTL")


def test_fragments_of_a_ping(net: Network) -> None:
    assert "3 received" in ping(net, "-c", "3", "-i", "0.05", "-s", "20000")


def test_the_mtu_is_what_passes(net: Network) -> None:
    assert "1 received" in ping(net, "-c", "1", "-M", "do", "-s", str(MTU - 28))
    said = ping(net, "-c", "1", "-M", "do", "-s", str(MTU - 27))
    assert "0 received" in said and re.search(f"mtu ?= ?{MTU}", said), said


def test_no_lease_is_unreachable(net: Network) -> None:
    with net.socket(net.c1, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)  # what may pass is told only to those who ask
        client.connect(("100.96.9.9", 9))
        client.send(b"anybody?")
        with pytest.raises(OSError) as caught:
            client.recv(10)
        assert caught.value.errno == errno.ENETUNREACH
    assert net.ask(1, "counters")["tx"]["drops"]["no_route"] > 0


def test_an_underlay_that_has_shrunk(net: Network) -> None:
    """DF: the sender is told what fits, and TCP goes on; no DF: fragments of the outer datagram."""
    for node in (net.n1, net.n2):
        net.run(node, "ip", "link", "set", "eth0", "mtu", "1400")
    try:
        before = net.ask(1, "counters")
        assert "2 received" in ping(net, "-c", "2", "-i", "0.05", "-M", "dont", "-s", str(MTU - 28))
        said = ping(net, "-c", "2", "-i", "0.2", "-M", "do", "-s", str(MTU - 28))
        assert "0 received" in said and re.search("mtu ?= ?1372", said), said
        after = net.ask(1, "counters")
        assert after["fragmented"] >= before["fragmented"] + 2
        assert after["tx"]["drops"]["too_big"] > before["tx"]["drops"]["too_big"]
        transfer(net, net.c1, net.c2, CONTAINER[1], 5004, 3_000_000)
    finally:
        for node in (net.n1, net.n2):
            net.run(node, "ip", "link", "set", "eth0", "mtu", "1500")
        net.run(net.c1, "ip", "route", "flush", "cache")


def test_a_node_is_removed_and_added(net: Network) -> None:
    with net.socket(net.c2, socket.SOCK_DGRAM) as server, net.socket(net.c1, socket.SOCK_DGRAM) as client:
        server.bind((CONTAINER[1], 6003))
        client.sendto(b"before", (CONTAINER[1], 6003))
        assert server.recv(100) == b"before"
        net.ask(1, "remove")
        client.sendto(b"lost", (CONTAINER[1], 6003))
        with contextlib.suppress(OSError):
            client.recv(0, socket.MSG_DONTWAIT)
        until(lambda: bool(net.ask(1, "counters")["tx"]["drops"]["no_route"]), "no route")
        counters = net.ask(1, "add")
        client.sendto(b"after", (CONTAINER[1], 6003))
        assert server.recv(100) == b"after"
        assert counters["peers"]["10.168.0.3"]["tx_packets"] > 0


def test_a_path_that_is_restarted(net: Network, request: pytest.FixtureRequest) -> None:
    """The device stays, with whatever offloads the next one asks for."""
    offload = WAYS[request.node.callspec.params["net"]]
    for again in (not offload[0], offload[0]):
        assert net.stop(1) == 0
        net.start(1, offload=again)
        # flannel0 had no carrier while nobody held it: the kernel lets packets through again a moment after
        until(lambda: "1 received" in ping(net, "-c", "1", "-W", "1"), "the path is up again")
        transfer(net, net.c1, net.c2, CONTAINER[1], 5005, 2_000_000)


def test_the_device_is_held_by_one(net: Network) -> None:
    with netns.entered(net.n1):
        with pytest.raises(KernelError, match="another process"):
            open_device("flannel0")
        with pytest.raises(KernelError, match="no device"):
            open_device("flannel9")
        with pytest.raises(OSError):
            socket.if_nametoindex("flannel9")


def test_a_device_that_is_deleted_ends_the_path() -> None:
    with network(f"up{os.getpid()}d") as net:
        net.run(net.n1, "ip", "link", "del", "flannel0")
        process = net.paths[1]
        until(lambda: process.poll() is not None, "the path has not noticed")
        assert process.returncode == 1
