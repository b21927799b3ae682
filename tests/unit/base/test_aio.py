"""`first`: the first to end ends all, its error is everybody's, and nobody is left running."""

from __future__ import annotations

import asyncio
import threading

import pytest

from netlab.base.aio import aside, first, to_its_end


class Work:
    """Runs until told, or cancelled; then takes a few turns to clean up."""

    def __init__(self, *, error: Exception | None = None, on_cancel: Exception | None = None) -> None:
        self.error, self.on_cancel = error, on_cancel
        self.go = asyncio.Event()
        self.cancelled = self.cleaned = False

    async def run(self) -> None:
        try:
            await self.go.wait()
            if self.error:
                raise self.error
        except asyncio.CancelledError:
            self.cancelled = True
            for _ in range(3):
                await asyncio.sleep(0)
            self.cleaned = True
            if self.on_cancel:
                raise self.on_cancel from None
            raise


def test_the_first_to_end_ends_the_others_and_their_end_is_waited_for() -> None:
    async def body() -> None:
        one, two, three = Work(), Work(), Work()
        two.go.set()
        await first(one.run(), two.run(), three.run())
        assert (one.cleaned, two.cancelled, three.cleaned) == (True, False, True)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(body())


def test_an_error_comes_as_it_is_when_the_others_have_ended() -> None:
    async def body() -> None:
        one, two = Work(), Work(error=KeyError("x"))
        two.go.set()
        with pytest.raises(KeyError, match="x"):
            await first(one.run(), two.run())
        assert one.cleaned

    asyncio.run(body())


def test_an_error_of_one_that_is_cancelled_is_not_lost() -> None:
    async def body() -> None:
        one, two = Work(on_cancel=ValueError("while cleaning up")), Work()
        two.go.set()
        with pytest.raises(ValueError, match="cleaning"):
            await first(one.run(), two.run())

    asyncio.run(body())


def test_cancelled_from_outside_it_cancels_all_and_is_cancelled() -> None:
    async def body() -> None:
        works = [Work(), Work()]
        task = asyncio.create_task(first(*(work.run() for work in works)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(work.cleaned for work in works) and len(asyncio.all_tasks()) == 1

    asyncio.run(body())


def test_what_is_begun_is_done_to_its_end() -> None:
    async def body() -> None:
        work = Work()
        task = asyncio.create_task(to_its_end(work.run()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done() and not work.cancelled
        work.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not work.cancelled

    asyncio.run(body())


def test_what_is_done_aside_keeps_nobody() -> None:
    go = threading.Event()

    def fails() -> None:
        raise ValueError("no")

    async def body() -> None:
        assert await aside(lambda: 5) == 5
        with pytest.raises(ValueError, match="no"):
            await aside(fails)
        task = asyncio.create_task(aside(go.wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())  # though the thread waits yet
    go.set()
