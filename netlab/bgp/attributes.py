"""Path attributes as a value (RFC 4271 section 5). Bytes to and from it: `attribute_codec`.

Values are interned: routes that have the same attributes share one object, and "the same" is then `is`.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from netlab.base.addresses import Address
from netlab.bgp.codes import AS_SEQUENCE, AS_SET, CONFED_SEQUENCE, CONFED_SET, ORIGINS, WELL_KNOWN_COMMUNITIES


class Segment(NamedTuple):
    """A part of an AS path: AS_SET, AS_SEQUENCE or a confederation's; at most 255 numbers each on the wire."""

    kind: int
    asns: tuple[int, ...]


class Unknown(NamedTuple):
    """An optional attribute that we do not know. flags: as received."""

    flags: int
    code: int
    value: bytes


class Aggregator(NamedTuple):
    """Who has aggregated the route."""

    asn: int
    address: IPv4Address


AsPath = tuple[Segment, ...]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Attrs:
    """All attributes of a route. None or empty: the attribute is not there.

    origin: 0 IGP, 1 EGP, 2 incomplete; as_path: four-octet numbers whatever the session speaks; next_hop: the global
    one; link_local: the second one of an IPv6 route (RFC 2545); communities: 32-bit numbers; extended: eight octets
    each; large: three numbers each; unknown: optional ones in the order of their codes.
    """

    origin: int = 0
    as_path: AsPath = ()
    next_hop: Address | None = None
    link_local: IPv6Address | None = None
    med: int | None = None
    local_pref: int | None = None
    atomic: bool = False
    aggregator: Aggregator | None = None
    communities: tuple[int, ...] = ()
    extended: tuple[bytes, ...] = ()
    large: tuple[tuple[int, int, int], ...] = ()
    originator: IPv4Address | None = None
    clusters: tuple[IPv4Address, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    #: of one's own making, not an attribute: see `with_`
    _cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def with_(self, **changes: Any) -> Attrs:
        """A changed copy, interned."""
        return intern(replace(self, _cache={}, **changes))

    @property
    def path_length(self) -> int:
        """As the decision counts (RFC 4271 section 9.1.2.2 a): a set is one, a confederation's segments nothing."""
        found = self._cache.get("length")
        if found is None:
            found = self._cache["length"] = sum(
                len(s.asns) if s.kind == AS_SEQUENCE else s.kind == AS_SET for s in self.as_path
            )
        return int(found)

    @property
    def neighbour_as(self) -> int:
        """The AS that the route came from, which MEDs compare within; 0 for a path that begins with none."""
        for segment in self.as_path:
            if segment.kind in (CONFED_SEQUENCE, CONFED_SET):
                continue
            return segment.asns[0] if segment.kind == AS_SEQUENCE else 0
        return 0

    @property
    def origin_as(self) -> int:
        """The AS that the route began in; 0 if the path is empty or ends in a set."""
        if not self.as_path or self.as_path[-1].kind != AS_SEQUENCE:
            return 0
        return self.as_path[-1].asns[-1]

    def passes(self, asn: int) -> int:
        """How many times the path has the number."""
        return sum(segment.asns.count(asn) for segment in self.as_path)

    def as_json(self) -> dict[str, Any]:
        """Every attribute that is there, spelled as people spell it."""
        out: dict[str, Any] = {"origin": ORIGINS[self.origin], "as_path": path_text(self.as_path)}
        if self.next_hop is not None:
            out["next_hop"] = str(self.next_hop)
        if self.link_local is not None:
            out["next_hop_link_local"] = str(self.link_local)
        if self.med is not None:
            out["med"] = self.med
        if self.local_pref is not None:
            out["local_pref"] = self.local_pref
        if self.atomic:
            out["atomic_aggregate"] = True
        if self.aggregator:
            out["aggregator"] = {"as": self.aggregator.asn, "address": str(self.aggregator.address)}
        if self.communities:
            out["communities"] = [community_text(c) for c in self.communities]
        if self.extended:
            out["extended_communities"] = [extended_text(c) for c in self.extended]
        if self.large:
            out["large_communities"] = [":".join(map(str, c)) for c in self.large]
        if self.originator:
            out["originator_id"] = str(self.originator)
        if self.clusters:
            out["cluster_list"] = [str(c) for c in self.clusters]
        if self.unknown:
            out["unknown"] = [
                {"code": u.code, "flags": f"{u.flags:#04x}", "value": u.value.hex()} for u in self.unknown
            ]
        return out


_known: weakref.WeakValueDictionary[Attrs, Attrs] = weakref.WeakValueDictionary()


def intern(attrs: Attrs) -> Attrs:
    """The one object of that value."""
    return _known.setdefault(attrs, attrs)


def prepended(path: AsPath, asn: int, times: int = 1) -> AsPath:
    """The path with our number in front (RFC 4271 section 5.1.2): into the first sequence while it has room."""
    for _ in range(times):
        if path and path[0].kind == AS_SEQUENCE and len(path[0].asns) < 255:
            path = (Segment(AS_SEQUENCE, (asn, *path[0].asns)), *path[1:])
        else:
            path = (Segment(AS_SEQUENCE, (asn,)), *path)
    return path


_BRACKETS = {AS_SET: ("{", "}"), CONFED_SEQUENCE: ("(", ")"), CONFED_SET: ("[", "]")}


def path_text(path: AsPath) -> str:
    """`65001 65002 {65003,65004}`, as routers print it and as `as_path` patterns see it."""
    words: list[str] = []
    for segment in path:
        if segment.kind == AS_SEQUENCE:
            words += map(str, segment.asns)
        else:
            left, right = _BRACKETS[segment.kind]
            words.append(left + (" " if left == "(" else ",").join(map(str, segment.asns)) + right)
    return " ".join(words)


_COMMUNITY_NUMBERS = {name: number for number, name in WELL_KNOWN_COMMUNITIES.items()}


def community_text(community: int) -> str:
    """`65000:100`, or the name of a well-known one."""
    return WELL_KNOWN_COMMUNITIES.get(community) or f"{community >> 16}:{community & 0xFFFF}"


def parse_community(text: str) -> int:
    """The inverse. ValueError."""
    if text in _COMMUNITY_NUMBERS:
        return _COMMUNITY_NUMBERS[text]
    high, _, low = text.partition(":")
    if high.isdecimal() and low.isdecimal() and int(high) < 1 << 16 and int(low) < 1 << 16:
        return int(high) << 16 | int(low)
    names = ", ".join(_COMMUNITY_NUMBERS)
    raise ValueError(f"{text!r} is not a community (such as 65000:100, or one of {names})")


def parse_large(text: str) -> tuple[int, int, int]:
    """`65000:1:2` (RFC 8092). ValueError."""
    parts = text.split(":")
    if len(parts) != 3 or not all(p.isdecimal() and int(p) < 1 << 32 for p in parts):
        raise ValueError(f"{text!r} is not a large community (three numbers such as 65000:1:2)")
    return int(parts[0]), int(parts[1]), int(parts[2])


#: of transitive two-octet-AS specific ones (type 0), by subtype (RFC 4360)
_EXTENDED_NAMES = {2: "rt", 3: "soo"}


def extended_text(community: bytes) -> str:
    """`rt:65000:100`, `soo:…`, or `0x` and sixteen digits."""
    kind, sub = community[0], community[1]
    name = _EXTENDED_NAMES.get(sub)
    if name and kind == 0:
        return f"{name}:{int.from_bytes(community[2:4], 'big')}:{int.from_bytes(community[4:], 'big')}"
    if name and kind == 2 and int.from_bytes(community[2:6], "big") > 0xFFFF:
        return f"{name}:{int.from_bytes(community[2:6], 'big')}:{int.from_bytes(community[6:], 'big')}"
    if name and kind == 1:
        return f"{name}:{IPv4Address(community[2:6])}:{int.from_bytes(community[6:], 'big')}"
    return f"0x{community.hex()}"


def parse_extended(text: str) -> bytes:
    """The inverse: `rt:65000:100`, `rt:4200000000:1`, `rt:10.0.0.1:1` or hexadecimal. ValueError."""
    wrong = ValueError(f"{text!r} is not an extended community (such as rt:65000:100, or 0x and sixteen digits)")
    if text.startswith("0x"):
        try:
            raw = bytes.fromhex(text[2:])
        except ValueError:
            raise wrong from None
        if len(raw) != 8:
            raise wrong
        return raw
    name, _, rest = text.partition(":")
    admin, _, value = rest.rpartition(":")
    sub = next((number for number, n in _EXTENDED_NAMES.items() if n == name), None)
    if sub is None or not value.isdecimal():
        raise wrong
    try:
        if "." in admin:
            return bytes((1, sub)) + IPv4Address(admin).packed + int(value).to_bytes(2, "big")
        asn = int(admin)
        if asn < 1 << 16:
            return bytes((0, sub)) + asn.to_bytes(2, "big") + int(value).to_bytes(4, "big")
        return bytes((2, sub)) + asn.to_bytes(4, "big") + int(value).to_bytes(2, "big")
    except (ValueError, OverflowError):
        raise wrong from None
