"""The supervisor and its starter: starting, following, restarting, stopping, and being killed at bad moments."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import patience

from netlab.base.errors import KernelError
from netlab.kernel import netns, processes, supervise
from netlab.kernel.processes import Identity

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

PATIENCE = patience(10.0)  # seconds until a wait is given up
SLEEP = ["sleep", "1000"]


class Lab:
    """A run directory and a namespace."""

    def __init__(self, run_dir: Path, where: str) -> None:
        self.run_dir, self.where = run_dir, where

    def write(self, **wanted: Any) -> None:
        listed = [{"name": name, "netns": self.where, **spec} for name, spec in wanted.items()]
        (self.run_dir / "processes.json").write_text(json.dumps({"processes": listed}))

    def ensure(self, **wanted: Any) -> Identity:
        self.write(**wanted)
        return supervise.ensure_supervisor(self.run_dir, deadline=PATIENCE)

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        return supervise.supervised(self.run_dir)

    def identity(self, name: str) -> Identity:
        return Identity(self.state[name]["pid"], self.state[name]["start_time"])

    def inside(self) -> list[str]:
        inode = netns.inode(self.where)
        assert inode is not None
        return [command for _, command in processes.inside({inode})]

    def log(self, name: str) -> str:
        return (self.run_dir / "log" / f"{name}.log").read_text()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    name = f"kfw.sup-{os.getpid()}"
    os.close(netns.create(name))
    lab = Lab(tmp_path, name)
    yield lab
    supervise.stop_supervisor(tmp_path)
    assert lab.inside() == []
    netns.delete(name)


def wait_for(what: Callable[[], Any]) -> Any:
    """Look until it holds, with a pause that is a wait for nothing."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "waited too long"
        select.select([], [], [], 0.005)
    return found


def ended(identity: Identity) -> bool:
    wait_for(lambda: not processes.alive(identity))
    return True


def test_all_are_started_and_all_are_stopped(lab: Lab) -> None:
    assert supervise.supervisor(lab.run_dir) is None
    assert not supervise.stop_supervisor(lab.run_dir)
    identity = lab.ensure(
        **{"a/web": {"argv": ["sh", "-c", "echo $X; exec sleep 1000"], "env": {"X": "hello"}}, "b": {"argv": SLEEP}}
    )
    assert supervise.supervisor(lab.run_dir) == identity
    assert {name: p["state"] for name, p in lab.state.items()} == {"a/web": "running", "b": "running"}
    wait_for(lambda: lab.inside() == ["sleep 1000"] * 2)
    assert lab.log("a.web") == "hello\n"
    assert supervise.stop_supervisor(lab.run_dir)
    assert supervise.supervisor(lab.run_dir) is None and not processes.alive(identity)
    assert {p["state"] for p in lab.state.values()} == {"exited"}
    assert lab.log("supervisor") == ""


def test_a_second_ensure_leaves_alone_what_has_not_changed(lab: Lab) -> None:
    first = lab.ensure(same={"argv": SLEEP}, gone={"argv": SLEEP}, changed={"argv": SLEEP})
    before = {name: lab.identity(name) for name in lab.state}
    assert lab.ensure(same={"argv": SLEEP}, changed={"argv": ["sleep", "2000"]}, fresh={"argv": SLEEP}) == first
    after = {name: lab.identity(name) for name in lab.state}
    assert set(after) == {"same", "changed", "fresh"}
    assert after["same"] == before["same"] and after["changed"] != before["changed"]
    assert sorted(lab.inside()) == ["sleep 1000", "sleep 1000", "sleep 2000"]
    assert lab.state["changed"]["restarts"] == 0


def test_what_ends_is_restarted_as_it_asks(lab: Lab) -> None:
    lab.ensure(
        always={"argv": ["true"]},
        fails={"argv": ["false"], "restart": "on-failure"},
        done={"argv": ["true"], "restart": "on-failure"},
        once={"argv": ["sh", "-c", "kill -9 $$"], "restart": "never"},
    )
    state = wait_for(lambda: (s := lab.state)["always"]["restarts"] >= 2 and s["fails"]["restarts"] >= 2 and s)
    assert state["done"]["state"] == "exited" and state["done"]["last_exit"] == 0
    assert state["once"]["state"] == "exited" and state["once"]["last_exit"] == -9
    assert state["fails"]["last_exit"] == 1
    assert state["done"]["restarts"] == state["once"]["restarts"] == 0


def test_one_that_cannot_start_does_not_keep_the_others(lab: Lab) -> None:
    spec = {"argv": ["no-such-command"]}
    lab.ensure(bad=spec, lost={"argv": SLEEP, "netns": "kfw.none"}, good={"argv": SLEEP})
    assert lab.state["good"]["state"] == "running"
    assert lab.state["bad"]["state"] == "failed" and "no-such-command: No such file" in lab.state["bad"]["reason"]
    assert lab.state["lost"]["state"] == "failed" and "kfw.none" in lab.state["lost"]["reason"]
    # once more, at each SIGHUP
    lab.ensure(bad=spec, lost={"argv": SLEEP}, good={"argv": SLEEP})
    assert [lab.state[name]["state"] for name in ("bad", "lost", "good")] == ["failed", "running", "running"]


