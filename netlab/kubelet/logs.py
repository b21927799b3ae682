"""Logs of containers: lines of the Container Runtime Interface read, followed and rotated.

`2016-10-06T00:17:09.669794202Z stdout P text`: when it was said, on which stream, whether the line ends here (F) or
goes on (P), and what. As in the original only the newest file is shown; who follows goes on into the next one.
Source: kubernetes pkg/kubelet/kuberuntime/logs, pkg/kubelet/logs; CRI logging design.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asyncinotify import Inotify, Mask

from netlab.api import times
from netlab.base.aio import in_thread
from netlab.base.descriptors import readable
from netlab.base.errors import KernelError, NetlabError
from netlab.kernel import processes
from netlab.runtime import streams
from netlab.runtime.containers import Runtime

log = logging.getLogger("kubelet.logs")

#: bytes of a file, files of a container with the one that is written: as the original's --container-log-max-*
SIZE_MAX, FILES_MAX = 10 << 20, 5
#: seconds between looks at their size, as --container-log-monitor-interval
EVERY = 10.0
#: bytes that are read at once
CHUNK = 64 * 1024
#: bytes of a line; the rest of one that is longer is a line of its own, as no monitor writes any
LINE_MAX = 256 * 1024
_STAMP = "%Y%m%d-%H%M%S"
_ROTATED = re.compile(r"\.\d{8}-\d{6}(-\d+)?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """since: seconds since 1970, nothing earlier; tail: so many lines from the end; limit: bytes; stream: stdout or
    stderr alone, "" for both."""

    follow: bool = False
    timestamps: bool = False
    since: float | None = None
    tail: int | None = None
    limit: int | None = None
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file. whole: whether the line of the container ends here."""

    when: bytes
    stream: str
    whole: bool
    text: bytes


def parse(line: bytes) -> Line | None:
    """A line without its end; None if it is none of the format."""
    parts = line.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return None
    tags = parts[2].split(b":")
    if tags[0] not in (b"F", b"P"):
        return None
    return Line(parts[0], parts[1].decode(), tags[0] == b"F", parts[3] if len(parts) > 3 else b"")


def seconds(when: bytes) -> float:
    """A time stamp as seconds since 1970; 0 of one that is none."""
    try:
        return times.parse(when.decode(errors="replace")).timestamp()
    except times.TimeError:
        return 0.0


def ago(number: int) -> float:
    """So many seconds before now, as `Wanted.since`."""
    return time.time() - number


class Writer:
    """What a client is shown of the lines, one after the other."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted, self._left = wanted, wanted.limit
        self._fresh: dict[str, bool] = {}  # by stream: whether a line of the container begins

    @property
    def full(self) -> bool:
        """Whether as much was shown as is wanted."""
        return self._left is not None and self._left <= 0

    def show(self, raw: bytes) -> bytes:
        """A line of the file, as it is shown; b"" if it is not."""
        line = parse(raw)
        if line is None or self.full or self._wanted.stream not in ("", line.stream):
            return b""
        if self._wanted.since is not None and seconds(line.when) < self._wanted.since:
            return b""
        begins = self._fresh.get(line.stream, True)
        self._fresh[line.stream] = line.whole
        when = line.when.removesuffix(b"+00:00") + b"Z" if line.when.endswith(b"+00:00") else line.when
        said = (when + b" " if self._wanted.timestamps and begins else b"") + line.text
        said += b"\n" if line.whole else b""
        if self._left is not None:
            said = said[: self._left]
            self._left -= len(said)
        return said


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last so many lines of a file begin. One without an end counts."""
    at = end = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return end
    while at > 0:
        size = min(CHUNK, at)
        at -= size
        file.seek(at)
        block = file.read(size)
        place = len(block) - (at + size == end)  # the end of the last line begins none
        while (place := block.rfind(b"\n", 0, place)) >= 0:
            lines -= 1
            if lines == 0:
                return at + place + 1
    return 0


