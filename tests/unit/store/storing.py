"""What the tests of stores share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from netlab.store.protocol import Event

#: seconds after which a test that waits has failed
DEADLINE = 60.0


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)


async def take(watch: Any, count: int) -> list[Event]:
    """The next events of a watch, at least so many."""
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE):
        while len(events) < count:
            batch = await anext(watch)
            assert not batch.events or batch.revision >= batch.events[-1].kv.revision
            events += batch.events
    return events


def told(events: list[Event]) -> list[tuple[str, str, bytes]]:
    """Events as ("+", "~" or "-", key, value)."""
    return [("-" if e.deleted else "~" if e.previous else "+", e.kv.key, e.kv.value) for e in events]
