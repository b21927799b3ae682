"""Legacy tables written without the tool: byte for byte what the tool makes of the same rules, and nothing of others'."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from oracle import worlds
from servicejudge import HAND

from netlab.base.errors import KernelError
from netlab.compile.parse import objects
from netlab.compile.rules import completed, proxy_config, service_rules
from netlab.kernel import iptables as tool
from netlab.kernel import netns, xtables
from netlab.kernel.apply import Kernel
from netlab.kernel.commands import run_in
from netlab.kernel.iptables import Iptables
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import Chain, IptablesRule
from netlab.model.diff import Change, Create, Op
from netlab.model.restore import by_table, restore_blocks

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
#: all that is understood, for IPv4; `rules` says the same of IPv6
NAT = [
    '! -s 10.0.0.0/8 -d 10.96.0.1/32 -p tcp -m comment --comment "ns/a:p cluster IP" -m tcp --dport 80 -j MARKED',
    '-s 10.0.0.1/32 -m comment --comment "ns/a:p" -j MARKED',
    '! -s 10.0.0.1/32 -m comment --comment "ns/a:p" -j MARKED',
    '-m comment --comment "a -> 10.0.0.1:80" -m statistic --mode random --probability 0.33333333349 -j MARKED',
    "-p udp -m udp --dport 53 -j DNAT --to-destination 10.1.1.1:8080",
    '-p sctp -m comment --comment "x y" -m sctp --dport 53 -j DNAT --to-destination 10.1.1.1',
    "-p tcp -m tcp --sport 100:200 ! --dport 5 -j DNAT --to-destination 10.1.1.1:80",
    "-p udp -m udp ! --sport 1:5 -j MARKED",
    "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j MARKED",
    '-p tcp -m comment --comment "x y" -m tcp -m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j RETURN',
    "-m addrtype --dst-type LOCAL -j MARKED",
    "-m addrtype --src-type LOCAL ! --dst-type LOCAL -j MARKED",
    "-i eth0 ! -o eth+ -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-m mark --mark 0x7 -j MARKED",
    "-j MARK --set-xmark 0x4000/0x0",
    "-m conntrack --ctstate NEW -j MASQUERADE --random-fully",
    '-m conntrack --ctstate NEW -m comment --comment "x y" -j MASQUERADE',
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
    "-m conntrack --ctstate INVALID,SNAT,UNTRACKED -j ACCEPT",
    "",
    "-m comment --comment z",
    '-p tcp -m comment --comment "only noted" -m tcp --dport 1',
    "-d 10.0.0.0/9 ! -p icmp",
]
FILTER = ['-p tcp -m comment --comment "no endpoints" -m tcp --dport 1 -j REJECT', "-j REJECT", "-p icmp -j DROP"]


def rules(lines: list[str], family: int) -> tuple[IptablesRule, ...]:
    if family == 6:
        whole = str(ip_address(2**128 - 1))
        turns = {"255.255.255.255": whole, "10.0.0.0/8": "fd00::/8", "10.0.0.0/9": "fd00::/9", "/32": "/128",
                 "10.1.1.1:": "[fd00::2]:", "10.1.1.1": "fd00::2", "10.0.0.1/": "fd00::1/", "10.96.0.1": "fd00:96::1",
                 "-p icmp": "-p ipv6-icmp"}  # fmt: skip
        for old, new in turns.items():
            lines = [line.replace(old, new) for line in lines]
    return tuple(map(IptablesRule.of, lines))


@pytest.fixture
def places() -> Iterator[tuple[str, str]]:
    names = (f"xt{os.getpid()}.1", f"xt{os.getpid()}.2")
    try:
        for name in names:
            os.close(netns.create(name))
        yield names
    finally:
        for name in names:
            netns.delete(name)


def held(where: str, family: int, table: str) -> tuple[bytes, bytes]:
    """What the kernel has of a table, but for what packets have counted."""
    with xtables._Door(where, family) as door:
        name = table.encode().ljust(32, b"\0")
        info = door.get(xtables._GET_INFO, name, xtables._INFO.size)
        size = xtables._INFO.unpack(info)[-1]
        return info, door.get(xtables._GET_ENTRIES, xtables._ASKED.pack(name, size), xtables._ASKED.size + size)


def both_ways(ops: list[Op], places: tuple[str, str]) -> None:
    by_us, by_tool = places
    for (family, table), some in by_table(ops).items():
        assert xtables.replace(by_us, family, table, some, wait=30), (family, table)
        Iptables("legacy").restore(by_tool, family, restore_blocks(some)[family, table])  # type: ignore[arg-type]
        assert held(by_us, family, table) == held(by_tool, family, table)


@pytest.mark.parametrize("family", [4, 6])
def test_it_is_what_the_tool_makes_of_it(family: int, places: tuple[str, str]) -> None:
    def made(table: str, name: str, found: tuple[IptablesRule, ...]) -> Op:
        return Create(Chain(family=family, table=table, name=name, rules=found))  # type: ignore[arg-type]

    for_all = rules(["-j MARKED", "-p tcp -j ACCEPT"], family)
    ops = [
        made("nat", "Z", rules(NAT, family)), made("nat", "MARKED", ()), made("nat", "OUTPUT", for_all),
        made("filter", "MARKED", ()), made("filter", "F", rules(FILTER, family)), made("filter", "FORWARD", for_all),
        made("mangle", "MARKED", ()), made("raw", "EMPTY", ()),
    ]  # fmt: skip
    both_ways(ops, places)
    # and once more, into tables that are there: a chain anew, one gone, one that comes before the others
    again = [made("nat", "Z", rules(NAT[:3], family)), made("nat", "A", rules(["-j Z"], family))]
    both_ways(again, places)


@pytest.mark.parametrize("name", HAND)
def test_services_as_a_large_load_has_them(name: str, monkeypatch: pytest.MonkeyPatch, places: tuple[str, str]) -> None:
    """All of a proxy's rules are understood, and nothing is then left to do."""
    monkeypatch.setattr(tool, "MANY", 0)
    monkeypatch.setattr(Iptables, "restore", lambda *_a, **_k: pytest.fail("asked the tool"))
    parsed = completed(objects([worlds.node(n) for n in worlds.NODES] + worlds.nine() + HAND[name]))
    kernel = Kernel(LinuxBackend(iptables="legacy"), MemoryLedger())
    for family, place in zip((4, 6), places, strict=True):
        state = service_rules(parsed, proxy_config(parsed, parsed.nodes[0]), "iptables", family)  # type: ignore[arg-type]
        kernel.apply(place, "t", state)
        assert not kernel.plan_all("t", {place: state})


