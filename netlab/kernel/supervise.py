"""The starter's side of `netlab.daemons.supervisor`: is there one, start it, tell it, stop it.

"Is there a supervisor" is "is RUN_DIR/supervisor.lock flock'ed". The lock belongs to the open file that the starter
takes and the supervisor inherits, so there is no moment in which a starter that dies leaves two, or a lock held by no
one: killed before the spawn, the lock goes with it; killed after, the supervisor has it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netlab
from netlab.base.errors import KernelError, NetlabError
from netlab.kernel import processes
from netlab.kernel.processes import Identity

LOCK, LOG, STATE = "supervisor.lock", "log/supervisor.log", "supervised.json"
#: seconds between two looks at what only a file can tell
_LOOK = 0.005


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules that need nothing but the standard library.

    -S leaves out site-packages, which more than halves the start of an interpreter; -I ignores the user's environment.
    """
    root = str(Path(netlab.__file__).resolve().parents[1])
    run = f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    code = f"import sys, runpy; sys.path.insert(0, {root!r}); {run}"
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


def _locked(run_dir: Path) -> int | None:
    """A descriptor of the lock, now ours, to be closed by the caller; None if it is held. OSError without run_dir."""
    fd = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def supervisor(run_dir: Path) -> Identity | None:
    """The running supervisor, or None. One that was just spawned counts from when it can take a SIGHUP."""
    try:
        fd = os.open(run_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(fd) as file:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, and at once given back: two may ask together
            return None
        except BlockingIOError:
            words = file.read().split()
    identity = Identity(int(words[0]), int(words[1])) if len(words) == 2 else None
    return identity if identity and processes.alive(identity) else None


def supervised(run_dir: Path) -> dict[str, dict[str, Any]]:
    """What the supervisor last wrote, by name: pid, start_time, since, restarts, state, last_exit, reason.

    Without a living supervisor nothing runs: then what was running or to be restarted is called exited.
    """
    there = supervisor(run_dir) is not None
    listed: dict[str, dict[str, Any]] = _state(run_dir).get("processes", {})
    for process in listed.values():
        if not there and process["state"] in ("running", "backoff"):
            process |= {"pid": None, "start_time": None, "state": "exited", "reason": "the supervisor is gone"}
    return listed


def _state(run_dir: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((run_dir / STATE).read_text())
    except FileNotFoundError:
        return {}
    return state


def ensure_supervisor(run_dir: Path, *, deadline: float = 30.0) -> Identity:
    """Have RUN_DIR/processes.json followed: start the supervisor, or send the running one SIGHUP, and wait until it is.

    deadline: seconds. "Followed" is: what was to go has gone, all the others have been started (each may have failed:
    see `supervised`). KernelError with the supervisor's own words if it refuses the file or is not ready in time.
    """
    run_dir = run_dir.absolute()
    end = time.monotonic() + deadline
    (run_dir / "log").mkdir(exist_ok=True)
    while True:
        fd = _locked(run_dir)
        if fd is not None:
            return _start(run_dir, fd, end)
        identity = supervisor(run_dir)
        if identity is not None and _reloaded(run_dir, identity, end):
            return identity
        # the lock was held by one who is just starting, ending or asking
        if time.monotonic() > end:
            raise KernelError(f"{run_dir}: the lock is held, but no supervisor answered in {deadline:g} s")
        time.sleep(_LOOK)


def _start(run_dir: Path, lock: int, end: float) -> Identity:
    """Spawn the supervisor with the lock; closes our copy of it."""
    ready, theirs = os.pipe()
    high: list[int] = []
    try:
        os.ftruncate(lock, 0)  # a predecessor's number
        with contextlib.suppress(FileNotFoundError):
            (run_dir / STATE).unlink()  # and what it knew
        # away from 3 and 4, where the child gets them
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (lock, theirs)]
        log = os.open(run_dir / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        high.append(fcntl.fcntl(log, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(log)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, high[2], 1), (os.POSIX_SPAWN_DUP2, high[2], 2),
            (os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[1], 4),
        ]  # fmt: skip
        argv = python("netlab.daemons.supervisor", str(run_dir), "--lock-fd", "3", "--ready-fd", "4")
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True,
                             setsigdef=[signal.SIGPIPE])  # fmt: skip
    finally:
        for fd in (lock, theirs, *high):
            os.close(fd)
        if not high:
            os.close(ready)
    identity = processes.identify(pid)
    with os.fdopen(ready, "rb") as file:
        answered, _, _ = select.select([file], [], [], max(0.0, end - time.monotonic()))
        if identity is not None and answered and file.read(1):
            return identity
    if not answered:
        raise KernelError(f"the supervisor of {run_dir} (process {pid}) is not ready in time")
    os.waitpid(pid, 0)  # it closed the pipe without a word: it has ended
    said = (run_dir / LOG).read_text(errors="replace").strip().splitlines()
    raise KernelError(f"the supervisor of {run_dir} did not start: {said[-1] if said else 'it said nothing'}")


def _reloaded(run_dir: Path, identity: Identity, end: float) -> bool:
    """SIGHUP, and wait for the file to be followed. False if the supervisor ended instead."""
    digest = hashlib.sha256((run_dir / "processes.json").read_bytes()).hexdigest()
    before = _state(run_dir).get("reads", 0)
    if not processes.send(identity, signal.SIGHUP):
        return False
    for _ in _looks(identity, end):
        state = _state(run_dir)
        if state.get("reads", 0) == before or state.get("loaded") != digest:
            continue
        if state["error"]:
            raise KernelError(f"{run_dir}: {state['error']}")
        if state["settled"]:
            return True
    if time.monotonic() >= end:
        slow = [name for name, process in _state(run_dir).get("processes", {}).items() if process.get("stopping")]
        why = f": {', '.join(slow)} does not end, though it was killed" if slow else ""
        raise KernelError(f"{run_dir}: the supervisor did not follow processes.json in time{why}")
    return False


def _looks(identity: Identity, end: float) -> Iterator[None]:
    """A moment to look, again and again, until the process ends or the time is up."""
    fd = processes.open_pidfd(identity)
    if fd is None:
        return
    try:
        while time.monotonic() < end:
            yield
            if select.select([fd], [], [], _LOOK)[0]:
                return
    finally:
        os.close(fd)


def stop_supervisor(run_dir: Path, *, deadline: float = 5.0) -> bool:
    """Have it stop everything and end. False if there was none. NetlabError if it had to be killed and even so stayed.

    deadline: seconds for its own way of stopping, which takes 2 at most; then it is killed, and its children with it.
    """
    identity = supervisor(run_dir)
    end = time.monotonic() + deadline
    while identity is None and time.monotonic() < end:
        fd = _locked(run_dir) if run_dir.exists() else -1
        if fd is not None:
            if fd >= 0:
                os.close(fd)
            return False
        time.sleep(_LOOK)  # held by one who is just starting
        identity = supervisor(run_dir)
    if identity is None:
        raise NetlabError(f"{run_dir}: the lock is held, but no supervisor can be found behind it")
    if processes.stop([identity], grace=max(0.0, end - time.monotonic())):
        raise NetlabError(f"the supervisor of {run_dir} (process {identity.pid}) does not end")
    return True
