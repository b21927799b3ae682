"""Rules by netlink are the tool's, as the tool lists them; a batch is done as a whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from oracle import worlds
from servicejudge import HAND

from netlab.base.errors import KernelError
from netlab.compile.parse import objects
from netlab.compile.rules import completed, proxy_config, service_rules
from netlab.kernel import netns, nft, nftwire
from netlab.kernel.apply import Kernel
from netlab.kernel.commands import run_in
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState
from netlab.model.diff import Change, Create, Op
from netlab.model.nft import NftChain, NftElement, NftRule, NftSet, NftTable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
RULES = {
    "ip": [
        "ip daddr 10.0.0.1 tcp dport 80 ip saddr != 10.244.0.0/16 jump to-mark",
        'ip saddr 10.244.0.0/15 goto to-mark comment "short-circuit pod traffic"',
        "ip saddr @seen goto to-mark",
        'fib saddr type local jump to-mark comment "masquerade local traffic"',
        "numgen random mod 3 0 goto to-mark",
        "numgen random mod 3 vmap { 0 : goto to-mark, 1 : goto to-other, 2 : goto to-mark }",
        "update @seen { ip saddr }",
        "ip saddr 10.244.1.2 jump to-mark",
        "ip daddr 10.0.0.1 sctp dport 9 jump to-mark",
        "meta l4proto udp dnat to 10.244.1.2:53",
        "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 80, 1 : 10.244.2.2 . 8080 }",
        "drop",
    ],
    "ip6": [
        "ip6 daddr fd00:96::1 tcp dport 80 ip6 saddr != fd00:10:244::/48 jump to-mark",
        "ip6 saddr fd00:10::/30 goto to-mark",
        "ip6 saddr @seen goto to-mark",
        "update @seen { ip6 saddr }",
        "meta l4proto tcp dnat to [fd00:10:244::2]:80",
        "meta l4proto udp dnat ip6 to numgen random mod 2 map { 0 : fd00:10:244::2 . 53, 1 : fd00:10:244:1::2 . 53 }",
    ],
}


@pytest.fixture
def places() -> Iterator[tuple[int, int]]:
    """Two namespaces, open."""
    names = [f"nw{os.getpid()}.{at}" for at in (1, 2)]
    try:
        first, second = (netns.create(name) for name in names)
        yield first, second
        os.close(first)
        os.close(second)
    finally:
        for name in names:
            netns.delete(name)


def ground(family: str) -> list[Op]:
    """A table, its hook, what rules lead to."""
    kind = "ipv4_addr" if family == "ip" else "ipv6_addr"
    values = {"family": family, "table": "t"}
    hook = {"type": "nat", "hook": "prerouting", "priority": -100}
    seen = NftSet(name="seen", type=kind, flags=("dynamic", "timeout"), timeout=60, **values)  # type: ignore[arg-type]
    services = NftSet(name="services", type=f"{kind} . inet_proto . inet_service", value="verdict", **values)  # type: ignore[arg-type]
    chains = [NftChain(name=name, **values) for name in ("to-mark", "to-other")]  # type: ignore[arg-type]
    base = NftChain(name="base", rules=(NftRule("jump to-mark"),), **hook, **values)  # type: ignore[arg-type]
    return [Create(NftTable(family=family, name="t")), *map(Create, [seen, services, *chains, base])]  # type: ignore[arg-type]


def listed(where: int) -> str:
    return re.sub(r"__map\w+", "__map", run_in(where, ["nft", "-s", "-y", "list", "ruleset"], check=True).stdout)


def dumped(where: int) -> str:
    """What the kernel holds, expression by expression, but for handles and elements, which come in any order."""
    text = run_in(where, ["nft", "--debug=netlink", "list", "ruleset"], check=True).stdout
    text = re.sub(r"(?m)^\telement .*\n", "", text)
    return re.sub(r"__map\w+", "__map", re.sub(r"(?m)^(ip6? \S+ \S+)( \d+)+ ?$", r"\1", text))


@pytest.mark.parametrize("family", RULES)
def test_it_is_what_the_tool_makes_of_it(family: str, places: tuple[int, int]) -> None:
    chain = NftChain(family=family, table="t", name="c", rules=tuple(map(NftRule, RULES[family])))  # type: ignore[arg-type]
    bare = next(op.item for op in ground(family) if op.item.key[-1] == "services")
    assert isinstance(bare, NftSet)
    address = "10.0.0.1" if family == "ip" else "fd00:96::1"
    elements = (NftElement(f"{address} . tcp . 80", "goto c"), NftElement(f"{address} . udp . 53", "drop"))
    full = NftSet(family=bare.family, table="t", name="services", type=bare.type, value="verdict", elements=elements)
    ops: list[Op] = [Create(chain), Change(bare, full)]
    for where in places:
        nft._by_tool(where, ground(family))
    by_tool, by_wire = places
    nft._by_tool(by_tool, ops)
    tool, units = nft.parted(ops)
    assert tool == []
    nftwire.send(by_wire, units)
    assert listed(by_wire) == listed(by_tool)
    assert dumped(by_wire) == dumped(by_tool)
    assert {item.order: item for item in nft.read(by_wire)}[chain.order] == chain


def test_a_refusal_names_the_chain_and_changes_nothing(places: tuple[int, int]) -> None:
    where = places[0]
    nft._by_tool(where, ground("ip"))
    before = listed(where)
    good = NftChain(family="ip", table="t", name="good", rules=(NftRule("goto to-mark"),), why="Service x/a")
    bad = NftChain(family="ip", table="t", name="bad", rules=(NftRule("goto nowhere"),), why="Service x/b")
    with pytest.raises(KernelError, match=r"nft chain ip t bad \(wanted by Service x/b\)"):
        nft.perform(where, [Create(good), Create(bad)])
    assert listed(where) == before


def test_what_does_not_fit_into_one_batch_comes_in_several(
    places: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = places[0]
    nft._by_tool(where, ground("ip"))
    monkeypatch.setattr(nftwire, "_BATCH", 500)
    chains = [NftChain(family="ip", table="t", name=f"c{n}", rules=(NftRule("goto to-mark"),)) for n in range(30)]
    nft.perform(where, list(map(Create, chains)))
    there = {item.order: item for item in nft.read(where)}
    assert all(there[chain.order] == chain for chain in chains)


@pytest.mark.parametrize("name", HAND)
def test_services_as_a_large_load_has_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ground by the tool and all else by netlink, as with thousands of Services: nothing is then left to do."""
    monkeypatch.setattr(nft, "MANY", 0)
    parsed = completed(objects([worlds.node(n) for n in worlds.NODES] + worlds.nine() + HAND[name]))
    state = service_rules(parsed, proxy_config(parsed, parsed.nodes[0]), "nftables", 4)
    kernel, where = Kernel(LinuxBackend(), MemoryLedger()), f"nw{os.getpid()}.3"
    try:
        kernel.apply(where, "proxy", state)
        assert kernel.plan_all("proxy", {where: state}) == {}
        kernel.apply(where, "proxy", HostState())
        assert nft.read(where) == []
    finally:
        netns.delete(where)
