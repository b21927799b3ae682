"""`netlab bench bgp`, small: every figure is there, and nothing stays behind."""

from __future__ import annotations

import os

import pytest

from netlab.daemons import bgpbench
from netlab.kernel import netns

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def test_two_hundred_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgpbench, "IDLE_SECONDS", 0.2)
    told: list[str] = []
    found = bgpbench.run([200], 1, bird=False, tell=lambda what, _: told.append(what))
    first, absent, rest = (m.as_json() for m in found)
    assert (first["source"], first["routes"], absent["absent"]) == ("generator", 200, "left out on request")
    assert {"to the table, s", "to the kernel, s", "churn, routes per s", "peak with the kernel, bytes"} <= set(
        first["median"]
    )
    assert list(rest["median"]) == ["50 sessions at rest, % of a core"]
    assert not [name for name in netns.names() if name.startswith(f"bgb{os.getpid()}.")]
