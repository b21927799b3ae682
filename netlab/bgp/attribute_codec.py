"""Path attributes from and to bytes, with the revised error handling of RFC 7606: what is wrong is a value.

Reading is remembered by the bytes read: most routes of a table share their attributes with others, and a value that was
read once is found again by one look-up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from netlab.base.addresses import Address
from netlab.bgp import nlri
from netlab.bgp.attributes import Aggregator, AsPath, Attrs, Segment, Unknown, intern
from netlab.bgp.codes import (
    AS_SEQUENCE,
    AS_SET,
    AS_TRANS,
    CONFED_SEQUENCE,
    CONFED_SET,
    EXTENDED,
    FLAGS_ERROR,
    LENGTH_ERROR,
    MALFORMED_LIST,
    MISSING_WELL_KNOWN,
    OPTIONAL,
    OPTIONAL_ERROR,
    PARTIAL,
    TRANSITIVE,
    UNKNOWN_WELL_KNOWN,
    Attribute,
    Code,
    ProtocolError,
)
from netlab.bgp.nlri import FAMILIES, Family, Nlri

WITHDRAW, DISCARD = "treat-as-withdraw", "attribute-discard"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with an UPDATE that the session survives (RFC 7606 section 2).

    action: WITHDRAW or DISCARD; attribute: its code, 0 for the list; subcode: what a NOTIFICATION would have said.
    """

    action: str
    attribute: int
    subcode: int
    why: str

    def __str__(self) -> str:
        return f"{self.action}: attribute {self.attribute}: {self.why}"


class Malformed(Exception):
    """Inside this module: one attribute's value cannot be. action: what RFC 7606 says to do about it."""

    def __init__(self, why: str, action: str = WITHDRAW, subcode: int = LENGTH_ERROR) -> None:
        super().__init__(why)
        self.why, self.action, self.subcode = why, action, subcode


@dataclass(frozen=True, slots=True)
class Reach:
    """MP_REACH_NLRI of a family that we know (RFC 4760 section 3)."""

    family: Family
    next_hop: Address
    link_local: IPv6Address | None
    prefixes: list[Nlri]


@dataclass(frozen=True, slots=True)
class Raw:
    """An attribute list, taken apart. rest: all attributes but the MP ones, which are different in every message."""

    rest: bytes
    reach: bytes | None
    unreach: bytes | None
    fault: Fault | None


def split(data: bytes) -> Raw:
    """Find the attributes' bounds. ProtocolError if an MP attribute occurs twice (RFC 7606 section 3 g)."""
    at, end, start = 0, len(data), 0
    rest: list[bytes] = []
    reach = unreach = None
    fault = None
    while at < end:
        wide = data[at] & EXTENDED
        header = 4 if wide else 3
        if at + header > end:
            fault = Fault(WITHDRAW, 0, MALFORMED_LIST, "the attribute list is cut short")
            break
        code = data[at + 1]
        length = data[at + 2] << 8 | data[at + 3] if wide else data[at + 2]
        stop = at + header + length
        if stop > end:
            fault = Fault(WITHDRAW, code, MALFORMED_LIST, "an attribute is longer than the list")
            break
        if code in (Attribute.MP_REACH, Attribute.MP_UNREACH):
            if (reach if code == Attribute.MP_REACH else unreach) is not None:
                raise ProtocolError(Code.UPDATE, MALFORMED_LIST, why=f"attribute {code} occurs twice")
            if code == Attribute.MP_REACH:
                reach = data[at + header : stop]
            else:
                unreach = data[at + header : stop]
            rest.append(data[start:at])
            start = stop
        at = stop
    if not rest:
        return Raw(data[:at], None, None, fault)
    rest.append(data[start:at])
    return Raw(b"".join(rest), reach, unreach, fault)


