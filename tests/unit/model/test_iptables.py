"""Rules in the spelling of iptables-save, and built-in chains that several owners share."""

import re
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.model import Chain, IptablesRule
from netlab.model.iptables import canonical, merged, precedence_of, quoted

#: as a person types it, and what `iptables -A … && iptables-save` prints (iptables 1.8.9, both variants)
SPELLINGS = [
    ("-j ACCEPT -s 10.2.3.4/16", "-s 10.2.0.0/16 -j ACCEPT"),
    ("--source 10.0.0.1 --jump ACCEPT", "-s 10.0.0.1/32 -j ACCEPT"),
    ("-s 0.0.0.0/0 -d ::/0 -p all -j ACCEPT", "-j ACCEPT"),
    ("-o b -i a ! -s 10.0.0.0/8 -j DROP", "! -s 10.0.0.0/8 -i a -o b -j DROP"),
    ("-p 6 -j ACCEPT", "-p tcp -j ACCEPT"),
    ("-p icmpv6 -j ACCEPT", "-p ipv6-icmp -j ACCEPT"),
    ("-p tcp --dport 80 -j ACCEPT", "-p tcp -m tcp --dport 80 -j ACCEPT"),
    ("-p udp --sport 1:1024 -j ACCEPT", "-p udp -m udp --sport 1:1024 -j ACCEPT"),
    ("-m tcp -p tcp ! --dport 22 -j ACCEPT", "-p tcp -m tcp ! --dport 22 -j ACCEPT"),
    ("-p tcp --syn -j DROP", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP"),
    ("-p tcp --tcp-flags ALL NONE -j DROP", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP"),
    ("-p icmp --icmp-type echo-request -j ACCEPT", "-p icmp -m icmp --icmp-type 8 -j ACCEPT"),
    ("-p ipv6-icmp --icmpv6-type echo-reply -j ACCEPT", "-p ipv6-icmp -m icmp6 --icmpv6-type 129 -j ACCEPT"),
    ("-p tcp -m multiport --destination-ports 80,443 -j ACCEPT", "-p tcp -m multiport --dports 80,443 -j ACCEPT"),
    ("-m conntrack --ctstate established,RELATED -j ACCEPT", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
    ("-m state --state ESTABLISHED,NEW -j ACCEPT", "-m state --state NEW,ESTABLISHED -j ACCEPT"),
    ("-m mark --mark 16 -j ACCEPT", "-m mark --mark 0x10 -j ACCEPT"),
    ("-m mark --mark 0x1/0xffffffff -j ACCEPT", "-m mark --mark 0x1 -j ACCEPT"),
    ("-m mark ! --mark 1/1 -j ACCEPT", "-m mark ! --mark 0x1/0x1 -j ACCEPT"),
    ("-j MARK --set-mark 1", "-j MARK --set-xmark 0x1/0xffffffff"),
    ("-j MARK --set-mark 0x4000/0x4000", "-j MARK --set-xmark 0x4000/0x4000"),
    ("-j MARK --set-mark 0x3/0x1", "-j MARK --set-xmark 0x3/0x3"),
    ("-j MARK --or-mark 0x4000", "-j MARK --set-xmark 0x4000/0x4000"),
    ("-j MARK --and-mark 0xfff", "-j MARK --set-xmark 0x0/0xfffff000"),
    ("-j MARK --xor-mark 1", "-j MARK --set-xmark 0x1/0x0"),
    ("-j DROP -m comment --comment 'a b'", '-m comment --comment "a b" -j DROP'),
    (
        "-p tcp -j REJECT --reject-with tcp-reset --dport 81",
        "-p tcp -m tcp --dport 81 -j REJECT --reject-with tcp-reset",
    ),
    ("-m limit --limit 5/minute -j ACCEPT", "-m limit --limit 5/min -j ACCEPT"),
    (
        "-m statistic --mode random --probability 0.33333 -j X",
        "-m statistic --mode random --probability 0.33332999982 -j X",
    ),
    ("-j SNAT --to 1.2.3.4", "-j SNAT --to-source 1.2.3.4"),
    ("-p tcp -j DNAT --to 1.2.3.4:80", "-p tcp -j DNAT --to-destination 1.2.3.4:80"),
    ("-p tcp -j REDIRECT --to-port 3", "-p tcp -j REDIRECT --to-ports 3"),
    ("-g X", "-g X"),
]


@pytest.mark.parametrize(("typed", "saved"), SPELLINGS)
def test_canonical(typed: str, saved: str) -> None:
    assert str(IptablesRule.of(typed)) == saved
    assert canonical(saved) == canonical(typed)


@pytest.mark.parametrize("option", ["icmp-port-unreachable", "icmp6-port-unreachable"])
def test_an_option_that_the_target_has_anyway_is_not_kept(option: str) -> None:
    # iptables-save prints it; canonical knows no family and leaves it out
    assert IptablesRule.of(f"-j REJECT --reject-with {option}") == IptablesRule.of("-j REJECT")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-s", "-s needs a value"),
        ("-s 10.0.0.300 -j X", "10.0.0.300"),
        ("ACCEPT", "'ACCEPT' is not an iptables option"),
        ("-j X !", "ends with '!'"),
        ("-m", "-m needs a value"),
    ],
)
def test_no_rule(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        canonical(text)


@given(st.lists(st.sampled_from([saved for _, saved in SPELLINGS]), max_size=1), st.text("ab \"'\\#$é", max_size=20))
def test_quoting_survives(rules: list[str], comment: str) -> None:
    rule = IptablesRule((*canonical(rules[0] if rules else "-j X"),))
    if comment and not comment.startswith("-") and comment != "!":
        rule = IptablesRule(("-m", "comment", "--comment", comment, *rule.args))
    # what shlex reads in double quotes is what iptables-restore reads
    assert IptablesRule.of(quoted(rule.args)) == rule
    assert shlex.split(quoted(rule.args)) == list(rule.args)


def test_the_reason_does_not_tell_rules_apart() -> None:
    one, two = IptablesRule.of("-j X", why="a"), IptablesRule.of("-j X", why="b")
    assert one == two and hash(one) == hash(two) and one != IptablesRule.of("-j Y")


@pytest.mark.parametrize(
    ("text", "rank"), [("-j cali-FORWARD", 100), ("-g KUBE-X", 200), ("-j DOCKER-USER", 400), ("-j ACCEPT", 500)]
)
def test_precedence(text: str, rank: int) -> None:
    assert precedence_of(canonical(text)) == rank


NAMES = st.lists(st.sampled_from(["cali-a", "KUBE-a", "KUBE-b", "FLANNEL-a", "DOCKER", "ACCEPT", "x"]), unique=True)


@given(NAMES, NAMES, NAMES)
def test_merged(actual: list[str], owned: list[str], wanted: list[str]) -> None:
    there, mine, target = ([IptablesRule.of(f"-j {name}") for name in names] for names in (actual, owned, wanted))
    whole = merged(there, mine, target)
    others = [rule for rule in there if rule not in {*mine, *target}]
    assert [rule for rule in whole if rule in others] == others
    assert [r for r in whole if r in target] == sorted(target, key=lambda r: precedence_of(r.args))
    assert len(whole) == len(others) + len(target)
    assert merged(whole, target, target) == whole
    assert list(merged(whole, target, [])) == others


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"table": "security", "name": "X"}, "no table 'security'"),
        ({"table": "nat", "name": ""}, "1 to 28 bytes"),
        ({"table": "nat", "name": "x" * 29}, "1 to 28 bytes"),
        ({"table": "nat", "name": "a b"}, "no white space"),
        ({"table": "nat", "name": "X", "policy": "DROP"}, "can have no policy"),
    ],
)
def test_no_chain(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chain(family=4, **fields)  # type: ignore[arg-type]


def test_a_written_chain_is_the_chain() -> None:
    lines = ("-p tcp -m tcp --dport 80 -j ACCEPT", '-m comment --comment "a b" -j DROP')
    rules = tuple(IptablesRule.of(line, why=why) for line, why in zip(lines, ("one", "two"), strict=True))
    plain = Chain(family=4, table="nat", name="KUBE-SVC", rules=rules, why="a Service")
    written = Chain.written(4, "nat", "KUBE-SVC", lines, ("one", "two"), why="a Service")
    assert (written.lines, written.whys, written.order) == (plain.lines, plain.whys, plain.order)
    assert written.same_rules(plain) and plain.same_rules(written)
    assert written == plain and hash(written) == hash(plain)
    assert [rule.why for rule in written.rules] == ["one", "two"]
    assert replace(written, rules=rules[:1]).lines == lines[:1]
    assert not written.same_rules(replace(plain, rules=rules[::-1]))
    assert Chain.written(4, "nat", "KUBE-SVC", lines, why="a Service").whys == ("a Service", "a Service")


def test_rules_are_the_same_in_another_spelling() -> None:
    typed = Chain.written(4, "nat", "A", ("--protocol tcp --dport 80 -j ACCEPT",))
    assert typed.same_rules(Chain.written(4, "nat", "A", ("-p tcp -m tcp --dport 80 -j ACCEPT",)))
