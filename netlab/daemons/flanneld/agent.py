"""What a flanneld does, from its start to its end, whatever store and backend it has.

    configuration ─▶ underlay ─▶ own lease ─▶ ┬─ leases change ──▶ HostState ─▶ kernel (only what changed)
                                              ├─ something in the kernel changed, or time ─▶ kernel (all of it)
                                              └─ the lease grows old ─▶ renewed

A round lasts as long as the configuration, the underlay and the own subnet; when one of them is another, the next round
adopts what is there. The kernel's state stays when the process ends: what needs no reader goes on carrying packets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Protocol, TypeVar

from netlab.base.aio import first
from netlab.base.errors import InputError, KernelError, MachineError
from netlab.base.notify import notify
from netlab.daemons.flanneld.metrics import DataPath, Figures
from netlab.daemons.flanneld.options import Options
from netlab.model import HostState, Item, Link
from netlab.model.diff import Create, Op
from netlab.overlay import subnetenv
from netlab.overlay.backends import Backend, Compiler, Desired, backend_of
from netlab.overlay.backends.udp import DEVICE as UDP_DEVICE
from netlab.overlay.backends.udp import Udp
from netlab.overlay.backends.wireguard import Keys, Wireguard
from netlab.overlay.config import NetworkConfig
from netlab.overlay.firewall import chains
from netlab.overlay.lease import ConfigMissing, Lease, LeaseLost, NoSubnetLeft, StoreUnavailable
from netlab.overlay.managers import Leases, SubnetManager
from netlab.overlay.underlay import Underlay, Wish, choose

#: seconds before a store that did not answer, or had no answer, is asked again: at first, and at most
RETRY, RETRY_MAX = 0.2, 5.0
#: seconds in which changes of the kernel are gathered before one look at it
SETTLE = 0.3
#: seconds between two looks at whether the network's configuration is still the one that we run under
CONFIG_LOOK = 60.0
#: seconds slept at most before the clock is looked at again: it may have been set
CLOCK_LOOK = 60.0

T = TypeVar("T")
log = logging.getLogger("flanneld")


class Network(Protocol):
    """This node's kernel (`netlab.kernel.apply.DaemonKernel`, in the namespace that the process runs in)."""

    def read(self) -> HostState:
        """The node's network as it is: devices, addresses, routes."""

    def apply(self, wanted: HostState) -> list[Op]:
        """Make it so."""

    def transition(self, was: HostState, wanted: HostState) -> list[Op]:
        """Make it so, knowing what it was."""


class Carrier(DataPath, Protocol):
    """The udp backend's data path."""

    def set_routes(self, routes: Mapping[IPv4Network, tuple[IPv4Address, int]]) -> None:
        """Where to send what is for a subnet."""

    async def run(self) -> None:
        """Carry packets until cancelled; returns when its device has gone."""

    def close(self) -> None:
        """Give back its descriptors."""


class Machine(Protocol):
    """What a flanneld needs of the machine that it runs on."""

    @property
    def network(self) -> Network:
        """The node's own."""

    def changes(self) -> AsyncIterator[None]:
        """Something in the network has changed, by us or by others."""

    def carrier(self, backend: Udp, own: Lease, underlay: Underlay) -> Carrier:
        """The data path over flannel0, which is there. MachineError if this kernel cannot, the way `backend` says."""

    def wireguard_keys(self, path: Path) -> Keys:
        """The node's key pair, made if the file is not there."""