def parse_reach(value: bytes) -> Reach | None:
    """MP_REACH_NLRI; None for a family that we do not speak. ProtocolError if prefixes cannot be found in it."""
    if len(value) < 5:
        raise ProtocolError(Code.UPDATE, OPTIONAL_ERROR, why="MP_REACH_NLRI is cut short")
    afi, safi, length = struct.unpack_from("!HBB", value)
    family = FAMILIES.get((afi, safi))
    if family is None:
        return None
    hop, at = value[4 : 4 + length], 5 + length
    if length not in ((4,) if family is Family.IPV4 else (16, 32)) or len(value) < at:
        raise ProtocolError(Code.UPDATE, OPTIONAL_ERROR, why=f"a next hop of {length} octets in MP_REACH_NLRI")
    try:
        prefixes = nlri.parse(value[at:], family.bits)
    except ValueError as e:
        raise ProtocolError(Code.UPDATE, OPTIONAL_ERROR, why=str(e)) from None
    second = IPv6Address(hop[16:]) if length == 32 else None
    return Reach(family, nlri.address(hop[:16]), second if second and second.is_link_local else None, prefixes)


def parse_unreach(value: bytes) -> tuple[Family, list[Nlri]] | None:
    """MP_UNREACH_NLRI; None for a family that we do not speak. ProtocolError."""
    if len(value) < 3:
        raise ProtocolError(Code.UPDATE, OPTIONAL_ERROR, why="MP_UNREACH_NLRI is cut short")
    family = FAMILIES.get((value[0] << 8 | value[1], value[2]))
    if family is None:
        return None
    try:
        return family, nlri.parse(value[3:], family.bits)
    except ValueError as e:
        raise ProtocolError(Code.UPDATE, OPTIONAL_ERROR, why=str(e)) from None


class Reader:
    """Reads the attributes of one session. as4: whether it has four-octet AS numbers; ebgp: the peer is external."""

    #: distinct attribute lists remembered; then forgotten altogether, which costs one reading each
    REMEMBERED_MAX = 4_000

    def __init__(self, *, as4: bool, ebgp: bool) -> None:
        self.as4, self.ebgp = as4, ebgp
        self._seen: dict[bytes, tuple[Attrs, tuple[Fault, ...], frozenset[int]]] = {}

    def read(self, data: bytes) -> tuple[Attrs, tuple[Fault, ...], frozenset[int]]:
        """Attributes without the MP ones: the value, what was wrong with it, and the codes present.

        ProtocolError for a well-known attribute that nobody knows (RFC 4271 section 6.3).
        """
        found = self._seen.get(data)
        if found is None:
            if len(self._seen) >= self.REMEMBERED_MAX:
                self._seen.clear()
            found = self._seen[data] = self._read(data)
        return found

    def _read(self, data: bytes) -> tuple[Attrs, tuple[Fault, ...], frozenset[int]]:
        values: dict[str, Any] = {}
        unknown: list[Unknown] = []
        faults: list[Fault] = []
        seen: set[int] = set()
        at = 0
        while at < len(data):
            flags, code = data[at], data[at + 1]
            wide = flags & EXTENDED
            start = at + (4 if wide else 3)
            stop = start + (data[at + 2] << 8 | data[at + 3] if wide else data[at + 2])
            whole, value, at = data[at:stop], data[start:stop], stop
            if code in seen:
                faults.append(Fault(DISCARD, code, MALFORMED_LIST, "occurs twice; the first counts"))
                continue
            seen.add(code)
            known = _KNOWN.get(code)
            if known is None:
                if not flags & OPTIONAL:
                    raise ProtocolError(Code.UPDATE, UNKNOWN_WELL_KNOWN, whole, why=f"attribute {code}")
                if flags & TRANSITIVE:  # the others are for those who know them: quietly ignored
                    unknown.append(Unknown((flags | PARTIAL) & ~EXTENDED & 0xF0, code, value))
                continue
            try:
                if flags & (OPTIONAL | TRANSITIVE) != known.flags:
                    raise Malformed(f"flags {flags:#04x}", known.wrong_flags, FLAGS_ERROR)
                if self.ebgp and known.internal:
                    raise Malformed("is not for external peers", DISCARD, OPTIONAL_ERROR)
                result = known.parse(value, self.as4)
                if known.field:
                    values[known.field] = result
            except Malformed as e:
                faults.append(Fault(e.action, code, e.subcode, e.why))
        four = values.pop("as4_path", None)
        four_aggregator = values.pop("as4_aggregator", None)
        if not self.as4 and not any(f.action == WITHDRAW for f in faults):
            _merge_as4(values, four, four_aggregator)
        values["unknown"] = tuple(sorted(unknown, key=lambda u: u.code))
        return intern(Attrs(**values)), tuple(faults), frozenset(seen)


