"""Processes: started in a namespace, known by number and start time, signalled through pidfds.

A number alone is no identity, because the kernel gives it out again; with the start time it is. Nothing here looks at
names. Facts: proc(5), pidfd_open(2), prctl(2), setsid(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from netlab.base.errors import KernelError
from netlab.kernel import cgroups, syscalls
from netlab.kernel import netns as namespaces

#: what the child reports when it could not become the program: which step, and why
_STEPS = ("setsid", "log", "namespace", "directory", "command")


class Identity(NamedTuple):
    """A process, once and for all. start_time: clock ticks from boot (field 22 of /proc/PID/stat)."""

    pid: int
    start_time: int


class Entry(NamedTuple):
    """A row of the process table. session: its leader's number, be that alive or not; zombie: dead, not yet reaped."""

    identity: Identity
    parent: int
    session: int
    zombie: bool


def _contents(path: str) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0) as file:
        return file.read()


def entry(pid: int) -> Entry | None:
    """What /proc says of that number now, or None if there is no such process."""
    try:
        text = _contents(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the second field is the program's name in brackets, and may itself have brackets and blanks
    fields = text[text.rindex(b")") + 2 :].split()
    return Entry(Identity(pid, int(fields[19])), int(fields[1]), int(fields[3]), fields[0] in (b"Z", b"X"))


def table() -> Iterator[Entry]:
    """All processes of this PID namespace."""
    with os.scandir("/proc") as listed:
        numbers = [int(found.name) for found in listed if found.name.isdecimal()]
    for pid in numbers:
        row = entry(pid)
        if row is not None:
            yield row


def identify(pid: int) -> Identity | None:
    """The identity of the process that has this number now."""
    row = entry(pid)
    return None if row is None else row.identity


def alive(identity: Identity) -> bool:
    """Whether that very process runs; a zombie does not."""
    row = entry(identity.pid)
    return row is not None and row.identity == identity and not row.zombie


def open_pidfd(identity: Identity) -> int | None:
    """A pidfd of that very process, to be closed by the caller; None if it is gone."""
    try:
        fd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    except OSError as e:
        # the number of a process that is gone, kept because it is still the name of a session or a process group
        if e.errno != errno.EINVAL:
            raise
        return None
    # the number cannot change hands any more: if it is the right one now, the descriptor is
    if identify(identity.pid) == identity:
        return fd
    os.close(fd)
    return None


def send(identity: Identity, number: int) -> bool:
    """Signal that very process. False if it is gone."""
    fd = open_pidfd(identity)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def ended(identity: Identity, seconds: float) -> bool:
    """Whether that very process has ended, or does so within `seconds`."""
    fd = open_pidfd(identity)
    if fd is None:
        return True
    fds = {fd: identity}
    try:
        _wait_and_close(fds, seconds)
        return not fds
    finally:
        for left in fds:
            os.close(left)


def stop(identities: Iterable[Identity], grace: float = 2.0, *, kill_wait: float = 2.0) -> list[Identity]:
    """TERM, `grace` seconds, KILL, `kill_wait` seconds. Those that even so did not end (stuck in the kernel)."""
    fds: dict[int, Identity] = {}
    try:
        for identity in dict.fromkeys(identities):
            fd = open_pidfd(identity)
            if fd is not None:
                fds[fd] = identity
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, kill_wait)):
            for fd in fds:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, number)
            _wait_and_close(fds, seconds)
            if not fds:
                break
        return list(fds.values())
    finally:
        for fd in fds:
            os.close(fd)


