"""The link check: kind and VNI."""

from __future__ import annotations

from typing import Any, cast

import pytest

from netlab.lab.checks import Context
from netlab.lab.checks.result import NotYet
from netlab.lab.checks.tables import link
from netlab.lab.checkspec import LinkCheck
from netlab.model import Bridge, HostState, Link, Vxlan


class Node:
    """A context with one node."""

    def state(self, place: str) -> HostState:
        return HostState.of([Link(name="flannel.1", kind=Vxlan(1)), Link(name="cni0", kind=Bridge())])


def look(**said: Any) -> str:
    return link(LinkCheck(on="n", **said), cast(Context, Node()))


def test_kind_and_vni() -> None:
    assert look(dev="flannel.1", kind="vxlan", vni=1).startswith("n flannel.1 up")
    assert look(dev="cni0", kind="bridge")
    with pytest.raises(NotYet, match="kind is bridge, not vxlan"):
        look(dev="cni0", kind="vxlan")
    with pytest.raises(NotYet, match="vni is 1, not 2"):
        look(dev="flannel.1", vni=2)
    with pytest.raises(NotYet, match="vni is none, not 1"):
        look(dev="cni0", vni=1)
