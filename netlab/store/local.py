"""What the stores inside this process share: decide on writes, keep them in groups, expire, answer from the index.

    create/update/delete ─▶ queue ─▶ group: checked against the present, each with its revision
                                        │ `_keep`: one disk write for the whole group (none in memory)
                                        ▼
                            index, watchers, then the answers, in the order of the queue

One group is under way at a time; what comes meanwhile is the next one. Nobody is answered from a state that is not
kept yet, not even with a refusal: a group that cannot be kept fails as a whole and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from netlab.store import keys
from netlab.store.fanout import Hub, Watcher
from netlab.store.index import Index, Record
from netlab.store.protocol import Among, Conflict, Event, KeyExists, KeyValue, Page, StoreError

#: writes in one group, and bytes of their values after which it is full
GROUP, GROUP_BYTES = 1024, 8 << 20
#: events read from the history in one go
HISTORY = 500

#: records, and what each write of the group is answered: its own, or why it is refused
Answer = Record | StoreError


class _Write(NamedTuple):
    """A write that waits. value: None for a deletion; expected: the revision that the key has, 0 for "is not there"
    (a deletion: "whatever it is")."""

    key: str
    value: bytes | None
    expected: int
    expires: float
    answer: asyncio.Future[tuple[Record, KeyValue | None]]


class LocalStore(ABC):
    """A Store (see protocol) over an Index. Made, used and closed on one loop.

    clock: Unix time, for keys that expire.
    """

    def __init__(self, index: Index, *, clock: Callable[[], float] = time.time) -> None:
        self._index = index
        self._hub = Hub(self._history, revision=index.revision, oldest=index.oldest)
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Write] = deque()
        self._working: asyncio.Task[None] | None = None
        self._clock = clock
        #: (when, key, revision of the write that said so), soonest first; what is overwritten is skipped when due
        self._expiries: list[tuple[float, str, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._compacting = asyncio.Lock()

    # what a kind of store has to say

    @abstractmethod
    async def _keep(self, records: Sequence[Record]) -> None:
        """Keep them, durably, all or none. StoreError."""

    @abstractmethod
    def _values(self, revisions: Sequence[int]) -> Mapping[int, KeyValue]:
        """Writes of the past by their revision. All are there."""

    @abstractmethod
    def _events(self, first: int, last: int) -> Sequence[Event]:
        """The writes from one revision to another, both inclusive. All are there."""

    @abstractmethod
    async def _forget(self, revision: int) -> None:
        """Keep, durably, that `revision` is the oldest."""

    @abstractmethod
    def _dropped(self, revisions: Sequence[int]) -> None:
        """These are wanted by nobody any more."""

    async def _history(self, after: int) -> tuple[Sequence[Event], int]:
        """See fanout.History. On the loop, in pieces that are short enough for it: another thread would have to get
        the interpreter's lock back for every row, which takes up to 5 ms each time while the loop is busy."""
        last = min(after + HISTORY, self._index.revision)
        await asyncio.sleep(0)
        self._index.check(after)
        return self._events(after + 1, last), last

    # reading

    def _usable(self) -> None:
        if self._closing:
            raise StoreError("the store is closed")

    async def get(self, key: str, *, revision: int = 0) -> tuple[KeyValue | None, int]:
        """See protocol."""
        self._usable()
        if not revision:
            return self._index.current.get(key), self._index.revision
        self._index.check(revision)
        found = self._index.at(key, revision)
        return (self._as_it_was([(key, found)])[0] if found else None), revision

    async def list(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0, keys_only: bool = False
    ) -> Page:
        """See protocol."""
        self._usable()
        index = self._index
        items: Sequence[KeyValue]
        if not revision or revision == index.revision:
            items, remaining = index.range(prefix, after, limit)
            revision = index.revision
        else:
            index.check(revision)
            found, remaining = index.range_at(revision, prefix, after, limit)
            items = self._as_it_was(found)
        if keys_only:
            items = [kv._replace(value=b"") for kv in items]
        return Page(items, revision, remaining > 0, remaining)

    def _as_it_was(self, found: Sequence[tuple[str, int]]) -> Sequence[KeyValue]:
        current = self._index.current
        missing = [revision for key, revision in found if (kv := current.get(key)) is None or kv.revision != revision]
        if not missing:
            return [current[key] for key, _ in found]
        past = self._values(missing)
        return [past.get(revision) or current[key] for key, revision in found]

    async def count(self, prefix: str) -> int:
        """See protocol."""
        self._usable()
        return self._index.count(prefix)

    async def revision(self) -> int:
        """See protocol."""
        self._usable()
        return self._index.revision

    @property
    def oldest(self) -> int:
        """The oldest revision that can be read; 0 if nothing was ever compacted."""
        return self._index.oldest

    def watch(self, prefix: str, *, after: int, progress: float = 0, among: Among | None = None) -> Watcher:
        """See protocol."""
        self._usable()
        return self._hub.watch(prefix, after=after, progress=progress, among=among)

    # writing

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        """See protocol."""
        keys.check(key, value)
        try:
            record, _ = await self._write(key, value, 0, ttl)
        except Conflict as e:
            raise KeyExists(key, e.current) from None
        return record.revision

    async def update(self, key: str, value: bytes, *, expected: int, ttl: int = 0) -> int:
        """See protocol."""
        keys.check(key, value)
        if expected <= 0:  # a revision that no key ever has
            raise Conflict(key, self._index.current.get(key))
        return (await self._write(key, value, expected, ttl))[0].revision

    async def delete(self, key: str, *, expected: int = 0) -> tuple[KeyValue, int]:
        """See protocol."""
        keys.check(key)
        record, previous = await self._write(key, None, expected, 0)
        assert previous is not None
        return previous, record.revision

    def _write(
        self, key: str, value: bytes | None, expected: int, ttl: int
    ) -> asyncio.Future[tuple[Record, KeyValue | None]]:
        self._usable()
        answer: asyncio.Future[tuple[Record, KeyValue | None]] = self._loop.create_future()
        self._queue.append(_Write(key, value, expected, self._clock() + ttl if ttl else 0.0, answer))
        if self._working is None:
            self._working = self._loop.create_task(self._work())
        return answer

    async def _work(self) -> None:
        """Groups, one after the other, until the queue is empty."""
        try:
            while self._queue:
                await self._group()
        finally:
            self._working = None

    async def _group(self) -> None:
        writes, answers = self._decide()
        records = [answer for answer in answers if isinstance(answer, Record)]
        try:
            if records:
                await self._keep(records)
        except BaseException as e:
            error = e if isinstance(e, StoreError) else StoreError(f"the write was interrupted: {e!r}")
            for write in writes:
                if not write.answer.done():
                    write.answer.set_exception(error)
            if not isinstance(e, StoreError):
                raise
            return
        events = [self._index.apply(record) for record in records]
        if records:
            self._hub.publish(events, records[-1].revision)
        self._expire_later(records)
        kept = iter(events)
        for write, answer in zip(writes, answers, strict=True):
            previous = next(kept).previous if isinstance(answer, Record) else None
            if write.answer.done():  # whoever asked has been cancelled
                continue
            if isinstance(answer, Record):
                write.answer.set_result((answer, previous))
            else:
                write.answer.set_exception(answer)

    def _decide(self) -> tuple[Sequence[_Write], Sequence[Answer]]:
        """Take a group out of the queue; what becomes of each if the group is kept."""
        current = self._index.current
        changed: dict[str, KeyValue | None] = {}
        revision = self._index.revision
        writes: list[_Write] = []
        answers: list[Answer] = []
        size = 0
        while self._queue and len(writes) < GROUP and size < GROUP_BYTES:
            write = self._queue.popleft()
            if write.answer.done():  # cancelled before its turn
                continue
            writes.append(write)
            key, value = write.key, write.value
            there = changed[key] if key in changed else current.get(key)
            found = there.revision if there else 0
            as_expected = there is not None if value is None and not write.expected else found == write.expected
            if not as_expected:
                answers.append(Conflict(key, there))
                continue
            revision += 1
            created = there.created if there else revision
            answers.append(Record(revision, key, value, created, found, write.expires))
            changed[key] = KeyValue(key, value, created, revision) if value is not None else None
            size += len(value or b"")
        return writes, answers

    # expiry

    def _expire_later(self, records: Iterable[Record]) -> None:
        """Remember those that expire."""
        for record in records:
            if record.expires and record.value is not None:
                heapq.heappush(self._expiries, (record.expires, record.key, record.revision))
        if self._expiries and not self._closing:
            due = self._expiries[0][0]
            if self._timer is None or self._timer.when() > self._at(due):
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.call_at(self._at(due), self._expire)

    def _at(self, unix: float) -> float:
        """A Unix time by the loop's clock."""
        return self._loop.time() + max(0.0, unix - self._clock())

    def _expire(self) -> None:
        self._timer = None
        now = self._clock()
        while self._expiries and self._expiries[0][0] <= now:
            _, key, revision = heapq.heappop(self._expiries)
            kv = self._index.current.get(key)
            if kv is not None and kv.revision == revision:
                # refused if somebody else is faster; tried again if the store cannot do it now
                try:
                    answer = self._write(key, None, revision, 0)
                except StoreError:  # broken or closed: whoever opens it anew does this, too
                    return
                answer.add_done_callback(partial(self._expired, key, revision))
        self._expire_later(())

    def _expired(self, key: str, revision: int, answer: asyncio.Future[tuple[Record, KeyValue | None]]) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is not None and not isinstance(error, Conflict) and not self._closing:
            heapq.heappush(self._expiries, (self._clock() + 1.0, key, revision))
            self._expire_later(())

    # upkeep

    async def compact(self, revision: int) -> None:
        """See protocol."""
        self._usable()
        async with self._compacting:
            self._index.check_compaction(revision)
            await self._forget(revision)
            dropped = self._index.compact(revision)
            self._hub.forget(revision)
            self._dropped(dropped)

    @abstractmethod
    async def snapshot(self, path: Path) -> int:
        """See protocol."""

    async def aclose(self) -> None:
        """See protocol. What was asked for before is still kept."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        while self._working is not None:
            await asyncio.wait([self._working])
        self._hub.close()
