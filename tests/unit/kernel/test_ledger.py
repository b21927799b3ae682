"""Claims survive the process: whole, in small notes, and cut short by a crash."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.base.errors import MachineError
from netlab.kernel import ledger as ledgers
from netlab.kernel.apply import DaemonKernel, Kernel
from netlab.kernel.fake import FakeBackend
from netlab.kernel.ledger import FileLedger, LastLedger, MemoryLedger, NotedLedger, read_claims
from netlab.model import Chain, Dummy, Fdb, HostState, Item, Link, Neighbour, Route, Sysctl
from netlab.model.claims import Claims

NS, OWNER = "a", "flanneld"
DEVICE = [Link(name="d0", kind=Dummy(), mac="02:00:00:00:00:01")]


def lease(i: int) -> list[Item]:
    mac = f"02:00:00:00:01:{i:02x}"
    return [
        Route(dst=ip_network(f"10.0.{i}.0/24"), dev="d0"),
        Neighbour(dev="d0", address=ip_address(f"10.0.{i}.0"), mac=mac),
        Fdb(dev="d0", mac=mac, dst=ip_address(f"192.0.2.{i}")),
    ]


LEASES = {i: lease(i) for i in range(8)}


def state(numbers: set[int]) -> HostState:
    return HostState.of([*DEVICE, *(item for i in numbers for item in LEASES[i])])


def test_claims_come_back_from_the_file(tmp_path: Path) -> None:
    ledger = FileLedger(tmp_path / "sub/claims")
    claims = Claims({NS: state({1, 2})}, {NS: {"net/ipv4/ip_forward": "0"}})
    ledger.save(OWNER, claims)
    ledger.save("other", Claims({"b": state({3})}))
    assert FileLedger(tmp_path / "sub/claims").load(OWNER) == claims


def test_no_file_is_no_claims(tmp_path: Path) -> None:
    assert FileLedger(tmp_path / "claims").load(OWNER) == Claims()


@given(st.lists(st.tuples(st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7))), max_size=12), st.integers(0, 5))
def test_notes_on_disk_say_what_notes_in_memory_say(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[set[int], set[int]]], lines: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "claims"
    on_disk, in_memory = FileLedger(path), MemoryLedger()
    on_disk.LINES_MAX = lines  # type: ignore[misc]
    ledgers: list[NotedLedger] = [on_disk, in_memory]
    for added, dropped in steps:
        for ledger in ledgers:
            ledger.note(
                OWNER, NS, added=[x for i in added for x in LEASES[i]], dropped=[x for i in dropped for x in LEASES[i]]
            )
    assert on_disk.load(OWNER) == in_memory.load(OWNER)
    assert FileLedger(path).load(OWNER) == in_memory.load(OWNER)


def test_a_line_cut_short_was_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    ledger = FileLedger(path)
    ledger.save(OWNER, Claims({NS: state({1})}))
    ledger.note(OWNER, NS, added=LEASES[2])
    whole = path.read_bytes()
    ledger.note(OWNER, NS, added=LEASES[3])
    for end in range(len(whole), len(path.read_bytes())):
        cut = tmp_path / "cut"
        cut.write_bytes(path.read_bytes()[:end])
        assert read_claims(cut)[OWNER].states[NS] == state({1, 2})


def test_nonsense_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    for text in (b"", b"{}\n", b'{"format": 99, "owners": {}}\n', b"[1]\n", b'{"format":1,"owners":{"x":3}}\n'):
        path.write_bytes(text)
        with pytest.raises(MachineError, match=str(path)) as caught:
            FileLedger(path).load(OWNER)
        assert caught.value.hint and "rm" in caught.value.hint


def test_a_ledger_that_cannot_be_written_stops_the_change(tmp_path: Path) -> None:
    backend = FakeBackend()
    (tmp_path / "claims").mkdir()
    kernel = DaemonKernel(backend, FileLedger(tmp_path / "claims"))
    with pytest.raises(MachineError):
        kernel.apply(NS, OWNER, state({1}))
    assert not backend.operations


def test_a_note_for_which_there_is_no_room_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = FileLedger(tmp_path / "claims")
    ledger.save(OWNER, Claims({NS: state({1})}))
    with monkeypatch.context() as full:
        full.setattr(ledgers.os, "write", lambda fd, line, write=os.write: write(fd, line[:10]))
        with pytest.raises(MachineError, match="No space left on device"):
            ledger.note(OWNER, NS, added=LEASES[2])
    ledger.note(OWNER, NS, added=LEASES[3])
    assert read_claims(tmp_path / "claims")[OWNER].states[NS] == state({1, 3})
    assert ledger.load(OWNER).states[NS] == state({1, 3})


def test_who_leaves_needs_no_room(tmp_path: Path) -> None:
    """What it claimed stands there until the file goes."""
    FileLedger(tmp_path / "claims").save(OWNER, Claims({NS: state({1})}))
    content = (tmp_path / "claims").read_bytes()
    ledger = LastLedger(tmp_path / "claims")
    ledger.save(OWNER, Claims())
    assert ledger.load(OWNER) == Claims()
    assert (tmp_path / "claims").read_bytes() == content


def test_a_transition_does_what_apply_would_and_only_that() -> None:
    backend = FakeBackend()
    kernel = DaemonKernel(backend, MemoryLedger())
    kernel.apply(NS, OWNER, state({1, 2}))
    ops = kernel.transition(NS, OWNER, state({1, 2}), state({2, 3}))
    assert len(ops) == 6
    assert kernel.plan_all(OWNER, {NS: state({2, 3})}) == {}
    assert kernel.ledger.load(OWNER).states[NS] == state({2, 3})


def test_a_transition_mends_what_somebody_took_away_from_the_new() -> None:
    """The kernel is not asked before; what is gone already is as good as removed."""
    kernel = DaemonKernel(FakeBackend(), MemoryLedger())
    kernel.apply(NS, OWNER, state({1, 2}))
    kernel.apply(NS, "vandal", HostState())
    kernel.transition(NS, OWNER, state({1, 2}), state({1}))
    kernel.transition(NS, OWNER, state({1, 2}), state({1}))
    assert kernel.plan_all(OWNER, {NS: state({1})}) == {}


def test_a_transition_of_more_than_table_entries_is_an_apply() -> None:
    kernel = DaemonKernel(FakeBackend(), MemoryLedger())
    kernel.apply(NS, OWNER, state({1}))

    wanted = state({1}) | HostState.of([Link(name="d1", kind=Dummy())])
    assert kernel.transition(NS, OWNER, state({1}), wanted)
    assert kernel.plan_all(OWNER, {NS: wanted}) == {}


class _Counted(MemoryLedger):
    saves = 0

    def save(self, owner: str, claims: Claims) -> None:
        self.saves += 1
        super().save(owner, claims)


def test_claims_are_written_once() -> None:
    """Ten thousand Services are many megabytes: a first apply, sysctls included, writes them one time, a second none."""
    backend, ledger = FakeBackend(), _Counted()
    backend.create("a")
    kernel = Kernel(backend, ledger)
    wanted = HostState.of([Sysctl(name="net/ipv4/ip_forward", value="1"), Chain(family=4, table="nat", name="MINE")])
    assert kernel.apply("a", OWNER, wanted)
    assert ledger.saves == 1
    assert not kernel.apply("a", OWNER, wanted)
    assert ledger.saves == 1
