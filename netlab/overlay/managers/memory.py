"""Leases in this process, for tests and for labs that are one process; what is agreed on ends with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from netlab.overlay.lease import StoreUnavailable, Subnet
from netlab.overlay.managers.store import Entries, Entry, Now, Sleep, in_the_way, until_next, wait_or


@dataclass
class MemoryStore:
    """A store in this process, for tests and single-process labs; what it agrees on ends with it.

    now, sleep: as those of StoreManager; away: set to True, it raises StoreUnavailable until it is False again.
    """

    configuration: bytes | None = None
    now: Now = time.time
    sleep: Sleep = asyncio.sleep
    away: bool = False
    keys: dict[str, Entry] = field(default_factory=dict)
    place: str = "memory"
    _revision: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, key: str, value: bytes, ttl: float | None = None) -> Entry:
        """Write, whatever was there, as a person does by hand."""
        self._revision += 1
        entry = Entry(key, value, None if ttl is None else self.now() + ttl, self._revision)
        self.keys[key] = entry
        self.touch()
        return entry

    def touch(self) -> None:
        """Wake all who watch: something changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _alive(self) -> dict[str, Entry]:
        if self.away:
            raise StoreUnavailable("the store in memory is away")
        now = self.now()
        return {key: entry for key, entry in self.keys.items() if entry.expires is None or entry.expires > now}

    async def config(self) -> bytes | None:
        """See LeaseStore."""
        self._alive()
        return self.configuration

    async def entries(self) -> Entries:
        """See LeaseStore."""
        # gives others their turn, as every real store does: races are to be seen in tests
        await asyncio.sleep(0)
        return self._alive()

    async def entry(self, key: str) -> Entry | None:
        """See LeaseStore."""
        return self._alive().get(key)

    async def create(self, subnet: Subnet, value: bytes, ttl: float) -> Entry | None:
        """See LeaseStore."""
        return None if in_the_way(subnet, self._alive()) else self.put(subnet.key, value, ttl)

    async def replace(self, entry: Entry, value: bytes, ttl: float | None) -> Entry | None:
        """See LeaseStore."""
        current = self._alive().get(entry.key)
        return self.put(entry.key, value, ttl) if current and current.revision == entry.revision else None

    async def remove(self, entry: Entry) -> bool:
        """See LeaseStore."""
        current = self._alive().get(entry.key)
        if current is not None and current.revision != entry.revision:
            return False
        self.keys.pop(entry.key, None)
        self.touch()
        return True

    async def watch(self) -> AsyncGenerator[Entries, None]:
        """See LeaseStore."""
        while True:
            changed, alive = self._changed, self._alive()
            yield alive
            await wait_or(changed.wait(), self.sleep, until_next(alive, self.now()))

    async def aclose(self) -> None:
        """Nothing to close."""
