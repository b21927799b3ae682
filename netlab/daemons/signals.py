"""How a daemon is told to end: by a signal, in the process that is its own."""

from __future__ import annotations

import asyncio
import logging
import signal


def until_told() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    return ended


async def told(ended: asyncio.Event, log: logging.Logger, word: str) -> None:
    """Return once `ended` is set, with a word in the log."""
    await ended.wait()
    log.info("%s", word)
