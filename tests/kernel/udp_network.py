"""Two nodes on one link, each with a container behind flannel0, for tests and measurements of the udp data path.

    c1 100.96.1.2 ── 100.96.1.1 n1 10.168.0.2 ── 10.168.0.3 n2 100.96.2.1 ── c2 100.96.2.3

Each node's path runs in a process of its own (`--node`), as a daemon's would. This module is no test;
`udp_bench.py` beside it measures with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from netlab.base.patience import patience
from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.tun import open_device
from netlab.model import Address, HostState, Link, Loopback, Route, Sysctl, Tun, Veth
from netlab.overlay.udp import PORT, UdpPath

MTU = 1472
BUFFER = 8 << 20
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
#: what all processes are run by, such as `chrt -r 1`, to measure on a machine that others use at the same time
WITH = os.environ.get("UDP_WITH", "").split()
LO = Link(name="lo", kind=Loopback())
OUTER = ("10.168.0.2", "10.168.0.3")
CONTAINER = ("100.96.1.2", "100.96.2.3")


def _address(dev: str, text: str) -> Address:
    return Address(dev=dev, address=ip_interface(text))


def _node(number: int, prefix: str, *, vnet_hdr: bool) -> HostState:
    other = 3 - number
    return HostState.of(
        [
            LO,
            Sysctl(name="net/ipv4/ip_forward", value="1"),
            Link(name="eth0", kind=Veth("eth0", f"{prefix}.n{other}")),
            _address("eth0", f"{OUTER[number - 1]}/24"),
            Link(name="docker0", kind=Veth("eth0", f"{prefix}.c{number}")),
            _address("docker0", f"100.96.{number}.1/24"),
            # the path's ICMP errors come out of flannel0 with flannel0's own address
            Sysctl(name="net/ipv4/conf/flannel0/accept_local", value="1"),
            Link(name="flannel0", kind=Tun(vnet_hdr=vnet_hdr), mtu=MTU),
            _address("flannel0", f"100.96.{number}.0/16"),
        ]
    )


def _container(number: int, prefix: str) -> HostState:
    return HostState.of(
        [
            LO,
            Link(name="eth0", kind=Veth("docker0", f"{prefix}.n{number}")),
            _address("eth0", f"{CONTAINER[number - 1]}/24"),
            Route(dst=ip_network("0.0.0.0/0"), via=ip_address(f"100.96.{number}.1"), dev="eth0"),
        ]
    )


class Network:
    """The four namespaces and the two paths."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.names = [f"{prefix}.{name}" for name in ("n1", "n2", "c1", "c2")]
        self.paths: dict[int, subprocess.Popen[str]] = {}
        self.said: dict[int, dict[str, Any]] = {}
        self.n1, self.n2, self.c1, self.c2 = self.names

    def build(self, offload: tuple[bool, bool] = (True, True)) -> None:
        states = {
            self.n1: _node(1, self.prefix, vnet_hdr=offload[0]),
            self.n2: _node(2, self.prefix, vnet_hdr=offload[1]),
            self.c1: _container(1, self.prefix),
            self.c2: _container(2, self.prefix),
        }
        Kernel(LinuxBackend(), MemoryLedger()).apply_all("udp", states)

    def start(self, number: int, *, offload: bool, peer: bool = True, profile: str = "") -> dict[str, Any]:
        """The path of a node; returns what it says of itself."""
        argv = [sys.executable, __file__, "--node", str(number), "--prefix", self.prefix]
        argv += ([] if offload else ["--plain"]) + ([] if peer else ["--alone"])
        argv += ["--profile", profile] if profile else []
        argv = [*WITH, *argv]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.paths[number] = process
        self.said[number] = self._answer(process)
        return self.said[number]

    def ask(self, number: int, command: str) -> dict[str, Any]:
        """`counters`, `add` or `remove` (the other node), to a node's path."""
        process = self.paths[number]
        assert process.stdin
        process.stdin.write(command + "\n")
        process.stdin.flush()
        return self._answer(process)

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout
        line = process.stdout.readline()
        assert line, f"the path has ended: {process.wait(5)}"
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self, number: int) -> int:
        process = self.paths.pop(number)
        if process.stdin:
            process.stdin.close()
        try:
            return process.wait(patience(10))
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(patience(10))
        finally:
            if process.stdout:
                process.stdout.close()

    def close(self) -> None:
        for number in list(self.paths):
            self.stop(number)
        for name in self.names:
            netns.delete(name)

    def argv(self, name: str, *argv: str) -> list[str]:
        return [*WITH, "ip", "netns", "exec", name, *argv]

    def run(self, name: str, *argv: str, timeout: float = 30) -> str:
        return subprocess.run(
            self.argv(name, *argv),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        ).stdout

    def socket(self, name: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        with netns.entered(name):
            sock = socket.socket(socket.AF_INET, kind)
        sock.settimeout(patience(10))
        return sock


@contextlib.contextmanager
def network(prefix: str, offload: tuple[bool, bool] = (True, True)) -> Iterator[Network]:
    """Both paths up, for the body."""
    made = Network(prefix)
    try:
        made.build(offload)
        for number in (1, 2):
            made.start(number, offload=offload[number - 1])
        yield made
    finally:
        made.close()


async def _serve(number: int, path: UdpPath, routes: dict[IPv4Network, tuple[IPv4Address, int]]) -> None:
    loop = asyncio.get_running_loop()
    path.start()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ended = asyncio.create_task(path.wait())
    print(json.dumps({"offload": path.offload}), flush=True)  # the first answer: it carries
    while True:
        asked = asyncio.create_task(reader.readline())
        await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
        match asked.result().decode().strip():
            case "":
                break
            case "add":
                path.set_routes(routes)
            case "remove":
                path.set_routes({n: to for n, to in routes.items() if str(to[0]) == OUTER[number - 1]})
        print(json.dumps(asdict(path.counters)), flush=True)
    path.close()


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", type=int, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--profile", default="")
    options = parser.parse_args(argv)
    number = options.node
    with netns.entered(f"{options.prefix}.n{number}"):
        tun = open_device("flannel0", offload=not options.plain)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
        sock.bind((OUTER[number - 1], PORT))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    routes = {IPv4Network(f"100.96.{n}.0/24"): (IPv4Address(OUTER[n - 1]), PORT) for n in (1, 2)}
    own = IPv4Network(f"100.96.{number}.0/24")
    path = UdpPath(tun, sock, own=own, address=own.network_address, mtu=MTU, offload=not options.plain)
    path.set_routes({} if options.alone else routes)
    profiler = None
    if options.profile:
        import cProfile

        profiler = cProfile.Profile()
        profiler.enable()
    asyncio.run(_serve(number, path, routes))
    if profiler:
        profiler.disable()
        profiler.dump_stats(options.profile)
    os.close(tun.fd)
    sock.close()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(sys.argv[1:])