def missing(present: frozenset[int], *, next_hop: bool, ebgp: bool) -> Fault | None:
    """The mandatory attribute that an UPDATE with prefixes lacks (RFC 7606 section 3 d). next_hop: that one, too."""
    wanted = [Attribute.ORIGIN, Attribute.AS_PATH]
    wanted += [Attribute.NEXT_HOP] if next_hop else []
    wanted += [] if ebgp else [Attribute.LOCAL_PREF]
    for code in wanted:
        if code not in present:
            return Fault(WITHDRAW, code, MISSING_WELL_KNOWN, f"{code.name} is missing")
    return None


def _merge_as4(values: dict[str, Any], four: AsPath | None, aggregator: Aggregator | None) -> None:
    """The path of a peer with two-octet numbers, mended by what it passes on in AS4_PATH (RFC 6793 section 4.2.3)."""
    old = values.get("aggregator")
    if old is not None and old.asn != AS_TRANS:
        return  # somebody on the way aggregated and knew nothing of four octets: both AS4 attributes are stale
    if old is not None and aggregator is not None:
        values["aggregator"] = aggregator
    path: AsPath = values.get("as_path", ())
    if not four:
        return
    extra = _count(path) - _count(four)
    if extra < 0:
        return
    head: list[Segment] = []
    for segment in path:
        if extra <= 0:
            break
        if segment.kind == AS_SEQUENCE:
            head.append(Segment(AS_SEQUENCE, segment.asns[:extra]))
            extra -= len(head[-1].asns)
        else:
            head.append(segment)
            extra -= segment.kind == AS_SET
    if head and head[-1].kind == four[0].kind == AS_SEQUENCE and len(head[-1].asns) + len(four[0].asns) < 256:
        four = (Segment(AS_SEQUENCE, head.pop().asns + four[0].asns), *four[1:])
    values["as_path"] = (*head, *four)


def _count(path: AsPath) -> int:
    return sum(len(s.asns) if s.kind == AS_SEQUENCE else s.kind == AS_SET for s in path)


# -- one function per attribute: (value, as4) to what `Attrs` holds


def _origin(value: bytes, _: bool) -> int:
    if len(value) != 1:
        raise Malformed(f"{len(value)} octets")
    if value[0] > 2:
        raise Malformed(f"origin {value[0]}", subcode=6)
    return value[0]


def _segments(value: bytes, width: int, kinds: tuple[int, ...]) -> AsPath:
    path, at = [], 0
    while at < len(value):
        if at + 2 > len(value) or value[at] not in kinds or not value[at + 1]:
            raise Malformed("a segment that cannot be", subcode=11)
        kind, count = value[at], value[at + 1]
        stop = at + 2 + width * count
        if stop > len(value):
            raise Malformed("a segment longer than the path", subcode=11)
        path.append(Segment(kind, struct.unpack_from(f"!{count}{'I' if width == 4 else 'H'}", value, at + 2)))
        at = stop
    return tuple(path)


def _as_path(value: bytes, as4: bool) -> AsPath:
    path = _segments(value, 4 if as4 else 2, (AS_SET, AS_SEQUENCE, CONFED_SEQUENCE, CONFED_SET))
    if any(s.kind in (CONFED_SEQUENCE, CONFED_SET) for s in path):
        raise Malformed("a confederation's segment from outside of one", subcode=11)  # RFC 5065 section 5
    return path


def _as4_path(value: bytes, _: bool) -> AsPath | None:
    try:
        path = _segments(value, 4, (AS_SET, AS_SEQUENCE, CONFED_SEQUENCE, CONFED_SET))
    except Malformed as e:
        raise Malformed(e.why, DISCARD, OPTIONAL_ERROR) from None
    return tuple(s for s in path if s.kind in (AS_SET, AS_SEQUENCE)) or None


