"""Rules of iptables, spelt as ip_tables keeps them: an ipt_entry or ip6t_entry with its matches and its target.

What is understood here is what a proxy writes; `NotUnderstoodError` says that a line is iptables-restore's. Every byte
is as the tool makes it, so that it lists the rules as they were asked for. A hundred thousand lines are spelt in one
sitting, so that what comes again and again (ports, chances, all of an endpoint's chain but its address) is remembered.

Facts: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h, linux/netfilter/x*.h, and the tables that
iptables-legacy-restore 1.8.9 makes.
"""

from __future__ import annotations

import re
import socket
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import NamedTuple, TypeVar

from netlab.kernel.xtmodules import (
    COMMENT_SIZE,
    DNAT,
    DNAT_FIRST,
    DNAT_SIZE,
    DNAT_TO,
    JUMP,
    MATCHES,
    MODULE,
    NOTED,
    OPEN,
    QUOTED,
    VERDICTS,
    NotUnderstoodError,
    commented,
    decimal,
    device,
    module,
    next_option,
    number_of,
    packed_name,
    standard,
)
from netlab.model.iptables import CHAIN_NAME_MAX

K = TypeVar("K")
T = TypeVar("T")
#: of an entry, behind what it says about addresses: nfcache, offset of the target, size, comefrom
REST = struct.Struct("=IHHI")
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}
#: IPT_INV_SRCIP and so on
_INVERTED = {"-i": 0x01, "-o": 0x02, "-s": 0x08, "-d": 0x10, "-p": 0x40}
#: remembered spellings of one kind
_MEMORY = 4096


@dataclass(frozen=True, slots=True)
class Jumps:
    """Verdicts that are left open until it is known where chains begin. at: where in the table; to: the number of the
    chain, -1 for the next rule."""

    at: array[int] = field(default_factory=lambda: array("I"))
    to: array[int] = field(default_factory=lambda: array("i"))


class _Endpoint(NamedTuple):
    """What chains of endpoints have in common, but for name, comment and address: the first rule behind its source, up
    to the comment of the second, up to where it rewrites to, and the rest. Bytes of all; where the verdict of the first
    is, and the number of the chain that it leads to."""

    first: bytes
    between: bytes
    second: bytes
    last: bytes
    size: int
    jump: int
    number: int


