"""SIGKILL after every single operation on the kernel: `up` repairs what was left, `down` removes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netlab.daemons.machine import LinuxMachine
from netlab.kernel import netns
from netlab.lab.checks import Context, run_all
from netlab.lab.engine import Engine
from netlab.lab.labfile import Lab

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.not_in_vm("kills an `up` at every one of its operations: an hour in an emulator"),
]

LABS = Path(__file__).parent.parent.parent / "labs"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    name = f"kill{os.getpid()}"
    text = (LABS / "docker0" / "lab.yaml").read_text()
    path = tmp_path / "lab.yaml"
    path.write_text(text.replace("name: docker0\n", f"name: {name}\n", 1))
    lab = Lab(path)
    yield lab
    # a test that failed half-way leaves a lab; one that passed leaves nothing to do here
    Engine(LinuxMachine(), run_dir=tmp_path / "run").down(lab.name)


def run_and_kill(verb: Callable[[Engine], object], run_dir: Path, after: int) -> bool:
    """Run a verb in a child that kills itself after its `after`-th operation. Whether it came so far."""
    pid = os.fork()
    if pid == 0:
        left = after

        def count() -> None:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            verb(Engine(LinuxMachine(after_operation=count), run_dir=run_dir))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def nothing_left(lab: Lab, run_dir: Path) -> None:
    assert not [name for name in netns.names() if name.startswith(f"{lab.name}.")]
    assert not (run_dir / lab.name).exists()


def test_up_repairs_whatever_a_killed_up_left(lab: Lab, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    engine = Engine(LinuxMachine(), run_dir=run_dir)
    point = 1
    while True:
        killed = run_and_kill(lambda e: e.up(lab), run_dir, point)
        engine.up(lab)
        record = engine.record(lab.name)
        results = run_all(lab.file.checks, Context(engine.machine, record, lab.topology))
        assert {r.outcome for r in results} == {"passed"}, (point, [r for r in results if r.outcome != "passed"])
        assert engine.drift(lab.name).clean, (point, engine.drift(lab.name))
        engine.down(lab.name)
        nothing_left(lab, run_dir)
        if not killed:
            break
        point += 1
    assert point > 60, "fewer operations than the lab has parts: they were not killed one by one"


def test_down_removes_whatever_a_killed_up_left(lab: Lab, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    engine = Engine(LinuxMachine(), run_dir=run_dir)
    point = 1
    while run_and_kill(lambda e: e.up(lab), run_dir, point):
        engine.down(lab.name)
        nothing_left(lab, run_dir)
        point += 1
    engine.down(lab.name)
    nothing_left(lab, run_dir)
    assert point > 60


def test_down_finishes_what_a_killed_down_began(lab: Lab, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    engine = Engine(LinuxMachine(), run_dir=run_dir)
    for point in range(1, len(lab.topology.namespaces) + 1):
        engine.up(lab)
        assert run_and_kill(lambda e: e.down(lab.name), run_dir, point)
        engine.down(lab.name)
        nothing_left(lab, run_dir)
