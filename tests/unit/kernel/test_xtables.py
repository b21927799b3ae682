"""Legacy tables as bytes: what is understood, what is left to the tool, what is carried over."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.kernel.xtables import Rule, Table, laid_out, parsed
from netlab.kernel.xtmodules import NotUnderstoodError
from netlab.kernel.xtrules import Encoder
from netlab.model import Chain, IptablesRule
from netlab.model.diff import Change, Create, Delete

#: as the kernel lays a nat table out that nobody has touched: four chains that accept
HOOKS = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4
FOREIGN = [
    '-m comment --comment "it says \\"so\\"" -j ACCEPT',
    '-m comment --comment "a -m tcp" -m mac --mac-source 00:00:00:00:00:01 -j ACCEPT',
    "-p tcp -m tcp --tcp-flags SYN SYN -j ACCEPT",
    "-p all -j ACCEPT",
    "-s fd00::1/128 -j ACCEPT",
    "-s 10.0.0.1/8 -j ACCEPT",
    "-s 10.0.0.1/32 -f -j ACCEPT",
    "-m set --match-set a dst -j ACCEPT",
    "-m mark --mark 0x1/0x1 --mark 0x2 -j ACCEPT",
    "-m conntrack --ctstate NEVER -j ACCEPT",
    "-m addrtype --dst-type BROADCAST -j ACCEPT",
    "-m statistic --mode nth --every 3 -j ACCEPT",
    "-m recent --update --name a --mask 255.255.255.255 --rsource -j ACCEPT",
    "-m comment --comment " + 256 * "x" + " -j ACCEPT",
    "-i devicenamethatistoolong -j ACCEPT",
    "-j nowhere",
    "-j DNAT --to-destination 10.0.0.1-10.0.0.9",
    "-j DNAT --to-destination 10.0.0.1:80 --random",
    "-j MARK --set-mark 1",
    "-j REJECT --reject-with tcp-reset",
    "-j LOG --log-prefix x",
    "-g c",
    "-j DROP",
    "-s",
    "!",
    "-j",
    "ACCEPT",
]


def empty() -> Table:
    """A nat table as new."""
    encoder = Encoder(4, "nat", {})
    accept = encoder.ending[:-8] + struct.pack("=i4x", -2)
    names = ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")
    return Table(HOOKS, {name: [Rule(accept, None, at)] for at, name in enumerate(names)}, 5)


def reread(blob: bytes | bytearray) -> Table:
    """What the kernel would say of it."""
    name, hooks, entries, size, *places, _, _ = struct.unpack_from("@32sIII5I5IIP", blob)
    info = struct.pack("=32sI5I5III", name, hooks, *places, entries, size)
    return parsed(4, info, bytes(blob[96:]))


def chain(name: str, *lines: str) -> Chain:
    return Chain.written(4, "nat", name, lines)


@pytest.mark.parametrize("line", FOREIGN)
def test_what_is_the_tools(line: str) -> None:
    with pytest.raises(NotUnderstoodError):
        Encoder(4, "nat", {"c": 0}).rules([line], 0, [])


WORDS = """-s -d -i -o -p -m -j ! tcp udp sctp comment --comment --dport --sport 80 1:2 mark --mark 0x1/0x1 ACCEPT DNAT
    --to-destination 10.0.0.1:80 10.0.0.0/8 fd00::1 eth0 addrtype --dst-type LOCAL statistic --mode random c "x"
    --probability 0.5 conntrack --ctstate NEW recent --set --name a --rsource"""
words = st.sampled_from([*WORDS.split(), '"', "\\", "\0", "\ud800"])


@given(st.one_of(st.lists(words, max_size=12).map(" ".join), st.text()), st.sampled_from([4, 6]))
def test_any_line_is_an_entry_or_the_tools(line: str, family: int) -> None:
    parts: list[bytes] = []
    try:
        end = Encoder(family, "filter", {"c": 0}).rules([line], 0, parts)
    except NotUnderstoodError:
        return
    whole = b"".join(parts)
    assert len(whole) == end
    _, target, size, _ = struct.unpack_from("=IHHI", whole, 84 if family == 4 else 136)
    assert size == end and end % 8 == 0
    assert target + struct.unpack_from("=H", whole, target)[0] == end


def test_what_is_remembered_is_not_all_that_is_understood() -> None:
    """Session affinity names each endpoint's chain in a match: more than is remembered."""
    recent = "-p tcp -m recent --set --name SEP-{} --mask 255.255.255.255 --rsource -m tcp -j ACCEPT"
    encoder, parts = Encoder(4, "nat", {}), list[bytes]()
    size = encoder.rules([recent.format(0)], 0, [])
    assert encoder.rules(map(recent.format, range(10_000)), 0, parts) == 10_000 * size
    assert encoder.rules(["-j RETURN", ""], 0, []) == 2 * len(encoder.ending)


