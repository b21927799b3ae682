"""iptables in a namespace: what is written is read back, in both variants, and python-iptables sees the same rules."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import pytest

from netlab.base.errors import KernelError
from netlab.kernel import iptables as tool
from netlab.kernel import netns
from netlab.kernel.commands import run_in
from netlab.kernel.iptables import Family, Iptables, parse_counters
from netlab.model import Chain, IptablesRule
from netlab.model.diff import Create
from netlab.model.restore import restore_batches

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


RULES = {
    4: """*filter
:FORWARD DROP [0:0]
:KUBE-SERVICES - [0:0]
-A FORWARD -j KUBE-SERVICES
-A FORWARD -s 172.17.0.0/16 ! -i docker0 -o eth0 -p tcp -m tcp --sport 1024:65535 ! --dport 80 -j ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m multiport --dports 80,443 -g KUBE-SERVICES
-A FORWARD -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A KUBE-SERVICES ! -s 10.244.0.0/16 -d 10.96.0.1/32 -m comment --comment "default/kubernetes:https has no \\"endpoints\\"" -m addrtype ! --dst-type LOCAL -j REJECT --reject-with icmp-port-unreachable
-A KUBE-SERVICES -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A KUBE-SERVICES -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-SERVICES -p udp -m udp --dport 53 -m set --match-set allowed src,dst -j ACCEPT
-A KUBE-SERVICES -p tcp
COMMIT
*nat
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 10.244.1.5:8080
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
""",
    6: """*filter
