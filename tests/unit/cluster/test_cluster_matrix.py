"""The matrix as a value, and what is told of a cell that does not hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import dns.message
import dns.rrset
import pytest

from netlab.base.addresses import Address
from netlab.cli.cluster import KINDS
from netlab.cluster import matrix, probing
from netlab.cluster.matrix import Ask, Connect, Echo, Get, Place, Ports, Probe, World
from netlab.lab.machine import Answer


def place(name: str, node: str, *addresses: str) -> Place:
    return Place(name, f"ns-{name}", tuple(map(ip_address, addresses)), node)


def ports(number: int, *addresses: str) -> Ports:
    return Ports(tuple(map(ip_address, addresses)), number)


WORLD = World(
    outside=place("outside", "", "10.168.0.1", "fd00:10:168::1"),
    nodes=(place("cp", "cp", "10.168.0.2", "fd00:10:168::2"), place("node1", "node1", "10.168.0.3", "fd00:10:168::3")),
    pods=(
        place("web-cp", "cp", "10.244.0.2", "fd00:10:244::2"),
        place("web-node1", "node1", "10.244.1.2", "fd00:10:244:1::2"),
        place("again", "node1", "10.244.1.3", "fd00:10:244:1::3"),
    ),
    services={
        "web": ports(30001, "10.96.0.20", "fd00:10:96::20"), "local": ports(30002, "10.96.0.21", "fd00:10:96::21"),
        "hairpin": ports(30003, "10.96.0.22", "fd00:10:96::22"), "headless": ports(0),
    },
    api=ip_address("10.96.0.1"), dns=ip_address("10.96.0.10"), mtu=1450,
)  # fmt: skip


def test_every_pair_of_both_families_is_asked() -> None:
    probes = matrix.probes(WORLD)
    assert {probe.kind for probe in probes} == set(matrix.KINDS)
    for family in (4, 6):
        pairs = Counter((p.source.name, p.to) for p in probes if (p.kind, p.family) == ("pod-pod", family))
        names = [pod.name for pod in WORLD.pods]
        # an echo and a connection each
        assert pairs == {(a, b): 2 for a in names for b in names if a != b}
    addresses = {
        p.what.to if not isinstance(p.what, Ask) else ip_address("10.96.0.10") for p in probes if p.family == 6
    }
    assert {a.version for a in addresses if a != WORLD.dns} == {6}
    assert all(p.source.netns.startswith("ns-") for p in probes)


def test_the_verb_offers_what_the_matrix_has() -> None:
    assert KINDS == matrix.KINDS


def test_a_cluster_of_one_family_is_asked_for_that_alone() -> None:
    nodes = tuple(node._replace(addresses=node.addresses[:1]) for node in WORLD.nodes)
    assert {probe.family for probe in matrix.probes(replace(WORLD, nodes=nodes))} == {4}


def test_packets_are_as_long_as_the_network_lets_them() -> None:
    found = [(p.family, p.what) for p in matrix.probes(WORLD) if p.kind == "MTU"]
    sizes = {(family, what.size, what.fits) for family, what in found if isinstance(what, Echo)}
    assert sizes == {(4, 1422, True), (4, 1423, False), (6, 1402, True), (6, 1403, False)}


def test_objects_have_a_pod_on_every_node_and_both_families() -> None:
    made = matrix.objects(["cp", "node1"])
    assert made[0] == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": matrix.NAMESPACE}}
    pods = {o["metadata"]["name"]: o["spec"]["nodeName"] for o in made if o["kind"] == "Pod"}
    assert pods == {"web-cp": "cp", "web-node1": "node1", "again": "node1"}
    assert {o["spec"]["ipFamilyPolicy"] for o in made if o["kind"] == "Service"} == {"PreferDualStack"}


class Sender:
    """Answers as it was told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def _next(self) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def icmp(self, *_at: Any, **_how: Any) -> Any:
        return self._next()

    async def tcp(self, *_at: Any, **_how: Any) -> Any:
        return self._next()

    async def http(self, *_at: Any, **_how: Any) -> Any:
        return self._next()

    async def exchange(self, _netns: str, _to: Address, _port: int, data: bytes, *, timeout: float) -> bytes | None:
        assert timeout > 0
        answers = self._next()
        if answers is None:
            return None
        reply = dns.message.make_response(dns.message.from_wire(data))
        if answers:
            reply.answer = [dns.rrset.from_text(reply.question[0].name, 5, "IN", "A", *answers)]
        return reply.to_wire()


