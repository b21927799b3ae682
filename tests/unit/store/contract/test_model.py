"""Random writers, watchers that drop and resume, compactions, lists of the past: against a model, on every store.

At the end every watcher has been told exactly what the model's log has for it - nothing missed, repeated or out of
order - or that its past was compacted, and only if it was; and what it has been told adds up to what the store lists.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storing import DEADLINE

from netlab.store import fanout, local
from netlab.store.protocol import Compacted, Conflict, Event, FutureRevision, KeyExists, KeyValue, Store

EXAMPLES = int(os.environ.get("NETLAB_EXAMPLES", "60"))

KEYS = ["/a", "/a/1", "/a/2", "/b", "/b\0", "/é", "/\U0010ffff"]
PREFIXES = ["", "/", "/a", "/a/", "/b", "/é", "/\U0010ffff"]

keys, fractions = st.sampled_from(KEYS), st.floats(0, 1)
writes = st.tuples(st.sampled_from(["create", "update", "update", "stale", "delete", "delete any"]), keys)
actions = st.one_of(
    st.tuples(st.just("write"), st.lists(writes, min_size=1, max_size=8)),
    st.tuples(st.just("write"), st.lists(writes, min_size=1, max_size=8)),
    st.tuples(st.just("watch"), st.sampled_from(PREFIXES), fractions),
    st.tuples(st.just("read"), st.integers(0, 9)),
    st.tuples(st.just("drop"), st.integers(0, 9)),
    st.tuples(st.just("compact"), fractions),
    st.tuples(st.just("list"), st.sampled_from(PREFIXES), fractions, st.integers(0, 3)),
)


@dataclass
class Client:
    """A watcher as a client has it: where it began, what it was told, where it is."""

    prefix: str
    start: int
    position: int
    watch: Any = None
    events: list[Event] = field(default_factory=list)
    gone: bool = False


class World:
    def __init__(self, store: Store, start: int) -> None:
        self.store, self.start = store, start
        self.oldest = 0
        #: every write: the key after it, or before its deletion; the key before; whether it is a deletion
        self.log: list[Event] = []
        self.clients: list[Client] = []
        self.number = 0

    @property
    def revision(self) -> int:
        return self.log[-1].kv.revision if self.log else self.start

    def state(self, revision: int) -> dict[str, KeyValue]:
        found: dict[str, KeyValue] = {}
        for event in self.log:
            if event.kv.revision <= revision:
                if event.deleted:
                    del found[event.kv.key]
                else:
                    found[event.kv.key] = event.kv
        return found

    def at(self, fraction: float) -> int:
        return self.start + round(fraction * (self.revision - self.start))

    async def write(self, group: list[tuple[str, str]]) -> None:
        """All at once; what was acknowledged, in the order of the revisions, has to make sense."""
        before = self.state(self.revision)

        async def one(kind: str, key: str) -> tuple[int, str, str, bytes]:
            self.number += 1
            value = b"%d" % self.number
            there = before.get(key)
            try:
                if kind == "create":
                    return await self.store.create(key, value), kind, key, value
                if kind in ("update", "stale"):
                    expected = (there.revision if there else self.start) - (kind == "stale")
                    return await self.store.update(key, value, expected=expected), kind, key, value
                expected = there.revision if there and kind == "delete" else 0
                kv, revision = await self.store.delete(key, expected=expected)
                return revision, kind, key, kv.value
            except KeyExists as e:
                assert e.current is not None
            except Conflict as e:
                assert e.current is None or e.current.key == key
            return 0, kind, key, b""

        done = sorted(r for r in await asyncio.gather(*(one(*write) for write in group)) if r[0])
        for revision, kind, key, value in done:
            assert revision == self.revision + 1
            assert kind != "stale"
            there = self.state(self.revision).get(key)
            if kind in ("delete", "delete any"):
                assert there and there.value == value
                self.log.append(Event(there._replace(revision=revision), there, True))
            else:
                assert (there is None) == (kind == "create")
                created = there.created if there else revision
                self.log.append(Event(KeyValue(key, value, created, revision), there, False))
        for key in {key for _, key in group}:
            assert await self.store.get(key) == (self.state(self.revision).get(key), self.revision)

    async def watch(self, prefix: str, fraction: float) -> None:
        after = self.at(fraction)
        self.clients.append(Client(prefix, after, after, self.store.watch(prefix, after=after)))

    def expected(self, client: Client) -> list[Event]:
        return [e for e in self.log if e.kv.revision > client.start and e.kv.key.startswith(client.prefix)]

    async def read(self, number: int) -> None:
        """One batch, if there has to be one."""
        if not self.clients:
            return
        client = self.clients[number % len(self.clients)]
        if not client.gone and len(client.events) < len(self.expected(client)):
            await self.batch(client)

    async def batch(self, client: Client) -> None:
        if client.watch is None:
            client.watch = self.store.watch(client.prefix, after=client.position)
        try:
            batch = await anext(client.watch)
        except Compacted as e:
            assert client.position < self.oldest == e.oldest
            client.gone = True
            return
        assert batch.revision > client.position
        client.events += batch.events
        client.position = batch.revision

    async def drop(self, number: int) -> None:
        if self.clients:
            client = self.clients[number % len(self.clients)]
            if client.watch is not None:
                await client.watch.aclose()
                client.watch = None

    async def compact(self, fraction: float) -> None:
        revision = self.at(fraction)
        if revision > max(self.oldest, self.start):
            await self.store.compact(revision)
            self.oldest = revision

    async def list(self, prefix: str, fraction: float, limit: int) -> None:
        revision = self.at(fraction)
        wanted = [kv for key, kv in sorted(self.state(revision).items()) if key.startswith(prefix)]
        if revision < self.oldest:
            with pytest.raises(Compacted):
                await self.store.list(prefix, revision=revision)
            return
        found: list[KeyValue] = []
        more = True
        while more:
            after = found[-1].key if found else ""
            page = await self.store.list(prefix, limit=limit, after=after, revision=revision)
            found += page.items
            more = page.more
            assert page.revision == revision and page.remaining == len(wanted) - len(found)
        assert found == wanted
        with pytest.raises(FutureRevision):
            await self.store.list(prefix, revision=self.revision + 1)

    async def settle(self) -> None:
        for client in self.clients:
            while not client.gone and len(client.events) < len(self.expected(client)):
                await self.batch(client)
            told, expected = client.events, self.expected(client)
            assert told == expected[: len(told)]
            assert client.gone or told == expected
            if not client.gone:
                view = {k: kv for k, kv in self.state(client.start).items() if k.startswith(client.prefix)}
                for event in told:
                    if event.deleted:
                        del view[event.kv.key]
                    else:
                        view[event.kv.key] = event.kv
                assert list((await self.store.list(client.prefix)).items) == [view[key] for key in sorted(view)]


def test_against_a_model(kind: Any) -> None:
    async def whole(script: list[Any]) -> None:
        async with asyncio.timeout(DEADLINE), kind.opened() as store:
            world = World(store, await store.revision())
            for verb, *arguments in script:
                await getattr(world, verb)(*arguments)
            await world.settle()

    # small buffers, so that they overflow; etcd is asked over HTTP
    @settings(
        max_examples=EXAMPLES // 3 if kind.name == "etcd" else EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(actions, min_size=5, max_size=40))
    def run(script: list[Any]) -> None:
        with (
            patch.object(fanout, "PENDING", 3),
            patch.object(fanout, "RING", 4),
            patch.object(local, "HISTORY", 3),
            patch.object(local, "GROUP", 3),
        ):
            asyncio.run(whole(script))

    run()
