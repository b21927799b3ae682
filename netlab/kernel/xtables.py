"""A legacy iptables table written as the kernel keeps it, without iptables-restore.

The tool takes a text apart rule by rule, which is four fifths of the time that a thousand Services take, and more of
what ten thousand do. What is understood here (the rules that a proxy writes) is laid out as the kernel wants it and
replaces the table in one call; of anything else `replace` says False, which is then the tool's. Rules are spelt byte
for byte as the tool spells them, so that it lists them as they were asked for. Rules that others have in the table are
carried over as they are, with their counters.

Facts: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h, linux/netfilter/x*.h, and the tables that
iptables-legacy-restore 1.8.9 makes.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from netlab.kernel import netns as namespaces
from netlab.kernel.xtmodules import MODULE, OPEN, VERDICT, NotUnderstoodError
from netlab.kernel.xtrules import REST, Encoder
from netlab.model.diff import Delete, Op
from netlab.model.iptables import Chain
from netlab.model.restore import sides

#: pieces of entries that are put together at a time: some 100 kB, which memory that is in use already has room for
_PIECES = 1000
#: a table that has more than this already is the tool's: it would have to be held here twice
EXISTING_MAX = 1 << 20
_HOOKS = {"PREROUTING": 0, "INPUT": 1, "FORWARD": 2, "OUTPUT": 3, "POSTROUTING": 4}
_GET_INFO, _GET_ENTRIES, _REPLACE, _ADD_COUNTERS = 64, 65, 64, 65
_INFO = struct.Struct("=32sI5I5III")  # name, valid hooks, entries, underflows, number, size
_REPLACE_HEAD = struct.Struct("@32sIII5I5IIP")  # ipt_replace
_ASKED = struct.Struct("=32sI4x")  # ipt_get_entries
_COUNTED = struct.Struct("=32sI4x")  # xt_counters_info
_COUNTERS = struct.Struct("=QQ")
_UNHOOKED = 0xFFFFFFFF
#: all namespaces of the machine share it, and the tool waits for it
LOCK = os.environ.get("XTABLES_LOCKFILE") or "/run/xtables.lock"

_libc = ctypes.CDLL(None, use_errno=True)


class Rule(NamedTuple):
    """An entry as read. jump: the chain that it leads to; `` if it goes on with the next rule, None for any other.
    number: among all entries."""

    entry: bytes
    jump: str | None
    number: int


class Table(NamedTuple):
    """A table as read. chains: built-in ones in order of their hooks, then the rest; the last rule of each is how it
    ends. entries: how many the kernel counts."""

    hooks: int
    chains: dict[str, list[Rule]]
    entries: int


def parsed(family: int, info: bytes, raw: bytes) -> Table:
    """What GET_INFO and GET_ENTRIES say. NotUnderstoodError for a table that is not laid out as the tool does it."""
    try:
        return _parsed(family, info, raw)
    except (struct.error, UnicodeDecodeError) as e:
        raise NotUnderstoodError("a table that is cut short") from e


def _parsed(family: int, info: bytes, raw: bytes) -> Table:
    fixed, head = (84, 112) if family == 4 else (136, 168)
    _, valid, *numbers = _INFO.unpack(info)
    begins, ends, (entries, _) = numbers[:5], numbers[5:10], numbers[10:]
    builtin = {begins[at]: name for name, at in _HOOKS.items() if valid >> at & 1}
    last = {ends[at] for at in _HOOKS.values() if valid >> at & 1}
    chains: dict[str, list[Rule]] = {}
    #: where a chain's first rule is, and of rules where they lead
    starts: dict[int, str] = {}
    found: list[tuple[list[Rule], int, int, int, int]] = []
    now: list[Rule] = []
    at, number, ended = 0, 0, False
    while at < len(raw):
        _, target, size, _ = REST.unpack_from(raw, at + fixed)
        if not head <= target <= size - MODULE.size or at + size > len(raw):
            raise NotUnderstoodError("an entry that is cut short")
        if at in builtin:
            now = chains[builtin[at]] = []
        kind = raw[at + target + 2 : at + target + 31].split(b"\0")[0]
        if kind == b"ERROR":
            name = raw[at + target + 32 : at + size].split(b"\0")[0].decode()
            starts[at + size] = name
            now = [] if at + size == len(raw) else chains.setdefault(name, [])
            ended = at + size == len(raw)
        else:
            verdict = VERDICT.unpack_from(raw, at + target + 32)[0] if not kind else -1
            found.append((now, len(now), at, size, verdict))
            now.append(Rule(raw[at : at + size], None, number))
        at += size
        number += 1
    if not ended or len(chains) != len(starts) - 1 + len(builtin) or not last <= {at for _, _, at, _, _ in found}:
        raise NotUnderstoodError("a table that is not laid out as iptables does it")
    for rules, place, at, size, verdict in found:
        if verdict >= 0:
            jump = "" if verdict == at + size else starts.get(verdict)
            if jump is None:
                raise NotUnderstoodError("a jump into the midst of a chain")
            rules[place] = rules[place]._replace(jump=jump)
    return Table(valid, chains, entries)


class Layout(NamedTuple):
    """A table as the kernel takes it. blob: an ipt_replace, whose pointer to room for counters is missing; kept: by
    their number, the number that entries had before; entries: how many."""

    blob: bytearray
    kept: dict[int, int]
    entries: int


def laid_out(family: int, name: str, table: Table, ops: Sequence[Op]) -> Layout:
    """The table after the operations, each about a chain of it. NotUnderstoodError if a rule is the tool's, or if it
    is not for us to say what is wrong."""
    chains: dict[str, Sequence[Rule | str]] = dict(table.chains)
    for op in ops:
        item = op.item
        assert isinstance(item, Chain)
        if item.builtin:
            old, new = sides(op)
            assert old and new
            chains[item.name] = _edited(chains.get(item.name, ()), old, new)
        elif isinstance(op, Delete):
            chains.pop(item.name, None)
        else:
            chains[item.name] = item.lines
    builtin = [chain for chain, hook in _HOOKS.items() if table.hooks >> hook & 1]
    own = sorted(chains.keys() - set(builtin))
    numbers = {chain: number for number, chain in enumerate(own)}
    encoder, kept = Encoder(family, name, numbers), dict[int, int]()
    jumps = encoder.jumps
    base = _REPLACE_HEAD.size
    blob, parts, starts = bytearray(base), list[bytes](), array("I")
    begins, ends = [_UNHOOKED] * 5, [_UNHOOKED] * 5
    at = entries = 0
    for chain in [*builtin, *own]:
        if len(parts) > _PIECES:
            blob += b"".join(parts)
            parts.clear()
        rules = chains[chain]
        if len(rules) == 2 and isinstance(rules[1], str):
            end = encoder.endpoint(chain, rules, at, parts)  # type: ignore[arg-type]
            if end:
                starts.append(at + encoder.head)
                at, entries = end, entries + 4
                continue
        if chain in builtin:
            begins[_HOOKS[chain]] = at
        else:
            parts.append(encoder.beginning(chain))
            at += len(parts[-1])
            entries += 1
            starts.append(at)
        last = at
        if rules and isinstance(rules[-1], Rule):  # as it was, all of it or some
            for rule in rules:
                last = at
                if isinstance(rule, str):
                    at = encoder.rules([rule], at, parts)
                else:
                    kept[entries] = rule.number
                    parts.append(rule.entry)
                    at += len(rule.entry)
                    if rule.jump is not None:
                        jumps.at.append(at - OPEN)
                        jumps.to.append(_known(numbers, rule.jump))
                entries += 1
        else:
            at = encoder.rules(rules, at, parts)  # type: ignore[arg-type]
            parts.append(encoder.ending)
            at += len(encoder.ending)
            entries += len(rules) + 1
        if chain in builtin:
            ends[_HOOKS[chain]] = last
    parts.append(encoder.beginning("ERROR"))
    entries += 1
    blob += b"".join(parts)
    for where, number in zip(jumps.at, jumps.to, strict=True):
        VERDICT.pack_into(blob, base + where, where + OPEN if number < 0 else starts[number])
    head = (name.encode(), table.hooks, entries, len(blob) - base, *begins, *ends, table.entries, 0)
    _REPLACE_HEAD.pack_into(blob, 0, *head)
    return Layout(blob, kept, entries)


def _known(numbers: Mapping[str, int], jump: str) -> int:
    """As in `Jumps.to`."""
    number = numbers.get(jump, -1)
    if jump and number < 0:
        raise NotUnderstoodError(f"a rule leads to {jump}, which is to go")
    return number


def _edited(rules: Sequence[Rule | str], old: Chain, new: Chain) -> list[Rule | str]:
    """A built-in chain with more rules: what is there stays as it is, the policy at its end included.

    Who takes rules out names them by their text, so that another's is not taken which came in between: the tool does.
    """
    if new.policy not in (None, old.policy) or len(rules) != len(old.rules) + 1:
        raise NotUnderstoodError(f"{new}: not as it was read, or another policy")
    found: list[Rule | str] = []
    for kind, start, end, first, last in SequenceMatcher(None, old.lines, new.lines, autojunk=False).get_opcodes():
        if kind not in ("equal", "insert"):
            raise NotUnderstoodError(f"{new}: rules are taken out")
        # not every built-in chain knows both devices, which the tool says and the kernel does not
        if kind == "insert" and any({"-i", "-o"} & set(line.split()) for line in new.lines[first:last]):
            raise NotUnderstoodError(f"{new}: devices")
        found += rules[start:end] if kind == "equal" else new.lines[first:last]
    return [*found, rules[-1]]


# -- the kernel


@contextlib.contextmanager
def _locked(wait: float) -> Iterator[None]:
    """What keeps two who read, change and write the same table from undoing each other's work."""
    fd = os.open(LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NotUnderstoodError("another holds the lock for long") from None
                time.sleep(0.01)  # flock(2) knows no timeout
        yield
    finally:
        os.close(fd)


class _Door:
    """The socket through which a namespace's tables of one IP version are read and written."""

    def __init__(self, netns: str | int, family: int) -> None:
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        self._level = socket.IPPROTO_IP if family == 4 else socket.IPPROTO_IPV6
        with namespaces.entered(netns):
            self._socket = socket.socket(kind, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)

    def __enter__(self) -> _Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, option: int, asked: bytes, size: int) -> bytes:
        """Python's own getsockopt passes nothing in. OSError."""
        room = bytearray(asked.ljust(size, b"\0"))
        length = ctypes.c_uint32(size)
        where = (ctypes.c_char * size).from_buffer(room)
        self._checked(_libc.getsockopt(self._socket.fileno(), self._level, option, where, ctypes.byref(length)))
        del where
        return bytes(room)

    def set(self, option: int, data: bytearray) -> None:
        """OSError."""
        where = (ctypes.c_char * len(data)).from_buffer(data)
        self._checked(_libc.setsockopt(self._socket.fileno(), self._level, option, where, ctypes.c_uint32(len(data))))

    def _checked(self, result: int) -> None:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def replace(netns: str | int, family: int, table: str, ops: Sequence[Op], *, wait: float) -> bool:
    """Carry the operations out, all of them or none. False if they are the tool's, which then can say why.

    wait: seconds for the lock that all who write tables hold.
    """
    try:
        with _locked(wait), _Door(netns, family) as door:
            name = table.encode().ljust(32, b"\0")
            info = door.get(_GET_INFO, name, _INFO.size)
            *_, size = _INFO.unpack(info)
            if size > EXISTING_MAX:
                return False
            raw = door.get(_GET_ENTRIES, _ASKED.pack(name, size), _ASKED.size + size)
            now = parsed(family, info, raw[_ASKED.size :])
            layout = laid_out(family, table, now, ops)
            before = bytearray(_COUNTERS.size * now.entries)
            room = (ctypes.c_char * len(before)).from_buffer(before)
            struct.pack_into("P", layout.blob, _REPLACE_HEAD.size - 8, ctypes.addressof(room))
            door.set(_REPLACE, layout.blob)
            if any(before):
                _recount(door, name, layout, before)
    except (NotUnderstoodError, OSError):
        return False
    return True


def _recount(door: _Door, name: bytes, layout: Layout, before: bytearray) -> None:
    """The kernel begins at nothing: what entries that stay had counted when they were replaced is added."""
    size, head = _COUNTERS.size, _COUNTED.size
    counted = bytearray(head + size * layout.entries)
    _COUNTED.pack_into(counted, 0, name, layout.entries)
    for new, old in layout.kept.items():
        counted[head + size * new : head + size * (new + 1)] = before[size * old : size * (old + 1)]
    with contextlib.suppress(OSError):  # the rules stand, and that is what was asked for
        door.set(_ADD_COUNTERS, counted)
