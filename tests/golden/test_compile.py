"""Labs in, whole values out. `pytest tests/golden --update-golden` writes them anew; the difference is for review."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.lab.labfile import Lab
from netlab.model import HostState
from netlab.model.codec import state_from_json, to_json

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = {"everything": HERE / "compile" / "everything.yaml"} | {
    path.parent.name: path for path in sorted((ROOT / "labs").glob("*/lab.yaml")) if not Lab(path).on_cluster
}


@pytest.mark.parametrize("name", FILES)
def test_value(name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # places in a value are told from here
    lab = Lab(FILES[name])
    golden(f"compile/{name}.json", json.dumps({ns: to_json(s) for ns, s in lab.states.items()}, indent=1) + "\n")
    again = json.loads((HERE / "compile" / f"{name}.json").read_text())
    assert {ns: state_from_json(items) for ns, items in again.items()} == lab.states
    for ns, state in lab.states.items():
        assert state.problems() == [], ns
        assert state == HostState.of(state)
        assert all(item.why and item.owner == f"lab/{lab.name}" for item in state)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_left_to_chance(name: str) -> None:
    assert Lab(FILES[name]).states == Lab(FILES[name]).states


def test_places_and_processes() -> None:
    topology = Lab(FILES["everything"]).topology
    assert {p.name: topology.netns(p.name) for p in topology.places if p.role == "container"} == {
        "web": "everything.web",
        "db": "everything.db",
        "odd": "everything.odd",
        "host": "everything.a",
        "side": "everything.web",
        "alone": "everything.alone",
    }
    assert {(p.name, q.name, q.serve) for p in topology.places for q in p.processes} == {
        ("b", "web", ((80, "tcp"), (53, "udp"))),
        ("b", "sleeper", ()),
        ("web", "web", ((80, "tcp"),)),
        ("host", "web", ((8081, "tcp"),)),
        ("side", "web", ((9090, "tcp"),)),
    }