:cali-FORWARD - [0:0]
-A FORWARD -s fd00:10::/64 ! -i cali+ -j cali-FORWARD
-A cali-FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT
-A cali-FORWARD ! -d fd00:10::5/128 -p tcp -m tcp --dport 443 -j DROP
COMMIT
""",
}  # fmt: skip


@pytest.fixture
def where() -> Iterator[str]:
    name = f"kfw.ipt-{os.getpid()}"
    os.close(netns.create(name))
    run_in(name, ["ipset", "create", "allowed", "hash:ip,port"], check=True)
    yield name
    netns.delete(name)


@pytest.fixture(params=["legacy", "nft"])
def iptables(request: pytest.FixtureRequest) -> Iptables:
    return Iptables(request.param)


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("-A")]


def test_reading_makes_no_table(where: str) -> None:
    legacy = Iptables("legacy")
    assert legacy.read(where) == []
    assert legacy.read(where, tables=["nat"]) == []
    assert legacy.counters(where, 4, "nat") == []
    assert legacy.tables(where, 4) == legacy.tables(where, 6) == []
    assert run_in(where, ["nft", "list", "ruleset"]).stdout == ""


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_written_is_read_back(where: str, iptables: Iptables, family: Family) -> None:
    iptables.restore(where, family, RULES[family])
    chains = {(chain.table, chain.name): chain for chain in iptables.read(where)}
    for line in lines_of(RULES[family]):
        assert any(
            str(rule) in line or line.endswith(str(rule)) for chain in chains.values() for rule in chain.rules
        ), line
    forward = chains["filter", "FORWARD"]
    assert forward.policy == ("DROP" if family == 4 else "ACCEPT")
    assert sum(len(chain.rules) for chain in chains.values()) == len(lines_of(RULES[family]))
    # noflush: a second text adds to the first, and leaves other tables alone
    iptables.restore(where, family, "*filter\n:MORE - [0:0]\n-A MORE -j RETURN\nCOMMIT\n")
    more = iptables.read(where, [family], tables=["filter"])
    assert {c.name for c in more if c.table == "filter"} == {n for t, n in chains if t == "filter"} | {"MORE"}
    assert next(c for c in more if c.name == "MORE") == Chain(
        family=family, table="filter", name="MORE", rules=(IptablesRule.of("-j RETURN"),)
    )


def test_the_variants_do_not_see_each_other(where: str) -> None:
    Iptables("legacy").restore(where, 4, "*filter\n:OLD - [0:0]\nCOMMIT\n")
    Iptables("nft").restore(where, 4, "*filter\n:NEW - [0:0]\nCOMMIT\n")
    assert "NEW" not in {chain.name for chain in Iptables("legacy").read(where)}
    assert "OLD" not in {chain.name for chain in Iptables("nft").read(where)}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("table", ["filter", "nat"])
def test_counters_name_the_rules_as_save_does(where: str, iptables: Iptables, family: Family, table: str) -> None:
    """The contract of the two views: the same rules in the same order, argument by argument."""
    iptables.restore(where, family, RULES[family])
    saved = parse_counters(
        run_in(where, [f"{'ip' if family == 4 else 'ip6'}tables-{iptables.variant}-save", "-c"]).stdout, table
    )
    seen = iptables.counters(where, family, table)
    # chain by chain: save lists built-in chains first, libiptc as the kernel has them
    assert sorted(seen, key=lambda c: c.chain) == sorted(saved, key=lambda c: c.chain)
    assert bool(seen) == (table == "filter" or family == 4)


def test_counters_count(where: str, iptables: Iptables) -> None:
    run_in(where, ["ip", "link", "set", "lo", "up"], check=True)
    iptables.restore(where, 4, "*filter\n-A OUTPUT -p icmp -j ACCEPT\nCOMMIT\n")
    assert iptables.counters(where, 4, "filter")[0].packets == 0
    run_in(where, ["ping", "-c", "2", "-i", "0.01", "127.0.0.1"], check=True)
    counter = iptables.counters(where, 4, "filter")[0]
    assert (counter.chain, counter.args) == ("OUTPUT", ("-p", "icmp", "-j", "ACCEPT"))
    assert counter.packets == 4 and counter.bytes == 4 * 84


def test_counters_of_two_namespaces_do_not_mix(where: str) -> None:
    """python-iptables keeps one table object per name."""
    legacy, other = Iptables("legacy"), f"{where}-b"
    os.close(netns.create(other))
    try:
        legacy.restore(where, 4, "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n")
        legacy.restore(other, 4, "*filter\n-A OUTPUT -j DROP\nCOMMIT\n")
        assert [c.chain for c in legacy.counters(where, 4, "filter")] == ["INPUT"]
        assert [c.chain for c in legacy.counters(other, 4, "filter")] == ["OUTPUT"]
        assert [c.chain for c in legacy.counters(where, 4, "filter")] == ["INPUT"]
    finally:
        netns.delete(other)


def test_a_refused_line_is_named_with_its_why(where: str, iptables: Iptables) -> None:
    bad = "-A FORWARD -j NOWHERE"
    text = f"*filter\n-A FORWARD -j ACCEPT\n# Service default/web port 80\n{bad}\nCOMMIT\n"
    with pytest.raises(KernelError) as caught:
        iptables.restore(where, 4, text)
    assert caught.value.item == bad
    assert "line 4" in caught.value.message and "wanted by Service default/web port 80" in caught.value.message
    with pytest.raises(KernelError, match="wanted by labs/x"):
        iptables.restore(where, 4, text, whys={bad: "labs/x"})
    assert not [rule for chain in iptables.read(where) for rule in chain.rules], "half of a table was applied"


def test_a_table_that_the_kernel_refuses_as_a_whole(where: str) -> None:
    """As one that is full, which takes half a gigabyte of rules: here for a circle of jumps."""
    circle = "*filter\n:A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j A\n-A FORWARD -j A\nCOMMIT\n"
    with pytest.raises(KernelError, match=r"line 7: COMMIT.*refuses the table as a whole"):
        Iptables("legacy").restore(where, 4, circle)


def test_very_many_chains_come_in_parts(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By iptables-nft, which takes ten times as long for all at once. The way into them is the last."""
    texts: list[str] = []
    restored = Iptables.restore

    def seen(self: Iptables, netns: str | int, family: Family, text: str, **more: object) -> None:
        texts.append(text)
        restored(self, netns, family, text, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Iptables, "restore", seen)
    monkeypatch.setattr(tool, "MANY", 0)
    monkeypatch.setattr(tool, "restore_batches", functools.partial(restore_batches, jumps=5))
    ends = tuple(f"-p tcp -j END-{n}" for n in range(12))
    chains = [Chain.written(4, "nat", f"END-{n}", ("-p tcp -j MARK --set-xmark 0x1/0x1",)) for n in range(12)]
    chains.append(Chain.written(4, "nat", "ALL", ends))
    way_in = Chain(family=4, table="nat", name="OUTPUT", rules=(IptablesRule.of("-j ALL"),))
    iptables = Iptables("nft")
    list(iptables.perform(where, [Create(way_in), *map(Create, chains)]))
    assert len(texts) == 6 and "OUTPUT" in texts[-1] and not any("OUTPUT" in text for text in texts[:-1])
    there = {chain.name: chain for chain in iptables.read(where, (4,))}
    assert there["OUTPUT"].rules == way_in.rules
    assert all(there[chain.name].lines == chain.lines for chain in chains)
    bad = Chain.written(4, "nat", "BAD", ("-p tcp -j NOWHERE",), ("Service x/b",))
    with pytest.raises(KernelError, match="wanted by Service x/b"):
        list(iptables.perform(where, [Create(bad)]))
