"""The decision step by step, tables, policies, what peers are told, reflection, the kernel's routes, configuration."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.bgp import nlri
from netlab.bgp.attributes import Attrs, Segment, Unknown, parse_community
from netlab.bgp.codes import AS_SEQUENCE, AS_SET
from netlab.bgp.config import KernelConfig, loads
from netlab.bgp.decision import Hop, Path, Rules, Source, choose, explain
from netlab.bgp.export import Neighbour, Self, accept, default_policy, told
from netlab.bgp.fib import Fib
from netlab.bgp.nlri import Family
from netlab.bgp.policy import ALL, Policy
from netlab.bgp.rib import Table
from netlab.model import HostState, Route

US = Self(65001, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.1"))
P = nlri.nlri(ip_network("192.0.2.0/24"))
Q = nlri.nlri(ip_network("198.51.100.0/24"))


def source(name: str, kind: str = "ebgp", asn: int = 65002, router_id: int = 5, **more: Any) -> Source:
    found = Source(name, kind=kind, asn=asn, address=ip_address(f"10.0.0.{sum(map(ord, name)) % 250}"), **more)
    found.router_id = router_id
    return found


def path(src: Source, since: float = 0.0, asns: tuple[int, ...] = (65002,), hop: str = "10.0.0.9", **more: Any) -> Path:
    segments = (Segment(AS_SEQUENCE, asns),) if asns else ()
    attrs = Attrs().with_(as_path=segments, next_hop=ip_address(hop), **more)
    return Path(src, attrs, attrs, "", since)


def rules(*paths: Path, **more: Any) -> Rules:
    return Rules({p.hop: Hop("eth0") for p in paths if p.hop}, **more)


A, B = source("a"), source("b")


@pytest.mark.parametrize(
    ("step", "winner", "loser"),
    [
        ("highest local preference", path(A, local_pref=200, asns=(1, 2, 3)), path(B)),
        ("our own before learnt", path(source("us", "local"), asns=(7, 8)), path(B)),
        ("shortest AS path", path(A, asns=(1,)), path(B, asns=(1, 2))),
        ("lowest origin", path(A), path(B, origin=2)),
        ("lowest MED", path(A, med=1), path(B, med=2)),
        ("lowest MED", path(A), path(B, med=2)),
        ("external before internal", path(A), path(source("i", "ibgp"))),
        ("oldest external path", path(A, 1.0), path(B, 2.0)),
        ("lowest router id", path(source("x", router_id=1)), path(source("y", router_id=2))),
        (
            "lowest router id",
            path(source("x", "ibgp", router_id=9), originator=IPv4Address(1)),
            path(source("y", "ibgp")),
        ),
        ("shortest cluster list", path(source("x", "ibgp")), path(source("y", "ibgp"), clusters=(IPv4Address(1),))),
        ("lowest peer address", path(source("a")), path(source("b"))),
    ],
)
def test_each_step_decides(step: str, winner: Path, loser: Path) -> None:
    for order in ([winner, loser], [loser, winner]):
        r = rules(winner, loser)
        assert choose(order, r) == (winner,)
        told_ = explain(order, r, 0.0)
        assert told_[-1].step == step
        assert told_[-1].left == (winner,)


def test_a_nearer_next_hop_wins() -> None:
    near, far = path(source("x", "ibgp"), hop="10.0.0.8"), path(source("y", "ibgp"), hop="10.0.0.9")
    r = Rules({near.hop: Hop("eth0", metric=5), far.hop: Hop("eth0", metric=50)})  # type: ignore[dict-item]
    assert choose([far, near], r) == (near,)
    assert explain([far, near], r, 0.0)[-1].step == "lowest metric to the next hop"


def test_meds_of_different_neighbours_do_not_compare() -> None:
    x, y = path(A, 2.0, asns=(100,), med=9), path(B, 1.0, asns=(200,), med=50)
    assert choose([x, y], rules(x, y)) == (y,), "the older one, whatever the MED"
    assert choose([x, y], rules(x, y, always_compare_med=True)) == (x,)


def test_what_cannot_be_reached_or_was_refused_does_not_count() -> None:
    x, y = path(A, local_pref=500, hop="10.9.9.9"), path(B)
    refused = Path(source("c"), x.received, None, "policy", 0.0)
    r = rules(y)
    assert choose([x, y, refused], r) == (y,)
    assert choose([x, refused], r) == ()
    assert "cannot be reached" in dict(explain([x, y], r, 0.0)[0].values)[x]


def test_multipath() -> None:
    x, y, z = path(A, 1.0, hop="10.0.0.7"), path(B, 2.0, hop="10.0.0.8"), path(source("c"), 3.0, (9,), "10.0.0.9")
    assert choose([x, y, z], rules(x, y, z, multipath=4)) == (x, y)
    assert set(choose([x, y, z], rules(x, y, z, multipath=4, relax=True))) == {x, y, z}
    assert len(choose([x, y, z], rules(x, y, z, multipath=2, relax=True))) == 2
    longer = path(source("d"), 0.0, (65002, 65002), "10.0.0.6")
    assert longer not in choose([x, y, longer], rules(x, y, longer, multipath=4))


def test_sets_count_once() -> None:
    attrs = Attrs(as_path=(Segment(AS_SEQUENCE, (1, 2)), Segment(AS_SET, (3, 4, 5))))
    assert attrs.path_length == 3


# -- tables


def test_a_table_notes_what_changes() -> None:
    x, y = path(A, 1.0), path(B, 2.0)
    table = Table(Family.IPV4, rules(x, y))
    table.announce(x, [P, Q])
    assert table.take_changed() == [P, Q]
    table.announce(y, [P])
    assert table.take_changed() == [], "the older one stays"
    table.withdraw(A, [P])
    assert table.take_changed() == [P]
    assert table.entries[P].best == (y,)
    assert A.counts[Family.IPV4] == 1
    table.announce(Path(A, x.received, x.attrs, "", 9.0), [Q])
    assert table.take_changed() == [], "the same again"
    table.drop(A)
    table.drop(B)
    assert table.entries == {}
    assert (A.counts[Family.IPV4], B.counts[Family.IPV4]) == (0, 0)


def test_stale_paths_go_unless_they_come_again() -> None:
    a = source("a")
    x = path(a)
    table = Table(Family.IPV4, rules(x))
    table.announce(x, [P, Q])
    table.take_changed()
    a.epoch += 1
    table.announce(Path(a, x.received, x.attrs, "", 5.0), [P])
    assert table.changed == {}
    assert table.drop(a, stale_only=True) == 1
    assert list(table.entries) == [P] and table.take_changed() == [Q]
    assert table.entries[P].paths[0].since == 0.0, "it is as old as before"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.none() | st.integers(0, 3)), max_size=40))
def test_incremental_is_as_good_as_all_at_once(changes: list[tuple[int, int, int | None]]) -> None:
    sources = [source(f"s{i}", router_id=i) for i in range(4)]
    some = [[path(s, float(i), (i + 1,), med=m) for m in range(4)] for i, s in enumerate(sources)]
    r = rules(*(p for ps in some for p in ps), multipath=2, relax=True)
    table = Table(Family.IPV4, r)
    held: dict[tuple[int, int], Path] = {}
    for who, where, what in changes:
        key = nlri.nlri(ip_network((where << 8, 24)))
        if what is None:
            table.withdraw(sources[who], [key])
            held.pop((who, where), None)
        else:
            table.announce(some[who][what], [key])
            held[who, where] = some[who][what]
    for where in range(5):
        entry = table.entries.get(nlri.nlri(ip_network((where << 8, 24))))
        paths = [p for (_, w), p in held.items() if w == where]
        assert set(entry.paths if entry else ()) == set(paths)
        assert (entry.best if entry else ()) == choose(paths, r)
    assert [s.counts.get(Family.IPV4, 0) for s in sources] == [sum(w == i for w, _ in held) for i in range(4)]


# -- between neighbours


def neighbour(src: Source, **more: Any) -> Neighbour:
    hops = {Family.IPV4: ip_address("10.0.0.1"), Family.IPV6: ip_address("fd00::1")}
    return Neighbour(source=src, hops=hops, **more)


E2, I1, I2 = source("e2", asn=65003), source("i1", "ibgp", 65001), source("i2", "ibgp", 65001)
CLIENT = source("client", "ibgp", 65001, client=True)


def test_outward() -> None:
    p = path(
        A, med=5, local_pref=200, unknown=(Unknown(0xE0, 99, b"x"),), extended=(b"\x40" * 8, b"\x00\x02" + b"\1" * 6)
    )
    attrs, _ = told(p, P, Family.IPV4, neighbour(E2), US)
    assert attrs is not None
    assert attrs.as_path == (Segment(AS_SEQUENCE, (65001, 65002)),)
    assert (str(attrs.next_hop), attrs.med, attrs.local_pref) == ("10.0.0.1", None, None)
    assert attrs.unknown == (Unknown(0xE0, 99, b"x"),)
    assert attrs.extended == (b"\x00\x02" + b"\1" * 6,)


def test_inward() -> None:
    attrs, _ = told(path(A, med=5), P, Family.IPV4, neighbour(I1), US)
    assert attrs is not None
    assert (attrs.as_path, str(attrs.next_hop), attrs.med, attrs.local_pref) == (
        (Segment(AS_SEQUENCE, (65002,)),), "10.0.0.9", 5, 100,
    )  # fmt: skip
    selfish, _ = told(path(A), P, Family.IPV4, neighbour(I1, next_hop_self=True), US)
    assert selfish is not None and str(selfish.next_hop) == "10.0.0.1"


@pytest.mark.parametrize(
    ("frm", "to", "passed"),
    [(I1, I2, False), (CLIENT, I2, True), (I1, CLIENT, True), (CLIENT, CLIENT, False), (A, A, False), (I1, E2, True)],
)
def test_who_is_told(frm: Source, to: Source, passed: bool) -> None:
    attrs, why = told(path(frm, asns=(7,)), P, Family.IPV4, neighbour(to), US)
    assert (attrs is not None) is passed, why


def test_reflection_marks_where_a_route_came_from() -> None:
    """RFC 4456 section 8."""
    attrs, _ = told(path(CLIENT, clusters=(IPv4Address("9.9.9.9"),)), P, Family.IPV4, neighbour(I1), US)
    assert attrs is not None
    assert attrs.originator == IPv4Address(5)
    assert attrs.clusters == (IPv4Address("10.0.0.1"), IPv4Address("9.9.9.9"))
    assert str(attrs.next_hop) == "10.0.0.9"
    back = accept(attrs, P, Family.IPV4, neighbour(I2), US)
    assert back.attrs is None and "cluster" in back.why
    mine = accept(Attrs(originator=US.router_id, next_hop=ip_address("10.0.0.9")), P, Family.IPV4, neighbour(I2), US)
    assert mine.attrs is None and "originator" in mine.why


@pytest.mark.parametrize(
    ("community", "to", "passed"),
    [("no-export", E2, False), ("no-export", I1, True), ("no-advertise", I1, False), ("65000:1", E2, True)],
)
def test_well_known_communities(community: str, to: Source, passed: bool) -> None:
    attrs, _ = told(path(A, communities=(parse_community(community),)), P, Family.IPV4, neighbour(to), US)
    assert (attrs is not None) is passed


def test_loops_are_refused() -> None:
    loop = Attrs(as_path=(Segment(AS_SEQUENCE, (65002, 65001)),), next_hop=ip_address("10.0.0.9"))
    assert accept(loop, P, Family.IPV4, neighbour(A), US).attrs is None
    assert accept(loop, P, Family.IPV4, neighbour(A, allow_own_as=1), US).attrs is loop
    wrong = Attrs(as_path=(Segment(AS_SEQUENCE, (65009,)),), next_hop=ip_address("10.0.0.9"))
    assert "does not begin" in accept(wrong, P, Family.IPV4, neighbour(A), US).why


def test_an_external_peer_without_a_policy_gets_nothing() -> None:
    """RFC 8212."""
    n = neighbour(E2, import_policy=default_policy(True), export_policy=default_policy(True))
    attrs, why = told(path(A), P, Family.IPV4, n, US)
    assert attrs is None and "8212" in why
    assert default_policy(False) is ALL


# -- configuration and policies

CONFIG = """
router: {as: 65001, id: 10.0.0.1}
prefix_lists:
  pods: [{prefix: 10.0.0.0/8, ge: 24, le: 26}, {prefix: "2001:db8::/32", le: 48}]