class NodeObject(Protocol):
    """The node as an object of the Kubernetes API."""

    async def node_public_ips(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        """What the node's annotations say that the others are to be told."""

    async def network_available(self) -> None:
        """Tell that pods can be started."""


class Again(Exception):
    """The round ends, and another begins: why."""


@dataclass(slots=True)
class Round:
    """What holds as long as nothing fundamental changes. state: what the kernel was last asked for."""

    config: NetworkConfig
    underlay: Underlay
    own: Lease
    compiler: Compiler
    extra: list[Item]
    state: HostState | None = None
    peers: dict[str, Lease] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    carrier: Carrier | None = None
    #: set when `carrier` is another one
    reopened: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def backend(self) -> Backend:
        """How packets are carried."""
        return self.compiler.backend

    def close(self) -> None:
        """Give back what is open."""
        if self.carrier is not None:
            self.carrier.close()
            self.carrier = None


class Agent:
    """One flanneld. waiting: None when it does its work, else what it waits for."""

    def __init__(
        self,
        options: Options,
        manager: SubnetManager,
        machine: Machine,
        *,
        node: NodeObject | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.options, self.manager, self.machine = options, manager, machine
        self.node = node
        self.now, self.sleep = now, sleep
        self._public: tuple[IPv4Address | None, IPv6Address | None] = (options.public_ip, options.public_ipv6)
        self.figures = Figures()
        self.waiting: str | None = "just started"
        self.round: Round | None = None
        self._kernel = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled. NetlabError when only a person can help: the lease is lost, an option makes no sense."""
        while True:
            try:
                r = self.round = await self._begin()
                await first(
                    self._follow(r), self._kernel_changes(r), self._resync(r), self._renew(r), self._config(r),
                    self._carry(r),
                )  # fmt: skip
            except Again as again:
                log.warning("%s: starting over", again)
            finally:
                if self.round:
                    self.round.close()

    # -- up to the own lease

    async def _begin(self) -> Round:
        config = await self._patiently(self.manager.config, "the network's configuration")
        backend = self._backend(config)
        if self.node is not None:
            said = await self._patiently(self.node.node_public_ips, "the node")
            self._public = (said[0] or self.options.public_ip, said[1] or self.options.public_ipv6)
        found = await asyncio.to_thread(self.machine.network.read)
        underlay = choose(found, self._wish(config))
        log.info(
            "underlay %s (%s), MTU %d; backend %s",
            underlay.dev, " and ".join(str(i.ip) for i in underlay.interfaces), underlay.mtu, backend.kind,
        )  # fmt: skip
        attrs = backend.attrs(underlay, found)
        previous = subnetenv.previous(self.options.subnet_file)
        own = await self._patiently(lambda: self.manager.acquire(attrs, previous=previous), "a lease")
        log.info("lease %s%s", own.subnet, "" if own.expires else ", a reservation, which does not expire")
        self.figures.lease_expires = own.expires
        wanted = chains(config, own.subnet, masq=self.options.ip_masq, forwarding=self.options.forward_rules)
        return Round(config, underlay, own, Compiler(backend, underlay), list(wanted))

    def _backend(self, config: NetworkConfig) -> Backend:
        backend = backend_of(config, place="the network's configuration")
        if isinstance(backend, Udp):
            return replace(backend, offload=backend.offload and self.options.offload)
        if isinstance(backend, Wireguard):
            return replace(backend, keys=self.machine.wireguard_keys(self.options.key_file))
        return backend

    def _wish(self, config: NetworkConfig) -> Wish:
        o = self.options
        return Wish(
            iface=o.iface, regex=o.iface_regex, can_reach=o.iface_can_reach, public_ip=self._public[0],
            public_ipv6=self._public[1], ipv4=config.ipv4 is not None, ipv6=config.ipv6 is not None,
        )  # fmt: skip

    async def _patiently(self, ask: Callable[[], Awaitable[T]], what: str) -> T:
        """An answer of the store, however long it takes. What is waited for is said once, and /readyz shows it."""
        wait, said = RETRY, ""
        while True:
            try:
                answer = await ask()
            except (ConfigMissing, StoreUnavailable, NoSubnetLeft) as e:
                self.figures.store_errors += isinstance(e, StoreUnavailable)
                if e.message != said:
                    said = e.message
                    log.warning("waiting for %s: %s", what, said)
                if self.round is None or self.round.state is None:
                    self.waiting = f"{what}: {said}"
            else:
                if said:
                    log.info("got %s", what)
                return answer
            await self.sleep(wait)
            wait = min(RETRY_MAX, 2 * wait)

    # -- the leases, as they change

    async def _follow(self, r: Round) -> None:
        async for leases in self.manager.watch():
            mine = leases.get(r.own.subnet.key)
            if mine is None or not mine.attrs.same_node(r.own.attrs):
                await self._regain(r)
            await self._sync(r, leases)
            if self.waiting is not None:
                if self.node is not None:
                    await self._patiently(self.node.network_available, "the node's condition")
                self._announce(r)

    async def _regain(self, r: Round) -> None:
        """Our key is gone, by its age or by a hand: get it back. LeaseLost if it is another node's now."""
        attrs, subnet = r.own.attrs, r.own.subnet
        log.warning("the lease %s is not in the store any more", subnet)
        own = await self._patiently(lambda: self.manager.acquire(attrs, previous=subnet), "the lease")
        if own.subnet != subnet:
            await self.manager.release(own)
            raise LeaseLost(
                f"this node's subnet {subnet} was lost: another node has it now",
                hint="the pods here have addresses of that subnet: move them away, then start flanneld again",
            )
        r.own = own
        self.figures.lease_expires = own.expires

    async def _sync(self, r: Round, leases: Leases) -> None:
        started = time.monotonic()
        desired = r.compiler.desired(r.own, leases, r.extra)
        self._tell_refused(r, desired)
        async with self._kernel:
            r.peers = desired.peers
            if r.state is None:
                ops = await asyncio.to_thread(self.machine.network.apply, desired.state)
            else:
                ops = await asyncio.to_thread(self.machine.network.transition, r.state, desired.state)
            r.state = desired.state
            await self._look_after_carrier(r, ops)
        figures = self.figures
        figures.leases, figures.refused = len(desired.peers), len(desired.refused)
        figures.operations += len(ops)
        figures.syncs += 1
        figures.sync_seconds += time.monotonic() - started

    def _tell_refused(self, r: Round, desired: Desired) -> None:
        for key, reason in desired.refused.items():
            if r.refused.get(key) != reason:
                log.warning("lease %s is left out: %s", key, reason)
        r.refused = desired.refused

    def _announce(self, r: Round) -> None:
        """All stands: others may read subnet.env now."""
        env = subnetenv.SubnetEnv.of(r.config, r.own.subnet, mtu=r.backend.mtu(r.underlay), masq=self.options.ip_masq)
        subnetenv.write(self.options.subnet_file, env)
        self.waiting = None
        notify()
        log.info("ready: wrote %s", self.options.subnet_file)

    # -- the udp backend's data path

    async def _look_after_carrier(self, r: Round, ops: Sequence[Op]) -> None:
        """Have one that reads the device that is there, and knows the peers."""
        if not isinstance(r.backend, Udp):
            return
        made = any(isinstance(op, Create) and isinstance(op.item, Link) and op.item.name == UDP_DEVICE for op in ops)
        if r.carrier is None or made:
            r.close()
            r.carrier = await self._open_carrier(r)
            r.reopened.set()
        assert isinstance(r.backend, Udp)
        r.carrier.set_routes(r.backend.routes(r.peers))

    async def _open_carrier(self, r: Round) -> Carrier:
        assert isinstance(r.backend, Udp) and r.state is not None
        try:
            return self.machine.carrier(r.backend, r.own, r.underlay)
        except MachineError as e:
            if not r.backend.offload:
                raise
            log.warning("without offloads: %s", e.message)
        plain = replace(r.backend, offload=False)
        r.compiler = Compiler(plain, r.underlay)
        r.state = r.compiler.desired(r.own, r.peers, r.extra).state
        await asyncio.to_thread(self.machine.network.apply, r.state)
        return self.machine.carrier(plain, r.own, r.underlay)

    async def _carry(self, r: Round) -> None:
        while True:
            await r.reopened.wait()
            r.reopened.clear()
            if r.carrier is not None:
                await first(r.carrier.run(), self._reopened(r))
                if not r.reopened.is_set():
                    log.warning("%s has gone; making it again", UDP_DEVICE)
                    await self._verify(r)

    @staticmethod
    async def _reopened(r: Round) -> None:
        await r.reopened.wait()

    # -- the kernel, as it should be

    async def _kernel_changes(self, r: Round) -> None:
        async for _ in self.machine.changes():
            await self.sleep(SETTLE)
            await self._verify(r)

    async def _resync(self, r: Round) -> None:
        while True:
            await self.sleep(self.options.resync)
            await self._verify(r)

    async def _verify(self, r: Round) -> None:
        """Mend what somebody has spoilt. Again if the node's own network is another."""
        async with self._kernel:
            if r.state is None:
                return
            found = await asyncio.to_thread(self.machine.network.read)
            try:
                underlay = choose(found, self._wish(r.config))
            except InputError as e:
                problem = e.problems[0].message if e.problems else e.message
                self._troubled(f"the underlay {r.underlay.dev} is not usable: {problem}")
                return
            if underlay != r.underlay:
                raise Again(f"the underlay has changed from {_shown(r.underlay)} to {_shown(underlay)}")
            try:
                ops = await asyncio.to_thread(self.machine.network.apply, r.state)
            except KernelError as e:
                self._troubled(e.message)
                return
            if ops:
                log.warning("mended: %s", _listed(ops))
                self.figures.repairs += len(ops)
            await self._look_after_carrier(r, ops)
        if self.waiting is not None:
            self._announce(r)

    def _troubled(self, why: str) -> None:
        if self.waiting != why:
            log.warning("%s", why)
        self.waiting = why

    # -- the own lease, as it grows old

    async def _renew(self, r: Round) -> None:
        while True:
            await self.sleep(self._until_renewal(r.own))
            if self._until_renewal(r.own) > 0:
                continue
            try:
                r.own = await self._patiently(lambda: self.manager.renew(r.own), "the lease's renewal")
            except LeaseLost:
                await self._regain(r)
            else:
                log.info("lease %s renewed", r.own.subnet)
            self.figures.lease_expires = r.own.expires

    def _until_renewal(self, own: Lease) -> float:
        """Seconds, in pieces short enough to notice that the clock was set."""
        if own.expires is None:
            return CLOCK_LOOK
        left = own.expires - self.now()
        return max(0.0, min(CLOCK_LOOK, left - self.options.renew_margin))

    async def _config(self, r: Round) -> None:
        while True:
            await self.sleep(CONFIG_LOOK)
            try:
                config = await self.manager.config()
            except (ConfigMissing, StoreUnavailable):
                continue
            except InputError as e:
                log.warning("the network's configuration makes no sense any more, and is left out of account: %s", e)
                continue
            if config != r.config:
                raise Again("the network's configuration has changed")


def _shown(underlay: Underlay) -> str:
    return f"{underlay.dev} ({', '.join(map(str, underlay.interfaces))}, MTU {underlay.mtu})"


def _listed(ops: Sequence[Op], most: int = 5) -> str:
    names = [f"{type(op).__name__.lower()} {op.item}" for op in ops[:most]]
    return ", ".join(names) + (f" and {len(ops) - most} more" if len(ops) > most else "")