def _next_hop(value: bytes, _: bool) -> IPv4Address:
    if len(value) != 4:
        raise Malformed(f"{len(value)} octets")
    hop = IPv4Address(value)
    if hop.is_multicast or hop.is_unspecified or value[0] >= 240:
        raise Malformed(f"{hop} is no host's address", subcode=8)
    return hop


def _number(value: bytes, _: bool) -> int:
    if len(value) != 4:
        raise Malformed(f"{len(value)} octets")
    return int.from_bytes(value, "big")


def _atomic(value: bytes, _: bool) -> bool:
    if value:
        raise Malformed(f"{len(value)} octets", DISCARD)
    return True


def _aggregator(value: bytes, as4: bool) -> Aggregator:
    width = 4 if as4 else 2
    if len(value) != width + 4:
        raise Malformed(f"{len(value)} octets", DISCARD)
    return Aggregator(int.from_bytes(value[:width], "big"), IPv4Address(value[width:]))


def _as4_aggregator(value: bytes, _: bool) -> Aggregator:
    return _aggregator(value, True)


def _records(value: bytes, width: int) -> None:
    if not value or len(value) % width:
        raise Malformed(f"{len(value)} octets", subcode=OPTIONAL_ERROR)


def _communities(value: bytes, _: bool) -> tuple[int, ...]:
    _records(value, 4)
    return struct.unpack(f"!{len(value) // 4}I", value)


def _extended(value: bytes, _: bool) -> tuple[bytes, ...]:
    _records(value, 8)
    return tuple(value[at : at + 8] for at in range(0, len(value), 8))


def _large(value: bytes, _: bool) -> tuple[tuple[int, int, int], ...]:
    _records(value, 12)
    return tuple(struct.iter_unpack("!III", value))


def _id(value: bytes, _: bool) -> IPv4Address:
    if len(value) != 4:
        raise Malformed(f"{len(value)} octets")
    return IPv4Address(value)


def _clusters(value: bytes, _: bool) -> tuple[IPv4Address, ...]:
    _records(value, 4)
    return tuple(IPv4Address(value[at : at + 4]) for at in range(0, len(value), 4))


@dataclass(frozen=True, slots=True)
class _Known:
    """flags: what Optional and Transitive must be; internal: discarded when an external peer sends it."""

    field: str
    flags: int
    parse: Callable[[bytes, bool], Any]
    internal: bool = False
    wrong_flags: str = WITHDRAW


_BOTH = OPTIONAL | TRANSITIVE
_KNOWN: dict[int, _Known] = {
    Attribute.ORIGIN: _Known("origin", TRANSITIVE, _origin),
    Attribute.AS_PATH: _Known("as_path", TRANSITIVE, _as_path),
    Attribute.NEXT_HOP: _Known("next_hop", TRANSITIVE, _next_hop),
    Attribute.MED: _Known("med", OPTIONAL, _number),
    Attribute.LOCAL_PREF: _Known("local_pref", TRANSITIVE, _number, internal=True),
    Attribute.ATOMIC_AGGREGATE: _Known("atomic", TRANSITIVE, _atomic, wrong_flags=DISCARD),
    Attribute.AGGREGATOR: _Known("aggregator", _BOTH, _aggregator, wrong_flags=DISCARD),
    Attribute.COMMUNITIES: _Known("communities", _BOTH, _communities),
    Attribute.ORIGINATOR_ID: _Known("originator", OPTIONAL, _id, internal=True),
    Attribute.CLUSTER_LIST: _Known("clusters", OPTIONAL, _clusters, internal=True),
    Attribute.EXTENDED_COMMUNITIES: _Known("extended", _BOTH, _extended),
    Attribute.AS4_PATH: _Known("as4_path", _BOTH, _as4_path, wrong_flags=DISCARD),
    Attribute.AS4_AGGREGATOR: _Known("as4_aggregator", _BOTH, _as4_aggregator, wrong_flags=DISCARD),
    Attribute.LARGE_COMMUNITIES: _Known("large", _BOTH, _large),
}


# -- writing


def _put(flags: int, code: int, value: bytes) -> bytes:
    if len(value) > 255:
        return struct.pack("!BBH", flags | EXTENDED, code, len(value)) + value
    return bytes((flags, code, len(value))) + value