policies:
  p:
    rules:
      - {name: bogons, match: {prefixes: [{prefix: 10.66.0.0/16, le: 32}]}, then: reject}
      - name: customers
        match: {as_path: "^65002_", any_community: ["65002:1", "65002:2"]}
        set: {local_pref: 300, add_communities: "65001:1", remove_communities: "65002:1"}
        then: next
      - {name: far, match: {as_path_contains: 666}, set: {prepend: 2, med: 7, next_hop: self}}
      - {name: pods, match: {prefix_list: pods}}
peers:
  - {address: 10.0.0.2, as: 65002, import: p, export: all}
"""


@pytest.mark.parametrize(
    ("prefix", "changes", "accepted", "rule"),
    [
        ("10.66.1.0/24", {}, False, "bogons"),
        ("10.1.1.0/24", {}, True, "pods"),
        ("10.1.0.0/16", {}, False, "no rule"),
        ("10.1.1.0/27", {}, False, "no rule"),
        ("2001:db8:1::/48", {}, True, "pods"),
        ("192.0.2.0/24", {"as_path": (Segment(AS_SEQUENCE, (65002, 666)),)}, True, "far"),
    ],
)
def test_policies(prefix: str, changes: dict[str, Any], accepted: bool, rule: str) -> None:
    policy: Policy = loads(CONFIG).peers[0].import_policy
    network = ip_network(prefix)
    attrs = Attrs().with_(**changes)
    verdict = policy.judge(attrs, nlri.nlri(network), Family.of(network.version), source="ebgp", asn=65001)
    assert (verdict.attrs is not None) is accepted
    assert rule in verdict.why


def test_a_policy_changes_routes() -> None:
    policy = loads(CONFIG).peers[0].import_policy
    attrs = Attrs().with_(as_path=(Segment(AS_SEQUENCE, (65002, 666)),), communities=(65002 << 16 | 1, 65002 << 16 | 9))
    verdict = policy.judge(attrs, P, Family.IPV4, source="ebgp", asn=65001)
    assert verdict.attrs is not None
    assert verdict.attrs.as_json() == {
        "origin": "igp", "as_path": "65001 65001 65002 666", "med": 7, "local_pref": 300,
        "communities": ["65001:1", "65002:9"],
    }  # fmt: skip
    assert verdict.next_hop == "self"


def test_every_mistake_is_told_with_its_line() -> None:
    wrong = """\
