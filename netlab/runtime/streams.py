"""Streams of containers: one more program in one (exec), its own standard streams (attach), a port of its network.

Each holds back whoever writes until the other end reads: nothing is buffered but what pipes and sockets hold. conmon
says how `attach` speaks: packets that begin with 2 (standard output) or 3 (standard error), bytes of standard input
as they are, and orders as lines of three numbers (1 height width: the terminal's size; 2 0 0: open the log anew).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import struct
import tempfile
import termios
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from asyncinotify import Inotify, Mask

from netlab.base.aio import in_thread
from netlab.base.descriptors import Descriptor
from netlab.base.errors import KernelError, NetlabError
from netlab.kernel import netns, processes
from netlab.kernel.children import Child
from netlab.kernel.processes import Identity
from netlab.runtime.containers import Runtime, reason

STDOUT, STDERR = 2, 3
#: bytes of a packet of conmon's, with its first
_PACKET = 8193
_ATTACH_CHUNK = 8192
#: seconds between orders to a monitor that is to take them one by one
SETTLE = 0.05


class NotStarted(NetlabError):
    """The program could not be run in the container; runc's words."""


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


async def _said(descriptor: Descriptor) -> AsyncIterator[bytes]:
    while data := await descriptor.read():
        yield data


class Exec:
    """One more program in a container. Use as a context manager: at its end the program has ended too."""

    def __init__(
        self, runtime: Runtime, name: str, argv: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> None:
        self.tty = tty
        self._runtime, self._name, self._argv, self._stdin = runtime, name, argv, stdin
        self._descriptors: list[Descriptor] = []
        self._input: Descriptor | None = None
        self._output: list[tuple[int, Descriptor]] = []
        self._child: Child | None = None
        self._program: Identity | None = None

    async def __aenter__(self) -> Exec:
        """Run it. NotStarted, NoContainer."""
        try:
            with tempfile.TemporaryDirectory(prefix="netlab-exec-") as directory:
                await self._start(Path(directory))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _start(self, directory: Path) -> None:
        pid_file = directory / "pid"
        argv = self._runtime.exec_argv(self._name, self._argv, tty=self.tty, pid_file=pid_file)
        with Inotify() as appears:
            appears.add_watch(directory, Mask.MOVED_TO | Mask.CLOSE_WRITE)
            self._child = self._terminal(argv) if self.tty else self._pipes(argv)

            async def started() -> None:
                async for event in appears:
                    if str(event.name) == pid_file.name:
                        return

            waits = [asyncio.create_task(started()), asyncio.create_task(self._child.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
        if not pid_file.exists():
            said = b"".join([part for _, each in self._output async for part in _said(each)])
            ended = f"runc ended with status {await self._child.wait()}"
            raise NotStarted(reason(said.decode(errors="replace")) or ended)
        self._program = processes.identify(int(pid_file.read_text()))

    def _own(self, fd: int) -> Descriptor:
        self._descriptors.append(Descriptor(fd))
        return self._descriptors[-1]

    def _pipes(self, argv: Sequence[str]) -> Child:
        theirs: list[int] = []
        try:
            if self._stdin:
                read, write = os.pipe()
                theirs.append(read)
                self._input = self._own(write)
            else:
                theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            for which in (STDOUT, STDERR):
                read, write = os.pipe()
                theirs.append(write)
                self._output.append((which, self._own(read)))
            return Child(argv, stdin=theirs[0], stdout=theirs[1], stderr=theirs[2])
        finally:
            for fd in theirs:
                os.close(fd)

    def _terminal(self, argv: Sequence[str]) -> Child:
        """runc copies between the program's terminal and this one, and hears of its size by SIGWINCH."""
        ours, theirs = os.openpty()
        try:
            self._input = self._own(ours)
            self._output.append((STDOUT, self._input))
            return Child(argv, stdin=theirs, stdout=theirs, stderr=theirs)
        finally:
            os.close(theirs)

    async def write(self, data: bytes) -> None:
        if self._input is not None and self._stdin:
            with contextlib.suppress(BrokenPipeError):
                await self._input.write(data)

    async def end_input(self) -> None:
        if self._input is not None and self._stdin and not self.tty:
            self._input.close()

    def outputs(self) -> Sequence[tuple[int, AsyncIterator[bytes]]]:
        return [(which, _said(descriptor)) for which, descriptor in self._output]

    def resize(self, width: int, height: int) -> None:
        if self.tty and self._input is not None and self._input.fd >= 0 and self._child is not None:
            fcntl.ioctl(self._input.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            self._child.send(signal.SIGWINCH)

    async def wait(self) -> int:
        """Its exit status when it has ended."""
        assert self._child is not None
        return await self._child.wait()

    async def _end(self) -> None:
        if self._program is not None and processes.alive(self._program):
            # runc made it the leader of a session: whatever it has started and not sent elsewhere goes with it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._program.pid, signal.SIGKILL)
        for descriptor in self._descriptors:
            descriptor.close()
        if self._child is not None:
            await self._child.end()


class Attach:
    """The standard streams of a container's own program. Use as a context manager."""

    def __init__(self, runtime: Runtime, name: str, *, stdin: bool = False) -> None:
        self._runtime, self._name, self._stdin = runtime, name, stdin
        self.tty = False
        self._queues: dict[int, asyncio.Queue[bytes]] = {}
        self._size = (0, 0)
        self._resizing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Attach:
        """Unattachable, NoContainer."""
        path, self._orders, self.tty, has_input = self._runtime.doors(self._name)
        self._stdin = self._stdin and (has_input or self.tty)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                sock.connect(f"/proc/self/fd/{fd}/{path.name}")  # an address has 107 bytes, a directory's name may more
            finally:
                os.close(fd)
        except OSError as e:
            sock.close()
            raise Unattachable(f"container {self._name} cannot be attached to: {e.strerror}") from e
        self._socket = sock
        self._descriptor = Descriptor(os.dup(sock.fileno()))
        wanted = (STDOUT,) if self.tty else (STDOUT, STDERR)
        self._queues = {which: asyncio.Queue(1) for which in wanted}
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
