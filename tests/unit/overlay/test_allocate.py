"""Which subnet a node gets."""

import json
import random
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.overlay.allocate import CANDIDATES, Plan, fits, free, overlaps, plan
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs, NoSubnetLeft, Subnet


def config(**data: object) -> NetworkConfig:
    return NetworkConfig.parse(json.dumps(data), place="test")


WIDE = config(Network="100.96.0.0/16")
SMALL = config(Network="10.5.0.0/24", SubnetLen=28)
DUAL = config(Network="10.5.0.0/24", SubnetLen=28, EnableIPv6=True, IPv6Network="fd00::/62")
HUGE6 = config(EnableIPv4=False, EnableIPv6=True, IPv6Network="fd00::/16")
ME = LeaseAttrs(public_ip=IPv4Address("10.0.0.1"))
OTHER = LeaseAttrs(public_ip=IPv4Address("10.0.0.2"))


def first(numbers: Sequence[int]) -> int:
    return numbers[0]


def subnet(*texts: str) -> Subnet:
    ipv4 = [IPv4Network(t) for t in texts if ":" not in t]
    ipv6 = [IPv6Network(t) for t in texts if ":" in t]
    return Subnet(ipv4[0] if ipv4 else None, ipv6[0] if ipv6 else None)


def leases(*pairs: tuple[Subnet, LeaseAttrs], expires: float | None = 1.0) -> dict[str, Lease]:
    return {s.key: Lease(subnet=s, attrs=attrs, expires=expires) for s, attrs in pairs}


@pytest.mark.parametrize(
    ("of", "text", "yes"),
    [
        (WIDE, ["100.96.1.0/24"], True),
        (WIDE, ["100.96.255.0/24"], True),
        (WIDE, ["100.96.0.0/24"], False),  # SubnetMin is the second
        (WIDE, ["100.96.1.0/25"], False),
        (WIDE, ["10.0.1.0/24"], False),
        (WIDE, ["100.96.1.0/24", "fd00::/64"], False),
        (DUAL, ["10.5.0.16/28"], False),
        (DUAL, ["10.5.0.16/28", "fd00:0:0:1::/64"], True),
        (HUGE6, ["fd00:0:0:1::/64"], True),
        (HUGE6, ["10.5.0.16/28"], False),
    ],
)
def test_fits(of: NetworkConfig, text: list[str], yes: bool) -> None:
    assert fits(of, subnet(*text)) is yes


def test_overlaps_in_either_family() -> None:
    one = subnet("10.1.0.0/24", "fd00:0:0:1::/64")
    assert overlaps(one, subnet("10.1.0.128/25"))
    assert overlaps(one, subnet("10.0.0.0/8", "fd00:0:0:2::/64"))
    assert overlaps(one, subnet("10.2.0.0/24", "fd00::/48"))
    assert not overlaps(one, subnet("10.2.0.0/24", "fd00:0:0:2::/64"))
    assert not overlaps(subnet("10.1.0.0/24"), subnet("fd00:0:0:1::/64"))


def test_one_of_the_first_hundred() -> None:
    offered: list[Sequence[int]] = []

    def last(numbers: Sequence[int]) -> int:
        offered.append(numbers)
        return numbers[-1]

    assert free(WIDE, [], choose=last).key == "100.96.100.0-24"
    assert free(WIDE, [subnet("100.96.0.0/18")], choose=last).key == "100.96.163.0-24"
    assert [len(o) for o in offered] == [CANDIDATES, CANDIDATES]
    # more than could ever be counted
    assert free(HUGE6, [subnet("fd00::/17")], choose=first).key == "0.0.0.0-0&fd00:8000::-64"


def test_families_are_chosen_independently() -> None:
    taken = [subnet("10.5.0.16/28"), subnet("10.5.0.32/28", "fd00:0:0:1::/64")]
    assert free(DUAL, taken, choose=first) == subnet("10.5.0.48/28", "fd00:0:0:2::/64")


def test_none_left() -> None:
    taken = [subnet(f"10.5.0.{n}/28") for n in range(16, 256, 16)]
    with pytest.raises(NoSubnetLeft, match=r"10\.5\.0\.0/24: all 15 .* 15 leases"):
        free(SMALL, taken)
    with pytest.raises(NoSubnetLeft, match="1 leases"):
        free(SMALL, [subnet("10.0.0.0/8")])
    # the other family has some
    with pytest.raises(NoSubnetLeft, match="fd00::/62"):
        free(DUAL, [subnet("fd00::/60")])


