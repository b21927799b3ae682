"""Several peers at once: reflection, shared load, next hops that go, attributes that nobody knows; hostile bytes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from bgp_world import MISSING, World

from netlab.bgp import session as s
from netlab.bgp.attributes import Attrs, Segment, Unknown
from netlab.bgp.codes import AS_SEQUENCE
from netlab.bgp.nlri import Family
from netlab.bgp.session import Session, Terms
from netlab.kernel import netns

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

PREFIX = "198.51.100.0/24"
KEY = bytes.fromhex("18c63364")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, nodes=3) as w:
        yield w


def peer(i: int, asn: int, **more: Any) -> dict[str, Any]:
    usual = {"name": f"n{i}", "address": f"10.0.0.{i}", "as": asn, "import": "all", "export": "all", "connect_retry": 1}
    return {**usual, **more}


class ByHand:
    """A peer whose bytes the test writes itself, in node i."""

    def __init__(self, world: World, i: int, asn: int) -> None:
        terms = Terms(asn=asn, router_id=IPv4Address(f"10.0.0.{i}"), peer_as=65001)
        self.session = Session(terms, retries=False)
        with netns.entered(world.ns(i)):
            self.sock = socket.create_connection(("10.0.0.1", 179), timeout=10)
        self.sock.settimeout(10)
        self.session.start(0)
        self.do(self.session.connected(0))
        while self.session.state is not s.State.ESTABLISHED:
            self.read()

    def do(self, outcomes: list[s.Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, s.Send):
                self.sock.sendall(outcome.data)

    def read(self) -> list[s.Outcome]:
        out = self.session.receive(self.sock.recv(1 << 16), 0)
        self.do(out)
        return out

    def announce(self, attrs: Attrs, *keys: bytes) -> None:
        for data in self.session.codec.announcements(Family.IPV4, attrs, keys):
            self.sock.sendall(data)

    def until_down(self) -> s.Down:
        while True:
            for outcome in self.read():
                if isinstance(outcome, s.Down):
                    return outcome


@pytest.mark.skipif(MISSING["bird"] is not None, reason=str(MISSING["bird"]))
def test_unknown_attributes_are_passed_on(world: World) -> None:
    world.bird(
        "protocol bgp x { local 10.0.0.3 as 65003; neighbor 10.0.0.1 as 65001; connect delay time 1;\n"
        "ipv4 { import all; export none; }; }\n",
        i=3,
    )
    world.bgpd({"peers": [peer(2, 65002, passive=True), peer(3, 65003)]})
    hand = ByHand(world, 2, 65002)
    path = (Segment(AS_SEQUENCE, (65002,)),)
    unknown = (Unknown(0xC0, 99, b"\x01\x02"), Unknown(0xE0, 200, b"\x03" * 300))
    hand.announce(Attrs(as_path=path, next_hop=IPv4Address("10.0.0.2"), unknown=unknown), KEY)
    world.until(lambda: "as_path" in world.birdc("show", "route", PREFIX, "all"), "BIRD to hold it")
    held = world.birdc("show", "route", PREFIX, "all")
    assert "BGP.63 [t]: 01 02" in held.replace("0x", "").replace("BGP.99", "BGP.63"), held
    hand.sock.close()


def test_hostile_bytes_have_the_right_answer_and_the_others_go_on(world: World) -> None:
    world.bgpd({"peers": [peer(2, 65002, passive=True), peer(3, 65003, passive=True)]})
    good = ByHand(world, 3, 65003)
    attrs = Attrs(as_path=(Segment(AS_SEQUENCE, (65003,)),), next_hop=IPv4Address("10.0.0.3"))
    good.announce(attrs, KEY)
    for data, code, subcode in (
        (b"\x00" * 19, 1, 1),
        (b"\xff" * 16 + b"\x00\x12\x04", 1, 2),
        (b"\xff" * 16 + b"\x00\x13\x2a", 1, 3),
        (b"\xff" * 16 + b"\x00\x17\x02\x00\xff\x00\x00", 3, 1),
        (b"\xff" * 16 + b"\x00\x1d\x01\x04" + b"\0" * 9, 2, 6),
    ):
        hand = ByHand(world, 2, 65002)
        hand.sock.sendall(data)
        received = hand.until_down().received
        assert received is not None
        assert (received.code, received.subcode) == (code, subcode) or received.code in (2, 5)
        hand.sock.close()
    hand = ByHand(world, 2, 65002)
    broken = bytes.fromhex("0000" + "000e" + "40010109" + "4002004003040a000002" + "18cb0071")
    hand.sock.sendall(b"\xff" * 16 + (19 + len(broken)).to_bytes(2, "big") + b"\2" + broken)
    world.until(lambda: world.ask("neighbors", peer="n2")[0]["faults"], "the fault to be seen")
    assert world.state("n2") == "Established"
    assert set(world.rib()) == {PREFIX}
    assert world.ask("neighbors", peer="n3")[0]["established"] == 1
    hand.sock.close()
    good.sock.close()


def test_a_reflector_passes_between_its_clients(world: World) -> None:
    world.bgpd({"peers": [peer(i, 65001, route_reflector_client=True) for i in (2, 3)]})
    for i, network in ((2, "10.2.0.0/16"), (3, "10.3.0.0/16")):
        c = {"router": {"id": f"10.0.0.{i}"}, "networks": [network], "peers": [peer(1, 65001)]}
        world.bgpd(c, i, f"node{i}")
    got = world.learnt("10.3.0.0/16", "node2")
    assert (got["originator_id"], got["cluster_list"], got["next_hop"]) == ("10.0.0.3", ["10.0.0.1"], "10.0.0.3")
    world.until(lambda: "via 10.0.0.3" in world.kernel(2).get("10.3.0.0/16", ""), "the kernel to hold it")
    told = world.ask("explain", "node2", prefix="10.3.1.2")
    assert told["prefix"] == "10.3.0.0/16" and told["winner"] == "n1"


@pytest.mark.parametrize("family", [4, 6])
def test_two_next_hops_share_the_load_until_one_goes(world: World, family: int) -> None:
    addresses = {i: f"10.0.0.{i}" if family == 4 else f"fd00::{i}" for i in (1, 2, 3)}
    prefix = PREFIX if family == 4 else "2001:db8:b::/48"
    ours = {
        "router": {"multipath": 4, "multipath_relax": True},
        "peers": [peer(i, 65000 + i, address=addresses[i], graceful_restart=False) for i in (2, 3)],
    }
    world.bgpd(ours)
    for i in (2, 3):
        router = {"as": 65000 + i, "id": f"10.0.0.{i}", "graceful_restart": {"enabled": False}}
        c = {"router": router, "networks": [prefix], "peers": [peer(1, 65001, address=addresses[1])]}
        world.bgpd(c, i, f"node{i}")
    world.until(lambda: world.kernel(1, family).get(prefix, "").count("nexthop") == 2, "both next hops")
    world.end("node3", 9)
    world.until(lambda: f"via {addresses[2]}" in world.kernel(1, family).get(prefix, ""), "one to be left")
    assert "nexthop" not in world.kernel(1, family)[prefix]


@pytest.mark.parametrize("family", [4, 6])
def test_a_link_that_goes_takes_its_routes_and_brings_them_back(world: World, family: int) -> None:
    address, us = ("10.0.0.2", "10.0.0.1") if family == 4 else ("fd00::2", "fd00::1")
    prefix = PREFIX if family == 4 else "2001:db8:b::/48"
    world.bgpd({"peers": [peer(2, 65002, address=address)]})
    router = {"as": 65002, "id": "10.0.0.2"}
    world.bgpd({"router": router, "networks": [prefix], "peers": [peer(1, 65001, address=us)]}, 2, "node2")
    world.until(lambda: prefix in world.kernel(1, family), "the kernel to hold it")
    world.run(1, "ip", "link", "set", "eth0", "down")
    world.until(lambda: not world.rib()[prefix][0]["usable"], "the next hop to be known as gone")
    assert world.ask("routes") == []
    world.run(1, "ip", "link", "set", "eth0", "up")
    if family == 6:
        world.run(1, "ip", "addr", "add", "fd00::1/64", "dev", "eth0", "nodad")
    world.until(lambda: prefix in world.kernel(1, family), "the kernel to hold it again")
