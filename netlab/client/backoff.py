"""How long to wait before the next try: twice as long each time, never quite the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

#: seconds: the first wait, and the longest
FIRST, LAST = 0.1, 30.0
#: how much of a wait is left to chance, so that clients of a server that comes back do not all come at once
JITTER = 0.5


@dataclass(slots=True)
class Backoff:
    """chance: a number from 0 to 1."""

    first: float = FIRST
    last: float = LAST
    chance: Callable[[], float] = random.random
    _next: float = field(default=0.0, init=False)

    def next(self) -> float:
        """Seconds to wait now."""
        base = self._next or self.first
        self._next = min(base * 2, self.last)
        return base * (1 + JITTER * self.chance())

    def reset(self) -> None:
        """It went well."""
        self._next = 0.0
