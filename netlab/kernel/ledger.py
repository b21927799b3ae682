"""What each owner has asked for, so that `apply` knows what is the owner's and what is not, even after a SIGKILL.

The record is written before the kernel is touched (with all that was or will be claimed) and again when the kernel
has obeyed (with what is claimed now).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from netlab.base.errors import MachineError
from netlab.model.claims import Claims
from netlab.model.item import Item, Key
from netlab.model.state import HostState


class Ledger(Protocol):
    """Where claims are kept. Implementations: a lab's journal on disk, `MemoryLedger`."""

    def load(self, owner: str) -> Claims:
        """The last claims of the owner; empty if there are none."""

    def save(self, owner: str, claims: Claims) -> None:
        """Replace the owner's claims. Must have reached the disk, or whatever survives the process, on return."""


class NotedLedger(Ledger, Protocol):
    """A ledger to which a small change of large claims costs little."""

    def note(self, owner: str, netns: str, *, added: Iterable[Item] = (), dropped: Iterable[Item] = ()) -> None:
        """From here on the owner claims `added`, too, and `dropped` no longer. As durable as `save`."""


@dataclass(frozen=True, slots=True)
class Note:
    """A small change of an owner's claims in one namespace. dropped: the `order` of items."""

    netns: str
    added: tuple[Item, ...] = ()
    dropped: tuple[Key, ...] = ()


def folded(claims: Claims, notes: Sequence[Note]) -> Claims:
    """The claims after the changes, in their order."""
    if not notes:
        return claims
    items = {ns: {item.order: item for item in state} for ns, state in claims.states.items()}
    for note in notes:
        space = items.setdefault(note.netns, {})
        space.update((item.order, item) for item in note.added)
        for order in note.dropped:
            space.pop(order, None)
    states = {ns: HostState.of(space.values()) for ns, space in items.items() if space}
    return Claims(states, {ns: values for ns, values in claims.before.items() if ns in states})


class MemoryLedger:
    """Claims for as long as the process lives: tests, and owners that start from what they find."""

    def __init__(self) -> None:
        self._claims: dict[str, Claims] = {}
        self._notes: dict[str, list[Note]] = {}

    def load(self, owner: str) -> Claims:
        self._claims[owner] = folded(self._claims.get(owner, Claims()), self._notes.pop(owner, []))
        return self._claims[owner]

    def save(self, owner: str, claims: Claims) -> None:
        self._claims[owner] = claims
        self._notes.pop(owner, None)

    def note(self, owner: str, netns: str, *, added: Iterable[Item] = (), dropped: Iterable[Item] = ()) -> None:
        note = Note(netns, tuple(added), tuple(item.order for item in dropped))
        # folded when somebody wants to see them: a change of large claims should cost what the change does
        self._notes.setdefault(owner, []).append(note)


class FileLedger:
    """The claims of one daemon in a file of its own: a line with all of them, then a line for each small change.

    A line that a crash cut short is the last, and what it would have said was not begun. The file is written anew
    when the changes outgrow the claims. Only one process may have it.
    """

    FORMAT = 1
    #: lines of changes that are kept before the file is written anew
    LINES_MAX = 2000

    def __init__(self, path: Path) -> None:
        self.path = path
        self._claims: dict[str, Claims] | None = None
        # what was noted since, folded into the claims when somebody wants to see them
        self._notes: dict[str, list[Note]] = {}
        self._lines = self.LINES_MAX  # what stands there is not ours to append to until it was written by us

    def _all(self) -> dict[str, Claims]:
        if self._claims is None:
            self._claims = read_claims(self.path)
        for owner, notes in self._notes.items():
            self._claims[owner] = folded(self._claims.get(owner, Claims()), notes)
        self._notes.clear()
        return self._claims

    def load(self, owner: str) -> Claims:
        """The claims of the owner; empty if the file is not there. MachineError if it makes no sense."""
        return self._all().get(owner, Claims())

    def save(self, owner: str, claims: Claims) -> None:
        from netlab.model.codec import to_json

        after = {**self._all(), owner: claims}
        whole = {
            name: {"states": {ns: to_json(state) for ns, state in c.states.items()}, "before": c.before}
            for name, c in after.items()
        }
        new = self.path.with_name(self.path.name + ".new")
        with self._storing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                new.write_bytes(orjson.dumps({"format": self.FORMAT, "owners": whole}) + b"\n")
                new.replace(self.path)
            except OSError:
                new.unlink(missing_ok=True)
                raise
        self._claims, self._lines = after, 0

    def note(self, owner: str, netns: str, *, added: Iterable[Item] = (), dropped: Iterable[Item] = ()) -> None:
        from netlab.model.codec import to_json

        dropped = tuple(dropped)
        note = Note(netns, tuple(added), tuple(item.order for item in dropped))
        if self._lines >= self.LINES_MAX:
            self.save(owner, folded(self.load(owner), [note]))
            return
        line = {"owner": owner, "netns": netns, "added": to_json(note.added), "dropped": to_json(dropped)}
        with self._storing():
            _append(self.path, orjson.dumps(line) + b"\n")
        self._notes.setdefault(owner, []).append(note)
        self._lines += 1

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise MachineError(f"{self.path} cannot be written: {e.strerror}; the network was not touched") from e


def _append(path: Path, line: bytes) -> None:
    """A line or nothing. OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        before = os.fstat(fd).st_size
        try:
            if os.write(fd, line) < len(line):  # as much as there was room for
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(fd, before)
            raise
    finally:
        os.close(fd)


class LastLedger(FileLedger):
    """The claims of one who leaves: they stand in the file until that is gone, so that leaving takes no room on a disk.
    Who is cut short leaves again."""

    def save(self, owner: str, claims: Claims) -> None:
        self._claims = {**self._all(), owner: claims}


def read_claims(path: Path) -> dict[str, Claims]:
    """All owners' claims in a `FileLedger`'s file; none if there is none. MachineError if it makes no sense."""
    from netlab.model.codec import item_from_json, state_from_json

    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise MachineError(f"{path} cannot be read: {e.strerror}") from e
    try:
        head = orjson.loads(lines[0])
        if head["format"] != FileLedger.FORMAT:
            raise ValueError(f"format {head['format']}, this netlab writes {FileLedger.FORMAT}")
        claims = {
            name: Claims({ns: state_from_json(items) for ns, items in c["states"].items()}, c["before"])
            for name, c in head["owners"].items()
        }
        notes: dict[str, list[Note]] = {}
        for line in lines[1:-1]:  # what follows the last line feed was cut short
            change = orjson.loads(line)
            added = tuple(map(item_from_json, change["added"]))
            # items, not their orders: those hold IPv6 addresses as numbers, for which JSON has no room
            dropped = tuple(item_from_json(item).order for item in change["dropped"])
            note = Note(change["netns"], added, dropped)
            notes.setdefault(change["owner"], []).append(note)
        claims |= {owner: folded(claims.get(owner, Claims()), changes) for owner, changes in notes.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
        hint = f"what it stood for is then nobody's: rm {path}"
        raise MachineError(f"{path} makes no sense as a record of claims: {e}", hint=hint) from e
    return claims


def joined(old: HostState, new: HostState) -> HostState:
    """Everything that either claims; where both name a thing, the new claim."""
    items = {item.order: item for item in old} | {item.order: item for item in new}
    return HostState(tuple(items[order] for order in sorted(items)))
