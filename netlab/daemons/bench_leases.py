"""`netlab bench leases`: how long a flanneld takes to follow its store: many leases at once, then one that changes.

A real flanneld in a namespace of its own, with leases in a directory that we write as other nodes would. The clock
runs from our first write to the moment at which the last entry is in the kernel (vxlan, host-gw) or the data path
says that it knows the lease (udp). With the plain text of the leases, the agreement among nodes is not measured.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_interface
from pathlib import Path
from typing import Any

from netlab.base.errors import KernelError
from netlab.daemons.bench import Figure, Target, at_most, cpu_of, machine, rss_of, terminable
from netlab.kernel import netns, observe, processes
from netlab.kernel.apply import Kernel
from netlab.kernel.events import Changes
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import Address, HostState, Link, Loopback, Route, Veth
from netlab.overlay.lease import LeaseAttrs

#: what the issue that brought this benchmark asks for: seconds for 1,000 leases and for one change
ALL_MAX, ONE_MAX, JUDGED_AT = 2.0, 0.02, 1000
BACKENDS = ("vxlan", "host-gw", "udp")
_HEALTH_PORT = 9000
_PATIENCE = 120.0
#: a /8 has room for 65,536 subnets of 256 addresses
LEASES_MAX = 60_000


@dataclass(frozen=True, slots=True)
class Report:
    """By backend: `all` and `one`, seconds; `cpu`, seconds of flanneld for all; `rss`, its bytes afterwards."""

    leases: int
    repeat: int
    figures: dict[str, dict[str, Figure]]
    machine: dict[str, Any]

    def targets(self) -> list[Target]:
        """The promises that this run can judge."""
        if self.leases != JUDGED_AT:
            return []
        limits = {"all": ("1000 leases (s)", ALL_MAX), "one": ("one change (s)", ONE_MAX)}
        return [
            at_most(f"{backend}: {text}", figures[what].median, limit)
            for backend, figures in self.figures.items()
            for what, (text, limit) in limits.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included."""
        return {
            "leases": self.leases,
            "repeat": self.repeat,
            "machine": self.machine,
            "backends": {b: {w: f.as_json() for w, f in figures.items()} for b, figures in self.figures.items()},
            "targets": [
                {"what": t.what, "value": round(t.value, 4), "limit": t.limit, "met": t.met} for t in self.targets()
            ],
        }


def run(
    leases: int,
    repeat: int,
    backends: Sequence[str] = BACKENDS,
    *,
    tell: Callable[[str, int], None] = lambda _w, _n: None,
) -> Report:
    """Measure, and leave nothing behind."""
    netns.require_root()
    samples: dict[str, dict[str, list[float]]] = {backend: {} for backend in backends}
    with terminable():
        for turn in range(repeat):
            for backend in backends:
                tell(backend, 0)
                with tempfile.TemporaryDirectory(prefix="netlab-bench-") as folder:
                    for what, value in _turn(backend, leases, Path(folder), f"bl{os.getpid()}-{turn}").items():
                        samples[backend].setdefault(what, []).append(value)
                tell(backend, 1)
    figures = {b: {what: Figure(tuple(values)) for what, values in found.items()} for b, found in samples.items()}
    return Report(leases, repeat, figures, machine())


def _turn(backend: str, count: int, folder: Path, prefix: str) -> dict[str, float]:
    store = folder / "store"
    (store / "subnets").mkdir(parents=True)
    config = {"Network": "10.0.0.0/8", "SubnetMax": "10.254.0.0", "Backend": {"Type": backend}}
    (store / "config").write_text(json.dumps(config))
    with _node(prefix) as node, _flanneld(node, store, folder) as identity:
        follower = _Follower(node, backend)
        with contextlib.closing(follower):
            texts = [_lease(backend, number, f"02:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}")
                     for number in range(1, count + 1)]  # fmt: skip
            before = cpu_of(identity)
            started = time.perf_counter()
            for key, text in texts:
                _put(store, key, text)
            follower.until(count)
            everything = time.perf_counter() - started
            cpu = cpu_of(identity) - before
            key, text = _lease(backend, count + 1, "02:00:00:ff:ff:fe")
            follower.settle()
            started = time.perf_counter()
            _put(store, key, text)
            follower.until_way(IPv4Address(key.partition("-")[0]) + 1, count + 1)
            one = time.perf_counter() - started
            return {"all": everything, "one": one, "cpu": cpu, "rss": rss_of(identity)}


