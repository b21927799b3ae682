"""Streams of containers: the standard streams of its own program (attach), a port of its network (`dial`).

Streams of one more program are in `netlab.runtime.execs`. Each holds back whoever writes until the other end reads:
nothing is buffered but what pipes and sockets hold. conmon says how `attach` speaks: packets that begin with 2
(standard output) or 3 (standard error), bytes of standard input as they are, and orders as lines of three numbers
(1 height width: the terminal's size; 2 0 0: open the log anew).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol, Self

from netlab.base.aio import in_thread
from netlab.base.descriptors import Descriptor
from netlab.base.errors import KernelError, NetlabError
from netlab.kernel import netns
from netlab.runtime.containers import Runtime

STDOUT, STDERR = 2, 3
#: bytes of a packet of conmon's, with its first
_PACKET = 8193
_ATTACH_CHUNK = 8192
#: seconds between orders to a monitor that is to take them one by one
SETTLE = 0.02


class Unattachable(NetlabError):
    """The container does not run, or its monitor is gone."""


class Streams(Protocol):
    """Standard streams of something that runs."""

    tty: bool

    async def write(self, data: bytes) -> None:
        """To its standard input; nothing happens if it reads none (any more)."""

    async def end_input(self) -> None:
        """There will be no more."""

    def outputs(self) -> Sequence[tuple[int, AsyncIterator[bytes]]]:
        """What it says, on STDOUT and STDERR, each until its end; on a terminal all is STDOUT."""

    def resize(self, width: int, height: int) -> None:
        """The size of its terminal, in characters."""


class Door:
    """conmon's socket for those who attach, and the pipe on which it takes orders. Use as a context manager."""

    def __init__(self, attach: Path, orders: Path, *, tty: bool, stdin: bool) -> None:
        self.tty = tty
        self._attach, self._orders, self._stdin = attach, orders, stdin
        self._size = (0, 0)
        self._resizing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Unattachable if nobody is there."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            fd = os.open(self._attach.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                # an address has 107 bytes, the name of a directory may have more
                sock.connect(f"/proc/self/fd/{fd}/{self._attach.name}")
            finally:
                os.close(fd)
        except OSError as e:
            sock.close()
            raise Unattachable(f"the container's monitor does not answer: {e.strerror}") from e
        self._socket = sock
        self._descriptor = Descriptor(os.dup(sock.fileno()))
        wanted = (STDOUT,) if self.tty else (STDOUT, STDERR)
        self._queues: dict[int, asyncio.Queue[bytes]] = {which: asyncio.Queue(1) for which in wanted}
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._reading, self._resizing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._descriptor.close()
        self._socket.close()

    async def _read(self) -> None:
        while packet := await self._descriptor.read(_PACKET):
            queue = self._queues.get(packet[0])
            if queue is not None and len(packet) > 1:
                await queue.put(packet[1:])
        for queue in self._queues.values():
            await queue.put(b"")

    async def _from(self, queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        while data := await queue.get():
            yield data

    def outputs(self) -> Sequence[tuple[int, AsyncIterator[bytes]]]:
        return [(which, self._from(queue)) for which, queue in self._queues.items()]

    async def write(self, data: bytes) -> None:
        if self._stdin:
            view = memoryview(data)
            with contextlib.suppress(BrokenPipeError):
                for start in range(0, len(view), _ATTACH_CHUNK):
                    await self._descriptor.write(view[start : start + _ATTACH_CHUNK])

    async def end_input(self) -> None:
        if self._stdin:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def resize(self, width: int, height: int) -> None:
        if self.tty:
            self._size = (width, height)
            if self._resizing is None or self._resizing.done():
                self._resizing = asyncio.create_task(self._resize())

    async def _resize(self) -> None:
        """conmon 2.1 takes the first of several orders that it reads at once for all of them: one is given at a time,
        and of sizes that follow each other closely (clients begin with two) only the last."""
        told = None
        while told != self._size:
            await asyncio.sleep(SETTLE)
            told = self._size
            with contextlib.suppress(KernelError):  # it has ended, which shows elsewhere
                _order(self._orders, f"1 {told[1]} {told[0]}\n")


def attach(runtime: Runtime, name: str, *, stdin: bool = False) -> Door:
    """The standard streams of a container's own program, to be entered. NoContainer."""
    path, orders, tty, has_input = runtime.doors(name)
    return Door(path, orders, tty=tty, stdin=stdin and (has_input or tty))


def _order(path: Path, line: str) -> None:
    """KernelError if nobody takes orders there."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise KernelError(f"{path}: {e.strerror}", errno_=e.errno or 0) from e
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def reopen_log(runtime: Runtime, name: str) -> None:
    """Have the log be written to a new file of the same name. KernelError if the container has ended."""
    _order(runtime.doors(name)[1], "2 0 0\n")


async def dial(where: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a port of localhost in a network namespace, over IPv4 or else IPv6. OSError of the former."""
    first: OSError | None = None
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        sock = None
        try:
            sock = await in_thread(_socket_in, where, family)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            return await asyncio.open_connection(sock=sock)
        except OSError as e:
            first = first or e
            if sock is not None:
                sock.close()
        except BaseException:
            if sock is not None:
                sock.close()
            raise
    assert first is not None
    raise first


def _socket_in(where: str, family: socket.AddressFamily) -> socket.socket:
    with netns.entered(where):
        sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock
