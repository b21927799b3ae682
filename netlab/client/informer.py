"""Informers: the first duty is a local store that follows the server, the second to tell handlers of each change.

    API server ─▶ reflector ─▶ delta FIFO ─▶ informer ─┬─▶ indexer (the store)
                                                       └─▶ handlers ─▶ work queue of a controller

The store is changed before handlers hear of it. Handlers are plain functions that must not wait: they put a key into a
queue. What a handler raises ends the informer, for it is a bug. Source: client-go tools/cache/shared_informer.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from netlab.base.aio import first
from netlab.client.deltas import Delta, DeltaFifo, DeltaType
from netlab.client.indexer import Indexer, IndexFunction
from netlab.client.reflector import Reflector, Sleep, Source
from netlab.client.resources import Resource
from netlab.client.rest import Object

#: asks for objects without their spec and status, as garbage collectors and quotas need them
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Handler(Protocol):
    """Told of changes: (None, new) of a new object, (old, new) of a changed one, (old, None) of one that is gone."""

    def __call__(self, old: Object | None, new: Object | None, /) -> None: ...


def _same(obj: Object) -> Object:
    return obj


@dataclass(frozen=True, slots=True)
class Interest:
    """Which objects. metadata: only that of them; keep: makes of each object what is to be held of it.

    Interests are shared by those who want the same, `keep` included: the same function, not one that does the same.
    """

    resource: Resource
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    metadata: bool = False
    keep: Callable[[Object], Object] = _same


class Informer:
    """resync: seconds after which handlers are told of everything again, None for never."""

    def __init__(
        self, source: Source, interest: Interest, *, resync: float | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.interest, self.store = interest, Indexer()
        self._fifo = DeltaFifo(self.store)
        accept = f"{METADATA_LIST},{METADATA}" if interest.metadata else ""
        self.reflector = Reflector(
            source, interest.resource.path(interest.namespace), self._fifo, label_selector=interest.label_selector,
            field_selector=interest.field_selector, accept=accept, sleep=sleep,
        )  # fmt: skip
        self._handlers: list[Handler] = []
        self._resync, self._sleep = resync, sleep

    @property
    def synced(self) -> bool:
        """Whether the store has had all of the first list."""
        return self._fifo.synced.is_set()

    async def wait(self) -> None:
        """Until it is synced."""
        await self._fifo.synced.wait()

    def add_index(self, name: str, function: IndexFunction) -> None:
        """See Indexer.add_index."""
        self.store.add_index(name, function)

    def add_handler(self, handler: Handler) -> None:
        """Tell it of all changes from now on, and first of what is there as if it were new."""
        for obj in self.store:
            handler(None, obj)
        self._handlers.append(handler)

    def remove_handler(self, handler: Handler) -> None:
        """Tell it nothing any more, if it is told."""
        if handler in self._handlers:
            self._handlers.remove(handler)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        works = [self.reflector.run(), self._process()]
        if self._resync is not None:
            works.append(self._again(self._resync))
        await first(*works)

    async def _again(self, seconds: float) -> None:
        while True:
            await self._sleep(seconds)
            self._fifo.resync()

    async def _process(self) -> None:
        while True:
            key, deltas = await self._fifo.pop()
            for delta in deltas:
                self._apply(key, delta)
            self._fifo.taken(key)
            # a long list is not to keep everything else waiting
            await asyncio.sleep(0)

    def _apply(self, key: str, delta: Delta) -> None:
        if delta.type is DeltaType.DELETED:
            old = self.store.remove(key)
            if old is not None:
                self._tell(old, None)
            return
        new = self.interest.keep(delta.object)
        old = self.store.get(key)
        if old is not None and old["metadata"].get("uid") != new["metadata"].get("uid"):
            # a list after a break may show another object of the same name: the end of the first was not seen
            self.store.remove(key)
            self._tell(old, None)
            old = None
        self.store.put(key, new)
        unchanged = old is not None and (
            old["metadata"].get("resourceVersion") == new["metadata"].get("resourceVersion")
        )
        if not (unchanged and delta.type is DeltaType.REPLACED):
            self._tell(old, new)

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            handler(old, new)


class Informers:
    """The informers of one process, each once however many want it (client-go's SharedInformerFactory)."""

    def __init__(self, source: Source, *, resync: float | None = None, sleep: Sleep = asyncio.sleep) -> None:
        self._source, self._resync, self._sleep = source, resync, sleep
        self._informers: dict[Interest, Informer] = {}
        self._tasks: dict[Interest, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] | None = None

    def of(self, interest: Interest | Resource) -> Informer:
        """The informer for these objects; `start` lets those run that have come since."""
        if isinstance(interest, Resource):
            interest = Interest(interest)
        found = self._informers.get(interest)
        if found is None:
            found = Informer(self._source, interest, resync=self._resync, sleep=self._sleep)
            self._informers[interest] = found
        return found

    def start(self) -> None:
        """Let all run that do not yet."""
        for interest, informer in self._informers.items():
            if interest not in self._tasks:
                task = asyncio.create_task(informer.run(), name=f"informer {interest.resource}")
                task.add_done_callback(self._ended)
                self._tasks[interest] = task

    async def wait(self, only: Iterable[Interest] | None = None) -> None:
        """Until these, or all, are synced. What an informer raises is raised."""
        chosen = list(self._informers if only is None else only)
        await first(self.failure(), _all_synced([self._informers[i] for i in chosen]))

    async def failure(self) -> None:
        """Never returns; raises what an informer raised, which none does but by a bug."""
        if self._failed is None:
            self._failed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._failed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if self._failed is None:
            self._failed = asyncio.get_running_loop().create_future()
        if not self._failed.done():
            self._failed.set_exception(error)

    async def forget(self, interest: Interest) -> None:
        """End one; its store is of no more use."""
        self._informers.pop(interest, None)
        task = self._tasks.pop(interest, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def aclose(self) -> None:
        """End all."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _all_synced(informers: Iterable[Informer]) -> None:
    for informer in informers:
        await informer.wait()
