"""When a proxy does what: it gathers changes, syncs them with the kernel, and looks after what it has put there.

    feed ─▶ changes, gathered ─▶ partial sync, at most one in min_sync_period ─▶ kernel
    sync_period, an address of the node changed, a refusal ─▶ full sync ─▶ kernel, read and mended

The kernel's state stays when the process ends; the next one adopts what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
from collections.abc import Callable

import orjson

from netlab.base.aio import first, in_thread
from netlab.base.errors import KernelError, MachineError
from netlab.compile.gathered import Served
from netlab.compile.objects import Name, Node
from netlab.compile.proxying import ProxyConfig
from netlab.compile.rules import families_of, local_ips
from netlab.daemons.health import Answer
from netlab.daemons.proxy.feed import Feed
from netlab.daemons.proxy.healthcheck import JSON, HealthChecks, asked
from netlab.daemons.proxy.metrics import Figures
from netlab.daemons.proxy.needs import Machine
from netlab.daemons.proxy.options import Options
from netlab.daemons.proxy.programme import Programme

#: seconds in which changes of the node's addresses are gathered
SETTLE = 0.3
#: seconds after which a refused sync is tried again: at first, and at most (the sync period, if that is less)
RETRY, RETRY_MAX = 1.0, 30.0
#: Services from which on nftables has no chain for each endpoint: the kernel walks all chains after each change of one
MANY = 2000
#: sync periods without a success after which the proxy is not healthy any more
OVERDUE = 2

log = logging.getLogger("proxy")


class Agent:
    """One proxy. waiting: None when the kernel holds what the feed says, else what is the matter; ready: called when
    that is so for the first time."""

    def __init__(
        self, options: Options, feed: Feed, machine: Machine, *, ready: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.options, self.feed, self.machine, self.clock = options, feed, machine, clock
        self._ready = ready
        self.figures = Figures()
        self.programme = Programme(machine.network, options.mode)
        self.waiting: str | None = "just started"
        self.checks = HealthChecks(lambda: self.healthy)
        self._pending: dict[Name, Served | None] = {}
        self._node: Node | None = None
        self._cidrs: tuple[str, ...] = ()
        self._ips: tuple[str, ...] | None = None
        self._fed, self._wake = asyncio.Event(), asyncio.Event()
        #: whether the configuration is another than the programme's
        self._moved = True
        self._many = False
        self._succeeded: float | None = None
        self._updated = 0.0

    async def run(self) -> None:
        """Until cancelled. MachineError if this kernel cannot do it at all."""
        await in_thread(self.machine.need, self.options.mode)
        try:
            await first(self._follow(), self._syncs(), self._addresses())
        finally:
            self.checks.close()

    # -- what is to be followed

    async def _follow(self) -> None:
        async with contextlib.aclosing(self.feed.updates()) as updates:
            async for update in updates:
                self._pending.update(update.services)
                self.figures.changes.inc(len(update.services))
                self.figures.pending.set(len(self._pending))
                self.figures.queued.set_to_current_time()
                if (update.node, update.cluster_cidrs) != (self._node, self._cidrs):
                    self._node, self._cidrs, self._moved = update.node, update.cluster_cidrs, True
                self._fed.set()
                self._wake.set()

    async def _addresses(self) -> None:
        async with contextlib.aclosing(self.machine.changes()) as changes:
            async for _ in changes:
                await asyncio.sleep(SETTLE)
                if local_ips(await in_thread(self.machine.network.read)) != self._ips and self._ips is not None:
                    self._moved = True
                    self._wake.set()

    # -- syncs

    async def _syncs(self) -> None:
        await self._fed.wait()
        retry = RETRY
        full_at = began = self.clock()
        while True:
            self._wake.clear()
            began = self.clock()
            if not self._many and len({*self.programme.known, *self._pending}) > MANY:
                # once they are many they stay so: those who come and go at the limit would have all made anew
                self._many = self._moved = True
            full = self._moved or began >= full_at
            if await self._sync(full=full):
                retry = RETRY
                if full:
                    full_at = self.clock() + self.options.sync_period
            else:
                full_at = self.clock() + min(retry, self.options.sync_period)
                retry = min(2 * retry, RETRY_MAX)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, full_at - self.clock())):
                    await self._wake.wait()
            await asyncio.sleep(max(0.0, began + self.options.min_sync_period - self.clock()))

    async def _sync(self, *, full: bool) -> bool:
        """Follow what is pending. Whether the kernel obeyed."""
        changes, self._pending = self._pending, {}
        figures, started = self.figures, time.perf_counter()
        try:
            if self._moved:
                await self._configure()
            report = await in_thread(lambda: self.programme.sync(changes, full=full))
        except (KernelError, MachineError) as e:
            self._pending = {**changes, **self._pending}
            figures.failures.inc()
            if self.waiting != e.message:
                log.error("%s", e)
            self.waiting = e.message
            return False
        finally:
            figures.pending.set(len(self._pending))
            figures.services.set(len(self.programme.known))
            figures.refused.set(len(self.programme.refused))
        took = time.perf_counter() - started
        for histogram in (figures.sync, figures.full if full else figures.partial):
            histogram.observe(took)
        figures.operations.inc(report.ops)
        figures.forgotten.inc(report.forgotten)
        figures.last.set_to_current_time()
        if report.mended:
            figures.repairs.inc(len(report.mended))
            named = [f"{type(op).__name__.lower()} {op.item}" for op in report.mended[:5]]
            more = len(report.mended) - len(named)
            log.warning("mended: %s%s", ", ".join(named), f" and {more} more" if more else "")
        await self._succeed()
        return True

    async def _succeed(self) -> None:
        self._succeeded, self._updated = self.clock(), time.time()
        await self.checks.follow(asked(self.programme.known.values(), self.options.node))
        if self.waiting is not None:
            if self._fed.is_set() and self.waiting == "just started":
                log.info("ready: %d Services, mode %s", len(self.programme.known), self.options.mode)
                self._ready()
            else:
                log.info("the kernel obeys again")
            self.waiting = None

    async def _configure(self) -> None:
        """What the rules depend on beside Services: options, the node, its addresses, and whether there are many."""
        self._moved = False
        try:
            self._ips = local_ips(await in_thread(self.machine.network.read))
            config = self._config(self._ips)
            await in_thread(self.programme.configure, config, families_of(self._ips))
        except BaseException:
            self._moved = True
            raise

    def _config(self, ips: tuple[str, ...]) -> ProxyConfig:
        o, node = self.options, self._node
        return ProxyConfig(
            node=o.node, node_ips=(node.ips if node else ()) or ips, zone=node.zone if node else "",
            cluster_cidrs=o.cluster_cidrs or self._cidrs, masquerade_all=o.masquerade_all,
            node_port_addresses=o.node_port_addresses, localhost_node_ports=o.localhost_node_ports, local_ips=ips,
            scheduler=o.scheduler, strict_arp=o.strict_arp, choice="direct" if self._many else "map",
        )  # fmt: skip

    # -- health

    @property
    def healthy(self) -> bool:
        """Whether what is asked for has been followed, recently enough."""
        if self._succeeded is None:
            return False
        return self.waiting is None or self.clock() - self._succeeded < OVERDUE * self.options.sync_period

    def healthz(self) -> Answer:
        """Should traffic from outside come to this node? Not if it is about to be taken away (S120)."""
        eligible = self._node is None or not self._node.leaving
        return self._health(self.healthy and eligible, {"nodeEligible": eligible})

    def livez(self) -> Answer:
        """Does the proxy live?"""
        return self._health(self.healthy, {})

    def _health(self, good: bool, more: dict[str, bool]) -> Answer:
        def stamp(seconds: float) -> str:
            return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()

        body = {"lastUpdated": stamp(self._updated), "currentTime": stamp(time.time()), **more}
        headers = (("X-Content-Type-Options", "nosniff"),)
        return Answer("200 OK" if good else "503 Service Unavailable", JSON, orjson.dumps(body), headers)
