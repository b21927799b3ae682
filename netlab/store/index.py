"""Which key has which value at which revision: the present by key, the past by revision. Pure, without I/O.

As etcd's treeIndex (server/mvcc/index.go) this knows of the past only the revisions of each key; who keeps the values
of the past is the caller's business. Of the present it has the values: a `get` is a lookup in a dict.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netlab.store import keys
from netlab.store.protocol import Compacted, Event, FutureRevision, KeyValue

#: the revision of a store in which nothing was ever written, as etcd's: 0 means "now" in questions
FIRST = 1


class Record(NamedTuple):
    """One write as it is kept. value: None for a deletion; previous: the key's revision before, 0 if it was not there;
    expires: Unix time at which the key is to be deleted, 0 for never."""

    revision: int
    key: str
    value: bytes | None
    created: int
    previous: int
    expires: float


def event_of(record: Record, previous: KeyValue | None) -> Event:
    """What a write means to a watcher. previous: the key before it."""
    if record.value is None:
        assert previous is not None
        return Event(KeyValue(record.key, previous.value, previous.created, record.revision), previous, True)
    return Event(KeyValue(record.key, record.value, record.created, record.revision), previous, False)


class Index:
    """The state at `revision`, and the revisions of the past from `oldest` on."""

    def __init__(self, *, revision: int = FIRST, oldest: int = 0) -> None:
        self.revision, self.oldest = max(revision, oldest), oldest
        self.current: dict[str, KeyValue] = {}
        self._live: list[str] = []
        #: of each key the revisions that are kept, growing; those of them that deleted it
        self._versions: dict[str, list[int]] = {}
        self._deletions: set[int] = set()
        #: keys of which a compaction could drop something
        self._stale: set[str] = set()
        #: all keys of _versions; unsorted as long as new ones are behind its end
        self._known: list[str] = []
        self._sorted = True

    def apply(self, record: Record) -> Event:
        """Take the next write in; what it means to a watcher."""
        key = record.key
        previous = self.current.get(key)
        event = event_of(record, previous)
        self._remember(key, record.revision)
        self.revision = record.revision
        if event.deleted:
            del self.current[key]
            del self._live[bisect_left(self._live, key)]
            self._deletions.add(record.revision)
            self._stale.add(key)
            return event
        self.current[key] = event.kv
        if previous is None:
            insort(self._live, key)
        return event

    def _remember(self, key: str, revision: int) -> None:
        versions = self._versions.get(key)
        if versions is None:
            self._versions[key] = [revision]
            self._known.append(key)
            self._sorted = False
        else:
            versions.append(revision)
            self._stale.add(key)

    def load(self, records: Iterable[Record]) -> list[Record]:
        """Take many at once, in order, into an empty index; those that stand and have a time at which they expire."""
        last: dict[str, Record] = {}
        for record in records:
            last[record.key] = record
            self._remember(record.key, record.revision)
            if record.value is None:
                self._deletions.add(record.revision)
                self._stale.add(record.key)
            self.revision = max(self.revision, record.revision)
        for key, record in last.items():
            if record.value is not None:
                self.current[key] = KeyValue(key, record.value, record.created, record.revision)
        self._live = sorted(self.current)
        return [record for record in last.values() if record.expires and record.value is not None]

    def check(self, revision: int) -> None:
        """Compacted or FutureRevision, if the state at `revision` is not to be had."""
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        if revision < self.oldest:
            raise Compacted(revision, self.oldest)

    def at(self, key: str, revision: int) -> int:
        """The revision that the key has at `revision`, 0 if it is not there."""
        versions = self._versions.get(key)
        if not versions:
            return 0
        place = bisect_right(versions, revision)
        found = versions[place - 1] if place else 0
        return 0 if found in self._deletions else found

    def range(self, prefix: str, after: str = "", limit: int = 0) -> tuple[Sequence[KeyValue], int]:
        """The present: at most `limit` keys, and how many more there are."""
        start, end = keys.span(self._live, prefix, after)
        stop = min(end, start + limit) if limit else end
        current = self.current
        return [current[key] for key in self._live[start:stop]], end - stop

    def count(self, prefix: str) -> int:
        """How many keys there are now."""
        start, end = keys.span(self._live, prefix)
        return end - start

    def range_at(self, revision: int, prefix: str, after: str, limit: int) -> tuple[list[tuple[str, int]], int]:
        """The past: at most `limit` keys with the revisions that they have at `revision`, and how many more."""
        if not self._sorted:
            self._known.sort()  # new keys at the end of a sorted list: Timsort's best case
            self._sorted = True
        start, end = keys.span(self._known, prefix, after)
        found: list[tuple[str, int]] = []
        more = 0
        for place in range(start, end):
            key = self._known[place]
            if there := self.at(key, revision):
                if limit and len(found) >= limit:
                    more += 1
                else:
                    found.append((key, there))
        return found, more

    def check_compaction(self, revision: int) -> None:
        """Compacted or FutureRevision, if the past before `revision` cannot be forgotten."""
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        if revision <= self.oldest:
            raise Compacted(revision, self.oldest)

    def compact(self, revision: int) -> list[int]:
        """Forget what is superseded at `revision`; the revisions whose values are wanted by nobody any more."""
        self.oldest = max(self.oldest, revision)
        dropped: list[int] = []
        settled: list[str] = []
        gone: set[str] = set()
        for key in self._stale:
            versions = self._versions[key]
            keep = bisect_right(versions, revision) - 1
            if keep >= 0 and versions[keep] in self._deletions:
                keep += 1
            if keep > 0:
                dropped += versions[:keep]
                self._deletions.difference_update(versions[:keep])
                del versions[:keep]
            if not versions:
                del self._versions[key]
                gone.add(key)
            if not versions or (len(versions) == 1 and versions[0] not in self._deletions):
                settled.append(key)
        self._stale.difference_update(settled)
        if gone:
            # a new list: whoever walks over the old one is not disturbed
            self._known = [key for key in self._known if key not in gone]
        return dropped
