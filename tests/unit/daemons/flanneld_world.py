"""A flanneld without a kernel and with a clock of the test's: namespaces and leases in memory, data paths as notes."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, ip_interface, ip_network
from pathlib import Path
from typing import Any

from netlab.base.errors import KernelError, MachineError
from netlab.daemons.flanneld.agent import Agent
from netlab.daemons.flanneld.options import Options
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.fake import FakeBackend
from netlab.kernel.ledger import MemoryLedger
from netlab.model import Address, HostState, Item, Link, Route, Veth
from netlab.model.diff import Op
from netlab.overlay.backends.udp import Udp
from netlab.overlay.backends.wireguard import Keys
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.managers.memory import MemoryStore
from netlab.overlay.managers.store import StoreManager
from netlab.overlay.underlay import Underlay

#: seconds after which a test that waits has failed
DEADLINE = 5.0
HERE, OWNER = "", "flanneld"
IP = IPv4Address("10.168.0.2")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)


class Clock:
    """Seconds since the epoch that pass only when a test says so; `set` is what a person or NTP does to it."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        #: how long somebody wanted to sleep
        self.asked: list[float] = []

    def now(self) -> float:
        return self.wall

    def set(self, seconds: float) -> None:
        """Put the hands of the clock forward, or back, without time passing."""
        self.wall += seconds

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.passed + seconds, self._count, waiting))
        await waiting

    async def advance(self, seconds: float) -> None:
        """Let time pass: everybody is woken at the time that he asked for, and comes to his next sleep."""
        end = self.passed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, waiting = heapq.heappop(self._sleepers)
            self._pass(max(0.0, at - self.passed))
            if not waiting.done():
                waiting.set_result(None)
                for _ in range(20):
                    await asyncio.sleep(0)
        self._pass(end - self.passed)

    def _pass(self, seconds: float) -> None:
        self.passed += seconds
        self.wall += seconds


