"""The verbs on a machine without a kernel: what is remembered, what is refused, what becomes of strangers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from netlab.base.errors import ConflictError, InputError
from netlab.lab.engine import Engine
from netlab.lab.exercises import mend
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises
from netlab.lab.labfile import Lab
from netlab.lab.machine import Learnt
from netlab.model import Address, Chain, Dummy, HostState, IptablesRule, Link

sys.path.insert(0, str(Path(__file__).parents[1]))
from fakes import FakeMachine

LAB = """\
name: t
nodes:
  a:
    bridges: {br0: {addresses: [10.1.0.1/24], masquerade: true}}
containers:
  c: {node: a, veth: vethc, addresses: [10.1.0.2/24]}
"""
EXERCISES = """\
exercises:
  - id: build
    title: Build
    level: 2
    about: it
    task: do it
    solution: done
    build: {leave_out: [{on: a, devices: [vethc]}]}
    stages:
      - {title: a cable, checks: [{link: {on: a, dev: vethc}, within: 0.01}]}
      - {title: plugged in, checks: [{link: {on: a, dev: vethc, master: br0}, within: 0.01}], hint: a master}
    hints: [first, second]
  - id: port
    title: Port
    level: 1
    about: it
    task: do it
    solution: done
    breaks: [{link_down: {on: a, dev: vethc}}]
    checks: [{name: up, link: {on: a, dev: vethc, up: true}, within: 0.01}]
    keeps: [{name: bridge, link: {on: a, dev: br0, up: true}, within: 0.01}]
