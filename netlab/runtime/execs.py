"""One more program in a container, with pipes or at a terminal. At the end of the context it has ended too.

With pipes runc itself stays beside it: they carry the end of input and hold back whoever writes. At a terminal conmon
does, since runc alone would put a second terminal between, and with it a second opinion of what a line is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

import orjson
from asyncinotify import Inotify, Mask

from netlab.base.aio import first, to_its_end
from netlab.base.descriptors import Descriptor
from netlab.base.errors import NetlabError
from netlab.kernel import processes
from netlab.kernel.children import Child
from netlab.kernel.processes import Identity
from netlab.runtime.containers import UNKNOWN_EXIT, Runtime, reason
from netlab.runtime.streams import STDERR, STDOUT, Door


class NotStarted(NetlabError):
    """The program could not be run in the container; runc's words."""


def _end(program: Identity | None) -> None:
    """Kill a program: it leads a session, and whatever it has started and not sent elsewhere goes with it."""
    if program is not None and processes.alive(program):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)


async def _said(descriptor: Descriptor) -> AsyncIterator[bytes]:
    while data := await descriptor.read():
        yield data


class Piped:
    """A program with pipes."""

    tty = False

    def __init__(self, runtime: Runtime, name: str, argv: Sequence[str], *, stdin: bool = False) -> None:
        self._runtime, self._name, self._argv, self._stdin = runtime, name, argv, stdin
        self._input: Descriptor | None = None
        self._output: list[tuple[int, Descriptor]] = []
        self._child: Child | None = None
        self._program: Identity | None = None

    async def __aenter__(self) -> Self:
        """Run it. NotStarted, NoContainer."""
        try:
            with tempfile.TemporaryDirectory(prefix="netlab-exec-") as directory:
                await to_its_end(self._start(Path(directory) / "pid"))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        _end(self._program)
        for descriptor in (self._input, *(each for _, each in self._output)):
            if descriptor is not None:
                descriptor.close()
        if self._child is not None:
            await self._child.end()

    async def _start(self, pid_file: Path) -> None:
        with Inotify() as appears:
            appears.add_watch(pid_file.parent, Mask.MOVED_TO | Mask.CLOSE_WRITE)
            child = self._child = self._run(self._runtime.exec_argv(self._name, self._argv, pid_file=pid_file))

            async def started() -> None:
                async for event in appears:
                    if str(event.name) == pid_file.name:
                        return

            async def ended() -> None:
                await child.wait()

            await first(started(), ended())
        if not pid_file.exists():
            said = b"".join([part for _, each in self._output async for part in _said(each)])
            raise NotStarted(reason(said.decode(errors="replace")) or f"runc ended with status {await child.wait()}")
        self._program = processes.identify(int(pid_file.read_text()))

    def _run(self, argv: Sequence[str]) -> Child:
        theirs: list[int] = []
        try:
            if self._stdin:
                read, write = os.pipe()
                theirs.append(read)
                self._input = Descriptor(write)
            else:
                theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            for which in (STDOUT, STDERR):
                read, write = os.pipe()
                theirs.append(write)
                self._output.append((which, Descriptor(read)))
            return Child(argv, stdin=theirs[0], stdout=theirs[1], stderr=theirs[2])
        finally:
            for fd in theirs:
                os.close(fd)

    async def write(self, data: bytes) -> None:
        if self._input is not None:
            with contextlib.suppress(BrokenPipeError):
                await self._input.write(data)

    async def end_input(self) -> None:
        if self._input is not None:
            self._input.close()

    def outputs(self) -> Sequence[tuple[int, AsyncIterator[bytes]]]:
        return [(which, _said(descriptor)) for which, descriptor in self._output]

    def resize(self, width: int, height: int) -> None:
        """It has no terminal."""

    async def wait(self) -> int:
        """Its exit status when it has ended."""
        assert self._child is not None
        return await self._child.wait()


class AtTerminal:
    """A program at a terminal of its own. conmon waits until we have attached before it runs it, then tells on a pipe
    which process it is, and in the end its exit status."""

    tty = True

    def __init__(self, runtime: Runtime, name: str, argv: Sequence[str], *, stdin: bool = False) -> None:
        self._runtime, self._name, self._argv = runtime, name, argv
        self._directory = Path(tempfile.mkdtemp(prefix="netlab-exec-"))
        self._door = Door(self._directory / "attach", self._directory / "ctl", tty=True, stdin=stdin)
        self._stack = contextlib.AsyncExitStack()
        self._program: Identity | None = None
        self._tells: Descriptor | None = None

    async def __aenter__(self) -> Self:
        """Run it. NotStarted, NoContainer, Unattachable."""
        self._stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
        try:
            await to_its_end(self._start())
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        argv = self._runtime.exec_monitor(self._name, self._argv, directory=self._directory)
        with contextlib.ExitStack() as theirs:
            pipes = [os.pipe() for _ in range(3)]
            self._tells, attachable, begin = Descriptor(pipes[0][0]), Descriptor(pipes[1][0]), Descriptor(pipes[2][1])
            for descriptor in (self._tells, attachable, begin):
                self._stack.callback(descriptor.close)
            handed = (pipes[0][1], pipes[1][1], pipes[2][0])
            for fd in handed:
                theirs.callback(os.close, fd)
            names = ("_OCI_SYNCPIPE", "_OCI_ATTACHPIPE", "_OCI_STARTPIPE")
            variables = dict(zip(names, map(str, handed), strict=True))
            child = Child(argv, pass_fds=handed, env=variables, cwd=self._directory)
        self._stack.push_async_callback(child.end)
        await begin.write(b"1")
        if not await attachable.read():
            raise NotStarted(f"conmon ended with status {await child.wait()}")
        await self._stack.enter_async_context(self._door)
        await begin.write(b"1")
        told = await self._told()
        pid = int(told.get("data", -1))
        if pid <= 0:
            raise NotStarted(reason(str(told.get("message", "conmon gave no reason"))))
        self._program = processes.identify(pid)
        self._stack.callback(_end, self._program)

    async def _told(self) -> dict[str, Any]:
        """The next line that conmon writes; {} if it has ended."""
        assert self._tells is not None
        line = b""
        while not line.endswith(b"\n") and (byte := await self._tells.read(1)):
            line += byte
        found: dict[str, Any] = orjson.loads(line) if line else {}
        return found

    async def write(self, data: bytes) -> None:
        await self._door.write(data)

    async def end_input(self) -> None:
        """A terminal has no end of input but a character for it."""

    def outputs(self) -> Sequence[tuple[int, AsyncIterator[bytes]]]:
        return self._door.outputs()

    def resize(self, width: int, height: int) -> None:
        self._door.resize(width, height)

    async def wait(self) -> int:
        """Its exit status when it has ended."""
        return int((await self._told()).get("data", UNKNOWN_EXIT))
