"""Nodes on one link, each with a container behind cni0, and a real flanneld on each. This module is no test.

    c1 10.244.1.2 ── 10.244.1.1 n1 10.168.0.1 ──┐
    c2 10.244.2.2 ── 10.244.2.1 n2 10.168.0.2 ──┼── switch
    c3 10.244.3.2 ── 10.244.3.1 n3 10.168.0.3 ──┘      (and fd00:244:0:N::/64, fd00:168::N)

The store is a directory, in which each node's subnet is reserved, unless a test says otherwise.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from patience import patience, rest

from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.commands import run_in
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import Address, Bridge, HostState, Item, Link, Loopback, Route, Sysctl, Veth

ROOT = Path(__file__).parents[2]
#: seconds after which what is waited for has failed: far more than is allowed, for a machine that others use too
DEADLINE = patience(60)
LO = Link(name="lo", kind=Loopback())
HEALTH = 8471
#: several networks stand side by side
_numbers = itertools.count()
#: where a store is that is a server
STORE = "10.168.0.254"
#: seconds between two packets of a load, which is to leave the daemons the processor, emulated or not; and seconds
#: without an answer after which the missing ones are lost
INTERVAL, SILENCE = patience(0.01), patience(1)


def until(condition: Callable[[], object], what: str = "") -> float:
    """Wait for a condition, with a deadline; returns the seconds that it took."""
    began = looked = time.monotonic()
    while not condition():
        assert time.monotonic() - began < DEADLINE, f"after {DEADLINE:g} s: {what or condition}"
        time.sleep(rest(looked, 0.005))
        looked = time.monotonic()
    return time.monotonic() - began


def _address(dev: str, text: str) -> Address:
    return Address(dev=dev, address=ip_interface(text))


class Daemon:
    """A flanneld of one node. Its descriptors and process end with `stop` or `kill`."""

    def __init__(self, node: str, argv: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self.node = node
        self.folder = folder
        self.log = folder / "log"
        path = folder / "notify"
        path.unlink(missing_ok=True)
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(path))
        self._ready.settimeout(DEADLINE)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FLANNELD_")}
        with netns.entered(node), self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "netlab.cli.main", "flanneld", *argv], cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**clean, **env, "NOTIFY_SOCKET": str(path), "LC_ALL": "C"},
            )  # fmt: skip

    def ready(self) -> Daemon:
        """Wait until it says so."""
        self._ready.settimeout(0.1)
        began = time.monotonic()
        while time.monotonic() - began < DEADLINE:
            with contextlib.suppress(TimeoutError):
                assert self._ready.recv(100) == b"READY=1"
                return self
            assert self.process.poll() is None, self.said()
        raise AssertionError(f"not ready after {DEADLINE:g} s: {self.said()}")

    def said(self) -> str:
        return self.log.read_text()

    def ended(self) -> int:
        """Wait for its end by itself; its exit status."""
        try:
            return self.process.wait(DEADLINE)
        finally:
            self._ready.close()

    def end(self, number: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def stop(self) -> int:
        return self.end(signal.SIGTERM)

    def cpu(self) -> float:
        """Seconds of processor time until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str, port: int = HEALTH) -> tuple[int, str]:
        """Status and body of an HTTP answer, asked inside the node."""
        with netns.entered(self.node):
            sock = socket.socket()
        with sock:
            sock.settimeout(DEADLINE)
            sock.connect(("127.0.0.1", port))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


