"""The verbs of an exercise. What is running is in the lab's journal; whatever happens, `solve` brings the lab back."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from netlab.base.errors import ConflictError, InputError
from netlab.lab.capture.packet import Packet
from netlab.lab.checks import Context, Result, run_all
from netlab.lab.engine import Engine
from netlab.lab.exercises import mend, packets, questions
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.spec import CheckRef, Exercise, Pcap, Question
from netlab.lab.journal import Record
from netlab.lab.machine import States
from netlab.model import Chain, Item
from netlab.model.explain import Step

#: wrong answers to one question before the learner is told where to look
PATIENCE = 3

Outcome = Literal["passed", "failed", "unprobed", "waiting"]


@dataclass(frozen=True, slots=True)
class Running:
    """An exercise that is being done, as the journal keeps it.

    hints: given so far; answered: questions answered so far; wrong: wrong answers to the present one; captured: the
    capture was right; solved: graded, and passed; stopped: processes that do not run meanwhile, by the names of the
    supervisor's table.
    """

    id: str
    started: float
    hints: int = 0
    answered: int = 0
    wrong: int = 0
    captured: bool = False
    solved: bool = False
    stopped: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "stopped"}
        return {**found, "stopped": list(self.stopped)} if self.stopped else found

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Running:
        """The inverse."""
        return cls(**{**found, "stopped": tuple(found.get("stopped", ()))})


@dataclass(frozen=True, slots=True)
class Started:
    """What `start` and `reset` did. brought_up: the lab was not up; removed: what nobody had asked for, in words."""

    exercise: Exercise
    brought_up: bool
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hint:
    """The next hint; text None: there are no more. number: from 1."""

    number: int
    total: int
    text: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a grading."""

    title: str
    outcome: Outcome
    detail: str = ""
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """How far the learner is. passed: all is as it should be; say: what is next, in a sentence."""

    exercise: Exercise
    passed: bool
    lines: tuple[Line, ...]
    say: str


@dataclass(frozen=True, slots=True)
class Solution:
    """The way back to the lab as its file says. exercise: None if the file no longer has it.

    starts: the processes that did not run and do again, as namespace and command.
    files: configurations that differ, by their paths, as unified diffs. commands: on a cluster, what a person types.
    """

    exercise: Exercise | None
    steps: tuple[Step, ...] = field(repr=False)
    removed: tuple[str, ...] = ()
    starts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()


class _Stopped(NamedTuple):
    """A process that does not run. claims: it had asked for a part of the network."""

    netns: str
    argv: tuple[str, ...]
    claims: bool