router: {as: 65001, id: 10.0.0}
peers:
  - {address: 10.0.0.300, as: 0}
  - {address: 10.0.0.2, as: 65002, holdtime: 3}
policies:
  p: {rules: [{match: {as_path: "("}}]}
"""
    with pytest.raises(InputError) as caught:
        loads(wrong, "f")
    text = str(caught.value)
    for part in (
        "f:1: router.id",
        "f:3: peers.0.address",
        "f:3: peers.0.as",
        "unknown key 'holdtime'",
        "f:6: policies.p",
    ):
        assert part in text, (part, text)
    assert "did you mean 'hold_time'?" in text


def test_names_that_lead_nowhere() -> None:
    with pytest.raises(InputError) as caught:
        loads(CONFIG.replace("import: p", "import: q").replace("prefix_list: pods", "prefix_list: pod"), "f")
    text = str(caught.value)
    assert "there is no policy 'q'" in text
    assert "there is no prefix list 'pod'" in text and "did you mean 'pods'?" in text


def test_a_reload_sees_what_is_the_same() -> None:
    assert loads(CONFIG) == loads(CONFIG)
    assert loads(CONFIG) != loads(CONFIG.replace("local_pref: 300", "local_pref: 301"))


# -- the kernel


def test_routes_for_the_kernel() -> None:
    x, y = path(A, hop="10.0.0.7"), path(B, 1.0, hop="10.1.0.8")
    r = Rules({x.hop: Hop("eth0"), y.hop: Hop("eth1", ip_address("10.0.1.1"))}, multipath=2)  # type: ignore[dict-item]
    table = Table(Family.IPV4, r)
    table.announce(x, [P, Q])
    fib = Fib(KernelConfig(protocol="bird", metric=7), "o", HostState())
    places = [(Family.IPV4, P), (Family.IPV4, Q)]

    def delta() -> tuple[list[str], list[Route]]:
        was, wanted = fib.delta(places, lambda place: table.entries.get(place[1]), r.hops)
        return [str(i) for i in was], wanted.all(Route)

    was, wanted = delta()
    assert was == []
    assert [(str(w.dst), w.dev, str(w.via), w.protocol, w.metric, w.why) for w in wanted] == [
        ("192.0.2.0/24", "eth0", "10.0.0.7", "bird", 7, "BGP from a"),
        ("198.51.100.0/24", "eth0", "10.0.0.7", "bird", 7, "BGP from a"),
    ]
    assert delta() == ([], [])
    table.announce(y, [P])
    was, wanted = delta()
    assert was == ["route 192.0.2.0/24"]
    assert [(n.dev, str(n.via)) for n in wanted[0].nexthops] == [("eth0", "10.0.0.7"), ("eth1", "10.0.1.1")]
    table.withdraw(A, [P, Q])
    was, wanted = delta()
    assert was == ["route 192.0.2.0/24", "route 198.51.100.0/24"]
    assert [(w.dev, str(w.via)) for w in wanted] == [("eth1", "10.0.1.1")]
    fib.blackholes[Family.IPV4, Q] = "network of ours"
    assert [w.type for w in delta()[1]] == ["blackhole"]


def test_what_an_earlier_run_left_stays_until_the_restart_is_over() -> None:
    old = Route(
        dst=ip_network("192.0.2.0/24"), dev="eth0", via=ip_address("10.0.0.7"), metric=32, protocol="bgp", why="before"
    )
    foreign = Route(dst=ip_network("203.0.113.0/24"), dev="eth0", via=ip_address("10.0.0.7"), metric=9, protocol="bgp")
    fib = Fib(KernelConfig(), "o", HostState.of([old, foreign]))
    assert fib.foreign == [foreign]
    fib.adopting = True
    assert fib.delta([(Family.IPV4, P)], lambda _: None, {}) == (HostState(), HostState())
    x = path(A, hop="10.0.0.7")
    table = Table(Family.IPV4, rules(x))
    table.announce(x, [P])
    assert fib.delta([(Family.IPV4, P)], lambda p: table.entries.get(p[1]), table.rules.hops) == (
        HostState(),
        HostState(),
    )
    fib.adopting = False
    was, _ = fib.delta([(Family.IPV4, P)], lambda _: None, {})
    assert [i.why for i in was] == ["before"]