class Network:
    """The namespaces and their daemons. kind: backend; dual: both families; more: options of the backend."""

    def __init__(
        self, folder: Path, kind: str, *, nodes: int = 3, dual: bool = False, reserve: bool = True, prefix: str = "fl",
        **more: Any,
    ) -> None:  # fmt: skip
        self.folder, self.kind, self.dual, self.count = folder, kind, dual, nodes
        self.prefix = f"{prefix}{os.getpid()}x{next(_numbers)}"
        self.store = folder / "store"
        (self.store / "subnets").mkdir(parents=True)
        self.config: dict[str, Any] = {"Network": "10.244.0.0/16", "Backend": {"Type": kind, **more}}
        if dual:
            self.config |= {"EnableIPv6": True, "IPv6Network": "fd00:244::/48"}
        self.configure()
        self.daemons: dict[int, Daemon] = {}
        self.names = [f"{self.prefix}.switch", *(self.name(k, n) for n in self.numbers for k in "nc")]
        if reserve:
            for number in self.numbers:
                self.reserve(number)

    @property
    def numbers(self) -> range:
        return range(1, self.count + 1)

    @property
    def families(self) -> tuple[bool, ...]:
        """Whether it is IPv6, of each."""
        return (False, True) if self.dual else (False,)

    def name(self, kind: str, number: int) -> str:
        """`n` a node, `c` its container."""
        return f"{self.prefix}.{kind}{number}"

    def configure(self) -> None:
        new = self.store / ".config"
        new.write_text(json.dumps(self.config))
        new.replace(self.store / "config")

    def key(self, number: int) -> str:
        return f"10.244.{number}.0-24" + (f"&fd00:244:0:{number}::-64" if self.dual else "")

    def reserve(self, number: int) -> None:
        six = f"fd00:168::{number}" if self.dual else None
        value = {"PublicIP": f"10.168.0.{number}", "PublicIPv6": six}
        (self.store / "subnets" / self.key(number)).write_text(json.dumps(value))

    def lease(self, number: int) -> None:
        """As `reserve`, but it ends: in 24 hours."""
        self.reserve(number)
        path = self.store / "subnets" / self.key(number)
        name = f"{path.name}@{time.time() + 86400:.3f}"
        (self.store / "leases").mkdir(exist_ok=True)
        path.rename(self.store / "leases" / name)
        path.symlink_to(Path("..") / "leases" / name)

    def _node(self, number: int) -> HostState:
        items: list[Item] = [
            LO,
            Sysctl(name="net/ipv4/ip_forward", value="1"),
            Link(name="eth0", kind=Veth(f"p{number}", f"{self.prefix}.switch")),
            _address("eth0", f"10.168.0.{number}/24"),
            Link(name="cni0", kind=Veth("eth0", self.name("c", number))),
            _address("cni0", f"10.244.{number}.1/24"),
        ]
        if self.dual:
            items += [
                Sysctl(name="net/ipv6/conf/all/forwarding", value="1"),
                _address("eth0", f"fd00:168::{number}/64"),
                _address("cni0", f"fd00:244:0:{number}::1/64"),
            ]
        return HostState.of(items)

    def _container(self, number: int) -> HostState:
        items: list[Item] = [
            LO,
            Link(name="eth0", kind=Veth("cni0", self.name("n", number))),
            _address("eth0", f"10.244.{number}.2/24"),
            Route(dst=ip_network("0.0.0.0/0"), via=ip_address(f"10.244.{number}.1"), dev="eth0"),
        ]
        if self.dual:
            items += [
                _address("eth0", f"fd00:244:0:{number}::2/64"),
                Route(dst=ip_network("::/0"), via=ip_address(f"fd00:244:0:{number}::1"), dev="eth0"),
            ]
        return HostState.of(items)

    def build(self) -> Network:
        ports = [Link(name=f"p{n}", kind=Veth("eth0", self.name("n", n)), master="br0") for n in self.numbers]
        # the switch has an address, at which a store may be
        switch = [LO, Link(name="br0", kind=Bridge()), _address("br0", f"{STORE}/24"), *ports]
        states = {self.names[0]: HostState.of(switch)}
        for number in self.numbers:
            states[self.name("n", number)] = self._node(number)
            states[self.name("c", number)] = self._container(number)
        Kernel(LinuxBackend(), MemoryLedger()).apply_all("test", states)
        return self

    def env_file(self, number: int) -> Path:
        return self.folder / f"n{number}" / "subnet.env"

    def start(
        self, number: int, *more: str, env: dict[str, str] | None = None, store: Sequence[str] = (), wait: bool = True
    ) -> Daemon:
        """A node's flanneld."""
        folder = self.folder / f"n{number}"
        folder.mkdir(exist_ok=True)
        where = store or ("--subnet-dir", str(self.store))
        argv = [
            *where, "-iface=eth0", "--subnet-file", str(self.env_file(number)), "--iptables-resync=1",
            f"--healthz-port={HEALTH}", *more,
        ]  # fmt: skip
        daemon = self.daemons[number] = Daemon(self.name("n", number), argv, folder, env or {})
        return daemon.ready() if wait else daemon

    def tool(self, number: int, *argv: str, kind: str = "n", check: bool = True) -> str:
        done = run_in(self.name(kind, number), argv, check=check)
        return done.stdout + done.stderr

    def reaches(self, one: int, other: int, *, six: bool = False) -> bool:
        to = f"fd00:244:0:{other}::2" if six else f"10.244.{other}.2"
        return run_in(self.name("c", one), ["ping", "-c1", "-W1", to]).returncode == 0

    def settle(self, *, six: bool = False) -> Network:
        """Wait until every container reaches every other one."""
        for one in self.numbers:
            for other in self.numbers:
                if one != other:
                    until(lambda one=one, other=other: self.reaches(one, other), f"{one} reaches {other}")  # type: ignore[misc]
                    if six:
                        until(lambda one=one, other=other: self.reaches(one, other, six=True), "over IPv6")  # type: ignore[misc]
        return self

    def close(self) -> None:
        for daemon in self.daemons.values():
            daemon.kill()
        for name in self.names:
            netns.delete(name)


