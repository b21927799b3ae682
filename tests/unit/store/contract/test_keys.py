"""What every store does with keys: written once, read now and in the past, compacted away."""

import asyncio
from typing import Any

import pytest

from netlab.store.protocol import (
    MAX_KEY,
    MAX_VALUE,
    BadKey,
    Compacted,
    Conflict,
    FutureRevision,
    KeyExists,
    KeyValue,
    Store,
    StoreError,
)


def test_a_key_from_its_creation_to_its_deletion(kind: Any) -> None:
    async def test(store: Store) -> None:
        start = await store.revision()
        assert start >= 1
        assert await store.get("/a") == (None, start)
        one = await store.create("/a", b"1")
        assert one == start + 1
        assert await store.get("/a") == (KeyValue("/a", b"1", one, one), one)
        two = await store.update("/a", b"2", expected=one)
        assert two == one + 1
        assert await store.get("/a") == (KeyValue("/a", b"2", one, two), two)
        assert await store.delete("/a") == (KeyValue("/a", b"2", one, two), two + 1)
        assert await store.get("/a") == (None, two + 1)
        again = await store.create("/a", b"")
        assert await store.get("/a") == (KeyValue("/a", b"", again, again), again)
        assert await store.revision() == again == two + 2
        # the past
        assert await store.get("/a", revision=start) == (None, start)
        assert await store.get("/a", revision=one) == (KeyValue("/a", b"1", one, one), one)
        assert await store.get("/a", revision=two) == (KeyValue("/a", b"2", one, two), two)
        assert await store.get("/a", revision=two + 1) == (None, two + 1)
        with pytest.raises(FutureRevision) as e:
            await store.get("/a", revision=again + 5)
        assert (e.value.asked, e.value.current) == (again + 5, again)

    kind.run(test)


def test_refused_writes_change_nothing(kind: Any) -> None:
    async def test(store: Store) -> None:
        one = await store.create("/a", b"1")
        there = KeyValue("/a", b"1", one, one)
        with pytest.raises(KeyExists) as exists:
            await store.create("/a", b"2")
        assert exists.value.current == there
        for expected in (one + 1, one - 1, 0):
            with pytest.raises(Conflict) as conflict:
                await store.update("/a", b"2", expected=expected)
            assert (conflict.value.key, conflict.value.current) == ("/a", there)
        with pytest.raises(Conflict) as conflict:
            await store.delete("/a", expected=one + 1)
        assert conflict.value.current == there
        for call in (store.update("/b", b"", expected=one), store.update("/b", b"", expected=0),
                     store.delete("/b"), store.delete("/b", expected=one)):  # fmt: skip
            with pytest.raises(Conflict) as conflict:
                await call
            assert conflict.value.current is None
        assert await store.revision() == one
        assert (await store.delete("/a", expected=one))[0] == there

    kind.run(test)


def test_of_writers_that_race_one_wins(kind: Any) -> None:
    async def test(store: Store) -> None:
        async def attempt(n: int) -> int:
            try:
                return await store.create("/a", b"%d" % n)
            except KeyExists:
                return 0

        created = [r for r in await asyncio.gather(*(attempt(n) for n in range(20))) if r]
        assert len(created) == 1

        async def count() -> None:
            for _ in range(10):
                while True:
                    kv, _ = await store.get("/a")
                    assert kv
                    try:
                        await store.update("/a", kv.value + b".", expected=kv.revision)
                        break
                    except Conflict:
                        continue

        await asyncio.gather(*(count() for _ in range(4)))
        kv, revision = await store.get("/a")
        assert kv and kv.value.count(b".") == 40
        assert revision == created[0] + 40

    kind.run(test)


def test_lists_in_pages_of_one_revision(kind: Any) -> None:
    async def test(store: Store) -> None:
        names = [f"/pods/{n:03}" for n in range(25)]
        for name in reversed(names):
            await store.create(name, name.encode())
        await store.create("/podz", b"")
        await store.create("/pod", b"")
        whole = await store.list("/pods/")
        assert [kv.key for kv in whole.items] == names
        assert (whole.more, whole.remaining, whole.revision) == (False, 0, await store.revision())
        assert await store.count("/pods/") == 25 and await store.count("") == 27 and await store.count("/x") == 0
        first = await store.list("/pods/", limit=10)
        assert [kv.key for kv in first.items] == names[:10] and (first.more, first.remaining) == (True, 15)
        # what happens now is not in the following pages
        await store.delete(names[12])
        await store.create("/pods/012x", b"new")
        kv, _ = await store.get(names[20])
        assert kv
        await store.update(names[20], b"changed", expected=kv.revision)
        second = await store.list("/pods/", limit=10, after=first.items[-1].key, revision=first.revision)
        assert [kv.key for kv in second.items] == names[10:20]
        assert (second.more, second.remaining, second.revision) == (True, 5, first.revision)
        third = await store.list("/pods/", limit=10, after=second.items[-1].key, revision=first.revision)
        assert [(kv.key, kv.value) for kv in third.items] == [(n, n.encode()) for n in names[20:]]
        assert (third.more, third.remaining) == (False, 0)
        assert [kv.key for kv in (await store.list("/pods/", after="/pods/020")).items] == names[21:]
        assert (await store.list("/pods/", after="/q")).items == []
        only = await store.list("/pods/", limit=2, keys_only=True)
        assert [(kv.key, kv.value, kv.revision) for kv in only.items] == [
            (kv.key, b"", kv.revision) for kv in whole.items[:2]
        ]

    kind.run(test)


