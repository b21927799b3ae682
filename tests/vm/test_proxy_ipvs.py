"""A proxy in IPVS mode, as a process, on a kernel that has it: it serves, follows, and clients follow it."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import worlds
from podnet import Net, pods_of
from proxying import PATIENCE, Manifests, Proxy, taking, until
from proxyload import come_and_go, die_and_come_back, serving
from servicejudge import endpoints, service

from netlab.kernel import ipvs, netns

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
]
VIP = "10.96.0.20"
#: a port at which no pod of a test's network answers by itself
HELD = 8888
#: how often endpoints come and go, and new connections a second: an emulator cannot do as much as a machine
CHURN, RATE = int(os.environ.get("NETLAB_CHURN", "30")), int(os.environ.get("NETLAB_RATE", "20"))
PORTS = [{"name": "p", "port": 80}, {"name": "u", "port": 8053, "protocol": "UDP"}]


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net(dict(worlds.NODE_IPS), pods_of(worlds.nine()), routed=True, variant="nft")
    with made.up():
        yield made


def test_it_serves_and_follows_and_so_do_clients(net: Net, tmp_path: Path) -> None:
    manifests = Manifests(tmp_path / "manifests")
    manifests.put("nodes", [worlds.node(name) for name in worlds.NODES])
    manifests.put("service", [service(ports=PORTS)])

    def put(letters: str) -> None:
        manifests.put("slices", [endpoints(*letters), endpoints(*letters, port="u", proto="UDP", number=8053)])

    def answers() -> set[str]:
        return {a[0] if isinstance(a, tuple) else a for a in net.ask([("x-a", VIP, "tcp", 80)] * 6)}

    put("abc")
    with netns.entered(net.ns("x-a")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("", 40053))
        udp.settimeout(1)

        def answerer() -> str:
            try:
                udp.sendto(b"?", (VIP, 8053))
                return udp.recv(100).decode().split()[0]
            except OSError:
                return "nobody"

        with Proxy(net.ns("n1"), "n1", manifests, tmp_path, "--mode", "ipvs", "--iptables", "nft") as proxy:
            # in turns, so that six calls are two for each
            until(lambda: answers() == {"x-a", "x-b", "x-c"}, "all three endpoints")
            put("b")
            until(lambda: answers() == {"x-b"}, "the only endpoint that is left")
            until(lambda: answerer() == "x-b", "the same for a client that keeps its port")
            proxy.end(signal.SIGKILL)
            assert answers() == {"x-b"}
            put("c")
            proxy.start()
            until(lambda: answers() == {"x-c"}, "what its successor has put there")
            until(lambda: answerer() == "x-c", "the same for a client that keeps its port")


def test_endpoints_come_and_go_and_no_connection_fails(net: Net, tmp_path: Path) -> None:
    with serving(net, "nft", "ipvs", tmp_path) as proxy:
        come_and_go(net, proxy, CHURN, RATE)


def test_the_proxy_is_killed_and_comes_back_and_no_connection_fails(net: Net, tmp_path: Path) -> None:
    with serving(net, "nft", "ipvs", tmp_path) as proxy:
        die_and_come_back(net, proxy, 2, RATE)


def test_S104_who_is_connected_stays_connected(net: Net, tmp_path: Path) -> None:
    """To an endpoint that is taken out: nobody new comes to it, and it goes when the last one has left."""
    manifests = Manifests(tmp_path / "manifests")
    manifests.put("nodes", [worlds.node(name) for name in worlds.NODES])
    manifests.put("service", [service(ports=[{"name": "p", "port": 80, "targetPort": HELD}])])
    where = net.ns("n1")

    def put(letters: str) -> None:
        manifests.put("slices", [endpoints(*letters, number=HELD)])

    def weights() -> dict[str, int]:
        return {str(d.address): d.weight for server in ipvs.read(where) for d in server.destinations}

    def stands(wanted: dict[str, int], what: str) -> None:
        try:
            until(lambda: weights() == wanted, what)
        except AssertionError as e:
            raise AssertionError(f"{e}: there is {weights()}, and the proxy says {proxy.said()}") from None

    ips = {p["metadata"]["name"]: p["status"]["podIP"] for p in worlds.nine() if p["metadata"]["namespace"] == "x"}
    options = ("--mode", "ipvs", "--iptables", "nft", "--sync-period", "0.5")
    put("b")
    with taking(net.ns("x-b"), HELD) as listener, Proxy(where, "n1", manifests, tmp_path, *options) as proxy:
        stands({ips["b"]: 1}, "the endpoint")
        with netns.entered(net.ns("x-a")):
            client = socket.create_connection((VIP, 80), timeout=PATIENCE)
        with client:
            server, _ = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                put("c")
                stands({ips["b"]: 0, ips["c"]: 1}, "the old one without new connections")
                proxy.end(signal.SIGKILL)
                proxy.start()
                assert weights() == {ips["b"]: 0, ips["c"]: 1}
                client.sendall(b"still here?")
                assert server.recv(100) == b"still here?"
                server.sendall(b"yes")
                assert client.recv(100) == b"yes"
            # a connection that is reset is forgotten after ten seconds, one that ends well after two minutes
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stands({ips["c"]: 1}, "the end of the old one")
        assert "mended" not in proxy.said()
