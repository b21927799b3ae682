"""One log of writes, told to many watchers: each gets every write to its prefix once and in order, or an error.

    store ── publish ──▶ Hub: the last RING events ──▶ routes by prefix ──▶ Watcher.pending (≤ PENDING) ──▶ __anext__
                              ▲                                                 │ overflowed, or began in the past
                              └──────────── has the ring what is missing? ◀─────┘
                                   no: `history` (the store's log) ─────────────▶ its events, until the ring has it

A watcher is a position (the revision up to which it was told everything) and a list of what came since. Publishing
appends to those lists and wakes watchers in rounds: the more were woken last, the longer the pause, so that a thousand
watchers get a few events each time and not one. No watcher holds up the store or another watcher.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Self

from netlab.store.index import FIRST
from netlab.store.protocol import Among, Batch, Compacted, Event, FutureRevision, StoreError

#: events kept for watchers that come back soon, and the bytes of their values at most
RING, RING_BYTES = 4096, 16 << 20
#: events that may wait for one watcher before it is sent to the ring and the history
PENDING = 2048
#: seconds of pause for each watcher woken in the last round (about twice what waking one costs), and at most
PAUSE, PAUSE_MAX = 20e-6, 0.05

#: (after) -> the events of all keys after that revision, as many as are handy, and the revision up to which these are
#: all. It makes progress or raises Compacted.
History = Callable[[int], Awaitable[tuple[Sequence[Event], int]]]
#: (after) -> FutureRevision if the store has not come so far. For stores of which the hub is not told at once.
Confirm = Callable[[int], Awaitable[None]]


def _revision(event: Event) -> int:
    return event.kv.revision


class _Route:
    """The watchers of a prefix: of all its keys, or of those with a mark."""

    __slots__ = ("_all", "_marked")

    def __init__(self) -> None:
        self._all: set[Watcher] = set()
        self._marked: dict[Callable[[bytes], Collection[str]], dict[str, set[Watcher]]] = {}

    @property
    def empty(self) -> bool:
        """Whether nobody is left."""
        return not self._all and not self._marked

    def add(self, watcher: Watcher) -> None:
        """One more."""
        if watcher.among is None:
            self._all.add(watcher)
        else:
            marks, mark = watcher.among
            self._marked.setdefault(marks, {}).setdefault(mark, set()).add(watcher)

    def discard(self, watcher: Watcher) -> None:
        """One less, if he was one."""
        if watcher.among is None:
            self._all.discard(watcher)
            return
        marks, mark = watcher.among
        by_mark = self._marked.get(marks, {})
        there = by_mark.get(mark, set())
        there.discard(watcher)
        if not there:
            by_mark.pop(mark, None)
        if not by_mark:
            self._marked.pop(marks, None)

    def tell(self, event: Event) -> None:
        """Append it to what waits for those whom it concerns."""
        for watcher in self._all:
            watcher.append(event)
        for marks, by_mark in self._marked.items():
            found = set(marks(event.kv.value))
            if event.previous is not None:
                found.update(marks(event.previous.value))
            for mark in found:
                for watcher in by_mark.get(mark, ()):
                    watcher.append(event)


class Hub:
    """The watchers of one store, on one loop. oldest: the store's oldest revision kept; revision: its last."""

    def __init__(self, history: History, *, revision: int, oldest: int = 0, confirm: Confirm | None = None) -> None:
        self._history, self._confirm = history, confirm
        self.revision, self.oldest = revision, oldest
        #: after this revision the ring has everything
        self._floor = revision
        self._ring: list[Event] = []
        self._bytes = 0
        #: prefix → watchers; the lengths of the prefixes, each once, with how many prefixes have it
        self._routes: dict[str, _Route] = {}
        self._lengths: dict[int, int] = {}
        self._woken: deque[Watcher] = deque()
        self._round: asyncio.Handle | None = None
        self._next_round = 0.0
        self._watchers: set[Watcher] = set()
        self._ended: StoreError | None = None
        self.closed = False

    def watch(self, prefix: str, *, after: int, progress: float, among: Among | None = None) -> Watcher:
        """A new watcher. It costs nothing until its first batch is asked for."""
        return Watcher(self, prefix, max(after, FIRST), progress, among)  # nothing was written at the first revision

    def publish(self, events: Sequence[Event], revision: int) -> None:
        """Tell of the next events, and that they are all up to `revision`. Events of one revision come together."""
        self.revision = revision
        self._ring += events
        for event in events:
            self._bytes += len(event.kv.value)
            key = event.kv.key
            for length in self._lengths:
                # a key is no longer than itself: cut to a greater length it would be found again
                if length <= len(key) and (route := self._routes.get(key[:length])):
                    route.tell(event)
        if len(self._ring) > 2 * RING or self._bytes > RING_BYTES:
            self._trim()
        if self._woken and self._round is None:
            self._schedule()

    def _trim(self) -> None:
        keep, size = 0, 0
        for event in reversed(self._ring):
            size += len(event.kv.value)
            if keep >= RING or size > RING_BYTES // 2:
                break
            keep += 1
        cut = len(self._ring) - keep
        # a revision is in the ring as a whole or not at all
        while 0 < cut < len(self._ring) and _revision(self._ring[cut]) == _revision(self._ring[cut - 1]):
            cut += 1
        if cut:
            self._floor = _revision(self._ring[cut - 1])
            del self._ring[:cut]
            self._bytes = sum(len(event.kv.value) for event in self._ring)

    def forget(self, oldest: int) -> None:
        """The store was compacted: who needs an older revision gets Compacted."""
        self.oldest = max(self.oldest, oldest)
        if oldest > self._floor:
            cut = bisect_right(self._ring, oldest, key=_revision)
            self._floor = oldest
            del self._ring[:cut]
            self._bytes = sum(len(event.kv.value) for event in self._ring)

    def skip(self, revision: int) -> None:
        """Events were missed up to `revision`: every watcher that was live goes to the history for them."""
        for watcher in tuple(self._watchers):
            watcher.lag()
        self._ring.clear()
        self._bytes = 0
        self.revision = self._floor = max(revision, self.revision)

    def fail(self, error: StoreError) -> None:
        """End all watches with an error."""
        self._ended = error
        for watcher in tuple(self._watchers):
            watcher.wake()

    def close(self) -> None:
        """End all watches, without an error."""
        self.closed = True
        if self._round is not None:
            self._round.cancel()
        for watcher in tuple(self._watchers):
            watcher.finish()

    # what watchers ask for

    def check(self) -> None:
        """The error with which all ended."""
        if self._ended is not None:
            raise self._ended

    async def confirm(self, after: int) -> None:
        """FutureRevision if that has not been yet; Compacted if what comes after it is no longer kept."""
        if self._confirm is not None:
            await self._confirm(after)
        elif after > self.revision:
            raise FutureRevision(after, self.revision)
        if after < self.oldest:
            raise Compacted(after, self.oldest)

    def recent(self, after: int) -> Sequence[Event] | None:
        """All events after that revision, None if the ring does not go back so far."""
        if after < self._floor:
            return None
        return self._ring[bisect_right(self._ring, after, key=_revision) :] if after < self.revision else ()

    async def past(self, after: int) -> tuple[Sequence[Event], int]:
        """The next events after that revision, from the history."""
        return await self._history(after)

    def enter(self, watcher: Watcher) -> None:
        """From now on events are appended to it."""
        self._watchers.add(watcher)
        route = self._routes.get(watcher.prefix)
        if route is None:
            self._routes[watcher.prefix] = route = _Route()
            self._lengths[len(watcher.prefix)] = self._lengths.get(len(watcher.prefix), 0) + 1
        route.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        """From now on they are not."""
        self._watchers.discard(watcher)
        route = self._routes.get(watcher.prefix)
        if route is None:
            return
        route.discard(watcher)
        if route.empty:
            del self._routes[watcher.prefix]
            length = len(watcher.prefix)
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]

    def due(self, watcher: Watcher) -> None:
        """It has something to tell: wake it with the next round."""
        self._woken.append(watcher)

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._next_round - loop.time()
        self._round = loop.call_later(wait, self._wake) if wait > 0 else loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._round = None
        woken = self._woken
        self._woken = deque()
        for watcher in woken:
            watcher.wake()
        self._next_round = asyncio.get_running_loop().time() + min(PAUSE_MAX, PAUSE * (len(woken) - 1))


