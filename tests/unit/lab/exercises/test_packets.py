"""Captures and answers, graded without a kernel."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from netlab.base.errors import InputError
from netlab.lab.capture.packet import Packet, Place
from netlab.lab.exercises import packets, questions
from netlab.lab.exercises.spec import Pcap

A, B, ALL = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "ff:ff:ff:ff:ff:ff"


def seen(micros: int, at: str, content: Any) -> Packet:
    data = bytes(content)
    return Packet(10**18 + micros * 1000, Place.parse(at), None, data, len(data))


def asks(micros: int, *places: str) -> list[Packet]:
    frame = Ether(src=A, dst=ALL) / ARP(op=1, hwsrc=A, psrc="10.0.0.1", pdst="10.0.0.2")
    return [seen(micros + i, place, frame) for i, place in enumerate(places)]


def pings(micros: int, *places: str, seq: int = 1) -> list[Packet]:
    frame = Ether(src=A, dst=B) / IP(src="10.0.0.1", dst="10.0.0.2", id=seq) / ICMP(id=1, seq=seq)
    return [seen(micros + i, place, frame) for i, place in enumerate(places)]


FLOOD = Pcap.model_validate({
    "findings": [
        {"title": "ask", "where": {"arp.op": 1}, "at": [{"at": "n:p1"}], "also_at": ["n:p3", "n:p2"]},
        {"title": "ping", "where": {"icmp.type": 8}, "at": [{"at": "n:p1"}, {"at": "n:p2", "where": {"ip.ttl": 64}}],
         "not_at": ["n:p3"]},
    ]
})  # fmt: skip


def test_found_in_order_and_nowhere_else() -> None:
    found = packets.grade(FLOOD, asks(0, "n:p1", "n:p2", "n:p3") + pings(100, "n:p1", "n:p2"))
    assert [(f.title, f.passed, f.detail) for f in found] == [
        ("ask", True, "n:p1 → n:p2 → n:p3"), ("ping", True, "n:p1 → n:p2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("captured", "details"),
    [
        ([], ["the file has no packet of n:p1, n:p2, n:p3; it has nothing"] * 2),
        (asks(0, "n:p1", "n:p2") + pings(9, "n:p1", "n:p2"), ["the file has no packet of n:p3; it has n:p1, n:p2"] * 2),
        # everywhere, though it should not be
        (
            asks(0, "n:p1", "n:p2", "n:p3") + pings(100, "n:p1", "n:p2", "n:p3"),
            ["n:p1", "n:p3: seen there, though it should not be"],
        ),
        # before, not behind
        (asks(100, "n:p1", "n:p2", "n:p3") + pings(0, "n:p1", "n:p2"), ["n:p1", "no packet with icmp.type=8 behind"]),
        # the request went to one port only, and the nearest ping is told about
        (
            asks(0, "n:p1", "n:p3") + pings(50, "n:p2", "n:p1", seq=1) + pings(90, "n:p1", "n:p3", seq=2),
            ["n:p2: not seen there", "wrong order"],
        ),
    ],
)
def test_what_is_missing_is_told(captured: list[Packet], details: list[str]) -> None:
    found = packets.grade(FLOOD, captured)
    assert not all(f.passed for f in found)
    for f, detail in zip(found, details, strict=True):
        assert detail in f.detail


@pytest.mark.parametrize(
    ("given", "truth", "right"),
    [
        (" 02-42-AC-11-00-03 ", "02:42:ac:11:00:03", True),
        ("fd00:0:0::2", "fd00::2", True),
        ("0x3f", "63", True),
        ("63.", "63", True),
        ("10.168.0.2.", "10.168.0.2", True),
        ("10.168.0.20", "10.168.0.2", False),
        ("*", "63", False),
        ("GET  /", "get /", True),
    ],
)
def test_answers_are_compared_by_what_they_mean(given: str, truth: str, right: bool) -> None:
    assert questions.right(given, truth) is right


def test_an_empty_answer_is_none() -> None:
    with pytest.raises(InputError, match="empty"):
        questions.right("  ", "63")
