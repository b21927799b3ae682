"""The flannel labs with either store: up, all checks, nothing to do the second time, and down without a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.lab.checks import Context, run_all
from netlab.lab.engine import Engine
from netlab.lab.labfile import Lab

LABS = Path(__file__).parents[2] / "labs"
NAMES = sorted(path.parent.name for path in LABS.glob("flannel-*/lab.yaml"))
ELSEWHERE = pytest.mark.not_in_vm("where leases are kept is no matter of the kernel's, and an emulator takes minutes")
VARIANTS = [pytest.param((name, None), id=f"{name}-files") for name in NAMES]
VARIANTS += [pytest.param((name, "etcd"), id=f"{name}-etcd", marks=ELSEWHERE) for name in NAMES]


@pytest.fixture(scope="module", params=VARIANTS)
def lab(request: pytest.FixtureRequest, lab_copy: Callable[..., Lab]) -> Lab:
    """Up; that nothing is left of it afterwards is looked at by `lab_copy`."""
    name, store = request.param
    made: Lab = lab_copy(name, store=store)
    return made


def test_all_checks_pass(lab: Lab, engine: Engine) -> None:
    results = run_all(lab.file.checks, Context(engine.machine, engine.record(lab.name), lab.topology))
    assert [(r.name, r.detail) for r in results if r.outcome != "passed"] == []
    assert len(results) >= 30


def test_it_is_as_it_was_asked_for_and_the_second_time_there_is_nothing_to_do(lab: Lab, engine: Engine) -> None:
    assert engine.drift(lab.name).clean
    assert engine.up(lab).operations == 0


def test_the_value_that_is_told_is_the_one_that_is_there(lab: Lab, engine: Engine) -> None:
    """`explain` and `script` compute what flanneld will do; it does just that."""
    record, journal = engine.record(lab.name), engine.journal(lab.name)
    others = engine.others(journal, record)
    assert set(others) == {lab.topology.netns(node) for node in lab.file.flannel.nodes}  # type: ignore[union-attr]
    for netns, state in others.items():
        told = {item.order: item for item in lab.whole[netns]}
        assert {item.order for item in state} <= set(told)
