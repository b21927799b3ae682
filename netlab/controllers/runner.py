"""The runner: informers wired to queues, workers that reconcile, and what becomes of a key that fails.

    informer ── change ──▶ Watch.keys ──▶ work queue ──▶ worker: reconcile(key) ─┬─ done, perhaps again at a time
       (one for each interest, shared)        ▲                                  └─ failed: again, later each time
                                              └──────────────────────────────────────┘

No worker begins before the caches of its controller are filled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netlab.base.aio import first
from netlab.client.indexer import by_controller, by_namespace
from netlab.client.informer import Handler, Informers, Interest
from netlab.client.kinds import KindHandler, Kinds
from netlab.client.recorder import Correlator, Recorder
from netlab.client.reflector import Sleep
from netlab.client.resources import Served
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient
from netlab.client.workqueue import WorkQueue
from netlab.controllers.certificates import Authority
from netlab.controllers.podranges import ClusterRange
from netlab.controllers.shape import LEAN_PODS, NODE_GRACE, Controller, Hopeless, Store, Tools, Watch

log = logging.getLogger("controllers")

#: how many keys of one controller are worked on at once
WORKERS = 5
#: seconds after which a key that fails again and again comes at the latest
PATIENCE = 300.0
#: seconds that a controller of all kinds waits for their caches: one broken kind is not to keep it from the others
ALL_SECONDS = 30.0


class Outcome(NamedTuple):
    """What became of one attempt. again: seconds until the next, None for none; retry: as soon as patience allows."""

    again: float | None = None
    retry: bool = False
    error: Exception | None = None


async def attempt(controller: Controller, key: str) -> Outcome:
    """One reconcile, as a value. A cancellation is raised."""
    try:
        return Outcome(again=await controller.reconcile(key))
    except Hopeless as e:
        return Outcome(error=e)
    except Exception as e:  # noqa: BLE001 - a loop must outlive its faults; `_Loop` says which they were
        return Outcome(retry=True, error=e)


@dataclass(slots=True)
class _Loop:
    """One controller with its queue."""

    controller: Controller
    queue: WorkQueue
    reconciled: int = 0
    failed: int = 0

    @property
    def interests(self) -> list[Interest]:
        return [watch.interest for watch in self.controller.WATCHES if isinstance(watch, Watch)]

    @property
    def watches_all(self) -> bool:
        return any(not isinstance(watch, Watch) for watch in self.controller.WATCHES)

    async def work(self) -> None:
        while (key := await self.queue.get()) is not None:
            try:
                outcome = await attempt(self.controller, key)
            finally:
                self.queue.done(key)
            self._settle(key, outcome)

    def _settle(self, key: str, outcome: Outcome) -> None:
        self.reconciled += 1
        if outcome.error is not None:
            self.failed += 1
            self._log(key, outcome.error)
        if outcome.retry:
            self.queue.retry(key)
            return
        self.queue.forget(key)
        if outcome.again is not None:
            self.queue.add_after(key, outcome.again)

    def _log(self, key: str, error: Exception) -> None:
        name = self.controller.NAME
        match error:
            case ApiError(code=409):
                log.debug("%s: %s: %s", name, key, error)  # somebody wrote in between: the next look sees it
            case ApiError() | ApiUnavailable() | Hopeless():
                # once for each failure in a row of the same key, and not at every repetition
                if self.queue.failures(key) == 0:
                    log.warning("%s: %s: %s", name, key, error)
            case _:
                log.error("%s: %s", name, key, exc_info=error)


class Runner:
    """Runs controllers against one server. ca, pod_ranges, authority, node_grace: see Tools; identity: of this process;
    now: since 1970."""

    def __init__(
        self, client: RestClient, controllers: Sequence[type[Controller]], *, ca: bytes = b"", identity: str = "",
        pod_ranges: tuple[ClusterRange, ...] = (), authority: Authority | None = None, node_grace: float = NODE_GRACE,
        workers: int = WORKERS, sleep: Sleep = asyncio.sleep, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._workers, self._pod_ranges, self._authority = workers, pod_ranges, authority
        self._node_grace = node_grace
        self.informers = Informers(client, sleep=sleep)
        self.kinds = Kinds(client, self.informers, shared=[LEAN_PODS], sleep=sleep)
        self._recorders: list[Recorder] = []
        self._loops: list[_Loop] = []
        self._begun = 0
        self.ready = asyncio.Event()
        self._client, self._ca, self._identity, self._now = client, ca, identity, now
        for controller in controllers:
            self.add(str(controller.NAME), controller)

    def add(self, name: str, make: Callable[[Tools], Controller]) -> None:
        """One more, before `run`. name: as which it speaks in events."""
        recorder = Recorder(self._client, Correlator(name, self._identity, now=self._now))
        self._recorders.append(recorder)
        self._add(make(Tools(
            self._client, self._store, self.kinds, recorder, self._ca, self._now, self._pod_ranges, self._authority,
            node_grace=self._node_grace,
        )))  # fmt: skip

    def _store(self, interest: Interest) -> Store:
        informer = self.informers.of(interest)
        informer.add_index("namespace", by_namespace)
        informer.add_index("controller", by_controller)
        return informer.store

    def _add(self, controller: Controller) -> None:
        loop = _Loop(controller, WorkQueue(last=PATIENCE))
        self._loops.append(loop)
        for watch in controller.WATCHES:
            if isinstance(watch, Watch):
                self.informers.of(watch.interest).add_handler(_handler(loop.queue, watch.keys))
            else:
                self.kinds.follow(_kind_handler(loop.queue, watch.keys))

    @property
    def idle(self) -> bool:
        """Whether no key waits, but for its time."""
        return all(loop.queue.idle for loop in self._loops)

    def why_not_ready(self) -> str | None:
        """None once all caches are filled."""
        return None if self.ready.is_set() else "the caches of the controllers are not filled yet"

    def counts(self) -> dict[str, tuple[int, int]]:
        """By controller: how many keys were reconciled, and how many of these failed."""
        return {loop.controller.NAME: (loop.reconciled, loop.failed) for loop in self._loops}

    async def run(self) -> None:
        """Reconcile until cancelled. What a bug in an informer raises is raised."""
        try:
            self.informers.start()
            await first(self.informers.failure(), self._serve())
        finally:
            for loop in self._loops:
                loop.queue.close()
            await self.informers.aclose()

    async def _serve(self) -> None:
        if not self._loops:
            self.ready.set()
        works = [self.kinds.run(), *(recorder.run() for recorder in self._recorders)]
        works += [self._begin(loop) for loop in self._loops]
        await first(*works)

    async def _begin(self, loop: _Loop) -> None:
        await self.informers.wait(loop.interests)
        if loop.watches_all:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ALL_SECONDS):
                    await self.kinds.wait()
        self._begun += 1
        if self._begun == len(self._loops):
            self.ready.set()
        await first(*(loop.work() for _ in range(self._workers)))


def _handler(queue: WorkQueue, keys: Callable[[Object | None, Object | None], Iterable[str]]) -> Handler:
    def handle(old: Object | None, new: Object | None) -> None:
        for key in keys(old, new):
            queue.add(key)

    return handle


def _kind_handler(
    queue: WorkQueue, keys: Callable[[Served, Object | None, Object | None], Iterable[str]]
) -> KindHandler:
    def handle(served: Served, old: Object | None, new: Object | None) -> None:
        for key in keys(served, old, new):
            queue.add(key)

    return handle
