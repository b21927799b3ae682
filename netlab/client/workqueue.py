"""The work queue of a controller: keys that something is to be done about, each once, by one worker at a time.

A key that comes again while somebody works on it waits until that is done. A key whose work failed comes back after a
time that doubles with each failure in a row. Source: client-go util/workqueue. It knows nothing of what the keys are.
"""

from __future__ import annotations

import asyncio
from collections import deque

#: seconds before the first repetition of a key whose work failed, and at most (client-go's 5 ms and 1000 s)
FIRST, LAST = 0.005, 1000.0


class WorkQueue:
    """first, last: seconds before a key that failed comes again, the first time and at most."""

    def __init__(self, *, first: float = FIRST, last: float = LAST) -> None:
        self._first, self._last = first, last
        self._queue: deque[str] = deque()
        #: what waits or is to be done again, and what somebody works on
        self._dirty: set[str] = set()
        self._processing: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wake: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing waits (but for its time) and nobody works."""
        return not self._queue and not self._processing

    def add(self, key: str) -> None:
        """Something is to be done about this key."""
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._queue.append(key)
            self._wake_one()

    def add_after(self, key: str, seconds: float) -> None:
        """The same in some seconds. Of several times the soonest counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due, waiting = loop.time() + seconds, self._timers.get(key)
        if waiting is not None:
            if waiting.when() <= due:
                return
            waiting.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    def retry(self, key: str) -> float:
        """The same after the key's next, longer time; how many seconds that is."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # no power of two beyond what the longest time needs: a float ends at 2^1024
        seconds = min(self._first * 2.0 ** min(failures, 64), self._last)
        self.add_after(key, seconds)
        return seconds

    def failures(self, key: str) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """It went well: the next failure is the first one."""
        self._failures.pop(key, None)

    async def get(self) -> str | None:
        """The next key, which must be given back by `done`; None when the queue is closed and empty."""
        while not self._queue:
            if self._closed:
                return None
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wake.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # the call that woke us is for somebody else now
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()
                raise
        key = self._queue.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: str) -> None:
        """Nobody works on it any more."""
        self._processing.discard(key)
        if key in self._dirty:
            self._queue.append(key)
            self._wake_one()

    def close(self) -> None:
        """Take nothing more; what waits may still be got, what waits for its time not."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for waiter in self._wake:
            if not waiter.done():
                waiter.set_result(None)
        self._wake.clear()

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake_one(self) -> None:
        while self._wake:
            waiter = self._wake.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
