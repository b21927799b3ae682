"""States as values, and what separates two of them."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given, settings
from strategies import ALL, host_states

from netlab.kernel.apply import DaemonKernel
from netlab.kernel.fake import FakeBackend
from netlab.kernel.ledger import MemoryLedger
from netlab.model import (
    Address,
    Bridge,
    BridgeVlan,
    Chain,
    Fdb,
    HostState,
    Ipip,
    Ipset,
    IptablesRule,
    IpvsDestination,
    IpvsService,
    Item,
    Link,
    Loopback,
    Macvlan,
    Neighbour,
    Route,
    Sysctl,
    Tun,
    Veth,
    Vxlan,
)
from netlab.model.diff import Change, Create, Delete, Op, diff, plan
from netlab.model.iptables import merged
from netlab.model.vlans import default_pvid

states = host_states(kinds=ALL)
thorough = settings(deadline=None, max_examples=60)

BR0 = Link(name="br0", kind=Bridge())
DOWN = replace(BR0, up=False)
LO = Link(name="lo", kind=Loopback())
A4 = Address(dev="br0", address=ip_interface("10.0.0.1/24"))
B4 = Address(dev="br0", address=ip_interface("10.1.0.1/24"))
A6 = Address(dev="br0", address=ip_interface("fd00::1/64"))
DEFAULT = Route(dst=ip_network("0.0.0.0/0"), dev="br0", via=ip_address("10.0.0.9"))
PLAIN6 = Route(dst=ip_network("fd09::/64"), dev="br0", via=ip_address("fd00::9"))
NEIGHBOUR = Neighbour(dev="br0", address=ip_address("10.0.0.9"), mac="02:00:00:00:00:09")
REFUSED6 = Route(dst=ip_network("fd08::/64"), type="blackhole")


def told(ops: list[Op]) -> list[str]:
    """`+ item`, `~ item`, `- item`."""
    return [f"{'+' if isinstance(op, Create) else '-' if isinstance(op, Delete) else '~'} {op.item}" for op in ops]


def between(a: list[Item], b: list[Item]) -> list[str]:
    return told(diff(HostState.of(a), HostState.of(b)))


def settled(state: HostState) -> HostState:
    """The state as a kernel has it: rules of built-in chains in order of their precedence."""

    def sort(item: Item) -> Item:
        if isinstance(item, Chain) and item.builtin:
            return replace(item, rules=merged((), (), item.rules))
        return item

    return HostState.of(map(sort, state))


# --- laws


@thorough
@given(states)
def test_the_strategy_draws_valid_states(a: HostState) -> None:
    assert a.problems() == []


@thorough
@given(states)
def test_nothing_separates_a_state_from_itself(a: HostState) -> None:
    assert plan(settled(a), a, was=a) == []


@thorough
@given(states, states)
def test_one_total_order(a: HostState, b: HostState) -> None:
    for state in (a, b):
        orders = [item.order for item in state]
        assert orders == sorted(set(orders))
        assert HostState.of(reversed(state.items)) == state
    assert len(sorted([*a, *b], key=lambda item: item.order)) == len(a) + len(b)  # any two keys compare


@thorough
@given(states, states)
def test_union(a: HostState, b: HostState) -> None:
    assert a | a == a
    assert a | HostState() == HostState() | a == a
    rest = b.where(lambda item: item.order not in {known.order for known in a})
    assert a | rest == rest | a
    assert (a | rest) | a == a | rest
    assert len(a | rest) == len(a) + len(rest)


def test_a_contradiction_names_both_reasons() -> None:
    one, two = replace(BR0, why="lab.yaml:1"), replace(BR0, mtu=1400, why="lab.yaml:2")
    with pytest.raises(ValueError, match=r"lab\.yaml:1 and by lab\.yaml:2"):
        HostState.of([one]) | HostState.of([two])
    assert HostState.of([one, replace(one, why="lab.yaml:3")]).items == (one,)


@thorough
@given(states)
def test_all_of_a_state_is_made_once_in_an_order_that_works(a: HostState) -> None:
    ops = diff(HostState(), a)
    made = [op.item.order for op in ops if isinstance(op, Create)]
    assert len(set(made)) == len(made)
    assert {item.order for item in a if not (isinstance(item, Chain) and item.builtin)} == set(made)
    seen: set[str] = set()
    for op in ops:
        if isinstance(op, Create) and isinstance(op.item, Link):
            assert {name for name in (op.item.master, op.item.parent) if name} <= seen
            seen.add(op.item.name)


@thorough
@given(states, states)
def test_what_nobody_asked_for_is_left_alone(actual: HostState, wanted: HostState) -> None:
    asked = {item.order for item in wanted}
    links = {link.name: link for link in wanted.all(Link)}
    others = [op.item for op in plan(actual, wanted) if not isinstance(op, Delete) and op.item.order not in asked]
    # but for the VLAN that the kernel would have made by itself, which the change of a bridge's default moves
    assert all(isinstance(v, BridgeVlan) and v.vid == default_pvid(links, v.dev) for v in others)
    assert plan(actual, HostState()) == []


# --- what the kernel does by itself


@pytest.mark.parametrize(
    ("a", "b", "ops"),
    [
        ([BR0], [DOWN], ["~ link br0"]),
        # a deleted device takes all that hung on it along
        ([BR0, A4, DEFAULT, NEIGHBOUR], [], ["- link br0"]),
        # one that goes down loses its routes, neighbours and IPv6 addresses, but no IPv4 address
        ([BR0, A4, A6, DEFAULT, PLAIN6, NEIGHBOUR], [DOWN, A4], ["~ link br0"]),
        ([BR0, A4, A6], [DOWN, A4, A6], ["~ link br0", "+ address fd00::1/64 dev br0"]),
        # the last IPv4 address takes the device's IPv4 routes along
        ([BR0, A4, DEFAULT], [BR0], ["- address 10.0.0.1/24 dev br0"]),
        (
            [BR0, A4, DEFAULT],
            [BR0, replace(A4, scope="link"), DEFAULT],
            ["- address 10.0.0.1/24 dev br0", "+ address 10.0.0.1/24 dev br0", "+ route default"],
        ),
        # not the last one
        (
            [BR0, A4, B4, DEFAULT],
            [BR0, B4],
            ["- route default", "- address 10.0.0.1/24 dev br0"],
        ),
        # IPv6 routes that refuse live on lo
        (
            [LO, REFUSED6],
            [REFUSED6],
            ["~ link lo", "+ route fd08::/64"],
        ),
        ([LO, REFUSED6], [], ["~ link lo"]),
        ([BR0, DEFAULT], [BR0, replace(DEFAULT, via=ip_address("10.0.0.8"))], ["~ route default"]),
        # IPv6 has no replacement for a route that is not plain
        (
            [BR0, replace(PLAIN6, via=None)],
            [BR0, replace(PLAIN6, via=None, mtu=1300)],
            ["- route fd09::/64", "+ route fd09::/64"],
        ),
        # sets stay as long as rules may refer to them
        (
            [Ipset(name="s", type="hash:ip"), Chain(family=4, table="filter", name="X")],
            [],
            ["- chain X in filter (IPv4)", "- ipset s"],
        ),
    ],
)
def test_operations(a: list[Item], b: list[Item], ops: list[str]) -> None:
    assert between(a, b) == ops


def test_a_device_of_another_kind_is_made_anew() -> None:
    port = Link(name="t", kind=Tun("tap"), master="br0")
    fdb = Fdb(dev="t", mac="02:00:00:00:00:07")
    other = replace(port, kind=Tun("tap", vnet_hdr=True))
    assert between([BR0, port, fdb], [BR0, other, fdb]) == [
        "- link t",
        "+ link t",
        "+ fdb 02:00:00:00:00:07 dev t",
    ]


def test_a_bridge_is_changed_in_place() -> None:
    assert between([BR0, A4], [replace(BR0, kind=Bridge(stp=True)), A4]) == ["~ link br0"]


def test_what_depends_on_a_device_goes_and_comes_with_it() -> None:
    pair = [Link(name="a", kind=Veth("b")), Link(name="b", kind=Veth("a"))]
    upper = [Link(name="m", kind=Macvlan("a")), Link(name="v", kind=Vxlan(1, dev="a"))]
    assert between([*pair, *upper], []) == ["- link m", "- link v", "- link a", "- link b"]
    assert between([], [*upper, *pair])[:2] == ["+ link a", "+ link b"]


def test_a_sysctl_goes_back_to_what_it_was() -> None:
    setting = Sysctl(name="net/ipv4/ip_forward", value="1")
    mine = HostState.of([setting])
    assert plan(mine, HostState(), was=mine, before={setting.name: "0"}) == [
        Change(setting, replace(setting, value="0"))
    ]
    assert plan(mine, HostState(), was=mine) == []


def test_built_in_chains_are_shared() -> None:
    def forward(*rules: str) -> HostState:
        made = tuple(IptablesRule.of(f"-j {rule}") for rule in rules)
        return HostState.of([Chain(family=4, table="filter", name="FORWARD", policy="ACCEPT", rules=made)])

    def shared(actual: HostState, wanted: HostState, was: HostState) -> list[str]:
        (op,) = plan(actual, wanted, was=was)
        assert isinstance(op.item, Chain)
        return [rule.args[1] for rule in op.item.rules]

    theirs = forward("ACCEPT", "DOCKER-USER")
    assert shared(theirs, forward("KUBE-FORWARD", "cali-FORWARD"), HostState()) == [
        "cali-FORWARD",
        "KUBE-FORWARD",
        "ACCEPT",
        "DOCKER-USER",
    ]
    assert shared(forward("KUBE-FORWARD", "ACCEPT"), HostState(), forward("KUBE-FORWARD")) == ["ACCEPT"]


def test_a_route_that_may_outlive_the_address_beside_its_own_is_deleted() -> None:
    """The second address of a subnet goes: the first, which stays, holds the routes; which is which does not show."""
    first, second = (Address(dev="br0", address=ip_interface(f"10.0.0.{n}/24")) for n in (1, 2))
    plain = Route(dst=ip_network("10.9.0.0/16"), dev="br0")
    chosen = Route(dst=ip_network("10.8.0.0/16"), dev="br0", src=first.address.ip)
    removed = [op.item for op in diff(HostState.of([BR0, first, second, plain, chosen]), HostState.of([BR0, first]))
               if isinstance(op, Delete)]  # fmt: skip
    assert {plain, chosen} <= set(removed)


# --- what cannot be


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([Link(name="a", kind=Veth("b"), master="br9")], "link a: its master br9 is not there"),
        ([Link(name="m", kind=Macvlan("eth9"))], "link m: its parent device eth9 is not there"),
        (
            [Link(name="tunl0", kind=Ipip(local=ip_address("10.0.0.1")))],
            "link tunl0: it is the kernel's own IPIP device, whose options cannot be changed",
        ),
        ([DOWN, DEFAULT], "route default: device br0 is not there or is down"),
        ([DOWN, NEIGHBOUR], "neighbour 10.0.0.9 dev br0: device br0 is not there or is down"),
        ([A4], "address 10.0.0.1/24 dev br0: device br0 is not there"),
        ([BridgeVlan(dev="br0", vid=10)], "vlan 10 dev br0: device br0 is not there"),
        ([BR0, BridgeVlan(dev="br0", vid=10)], "vlan 10 dev br0: br0 is itself a bridge"),
        ([Link(name="t", kind=Tun()), BridgeVlan(dev="t", vid=10)], "vlan 10 dev t: t is no port of a bridge"),
        ([Link(name="t", kind=Tun()), BridgeVlan(dev="t", vid=10, on_bridge=True)], "vlan 10 dev t: t is no bridge"),
        (
            [BR0, *(BridgeVlan(dev="br0", vid=vid, pvid=True, on_bridge=True) for vid in (10, 20))],
            "vlan 20 dev br0: vlan 10 dev br0 is the PVID there already",
        ),
    ],
)
def test_problems(items: list[Item], problem: str) -> None:
    assert HostState.of(items).problems() == [problem]


def test_who_is_still_chosen_is_still_in_the_sets() -> None:
    """An endpoint that calls itself is masqueraded by a set: it gets its entry before IPVS knows it, and loses it after."""

    def sets(*entries: str) -> Ipset:
        return Ipset(name="KUBE-LOOP-BACK", type="hash:ip,port,ip", entries=entries)

    def server(*pods: str) -> IpvsService:
        ways = tuple(IpvsDestination(ip_address(pod), 80) for pod in pods)
        return IpvsService(protocol="tcp", address=ip_address("10.96.0.1"), port=80, destinations=ways)

    a, b = "10.244.1.1,tcp:80,10.244.1.1", "10.244.1.2,tcp:80,10.244.1.2"
    before, after = HostState.of([sets(a), server("10.244.1.1")]), HostState.of([sets(b), server("10.244.1.2")])
    steps = [(op.old, op.item) for op in plan(before, after, was=before) if isinstance(op, Change)]
    assert steps == [(sets(a), sets(a, b)), (server("10.244.1.1"), server("10.244.1.2")), (sets(a, b), sets(b))]
    # who only comes, and who only goes; without virtual servers nobody chooses
    more = HostState.of([sets(a, b), server("10.244.1.1", "10.244.1.2")])
    assert [type(op.item) for op in plan(before, more, was=before)] == [Ipset, IpvsService]
    assert [type(op.item) for op in plan(more, before, was=more)] == [IpvsService, Ipset]
    alone = [op.item for op in plan(HostState.of([sets(a)]), HostState.of([sets(b)]), was=HostState.of([sets(a)]))]
    assert alone == [sets(b)]
    # and for one who knows what was
    kernel = DaemonKernel(FakeBackend(), MemoryLedger())
    kernel.apply("n", "proxy", before)
    ops = kernel.step("n", "proxy", list(before), list(after))
    assert [(op.old, op.item) for op in ops if isinstance(op, Change)] == steps