def said(*lines: str) -> Answer:
    return Answer("answered", "200", 0.0, "\n".join(lines) + "\n")


POD, VIP = ip_address("10.244.1.2"), ip_address("10.96.0.20")
BOTH = Get(VIP, 80, frozenset({"a", "b"}), client=ip_address("10.244.0.2"), own="a")
LONG = Get(VIP, 80, frozenset(), long=True)
NAME = Ask(ip_address("10.96.0.10"), "web.x.svc.cluster.local", "A", frozenset({"10.96.0.20"}))
SILENT, TOO_LONG = Answer("silent", "no answer within 3 s"), Answer("failed", "Message too long")


@pytest.mark.parametrize(
    ("what", "answers", "failure"),
    [
        (Echo(POD), [Answer("answered", "ttl 62")], ""),
        (Echo(POD), [SILENT], "10.244.1.2: silent (no answer within 3 s)"),
        (Echo(POD, 1423, whole=True, fits=False), [TOO_LONG], ""),
        (Echo(POD, 1423, whole=True, fits=False), [Answer("answered", "ttl 62")], "it was not refused, but answered (ttl 62)"),
        (Connect(VIP, 443), [Answer("refused", "connection refused")], "10.96.0.20 port 443: refused (connection refused)"),
        (BOTH, [said("b", "10.244.0.2"), said("b", "[::ffff:10.244.0.2]"), said("a", "10.244.0.1")], ""),
        (BOTH, [said("b", "10.168.0.3")], "b saw 10.168.0.3 as the one who asks, not 10.244.0.2"),
        (BOTH, [said("b", "10.244.0.2")], "10.96.0.20 port 80: a did not answer one of 100 requests"),
        (BOTH, [said("else", "10.244.0.2")], "10.96.0.20 port 80: 'else 10.244.0.2' answered"),
        (BOTH, [said("b", "10.244.0.2"), SILENT], "10.96.0.20 port 80: silent (no answer within 3 s)"),
        (LONG, [Answer("answered", "200", 0.0, "x" * matrix.LONG)], ""),
        (LONG, [Answer("answered", "200", 0.0, "x" * 1400)], "1400 of 200000 octets came of 10.96.0.20 port 80"),
        (NAME, [["10.96.0.20"]], ""),
        (NAME, [["10.96.0.99"]], "10.96.0.99, not 10.96.0.20"),
        (NAME, [[]], "NOERROR, not 10.96.0.20"),
        (NAME, [None], "10.96.0.10 does not answer"),
    ],
)  # fmt: skip
def test_what_was_seen_instead_is_told(what: Any, answers: list[Any], failure: str) -> None:
    probe = Probe("pod-pod", 4, WORLD.pods[0], "somebody", what)
    (seen,) = asyncio.run(probing.seen([probe], Sender(*answers), limit=0, progress=lambda _what, _count: None))  # type: ignore[arg-type]
    assert (seen.probe, seen.failure) == (probe, failure)


def test_what_does_not_hold_yet_is_asked_again() -> None:
    probe = Probe("pod-pod", 4, WORLD.pods[0], "somebody", Echo(POD))
    sender = Sender(SILENT, SILENT, Answer("answered"))
    left: list[int] = []
    (seen,) = asyncio.run(
        probing.seen([probe], sender, limit=60, progress=lambda _what, count: left.append(count))  # type: ignore[arg-type]
    )
    assert seen.failure == "" and left == [0]
