"""Sets in a namespace: what is written over netlink is what `ipset save` prints, and the other way round."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netlab.base.errors import KernelError
from netlab.kernel import ipset, netns
from netlab.kernel.commands import run_in
from netlab.model import Ipset
from netlab.model.diff import Change, Create, Delete

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

SETS = [
    Ipset(name="ip4", type="hash:ip", entries=("10.0.0.1", "10.0.0.2")),
    Ipset(name="ip6", type="hash:ip", family=6, entries=("2001:db8::1",)),
    Ipset(name="net4", type="hash:net", entries=("10.0.0.0/8", "10.1.0.0/16 nomatch", "192.0.2.1")),
    Ipset(name="net6", type="hash:net", family=6, entries=("2001:db8::/32", "2001:db8::1")),
    Ipset(name="ipport4", type="hash:ip,port", entries=(
        "10.0.0.1,tcp:80", "10.0.0.1,udp:53", "10.0.0.1,sctp:9", "10.0.0.1,icmp:echo-request", "10.0.0.1,icmp:8/7",
        "10.0.0.1,icmp:host-prohibited",
    )),
    Ipset(name="ipport6", type="hash:ip,port", family=6, entries=(
        "2001:db8::1,tcp:443", "2001:db8::1,ipv6-icmp:echo-request", "2001:db8::1,ipv6-icmp:no-route",
    )),
    Ipset(name="netport", type="hash:net,port", entries=("10.0.0.0/24,udp:53", "10.0.0.1,tcp:1")),
    Ipset(name="ipportip", type="hash:ip,port,ip", entries=("10.0.0.1,tcp:80,10.0.0.1",)),
    Ipset(name="ipportnet", type="hash:ip,port,net", entries=("10.0.0.1,tcp:80,10.0.0.0/24",)),
    Ipset(name="nodeports", type="bitmap:port", entries=("30080", "32767")),
    Ipset(name="timed", type="hash:ip,port", timeout=300, maxelem=1048576, entries=("10.0.0.1,tcp:80",)),
]  # fmt: skip
IDS = [wanted.name for wanted in SETS]


@pytest.fixture
def where() -> Iterator[str]:
    name = f"kfw.ips-{os.getpid()}"
    os.close(netns.create(name))
    yield name
    netns.delete(name)


def saved(where: str, name: str) -> set[str]:
    """Entries as ipset prints them, without the seconds that are left of them."""
    lines = run_in(where, ["ipset", "save", name], check=True).stdout.splitlines()
    return {line.split(" ", 2)[2].split(" timeout")[0] for line in lines if line.startswith("add ")}


@pytest.mark.parametrize("wanted", SETS, ids=IDS)
def test_the_tool_sees_what_we_wrote(where: str, wanted: Ipset) -> None:
    ipset.create(where, wanted)
    assert saved(where, wanted.name) == set(wanted.entries)
    header = run_in(where, ["ipset", "save", wanted.name]).stdout.splitlines()[0]
    assert f"create {wanted.name} {wanted.type}" in header
    if wanted.timeout:
        assert "timeout 300" in header and "maxelem 1048576" in header
    (found,) = ipset.read(where)
    assert wanted.met_by(found) and found.header == wanted.header


@pytest.mark.parametrize("wanted", SETS, ids=IDS)
def test_we_see_what_the_tool_wrote(where: str, wanted: Ipset) -> None:
    family = [] if wanted.type == "bitmap:port" else ["family", "inet6" if wanted.family == 6 else "inet"]
    limits = ["range", "0-65535"] if wanted.type == "bitmap:port" else ["maxelem", str(wanted.maxelem)]
    timeout = ["timeout", str(wanted.timeout)] if wanted.timeout else []
    run_in(where, ["ipset", "create", wanted.name, wanted.type, *family, *limits, *timeout], check=True)
    for entry in wanted.entries:
        run_in(where, ["ipset", "add", wanted.name, *entry.split()], check=True)
    (found,) = ipset.read(where)
    assert wanted.met_by(found)


def test_every_icmp_type_is_spelled_as_the_tool_does(where: str) -> None:
    for name, family, address, protocol in (("a", 4, "10.0.0.1", "icmp"), ("b", 6, "::1", "ipv6-icmp")):
        types = [*range(20), *range(126, 140)]
        entries = tuple(f"{address},{protocol}:{kind}/{code}" for kind in types for code in range(17))
        wanted = Ipset(name=name, type="hash:ip,port", family=4 if family == 4 else 6, entries=entries)
        ipset.create(where, wanted)
        found = next(s for s in ipset.read(where) if s.name == name)
        assert set(found.entries) == saved(where, name)
        assert len(found.entries) == len(entries)


def test_thousands_of_entries(where: str) -> None:
    entries = tuple(f"10.{i >> 8}.{i & 255}.1,tcp:{i},10.0.0.0/24" for i in range(5000))
    wanted = Ipset(name="many", type="hash:ip,port,net", entries=entries)
    ipset.create(where, wanted)
    (found,) = ipset.read(where)
    assert wanted.met_by(found)
    ipset.delete(where, wanted, entries[:4000])
    ipset.delete(where, wanted, entries[:4000])  # gone already
    ipset.add(where, wanted, entries[3990:])  # most are there already
    assert len(ipset.read(where)[0].entries) == 1010


def test_the_refused_entry_is_named_and_no_half_set_is_left(where: str) -> None:
    entries = tuple(f"10.0.{i >> 8}.{i & 255}" for i in range(1000))
    with pytest.raises(KernelError, match=r"'2001:db8::1'.*ipset mixed.*wanted by labs/x"):
        ipset.create(where, Ipset(name="mixed", type="hash:ip", entries=(*entries, "2001:db8::1"), why="labs/x"))
    with pytest.raises(KernelError, match="the set is full"):
        ipset.create(
            where, Ipset(name="small", type="hash:ip", maxelem=2, entries=("10.0.0.1", "10.0.0.2", "10.0.0.3"))
        )
    assert ipset.read(where) == []
    with pytest.raises(KernelError, match="no such set type"):
        ipset.create(where, Ipset(name="odd", type="hash:nonsense"))


def test_operations(where: str) -> None:
    first = Ipset(name="s", type="hash:ip", entries=("10.0.0.1", "10.0.0.2"))
    second = replace(first, entries=("10.0.0.2", "10.0.0.3"))
    bigger = replace(second, maxelem=1048576)
    other = Ipset(name="s", type="hash:net", entries=("10.0.0.0/8",))
    for op in (Create(first), Change(first, second), Change(second, bigger), Change(bigger, other)):
        ipset.perform(where, op)
        (found,) = ipset.read(where)
        assert op.item.met_by(found)
    ipset.perform(where, Delete(other))
    ipset.perform(where, Delete(other))
    assert ipset.read(where) == []


def test_a_set_that_a_rule_uses_can_change_its_size_but_not_go(where: str) -> None:
    first = Ipset(name="s", type="hash:ip", entries=("10.0.0.1",))
    ipset.create(where, first)
    rule = "*filter\n-A INPUT -m set --match-set s src -j DROP\nCOMMIT\n"
    run_in(where, ["iptables-legacy-restore"], stdin=rule, check=True)
    ipset.perform(where, Change(first, replace(first, maxelem=99)))
    assert ipset.read(where)[0].maxelem == 99
    assert "--match-set s src" in run_in(where, ["iptables-legacy-save"]).stdout
    with pytest.raises(KernelError, match="in use"):
        ipset.destroy(where, "s")
    assert [s.name for s in ipset.read(where)] == ["s"]


def test_nothing_is_left_open(where: str) -> None:
    ipset.read(where)
    before, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(20):
        ipset.read(where)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert threading.active_count() == threads