def _lease(backend: str, number: int, mac: str) -> tuple[str, str]:
    """Key and value of another node's lease. All nodes are on one link, as host-gw needs."""
    data = {"VNI": 1, "VtepMAC": mac} if backend == "vxlan" else None
    public = IPv4Address(int(IPv4Address("172.16.0.2")) + number)
    attrs = LeaseAttrs(public_ip=public, backend_type=backend, backend_data=data)
    return f"{IPv4Address((10 << 24) + (number << 8))}-24", attrs.to_json()


def _put(store: Path, key: str, text: str) -> None:
    new = store / f"new-{key}"
    new.write_text(text)
    new.replace(store / "subnets" / key)


@contextlib.contextmanager
def _node(prefix: str) -> Iterator[str]:
    node, other = f"{prefix}.node", f"{prefix}.wire"
    netns.prepare()
    kernel = Kernel(LinuxBackend(), MemoryLedger())
    lo = Link(name="lo", kind=Loopback())
    near = [
        lo,
        Link(name="eth0", kind=Veth("eth0", other)),
        Address(dev="eth0", address=ip_interface("172.16.0.1/12")),
    ]
    try:
        kernel.apply_all(
            "bench", {node: HostState.of(near), other: HostState.of([lo, Link(name="eth0", kind=Veth("eth0", node))])}
        )
        yield node
    finally:
        for name in (node, other):
            netns.delete(name)


@contextlib.contextmanager
def _flanneld(node: str, store: Path, folder: Path) -> Iterator[processes.Identity]:
    """A flanneld that is ready, with the last subnet there is."""
    (folder / "subnet.env").write_text("FLANNEL_NETWORK=10.0.0.0/8\nFLANNEL_SUBNET=10.254.0.1/24\n"
                                       "FLANNEL_MTU=1500\nFLANNEL_IPMASQ=false\n")  # fmt: skip
    argv = [
        sys.executable, "-m", "netlab.cli.main", "flanneld", "--iface", "eth0", "--subnet-dir", str(store),
        "--subnet-file", str(folder / "subnet.env"), "--healthz-ip", "127.0.0.1", "--healthz-port", str(_HEALTH_PORT),
    ]  # fmt: skip
    pid = processes.spawn(argv, netns=node, log=folder / "log")
    identity = processes.identify(pid)
    assert identity is not None  # our child: until it is reaped, it has its number
    try:
        end = time.monotonic() + _PATIENCE
        while _asked(node, "/readyz")[0] != 200:
            if time.monotonic() > end or not processes.alive(identity):
                raise KernelError(f"flanneld did not become ready: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.02)
        yield identity
    finally:
        processes.stop([identity])


def _asked(node: str, path: str) -> tuple[int, str]:
    """An answer of flanneld's health port; status 0 if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", _HEALTH_PORT, timeout=10)
    try:
        with netns.entered(node):
            connection.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


class _Follower:
    """Sees how many leases a node follows: in the kernel's routes, or for udp in what flanneld says."""

    def __init__(self, node: str, backend: str) -> None:
        self._node, self._kernel = node, backend != "udp"
        self._changes = Changes(node)
        self._backend = LinuxBackend()

    def close(self) -> None:
        """Give back what is open."""
        self._changes.close()

    def _count(self) -> int:
        if not self._kernel:
            _, text = _asked(self._node, "/metrics?name[]=flannel_leases")
            lines = (line.split() for line in text.splitlines())
            return next((int(float(words[1])) for words in lines if words[:1] == ["flannel_leases"]), 0)
        state = self._backend.read({self._node: HostState()})[self._node]
        return sum(1 for route in state.all(Route) if route.via is not None)

    def until(self, count: int) -> None:
        """Until so many are followed."""
        end = time.monotonic() + _PATIENCE
        while (seen := self._count()) < count:
            if time.monotonic() > end:
                raise KernelError(f"after {_PATIENCE:.0f} s flanneld follows {seen} leases of {count}")
            if self._kernel:
                select.select([self._changes.fileno()], [], [], 1.0)
                self._changes.drain()

    def until_way(self, to: IPv4Address, count: int) -> None:
        """Until there is a way there by a gateway: one look-up, where a count would cost as much as it measures."""
        if not self._kernel:
            self.until(count)
            return
        end = time.monotonic() + _PATIENCE
        while (found := observe.way(self._node, to)) is None or found[1] is None:
            if time.monotonic() > end:
                raise KernelError(f"after {_PATIENCE:.0f} s there is no way to {to}")
            select.select([self._changes.fileno()], [], [], 1.0)
            self._changes.drain()

    def settle(self) -> None:
        """Until nothing has happened for half a second."""
        self._changes.drain()
        while select.select([self._changes.fileno()], [], [], 0.5)[0]:
            self._changes.drain()
