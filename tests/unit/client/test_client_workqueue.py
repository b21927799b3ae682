"""The work queue: every key once, by one worker at a time, and again as often as it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from netlab.client.backoff import Backoff
from netlab.client.workqueue import WorkQueue

DEADLINE = 30.0


def run(test: Callable[[WorkQueue], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(DEADLINE):
            await test(WorkQueue())

    asyncio.run(whole())


def test_a_key_is_there_once_and_comes_again_when_it_was_added_meanwhile() -> None:
    async def test(queue: WorkQueue) -> None:
        for key in ("a", "b", "a"):
            queue.add(key)
        assert len(queue) == 2
        assert await queue.get() == "a"
        queue.add("a")
        assert await queue.get() == "b"
        assert len(queue) == 0 and not queue.idle
        queue.done("b")
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.idle

    run(test)


def test_failures_wait_twice_as_long_each_time() -> None:
    async def test(queue: WorkQueue) -> None:
        waits = []
        for _ in range(4):
            waits.append(queue.retry("a"))
            assert await queue.get() == "a"
            queue.done("a")
        assert waits == [0.005, 0.01, 0.02, 0.04] and queue.failures("a") == 4
        queue.forget("a")
        assert queue.retry("a") == 0.005
        for _ in range(3000):
            last = queue.retry("b")
        assert last == 1000.0
        queue.close()

    run(test)


def test_of_several_times_the_soonest_counts() -> None:
    async def test(queue: WorkQueue) -> None:
        queue.add_after("late", 3600)
        queue.add_after("a", 3600)
        queue.add_after("a", 0.001)
        queue.add_after("a", 7200)
        assert await queue.get() == "a"
        queue.done("a")
        queue.add_after("now", 0)
        assert len(queue) == 1
        queue.close()
        assert await queue.get() == "now"
        assert await queue.get() is None

    run(test)


def test_a_closed_queue_lets_go_of_those_who_wait() -> None:
    async def test(queue: WorkQueue) -> None:
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.close()
        assert await asyncio.gather(*workers) == [None] * 3
        queue.add("a")
        queue.add_after("a", 1)
        assert await queue.get() is None

    run(test)


def test_a_worker_that_is_cancelled_as_it_is_woken_passes_it_on() -> None:
    async def test(queue: WorkQueue) -> None:
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await second == "a"
        assert (await asyncio.gather(first, return_exceptions=True))[0].__class__ is asyncio.CancelledError

    run(test)


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 4))
def test_workers_never_meet_at_a_key_and_see_the_last_word(adds: list[str], workers: int) -> None:
    async def test(queue: WorkQueue) -> None:
        said: dict[str, int] = {}
        seen: dict[str, int] = {}
        busy: set[str] = set()

        async def worker() -> None:
            while (key := await queue.get()) is not None:
                assert key not in busy
                busy.add(key)
                now = said[key]
                await asyncio.sleep(0)
                seen[key] = now
                busy.remove(key)
                queue.done(key)

        tasks = [asyncio.create_task(worker()) for _ in range(workers)]
        for number, key in enumerate(adds):
            said[key] = number
            queue.add(key)
            if number % 3 == 0:
                await asyncio.sleep(0)
        while not queue.idle:
            await asyncio.sleep(0)
        queue.close()
        await asyncio.gather(*tasks)
        assert seen == said

    run(test)


def test_patience_grows_and_ends() -> None:
    backoff = Backoff(first=1, last=4, chance=lambda: 0.0)
    assert [backoff.next() for _ in range(4)] == [1, 2, 4, 4]
    backoff.reset()
    assert backoff.next() == 1
    assert Backoff(first=1, chance=lambda: 1.0).next() == 1.5
