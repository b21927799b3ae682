"""What a store is: keys with values, one revision that counts every write, and watches that miss and repeat nothing.

The terms and the meaning of revisions are etcd's (https://etcd.io/docs, "data model"): a revision is a number that
grows by one with each write (a transaction of several writes has one revision); a key knows the revision that created
it and the one that wrote it last; the past can be read until it is compacted away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from netlab.base.errors import NetlabError


class StoreError(NetlabError):
    """The store cannot do it now. Nothing was written."""


class KeyExists(StoreError):
    """A key that was to be created is there. current: as it is."""

    def __init__(self, key: str, current: KeyValue | None = None) -> None:
        super().__init__(f"key {key} exists already")
        self.key, self.current = key, current


class Conflict(StoreError):
    """A key is not at the revision that was expected. current: as it is, None if it is not there."""

    def __init__(self, key: str, current: KeyValue | None) -> None:
        there = f"is at revision {current.revision}" if current else "is not there"
        super().__init__(f"key {key} {there}")
        self.key, self.current = key, current


class Compacted(StoreError):
    """A revision of the past was asked for that is no longer kept. oldest: the first that is."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} has been compacted; the oldest kept is {oldest}")
        self.asked, self.oldest = asked, oldest


class FutureRevision(StoreError):
    """A revision was asked for that has not been yet. current: the store's."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"revision {asked} is in the future; the store is at {current}")
        self.asked, self.current = asked, current


class KeyValue(NamedTuple):
    """A key as it stands at some revision. created: the revision of its creation; revision: of its last write."""

    key: str
    value: bytes
    created: int
    revision: int


class Page(NamedTuple):
    """Keys in order. revision: of the store for the whole list; more: there are keys behind the last; remaining: how
    many of them, -1 if that is not known."""

    items: Sequence[KeyValue]
    revision: int
    more: bool
    remaining: int


class Event(NamedTuple):
    """One write. kv: the key after it - or, for a deletion, as it was last, with `kv.revision` that of the deletion;
    previous: the key before it, None for a creation; deleted: whether it is a deletion."""

    kv: KeyValue
    previous: KeyValue | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in order, and the revision up to which (inclusive) everything has been told. Events may be none: then it
    is a progress mark."""

    events: Sequence[Event]
    revision: int


class Store(Protocol):
    """Keys are text, sorted by their UTF-8 bytes. A write that returns has been kept: it survives a kill -9, and with a
    durable store the loss of power. StoreError from any method if the store is away."""

    async def get(self, key: str, *, revision: int = 0) -> tuple[KeyValue | None, int]:
        """The key, and the store's revision at which this holds. revision: of the past; Compacted, FutureRevision."""

    async def list(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0, keys_only: bool = False
    ) -> Page:
        """Keys that begin with `prefix`, at most `limit` (0: all), those behind the key `after` only; at `revision`."""

    async def count(self, prefix: str) -> int:
        """How many keys begin with `prefix`."""

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        """Write a key that is not there; the new revision. KeyExists. ttl: seconds until it is deleted, 0 for never."""

    async def update(self, key: str, value: bytes, *, expected: int, ttl: int = 0) -> int:
        """Write a key whose last write was at revision `expected`; the new revision. Conflict."""

    async def delete(self, key: str, *, expected: int = 0) -> tuple[KeyValue, int]:
        """Delete a key whose last write was at `expected` (0: whatever it is); it as it was, and the new revision.
        Conflict; also with `current` None if it is not there."""

    def watch(self, prefix: str, *, after: int, progress: float = 0) -> AsyncIterator[Batch]:
        """Every write after revision `after` to keys that begin with `prefix`, in order, once, for ever.

        progress: seconds of silence after which an empty batch tells how far the store is, 0 for never. Compacted if
        `after` is older than what is kept, at once or when the watcher is too slow to keep up with a compaction.
        Closing the iterator ends the watch.
        """

    async def revision(self) -> int:
        """The store's revision now."""

    async def compact(self, revision: int) -> None:
        """Forget the past before `revision`. Compacted, FutureRevision."""

    async def snapshot(self, path: Path) -> int:
        """Write all that is kept into a file from which `restore` makes the same store; its revision."""

    async def aclose(self) -> None:
        """End all watches, and give back what is open. What was acknowledged is kept."""