class FakeNetwork:
    """See `needs.Network`. error: raised by what touches the kernel; `gate` closed: kernel work takes until it opens."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.backend.create(HERE)
        self.kernel = DaemonKernel(self.backend, MemoryLedger())
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[int] = set()
        self.busy = self.most_busy = 0
        self.applies = self.transitions = 0

    @contextlib.contextmanager
    def _working(self) -> Any:
        self.threads.add(threading.get_ident())
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            assert self.gate.wait(DEADLINE)
            yield
        finally:
            self.busy -= 1

    def read(self) -> HostState:
        with self._working():
            return self.backend.read({HERE: HostState()})[HERE]

    def apply(self, wanted: HostState) -> list[Op]:
        with self._working():
            self.applies += 1
            if self.error:
                raise self.error
            return self.kernel.apply(HERE, OWNER, wanted)

    def transition(self, was: HostState, wanted: HostState) -> list[Op]:
        with self._working():
            self.transitions += 1
            if self.error:
                raise self.error
            return self.kernel.transition(HERE, OWNER, was, wanted)

    # -- what a person does

    @property
    def state(self) -> HostState:
        return HostState.of(self.backend.spaces[HERE].values())

    def put(self, *items: Item) -> None:
        for item in items:
            self.backend.spaces[HERE][item.order] = item

    def drop(self, keep: Callable[[Item], bool]) -> None:
        self.backend.spaces[HERE] = {i.order: i for i in self.state if keep(i)}

    def unplug(self, name: str) -> None:
        self.backend._unplug(HERE, name)

    def routes(self) -> dict[str, str]:
        return {str(r.dst): f"{r.via} {r.dev}" for r in self.state.all(Route) if r.dst.prefixlen}


class FakeCarrier:
    """A data path that carries nothing. `ended` set: its device has gone."""

    def __init__(self, backend: Udp, own: Lease) -> None:
        self.backend, self.own = backend, own
        self.routes: dict[IPv4Network, tuple[IPv4Address, int]] = {}
        self.ended = asyncio.Event()
        self.running = self.closed = False

    def set_routes(self, routes: Mapping[IPv4Network, tuple[IPv4Address, int]]) -> None:
        assert not self.closed
        self.routes = dict(routes)

    async def run(self) -> None:
        assert not self.closed
        self.running = True
        try:
            await self.ended.wait()
        finally:
            self.running = False

    def close(self) -> None:
        self.closed = True

    def samples(self) -> list[tuple[str, dict[str, str], int]]:
        return [("packets", {"direction": "out"}, 1)]


class FakeMachine:
    """See `needs.Machine`. offloads: whether its kernel has them."""

    def __init__(self, *, offloads: bool = True) -> None:
        self.network = FakeNetwork()
        self.offloads = offloads
        self.refusal: Exception | None = None
        self.carriers: list[FakeCarrier] = []
        self._told = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._told.set()

    async def changes(self) -> AsyncGenerator[None, None]:
        while True:
            await self._told.wait()
            self._told.clear()
            yield

    def carrier(self, backend: Udp, own: Lease, underlay: Underlay) -> FakeCarrier:
        if self.refusal:
            raise self.refusal
        if backend.offload and not self.offloads:
            raise MachineError("this kernel's TUN has no offloads")
        if self.network.state.link("flannel0") is None:
            raise KernelError("there is no device flannel0")
        self.carriers.append(FakeCarrier(backend, own))
        return self.carriers[-1]

    def wireguard_keys(self, path: Path) -> Keys:
        return Keys(private="p" * 44, public="q" * 44)


@dataclass
class World:
    """A node 10.168.0.2 with eth0, a store, and what a flanneld on it does."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    machine: FakeMachine = field(default_factory=FakeMachine)
    options: dict[str, Any] = field(default_factory=dict)
    node: Any = None
    ttl: float = 86400.0

    def __post_init__(self) -> None:
        self.store = MemoryStore(now=self.clock.now, sleep=self.clock.sleep)
        self.manager = StoreManager(
            self.store, ttl=self.ttl, choose=lambda free: free[0], now=self.clock.now, sleep=self.clock.sleep
        )
        self.machine.network.put(*eth0(), Route(dst=ip_network("0.0.0.0/0"), via=gateway(), dev="eth0"))
        self.agent = Agent(
            Options(subnet_file=self.env, **self.options), self.manager, self.machine, node=self.node,
            now=self.clock.now, sleep=self.clock.sleep,
        )  # fmt: skip
        self.task: asyncio.Task[None] | None = None

    @property
    def env(self) -> Path:
        return self.folder / "run" / "subnet.env"

    @property
    def network(self) -> FakeNetwork:
        return self.machine.network

    def configure(self, kind: str = "vxlan", network: str = "100.96.0.0/16", **more: Any) -> None:
        backend = {"Type": kind, **more.pop("backend", {})}
        self.store.configuration = json.dumps({"Network": network, "Backend": backend, **more}).encode()
        self.store.touch()

    def peer(self, number: int, kind: str = "vxlan", **more: Any) -> str:
        """A lease of another node, as it would write it."""
        data = {"VNI": 1, "VtepMAC": f"0e:00:00:00:00:{number:02x}"} if kind == "vxlan" else None
        attrs = LeaseAttrs(public_ip=IPv4Address(f"10.168.0.{number + 1}"), backend_type=kind, backend_data=data)
        key = more.pop("key", f"100.96.{number}.0-24")
        self.store.put(key, (more.pop("value", None) or attrs.to_json()).encode(), more.pop("ttl", 86400.0))
        return str(key)

    def start(self) -> None:
        self.task = asyncio.create_task(self.agent.run())

    async def ready(self) -> None:
        await until(lambda: self.over() or self.agent.waiting is None)
        if self.task and self.task.done():
            await self.task

    async def later(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, second by second of the test's clock: somebody may still be on his way to his sleep."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await self.clock.advance(1)
                await asyncio.sleep(0.002)

    def over(self) -> bool:
        return self.task is not None and self.task.done()

    def own(self) -> str:
        """The key under which the node's lease stands."""
        (key,) = [k for k, e in self.store.keys.items() if json.loads(e.value)["PublicIP"] == str(IP)]
        return key

    async def stop(self) -> None:
        self.network.gate.set()
        if self.task:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.task


def gateway() -> IPv4Address:
    return IPv4Address("10.168.0.1")


def eth0(address: str = "10.168.0.2/24", *, mtu: int = 1500, up: bool = True) -> list[Item]:
    link = Link(name="eth0", kind=Veth("p0", "switch"), mtu=mtu, up=up)
    return [link, Address(dev="eth0", address=ip_interface(address))]


@contextlib.asynccontextmanager
async def world(folder: Path, **more: Any) -> AsyncIterator[World]:
    made = World(folder, **more)
    try:
        yield made
    finally:
        await made.stop()


def run(body: Callable[[], Awaitable[None]]) -> None:
    """A test in an event loop of its own; nothing may take longer than the deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(3 * DEADLINE):
            await body()

    asyncio.run(bounded())
