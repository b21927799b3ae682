"""host-local's book of addresses: a directory per network, a file per address that says whose it is.

    10.1.0.5                the container's id and its interface, a CR LF between them
    last_reserved_ip.0      the last address that was given out of range set 0
    lock                    held (flock) by whoever looks or writes

These are the reference plugin's files, so that either finds what the other has given out. An entry is written elsewhere
and linked into place: a crash leaves it whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from pathlib import Path

from netlab.base import lockedfiles as files
from netlab.base.addresses import Address, Interface
from netlab.cni.errors import CniError, Code
from netlab.cni.ranges import RangeSet, pick

DIRECTORY = Path("var/lib/cni/networks")

Holder = tuple[str, str]


class Book:
    """The addresses of one network. Whatever is done is done under its lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def reserve(self, holder: Holder, sets: tuple[RangeSet, ...], asked: Collection[Address] = ()) -> list[Interface]:
        """An address of every set: all of them or none. CniError (101); (7) if the holder has one already."""
        with self._held():
            had = [address for address, whose in self._entries() if whose == holder]
            if had:
                raise CniError(
                    Code.CONFIG,
                    f"container {holder[0]} has {', '.join(had)} at {holder[1]} already",
                    "a second ADD needs a DEL before it",
                )
            got: list[Interface] = []
            try:
                for i, ranges in enumerate(sets):
                    found = pick(ranges, self._taken(), self._last(i), asked)
                    self._write(str(found.ip), holder)
                    got.append(found)
                    files.put(self.directory / f"last_reserved_ip.{i}", str(found.ip).encode())
            except CniError:
                self._release(holder)
                raise
            return got

    def release(self, holder: Holder) -> None:
        """All addresses of the holder are free."""
        if self.directory.is_dir():
            with self._held():
                self._release(holder)

    def keep(self, holders: Collection[Holder]) -> None:
        """All addresses of anybody else are free."""
        if not self.directory.is_dir():
            return
        with self._held():
            for address, whose in list(self._entries()):
                if whose not in holders:
                    (self.directory / address).unlink()

    def entries(self) -> list[tuple[str, Holder]]:
        """Every address that is given out, and to whom."""
        if not self.directory.is_dir():
            return []
        with self._held():
            return sorted(self._entries())

    # -- under the lock

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with files.locked(self.directory / "lock"):
            yield

    def _taken(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}

    def _entries(self) -> Iterator[tuple[str, Holder]]:
        for name in self._taken():
            if not _is_address(name):
                continue
            # bytes: reading text would turn CR LF into LF
            container, _, ifname = (self.directory / name).read_bytes().decode(errors="replace").partition("\r\n")
            yield name, (container.strip(), ifname.strip())

    def _release(self, holder: Holder) -> None:
        for address, whose in list(self._entries()):
            # an entry of the reference plugin's early versions has no interface
            if whose == holder or whose == (holder[0], ""):
                (self.directory / address).unlink()

    def _last(self, number: int) -> str | None:
        try:
            text = (self.directory / f"last_reserved_ip.{number}").read_text().strip()
        except FileNotFoundError:
            return None
        return text if _is_address(text) else None

    def _write(self, address: str, holder: Holder) -> None:
        new = self.directory / f".new.{os.getpid()}"
        new.unlink(missing_ok=True)  # of one that was killed: it may be the file of somebody's address by now
        try:
            new.write_text("\r\n".join(holder))
            os.link(new, self.directory / address)
        finally:
            new.unlink(missing_ok=True)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