class Encoder:
    """Lines of one table to entries, one after the other. NotUnderstoodError for a line that is the tool's."""

    def __init__(self, family: int, table: str, chains: Mapping[str, int]) -> None:
        """chains: by their names, the numbers of those that there will be."""
        self.family = family
        self.jumps = Jumps()
        self._chains = chains
        self._fixed = 84 if family == 4 else 136
        #: of ipt_entry, up to its matches
        self._size = 112 if family == 4 else 168
        self._host = "/32" if family == 4 else "/128"
        self._behind = self._host + " "
        # entries that differ in their comment alone: what stands around it; chains that differ in an endpoint alone
        self._noted: dict[str, tuple[bytes, bytes]] = {}
        self._endpoints: dict[tuple[str, ...], _Endpoint] = {}
        self._known: dict[str, bytes] = {}
        self._networks: dict[str, bytes] = {}
        self._bases: dict[str, bytes] = {}
        # the kernel would let nat drop, and the tool does not
        verdicts = [name for name in VERDICTS if (table, name) != ("nat", "DROP")]
        self._targets = {name: standard(VERDICTS[name]) for name in verdicts}
        #: behind the last rule of a chain: back to where the packet came from
        self.ending = self._entry("", b"", standard(VERDICTS["RETURN"]))
        self._beginning = self._entry("", b"", MODULE.pack(64, b"ERROR", 0) + bytes(32))[:-32]
        #: bytes of the entry before the first rule of a chain
        self.head = len(self._beginning) + 32

    def beginning(self, name: str) -> bytes:
        """The entry before the first rule of a chain, which bears its name."""
        return self._beginning + packed_name(name, CHAIN_NAME_MAX).ljust(32, b"\0")

    def rules(self, lines: Iterable[str], at: int, parts: list[bytes]) -> int:
        """Entries, of which the first will be at byte `at`, and where they end.

        parts: gets the entries in pieces. Most lines choose an endpoint, and differ in comment and chain alone.
        """
        noted, chains, spelt = self._noted, self._chains, self._spelt
        for line in lines:
            number = around = None
            if line.startswith(QUOTED):
                note, _, behind = line[len(QUOTED) :].partition('"')
                match, _, target = behind.rpartition(" -j ")
                number = chains.get(target)
                around = noted.get(match) if number is not None else None
            if around is not None:
                parts += (around[0], commented(note), around[1])
                at += len(around[0]) + COMMENT_SIZE + len(around[1])
            else:
                entry, number = spelt(line)
                parts.append(entry)
                at += len(entry)
                if number is not None and number >= 0 and line.startswith(QUOTED):
                    _remembered(noted, match, (entry[: self._size], entry[self._size + COMMENT_SIZE :]))
            if number is not None:
                self.jumps.at.append(at - OPEN)
                self.jumps.to.append(number)
        return at

    def endpoint(self, name: str, lines: Sequence[str], at: int, parts: list[bytes]) -> int:
        """A chain of one endpoint, its name and its end included: where it ends, and 0 for any other chain.

        What the endpoint sends to itself is marked, what others send is rewritten. Nine of ten chains are such, and
        most differ in name, comment and address alone.
        """
        own, _, rest = lines[0].partition(self._behind)
        before, _, where = lines[1].partition(DNAT_TO)
        host, _, port = where.rpartition(":")
        address = own[3:]
        marked, sent = rest.split('"'), before.split('"')
        if own[:3] != "-s " or (host if self.family == 4 else host[1:-1]) != address:
            return 0
        if len(marked) != 3 or len(sent) != 3 or marked[1] != sent[1]:
            return 0
        shape = (marked[0], marked[2], sent[0], sent[2], port)
        known = self._endpoints.get(shape) or self._alike(lines, shape)
        if known is None:
            return 0
        raw = self._packed(address)
        end = raw.ljust(16, b"\0")
        note = commented(marked[1])
        title = packed_name(name, CHAIN_NAME_MAX).ljust(32, b"\0")
        parts += (
            self._beginning,
            title,
            raw,
            known.first,
            note,
            known.between,
            note,
            known.second,
            end,
            end,
            known.last,
        )
        self.jumps.at.append(at + known.jump)
        self.jumps.to.append(known.number)
        return at + known.size

    def _alike(self, lines: Sequence[str], shape: tuple[str, ...]) -> _Endpoint | None:
        """What chains of this shape have in common. None where each is of its own: who remembers clients names it."""
        if " -m recent " in lines[1] or lines[0].count(NOTED) != 1 or lines[1].count(NOTED) != 1:
            return None
        (marked, number), (sent, _) = map(self._spelt, lines)
        note = commented(lines[0].split('"')[1])
        if number is None or marked.count(note) != 1 or sent.count(note) != 1:
            return None
        head, _, tail = marked.partition(note)
        early, _, late = sent.partition(note)
        target = len(late) - DNAT_SIZE + DNAT_FIRST
        size = self.head + len(marked) + len(sent) + len(self.ending)
        return _remembered(
            self._endpoints,
            shape,
            _Endpoint(
                first=head[4 if self.family == 4 else 16 :],
                between=tail + early,
                second=late[:target],
                last=late[target + 32 :] + self.ending,
                size=size,
                jump=self.head + len(marked) - OPEN,
                number=number,
            ),
        )

    def _spelt(self, line: str) -> tuple[bytes, int | None]:
        """A rule's entry, and the number of the chain that it leads to, -1 for the next rule, None for neither."""
        cut = line.split('"')
        if len(cut) == 1:
            early, comment, late = line, b"", ""
        elif len(cut) == 3 and cut[0].endswith(NOTED):
            early, comment, late = cut[0][: -len(NOTED)].rstrip(" "), commented(cut[1]), cut[2]
        else:
            raise NotUnderstoodError(line)
        head, found, target = f" {late if comment else early}".rpartition(" -j ")
        if not found:
            head, target = target, ""
        base, found, first = (f" {early}" if comment else head).partition(" -m ")
        matches = self._matches(found + first)
        if comment:
            matches += comment + self._matches(head[1:])
        number = None
        raw = self._targets.get(target)
        if raw is None:
            number = self._chains.get(target, -1)
            if number < 0 and target:
                raw, number = self._target(target), None
            else:
                raw = JUMP
        return self._entry(base, matches, raw), number

    def _entry(self, base: str, matches: bytes, target: bytes) -> bytes:
        before = self._size + len(matches)
        if before + len(target) > 0xFFFF:
            raise NotUnderstoodError("an entry of more than 65,535 bytes")
        rest = REST.pack(0, before, before + len(target), 0).ljust(self._size - self._fixed, b"\0")
        return b"".join((self._base(base), rest, matches, target))

    def _base(self, text: str) -> bytes:
        """Addresses, devices, protocol."""
        known = self._bases.get(text)
        if known is not None:
            return known
        source = dest = bytes(8 if self.family == 4 else 32)
        devices = {"-i": "", "-o": ""}
        protocol = inverted = 0
        words = iter(text.split())
        while (found := next_option(words, text))[1]:
            negated, option = found
            value = next(words, "")
            inverted |= negated * _INVERTED.get(option, 0)
            if option == "-s":
                source = self._network(value)
            elif option == "-d":
                dest = self._network(value)
            elif option == "-p":
                protocol = number_of(_PROTOCOLS, value)
            elif option in devices and value:
                devices[option] = value
            else:
                raise NotUnderstoodError(text)
        half = len(source) // 2
        (came, came_mask), (went, went_mask) = map(device, devices.values())
        known = source[:half] + dest[:half] + source[half:] + dest[half:] + came + went + came_mask + went_mask
        if self.family == 4:
            known += struct.pack("=HBB", protocol, 0, inverted)
        else:
            known += struct.pack("=HBBB3x", protocol, 0, int(bool(protocol)), inverted)
        return known if "/" in text else _remembered(self._bases, text, known)

    def _packed(self, address: str) -> bytes:
        try:
            return socket.inet_pton(socket.AF_INET if self.family == 4 else socket.AF_INET6, address)
        except (OSError, ValueError) as e:
            raise NotUnderstoodError(address) from e

    def _network(self, text: str) -> bytes:
        """Address and mask."""
        if text.endswith(self._host):
            packed = self._packed(text[: -len(self._host)])
            return packed + b"\xff" * len(packed)
        known = self._networks.get(text)
        if known is not None:
            return known
        try:
            network = ip_network(text)
        except ValueError as e:
            raise NotUnderstoodError(text) from e
        if network.version != self.family:
            raise NotUnderstoodError(text)
        return _remembered(self._networks, text, network.network_address.packed + network.netmask.packed)

    def _matches(self, text: str) -> bytes:
        """Each with its ` -m `."""
        if not text:
            return b""
        known = self._known.get(text)
        if known is not None:
            return known
        if not text.startswith(" -m "):
            raise NotUnderstoodError(text)
        found = []
        for one in text[4:].split(" -m "):
            name, _, options = one.partition(" ")
            make = MATCHES.get(name)
            if make is None:
                raise NotUnderstoodError(one)
            found.append(make(self.family, options))
        return _remembered(self._known, text, b"".join(found))

    def _target(self, text: str) -> bytes:
        name, _, options = text.partition(" ")
        if text.startswith(DNAT_TO[4:]):
            return b"".join(self._dnat(text[len(DNAT_TO) - 4 :]))
        if name == "MARK":
            marked = re.fullmatch(r"--set-xmark 0x([0-9a-f]{1,8})/0x([0-9a-f]{1,8})", options)
            if not marked:
                raise NotUnderstoodError(text)
            return module("MARK", 2, struct.pack("=II", int(marked[1], 16), int(marked[2], 16)))
        if name == "MASQUERADE" and options in ("", "--random-fully"):
            flags = 0x10 if options else 0
            ranges = struct.pack("=II16x", 1, flags) if self.family == 4 else struct.pack("=I36x", flags)
            return module("MASQUERADE", 0, ranges)
        if text == "REJECT":
            return module("REJECT", 0, struct.pack("=I", 3 if self.family == 4 else 4))
        raise NotUnderstoodError(text)

    def _dnat(self, where: str) -> tuple[bytes, ...]:
        """To one address, perhaps with a port."""
        address, port = where, ""
        if self.family == 4:
            address, _, port = where.partition(":")
        elif where.startswith("["):
            address, _, port = where[1:].partition("]:")
            address = address.removesuffix("]")
        packed = self._packed(address).ljust(16, b"\0")
        if not port:
            return DNAT, b"\1\0\0\0", packed, packed, bytes(12)
        number = decimal(port).to_bytes(2, "big")
        return DNAT, b"\3\0\0\0", packed, packed, number, number, bytes(8)


def _remembered(memory: dict[K, T], key: K, made: T) -> T:
    if len(memory) >= _MEMORY:
        memory.clear()
    memory[key] = made
    return made
