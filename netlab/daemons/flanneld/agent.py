"""What a flanneld does, from its start to its end, whatever store and backend it has.

    configuration ─▶ underlay ─▶ own lease ─▶ ┬─ leases change ──▶ HostState ─▶ kernel (only what changed)
                                              ├─ something in the kernel changed, or time ─▶ kernel (all of it)
                                              └─ the lease grows old ─▶ renewed

A round lasts as long as the configuration, the underlay and the own subnet; when one of them is another, the next round
adopts what is there. The kernel's state stays when the process ends: what needs no reader goes on carrying packets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from netlab.base.aio import first, in_thread
from netlab.base.errors import InputError, KernelError, MachineError, NetlabError
from netlab.base.notify import notify
from netlab.daemons.flanneld.metrics import Figures
from netlab.daemons.flanneld.needs import Carrier, Machine, NodeObject
from netlab.daemons.flanneld.options import Options
from netlab.model import HostState, Item, Link
from netlab.model.diff import Create, Op
from netlab.overlay import subnetenv
from netlab.overlay.backends import Backend, Compiler, Desired, backend_of
from netlab.overlay.backends.udp import DEVICE as UDP_DEVICE
from netlab.overlay.backends.udp import Udp
from netlab.overlay.backends.wireguard import Wireguard
from netlab.overlay.config import NetworkConfig
from netlab.overlay.firewall import chains
from netlab.overlay.lease import ConfigMissing, Lease, LeaseAttrs, LeaseLost, NoSubnetLeft, StoreUnavailable
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
    #: whether the kernel has taken all of `state`; whether the underlay was there when it was last looked for
    obeyed: bool = False
    reachable: bool = True
    #: whether subnet.env is this round's
    announced: bool = False
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
    """One flanneld. waiting: None when it does its work, else what it waits for; ready: called when it first does."""

    def __init__(
        self,
        options: Options,
        manager: SubnetManager,
        machine: Machine,
        *,
        node: NodeObject | None = None,
        ready: Callable[[], object] = notify,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.options, self.manager, self.machine = options, manager, machine
        self.node, self._tell_ready = node, ready
        self.now, self.sleep = now, sleep
        self._public: tuple[IPv4Address | None, IPv6Address | None] = (options.public_ip, options.public_ipv6)
        self.figures = Figures()
        self.waiting: str | None = "just started"
        self.round: Round | None = None
        self._kernel, self._announcing = asyncio.Lock(), asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled. NetlabError when only a person can help: the lease is lost, an option makes no sense."""
        last: Round | None = None
        while True:
            r = self.round = await self._begin() if last is None else await self._begin_again(last)
            try:
                await first(
                    self._follow(r), self._kernel_changes(r), self._resync(r), self._renew(r), self._config(r),
                    self._carry(r),
                )  # fmt: skip
            except Again as again:
                log.warning("%s: starting over", again)
                self.waiting = f"starting over: {again}"
            finally:
                r.close()
            last, self.round = r, None

    # -- up to the own lease

    async def _begin_again(self, last: Round) -> Round:
        """What makes no sense at the start ends the daemon; a node that was up once waits until it does again."""
        return await self._patiently(lambda: self._begin(last), "the network", despite=(InputError, KernelError))

    async def _begin(self, last: Round | None = None) -> Round:
        config = await self._patiently(self.manager.config, "the network's configuration")
        backend = self._backend(config)
        if self.node is not None:
            said = await self._patiently(self.node.node_public_ips, "the node")
            self._public = (said[0] or self.options.public_ip, said[1] or self.options.public_ipv6)
        found = await in_thread(self.machine.network.read)
        underlay = self._choose(found, config, last.underlay if last else None)
        log.info(
            "underlay %s (%s), MTU %d; backend %s",
            underlay.dev, " and ".join(str(i.ip) for i in underlay.interfaces), underlay.mtu, backend.kind,
        )  # fmt: skip
        own = await self._acquire(backend.attrs(underlay, found), last.own if last else None)
        log.info("lease %s%s", own.subnet, "" if own.expires else ", a reservation, which does not expire")
        self.figures.lease_expires = own.expires
        self.waiting = "the leases of the other nodes"
        wanted = chains(config, own.subnet, masq=self.options.ip_masq, forwarding=self.options.forward_rules)
        return Round(config, underlay, own, Compiler(backend, underlay), list(wanted))

    async def _acquire(self, attrs: LeaseAttrs, last: Lease | None) -> Lease:
        previous = last.subnet if last else subnetenv.previous(self.options.subnet_file)
        if last and not attrs.same_node(last.attrs):
            # the node has another address, and its pods have not: nobody else may have their subnet meanwhile
            log.info("giving back the lease %s of the address that this node had", last.subnet)
            await self._patiently(lambda: self.manager.release(last), "the former lease's release")
        return await self._patiently(lambda: self.manager.acquire(attrs, previous=previous), "a lease")

    def _backend(self, config: NetworkConfig) -> Backend:
        backend = backend_of(config, place="the network's configuration")
        if isinstance(backend, Udp):
            return replace(backend, offload=backend.offload and self.options.offload)
        if isinstance(backend, Wireguard):
            return replace(backend, keys=self.machine.wireguard_keys(self.options.key_file))
        return backend

    def _choose(self, found: HostState, config: NetworkConfig, last: Underlay | None = None) -> Underlay:
        """The underlay. A default route that told which one it is may be gone when its device was down for a while."""
        o = self.options
        wish = Wish(
            iface=o.iface, regex=o.iface_regex, can_reach=o.iface_can_reach, public_ip=self._public[0],
            public_ipv6=self._public[1], ipv4=config.ipv4 is not None, ipv6=config.ipv6 is not None,
        )  # fmt: skip
        try:
            return choose(found, wish)
        except InputError:
            if last is None or o.iface or o.iface_regex:
                raise
            return choose(found, replace(wish, iface=(last.dev,), can_reach=None))

    async def _patiently(
        self, ask: Callable[[], Awaitable[T]], what: str, *, despite: tuple[type[NetlabError], ...] = ()
    ) -> T:
        """An answer of the store, however long it takes. What is waited for is said once, and /readyz shows it.

        despite: what else is no reason to give up.
        """
        wait, said = RETRY, ""
        waited_out: tuple[type[NetlabError], ...] = (ConfigMissing, StoreUnavailable, NoSubnetLeft, *despite)
        while True:
            try:
                answer = await ask()
            except waited_out as e:
                self.figures.store_errors += isinstance(e, StoreUnavailable)
                if e.message != said:
                    said = e.message
                    log.warning("waiting for %s: %s", what, said)
                if self.round is None or not self.round.announced:
                    self.waiting = f"{what}: {said}"
            else:
                if said:
                    log.info("got %s", what)
                return answer
            await self.sleep(wait)
            wait = min(RETRY_MAX, 2 * wait)

    # -- the leases, as they change

    async def _follow(self, r: Round) -> None:
        async with _ending(self.manager.watch()) as changes:
            async for leases in changes:
                mine = leases.get(r.own.subnet.key)
                if mine is None or not mine.attrs.same_node(r.own.attrs):
                    await self._regain(r)
                await self._sync(r, leases)
                await self._announce(r)

    async def _regain(self, r: Round) -> None:
        """Our key is gone, by its age or by a hand: get it back. LeaseLost if it is another node's now."""
        attrs, subnet = r.own.attrs, r.own.subnet
        log.warning("the lease %s is not in the store any more", subnet)
        lost = LeaseLost(
            f"this node's subnet {subnet} was lost: another node has it now",
            hint="the pods here have addresses of that subnet: move them away, then start flanneld again",
        )

        async def ask() -> Lease:
            try:
                return await self.manager.acquire(attrs, previous=subnet)
            except NoSubnetLeft as e:
                raise lost from e  # it would have got this one

        own = await self._patiently(ask, "the lease", despite=(InputError,))
        if own.subnet != subnet:
            if await self._patiently(self.manager.config, "the network's configuration") != r.config:
                raise Again("the network's configuration has changed")
            await self.manager.release(own)
            raise lost
        r.own = own
        self.figures.lease_expires = own.expires

    async def _sync(self, r: Round, leases: Leases) -> None:
        started = time.monotonic()
        desired = r.compiler.desired(r.own, leases, r.extra)
        self._tell_refused(r, desired)
        async with self._kernel:
            r.peers = desired.peers
            was, r.state = r.state, desired.state
            try:
                if was is None or not r.obeyed:
                    ops = await self._make(r)
                else:
                    r.obeyed = False
                    ops = await in_thread(self.machine.network.transition, was, r.state)
                    r.obeyed = True
                await self._look_after_carrier(r, ops)
            except KernelError as e:
                ops = []
                self._troubled(e.message)
        figures = self.figures
        figures.leases, figures.refused = len(desired.peers), len(desired.refused)
        figures.operations += len(ops)
        figures.syncs += 1
        figures.sync_seconds += time.monotonic() - started

    async def _make(self, r: Round) -> list[Op]:
        """Make `r.state` so, whatever the kernel has. KernelError, and the next one to look tries again."""
        assert r.state is not None
        r.obeyed = False
        ops = await in_thread(self.machine.network.apply, r.state)
        r.obeyed = True
        return ops

    def _tell_refused(self, r: Round, desired: Desired) -> None:
        for key, reason in desired.refused.items():
            if r.refused.get(key) != reason:
                log.warning("lease %s is left out: %s", key, reason)
        r.refused = desired.refused

    async def _announce(self, r: Round) -> None:
        """If all stands, others may read subnet.env now."""
        async with self._announcing:
            if self.waiting is None or not (r.obeyed and r.reachable):
                return
            if self.node is not None and not r.announced:
                await self._patiently(self.node.network_available, "the node's condition")
            mtu, masq = r.backend.mtu(r.underlay), self.options.ip_masq
            env = subnetenv.SubnetEnv.of(r.config, r.own.subnet, mtu=mtu, masq=masq)
            subnetenv.write(self.options.subnet_file, env)
            self.waiting, r.announced = None, True
            self._tell_ready()
            log.info("ready: wrote %s", self.options.subnet_file)

    # -- the udp backend's data path

    async def _look_after_carrier(self, r: Round, ops: Sequence[Op]) -> None:
        """Have one that reads the device that is there, and knows the peers."""
        if not isinstance(r.backend, Udp):
            return
        made = any(isinstance(op, Create) and isinstance(op.item, Link) and op.item.name == UDP_DEVICE for op in ops)
        if r.carrier is None or made:
            r.close()
            try:
                r.carrier = await self._open_carrier(r)
            except KernelError:
                r.obeyed = False
                raise
            r.reopened.set()
        assert isinstance(r.backend, Udp)
        r.carrier.set_routes(r.backend.routes(r.peers))

    async def _open_carrier(self, r: Round) -> Carrier:
        assert isinstance(r.backend, Udp)
        try:
            return self.machine.carrier(r.backend, r.own, r.underlay)
        except MachineError as e:
            if not r.backend.offload:
                raise
            log.warning("without offloads: %s", e.message)
        plain = replace(r.backend, offload=False)
        r.compiler = Compiler(plain, r.underlay)
        r.state = r.compiler.desired(r.own, r.peers, r.extra).state
        await self._make(r)
        return self.machine.carrier(plain, r.own, r.underlay)

    async def _carry(self, r: Round) -> None:
        while True:
            await r.reopened.wait()
            r.reopened.clear()
            carrier, began = r.carrier, time.monotonic()
            if carrier is None:
                continue
            why = f"{UDP_DEVICE} has gone"
            try:
                await first(carrier.run(), self._reopened(r))
            except KernelError as e:
                why = e.message
            if not r.reopened.is_set():
                log.warning("%s; opening it again", why)
                if r.carrier is carrier:
                    r.close()
                if time.monotonic() - began < RETRY:  # it may be so each time
                    await self.sleep(RETRY)
                await self._verify(r)

    @staticmethod
    async def _reopened(r: Round) -> None:
        await r.reopened.wait()

    # -- the kernel, as it should be

    async def _kernel_changes(self, r: Round) -> None:
        async with _ending(self.machine.changes()) as changes:
            async for _ in changes:
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
            try:
                r.reachable = await self._look_at_underlay(r)
                if not r.reachable:
                    return
                ops = await self._make(r)
                if ops:
                    log.warning("mended: %s", _listed(ops))
                    self.figures.repairs += len(ops)
                await self._look_after_carrier(r, ops)
            except KernelError as e:
                self._troubled(e.message)
                return
        await self._announce(r)

    async def _look_at_underlay(self, r: Round) -> bool:
        """Whether it is there. Again if it is another."""
        found = await in_thread(self.machine.network.read)
        try:
            underlay = self._choose(found, r.config, r.underlay)
        except InputError as e:
            problem = e.problems[0].message if e.problems else e.message
            self._troubled(f"the underlay {r.underlay.dev} is not usable: {problem}")
            return False
        if underlay != r.underlay:
            raise Again(f"the underlay has changed from {_shown(r.underlay)} to {_shown(underlay)}")
        return True

    def _troubled(self, why: str) -> None:
        if self.waiting != why:
            log.warning("%s", why)
        self.waiting = why

    # -- the own lease, as it grows old

    async def _renew(self, r: Round) -> None:
        while True:
            await self._grow_old(r)
            try:
                r.own = await self._patiently(lambda: self.manager.renew(r.own), "the lease's renewal")
            except LeaseLost:
                await self._regain(r)
            else:
                log.info("lease %s renewed", r.own.subnet)
            self.figures.lease_expires = r.own.expires

    async def _grow_old(self, r: Round) -> None:
        """Until the renewal is due, by the clock or by the time that has passed: somebody may set the clock."""
        own, lives, lived = r.own, 0.0, 0.0
        while True:
            if r.own is not own or not lived:
                own, lived = r.own, 0.0
                lives = own.expires - self.now() if own.expires is not None else math.inf
            ends = own.expires if own.expires is not None else math.inf
            # a store that gives less than the margin is asked at half of what it gives
            left = min(ends - self.now(), lives - lived) - min(self.options.renew_margin, lives / 2)
            if left <= 0:
                return
            nap = min(CLOCK_LOOK, left)
            await self.sleep(nap)
            lived += nap

    async def _config(self, r: Round) -> None:
        said = ""
        while True:
            await self.sleep(CONFIG_LOOK)
            try:
                config = await self.manager.config()
                backend_of(config, place="the network's configuration")
            except (ConfigMissing, StoreUnavailable):
                continue
            except InputError as e:
                if e.message != said:
                    said = e.message
                    log.warning("the network's configuration makes no sense any more and is left out of account: %s", e)
                continue
            if config != r.config:
                raise Again("the network's configuration has changed")
            said = ""


@contextlib.asynccontextmanager
async def _ending(changes: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close what is watched when nobody watches any more, not when the interpreter comes across it."""
    try:
        yield changes
    finally:
        if isinstance(changes, AsyncGenerator):
            await changes.aclose()


def _shown(underlay: Underlay) -> str:
    return f"{underlay.dev} ({', '.join(map(str, underlay.interfaces))}, MTU {underlay.mtu})"


def _listed(ops: Sequence[Op], most: int = 5) -> str:
    names = [f"{type(op).__name__.lower()} {op.item}" for op in ops[:most]]
    return ", ".join(names) + (f" and {len(ops) - most} more" if len(ops) > most else "")
