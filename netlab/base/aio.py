"""asyncio, where the standard library leaves something to say."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


async def first(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one of them ends, cancel the others and wait for their end; then raise what the one has raised.

    A TaskGroup would wait for all, and wrap what they raise.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """What touches the kernel, beside the event loop. Whoever is cancelled meanwhile waits for its end: two at once
    would undo each other's work."""
    return await to_its_end(asyncio.to_thread(work, *args))


async def aside(work: Callable[[], T]) -> T:
    """What may take long and can be left alone, in a thread of its own: whoever is cancelled does not wait for it, nor
    does the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def told(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        found: tuple[T | None, BaseException | None]
        try:
            found = work(), None
        except BaseException as e:  # noqa: BLE001 - the caller's to judge, whatever it is
            found = None, e
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(told, *found)

    threading.Thread(target=run, name="netlab-aside", daemon=True).start()
    return await done


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """What is not to be left half done: whoever is cancelled meanwhile, and be it again, waits for its end."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody is left to be told
        raise