class Load:
    """UDP from container to container and back, a packet every INTERVAL, from `with` to its end; then what was lost."""

    def __init__(self, network: Network, one: int, other: int) -> None:
        with netns.entered(network.name("c", other)):
            self._echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with netns.entered(network.name("c", one)):
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to = (f"10.244.{other}.2", 7007)
        self._echo.bind(self._to)
        for sock in (self._echo, self._sock):
            sock.settimeout(0.1)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._answer, self._listen)]
        self.sent = 0
        self.answered: set[int] = set()
        #: what the kernel said to those that it did not send
        self.errors: list[tuple[int, OSError]] = []

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                self._sock.sendto(self.sent.to_bytes(8, "big"), self._to)
            except OSError as e:  # that packet is lost
                self.errors.append((self.sent, e))
            self.sent += 1
            # what is late is not caught up with: a burst is lost in the echo's buffer, where nobody looks for it
            due = max(due + INTERVAL, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _answer(self) -> None:
        while self._echo.fileno() >= 0 and not self._ended.is_set():
            with contextlib.suppress(OSError):
                data, whence = self._echo.recvfrom(100)
                self._echo.sendto(data, whence)

    def _listen(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(OSError):
                self.answered.add(int.from_bytes(self._sock.recv(100), "big"))

    def __enter__(self) -> Load:
        self._ended = threading.Event()
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.answered) > 20, "the load begins to be answered")
        return self

    def more(self, packets: int = 50) -> None:
        """Wait until so many more were sent."""
        goal = self.sent + packets
        until(lambda: self.sent >= goal)

    def answered_after(self, number: int) -> None:
        """Wait until something that was sent after packet `number` is answered."""
        until(lambda: max(self.answered, default=0) > number, "the load is answered again")

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads[0].join()
        known, end = len(self.answered), time.monotonic() + SILENCE
        while known < self.sent and time.monotonic() < end:
            time.sleep(0.01)
            if len(self.answered) > known:
                known, end = len(self.answered), time.monotonic() + SILENCE
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._echo.close()
        self._sock.close()

    @property
    def lost(self) -> list[int]:
        first = min(self.answered)
        return [n for n in range(first, self.sent) if n not in self.answered]

    @property
    def gap(self) -> float:
        """Seconds of the longest time without an answer."""
        longest = run = 0
        for number in range(self.sent):
            run = 0 if number in self.answered else run + 1
            longest = max(longest, run)
        return longest * INTERVAL


class Etcd:
    """A real etcd in the network's switch, with the network's configuration and reservations."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.url = f"http://{STORE}:2379"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Etcd:
        data, peers = self.network.folder / "etcd", "http://127.0.0.1:2380"
        argv = [
            "etcd", "--data-dir", str(data), "--unsafe-no-fsync", "--listen-client-urls", self.url,
            "--advertise-client-urls", self.url, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}", "--heartbeat-interval", "20", "--election-timeout", "200",
        ]  # fmt: skip
        with netns.entered(self.network.names[0]), (self.network.folder / "etcd.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: "true" in self.ctl("endpoint", "health", "--write-out=json"), "etcd is healthy")
        return self

    def ctl(self, *argv: str) -> str:
        done = run_in(
            self.network.names[0],
            ["env", "ETCDCTL_API=3", "etcdctl", "--command-timeout=1s", "--endpoints", self.url, *argv],
        )
        return done.stdout

    def fill(self) -> Etcd:
        prefix = "/coreos.com/network"
        self.ctl("put", f"{prefix}/config", json.dumps(self.network.config))
        for path in (self.network.store / "subnets").iterdir():
            self.ctl("put", f"{prefix}/subnets/{path.name}", path.read_text())
        return self

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def network(folder: Path, kind: str, **more: Any) -> Iterator[Network]:
    """Built, and gone at the end whatever happens."""
    made = Network(folder, kind, **more)
    try:
        yield made.build()
    finally:
        made.close()
