"""What every store tells its watchers: each write once, in order, or an error; never less in silence."""

import asyncio
from typing import Any

import pytest
from storing import take, told, until

from netlab.store import fanout
from netlab.store.protocol import Among, Compacted, FutureRevision, KeyValue, Store


def test_every_write_once_and_in_order(kind: Any) -> None:
    async def test(store: Store) -> None:
        start = await store.revision()
        watch, all_of_it = store.watch("/a", after=start), store.watch("", after=start)
        one = await store.create("/a", b"1")
        two = await store.update("/a", b"2", expected=one)
        await store.create("/b", b"")
        _, three = await store.delete("/a")
        events = await take(watch, 3)
        assert told(events) == [("+", "/a", b"1"), ("~", "/a", b"2"), ("-", "/a", b"2")]
        assert [e.kv.revision for e in events] == [one, two, three]
        assert events[1].previous == KeyValue("/a", b"1", one, one)
        assert events[2].previous == KeyValue("/a", b"2", one, two)
        assert events[2].kv == KeyValue("/a", b"2", one, three)
        assert len(await take(all_of_it, 4)) == 4
        # from the past, as often as one likes, from any place in it
        for after in range(start, three + 1):
            later = await take(store.watch("/a", after=after), len([e for e in events if e.kv.revision > after]))
            assert later == [e for e in events if e.kv.revision > after]

    kind.run(test)


def test_a_watcher_of_one_key_hears_once_whatever_longer_keys_are_watched(kind: Any) -> None:
    async def test(store: Store) -> None:
        start = await store.revision()
        watch, *others = (
            store.watch(prefix, after=start, progress=0.01) for prefix in ("/a", "/another", "/another/one")
        )
        for listening in (watch, *others):
            assert await anext(listening) == ((), start)
        await store.update("/a", b"2", expected=await store.create("/a", b"1"))
        await store.create("/a/last", b"")
        assert told(await take(watch, 3)) == [("+", "/a", b"1"), ("~", "/a", b"2"), ("+", "/a/last", b"")]
        for each in (watch, *others):
            await each.aclose()

    kind.run(test)


def test_a_cancelled_wait_loses_nothing(kind: Any) -> None:
    async def test(store: Store) -> None:
        watch = store.watch("/", after=await store.revision())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(watch)
        await store.create("/a", b"")
        assert told(await take(watch, 1)) == [("+", "/a", b"")]
        await watch.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    kind.run(test)


def test_progress_in_silence(kind: Any) -> None:
    async def test(store: Store) -> None:
        start = await store.revision()
        watch = store.watch("/mine/", after=start, progress=0.02)
        assert await anext(watch) == ((), start)
        other = await store.create("/other", b"")

        async def caught_up() -> bool:
            batch = await anext(watch)
            assert not batch.events
            return batch.revision == other

        await until(caught_up)
        mine = await store.create("/mine/a", b"")
        while not (batch := await anext(watch)).events:
            pass
        assert batch.revision == mine

    kind.run(test)


def test_the_future_and_the_forgotten_past(kind: Any) -> None:
    async def test(store: Store) -> None:
        one = await store.create("/a", b"")
        with pytest.raises(FutureRevision):
            await anext(store.watch("/", after=one + 1))
        waiting = store.watch("/", after=one)
        two = await store.update("/a", b"2", expected=one)
        _, three = await store.delete("/a")
        four = await store.create("/b", b"")
        live = store.watch("/", after=four)
        await store.compact(three)
        for after in (0, one, two):
            with pytest.raises(Compacted) as e:
                await anext(store.watch("/", after=after))
            assert e.value.oldest == three
        with pytest.raises(Compacted):  # it never asked before
            await anext(waiting)
        assert told(await take(store.watch("/", after=three), 1)) == [("+", "/b", b"")]
        await store.compact(four)
        await store.delete("/b")
        assert told(await take(live, 1)) == [("-", "/b", b"")]

    kind.run(test)