def test_one_that_does_not_listen_is_killed(lab: Lab) -> None:
    deaf = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"]
    lab.ensure(deaf={"argv": deaf})
    wait_for(lambda: "ready" in lab.log("deaf"))
    assert supervise.stop_supervisor(lab.run_dir)
    assert lab.inside() == []


def test_strays_go_with_the_process_that_left_them(lab: Lab) -> None:
    leaves = ["sh", "-c", "sleep 1000 & echo left; exit 0"]
    lab.ensure(leaves={"argv": leaves, "restart": "never"}, other={"argv": ["sleep", "2000"]})
    wait_for(lambda: lab.state["leaves"]["state"] == "exited" and lab.inside() == ["sleep 2000"])


def test_strays_that_left_the_session_go_with_the_supervisor(lab: Lab) -> None:
    lab.ensure(leaves={"argv": ["sh", "-c", "setsid -f sleep 1000; exec sleep 2000"]})
    wait_for(lambda: sorted(lab.inside()) == ["sleep 1000", "sleep 2000"])
    assert supervise.stop_supervisor(lab.run_dir)
    assert lab.inside() == []


def test_a_killed_supervisor_takes_its_children_along_and_a_new_one_starts_afresh(lab: Lab) -> None:
    first = lab.ensure(a={"argv": SLEEP})
    child = lab.identity("a")
    assert processes.send(first, signal.SIGKILL)
    assert ended(child) and ended(first)
    assert supervise.supervisor(lab.run_dir) is None
    assert lab.state["a"]["state"] == "exited" and lab.state["a"]["pid"] is None
    second = lab.ensure(a={"argv": SLEEP})
    assert second != first and lab.identity("a") != child
    assert lab.state["a"]["restarts"] == 0


def test_a_starter_killed_with_the_lock_leaves_no_lock(lab: Lab) -> None:
    held, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        fd = os.open(lab.run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(tell, b"x")
        signal.pause()
    os.read(held, 1)
    os.close(held)
    os.close(tell)
    lab.write(a={"argv": SLEEP})
    with pytest.raises(KernelError, match="no supervisor answered"):
        supervise.ensure_supervisor(lab.run_dir, deadline=0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert lab.ensure(a={"argv": SLEEP}) == supervise.supervisor(lab.run_dir)


def test_a_starter_killed_before_ready_leaves_a_supervisor_that_the_next_one_finds(lab: Lab) -> None:
    lab.write(a={"argv": SLEEP})
    pid = os.fork()
    if pid == 0:
        fd = os.open(lab.run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        reader, writer = os.pipe()
        (lab.run_dir / "log").mkdir()
        os.set_inheritable(fd, True)
        os.set_inheritable(writer, True)
        argv = supervise.python(
            "netlab.daemons.supervisor", str(lab.run_dir), "--lock-fd", str(fd), "--ready-fd", str(writer)
        )
        os.posix_spawn(argv[0], argv, os.environ, setsid=True)
        os._exit(reader & 0)  # before it has read anything
    os.waitpid(pid, 0)
    identity = supervise.ensure_supervisor(lab.run_dir, deadline=PATIENCE)
    assert supervise.supervisor(lab.run_dir) == identity
    assert lab.state["a"]["state"] == "running" and lab.inside() == ["sleep 1000"]


def test_many_starters_at_once_make_one_supervisor(lab: Lab) -> None:
    lab.write(a={"argv": SLEEP})
    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                supervise.ensure_supervisor(lab.run_dir, deadline=PATIENCE)
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    assert lab.inside() == ["sleep 1000"]


def test_a_bad_file_is_refused_and_the_old_one_goes_on(lab: Lab) -> None:
    (lab.run_dir / "processes.json").write_text("{")
    with pytest.raises(KernelError, match=r"did not start: .*processes.json"):
        supervise.ensure_supervisor(lab.run_dir, deadline=PATIENCE)
    identity = lab.ensure(a={"argv": SLEEP})
    (lab.run_dir / "processes.json").write_text('{"processes": [{"name": "a"}]}')
    with pytest.raises(KernelError, match="argv must be"):
        supervise.ensure_supervisor(lab.run_dir, deadline=PATIENCE)
    assert supervise.supervisor(lab.run_dir) == identity and lab.inside() == ["sleep 1000"]


def test_two_run_directories_know_nothing_of_each_other(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Lab(tmp_path_factory.mktemp("other"), lab.where)
    lab.ensure(a={"argv": SLEEP})
    other.ensure(a={"argv": ["sleep", "2000"]})
    assert supervise.stop_supervisor(lab.run_dir)
    assert lab.inside() == ["sleep 2000"]
    assert supervise.stop_supervisor(other.run_dir)
