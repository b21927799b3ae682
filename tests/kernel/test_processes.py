"""Processes in namespaces: identity, death, and who is inside."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import patience

from netlab.base.errors import KernelError
from netlab.kernel import netns, processes
from netlab.kernel.processes import Identity

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

PATIENCE = patience(5.0)  # seconds until a wait is given up


@pytest.fixture
def where() -> Iterator[str]:
    name = f"kfw.proc-{os.getpid()}"
    os.close(netns.create(name))
    yield name
    netns.delete(name)


@pytest.fixture
def start(where: str, tmp_path: Path) -> Iterator[Callable[..., Identity]]:
    started: list[Identity] = []

    def spawn(*argv: str, **options: str) -> Identity:
        identity = processes.identify(processes.spawn(argv, netns=where, log=tmp_path / "log", env=options))
        assert identity is not None
        started.append(identity)
        return identity

    yield spawn
    assert processes.stop(started, 0.1) == []


def ended(identity: Identity) -> bool:
    """Wait for its end, without a look that could come too early."""
    fd = processes.open_pidfd(identity)
    if fd is None:
        return True
    try:
        return bool(select.select([fd], [], [], PATIENCE)[0])
    finally:
        os.close(fd)


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        os.sched_yield()


def test_a_child_is_in_its_namespace_with_its_own_session_and_log(
    where: str, start: Callable[..., Identity], tmp_path: Path
) -> None:
    home = Path("/proc/thread-self/ns/net").readlink()
    identity = start("sh", "-c", "readlink /proc/self/ns/net; cat; echo $GREETING >&2; pwd", GREETING="hello")
    assert ended(identity)
    assert (tmp_path / "log").read_text() == f"net:[{netns.inode(where)}]\nhello\n/\n"
    assert Path("/proc/thread-self/ns/net").readlink() == home
    sleeper = start("sleep", "60")
    row = processes.entry(sleeper.pid)
    assert row is not None and row.session == sleeper.pid and row.parent == os.getpid()


def test_signals_are_as_a_shell_would_have_them(start: Callable[..., Identity], tmp_path: Path) -> None:
    assert ended(start("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"))
    assert {line.split()[1] for line in (tmp_path / "log").read_text().splitlines()} == {"0" * 16}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"argv": ["no-such-command"]}, "command no-such-command: No such file"),
        ({"netns": "kfw.none"}, "no network namespace 'kfw.none'"),
        ({"log": Path("/nowhere/log")}, "log /nowhere/log: No such file"),
        ({"cwd": "/nowhere"}, "directory /nowhere: No such file"),
    ],
)
def test_what_fails_before_the_command_runs_is_said(
    where: str, tmp_path: Path, options: dict[str, object], says: str
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(KernelError, match=says):
        processes.spawn(**{"argv": ["true"], "netns": where, "log": tmp_path / "log", **options})  # type: ignore[arg-type]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_identity_is_the_number_and_the_start_time(start: Callable[..., Identity]) -> None:
    identity = start("sleep", "60")
    stranger = Identity(identity.pid, identity.start_time - 1)
    assert processes.alive(identity) and not processes.alive(stranger)
    assert processes.open_pidfd(stranger) is None
    assert not processes.send(stranger, signal.SIGKILL)
    assert processes.stop([stranger], 0) == []
    assert processes.alive(identity)


def test_stop_kills_what_does_not_listen(start: Callable[..., Identity], tmp_path: Path) -> None:
    deaf = start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60 & wait; done")
    good = start("sleep", "60")
    wait_for(lambda: "ready" in (tmp_path / "log").read_text())
    assert processes.stop([deaf, good, good], 0.05) == []
    assert not processes.alive(deaf) and not processes.alive(good)


def test_a_number_that_lives_on_as_a_sessions_name_is_no_process(where: str, tmp_path: Path) -> None:
    pid = processes.spawn(["sh", "-c", "sleep 1000 & exit"], netns=where, log=tmp_path / "log")
    identity = processes.identify(pid)
    assert identity is not None
    os.waitpid(pid, 0)
    left = [row.identity for row in processes.table() if row.session == pid]
    try:
        assert len(left) == 1
        assert processes.open_pidfd(identity) is None
        assert processes.stop([identity]) == [] and not processes.send(identity, signal.SIGTERM)
    finally:
        assert processes.stop(left, 0.1) == []


def test_inside_finds_by_namespace_alone(where: str, start: Callable[..., Identity]) -> None:
    inode = netns.inode(where)
    assert inode is not None
    assert processes.inside({inode}) == []
    identity = start("sleep", ["61", "s"][0])
    assert processes.inside({inode}) == [(identity, "sleep 61")]
    with netns.entered(where):
        assert processes.inside({inode}) == [(identity, "sleep 61")], "the caller does not count"


def test_a_child_dies_with_its_parent(where: str, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from netlab.kernel import processes\n"
        f"pid = processes.spawn(['sleep', '60'], netns={where!r}, log=Path({str(tmp_path / 'inner')!r}))\n"
        "print(*processes.identify(pid), flush=True); time.sleep(60)"
    )
    pid = processes.spawn([sys.executable, "-c", script], netns=None, log=tmp_path / "log")
    wait_for(lambda: (tmp_path / "log").read_text().endswith("\n"))
    child = Identity(*map(int, (tmp_path / "log").read_text().split()))
    assert processes.alive(child)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert ended(child)
