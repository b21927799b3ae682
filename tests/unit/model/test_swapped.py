"""`swapped` is `plan` for what depends on devices alone: the same operations, in the same order."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from netlab.model import Fdb, HostState, Item, Neighbour, NextHop, Route
from netlab.model.diff import plan, swapped

GATES = {4: ip_address("10.0.0.2"), 6: ip_address("fd00::2")}
OTHERS = {4: ip_address("10.0.0.3"), 6: ip_address("fd00::3")}


@st.composite
def items(draw: st.DrawFn) -> Item:
    version = draw(st.sampled_from([4, 6]))
    dst = ip_network(
        (f"192.0.2.{draw(st.integers(0, 3)) * 64}/26", f"2001:db8:{draw(st.integers(0, 3))}::/48")[version == 6]
    )
    match draw(st.integers(0, 4)):
        case 0:
            return Route(dst=dst, dev="eth0", via=draw(st.sampled_from([GATES[version], OTHERS[version]])))
        case 1:
            return Route(dst=dst, nexthops=(NextHop("eth0", GATES[version]), NextHop("eth0", OTHERS[version])))
        case 2:
            return Route(dst=dst, type="blackhole")
        case 3:
            return Neighbour(dev="eth0", address=GATES[version], mac=f"02:00:00:00:00:0{draw(st.integers(1, 3))}")
        case _:
            return Fdb(dev="vx", mac="02:00:00:00:00:01", dst=draw(st.sampled_from([GATES[4], OTHERS[4]])))


def state(listed: list[Item]) -> HostState:
    return HostState.of({item.order: item for item in listed}.values())


def _way(n: int, *more: str) -> Route:
    ways = tuple(NextHop("eth0", ip_address(f"fd00::{one}")) for one in more)
    dst = ip_network(f"2001:db8:{n}::/48")
    return Route(dst=dst, nexthops=ways) if ways else Route(dst=dst, dev="eth0", via=GATES[6])


@example([_way(0, "2", "3"), _way(1)], [_way(0)])
@example([_way(0, "2", "3"), _way(1, "2", "3"), _way(2)], [_way(0), _way(1)])
@given(st.lists(items(), max_size=8), st.lists(items(), max_size=8))
def test_the_same_as_plan(before: list[Item], after: list[Item]) -> None:
    gone, new = state(before), state(after)
    assert swapped(gone, new) == plan(gone, new, was=gone)
