"""A kernel in memory that refuses what it is told to, and Services to serve: for tests of the proxy."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from netlab.base.errors import KernelError
from netlab.compile.gathered import Served
from netlab.compile.objects import Endpoint, EndpointSlice, Name, Service, ServicePort, SlicePort
from netlab.compile.proxying import Family, ProxyConfig
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.fake import FakeBackend
from netlab.kernel.ledger import MemoryLedger
from netlab.model import Chain, HostState, IpvsService, Item
from netlab.model.diff import Op
from netlab.model.flows import Flow

CONFIG = ProxyConfig(node="n1", node_ips=("192.168.0.1",), cluster_cidrs=("10.244.0.0/16",), local_ips=("192.168.0.1",))


class Kernel:
    """A fake kernel that refuses whatever speaks of one of `bad`. log: what it was asked, in order."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.backend.create("here")
        self.kernel = DaemonKernel(self.backend, MemoryLedger())
        self.bad: set[str] = set()
        self.log: list[str] = []
        self.tracked: list[Flow] = []
        self.broken = False
        #: chains that it has room for
        self.room: int | None = None
        #: addresses of real servers that have connections
        self.talking: set[str] = set()

    def _judge(self, items: Iterable[Item]) -> None:
        for item in items:
            text = " ".join(map(str, item.rules)) if isinstance(item, Chain) else ""
            for word in self.bad:
                if self.broken or f'"{word}' in text or f" {word}" in item.why:
                    raise KernelError(f"iptables-restore: line 7: no chain/target/match by that name ({word})")

    def chains(self) -> set[object]:
        """Those that it was asked for last."""
        there = self.kernel.ledger.load("proxy").states.get("here", HostState())
        return {chain.order for chain in there.all(Chain)}

    def _fill(self, chains: Collection[object]) -> None:
        if self.room is not None and len(chains) > self.room:
            raise KernelError("iptables-restore: line 7 failed: Memory allocation problem")

    def read(self) -> HostState:
        return self.backend.read({"here": HostState()})["here"]

    def apply(self, wanted: HostState) -> list[Op]:
        self.log.append("apply")
        self._judge(wanted)
        self._fill({item.order for item in wanted if isinstance(item, Chain)})
        return self.kernel.apply("here", "proxy", wanted)

    def step(self, gone: Collection[Item], new: Collection[Item]) -> list[Op]:
        self.log.append("step")
        self._judge(new)
        orders = {item.order for item in new if isinstance(item, Chain)}
        self._fill((self.chains() | orders) - ({item.order for item in gone} - orders))
        return self.kernel.step("here", "proxy", gone, new)

    def servers(self) -> list[IpvsService]:
        return self.backend.read({"here": HostState()}, everything=True)["here"].all(IpvsService)

    def busy(self) -> list[IpvsService]:
        return [
            replace(s, destinations=tuple(d for d in s.destinations if str(d.address) in self.talking))
            for s in self.servers()
        ]

    def flows(self, family: Family, protocol: str) -> list[Flow]:
        self.log.append(f"flows {family} {protocol}")
        return [f for f in self.tracked if f.protocol == protocol and f.address.version == family]

    def forget(self, flows: Iterable[Flow]) -> int:
        gone = list(flows)
        self.log += [f"forget {f.address}:{f.port}" for f in gone]
        self.tracked = [f for f in self.tracked if f not in gone]
        return len(gone)

    def holds(self) -> HostState:
        everything = self.backend.read({"here": HostState()}, everything=True)["here"]
        return HostState.of(i for i in everything if isinstance(i, Chain) and not i.builtin)


def served(name: str, *endpoints: str, protocol: str = "tcp", **more: Any) -> tuple[Name, Served]:
    number = sum(map(ord, name)) % 250
    service = Service(
        "x", name, more.pop("type", "ClusterIP"), (ServicePort("", protocol, 80, 80, more.pop("node_port", 0)),),
        (more.pop("ip", f"10.96.0.{number}"),), **more,
    )  # fmt: skip
    listed = tuple(Endpoint(ip, node="n1") for ip in endpoints)
    return service.key, (service, (EndpointSlice("x", f"{name}-1", name, 4, (SlicePort("", protocol, 80),), listed),))
