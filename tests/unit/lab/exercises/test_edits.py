"""What an exercise breaks: each edit, and that it refuses what it cannot find."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from netlab.lab.exercises import edits, spec
from netlab.lab.exercises.book import Book
from netlab.lab.labfile import Lab
from netlab.model import (
    Address,
    Bridge,
    Chain,
    HostState,
    IptablesRule,
    IpvsDestination,
    IpvsService,
    Item,
    Link,
    Loopback,
    Neighbour,
    Route,
    Sysctl,
    Veth,
)

LABS = Path(__file__).parents[4] / "labs"
WRITTEN = sorted(path.parent for path in LABS.glob("*/exercise.yaml"))

HOST = HostState.of(
    [
        Link(name="lo", kind=Loopback()),
        Link(name="br0", kind=Bridge()),
        Link(name="v1", kind=Veth("eth0", "t.c"), master="br0"),
        Address(dev="br0", address=ip_interface("10.1.0.1/24")),
        Address(dev="br0", address=ip_interface("fd00::1/64")),
        Route(dst=ip_network("10.9.0.0/16"), via=ip_address("10.1.0.9"), dev="br0"),
        Neighbour(dev="br0", address=ip_address("10.1.0.9"), mac="02:00:00:00:00:09"),
        Chain(family=4, table="nat", name="POSTROUTING", rules=(IptablesRule.of("-o eth0 -j MASQUERADE"),)),
        Chain(family=6, table="nat", name="POSTROUTING", rules=(IptablesRule.of("-o eth0 -j MASQUERADE"),)),
    ]
).stamped("lab/t")
CONTAINER = HostState.of(
    [
        Link(name="lo", kind=Loopback()),
        Link(name="eth0", kind=Veth("v1", "t.h")),
        Address(dev="eth0", address=ip_interface("10.1.0.2/24")),
        Route(dst=ip_network("0.0.0.0/0"), via=ip_address("10.1.0.1"), dev="eth0"),
    ]
).stamped("lab/t")
STATES = {"t.h": HOST, "t.c": CONTAINER}


def after(**said: Any) -> dict[str, HostState]:
    """The lab after one break, written as in exercise.yaml."""
    each = spec.Break.model_validate(said)
    return edits.whole_pairs(edits.edit(STATES, each.kind, each.edit, lambda place: f"t.{place}", why="here"))


def changed(**said: Any) -> tuple[list[Item], list[Item]]:
    """What a break takes out of the lab, and what it puts in."""
    new = after(**said)
    old = {(ns, item) for ns, state in STATES.items() for item in state}
    now = {(ns, item) for ns, state in new.items() for item in state}
    assert all((item.owner, item.why) == ("lab/t", "here") for _, item in now - old)

    def bare(found: set[tuple[str, Item]]) -> list[Item]:
        return [item for _, item in sorted(found, key=lambda pair: (pair[0], pair[1].order))]

    return bare(old - now), bare(now - old)


def test_a_device_that_is_down_loses_what_needs_it_up() -> None:
    gone, new = changed(link_down={"on": "h", "dev": "br0"})
    assert [str(item) for item in gone] == [
        "link br0", "address fd00::1/64 dev br0", "neighbour 10.1.0.9 dev br0", "route 10.9.0.0/16",
    ]  # fmt: skip
    assert new == [Link(name="br0", kind=Bridge(), up=False)]


def test_unplug_and_mtu() -> None:
    assert changed(unplug={"on": "h", "dev": "v1"})[1] == [Link(name="v1", kind=Veth("eth0", "t.c"))]
    assert changed(mtu={"on": "c", "dev": "eth0", "mtu": 1400})[1] == [
        Link(name="eth0", kind=Veth("v1", "t.h"), mtu=1400)
    ]


def test_plug_makes_a_whole_cable_whose_far_end_is_mute() -> None:
    gone, new = changed(plug={"on": "h", "dev": "port3", "bridge": "br0", "far": "c:ear"})
    assert gone == []
    assert new == [
        Link(name="ear", kind=Veth("port3", "t.h")),
        Sysctl(name="net/ipv6/conf/ear/disable_ipv6", value="1"),
        Link(name="port3", kind=Veth("ear", "t.c"), master="br0"),
    ]


def test_gateway_route_neighbour_and_address() -> None:
    default = ip_network("0.0.0.0/0")
    assert changed(gateway={"on": "c", "via": "10.1.0.77"})[1] == [
        Route(dst=default, via=ip_address("10.1.0.77"), dev="eth0")
    ]
    assert [str(item) for item in changed(drop_route={"on": "c", "to": "0.0.0.0/0"})[0]] == ["route default"]
    nailed = Neighbour(dev="eth0", address=ip_address("10.1.0.1"), mac="02:00:00:00:00:66")
    assert changed(neighbour={"on": "c", "dev": "eth0", "address": "10.1.0.1", "mac": nailed.mac})[1] == [nailed]
    gone, new = changed(address={"on": "c", "dev": "eth0", "from": "10.1.0.2/24", "to": "10.1.0.1/24"})
    assert [str(item) for item in gone + new] == ["address 10.1.0.2/24 dev eth0", "address 10.1.0.1/24 dev eth0"]
    assert str(getattr(new[0], "broadcast", None)) == "10.1.0.255"


def test_settings_and_firewall() -> None:
    assert changed(sysctl={"on": "h", "name": "net.ipv4.ip_forward", "value": 0})[1] == [
        Sysctl(name="net/ipv4/ip_forward", value="0")
    ]
    both = changed(drop_rule={"on": "h", "table": "nat", "chain": "POSTROUTING", "contains": "MASQ"})[1]
    assert [(c.family, c.rules) for c in both if isinstance(c, Chain)] == [(4, ()), (6, ())]
    one = changed(drop_rule={"on": "h", "table": "nat", "chain": "POSTROUTING", "contains": "MASQ", "family": 6})[1]
    assert [c.family for c in one if isinstance(c, Chain)] == [6]
    [first] = changed(add_rule={"on": "h", "table": "nat", "chain": "POSTROUTING", "rule": "-j ACCEPT"})[1]
    assert isinstance(first, Chain)
    assert [str(rule) for rule in first.rules] == ["-j ACCEPT", "-o eth0 -j MASQUERADE"]
    [drop] = changed(policy={"on": "c", "chain": "INPUT", "policy": "DROP"})[1]
    assert drop == Chain(family=4, table="filter", name="INPUT", policy="DROP")


def test_a_real_server_is_lighter_or_gone() -> None:
    servers = tuple(IpvsDestination(ip_address(f"10.1.0.{n}"), 9376) for n in (2, 3))
    service = IpvsService(protocol="tcp", address=ip_address("10.0.1.175"), port=80, destinations=servers)
    state = HostState.of([service])

    def weights(**more: Any) -> list[int]:
        said = {"on": "h", "service": "tcp 10.0.1.175:80", "server": "10.1.0.2:9376", **more}
        (changed,) = edits.real_server(state, spec.RealServer.model_validate(said)).all(IpvsService)
        return [d.weight for d in changed.destinations]

    assert weights(weight=0) == [0, 1]
    assert weights() == [1]
    with pytest.raises(edits.NoMatch, match="no virtual server udp"):
        weights(service="udp 10.0.1.175:80")
    with pytest.raises(edits.NoMatch, match=r"has no 10\.1\.0\.9:1"):
        weights(server="10.1.0.9:1")


def test_removed_devices_take_the_other_end_of_their_cables_along() -> None:
    new = after(remove={"on": "h", "devices": "all", "firewall": True})
    assert [str(item) for item in new["t.h"]] == ["link lo"]
    assert [str(item) for item in new["t.c"]] == ["link lo"]


@pytest.mark.parametrize(
    ("said", "problem", "hint"),
    [
        ({"link_down": {"on": "h", "dev": "br1"}}, "h has no device br1", "there are: br0, lo, v1"),
        ({"link_down": {"on": "h", "dev": "v1"}, "again": True}, "is like that already", None),
        ({"unplug": {"on": "c", "dev": "eth0"}}, "no port of a bridge", None),
        ({"plug": {"on": "h", "dev": "v1", "bridge": "br0", "far": "c:x"}}, "has a device v1 already", None),
        ({"plug": {"on": "h", "dev": "x", "bridge": "br1", "far": "c:x"}}, "has no bridge br1", None),
        ({"gateway": {"on": "c", "via": "fd00::9"}}, "no IPv6 default route", None),
        ({"gateway": {"on": "c", "via": "10.1.0.1"}}, "is like that already", None),
        ({"drop_route": {"on": "c", "to": "10.9.0.0/16"}}, "no route to 10.9.0.0/16", "there are: 0.0.0.0/0"),
        ({"address": {"on": "c", "dev": "eth0", "from": "10.1.0.3/24"}}, "has no address", "there are: 10.1.0.2/24"),
        (
            {"drop_rule": {"on": "h", "table": "nat", "chain": "POSTROUTING", "contains": "SNAT"}},
            "no rule with 'SNAT'",
            "there are: -o eth0 -j MASQUERADE; -o eth0 -j MASQUERADE",
        ),
        ({"remove": {"on": "c", "devices": ["eth1"]}}, "c has no device eth1", "there are: eth0"),
    ],
)
def test_what_matches_nothing_is_refused(said: dict[str, Any], problem: str, hint: str | None) -> None:
    again = said.pop("again", False)
    each = spec.Break.model_validate(said)
    states = after(**said) if again else STATES
    with pytest.raises(edits.NoMatch, match=problem) as caught:
        edits.edit(states, each.kind, each.edit, lambda place: f"t.{place}", why="here")
    assert caught.value.hint == hint


@pytest.mark.parametrize("folder", WRITTEN, ids=lambda folder: folder.name)
def test_every_exercise_that_is_written_changes_its_lab(folder: Path) -> None:
    book = Book.of(Lab(folder / "lab.yaml"))
    for exercise in book.exercises:
        changed = book.configs(exercise) != book.configs(None)
        # on a cluster, what is broken are objects and nodes
        changed |= bool(book.edits(exercise)) if book.lab.on_cluster else book.states(exercise) != book.lab.states
        assert changed == exercise.changes
        assert exercise.hints, f"{exercise.id} has no hints"
