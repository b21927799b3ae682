"""The default store: one SQLite file, durable. The present is in memory, the past in the file.

    loop: decide on a group (local.py) ──▶ writer thread: one INSERT, one fsync ──▶ loop: index, watchers, answers
    loop: reads of the past, in short pieces, by a connection of their own (a WAL reader waits for no writer)

The thread runs one statement for each group, because after every statement it needs the interpreter's lock back, for
which a busy loop lets it wait up to 5 ms (sys.setswitchinterval). That is also why the past is read on the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from netlab.store.database import Database
from netlab.store.index import Index, Record
from netlab.store.local import LocalStore
from netlab.store.protocol import Event, KeyValue, StoreError, Uncertain

#: rows that are deleted in one go after a compaction, between two groups of writes (a few milliseconds)
DROP = 500

T = TypeVar("T")


class SqliteStore(LocalStore):
    """A Store (see protocol) in a file. `await SqliteStore.open(path)` makes one."""

    def __init__(
        self, index: Index, writer: Database, reader: Database, *, read_only: bool, clock: Callable[[], float]
    ) -> None:
        super().__init__(index, clock=clock)
        self.path = writer.path
        self._writer, self._reader, self._read_only = writer, reader, read_only
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._broken: StoreError | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._swept: list[int] = []

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        read_only: bool = False,
        create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """The store in a file. create: make the file if there is none; read_only: beside the one that writes it, and as
        it is now. InputError: no store; ConflictError: another process serves it (it is named); StoreError."""
        writer = await asyncio.to_thread(Database.open, path, read_only=read_only, create=create)
        reader = writer
        try:
            if not read_only:
                reader = Database.open(path, read_only=True)
            index, expiring = await asyncio.to_thread(writer.load, _load)
        except BaseException:
            reader.close()
            writer.close()
            raise
        store = cls(index, writer, reader, read_only=read_only, clock=clock)
        if not read_only:
            store._dropped(index.compact(index.oldest))  # what a compaction before a crash did not come to
            store._expire_later(expiring)
        return store

    def _usable(self) -> None:
        super()._usable()
        if self._broken is not None:
            raise self._broken

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await self._loop.run_in_executor(self._thread, work, *arguments)

    async def _keep(self, records: Sequence[Record]) -> None:
        self._writable()
        try:
            await self._run(self._writer.append, records)
        except Uncertain as e:
            # memory and file may disagree from here on: better no answers than wrong ones
            self._broken = StoreError(e.message)
            self._hub.fail(self._broken)
            raise

    def _writable(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._read_only:
            raise StoreError(f"{self.path} was opened for reading only")

    def _values(self, revisions: Sequence[int]) -> Mapping[int, KeyValue]:
        return self._reader.values(revisions)

    def _events(self, first: int, last: int) -> Sequence[Event]:
        return self._reader.events(first, last)

    async def _forget(self, revision: int) -> None:
        self._writable()
        await self._run(self._writer.forget, revision)

    def _dropped(self, revisions: Sequence[int]) -> None:
        self._swept += revisions
        if self._swept and self._sweeping is None:
            self._sweeping = self._loop.create_task(self._sweep())

    async def _sweep(self) -> None:
        """Delete the rows that nobody can ask for. What is left of it is found when the file is opened again."""
        try:
            while self._swept and not self._closing:
                piece, self._swept = self._swept[:DROP], self._swept[DROP:]
                await self._run(self._writer.drop, piece)
        except StoreError:
            pass  # the disk is full, or worse: writers are told
        finally:
            self._sweeping = None

    async def settled(self) -> None:
        """Wait until compacted rows are gone from the file."""
        while self._sweeping is not None:
            await asyncio.wait([self._sweeping])

    async def shrink(self) -> None:
        """Give the file's free room back; writes wait as long as it is written anew."""
        await self.settled()
        self._writable()
        await self._run(self._writer.shrink)

    async def snapshot(self, path: Path) -> int:
        """See protocol. With the history; writes go on meanwhile."""
        self._usable()
        return await asyncio.to_thread(_copy, self.path, path)

    async def aclose(self) -> None:
        """See protocol."""
        if self._closing:
            return
        await super().aclose()
        await self.settled()
        try:
            if self._reader is not self._writer:
                self._reader.close()
            await self._run(self._writer.close)
        finally:
            self._thread.shutdown(wait=False)


def _load(oldest: int, records: Iterable[Record]) -> tuple[Index, list[Record]]:
    index = Index(oldest=oldest)
    return index, index.load(records)


def _copy(path: Path, to: Path) -> int:
    source = Database.open(path, read_only=True)
    try:
        return source.copy(to)
    finally:
        source.close()
