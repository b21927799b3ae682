"""nftables as values: names, order, codec, difference, text; and rules that are trusted."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from netlab.kernel.nft import parse, seconds
from netlab.model import Chain, HostState, IptablesRule, NftChain, NftElement, NftRule, NftSet, NftTable
from netlab.model.codec import state_from_json, to_json
from netlab.model.diff import diff
from netlab.model.explain import commands
from netlab.model.nft import duration, listing
from netlab.model.nftscript import script

TABLE = NftTable(family="ip", name="t", why="somebody")
BASE = NftChain(
    family="ip", table="t", name="in", type="filter", hook="input", priority=-110,
    rules=(NftRule("ct state new jump own", "a jump"),),
)  # fmt: skip
OWN = NftChain(family="ip", table="t", name="own", rules=(NftRule("ip saddr @s drop", "a rule"),))
SET = NftSet(
    family="ip", table="t", name="s", type="ipv4_addr", elements=(NftElement("10.0.0.2"), NftElement("10.0.0.1"))
)
MAP = NftSet(
    family="ip", table="t", name="m", type="ipv4_addr . inet_service", value="verdict",
    elements=(NftElement("10.0.0.1 . 80", "goto own", "Service x"),),
)  # fmt: skip
SEEN = NftSet(family="ip", table="t", name="seen", type="ipv4_addr", flags=("dynamic", "timeout"), timeout=90)
STATE = HostState.of([BASE, OWN, SET, MAP, SEEN, TABLE])


def test_order_is_table_sets_chains() -> None:
    assert [item.key[-1] for item in STATE] == ["t", "m", "s", "seen", "in", "own"]
    assert [e.key for e in SET.elements] == ["10.0.0.1", "10.0.0.2"]


def test_codec_and_listing_are_lossless() -> None:
    assert state_from_json(to_json(STATE)) == STATE
    assert HostState.of(parse(listing(STATE))) == STATE
    assert seconds(duration(93784)) == 93784 and duration(0) == "0s"


def test_a_script_makes_before_it_refers() -> None:
    lines = script(diff(HostState(), STATE)).splitlines()
    where = {line: at for at, line in enumerate(lines)}
    assert lines[0] == "add table ip t"
    assert where["add chain ip t own"] < where["add element ip t m { 10.0.0.1 . 80 : goto own }"]
    assert where["add element ip t m { 10.0.0.1 . 80 : goto own }"] < where["add rule ip t own ip saddr @s drop"]
    assert "add chain ip t in { type filter hook input priority -110; policy accept; }" in where


def test_elements_come_and_go_alone() -> None:
    changed = replace(SET, elements=(NftElement("10.0.0.2"), NftElement("10.0.0.3")))
    assert script(diff(HostState((SET,)), HostState((changed,)))).splitlines() == [
        "delete element ip t s { 10.0.0.1 }", "add element ip t s { 10.0.0.3 }",
    ]  # fmt: skip
    filled = replace(SEEN, elements=(NftElement("1.2.3.4"),))
    assert SEEN.met_by(filled) and diff(HostState((filled,)), HostState((SEEN,))) == []


def test_removal_needs_no_more_than_the_table() -> None:
    assert script(diff(STATE, HostState())).splitlines() == ["delete table ip t"]
    less = HostState(tuple(item for item in STATE if item is not MAP))
    assert script(diff(STATE, less)).splitlines() == ["delete map ip t m"]


def test_explain_names_every_why() -> None:
    told = {c.argv[1]: c.why for c in commands(diff(HostState(), STATE))}
    assert told["add rule ip t in ct state new jump own"] == "a jump" and told["add table ip t"] == "somebody"


@pytest.mark.parametrize("name", ["", "a b", "x" * 256, 'q"', "a;b"])
def test_names_that_no_table_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="nft name"):
        NftTable(family="ip", name=name)


def test_a_hook_needs_a_type() -> None:
    with pytest.raises(ValueError, match="base chain"):
        NftChain(family="ip", table="t", name="c", hook="input")


LINE = '-d 10.0.0.1/32 -p tcp -m comment --comment "ns/svc:p \\"x\\"" -m tcp --dport 80 -j KUBE-X'


def test_a_trusted_rule_is_like_any_other() -> None:
    trusted, usual = IptablesRule.trusted(LINE, "why"), IptablesRule.of(LINE)
    assert trusted == usual and hash(trusted) == hash(usual) and trusted.args == usual.args
    assert str(trusted) == LINE and trusted.why == "why" and usual.line == LINE
    assert pickle.loads(pickle.dumps(trusted)) == trusted
    assert IptablesRule.trusted("-j REJECT --reject-with icmp-port-unreachable") == IptablesRule.of("-j REJECT")
    with pytest.raises(AttributeError):
        _ = trusted.nothing
    odd = IptablesRule.trusted("beyond us")
    assert odd.args == ("beyond", "us")


def test_a_trusted_chain_is_like_any_other() -> None:
    rules = (IptablesRule.trusted(LINE),)
    made = Chain.trusted(4, "nat", "KUBE-Y", rules, "owner", "why")
    usual = Chain(family=4, table="nat", name="KUBE-Y", rules=(IptablesRule.of(LINE),), owner="owner", why="why")
    assert made == usual and (made.owner, made.why, made.policy) == ("owner", "why", None)
    assert state_from_json(to_json(HostState((made,)))) == HostState((usual,))
