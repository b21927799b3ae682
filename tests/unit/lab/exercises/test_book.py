"""exercise.yaml: every mistake at once, each with its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlab.base.errors import InputError
from netlab.lab.exercises.book import Book
from netlab.lab.labfile import Lab

LAB = """\
name: t
nodes:
  a:
    bridges: {br0: {addresses: [10.1.0.1/24]}}
containers:
  c: {node: a, veth: vethc}
checks:
  - name: c pings a
    reach: {from: c, to: a, icmp: true}
"""
HEAD = """\
exercises:
  - id: one
    title: One
    level: 1
    about: it
    task: do it
    solution: done
"""
WELL = HEAD + "    breaks: [{link_down: {on: a, dev: vethc}}]\n    checks: [c pings a]\n"


def book(folder: Path, text: str) -> Book:
    (folder / "lab.yaml").write_text(LAB)
    (folder / "exercise.yaml").write_text(text)
    return Book.of(Lab(folder / "lab.yaml"))


def test_a_check_by_name_is_that_of_the_lab(tmp_path: Path) -> None:
    found = book(tmp_path, WELL)
    exercise = found.get("one")
    assert (exercise.kind, exercise.changes, exercise.captures) == ("mend", True, False)
    assert found.checks(exercise.checks) == found.lab.file.checks
    vethc = found.states(exercise)["t.a"].link("vethc")
    assert vethc and not vethc.up
    assert vethc.why.endswith("exercise.yaml:8 (exercise one)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WELL.replace("level: 1", "level: 9"), [":4: exercises.0.level: input should be less than or equal to 3"]),
        (WELL.replace("title", "titel"), ["3: unknown key 'titel'", "hint: did you mean 'title'?"]),
        (WELL.replace("link_down", "link_dwn"), [":8: unknown key 'link_dwn'", "did you mean 'link_down'?"]),
        (WELL.replace("dev: vethc", "dev: vethc, mtu: 3"), [":8: unknown key 'mtu'"]),
        (WELL.replace("[c pings a]", "[c pigns a]"), [":9: lab.yaml has no check", "did you mean 'c pings a'?"]),
        (WELL.replace("[c pings a]", "[{reach: {from: c, to: a}}]"), [":9: exercises.0.checks.0.reach: say exactly one"]),
        (WELL.replace("on: a", "on: b"), [":8: the lab has no node or container 'b'", "there are: a, c"]),
        (WELL + HEAD.removeprefix("exercises:\n") + "    questions: []\n", ["graded either by checks or stages, or by"]),
        (WELL + WELL.removeprefix("exercises:\n"), [":10: exercise 'one' is there twice"]),
        (HEAD + "    checks: [c pings a]\n", ["it needs breaks or build"]),
        (HEAD + "    breaks: [{}]\n    checks: [c pings a]\n", [":8: ", "exactly one of link_down, unplug, plug"]),
        ("exercises: []\n", ["at least 1 item"]),
        ("exercises: [\n", ["not valid YAML"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        book(tmp_path, text)
    for part in expected:
        assert part in str(caught.value)


def test_an_edit_that_matches_nothing_is_told_with_its_line(tmp_path: Path) -> None:
    found = book(tmp_path, WELL.replace("dev: vethc", "dev: vethd"))
    with pytest.raises(InputError, match=r"exercise.yaml:8: a has no device vethd\n +hint: there are: br0, lo, vethc"):
        found.states(found.get("one"))


def test_the_nearest_exercise_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'one'"):
        book(tmp_path, WELL).get("onne")


def test_a_lab_without_exercises_says_so(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    with pytest.raises(InputError, match="lab 't' has no exercises"):
        Book.of(Lab(tmp_path / "lab.yaml"))


AGENTS = LAB + "agents: {policyd: {nodes: [a]}}\n"


def test_a_manifest_that_an_exercise_changes(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "x.yaml").write_text("kind: Namespace\nmetadata: {name: one}\n")

    def changed(edit: str) -> Book:
        (tmp_path / "lab.yaml").write_text(AGENTS)
        (tmp_path / "exercise.yaml").write_text(WELL.replace("{link_down: {on: a, dev: vethc}}", edit))
        return Book.of(Lab(tmp_path / "lab.yaml"))

    found = changed("{manifest: {file: x.yaml, replace: one, by: two}}")
    assert found.configs(found.get("one")) == {"manifests/x.yaml": "kind: Namespace\nmetadata: {name: two}\n"}
    assert "name: one" in found.configs(None)["manifests/x.yaml"]
    assert found.states(found.get("one")) == found.lab.states, "no network is another one for that"
    found = changed("{manifest: {file: x.yaml, content: ''}}")
    assert found.configs(found.get("one")) == {"manifests/x.yaml": ""}
    for edit, said in (
        ("{manifest: {file: y.yaml, content: ''}}", "the lab has no manifest 'y.yaml'"),
        ("{manifest: {file: x.yaml, replace: three}}", "in x.yaml the text is not there"),
        ("{manifest: {file: x.yaml, replace: e}}", "in x.yaml the text is there"),
        ("{manifest: {file: x.yaml}}", "say either content or replace"),
    ):
        with pytest.raises(InputError, match=said):
            changed(edit)