def test_a_compacted_past_is_refused_and_the_rest_is_as_before(kind: Any) -> None:
    async def test(store: Store) -> None:
        one = await store.create("/a", b"1")
        two = await store.update("/a", b"2", expected=one)
        await store.create("/gone", b"")
        _, gone = await store.delete("/gone")
        three = await store.update("/a", b"3", expected=two)
        await store.compact(gone)
        with pytest.raises(Compacted) as e:
            await store.get("/a", revision=gone - 1)
        assert (e.value.asked, e.value.oldest) == (gone - 1, gone)
        with pytest.raises(Compacted):
            await store.list("/", revision=one)
        assert (await store.get("/a", revision=gone))[0] == KeyValue("/a", b"2", one, two)
        assert [kv.revision for kv in (await store.list("/", revision=gone)).items] == [two]
        assert (await store.get("/a"))[0] == KeyValue("/a", b"3", one, three)
        for revision in (gone, gone - 1):
            with pytest.raises(Compacted):
                await store.compact(revision)
        with pytest.raises(FutureRevision):
            await store.compact(three + 1)
        _, last = await store.delete("/a")
        await store.compact(last)
        assert await store.revision() == last
        assert (await store.list("", revision=last)).items == []
        assert await store.create("/a", b"4") == last + 1

    kind.run(test)


def test_keys_with_a_ttl_are_deleted(kind: Any) -> None:
    async def test(store: Store) -> None:
        one = await store.create("/short", b"x", ttl=1)
        kept = await store.create("/kept", b"x", ttl=1)
        await store.update("/kept", b"y", expected=kept)
        watch = store.watch("/", after=kept + 1)
        batch = await anext(watch)
        (event,) = batch.events
        assert event.deleted and event.kv == KeyValue("/short", b"x", one, kept + 2)
        assert event.previous == KeyValue("/short", b"x", one, one)
        assert [kv.key for kv in (await store.list("/")).items] == ["/kept"]

    kind.run(test)


HOSTILE = [
    "\0", "a\0b", "a\0", "%", "_", "%_", "a%", "*", "[a-z]", "'", '"', "\\", "\n", "\u00ff", "\u00ff\u00ff", "\x7f", "\x80",
    "ÿ", "é", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "\U0010ffff\U0010ffff", "日本", "𝔘", "a/b/../c",
    "//", " ", "x" * MAX_KEY, "é" * (MAX_KEY // 2), "\u202e", "A", "a",
]  # fmt: skip


def test_hostile_keys(kind: Any) -> None:
    async def test(store: Store) -> None:
        names = sorted(set(HOSTILE), key=str.encode)
        for name in names:
            await store.create(name, name.encode())
        assert [(kv.key, kv.value) for kv in (await store.list("")).items] == [(n, n.encode()) for n in names]
        for name in names:
            kv, _ = await store.get(name)
            assert kv and kv.value == name.encode()
            for prefix in {name, name[:1]}:
                found = await store.list(prefix)
                assert [kv.key for kv in found.items] == [n for n in names if n.startswith(prefix)], repr(prefix)
                assert await store.count(prefix) == len(found.items)
            assert [kv.key for kv in (await store.list("", after=name)).items] == names[names.index(name) + 1 :]
        watch = store.watch("\u00ff", after=await store.revision())
        await store.create("\u00fe!", b"")
        await store.create("\u0100", b"")
        await store.create("\u00ff!", b"")
        assert [e.kv.key for e in (await anext(watch)).events] == ["\u00ff!"]

    kind.run(test)


@pytest.mark.parametrize("key", ["", "\ud800", "a\udcff", "x" * (MAX_KEY + 1), "é" * (MAX_KEY // 2 + 1)])
def test_keys_that_no_store_takes(kind: Any, key: str) -> None:
    async def test(store: Store) -> None:
        for call in (store.create(key, b""), store.update(key, b"", expected=1), store.delete(key)):
            with pytest.raises(BadKey):
                await call
        with pytest.raises(BadKey):
            await store.create("/a", b"x" * (MAX_VALUE + 1))
        assert await store.count("") == 0

    kind.run(test)


def test_the_largest_key_and_value(kind: Any) -> None:
    async def test(store: Store) -> None:
        key, value = "k" * MAX_KEY, bytes(range(256)) * (MAX_VALUE // 256)
        one = await store.create(key, value)
        await store.update(key, value[::-1], expected=one)
        kv, _ = await store.get(key)
        assert kv and kv.value == value[::-1]
        assert (await store.delete(key))[0] == kv

    kind.run(test)


def test_a_closed_store_says_so(kind: Any) -> None:
    async def test(store: Store) -> None:
        await store.create("/a", b"")
        watch = store.watch("/", after=await store.revision())
        waiting = asyncio.create_task(anext(watch, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await store.aclose()
        assert await waiting is None
        for call in (store.get("/a"), store.list("/"), store.count("/"), store.revision(), store.compact(1),
                     store.create("/b", b""), store.delete("/a")):  # fmt: skip
            with pytest.raises(StoreError, match="closed"):
                await call
        with pytest.raises(StoreError, match="closed"):
            store.watch("/", after=1)

    kind.run(test)
