"""Snapshots back into stores: as a file, with its revisions and history; or key by key into any store that is empty."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from netlab.base.errors import ConflictError
from netlab.store import database
from netlab.store.database import Database
from netlab.store.index import Record
from netlab.store.protocol import Store, StoreError

#: writes under way at the same time
WRITERS = 16


async def restore_file(snapshot: Path, to: Path, *, replace: bool = False) -> int:
    """A snapshot as the file of a SqliteStore, whole or not at all; its revision. The snapshot is checked first.

    replace: what is there is given up; ConflictError if it is not to be, or if somebody serves it. InputError,
    StoreError.
    """
    return await asyncio.to_thread(_restore_file, snapshot, to, replace)


def _restore_file(snapshot: Path, to: Path, replace: bool) -> int:
    source = Database.open(snapshot, read_only=True)
    with contextlib.ExitStack() as held:
        held.callback(source.close)
        if fault := source.fault():
            raise StoreError(f"{snapshot} is damaged: {fault}", hint="take an older snapshot")
        if to.exists():
            if not replace:
                raise ConflictError(f"{to} is there already", hint="--force gives it up for the snapshot")
            held.callback(os.close, database.take_lock(to))
        # a write-ahead log of the old file would be taken for one of the new
        return source.copy(to, before=lambda: database.discard_companions(to))


async def restore_into(snapshot: Path, store: Store) -> int:
    """All keys of a snapshot into an empty store, with what is left of their ttl; the store's revision after it.

    The revisions are new ones, so clients have to list again. ConflictError if the store is not empty.
    """
    if count := await store.count(""):
        raise ConflictError(f"the store has {count} keys", hint="a snapshot can be restored only into an empty one")
    source = await asyncio.to_thread(Database.open, snapshot, read_only=True)
    try:
        records = await asyncio.to_thread(source.load, _standing)
    finally:
        source.close()
    waiting = iter(records)

    async def write() -> None:
        for record in waiting:
            assert record.value is not None
            ttl = max(1, round(record.expires - time.time())) if record.expires else 0
            await store.create(record.key, record.value, ttl=ttl)

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(write())
    return await store.revision()


def _standing(_: int, records: Iterable[Record]) -> list[Record]:
    last = {record.key: record for record in records}
    return sorted((r for r in last.values() if r.value is not None), key=lambda r: r.revision)