class Exercises:
    """The exercises of one lab on one machine. now: seconds since 1970, for the journal."""

    def __init__(self, engine: Engine, book: Book, *, now: Callable[[], float] = time.time) -> None:
        self.engine, self.book, self.now = engine, book, now
        self.lab = book.lab
        self.name = book.lab.name

    # -- what is running

    def running(self) -> Running | None:
        """The exercise that is being done. None if there is none, or the lab is not up."""
        record = self.engine.journal(self.name).read()
        return Running.from_json(record.exercise) if record and record.exercise else None

    def current(self) -> tuple[Running, Exercise]:
        """The exercise that is being done. InputError if there is none."""
        running = self.running()
        if running is None:
            raise InputError(
                f"no exercise is running on lab {self.name!r}", hint=f"netlab exercise start {self.name} ID"
            )
        return running, self.book.get(running.id)

    # -- start, reset, solve

    def start(self, ident: str, *, force: bool = False) -> Started:
        """Begin an exercise; a lab that is not up is brought up. ConflictError if another runs, unless `force`."""
        exercise = self.book.get(ident)
        states = self.book.states(exercise)
        brought_up = self.engine.journal(self.name).read() is None
        if brought_up:
            self.engine.say(f"lab {self.name} is not up: bringing it up")
            self.engine.up(self.lab)
        running = self.running()
        if running and not running.solved and not force:
            raise ConflictError(
                f"exercise {running.id} is running on lab {self.name!r}",
                hint=f"go on with it (netlab exercise check {self.name}), end it (netlab exercise stop {self.name}), "
                "or start with --force",
            )
        if running and running.stopped:
            self.solve()  # what the stopped processes had made is theirs again
        stopped = self.book.stopped(exercise)
        begun = Running(exercise.id, self.now(), stopped=tuple(stopped))
        removed = self._lay(states, begun, stopped=stopped, exercise=exercise)
        return Started(exercise, brought_up, removed)

    def reset(self) -> Started:
        """Back to the start of the exercise; hints given stay given."""
        running, exercise = self.current()
        stopped = self.book.stopped(exercise)
        again = Running(running.id, running.started, hints=running.hints, stopped=tuple(stopped))
        removed = self._lay(self.book.states(exercise), again, stopped=stopped, exercise=exercise)
        return Started(exercise, False, removed)

    def solve(self, *, dry_run: bool = False) -> Solution:
        """The lab as its file says, and the commands that it takes; the exercise is over. InputError if none runs."""
        running = self.running()
        if running is None:
            self.current()
        assert running is not None
        found = next((e for e in self.book.exercises if e.id == running.id), None)
        states = self._with_what_was_stopped(running.stopped)
        way = mend.way(self.engine, self._record(), states, stopped=running.stopped)
        files = self.engine.differing(self.name, self.book.configs(None))
        if not dry_run:
            if running.stopped:
                self._lay(states, running, stopped=running.stopped)
                self._hand_over(states)
            self._lay(self.lab.states, None)
        starts = tuple(self._starts(running.stopped))
        return Solution(found, tuple(way.steps), _words(way), starts, files=tuple(files))

    def _with_what_was_stopped(self, stopped: Collection[str]) -> States:
        """The lab's value, and where a process is stopped, what that one would ask for as well."""
        netns = {place.netns for place in self._places(stopped) if place.claims}
        mine = f"lab/{self.name}"
        return {ns: self.lab.whole[ns].stamped(mine) if ns in netns else s for ns, s in self.lab.states.items()}

    def _hand_over(self, states: States) -> None:
        """What the lab has in the place of stopped processes is no longer its own; it stays as it is."""
        mine = {ns: self.lab.states[ns] for ns, state in states.items() if state != self.lab.states[ns]}
        self.engine.put(self.name, lambda record: (replace(record, claims={**record.claims, **mine}), {}))

    def _places(self, stopped: Collection[str]) -> Iterator[_Stopped]:
        topology, folder = self.lab.topology, self.engine.journal(self.name).dir
        for place in topology.places:
            for process in place.processes:
                if f"{place.name}/{process.name}" in stopped:
                    argv = tuple(word.replace("{run}", str(folder)) for word in process.argv or ())
                    yield _Stopped(topology.netns(place.name), argv, bool(process.claims))

    def _starts(self, stopped: Collection[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        return ((place.netns, place.argv) for place in self._places(stopped))

    def _record(self) -> Record:
        """The lab's record. ConflictError if it is up under another definition than the exercises are made for."""
        record = self.engine.record(self.name)
        if record.digest != self.lab.digest:
            raise ConflictError(
                f"lab {self.name!r} is up under another definition (from {record.source})",
                hint=f"netlab lab restart {self.lab.path} takes it down and up again",
            )
        return record

    def _lay(
        self, states: States, running: Running | None, *, stopped: Collection[str] = (),
        exercise: Exercise | None = None,
    ) -> tuple[str, ...]:  # fmt: skip
        """Make the lab `states` and nothing else; returns what was removed that nobody had asked for.

        stopped: processes that do not run from here on; `states` has what is left of their part of the network.
        """
        self._record()
        if stopped:
            self.engine.keep_running(self.name, without=stopped)
        found: list[mend.Way] = []

        def change(record: Record) -> tuple[Record, States]:
            found.append(mend.way(self.engine, record, states, stopped=stopped))
            return replace(found[0].record, exercise=running.as_json() if running else None, impairments={}), states

        self.engine.put(self.name, change)
        if found[0].outdated:
            mend.forget(self.engine, self.name, found[0].outdated, states)
        self.engine.keep_running(self.name, without=stopped)
        self.engine.configure(self.name, self.book.configs(exercise))
        return _words(found[0])

    def _remember(self, running: Running) -> None:
        self.engine.put(
            self.name,
            lambda record: (replace(record, exercise=running.as_json()), {}),  # no namespace is touched
        )

    # -- hint

    def hint(self) -> Hint:
        """The next hint, remembered."""
        running, exercise = self.current()
        total = len(exercise.hints)
        if running.hints >= total:
            return Hint(total, total, None)
        self._remember(replace(running, hints=running.hints + 1))
        return Hint(running.hints + 1, total, exercise.hints[running.hints])

    # -- check

    def check(
        self,
        ident: str | None = None,
        *,
        answer: str | None = None,
        pcap: Path | None = None,
        done: Callable[[Result], None] = lambda _r: None,
    ) -> Grade:
        """Grade. ident: defaults to what is running; a capture exercise may be graded without having been started."""
        exercise = self._asked_for(ident)
        running = self.running()
        running = running if running and running.id == exercise.id else None
        if pcap is not None:
            return self._capture(exercise, running, pcap)
        if answer is not None:
            return self._answer(exercise, running, answer)
        if exercise.captures:
            return self._progress(exercise, running)
        grade = self._stages(exercise, done) if exercise.stages else self._checks(exercise, done)
        if running and grade.passed and not running.solved:
            self._remember(replace(running, solved=True))
        return grade

    def _asked_for(self, ident: str | None) -> Exercise:
        running = self.running()
        if ident is None or (running and running.id == ident):
            return self.current()[1]
        exercise = self.book.get(ident)
        if running and not running.solved:
            raise ConflictError(
                f"exercise {running.id} is running, not {ident}", hint=f"netlab exercise stop {self.name} ends it"
            )
        if exercise.changes:
            raise InputError(
                f"exercise {ident} has not been started", hint=f"netlab exercise start {self.name} {ident}"
            )
        return exercise

    def _context(self) -> Context:
        return Context(self.engine.machine, self.engine.record(self.name), self.lab.topology)

    def _run(self, refs: Sequence[CheckRef], done: Callable[[Result], None]) -> list[Line]:
        results = run_all(self.book.checks(refs), self._context(), done=done)
        return [Line(r.name, r.outcome, "" if r.outcome == "passed" else r.detail, r.hint) for r in results]

    def _checks(self, exercise: Exercise, done: Callable[[Result], None]) -> Grade:
        lines = self._run([*exercise.checks, *exercise.keeps], done)
        goals, kept = lines[: len(exercise.checks)], lines[len(exercise.checks) :]
        broken = [line for line in kept if line.outcome != "passed"]
        reached = sum(line.outcome == "passed" for line in goals)
        if reached == len(goals) and not broken:
            return Grade(exercise, True, tuple(lines), "mended: everything works again")
        if broken:
            say = f"{reached} of {len(goals)} work again, but {len(broken)} that worked before no longer does"
        else:
            say = f"{reached} of {len(goals)} work again" if reached else "it is still broken"
        return Grade(exercise, False, (*goals, *broken), say)

    def _stages(self, exercise: Exercise, done: Callable[[Result], None]) -> Grade:
        lines: list[Line] = []
        for n, stage in enumerate(exercise.stages):
            results = self._run(stage.checks, done)
            bad = next((line for line in results if line.outcome != "passed"), None)
            if bad is None:
                lines.append(Line(stage.title, "passed"))
                continue
            lines.append(Line(stage.title, bad.outcome, bad.detail, stage.hint or bad.hint))
            lines += [Line(later.title, "waiting") for later in exercise.stages[n + 1 :]]
            return Grade(exercise, False, tuple(lines), f"{n} of {len(exercise.stages)} stand; next: {stage.title}")
        return Grade(exercise, True, tuple(lines), f"all {len(lines)} stand: it is built")

    # -- capture exercises

    def _capture(self, exercise: Exercise, running: Running | None, file: Path) -> Grade:
        from netlab.lab.capture import reading

        if exercise.pcap is None:
            raise InputError(f"exercise {exercise.id} takes no capture file", hint=_how(exercise, self.name))
        found = packets.grade(*self._named(exercise.pcap, list(reading.read(file))))
        lines = [Line(f.title, "passed" if f.passed else "failed", f.detail) for f in found]
        right = all(f.passed for f in found)
        if running and right:
            running = replace(running, captured=True)
            self._remember(replace(running, solved=self._finished(exercise, running)))
        return self._graded(exercise, running or Running(exercise.id, 0, captured=right), lines)

    def _named(self, pcap: Pcap, captured: list[Packet]) -> tuple[Pcap, list[Packet]]:
        """A capture and what it is graded by, in the same names: a lab of one's own has no others."""
        return pcap, captured

    def _answer(self, exercise: Exercise, running: Running | None, given: str) -> Grade:
        if not exercise.questions:
            raise InputError(f"exercise {exercise.id} asks no question", hint=_how(exercise, self.name))
        if running is None:
            self.start(exercise.id)
            running = Running(exercise.id, self.now())
        if running.answered >= len(exercise.questions):
            raise InputError("all questions are answered already", hint=f"netlab exercise reset {self.name}")
        question = exercise.questions[running.answered]
        if questions.right(given, self._truth(question)):
            running = replace(running, answered=running.answered + 1, wrong=0)
            running = replace(running, solved=self._finished(exercise, running))
            line = Line(question.ask, "passed", given.strip())
        else:
            running = replace(running, wrong=running.wrong + 1)
            look = question.look if running.wrong >= PATIENCE else None
            line = Line(question.ask, "failed", f"{given.strip()} is not it", look)
        self._remember(running)
        return self._graded(exercise, running, [line])

    def _truth(self, question: Question) -> str:
        record = self.engine.record(self.name)
        if question.forget:
            netns = self.engine.netns_of(record, question.forget.on)
            known = {netns: mend.learnt(self.engine, netns, question.forget.address)}
            if known[netns]:
                mend.forget(self.engine, self.name, known, {netns: record.claims[netns]})
        return questions.answer(question, self._context())

    def _progress(self, exercise: Exercise, running: Running | None) -> Grade:
        """Without a file or an answer: what is done, and what is asked."""
        running = running or Running(exercise.id, 0)
        lines = [Line(q.ask, "passed") for q in exercise.questions[: running.answered]]
        if exercise.pcap and running.captured:
            lines.insert(0, Line("the capture", "passed"))
        return self._graded(exercise, running, lines)

    @staticmethod
    def _finished(exercise: Exercise, running: Running) -> bool:
        return running.answered == len(exercise.questions) and (running.captured or exercise.pcap is None)

    def _graded(self, exercise: Exercise, running: Running, lines: Iterable[Line]) -> Grade:
        if self._finished(exercise, running):
            return Grade(exercise, True, tuple(lines), "all of it is right")
        todo = []
        if exercise.pcap and not running.captured:
            todo.append(f"a capture: netlab exercise check {self.name} {exercise.id} --pcap FILE")
        if running.answered < len(exercise.questions):
            todo.append(exercise.questions[running.answered].ask)
        return Grade(exercise, False, tuple(lines), "to do: " + "; ".join(todo))


def _how(exercise: Exercise, lab: str) -> str:
    options = ["--pcap FILE"] * bool(exercise.pcap) + ["--answer TEXT"] * bool(exercise.questions)
    return f"netlab exercise check {lab} {exercise.id} {' or '.join(options)}".rstrip()


def _words(way: mend.Way) -> tuple[str, ...]:
    return tuple(f"{ns}: {_stranger(item)}" for ns, items in way.removed.items() for item in items)


def _stranger(item: Item) -> str:
    if isinstance(item, Chain):
        return f"{item}: {'; '.join(map(str, item.rules)) or f'policy {item.policy}'}"
    return str(item)
