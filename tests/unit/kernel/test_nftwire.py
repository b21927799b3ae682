"""nftables by netlink: what is understood, what is left to the tool, and in which order things are said."""

from __future__ import annotations

import pytest

from netlab.kernel import nft
from netlab.kernel.nft import parted
from netlab.kernel.nftwire import encoded
from netlab.model.diff import Change, Create, Delete
from netlab.model.nft import NftChain, NftElement, NftRule, NftSet, NftTable

UNDERSTOOD = [
    "ip daddr 10.0.0.1 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade",
    "ip saddr 10.244.0.0/15 goto endpoint-a comment \"short-circuit pod traffic\"",
    "ip saddr @affinity-a goto endpoint-a",
    "fib saddr type local jump mark-for-masquerade",
    "numgen random mod 3 0 goto endpoint-a",
    "numgen random mod 2 vmap { 0 : goto endpoint-a, 1 : goto endpoint-b }",
    "goto endpoint-a",
    "drop",
    "update @affinity-a { ip saddr }",
    "meta l4proto tcp dnat to 10.244.1.2:80",
    "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 80, 1 : 10.244.1.3 . 80 }",
]  # fmt: skip
FOREIGN = [
    "masquerade fully-random",
    "reject",
    "ip saddr != { 10.0.0.0/8, 192.0.2.1 } drop",
    "ip daddr . meta l4proto . th dport vmap @service-ips",
    "ip saddr fd00::1 drop",
    "ip saddr 10.0.0.0/0 drop",
    "numgen random mod 2 vmap { 0 : goto a, b : goto c }",
    "meta mark set meta mark | 0x00004000",
    "ct state new jump firewall-check",
    "goto",
]


def chain(*texts: str, name: str = "c", **more: object) -> NftChain:
    rules = tuple(map(NftRule, texts))
    return NftChain(family="ip", table="t", name=name, rules=rules, **more)  # type: ignore[arg-type]


def services(*elements: tuple[str, str], name: str = "service-ips") -> NftSet:
    kinds = "ipv4_addr . inet_proto . inet_service"
    listed = tuple(NftElement(key, value) for key, value in elements)
    return NftSet(family="ip", table="t", name=name, type=kinds, value="verdict", elements=listed)


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_what_a_proxy_says_of_a_service_is_understood(text: str) -> None:
    found = encoded(Create(chain(text)))
    assert found is not None
    made, said, emptied, removed = found
    assert (len(made), len(said), emptied, removed) == (1, 1, [], [])


@pytest.mark.parametrize("text", FOREIGN)
def test_what_is_not_understood_is_the_tool_s(text: str) -> None:
    assert encoded(Create(chain("goto a", text))) is None
    tool, units = parted([Create(chain(text))])
    assert len(tool) == 1 and units == []


def test_ipv6_has_its_own_places_in_a_packet() -> None:
    rule = NftRule("ip6 saddr fd00::1 jump m"), NftRule("meta l4proto udp dnat to [fd00::1]:53")
    assert encoded(Create(NftChain(family="ip6", table="t", name="c", rules=rule))) is not None


def test_base_chains_tables_and_new_sets_are_the_tool_s_and_elements_come_when_their_chains_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nft, "MANY", 0)
    new = services(("10.0.0.1 . tcp . 80", "goto c"))
    base = NftChain(
        family="ip", table="t", name="nat", type="nat", hook="prerouting", rules=(NftRule("jump services"),)
    )
    ops = [
        Create(NftTable(family="ip", name="t")),
        Create(new),
        Create(base),
        Create(chain("goto d")),
        Create(chain(name="d")),
    ]
    tool, units = parted(ops)
    assert [getattr(op.item, "elements", ()) for op in tool] == [(), (), ()]
    assert [unit[0].op.item.key[-1] for unit in units] == ["c", "d", "c", "service-ips"]


def test_a_chain_that_goes_is_emptied_before_any_is_removed_and_after_nobody_leads_to_it() -> None:
    was, now = chain("goto old", name="svc"), chain("goto new", name="svc")
    ops = [Delete(chain("drop", name="old")), Change(was, now), Create(chain("drop", name="new"))]
    tool, units = parted(ops)
    told = [(message.op.item.key[-1], message.kind) for unit in units for message in unit]
    newchain, delchain, newrule, delrule = 3, 5, 6, 8
    assert not tool
    assert told == [
        ("new", newchain), ("svc", delrule), ("svc", newrule), ("new", newrule), ("old", delrule), ("old", delchain),
    ]  # fmt: skip


def test_elements_that_change_go_and_come_in_one_message_after_another() -> None:
    was = services(("10.0.0.1 . tcp . 80", "goto a"), ("10.0.0.2 . udp . 53", "goto b"))
    now = services(("10.0.0.1 . tcp . 80", "goto c"), ("10.0.0.2 . udp . 53", "goto b"))
    _, units = parted([Change(was, now)])
    assert [[message.kind for message in unit] for unit in units] == [[14, 12]]


def test_a_table_that_goes_takes_everything_along() -> None:
    ops = [Delete(NftTable(family="ip", name="t")), Delete(chain("drop"))]
    assert parted(ops) == (ops, [])


def test_what_the_tool_s_refers_to_is_made_with_it() -> None:
    ops = [Create(chain("drop", name="mine")), Create(chain("ct state new jump mine"))]
    assert parted(ops) == (ops, [])


def test_a_chain_that_only_has_another_reason_needs_nothing() -> None:
    made, said, emptied, removed = encoded(Change(chain("drop"), chain("drop"))) or ([0], [], [], [])
    assert (made, said, emptied, removed) == ([], [], [], [])
