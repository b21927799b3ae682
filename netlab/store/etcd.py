"""A store in a real etcd, 3.4 or later: keys exactly as given, so that `etcdctl get --prefix /registry` shows them.

Reads and writes go straight to etcd. All watches of this process share one watch over all of etcd (`_pump`), so that a
thousand of them cost etcd one stream; who begins in the past reads it by a stream of its own until it has caught up.

Deletion by ttl is by etcd's leases; keys of about the same ttl share one, as the Kubernetes API server does it
(apiserver/pkg/storage/etcd3/lease_manager.go).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from netlab.client import etcd
from netlab.client.etcd import Changes, EtcdClient, EtcdError
from netlab.client.transport import Unavailable
from netlab.store import database, keys
from netlab.store.fanout import Hub, Watcher
from netlab.store.index import Record
from netlab.store.protocol import (
    Among,
    BadKey,
    Compacted,
    Conflict,
    Event,
    FutureRevision,
    KeyExists,
    KeyValue,
    Page,
    StoreError,
    Uncertain,
)

#: keys that are asked for in one request: of some MiB, whose decoding does not hold up the loop for long
PAGE = 500
#: watchers that read the past at the same time
CATCHING_UP = 8
#: a lease is shared by keys written within this part of its ttl, at most so many seconds and so many keys
SHARED, SHARED_MAX, SHARED_KEYS = 0.05, 60.0, 1000
#: seconds before an etcd that went away is asked again, and at most
RETRY, RETRY_MAX = 0.05, 2.0


class EtcdStore:
    """A Store (see protocol) over an EtcdClient, which it closes. On one loop."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._hub = self._new_hub()
        self._pumping: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(CATCHING_UP)
        #: by ttl: a lease, when it was made (monotonic), how many keys it has
        self._leases: dict[int, tuple[int, float, int]] = {}
        self._closed = False
        #: requests under way; the client is closed after the last, for one that is asked again would open it anew
        self._asked = 0
        self._quiet = asyncio.Event()

    def _new_hub(self) -> Hub:
        return Hub(self._history, revision=0, confirm=self._confirm)

    @contextlib.contextmanager
    def _asking(self, *, writes: bool = False) -> Iterator[None]:
        """Errors of the client as those of a store."""
        if self._closed:
            raise StoreError("the store is closed")
        self._asked += 1
        try:
            yield
        except Unavailable as e:
            raise (Uncertain(f"etcd went away: {e.message}") if writes else StoreError(e.message)) from e
        except etcd.Compacted:
            raise
        except EtcdError as e:
            if "request is too large" in e.message or "larger than max" in e.message:
                raise BadKey(f"a key or value is too large: {e.message}") from e
            hint = None
            if "space exceeded" in e.message:
                hint = "netlab store compact, then etcdctl defrag and etcdctl alarm disarm"
            raise StoreError(e.message, hint=hint) from e
        finally:
            self._asked -= 1
            if not self._asked:
                self._quiet.set()

    # reading

    async def get(self, key: str, *, revision: int = 0) -> tuple[KeyValue | None, int]:
        """See protocol."""
        if not key:
            raise BadKey("a key cannot be empty")
        found = await self._range(key, None, revision=revision)
        return (_kv(found.items[0]) if found.items else None), revision or found.revision

    async def _range(self, key: str, end: bytes | None, *, limit: int = 0, revision: int = 0,
                     keys_only: bool = False, count_only: bool = False) -> etcd.Range:  # fmt: skip
        try:
            with self._asking():
                return await self._client.range(
                    key, end=end, limit=limit, revision=revision, keys_only=keys_only, count_only=count_only
                )
        except etcd.Compacted:
            raise Compacted(revision, await self._oldest()) from None
        except StoreError as e:
            if revision and "future revision" in e.message:
                raise FutureRevision(revision, await self.revision()) from None
            raise

    async def list(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0, keys_only: bool = False
    ) -> Page:
        """See protocol. In several requests if it is long, all of one revision."""
        end = etcd.prefix_end(prefix)
        items: list[KeyValue] = []
        start = max(prefix, after + "\0") if after else prefix
        while True:
            size = PAGE if not limit else min(PAGE, limit - len(items))
            found = await self._range(start, end, limit=size, revision=revision, keys_only=keys_only)
            revision = revision or found.revision
            items += map(_kv, found.items)
            remaining = found.count - len(found.items)
            if not found.more or (limit and len(items) >= limit):
                return Page(items, revision, remaining > 0, remaining)
            start = found.items[-1].key + "\0"

    async def count(self, prefix: str) -> int:
        """See protocol."""
        return (await self._range(prefix, etcd.prefix_end(prefix), count_only=True)).count

    async def revision(self) -> int:
        """See protocol."""
        return (await self._range("\0", None, count_only=True)).revision

    async def _oldest(self) -> int:
        """The oldest revision kept, which etcd tells only those who watch from an older one; 0 if it does not."""
        try:
            async with (
                asyncio.timeout(RETRY_MAX),
                contextlib.aclosing(self._client.watch("\0", revision=1, prefix=False)) as stream,
            ):
                async for _ in stream:
                    break
        except etcd.Compacted as e:
            return e.revision
        except (TimeoutError, Unavailable, EtcdError):
            pass
        return 0

    # writing

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        """See protocol."""
        keys.check(key, value)
        lease = await self._lease(ttl)
        with self._asking(writes=True):
            done = await self._client.create(key, value, lease=lease)
        if not done.done:
            raise KeyExists(key, _kv(done.current) if done.current else None)
        return done.revision

    async def update(self, key: str, value: bytes, *, expected: int, ttl: int = 0) -> int:
        """See protocol."""
        keys.check(key, value)
        if expected <= 0:  # a revision that no key ever has, and etcd's word for "is not there"
            raise Conflict(key, (await self.get(key))[0])
        lease = await self._lease(ttl)
        with self._asking(writes=True):
            done = await self._client.swap(key, value, modified=expected, lease=lease)
        if not done.done:
            raise Conflict(key, _kv(done.current) if done.current else None)
        return done.revision

    async def delete(self, key: str, *, expected: int = 0) -> tuple[KeyValue, int]:
        """See protocol."""
        keys.check(key)
        with self._asking(writes=True):
            done = await self._client.take(key, modified=expected)
        found = _kv(done.current) if done.current else None
        if not done.done or found is None:
            raise Conflict(key, found)
        return found, done.revision

    async def _lease(self, ttl: int) -> int:
        """A lease that lasts at least `ttl` seconds from now; 0 for none."""
        if not ttl:
            return 0
        window = min(ttl * SHARED, SHARED_MAX)
        lease, made, used = self._leases.get(ttl, (0, -math.inf, 0))
        if time.monotonic() - made > window or used >= SHARED_KEYS:
            made, used = time.monotonic(), 0
            with self._asking():
                lease, _ = await self._client.grant(math.ceil(ttl + window))
        self._leases[ttl] = (lease, made, used + 1)
        return lease

    async def compact(self, revision: int) -> None:
        """See protocol."""
        try:
            with self._asking():
                await self._client.compact(revision)
        except etcd.Compacted:
            raise Compacted(revision, await self._oldest()) from None
        except StoreError as e:
            if "future revision" in e.message:
                raise FutureRevision(revision, await self.revision()) from None
            raise
        self._hub.forget(revision)

    # watching

    def watch(self, prefix: str, *, after: int, progress: float = 0, among: Among | None = None) -> Watcher:
        """See protocol. While etcd is away a watch is silent, and goes on where it was when etcd is back."""
        if self._closed:
            raise StoreError("the store is closed")
        return self._hub.watch(prefix, after=after, progress=progress, among=among)

    async def _confirm(self, after: int) -> None:
        """The pump runs from the first watch on, and from where that began. FutureRevision."""
        async with self._starting:
            if self._pumping is None:
                revision = await self.revision()
                if self._closed:
                    raise StoreError("the store is closed")
                self._hub.skip(min(after, revision))
                self._pumping = asyncio.create_task(self._pump())
        if after > self._hub.revision and after > (current := await self.revision()):
            raise FutureRevision(after, current)

    async def _pump(self) -> None:
        """All changes of etcd into the hub, for ever."""
        hub = self._hub
        wait = RETRY
        while True:
            try:
                stream = self._client.watch("", revision=hub.revision + 1, previous=True)
                async with contextlib.aclosing(stream):
                    async for changes in stream:
                        self._publish(changes)
                        wait = RETRY
            except etcd.Compacted as e:
                if not e.revision:
                    # etcd was restored from a backup: what watchers know may never have happened. New ones begin anew
                    self._hub, self._pumping = self._new_hub(), None
                    hub.fail(Compacted(hub.revision, await self._returned()))
                    return
                hub.skip(e.revision)
            except (Unavailable, EtcdError):
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_MAX)

    async def _returned(self) -> int:
        """The revision of an etcd that went back, 0 if it does not say."""
        with contextlib.suppress(StoreError):
            return await self.revision()
        return 0

    def _publish(self, changes: Changes) -> None:
        events = _events(changes)
        if events is None:
            self._hub.skip(changes.revision)
        else:
            self._hub.publish(events, changes.revision)

    async def _history(self, after: int) -> tuple[Sequence[Event], int]:
        """See fanout.History. Asked only if there is something after `after`.

        The stream begins with `after` itself, so that etcd refuses if that is compacted: from the revision after it,
        etcd 3.4 may leave out a deletion at the compaction's own revision (github.com/etcd-io/etcd/issues/18089).
        """
        try:
            stream = self._client.watch("", revision=max(after, 1), previous=True)
            async with self._catching_up, contextlib.aclosing(stream):
                async for changes in stream:
                    if changes.revision > after:
                        events = _events(changes)
                        if events is None:
                            raise Compacted(after, changes.revision)
                        return [event for event in events if event.kv.revision > after], changes.revision
        except etcd.Compacted as e:
            raise Compacted(after, e.revision) from None
        except (Unavailable, EtcdError) as e:
            raise StoreError(e.message) from e
        raise StoreError("etcd ended a watch")

    # upkeep

    async def snapshot(self, path: Path) -> int:
        """See protocol. Without the history: `etcdctl snapshot save` has that, for etcd alone."""
        start, end, revision = "\0", etcd.prefix_end(""), 0
        found: list[etcd.KeyValue] = []
        while True:
            page = await self._range(start, end, limit=PAGE, revision=revision)
            revision = revision or page.revision
            found += page.items
            if not page.more:
                break
            start = page.items[-1].key + "\0"
        found.sort(key=lambda item: item.modified)
        for one, other in itertools.pairwise(found):
            if one.modified == other.modified:
                raise StoreError(
                    f"keys {one.key} and {other.key} were written in one transaction, which this file cannot express",
                    hint="etcdctl snapshot save keeps everything that is in etcd",
                )
        ends = await self._ends({item.lease for item in found if item.lease})
        records = [
            Record(item.modified, item.key, item.value, item.created, 0, ends.get(item.lease, 0.0)) for item in found
        ]
        await asyncio.to_thread(database.write_snapshot, path, records, revision=revision, oldest=revision)
        return revision

    async def _ends(self, leases: set[int]) -> dict[int, float]:
        """When these end, Unix time; those that are over: now."""
        with self._asking():
            return {lease: time.time() + (await self._client.time_to_live(lease) or 0.0) for lease in leases}

    async def aclose(self) -> None:
        """See protocol."""
        if self._closed:
            return
        self._closed = True
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.wait([self._pumping])
        self._hub.close()
        while self._asked:
            self._quiet.clear()
            await self._quiet.wait()
        await self._client.aclose()


def _kv(item: etcd.KeyValue) -> KeyValue:
    return KeyValue(item.key, item.value, item.created, item.modified)


def _events(changes: Changes) -> list[Event] | None:
    """As events; None if one lacks what was before it, because that has been compacted in the meantime."""
    events = []
    for change in changes.changes:
        item, before = change.item, _kv(change.previous) if change.previous else None
        if change.deleted:
            if before is None:
                return None
            events.append(Event(before._replace(revision=item.modified), before, True))
        elif before is None and item.created != item.modified:
            return None
        else:
            events.append(Event(_kv(item), before, False))
    return events
