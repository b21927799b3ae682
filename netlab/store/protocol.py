"""What a store is: keys with values, one revision that counts every write, and watches that miss and repeat nothing.

The terms and the meaning of revisions are etcd's (https://etcd.io/docs, "data model"): a revision is a number that
grows by one with each write (a transaction of several writes has one revision); a key knows the revision that created
it and the one that wrote it last; the past can be read until it is compacted away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from netlab.base.errors import NetlabError

#: bytes of a key and of a value that every store takes: together just below etcd's 1.5 MiB for a request, in which the
#: key occurs three times (etcd Documentation/dev-guide/limit.md)
MAX_KEY, MAX_VALUE = 16 << 10, 1_500_000


class StoreError(NetlabError):
    """The store cannot do it now. Nothing was written, except perhaps with `Uncertain`.

    StoreError
    ├── BadKey           no store takes such a key or value
    ├── KeyExists        create: the key is there
    ├── Conflict         update, delete: the key is not as expected
    ├── Compacted        a past that is no longer kept
    ├── FutureRevision   a revision that has not been yet
    └── Uncertain        the connection or the disk broke in the middle of a write
    """


class BadKey(StoreError):
    """A key or value that no store takes: empty, beyond MAX_KEY or MAX_VALUE, or no text (a lone surrogate)."""


class Uncertain(StoreError):
    """The store went away in the middle of a write: whether it was kept, only reading it again can tell."""


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


class Batch(NamedTuple):
    """Events in order, and the revision up to which (inclusive) everything has been told. Events may be none: then it
    is a progress mark. Events of one revision are never torn apart."""

    events: Sequence[Event]
    revision: int


class Among(NamedTuple):
    """Some of a prefix's keys: those whose value has, or had before the write, a mark. marks: of a value; the same
    function for all who look for marks of one kind, so that it is asked once for each write."""

    marks: Callable[[bytes], Collection[str]]
    mark: str


class Watch(Protocol):
    """Batches for ever. It is not a generator, so that a `__anext__` may be cancelled (by a timeout) and asked again:
    nothing is lost by that. It ends (StopAsyncIteration) when it, or the store, is closed."""

    def __aiter__(self) -> Self:
        """Itself."""

    async def __anext__(self) -> Batch:
        """What has happened since the last one. Compacted, FutureRevision, StoreError; after these it is at its end."""

    async def aclose(self) -> None:
        """End it."""


class Store(Protocol):
    """Keys are text, sorted by their UTF-8 bytes. A write that returns has been kept: it survives a kill -9, and with a
    durable store the loss of power. StoreError from any method if the store is away. An empty one is at revision 1."""

    async def get(self, key: str, *, revision: int = 0) -> tuple[KeyValue | None, int]:
        """The key, and the store's revision at which this holds. revision: of the past; Compacted, FutureRevision."""

    async def list(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0, keys_only: bool = False
    ) -> Page:
        """Keys that begin with `prefix`, at most `limit` (0: all), those behind the key `after` only; at `revision`.

        keys_only: the values are empty. Compacted, FutureRevision.
        """

    async def count(self, prefix: str) -> int:
        """How many keys begin with `prefix`."""

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        """Write a key that is not there; the new revision. KeyExists. ttl: seconds until it is deleted, 0 for never."""

    async def update(self, key: str, value: bytes, *, expected: int, ttl: int = 0) -> int:
        """Write a key whose last write was at revision `expected`; the new revision. Conflict.

        ttl: from now on; 0 takes away what the key had."""

    async def delete(self, key: str, *, expected: int = 0) -> tuple[KeyValue, int]:
        """Delete a key whose last write was at `expected` (0: whatever it is); it as it was, and the new revision.
        Conflict; also with `current` None if it is not there."""

    def watch(self, prefix: str, *, after: int, progress: float = 0, among: Among | None = None) -> Watch:
        """Every write after revision `after` to keys that begin with `prefix`, in order, once, for ever.

        among: of these all that are among them; others may be told as well: a thousand watchers of a few keys each are
        not to be woken by every write.

        progress: seconds of silence after which an empty batch tells how far the store is, 0 for never. From its
        first batch: Compacted if `after` is before the oldest revision kept; FutureRevision. Buffers are bounded: a
        slow watcher is told from the history what it has missed, and gets Compacted if that has been compacted.
        """

    async def revision(self) -> int:
        """The store's revision now."""

    async def compact(self, revision: int) -> None:
        """Forget the past before `revision`, which then is the oldest kept. Compacted if it is already the oldest or
        older, FutureRevision."""

    async def snapshot(self, path: Path) -> int:
        """Write the store into a file that `restore` and `SqliteStore` read; its revision. The history is in it if the
        store has it at hand (an etcd is not asked for it). An existing file is replaced, whole or not at all."""

    async def aclose(self) -> None:
        """End all watches, and give back what is open. What was acknowledged is kept."""
