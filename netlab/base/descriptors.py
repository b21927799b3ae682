"""A pipe, socket or terminal of ours in the event loop: read when something is there, written when there is room.

asyncio's own pipe transports read ahead and buffer what is written; here a reader that waits holds the writer up, all
the way through, and nothing lies between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

#: bytes that are read at once: a pipe holds as many
CHUNK = 64 * 1024


class Descriptor:
    """Owns the descriptor. One task may read and another write."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd

    async def read(self, size: int = CHUNK) -> bytes:
        """What is there, at least a byte; b"" at the end."""
        loop = asyncio.get_running_loop()
        while self.fd >= 0:
            try:
                return os.read(self.fd, size)
            except BlockingIOError:
                await self._ready(loop.add_reader, loop.remove_reader)
            except OSError as e:
                if e.errno in (errno.EIO, errno.ECONNRESET):  # a terminal that nobody has open, a peer that is gone
                    return b""
                raise
        return b""

    async def write(self, data: bytes | memoryview) -> None:
        """All of it. BrokenPipeError if nobody reads."""
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        while view:
            if self.fd < 0:
                raise BrokenPipeError(errno.EPIPE, "closed")
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                await self._ready(loop.add_writer, loop.remove_writer)
            except OSError as e:
                if e.errno == errno.EIO:
                    raise BrokenPipeError(errno.EPIPE, "nobody has the terminal open") from None
                raise

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], object]) -> None:
        fd, ready = self.fd, asyncio.get_running_loop().create_future()
        add(fd, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            if self.fd == fd:
                remove(fd)

    def close(self) -> None:
        """Close it; twice is as good as once. Not while a task waits for it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


async def readable(fd: int) -> None:
    """Wait until there is something to be read, or, of a pidfd, until the process has ended."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)