def test_own_lease_first_then_previous_then_free() -> None:
    mine, other = subnet("100.96.7.0/24"), subnet("100.96.1.0/24")
    held = leases((mine, ME), (other, OTHER))
    assert plan(WIDE, held, ME, previous=subnet("100.96.9.0/24")) == Plan(held[mine.key], None)
    held = leases((other, OTHER))
    assert plan(WIDE, held, ME, previous=mine, choose=first) == Plan(None, mine)
    assert plan(WIDE, held, ME, previous=other, choose=first) == Plan(None, subnet("100.96.2.0/24"))
    assert plan(WIDE, held, ME, previous=subnet("100.96.7.0/25"), choose=first).create == subnet("100.96.2.0/24")
    # taken by somebody whose value makes no sense
    assert plan(WIDE, held, ME, previous=mine, taken=[mine], choose=first).create == subnet("100.96.2.0/24")


def test_several_of_ones_own() -> None:
    one, two, three = (subnet(f"100.96.{n}.0/24") for n in (3, 5, 7))
    held = leases((one, ME), (three, ME)) | leases((two, ME), expires=None)
    assert plan(WIDE, held, ME, previous=three).adopt == held[three.key]
    assert plan(WIDE, held, ME).adopt == held[two.key]
    del held[two.key]
    assert plan(WIDE, held, ME).adopt == held[one.key]


def test_what_does_not_fit_any_more() -> None:
    old = subnet("10.244.1.0/24")
    held = leases((old, ME))
    assert plan(WIDE, held, ME, choose=first) == Plan(None, subnet("100.96.1.0/24"), (held[old.key],))
    reserved = leases((old, ME), expires=None)
    assert plan(WIDE, reserved, ME, choose=first) == Plan(None, subnet("100.96.1.0/24"))
    # an own lease of another length gives its place away; another's does not
    half = subnet("100.96.1.0/25")
    assert plan(WIDE, leases((half, ME)), ME, choose=first).create == subnet("100.96.1.0/24")
    assert plan(WIDE, leases((half, OTHER)), ME, choose=first).create == subnet("100.96.2.0/24")


def test_a_node_is_known_by_its_ipv6_address_if_it_has_no_other() -> None:
    me = LeaseAttrs(public_ipv6=IPv6Address("fd01::1"))
    mine = subnet("fd00:0:0:7::/64")
    held = leases((mine, me))
    assert plan(HUGE6, held, me).adopt == held[mine.key]
    assert plan(HUGE6, held, LeaseAttrs(public_ipv6=IPv6Address("fd01::2")), choose=first).create is not None


@st.composite
def _taken(draw: st.DrawFn) -> list[Subnet]:
    def one(family: str) -> Subnet:
        length = draw(st.integers(22, 32) if family == "4" else st.integers(58, 70))
        if family == "4":
            address = int(IPv4Address("10.5.0.0")) + draw(st.integers(-64, 320))
            return Subnet(IPv4Network((address, length), strict=False))
        base = int(IPv6Address("fd00::")) + (draw(st.integers(0, 5)) << 64)
        return Subnet(None, IPv6Network((base, length), strict=False))

    return [one(family) for family in draw(st.lists(st.sampled_from("46"), max_size=20))]


@settings(deadline=None)
@given(_taken(), st.randoms(use_true_random=False))
def test_what_is_given_is_free_and_fits(taken: list[Subnet], chance: random.Random) -> None:
    def all_free(pool: list[Subnet]) -> bool:
        return any(not any(overlaps(s, other) for other in taken) for s in pool)

    assert DUAL.ipv4 and DUAL.ipv6
    four = [Subnet(DUAL.ipv4.nth(n)) for n in range(DUAL.ipv4.count)]  # type: ignore[arg-type]
    six = [Subnet(None, DUAL.ipv6.nth(n)) for n in range(DUAL.ipv6.count)]  # type: ignore[arg-type]
    if all_free(four) and all_free(six):
        got = free(DUAL, taken, choose=chance.choice)
        assert fits(DUAL, got)
        assert not any(overlaps(got, other) for other in taken)
    else:
        with pytest.raises(NoSubnetLeft):
            free(DUAL, taken, choose=chance.choice)
