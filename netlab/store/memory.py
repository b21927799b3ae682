"""A store in this process's memory, for tests and simulated clusters: as the durable one, without the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from netlab.store import database
from netlab.store.index import Index, Record, event_of
from netlab.store.local import LocalStore
from netlab.store.protocol import Event, KeyValue


class MemoryStore(LocalStore):
    """A Store (see protocol) that is gone with its process. To be made on a running loop."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(Index(), clock=clock)
        #: by revision; of those after the oldest kept there is every one
        self._records: dict[int, Record] = {}

    async def _keep(self, records: Sequence[Record]) -> None:
        self._records.update((record.revision, record) for record in records)

    def _values(self, revisions: Sequence[int]) -> Mapping[int, KeyValue]:
        return {revision: self._value(revision) for revision in revisions}

    def _value(self, revision: int) -> KeyValue:
        record = self._records[revision]
        assert record.value is not None
        return KeyValue(record.key, record.value, record.created, record.revision)

    def _events(self, first: int, last: int) -> Sequence[Event]:
        records = (self._records[revision] for revision in range(first, last + 1))
        return [event_of(r, self._value(r.previous) if r.previous else None) for r in records]

    async def _forget(self, revision: int) -> None:
        pass

    def _dropped(self, revisions: Sequence[int]) -> None:
        for revision in revisions:
            del self._records[revision]

    async def snapshot(self, path: Path) -> int:
        """See protocol."""
        self._usable()
        revision, oldest = self._index.revision, self._index.oldest
        records = list(self._records.values())
        await asyncio.to_thread(database.write_snapshot, path, records, revision=revision, oldest=oldest)
        return revision
