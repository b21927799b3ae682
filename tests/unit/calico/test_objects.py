"""Reading objects: what they say, and every mistake at once."""

from __future__ import annotations

import pytest
from unit.calico.world import NODES, given, item, node, objects, pool

from netlab.base.errors import InputError
from netlab.calico import selectors


def test_defaults_are_those_of_calico() -> None:
    o = objects(pool("10.244.0.0/16"), pool("fd00:10:244::/48", "six"))
    assert [(p.block_size, p.ipip, p.nat_outgoing, p.selector) for p in o.pools] == [
        (26, "Never", False, "all()"),
        (122, "Never", False, "all()"),
    ]
    assert (o.bgp.asn, o.bgp.mesh, o.ipam.strict) == (64512, True, False)


def test_every_problem_is_told_with_object_and_field() -> None:
    with pytest.raises(InputError) as e:
        objects(
            pool("10.244.0.0/16", blockSize=33, ipipMode="Sometimes", natOutgoing="yes", colour="red"),
            pool("10.244.8.0/24", "inner"),
            item("BGPPeer", "half", peerIP="10.0.0.1"),
            item("BGPPeer", "lost", node="node9", peerIP="10.0.0.2", asNumber=65000),
            item("BGPConfiguration", "default", asNumber=0),
            item("Toaster", "x"),
            {"apiVersion": "v2", "kind": "IPPool", "metadata": {"name": "old"}},
            *NODES,
        )
    said = "\n".join(f"{p.place} {p.message}" for p in e.value.problems)
    for text in (
        "spec.blockSize: 33 is not a number from 20 to 32",
        "spec.ipipMode: 'Sometimes' is none of Never, Always, CrossSubnet",
        "spec.natOutgoing: 'yes' is not true or false",
        "spec.colour: unknown field",
        "IPPool inner: spec.cidr: 10.244.8.0/24 overlaps 10.244.0.0/16 of IPPool pool",
        "BGPPeer half: spec.asNumber: the AS of 10.0.0.1 is missing",
        "BGPPeer lost: spec.node: there is no node 'node9'",
        "BGPConfiguration default: spec.asNumber: 0 is not an AS number",
        "kind 'Toaster' is not known here",
        "apiVersion 'v2'",
    ):
        assert text in said, (text, said)
    assert "file:0:spec.blockSize" in said


def test_what_is_there_twice_is_told() -> None:
    with pytest.raises(InputError, match="it is there twice, also at file:0:"):
        objects(pool(), pool("10.9.0.0/16"))


def test_a_password_needs_its_secret() -> None:
    peer = item("BGPPeer", "tor", peerIP="10.0.0.1", asNumber=1, password={"secretKeyRef": {"name": "s", "key": "k"}})
    with pytest.raises(InputError, match="there is no key 'k' in Secret 's'"):
        objects(peer)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "Ym9yZGVy"}}
    assert objects(peer, secret).secrets == {("s", "k"): "border"}


def test_addresses_and_ports_of_peers() -> None:
    found = objects(
        item("BGPPeer", "a", peerIP="10.0.0.1:1790", asNumber="1.10"),
        item("BGPPeer", "b", peerIP="[fd00::1]:1790", asNumber=2),
        item("BGPPeer", "c", peerIP="fd00::1", asNumber=3),
    ).peers
    assert [(str(p.address), p.port, p.asn) for p in found] == [
        ("10.0.0.1", 1790, 65546),
        ("fd00::1", 1790, 2),
        ("fd00::1", 179, 3),
    ]


def test_a_node_of_the_wrong_family() -> None:
    with pytest.raises(InputError, match="is of the other family"):
        objects(node("n", "fd00::1/64"))


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ("all()", {}, True),
        ("", {}, True),
        ('rack == "a"', {"rack": "a"}, True),
        ("rack == 'a'", {"rack": "b"}, False),
        ("rack != 'a'", {}, True),
        ("has(rack)", {"rack": ""}, True),
        ("!has(rack) && zone == 'z'", {"zone": "z"}, True),
        ("has(rack) || (zone == 'z' && !(edge == 'yes'))", {"zone": "z"}, True),
        ("rack in {'a', \"b\"}", {"rack": "b"}, True),
        ("rack not in {'a'}", {}, True),
        ("kubernetes.io/hostname starts with 'node'", {"kubernetes.io/hostname": "node1"}, True),
        ("name ends with '1'", {"name": "node2"}, False),
    ],
)
def test_selectors(text: str, labels: dict[str, str], holds: bool) -> None:
    assert selectors.parse(text)(labels) is holds


@pytest.mark.parametrize(
    "text", ["rack", "rack ==", "rack == a", "(all()", "all() all()", "has(", "§", "rack in {}", "&&"]
)
def test_selectors_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="selector"):
        selectors.parse(text)


def test_a_given_without_a_place_has_one() -> None:
    assert given(pool())[0].place(("spec",)) == "file:0:spec"