def test_a_slow_watcher_is_told_from_the_history_or_that_it_is_gone(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PENDING", 5)
    monkeypatch.setattr(fanout, "RING", 4)

    async def test(store: Store) -> None:
        start = await store.create("/first", b"")
        slow, lost = store.watch("/k", after=start), store.watch("/k", after=start)
        await store.create("/k/0", b"")
        for watch in (slow, lost):
            assert len(await take(watch, 1)) == 1
        for n in range(1, 50):
            await store.create(f"/k/{n}", b"")
            await store.create(f"/other/{n}", b"")
        assert [e.kv.key for e in await take(slow, 49)] == [f"/k/{n}" for n in range(1, 50)]
        end = await store.create("/k/last", b"")
        assert [e.kv.key for e in await take(slow, 1)] == ["/k/last"]
        await store.compact(end)
        seen = []
        with pytest.raises(Compacted):
            while True:
                seen += [e.kv.key for e in (await anext(lost)).events]
        assert seen == [f"/k/{n}" for n in range(1, len(seen) + 1)]

    kind.run(test)


def test_many_watchers_see_the_same(kind: Any) -> None:
    async def test(store: Store) -> None:
        start = await store.revision()
        watches = [store.watch(f"/{n % 7}" if n % 2 else "/", after=start) for n in range(200)]

        async def follow(n: int) -> list[str]:
            return [e.kv.key for e in await take(watches[n], 10 if n % 2 else 70)]

        following = [asyncio.create_task(follow(n)) for n in range(200)]
        for n in range(70):
            await store.create(f"/{n % 7}/{n}", b"")
        for n, keys in enumerate(await asyncio.gather(*following)):
            assert keys == [f"/{m % 7}/{m}" for m in range(70) if not n % 2 or m % 7 == n % 7]

    kind.run(test)


def marks(value: bytes) -> list[str]:
    """Of a value such as `red,big`."""
    return value.decode().split(",")


def test_a_watcher_of_marks_misses_none_of_its_own(kind: Any) -> None:
    async def test(store: Store) -> None:
        start = await store.revision()
        red, blue = (store.watch("/m/", after=start, among=Among(marks, m)) for m in ("red", "blue"))
        whole, other = store.watch("/m/", after=start), store.watch("/o/", after=start, among=Among(marks, "red"))

        async def first(watch: Any) -> list[Any]:
            """What was there when it began, so that from now on it is told of what comes."""
            return told(await take(watch, 1))

        one = await store.create("/m/1", b"red,blue,big")
        for watch in (red, blue, whole):
            assert await first(watch) == [("+", "/m/1", b"red,blue,big")]
        waiting = asyncio.create_task(take(other, 1))
        two = await store.update("/m/1", b"blue", expected=one)
        three = await store.update("/m/1", b"green", expected=two)
        await store.update("/m/1", b"red", expected=three)
        await store.delete("/m/1")
        await store.create("/o/1", b"red")
        changes = [("~", "/m/1", b"blue"), ("~", "/m/1", b"green"), ("~", "/m/1", b"red"), ("-", "/m/1", b"red")]
        assert told(await take(whole, 4)) == changes
        # it was red before, it is red again, and ends as that; in between it was nothing to this one
        seen = told(await take(red, 3))
        assert seen == [changes[0], changes[2], changes[3]]
        assert told(await take(blue, 2)) == changes[:2]
        assert told(await waiting) == [("+", "/o/1", b"red")]

    kind.run(test)


def test_a_watcher_of_one_key_is_told_once(kind: Any) -> None:
    """Also beside watchers of longer prefixes."""

    async def test(store: Store) -> None:
        start = await store.revision()
        prefixes = ("/k", "/k/long", "/k/longer/still", "/kk")
        watches = [store.watch(prefix, after=start) for prefix in prefixes]
        waiting = [asyncio.create_task(take(watch, 1)) for watch in watches]
        for prefix in prefixes[1:]:
            await store.create(prefix, b"0")
        for task in waiting:
            await task
        start = await store.create("/k", b"1")
        await store.create("/k/end", b"2")
        events = told(await take(watches[0], 2))
        while ("+", "/k/end", b"2") not in events:
            events += told(await take(watches[0], 1))
        assert [e for e in events if e[1] in ("/k", "/k/end")] == [("+", "/k", b"1"), ("+", "/k/end", b"2")]

    kind.run(test)