"""


class Machine(FakeMachine):
    """The fake, with what checks and exercises read besides."""

    def __init__(self) -> None:
        super().__init__()
        self.learnt: dict[str, list[Learnt]] = {}

    def read(self, names: Sequence[str], *, iptables: str | None) -> dict[str, HostState]:
        return self.backend.read({name: HostState() for name in names}, everything=True)

    def neighbours(self, name: str) -> list[Learnt]:
        return self.learnt.get(name, [])

    def make(self, netns: str, *items: Link | Address | Chain) -> None:
        """What a learner does by hand."""
        for item in items:
            self.backend.spaces[netns][item.order] = item


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def exercises(machine: Machine, tmp_path: Path) -> Exercises:
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "exercise.yaml").write_text(EXERCISES)
    engine = Engine(machine, run_dir=tmp_path / "run")  # type: ignore[arg-type]
    return Exercises(engine, Book.of(Lab(tmp_path / "lab.yaml")), now=lambda: 1000.0)


def vethc(machine: Machine) -> Link | None:
    return machine.backend.read({"t.a": HostState()})["t.a"].link("vethc")


def test_start_brings_the_lab_up_breaks_it_and_remembers(exercises: Exercises, machine: Machine) -> None:
    started = exercises.start("port")
    assert (started.brought_up, started.removed) == (True, ())
    link = vethc(machine)
    assert link and not link.up
    running = exercises.running()
    assert running and running.as_json() == {
        "id": "port", "started": 1000.0, "hints": 0, "answered": 0, "wrong": 0, "captured": False, "solved": False,
    }  # fmt: skip
    assert exercises.engine.drift("t").clean


def test_grading_tells_goals_and_what_was_broken_besides(exercises: Exercises, machine: Machine) -> None:
    exercises.start("port")
    grade = exercises.check()
    assert [(line.title, line.outcome) for line in grade.lines] == [("up", "failed")]
    bridge = machine.backend.read({"t.a": HostState()})["t.a"].link("br0")
    link = vethc(machine)
    assert bridge and link
    machine.make("t.a", replace(bridge, up=False), replace(link, up=True))
    grade = exercises.check()
    assert (grade.passed, [line.outcome for line in grade.lines]) == (False, ["passed", "failed"])
    machine.make("t.a", bridge)
    assert exercises.check().passed
    running = exercises.running()
    assert running and running.solved
    exercises.start("build")  # what is solved may be left


def test_stages_are_graded_up_to_the_first_that_does_not_stand(exercises: Exercises, machine: Machine) -> None:
    exercises.start("build")
    assert vethc(machine) is None
    assert machine.backend.read({"t.c": HostState()})["t.c"].link("eth0") is None
    assert [line.outcome for line in exercises.check().lines] == ["failed", "waiting"]
    machine.make("t.a", Link(name="vethc", kind=Dummy()))
    grade = exercises.check()
    assert [(line.outcome, line.hint) for line in grade.lines] == [("passed", None), ("failed", "a master")]
    assert grade.say == "1 of 2 stand; next: plugged in"


def test_a_dry_run_changes_nothing(exercises: Exercises, machine: Machine) -> None:
    exercises.start("build")
    steps = exercises.solve(dry_run=True).steps
    shown = [command.shell(netns) for netns, command in steps]
    cable, rest = shown[0], shown[1:]
    assert cable.startswith("ip -n t.a link add vethc ")
    assert cable.endswith(" netns t.c")
    assert not any("link add" in line for line in rest)
    assert vethc(machine) is None
    assert exercises.running()
    exercises.solve()
    assert vethc(machine)
    assert exercises.running() is None
    assert exercises.engine.drift("t").clean


def test_strangers_are_told_and_removed(exercises: Exercises, machine: Machine) -> None:
    exercises.start("build")
    machine.make(
        "t.a",
        Link(name="vethc", kind=Dummy()),  # of the wrong kind, so it is made anew
        Link(name="mine", kind=Dummy()),
        Address(dev="mine", address=ip_interface("192.0.2.1/32")),
        Chain(family=4, table="filter", name="INPUT", policy="DROP", rules=(IptablesRule.of("-i lo -j ACCEPT"),)),
    )
    removed = exercises.reset().removed
    assert removed == (
        "t.a: link mine", "t.a: link vethc", "t.a: address 192.0.2.1/32 dev mine",
        "t.a: chain INPUT in filter (IPv4): -i lo -j ACCEPT",
    )  # fmt: skip
    assert exercises.engine.drift("t").clean
    chains = machine.backend.read({"t.a": HostState()})["t.a"].all(Chain)
    assert [(c.name, c.policy) for c in chains if c.table == "filter" and c.name == "INPUT"] == []


def test_hints_are_counted_and_survive_a_reset(exercises: Exercises) -> None:
    exercises.start("build")
    first = exercises.hint()
    assert (first.number, first.total, first.text) == (1, 2, "first")
    exercises.reset()
    assert exercises.hint().text == "second"
    assert exercises.hint().text is None


def test_what_is_refused(exercises: Exercises, tmp_path: Path) -> None:
    for verb in (exercises.hint, exercises.reset, exercises.solve, exercises.check):
        with pytest.raises(InputError, match="no exercise is running on lab 't'"):
            verb()
    exercises.start("port")
    with pytest.raises(ConflictError, match="port is running") as caught:
        exercises.start("build")
    assert "--force" in (caught.value.hint or "")
    exercises.start("build", force=True)
    with pytest.raises(InputError, match="asks no question"):
        exercises.check(answer="x")
    (tmp_path / "lab.yaml").write_text(LAB + "description: new\n")
    other = Exercises(exercises.engine, Book.of(Lab(tmp_path / "lab.yaml")))
    with pytest.raises(ConflictError, match="up under another definition"):
        other.reset()


def test_what_others_have_learnt_wrongly_is_forgotten(exercises: Exercises, machine: Machine) -> None:
    exercises.start("port")
    right = next(link.mac for link in exercises.lab.states["t.c"].all(Link) if link.name == "eth0")
    machine.learnt["t.a"] = [
        Learnt("br0", ip_address("10.1.0.2"), "02:00:00:00:00:66", "REACHABLE"),
        Learnt("br0", ip_address("10.1.0.2"), right, "STALE"),
        Learnt("br0", ip_address("10.1.0.99"), "02:00:00:00:00:66", "REACHABLE"),  # nobody of ours
    ]
    solution = exercises.solve()
    assert [command.shell(ns) for ns, command in solution.steps if "neigh" in command.argv] == [
        "ip -n t.a neigh del 10.1.0.2 dev br0"
    ]
    assert exercises.engine.drift("t").clean


def test_claims_of_a_shared_chain_keep_what_the_lab_has() -> None:
    lab, mine = IptablesRule.of("-j DOCKER"), IptablesRule.of("-i lo -j ACCEPT")
    ours = Chain(family=4, table="filter", name="FORWARD", policy="DROP", rules=(lab,))
    theirs = replace(ours, policy="ACCEPT", rules=(mine,))
    assert mend.claimed(HostState.of([ours]), [theirs]) == HostState.of([replace(ours, rules=(lab, mine))])
    assert mend.claimed(HostState(), [theirs]) == HostState.of([replace(theirs, policy=None)])
