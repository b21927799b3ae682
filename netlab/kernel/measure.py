"""A command measured as a whole process: wall time, processor time and peak memory of it and of all that it waited for.

The command is started by a shell that ends at once, and we, as the subreaper, inherit it. The detour is for the memory:
what a process reports as its peak includes the one that it was forked from, and a Python would hide any small tool
behind its own 30 MB (getrusage(2), `setmax_mm_hiwater_rss` in fs/exec.c). The clock starts when the shell has gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, NamedTuple

from netlab.base.errors import KernelError
from netlab.kernel import syscalls

#: on descriptor 3 the shell says whom it started; who waits on 4 until the shell, which else might reap it, has gone
_SPAWN = '{ read -r _ <&4; exec "$@" 3>&- 4<&-; } & echo $! >&3'


class Measured(NamedTuple):
    """wall, cpu (user and system): seconds; rss: peak, in bytes; output: stdout and stderr as they came.

    marked: seconds until `mark` was seen in the output, None if it was not.
    """

    returncode: int
    wall: float
    cpu: float
    rss: int
    output: str
    marked: float | None = None


def measured(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, mark: str | None = None, timeout: float = 600.0
) -> Measured:
    """Run `argv`, without input, in a session of its own. env: added to ours; mark: note when this text is printed.

    Interrupted, it kills the command and whatever that has started within its session, and waits for their end.
    KernelError if the command is not done after `timeout` seconds.
    """
    with _subreaper(), contextlib.ExitStack() as stack:
        out, out_end = _pipe(stack)
        told, told_end = _pipe(stack)
        go_end, go = _pipe(stack)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out_end.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, out_end.fileno(), 2),
            (os.POSIX_SPAWN_DUP2, told_end.fileno(), 3),
            (os.POSIX_SPAWN_DUP2, go_end.fileno(), 4),
        ]
        shell = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _SPAWN, "sh", *argv],
            {**os.environ, **(env or {})},
            file_actions=actions,
            setsid=True,
        )
        try:
            for end in (out_end, told_end, go_end):
                end.close()
            pid = int(told.readline())
            os.waitpid(shell, 0)  # from here on the command is our child
            started = time.perf_counter()
            go.close()
            return _follow(pid, out.fileno(), started, mark, started + timeout, argv)
        except BaseException:
            _end_session(shell)
            raise


def _follow(pid: int, out: int, started: float, mark: str | None, deadline: float, argv: Sequence[str]) -> Measured:
    pidfd = os.pidfd_open(pid)
    output, marked = b"", None
    wanted = mark.encode() if mark else None
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(out, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(max(0.0, deadline - time.perf_counter()) * 1000)}
            now = time.perf_counter() - started
            if not ready:
                raise KernelError(f"{' '.join(argv)}: not done after {now:.0f} s")
            chunk = os.read(out, 1 << 16) if out in ready else b""
            if out in ready and not chunk:
                poll.unregister(out)
            output += chunk
            if wanted and marked is None and wanted in output[-len(chunk) - len(wanted) :]:
                marked = now
            if pidfd in ready and not chunk:
                break
    finally:
        os.close(pidfd)
    _, status, usage = os.wait4(pid, 0)
    return Measured(
        os.waitstatus_to_exitcode(status),
        now,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
        output.decode(errors="replace"),
        marked,
    )


def _pipe(stack: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return stack.enter_context(os.fdopen(reading, "rb")), stack.enter_context(os.fdopen(writing, "wb"))


def _end_session(leader: int) -> None:
    """Kill what is left of a session that we started: its number is not given out while a child of ours has it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-leader, 0)


@contextlib.contextmanager
def _subreaper() -> Iterator[None]:
    """Orphans below us become our children, so that we can wait for them."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)