def test_what_is_laid_out_reads_as_what_was_asked_for() -> None:
    first = [Create(chain("b", "-p tcp -j a", "-j RETURN")), Create(chain("a", "-j ACCEPT", ""))]
    table = reread(laid_out(4, "nat", empty(), first).blob)
    assert list(table.chains) == ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "a", "b"]
    assert [rule.jump for rule in table.chains["b"]] == ["a", None, None]
    assert [rule.jump for rule in table.chains["a"]] == [None, "", None]
    # a chain that goes, one that comes, and one that stays and now lies elsewhere
    second = laid_out(4, "nat", table, [Create(chain("c", "-j ACCEPT"))])
    moved = reread(second.blob)
    assert [rule.jump for rule in moved.chains["b"]] == ["a", None, None]
    assert len(second.kept) == table.entries - 3  # but for the names of chains and of the end
    third = reread(laid_out(4, "nat", moved, [Delete(chain("b", "-p tcp -j a", "-j RETURN"))]).blob)
    assert list(third.chains)[4:] == ["a", "c"]


def test_a_chain_that_is_still_led_to_is_the_tools_to_refuse() -> None:
    table = reread(laid_out(4, "nat", empty(), [Create(chain("b", "-j a")), Create(chain("a"))]).blob)
    with pytest.raises(NotUnderstoodError, match="leads to a"):
        laid_out(4, "nat", table, [Delete(chain("a"))])


def test_a_shared_chain_gets_more_and_loses_nothing() -> None:
    def shared(*lines: str, policy: str = "ACCEPT") -> Chain:
        rules = tuple(map(IptablesRule.of, lines))
        return Chain(family=4, table="nat", name="OUTPUT", rules=rules, policy=policy)  # type: ignore[arg-type]

    old, new = shared("-j ACCEPT"), shared("-p tcp -j a", "-j ACCEPT", "-j a")
    table = reread(laid_out(4, "nat", empty(), [Change(shared(), old)]).blob)
    layout = laid_out(4, "nat", table, [Create(chain("a")), Change(old, new)])
    found = reread(layout.blob).chains["OUTPUT"]
    assert [rule.jump for rule in found] == ["a", None, "a", None]
    assert [layout.kept.get(rule.number) for rule in found] == [None, 2, None, 3]
    for bad in (
        Change(old, shared("-j ACCEPT", "-i eth0 -j a")),
        Change(new, old),
        Change(old, shared("-p tcp -j ACCEPT")),
        Change(old, shared("-j ACCEPT", policy="DROP")),
    ):
        with pytest.raises(NotUnderstoodError):
            laid_out(4, "nat", table, [Create(chain("a")), bad])


@given(st.data())
def test_a_table_that_makes_no_sense_is_the_tools(data: st.DataObject) -> None:
    blob = laid_out(4, "nat", empty(), [Create(chain("b", "-j a")), Create(chain("a", "-p tcp -m tcp --dport 1"))]).blob
    for at, value in data.draw(st.lists(st.tuples(st.integers(96, len(blob) - 1), st.integers(0, 255)), max_size=4)):
        blob[at] = value
    del blob[data.draw(st.integers(96, len(blob))) :]
    try:
        table = reread(blob)
    except NotUnderstoodError:
        return
    assert set(table.chains) >= {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}
