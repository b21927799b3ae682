"""host-local's addresses: in turn, all or none, shared with the reference plugin's files, and none lost by a crash."""

from __future__ import annotations

import os
import random
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from netlab.cni.book import Book
from netlab.cni.errors import CniError, Code
from netlab.cni.fields import Fields
from netlab.cni.ranges import RangeSet, read

OPS = 1000


def sets(*ranges: Any) -> tuple[RangeSet, ...]:
    return read(Fields({"ranges": [list(r) if isinstance(r, tuple) else [r] for r in ranges]}, "ipam"))


def subnet(text: str, **more: str) -> dict[str, str]:
    return {"subnet": text, **more}


def taken(book: Book) -> dict[str, tuple[str, str]]:
    return dict(book.entries())


def test_addresses_are_given_in_turn_and_rest_before_they_are_given_again(tmp_path: Path) -> None:
    book, ranges = Book(tmp_path / "n"), sets(subnet("10.0.0.0/29"))
    got = [str(book.reserve((f"c{i}", "eth0"), ranges)[0]) for i in range(3)]
    assert got == ["10.0.0.2/29", "10.0.0.3/29", "10.0.0.4/29"]
    book.release(("c0", "eth0"))
    assert [str(book.reserve((f"d{i}", "eth0"), ranges)[0].ip) for i in range(3)] == [
        "10.0.0.5",
        "10.0.0.6",
        "10.0.0.2",
    ]
    with pytest.raises(CniError, match="no address is left") as full:
        book.reserve(("e", "eth0"), ranges)
    assert full.value.code == Code.NO_ADDRESS


def test_all_families_or_none(tmp_path: Path) -> None:
    book, ranges = Book(tmp_path / "n"), sets(subnet("10.0.0.0/24"), subnet("fd00::/64", rangeEnd="fd00::2"))
    assert [str(a) for a in book.reserve(("a", "eth0"), ranges)] == ["10.0.0.2/24", "fd00::2/64"]
    with pytest.raises(CniError, match="fd00::"):
        book.reserve(("b", "eth0"), ranges)
    assert set(taken(book).values()) == {("a", "eth0")}


def test_several_ranges_of_a_set_follow_each_other(tmp_path: Path) -> None:
    pair = (subnet("10.0.0.0/30"), subnet("10.1.0.0/30", gateway="10.1.0.2"))
    book = Book(tmp_path / "n")
    assert [str(book.reserve((c, "x"), sets(pair))[0].ip) for c in "ab"] == ["10.0.0.2", "10.1.0.1"]


def test_an_address_may_be_asked_for(tmp_path: Path) -> None:
    book, ranges = Book(tmp_path / "n"), sets(subnet("10.0.0.0/24"))
    asked = [ip_address("10.0.0.77")]
    assert str(book.reserve(("a", "eth0"), ranges, asked)[0]) == "10.0.0.77/24"
    with pytest.raises(CniError, match="in use"):
        book.reserve(("b", "eth0"), ranges, asked)
    with pytest.raises(CniError, match="gateway"):
        book.reserve(("b", "eth0"), ranges, [ip_address("10.0.0.1")])
    with pytest.raises(CniError, match="already"):
        book.reserve(("a", "eth0"), ranges)
    assert len(taken(book)) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "at least one set"),
        ({"ranges": [{}]}, "no list"),
        ({"ranges": [[{}]]}, "subnet"),
        ({"ranges": [[{"subnet": "10.0.0.0/31"}]]}, "room"),
        ({"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.1.0.0"}]]}, "rangeStart"),
        ({"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8"}]]}, "rangeStart"),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "fd00::/64"}]]}, "both families"),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.0/25"}]]}, "overlap"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(CniError, match=said) as wrong:
        read(Fields(given, "ipam"))
    assert wrong.value.code == Code.CONFIG


def test_the_reference_plugins_files_are_understood(tmp_path: Path) -> None:
    directory = tmp_path / "n"
    directory.mkdir()
    (directory / "10.0.0.2").write_bytes(b"old")  # before interfaces were written
    (directory / "10.0.0.3").write_bytes(b"new\r\neth0")
    (directory / "last_reserved_ip.0").write_bytes(b"10.0.0.3")
    book = Book(directory)
    assert str(book.reserve(("mine", "eth0"), sets(subnet("10.0.0.0/24")))[0].ip) == "10.0.0.4"
    assert (directory / "10.0.0.4").read_bytes() == b"mine\r\neth0"
    book.release(("old", "eth0"))
    book.release(("new", "net1"))  # another interface of it
    assert set(taken(book)) == {"10.0.0.3", "10.0.0.4"}


class Crash(BaseException):
    """The process is gone: nothing of ours may catch it."""


def test_no_address_leaks_in_a_thousand_random_adds_deletes_and_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash can come before or after any change of a file; the runtime then owes a DEL, or a GC."""
    chance = random.Random(20)
    left = [-1]

    def maybe(real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            done = real(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            return done

        return step

    monkeypatch.setattr(os, "link", maybe(os.link))
    monkeypatch.setattr(Path, "replace", maybe(Path.replace))
    monkeypatch.setattr(Path, "unlink", maybe(Path.unlink))
    book, ranges = Book(tmp_path / "n"), sets(subnet("10.0.0.0/28"), subnet("fd00::/120"))
    wanted: dict[tuple[str, str], set[str]] = {}
    crashes = refused = 0
    for _ in range(OPS):
        holder = (f"c{chance.randrange(40)}", "eth0")
        left[0] = chance.randrange(1, 9) if chance.random() < 0.3 else -1
        try:
            if holder in wanted or chance.random() < 0.2:
                book.release(holder)
                wanted.pop(holder, None)
            else:
                wanted[holder] = {str(a.ip) for a in book.reserve(holder, ranges)}
        except Crash:
            crashes += 1
            left[0] = -1
            book.release(holder)
            wanted.pop(holder, None)
        except CniError as e:
            refused += e.code == Code.NO_ADDRESS
        left[0] = -1
        assert taken(book) == {a: h for h, addresses in wanted.items() for a in addresses}
    assert crashes > 50 and refused > 10
    book.keep(list(wanted)[:3])
    assert set(taken(book).values()) == set(list(wanted)[:3])
    for holder in wanted:
        book.release(holder)
    assert taken(book) == {}
    assert not [f.name for f in (tmp_path / "n").iterdir() if f.name.startswith(".new") and f.stat().st_nlink > 1]