class _Tail:
    """The newest file of a log, as far as it was read."""

    def __init__(self, path: Path, lines: int | None) -> None:
        self.path = path
        self._rest, self._over = b"", False
        self._file = path.open("rb")
        self._file.seek(0 if lines is None else tail_offset(self._file, lines))

    def more(self) -> list[bytes]:
        """Lines that are there, some of them; none at the end."""
        while data := self._file.read(CHUNK):
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > LINE_MAX:
                lines, self._rest = [*lines, self._rest], b""
            if lines:
                return lines
        return []

    def turned(self) -> bool:
        """Whether there is more to be read because another file has its name now. A log that is gone, or not made anew
        yet, has not turned."""
        try:
            now = self.path.stat().st_ino
        except FileNotFoundError:
            return False
        if now == os.fstat(self._file.fileno()).st_ino:
            return False
        if not self._over:  # what was written between our last look and the new file is still to be read
            self._over = True
        else:
            self._file.close()
            self._file, self._rest, self._over = self.path.open("rb"), b"", False
        return True

    def close(self) -> None:
        self._file.close()


async def read(
    path: Path, wanted: Wanted, *, ended: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[bytes]:
    """What a client is shown. ended: returns when no more will be written; to follow. FileNotFoundError."""
    with contextlib.ExitStack() as stack:
        changes = None
        if wanted.follow and ended is not None:
            changes = stack.enter_context(Inotify())
            changes.add_watch(path.parent, Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO)
        tail = await in_thread(_Tail, path, wanted.tail)
        stack.callback(tail.close)
        writer, over = Writer(wanted), changes is None
        last = asyncio.ensure_future(ended()) if ended is not None and changes is not None else None
        try:
            while True:
                while lines := await in_thread(tail.more):
                    if said := b"".join(map(writer.show, lines)):
                        yield said
                    if writer.full:
                        return
                if tail.turned():
                    continue
                if over:
                    return
                assert changes is not None and last is not None
                over = await _changed(changes, last)
        finally:
            if last is not None:
                last.cancel()
                await asyncio.gather(last, return_exceptions=True)


async def _changed(changes: Inotify, last: asyncio.Future[None]) -> bool:
    """Wait for something to read, or for the end of all. Whether it is the latter."""
    change = asyncio.ensure_future(changes.get())
    try:
        await asyncio.wait((change, last), return_when=asyncio.FIRST_COMPLETED)
        return last.done()
    finally:
        change.cancel()
        await asyncio.gather(change, return_exceptions=True)


async def until_written(runtime: Runtime, name: str) -> None:
    """Until the last of a container's log is written: its monitor, who writes it, ends then. NoContainer."""
    monitor = runtime.monitor(name)
    fd = processes.open_pidfd(monitor) if monitor is not None else None
    if fd is not None:
        try:
            await readable(fd)
        finally:
            os.close(fd)


def rotate(
    runtime: Runtime, name: str, *, now: datetime.datetime, size: int = SIZE_MAX, files: int = FILES_MAX
) -> bool:
    """Put a running container's log aside if it has grown beyond `size` bytes, begin a new one, and keep `files` of
    them. Whether that was done. For one caller at a time. NoContainer, KernelError."""
    path = Path(runtime.status(name).log)
    try:
        if path.stat().st_size < size:
            return False
    except FileNotFoundError:
        return False
    aside = path.with_name(f"{path.name}.{now.strftime(_STAMP)}")
    number = 0
    while aside.exists():  # more than once a second
        number += 1
        aside = path.with_name(f"{path.name}.{now.strftime(_STAMP)}-{number}")
    path.rename(aside)
    try:
        streams.reopen_log(runtime, name)
    except KernelError:
        aside.rename(path)  # nobody writes it any more: it is the newest after all
        raise
    old = sorted(p for p in path.parent.glob(f"{path.name}.*") if _ROTATED.fullmatch(p.name[len(path.name) :]))
    for each in old[: max(0, len(old) - (files - 1))]:
        each.unlink(missing_ok=True)
    return True


def _rotate_all(runtime: Runtime, size: int, files: int) -> None:
    for status in runtime.all():
        if status.state == "running":
            try:
                rotate(runtime, status.id, now=datetime.datetime.now(datetime.UTC), size=size, files=files)
            except NetlabError as e:  # it has ended meanwhile, or its monitor is gone: the next look will tell
                log.info("the log of container %s stays as it is: %s", status.id, e.message)


async def rotating(
    runtime: Runtime, *, every: float = EVERY, size: int = SIZE_MAX, files: int = FILES_MAX
) -> None:  # fmt: skip
    """Keep the logs of all containers small, until cancelled. every: seconds between looks; see `rotate`."""
    while True:
        await in_thread(_rotate_all, runtime, size, files)
        await asyncio.sleep(every)
