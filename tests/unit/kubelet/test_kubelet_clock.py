"""Somebody sets the machine's clock while a kubelet runs: what waits goes on waiting as long as it had to."""

from __future__ import annotations

import time

import pytest

from netlab.kubelet.needs import Clock


@pytest.mark.parametrize("moved", [3600.0, -3600.0])
def test_a_clock_that_is_set_moves_no_deadline(monkeypatch: pytest.MonkeyPatch, moved: float) -> None:
    true = time.time
    clock = Clock()
    before = clock.now()
    deadline = before + 30
    monkeypatch.setattr(time, "time", lambda: true() + moved)
    assert before <= clock.now() < deadline
    # what others are told is what the machine's clock says
    assert clock.wall() - true() == pytest.approx(moved, abs=5)
    # a container that ended three seconds ago, which its monitor has stamped by the new time
    assert clock.now() - clock.at(time.time() - 3) == pytest.approx(3, abs=1)
