"""The link check: kind, VNI, absence."""

from __future__ import annotations

from typing import Any, cast

import pytest

from netlab.lab.checks import Context
from netlab.lab.checks.result import NotYet
from netlab.lab.checks.tables import link
from netlab.lab.checkspec import LinkCheck
from netlab.model import Bridge, HostState, Link, Vxlan
from netlab.model.links import TUNL0, OtherKind


class Node:
    """A context with one node."""

    def state(self, place: str) -> HostState:
        return HostState.of([
            Link(name="flannel.1", kind=Vxlan(1)), Link(name="cni0", kind=Bridge()),
            Link(name="tunl0", kind=TUNL0, up=False), Link(name="sit0", kind=OtherKind("sit")),
        ])  # fmt: skip


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


def test_absence() -> None:
    assert look(dev="vxlan9", absent=True) == "n has no device vxlan9"
    with pytest.raises(NotYet, match="n has a device cni0"):
        look(dev="cni0", absent=True)
    # what a loaded module puts into every namespace is no tunnel as long as nobody sets it up
    assert look(dev="tunl0", absent=True) == "n has no device tunl0"
    with pytest.raises(NotYet, match="n has a device sit0"):
        look(dev="sit0", absent=True)
