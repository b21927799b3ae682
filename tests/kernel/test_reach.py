"""Look-ups of next hops: what the kernel answers, what of it counts, and what is told of changes."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from bgp_world import World

from netlab.kernel.reach import Reach, Way

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, nodes=1) as w:
        yield w


@pytest.mark.parametrize("family", [4, 6])
def test_what_leads_where(world: World, family: int) -> None:
    on_link, me, far = (
        ("10.0.0.9", "10.0.0.1", "203.0.113.0/24") if family == 4 else ("fd00::9", "fd00::1", "2001:db8:5::/48")
    )
    inside = ip_address(far.split("/")[0]) + 1
    reach = Reach("bgp", world.ns(1))
    try:
        assert reach.lookup(ip_address(on_link)) == Way("eth0", None, 0 if family == 4 else 256, "kernel")
        # the kernel makes an IPv6 address' own route a moment after the address
        world.until(lambda: reach.lookup(ip_address(me)) is None, "us not to be a next hop of ours")
        assert reach.lookup(inside) is None
        world.run(1, "ip", "route", "add", far, "via", on_link, "metric", "7", "proto", "static")
        assert reach.lookup(inside) == Way("eth0", ip_address(on_link), 7, "static")
        world.run(1, "ip", "route", "del", far, "via", on_link)
        world.run(1, "ip", "route", "add", far, "via", on_link, "proto", "bgp")
        assert reach.lookup(inside) is None, "our own routes do not count"
        world.run(1, "ip", "route", "add", f"{on_link}/{32 if family == 4 else 128}", "dev", "eth0", "proto", "bgp")
        found = reach.lookup(ip_address(on_link))
        assert found is not None and found[:2] == ("eth0", None), "not even where they hide the link's own"
        assert reach.lookup(ip_address(on_link), "nothing") is None
    finally:
        reach.close()


def test_changes_are_told(world: World) -> None:
    reach = Reach("bgp", world.ns(1))
    try:
        reach.names()
        reach.drain()
        assert not select.select([reach], [], [], 0)[0]
        world.run(1, "ip", "route", "add", "203.0.113.0/24", "via", "10.0.0.9")
        assert select.select([reach], [], [], 5)[0]
        assert reach.drain() == frozenset()
        world.run(1, "ip", "link", "set", "eth0", "down")
        assert select.select([reach], [], [], 5)[0]
        assert "eth0" in reach.drain()
        assert reach.lookup(ip_address("10.0.0.9")) is None
    finally:
        reach.close()
