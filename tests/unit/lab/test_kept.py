"""Compiled labs that are kept: what comes back is what was written, and anything odd is as good as nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from netlab.lab import kept
from netlab.lab.labfile import Lab

DOCKER0 = Path(__file__).parents[3] / "labs/docker0/lab.yaml"


@pytest.fixture(autouse=True)
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "netlab"


def test_the_second_time_nothing_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Lab(DOCKER0)
    first.keep()
    second = Lab(DOCKER0)
    monkeypatch.setattr("netlab.lab.yamlfile.load", lambda path: pytest.fail("parsed again"))
    assert second.name == "docker0"
    assert second.states == first.states
    assert [item.why for s in second.states.values() for item in s] == [
        item.why for s in first.states.values() for item in s
    ]
    bare = {"devices", "routes", "rules", "neighbours", "fdb", "sysctls", "firewall", "policies", "bridges"}
    places = tuple(replace(p, **dict.fromkeys(bare, ())) for p in first.topology.places)
    assert second.outline == replace(first.topology, places=places)
    assert second.outline.namespaces == first.topology.namespaces


def test_another_file_is_another_lab(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("name: one\nnodes: {a: {}}\n")
    Lab(file).keep()
    file.write_text("name: two\nnodes: {b: {}}\n")
    assert Lab(file).outline.namespaces == ["two.b"]


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"name": 1}', "\0"])
def test_a_damaged_one_is_none(where: Path, damage: str) -> None:
    Lab(DOCKER0).keep()
    (file,) = where.iterdir()
    file.write_text(damage)
    assert kept.read(file.name) is None
    assert Lab(DOCKER0).name == "docker0"


def test_what_others_may_write_is_not_believed(where: Path) -> None:
    Lab(DOCKER0).keep()
    (file,) = where.iterdir()
    assert kept.read(file.name)
    file.chmod(0o666)
    assert kept.read(file.name) is None


def test_without_room_it_is_just_not_kept(where: Path) -> None:
    where.write_text("in the way")
    Lab(DOCKER0).keep()
    assert Lab(DOCKER0).name == "docker0"


def test_the_least_recent_go(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_MAX", 3)
    lab = Lab(DOCKER0)
    for at in range(5):
        kept.write(f"k{at}", lab.topology, {})
        os.utime(where / f"k{at}", (at, at))
    assert sorted(f.name for f in where.iterdir()) == ["k2", "k3", "k4"]
