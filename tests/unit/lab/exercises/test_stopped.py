"""Exercises that stop a process: what it leaves behind comes first, and everything else may change that."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from netlab.lab.exercises.book import Book
from netlab.lab.exercises.mend import _unknown
from netlab.lab.exercises.runner import Running
from netlab.lab.labfile import Lab
from netlab.model import Chain, Fdb, IptablesRule, Route

LABS = Path(__file__).parents[4] / "labs"


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.of(Lab(LABS / "flannel-vxlan" / "lab.yaml"))


def test_devices_of_a_stopped_process_can_be_left_out(book: Book) -> None:
    exercise = book.get("third-node")
    states = book.states(exercise)
    assert states["flannel-vxlan.node1"].link("flannel.1")
    node3 = states["flannel-vxlan.node3"]
    assert node3.link("cni0") and not node3.link("flannel.1")
    assert not [r for r in node3.all(Route) if r.dst.version == 4]
    assert sorted(book.stopped(exercise)) == ["node1/flanneld", "node2/flanneld", "node3/flanneld"]


def test_what_it_leaves_behind_is_the_labs_meanwhile(book: Book) -> None:
    states = book.states(book.get("fdb"))
    node1 = states["flannel-vxlan.node1"]
    assert {item.owner for item in node1} == {"lab/flannel-vxlan"}
    assert [str(f.dst) for f in node1.all(Fdb) if f.dev == "flannel.1"] == ["10.168.0.4"]
    assert any(r.dst == ip_network("10.244.1.0/24") for r in node1.all(Route))
    untouched = states["flannel-vxlan.node2"]
    assert not untouched.link("flannel.1")  # node2's flanneld runs, and asks for that itself


def test_what_a_process_had_asked_for_is_no_strangers_work() -> None:
    jump, mine, foreign = IptablesRule.of("-j FLANNEL-FWD"), IptablesRule.of("-j DOCKER"), IptablesRule.of("-j MINE")

    def forward(*rules: IptablesRule) -> Chain:
        return Chain(family=4, table="filter", name="FORWARD", rules=rules)

    known = [forward(jump), forward(mine)]  # of two owners
    assert _unknown([forward(jump, mine)], known) == []
    assert _unknown([forward(jump, foreign)], known) == [forward(foreign)]


def test_the_journal_remembers_what_is_stopped() -> None:
    running = Running("fdb", 1.0, stopped=("node1/flanneld",))
    assert Running.from_json(running.as_json()) == running
    assert "stopped" not in Running("port", 1.0).as_json()
    assert Running.from_json({"id": "port", "started": 1.0}) == Running("port", 1.0)