def _wait_and_close(fds: dict[int, Identity], seconds: float) -> None:
    """Wait until the processes have ended, dropping each that has; a pidfd is readable from then on."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + seconds
    while fds:
        ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ended:
            return
        for fd, _ in ended:
            poll.unregister(fd)
            with contextlib.suppress(ChildProcessError):  # if it was a child of ours, leave no zombie
                os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
            os.close(fd)
            del fds[fd]


def inside(netns_inodes: Collection[int]) -> list[tuple[Identity, str]]:
    """Processes whose network namespace is one of those (`netns.inode`), with their command lines; never the caller."""
    found: list[tuple[Identity, str]] = []
    for row in table():
        pid = row.identity.pid
        try:
            if pid == os.getpid() or Path(f"/proc/{pid}/ns/net").stat().st_ino not in netns_inodes:
                continue
            words = _contents(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
        except (FileNotFoundError, ProcessLookupError):  # gone, or a zombie, which has no namespace
            continue
        except PermissionError:  # somebody else's, and we are not root
            continue
        if identify(pid) == row.identity:
            found.append((row.identity, shlex.join(word.decode(errors="replace") for word in words)))
    return sorted(found)


class Spawning:
    """A child between fork and exec. `confirm` waits for the exec, so that many may be on their way at once."""

    def __init__(self, pid: int, report: int, argv: Sequence[str], subjects: Mapping[str, object]) -> None:
        self.pid = pid
        self._report = report
        self._argv, self._subjects = argv, subjects

    def confirm(self) -> int:
        """The child's number, once it runs the program. KernelError names the step that failed; then it is reaped."""
        with os.fdopen(self._report, "rb") as file:
            said = file.read()  # closed by a successful exec: an empty report means success
        if not said:
            return self.pid
        os.waitpid(self.pid, 0)
        step, number = _STEPS[said[0]], int.from_bytes(said[1:], "big")
        subject = self._subjects.get(step, "")
        raise KernelError(f"{step} {subject}: {os.strerror(number)}", errno_=number, item=shlex.join(self._argv))


def spawn(
    argv: Sequence[str],
    *,
    netns: str | int | None,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | str = "/",
    pdeathsig: bool = True,
) -> int:
    """Start a program in a namespace and return its number; it has been executed when this returns.

    It leads a session of its own, reads /dev/null and appends what it prints to `log`. env: added to ours.
    pdeathsig: the kernel kills it when the calling *thread* ends, so call from a thread that lives as long as the
    process should. (execve forgets that for set-user-ID programs and those with file capabilities.) It is our child:
    the caller reaps it. KernelError names the step that failed: log, namespace, directory or command.

    This forks, because no posix_spawn attribute and no flag of subprocess asks for a death signal, and an
    intermediate `setpriv` could not see that its parent had died before. For single-threaded callers.
    """
    return begin(argv, netns=netns, log=log, env=env, cwd=cwd, pdeathsig=pdeathsig).confirm()


def begin(
    argv: Sequence[str],
    *,
    netns: str | int | None,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | str = "/",
    pdeathsig: bool = True,
    init: bool = False,
    inside: Identity | None = None,
    cgroup: str | None = None,
    sockets: Sequence[int] = (),
    call: Callable[[list[str]], int] | None = None,
) -> Spawning:
    """The first half of `spawn`: has forked when it returns. Call `confirm` in any case; it closes the report.

    init: it is the first process of a process namespace of its own; inside: it is in all namespaces of that process,
    from its mounts to its numbers; cgroup: of which it is a member (`cgroups.join`); sockets: listening ones that it
    gets by sd_listen_fds(3); call: what to do instead of executing argv, whose first word is then the process's name:
    nothing is loaded twice, and what both have read they share.
    """
    fd = namespaces.open_fd(netns) if isinstance(netns, str) else netns
    if isinstance(netns, str) and fd is None:
        raise KernelError(f"there is no network namespace {netns!r}", errno_=errno.ENOENT)
    machine = None if inside is None else open_pidfd(inside)
    if inside is not None and machine is None:
        raise KernelError(f"process {inside.pid}, whose namespaces are meant, has ended", errno_=errno.ESRCH)
    report, reported = os.pipe()
    # until exec a signal for the child would run our handlers, and write to our wakeup descriptor
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        parent = os.getpid()
        with _numbered(init=init, machine=machine):
            pid = os.fork()
            if pid == 0:
                child = _Child(
                    list(argv), fd, machine, cgroup, log, {**os.environ, **(env or {})}, cwd,
                    parent if pdeathsig else 0, reported, blocked, tuple(sockets), call,
                )  # fmt: skip
                child.become()
    except BaseException:
        os.close(report)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(reported)
        for own in (fd if isinstance(netns, str) else None, machine):
            if own is not None:
                os.close(own)
    subjects = {"namespace": netns or (inside and inside.pid), "log": log, "directory": cwd, "command": argv[0]}
    return Spawning(pid, report, argv, subjects)