class Watcher:
    """One watch. As `protocol.Watch`."""

    __slots__ = (
        "_done", "_hub", "_live", "_overflowed", "_pending", "_position", "_progress", "_timer", "_told", "_waiter",
        "among", "prefix",
    )  # fmt: skip

    def __init__(self, hub: Hub, prefix: str, after: int, progress: float, among: Among | None = None) -> None:
        self.prefix, self.among = prefix, among
        self._hub, self._position, self._progress = hub, after, progress
        self._pending: list[Event] = []
        #: whether the hub appends to `pending`; whether it had to stop, because nobody took it
        self._live = self._overflowed = False
        self._done = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: when something was last told, by the loop's clock
        self._told = 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        if self._waiter is not None:
            raise RuntimeError("two tasks ask one watch for its next batch")
        try:
            batch = await self._next()
        except StoreError:
            self.finish()
            if self._hub.closed:
                raise StopAsyncIteration from None
            raise
        if batch is None:
            self.finish()
            raise StopAsyncIteration
        if self._progress:
            self._told = asyncio.get_running_loop().time()
        return batch

    async def _next(self) -> Batch | None:
        hub = self._hub
        while not self._done and not hub.closed:
            hub.check()
            if self._overflowed:
                self.lag()
            if not self._live:
                await hub.confirm(self._position)
                events = hub.recent(self._position)
                if events is None:
                    events, self._position = await self._from_history()
                else:  # no await from `recent` to `enter`: nothing can come in between
                    hub.enter(self)
                    self._live = True
                    self._position = max(self._position, hub.revision)
                chosen = [event for event in events if event.kv.key.startswith(self.prefix)]
                if chosen:
                    return Batch(chosen, self._position)
            elif self._pending:
                events, self._pending = self._pending, []
                self._position = hub.revision
                return Batch(events, self._position)
            elif not await self._told_or_silent():
                return Batch((), self._position)
        return None

    async def _from_history(self) -> tuple[Sequence[Event], int]:
        """A cancellation here leaves the position where it was."""
        events, upto = await self._hub.past(self._position)
        if upto <= self._position:
            raise StoreError(f"the history after revision {self._position} cannot be read")
        return events, upto

    async def _told_or_silent(self) -> bool:
        """Wait to be woken: True; False after `progress` seconds without a word."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        if self._progress and self._timer is None:
            self._told = self._told or loop.time()
            self._timer = loop.call_at(self._told + self._progress, self._silence)
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._pending or self._done or self._overflowed or not self._live or self._hub.closed:
            return True
        if self._progress and loop.time() >= self._told + self._progress:
            self._position = max(self._position, self._hub.revision)
            return False
        return True

    def _silence(self) -> None:
        """One timer for each interval, however much is told in it."""
        self._timer = None
        loop = asyncio.get_running_loop()
        if loop.time() < self._told + self._progress:
            self._timer = loop.call_at(self._told + self._progress, self._silence)
        else:
            self.wake()

    # what the hub does

    def append(self, event: Event) -> None:
        """The next event of its prefix."""
        if self._overflowed or event.kv.revision <= self._position:  # the latter: the history was ahead of the hub
            return
        pending = self._pending
        pending.append(event)
        if len(pending) == 1:
            self._hub.due(self)
        elif len(pending) > PENDING:
            self._position = max(self._position, pending[0].kv.revision - 1)
            pending.clear()
            self._overflowed = True

    def lag(self) -> None:
        """Forget what waits: it is read anew from the ring or the history, from the position on."""
        if self._live and not self._overflowed:
            told = self._pending[0].kv.revision - 1 if self._pending else self._hub.revision
            self._position = max(self._position, told)
        self._pending = []
        self._live = self._overflowed = False
        self._hub.leave(self)
        self.wake()

    def wake(self) -> None:
        """Let a waiting `__anext__` look."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def finish(self) -> None:
        """Give back what is held."""
        self._done = True
        self._pending = []
        self._hub.leave(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.wake()

    async def aclose(self) -> None:
        """End the watch."""
        self.finish()
