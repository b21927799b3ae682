"""What goes on beside a worker: tasks by name, each once at a time; the end of any is a reason to look again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger("kubelet")


class Tasks:
    """whose: for the log; ended: called when one has ended."""

    def __init__(self, whose: str, ended: Callable[[], None]) -> None:
        self._whose, self._ended = whose, ended
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._tasks

    def begin(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        """Unless one of that name is under way."""
        if key in self._tasks:
            work.close()
            return
        task = self._tasks[key] = asyncio.create_task(work, name=f"{key} {self._whose}")

        def ended(task: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is task:
                del self._tasks[key]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s of %s ended by a bug", key, self._whose, exc_info=error)
            self._ended()

        task.add_done_callback(ended)

    def cancel(self, key: str, *, forget: bool = False) -> None:
        """Nothing if there is none. forget: another of that name may begin before it has ended."""
        task = self._tasks.pop(key, None) if forget else self._tasks.get(key)
        if task is not None:
            task.cancel()

    async def aclose(self) -> None:
        """End all, and wait for it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