@contextlib.contextmanager
def _numbered(*, init: bool, machine: int | None) -> Iterator[None]:
    """What is forked in the body is numbered in another process namespace; this process stays where it is."""
    if not init and machine is None:
        yield
        return
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if machine is None:
            syscalls.unshare(syscalls.CLONE_NEWPID)
        else:
            syscalls.setns(machine, syscalls.CLONE_NEWPID)
        try:
            yield
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWPID)
    finally:
        os.close(home)


#: where sd_listen_fds(3) has the first socket; below which nothing else of ours may lie
_FIRST_SOCKET, _ABOVE_SOCKETS = 3, 64
#: the namespaces of a node that a process inside it is in, beside that of its number
MACHINE = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWNET


class _Child(NamedTuple):
    """The child's side of `spawn`. parent: end with this process, 0 for no one."""

    argv: list[str]
    netns: int | None
    machine: int | None
    cgroup: str | None
    log: Path
    env: Mapping[str, str]
    cwd: Path | str
    parent: int
    reported: int
    mask: Collection[int]
    sockets: tuple[int, ...]
    call: Callable[[list[str]], int] | None

    def become(self) -> NoReturn:
        """Never returns."""
        step, status, report = 0, 127, self.reported
        try:
            os.setsid()
            self._end_with_parent()
            step = 1
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            step = 2
            if self.cgroup is not None:
                cgroups.join(self.cgroup)
            if self.netns is not None:
                syscalls.setns(self.netns)
            if self.machine is not None:
                syscalls.setns(self.machine, MACHINE)
            step = 3
            os.chdir(self.cwd)
            step = 4
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                if signal.getsignal(number) is not signal.SIG_DFL:  # Python ignores SIGPIPE, and exec keeps that
                    signal.signal(number, signal.SIG_DFL)
            report = self._hand_sockets()
            if self.call is not None:
                os.close(report)
                status = self._call()
            else:
                signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
                os.execvpe(self.argv[0], self.argv, self._environment())
        except (OSError, KernelError) as e:
            errno_ = e.errno_ if isinstance(e, KernelError) else e.errno or 0
            with contextlib.suppress(OSError):  # closed: then it ran, and has failed by itself
                os.write(report, bytes([step]) + errno_.to_bytes(4, "big"))
        finally:
            os._exit(status)

    def _end_with_parent(self) -> None:
        if not self.parent:
            return
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() not in (self.parent, 0):  # it died before we asked; 0: it is of another process namespace
            os._exit(1)

    def _environment(self) -> dict[str, str]:
        count = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(self.sockets))} if self.sockets else {}
        return {**self.env, **count}

    def _hand_sockets(self) -> int:
        """Sockets to where the protocol has them. Where our report is afterwards."""
        if not self.sockets:
            return self.reported
        report = fcntl.fcntl(self.reported, fcntl.F_DUPFD_CLOEXEC, _ABOVE_SOCKETS)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_SOCKETS) for fd in self.sockets]
        os.close(self.reported)
        for i, fd in enumerate(high):
            os.dup2(fd, _FIRST_SOCKET + i)
        return report

    def _call(self) -> int:
        """Do what is to be done in this process, which is no supervisor any more: nothing that it had open is."""
        syscalls.prctl_name(Path(self.argv[0]).name)
        signal.set_wakeup_fd(-1)
        os.closerange(_FIRST_SOCKET + len(self.sockets), os.sysconf("SC_OPEN_MAX"))
        namespaces.forget_own()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        os.environ.clear()
        os.environ.update(self._environment())
        sys.argv = self.argv
        try:
            assert self.call is not None
            return self.call(self.argv[1:])
        except BaseException:  # noqa: BLE001 - nobody else is left to tell it
            sys.excepthook(*sys.exc_info())
            return 1
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
