"""asyncio, where the standard library leaves something to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

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
