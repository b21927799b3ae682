"""What waits for a node: at once, after a while, or until something changes that could help.

    add ──▶ active ── pop ──▶ being decided ─┬─ placed
               ▲                             ├─ nowhere to go ──▶ unschedulable ── a change that helps, or 5 minutes
               └──── its time is up ── backoff ◀── a fault ◀────────┘

The more important pod comes first, then the older one. After its n-th attempt a pod waits 1, 2, 4 … 10 s at least.
Nothing may happen between `pop` and what is said of the pod then. It reads the clock that it is handed, and sets no
timer. Source: kubernetes pkg/scheduler/backend/queue.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from netlab.scheduler.pods import Pod

#: seconds between two attempts for one pod, the first time and at most
FIRST, LAST = 1.0, 10.0
#: seconds after which a pod is tried again without a reason
LEFT_OVER = 300.0


@dataclass(slots=True)
class _Waiting:
    pod: Pod
    since: float
    attempts: int = 0
    #: when its last attempt ended, and who said no
    ended: float = 0.0
    plugins: frozenset[str] = field(default=frozenset())


class SchedulingQueue:
    """now: seconds that only grow."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._all: dict[str, _Waiting] = {}
        self._active: list[tuple[int, float, int, str]] = []
        self._backoff: list[tuple[float, int, str]] = []
        self._unschedulable: dict[str, _Waiting] = {}
        #: of what lies in a heap, the number of its entry: others of the same key are old
        self._entry: dict[str, int] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Pod]:
        return (w.pod for w in self._all.values())

    def counts(self) -> dict[str, int]:
        """How many pods are where."""
        backoff = sum(self._entry.get(key) == number for _, number, key in self._backoff)
        return {"active": len(self._entry) - backoff, "backoff": backoff, "unschedulable": len(self._unschedulable)}

    def get(self, key: str) -> Pod | None:
        """The pod of a key, if it waits or is being decided."""
        waiting = self._all.get(key)
        return None if waiting is None else waiting.pod

    def set(self, pod: Pod) -> None:
        """A pod waits, or is another than it was: it is tried at once. What changes nothing does nothing."""
        waiting = self._all.get(pod.key)
        if waiting is None or waiting.pod.uid != pod.uid:
            self._all[pod.key] = waiting = _Waiting(pod, self._now())
            self._unschedulable.pop(pod.key, None)
        else:
            old, waiting.pod = waiting.pod, pod
            if old == pod or (self._unschedulable.pop(pod.key, None) is None and not old.gated):
                return  # it comes as it is now when its time has come
        if not pod.gated:
            self._activate(waiting)

    def remove(self, key: str) -> None:
        """It waits no longer."""
        self._all.pop(key, None)
        self._entry.pop(key, None)
        self._unschedulable.pop(key, None)

    def pop(self) -> Pod | None:
        """The next to be decided, which `unschedulable`, `fault` or `remove` must follow; None if none is due."""
        now = self._now()
        while self._backoff and self._backoff[0][0] <= now:
            _, number, key = heapq.heappop(self._backoff)
            if self._entry.get(key) == number:
                self._activate(self._all[key])
        while self._active:
            _, _, number, key = heapq.heappop(self._active)
            if self._entry.get(key) != number:
                continue
            del self._entry[key]
            waiting = self._all[key]
            waiting.attempts += 1
            return waiting.pod
        return None

    def unschedulable(self, key: str, plugins: frozenset[str]) -> None:
        """There was no node. plugins: who said so."""
        waiting = self._all.get(key)
        if waiting is None:
            return
        waiting.ended, waiting.plugins = self._now(), plugins
        self._unschedulable[key] = waiting

    def fault(self, key: str) -> None:
        """It went wrong, and not for want of a node."""
        waiting = self._all.get(key)
        if waiting is not None:
            waiting.ended = self._now()
            self._later(waiting)

    def moved(self, helped: frozenset[str] | None) -> None:
        """Something changed. helped: plugins that may say otherwise now, None for all."""
        for key in [k for k, w in self._unschedulable.items() if _helps(helped, w)]:
            self._later(self._unschedulable.pop(key))

    def left_over(self) -> None:
        """Try those again that have waited long. To be called now and then."""
        oldest = self._now() - LEFT_OVER
        for key in [k for k, w in self._unschedulable.items() if w.ended <= oldest]:
            self._later(self._unschedulable.pop(key))

    def due(self) -> float | None:
        """Seconds until `pop` may have one; None if only a change can help."""
        if self._active:
            return 0.0
        return max(0.0, self._backoff[0][0] - self._now()) if self._backoff else None

    def _activate(self, waiting: _Waiting) -> None:
        number = self._enter(waiting)
        heapq.heappush(self._active, (-waiting.pod.priority, waiting.since, number, waiting.pod.key))

    def _later(self, waiting: _Waiting) -> None:
        until = waiting.ended + min(FIRST * 2.0 ** (waiting.attempts - 1), LAST)
        if until <= self._now():
            self._activate(waiting)
            return
        heapq.heappush(self._backoff, (until, self._enter(waiting), waiting.pod.key))

    def _enter(self, waiting: _Waiting) -> int:
        self._number += 1
        self._entry[waiting.pod.key] = self._number
        return self._number


def _helps(helped: frozenset[str] | None, waiting: _Waiting) -> bool:
    return helped is None or not helped.isdisjoint(waiting.plugins)