def test_what_others_have_there_stays_with_what_it_counted(places: tuple[str, str]) -> None:
    where = places[0]
    theirs = """*nat
:DOCKER - [0:0]
:KUBE-OLD - [0:0]
-A OUTPUT -m multiport -p tcp --dports 80,443 -g DOCKER
-A DOCKER -p tcp -m tcp --tcp-flags SYN SYN -j RETURN
[5:300] -A DOCKER -d 10.0.0.1/32 -j KUBE-OLD
[7:420] -A KUBE-OLD -j RETURN
COMMIT
"""
    run_in(where, ["iptables-legacy-restore", "--noflush", "--counters"], stdin=theirs, check=True)

    def saved() -> list[str]:
        text = run_in(where, ["iptables-legacy-save", "-c", "-t", "nat"], check=True).stdout
        return [line for line in text.splitlines() if "DOCKER" in line or "KUBE-OLD" in line]

    before = saved()
    assert "[7:420] -A KUBE-OLD -j RETURN" in before
    there = {chain.order: chain for chain in Iptables("legacy").read(where)}
    output = Chain(family=4, table="nat", name="OUTPUT")
    new = Chain(family=4, table="nat", name="OUTPUT", rules=(*there[output.order].rules, IptablesRule.of("-j KUBE-A")))
    ops: list[Op] = [Create(Chain(family=4, table="nat", name="KUBE-A", rules=rules(NAT[3:4], 4)))]
    ops += [Create(Chain(family=4, table="nat", name="MARKED"))]
    assert xtables.replace(where, 4, "nat", [*ops, Change(there[output.order], new)], wait=30)
    assert saved() == before
    assert "-j KUBE-A" in run_in(where, ["iptables-legacy-save", "-t", "nat"], check=True).stdout


def test_what_is_the_tools_is_left_to_it_and_refused_by_it(
    monkeypatch: pytest.MonkeyPatch, places: tuple[str, str]
) -> None:
    where = places[0]
    monkeypatch.setattr(tool, "MANY", 0)
    before = held(where, 4, "nat")
    unknown = Chain.written(4, "nat", "U", ("-m length --length 0:100 -j RETURN",))
    nowhere = Chain.written(4, "nat", "N", ("-j NOWHERE",), ("Service x/b",))
    loop = Chain.written(4, "nat", "L", ("-j L",))
    into_it = Create(Chain(family=4, table="nat", name="OUTPUT", rules=(IptablesRule.of("-j L"),)))
    refused: list[list[Op]] = [[Create(unknown)], [Create(nowhere)], [Create(loop), into_it]]
    for ops in refused:
        assert not xtables.replace(where, 4, "nat", ops, wait=30)
        assert held(where, 4, "nat") == before
    list(Iptables("legacy").perform(where, [Create(unknown)]))
    assert any(chain.name == "U" for chain in Iptables("legacy").read(where))
    with pytest.raises(KernelError, match="wanted by Service x/b"):
        list(Iptables("legacy").perform(where, [Create(nowhere)]))


def test_it_waits_for_who_holds_the_lock(places: tuple[str, str]) -> None:
    chain = Create(Chain.written(4, "nat", "A", ()))
    with xtables._locked(30):
        assert not xtables.replace(places[0], 4, "nat", [chain], wait=0)
    assert xtables.replace(places[0], 4, "nat", [chain], wait=30)
