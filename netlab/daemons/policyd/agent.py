"""When a policy agent does what.

    source ─▶ objects changed ─▶ a step ─▶ kernel
    resync, or a refusal that is tried again ─▶ the whole ─▶ kernel, read and mended

The rules stay when the process ends: pods stay as isolated as they were, and the next one adopts what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from functools import partial

from netlab.base.aio import first, in_thread
from netlab.base.errors import KernelError, MachineError
from netlab.compile.gathered import Gathered
from netlab.compile.policies_iptables import PolicyConfig
from netlab.daemons.policyd.metrics import Figures
from netlab.daemons.policyd.options import Options
from netlab.daemons.policyd.programme import Network, Programme
from netlab.daemons.sources import Source, Want, told
from netlab.model.diff import Op

#: seconds after which a refused sync is tried again: at first, and at most
RETRY, RETRY_MAX = 0.5, 30.0
log = logging.getLogger("policyd")


def wants(node: str) -> tuple[Want, ...]:
    """What a policy agent asks an API server for; see the role system:netlab-policyd."""
    return (Want("NetworkPolicy"), Want("Pod"), Want("Namespace"), Want("Node", fields=f"metadata.name={node}"))


class Agent:
    """One policy agent. waiting: None when the kernel holds what the objects say, else what is the matter; ready:
    called when that is so for the first time."""

    def __init__(
        self, options: Options, source: Source, network: Network, *, ready: Callable[[], object] = lambda: None
    ) -> None:
        self.options, self.source, self._tell_ready = options, source, ready
        self.figures = Figures()
        self.waiting: str | None = "the objects have not been read yet"
        config = PolicyConfig(
            node=options.node,
            hold=options.pod_cidrs,
            devices=options.devices,
            bridged=options.bridged,
            set_size=options.set_size,
        )
        self.programme = Programme(network, config)
        self._gathered = Gathered()
        self._changed = asyncio.Event()
        self._said: frozenset[str] = frozenset()
        self._ready = False

    async def run(self) -> None:
        """Until cancelled."""
        await first(self._follow(), self._work())

    async def _follow(self) -> None:
        async with contextlib.aclosing(told(self.source, log)) as changes:
            async for change in changes:
                self._gathered.take(change.values)
                self._changed.set()

    async def _work(self) -> None:
        await self._changed.wait()
        retry = RETRY
        while True:
            began = time.monotonic()
            if self._changed.is_set():
                self._changed.clear()
                done = await self._sync(partial(self.programme.follow, self._gathered.objects()))
            else:
                done = await self._sync(self.programme.mend, mending=True)
            pause = self.options.resync if done else min(retry, self.options.resync)
            retry = RETRY if done else min(2 * retry, RETRY_MAX)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            # what comes in a burst is one change of the kernel
            await asyncio.sleep(max(0.0, began + self.options.min_sync_period - time.monotonic()))

    async def _sync(self, work: Callable[[], list[Op]], *, mending: bool = False) -> bool:
        """Whether the kernel obeyed."""
        started, obeyed = time.perf_counter(), self.programme.obeyed
        try:
            ops = await in_thread(work)
        except (KernelError, MachineError) as e:
            self.figures.failures.inc()
            if self.waiting != e.message:
                log.error("%s", e)
            self.waiting = e.message
            return False
        finally:
            self._tell_problems()
        self.figures.operations.inc(len(ops))
        self.figures.policies.set(len(self.programme.objects.policies))
        if not mending:
            self.figures.seconds.observe(time.perf_counter() - started)
        elif ops and obeyed:
            self.figures.repairs.inc(len(ops))
            log.warning("mended: %s", _named(ops))
        if self.waiting is not None:
            log.info("the kernel obeys again" if self._ready else f"ready: {self._summary()}")
            self.waiting = None
        if not self._ready:
            self._ready = True
            self._tell_ready()
        return True

    def _tell_problems(self) -> None:
        problems = frozenset(self.programme.problems)
        for problem in sorted(problems - self._said):
            log.error("%s", problem)
        self._said = problems
        self.figures.problems.set(len(problems))

    def _summary(self) -> str:
        objects = self.programme.objects
        mine = sum(pod.node == self.options.node for pod in objects.pods)
        return f"{len(objects.policies)} policies, {mine} pods on {self.options.node}"

    def page(self, _names: Collection[str] = ()) -> bytes:
        """The metrics."""
        return self.figures.page(self.programme.figures())


def _named(ops: list[Op]) -> str:
    shown = [f"{type(op).__name__.lower()} {op.item}" for op in ops[:5]]
    return ", ".join(shown) + (f" and {len(ops) - 5} more" if len(ops) > 5 else "")