def _path_bytes(path: AsPath, width: int) -> bytes:
    parts = []
    for segment in path:
        for at in range(0, len(segment.asns), 255):
            asns = segment.asns[at : at + 255]
            if width == 2:
                asns = tuple(a if a < 1 << 16 else AS_TRANS for a in asns)
            parts.append(struct.pack(f"!BB{len(asns)}{'I' if width == 4 else 'H'}", segment.kind, len(asns), *asns))
    return b"".join(parts)


def encode(attrs: Attrs, *, as4: bool, next_hop: bool) -> bytes:
    """All attributes but the MP ones, in the order of their codes. next_hop: with NEXT_HOP, for IPv4 prefixes."""
    key = (as4, next_hop)
    found = attrs._cache.get(key)
    if found is None:
        found = attrs._cache[key] = b"".join(_encode(attrs, as4, next_hop))
    return bytes(found)


def _encode(a: Attrs, as4: bool, next_hop: bool) -> list[bytes]:
    out: list[tuple[int, bytes]] = []

    def put(flags: int, code: int, value: bytes) -> None:
        out.append((code, _put(flags, code, value)))

    put(TRANSITIVE, Attribute.ORIGIN, bytes((a.origin,)))
    put(TRANSITIVE, Attribute.AS_PATH, _path_bytes(a.as_path, 4 if as4 else 2))
    if next_hop and a.next_hop is not None:
        put(TRANSITIVE, Attribute.NEXT_HOP, a.next_hop.packed)
    if a.med is not None:
        put(OPTIONAL, Attribute.MED, a.med.to_bytes(4, "big"))
    if a.local_pref is not None:
        put(TRANSITIVE, Attribute.LOCAL_PREF, a.local_pref.to_bytes(4, "big"))
    if a.atomic:
        put(TRANSITIVE, Attribute.ATOMIC_AGGREGATE, b"")
    if a.aggregator:
        asn = a.aggregator.asn if as4 or a.aggregator.asn < 1 << 16 else AS_TRANS
        put(_BOTH, Attribute.AGGREGATOR, asn.to_bytes(4 if as4 else 2, "big") + a.aggregator.address.packed)
        if asn != a.aggregator.asn:
            put(_BOTH, Attribute.AS4_AGGREGATOR, a.aggregator.asn.to_bytes(4, "big") + a.aggregator.address.packed)
    if a.communities:
        put(_BOTH, Attribute.COMMUNITIES, struct.pack(f"!{len(a.communities)}I", *a.communities))
    if a.originator:
        put(OPTIONAL, Attribute.ORIGINATOR_ID, a.originator.packed)
    if a.clusters:
        put(OPTIONAL, Attribute.CLUSTER_LIST, b"".join(c.packed for c in a.clusters))
    if a.extended:
        put(_BOTH, Attribute.EXTENDED_COMMUNITIES, b"".join(a.extended))
    if a.large:
        put(_BOTH, Attribute.LARGE_COMMUNITIES, b"".join(struct.pack("!III", *c) for c in a.large))
    if not as4 and any(asn >= 1 << 16 for s in a.as_path for asn in s.asns):
        put(_BOTH, Attribute.AS4_PATH, _path_bytes(a.as_path, 4))
    for u in a.unknown:
        put(u.flags & 0xE0, u.code, u.value)
    return [encoded for _, encoded in sorted(out)]


def encode_reach(family: Family, attrs: Attrs, prefixes: bytes) -> bytes:
    """MP_REACH_NLRI; prefixes: their spellings in a row."""
    assert attrs.next_hop is not None
    hop = attrs.next_hop.packed + (attrs.link_local.packed if attrs.link_local else b"")
    value = struct.pack("!HBB", family.afi, family.safi, len(hop)) + hop + b"\0" + prefixes
    return _put(OPTIONAL, Attribute.MP_REACH, value)


def encode_unreach(family: Family, prefixes: bytes) -> bytes:
    """MP_UNREACH_NLRI."""
    return _put(OPTIONAL, Attribute.MP_UNREACH, struct.pack("!HB", family.afi, family.safi) + prefixes)
