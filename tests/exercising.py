"""What tests of exercises share: to type as a learner does, to capture, to grade without waiting for what cannot be."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from patience import patience, rest

from netlab.lab.checks import Context, run_all
from netlab.lab.checkspec import Check
from netlab.lab.engine import Engine
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises
from netlab.lab.exercises.spec import CheckRef, Exercise
from netlab.lab.labfile import Lab

LABS = Path(__file__).parents[1] / "labs"
NETLAB = [sys.executable, "-m", "netlab.cli.main"]
PATIENCE = patience(60)  # seconds until a command is given up
SHORT = 0.3  # seconds that a check may take which is to fail: one attempt


@dataclass(frozen=True)
class TestBook(Book):
    """A book whose checks need not wait for what will not come. within: seconds at most, for each check."""

    __test__ = False
    within: float = 60

    def checks(self, refs: Iterable[CheckRef]) -> list[Check]:
        """See Book."""
        return [c.model_copy(update={"within": min(c.within, self.within)}) for c in super().checks(refs)]


def exercises_of(name: str) -> list[Exercise]:
    """Those of a lab that netlab comes with."""
    return Book.of(Lab(LABS / name / "lab.yaml")).exercises


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition. AssertionError when it takes longer than the tests' patience."""
    looked = time.monotonic()
    end = looked + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(rest(looked, 0.05))
        looked = time.monotonic()


def unmet(engine: Engine, lab: Lab) -> list[str]:
    """Of all checks of a lab that is up, those that do not pass."""
    results = run_all(lab.file.checks, Context(engine.machine, engine.record(lab.name), lab.topology))
    return [f"{r.name}: {r.detail}" for r in results if r.outcome != "passed"]


def type_in(lab: Lab, *lines: str) -> None:
    """Type commands, each `node: command`, in the node's namespace. {lab} stands for the lab's name."""
    for line in lines:
        node, _, words = line.partition(": ")
        netns = lab.topology.netns(node)
        argv = ["ip", "netns", "exec", netns, *shlex.split(words.replace("{lab}", lab.name))]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def netlab(*words: str) -> subprocess.CompletedProcess[str]:
    """Run netlab as a command."""
    return subprocess.run([*NETLAB, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)


def failing(exercises: Exercises, exercise: Exercise) -> list[str]:
    """Of all checks of an exercise, those that do not pass."""
    refs = [*exercise.checks, *exercise.keeps, *(ref for stage in exercise.stages for ref in stage.checks)]
    context = Context(exercises.engine.machine, exercises.engine.record(exercises.name), exercises.lab.topology)
    return [f"{r.name}: {r.detail}" for r in run_all(exercises.book.checks(refs), context) if r.outcome != "passed"]


def captured(lab: Lab, file: Path, places: Sequence[str], *lines: str) -> Path:
    """Capture as a learner does, in another terminal, while the commands are typed."""
    return captured_by(lab, file, places, lambda: type_in(lab, *lines))


def captured_by(lab: Lab, file: Path, places: Sequence[str], work: Callable[[], object]) -> Path:
    """Capture as a learner does, in another terminal, while something is done."""
    words = [*NETLAB, "lab", "capture", lab.name, *places, "-q", "-w", str(file)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    assert "listening" in process.stderr.readline()
    work()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    return file
