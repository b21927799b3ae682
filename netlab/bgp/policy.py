"""Policies as data: which routes come in or go out, and what is changed on the way. Pure.

A policy is a list of rules; the first rule that matches and accepts or rejects decides, `next` changes and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from netlab.base.addresses import Address, Network
from netlab.bgp import nlri
from netlab.bgp.attributes import Attrs, path_text, prepended
from netlab.bgp.nlri import Family, Nlri

NextHopWish = Literal["self", "unchanged"] | Address | None


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """`prefix` and what lies within it, from `low` to `high` bits; permit: or the opposite."""

    prefix: Network
    low: int
    high: int
    permit: bool = True


@dataclass(frozen=True)
class PrefixList:
    """The first rule that fits decides; a prefix that none fits is not in the list."""

    name: str
    rules: tuple[PrefixRule, ...]

    @cached_property
    def _compiled(self) -> dict[Family, list[tuple[int, int, int, int, bool]]]:
        out: dict[Family, list[tuple[int, int, int, int, bool]]] = {family: [] for family in Family}
        for r in self.rules:
            family = Family.of(r.prefix.version)
            shift = family.bits - r.prefix.prefixlen
            out[family].append((shift, int(r.prefix.network_address) >> shift, r.low, r.high, r.permit))
        return out

    def matches(self, prefix: Nlri, family: Family) -> bool:
        """Whether the prefix is in the list."""
        value, length = nlri.number(prefix, family), prefix[0]
        for shift, head, low, high, permit in self._compiled[family]:
            if low <= length <= high and value >> shift == head:
                return permit
        return False


_DELIMITER = r"(?:^|$|[ ,{}()\[\]])"


def path_pattern(text: str) -> re.Pattern[str]:
    """A regular expression over the path's text; `_` is a border between numbers, as on routers. re.error."""
    return re.compile(text.replace("_", _DELIMITER))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """All that is given must hold. communities, large, extended: the route has all of them; any_community: one."""

    prefixes: tuple[PrefixList, ...] = ()
    networks: tuple[PrefixRule, ...] = ()
    communities: frozenset[int] = frozenset()
    any_community: frozenset[int] = frozenset()
    no_community: frozenset[int] = frozenset()
    large: frozenset[tuple[int, int, int]] = frozenset()
    extended: frozenset[bytes] = frozenset()
    path: re.Pattern[str] | None = None
    path_contains: frozenset[int] = frozenset()
    path_length: tuple[int, int] | None = None
    origin_as: frozenset[int] = frozenset()
    neighbour_as: frozenset[int] = frozenset()
    origin: int | None = None
    next_hop: tuple[Network, ...] = ()
    family: Family | None = None
    source: Literal["local", "ebgp", "ibgp"] | None = None

    def holds(self, attrs: Attrs, prefix: Nlri, family: Family, source: str) -> bool:
        """Whether the route is meant."""
        if self.family is not None and family is not self.family:
            return False
        if self.source is not None and source != self.source:
            return False
        if self.prefixes and not any(p.matches(prefix, family) for p in self.prefixes):
            return False
        if self.networks and not PrefixList("", self.networks).matches(prefix, family):
            return False
        return self._of_attributes(attrs)

    def _of_attributes(self, a: Attrs) -> bool:
        if self.communities and not self.communities.issubset(a.communities):
            return False
        if self.any_community and self.any_community.isdisjoint(a.communities):
            return False
        if self.no_community and not self.no_community.isdisjoint(a.communities):
            return False
        if self.large and not self.large.issubset(a.large):
            return False
        if self.extended and not self.extended.issubset(a.extended):
            return False
        if self.path is not None and not self.path.search(path_text(a.as_path)):
            return False
        if self.path_contains and not any(a.passes(asn) for asn in self.path_contains):
            return False
        if self.path_length and not self.path_length[0] <= a.path_length <= self.path_length[1]:
            return False
        if self.origin_as and a.origin_as not in self.origin_as:
            return False
        if self.neighbour_as and a.neighbour_as not in self.neighbour_as:
            return False
        if self.origin is not None and a.origin != self.origin:
            return False
        return not self.next_hop or (
            a.next_hop is not None and any(a.next_hop.version == n.version and a.next_hop in n for n in self.next_hop)
        )

    @property
    def looks_at_prefix(self) -> bool:
        """Whether the answer may differ among routes of the same attributes."""
        return bool(self.prefixes or self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a route. med: None unchanged, -1 removed; prepend: our own AS, that many times."""

    local_pref: int | None = None
    med: int | None = None
    origin: int | None = None
    prepend: int = 0
    prepend_path: tuple[int, ...] = ()
    communities: tuple[int, ...] | None = None
    add_communities: tuple[int, ...] = ()
    remove_communities: frozenset[int] = frozenset()
    large: tuple[tuple[int, int, int], ...] | None = None
    add_large: tuple[tuple[int, int, int], ...] = ()
    remove_large: frozenset[tuple[int, int, int]] = frozenset()
    extended: tuple[bytes, ...] | None = None
    add_extended: tuple[bytes, ...] = ()
    remove_extended: frozenset[bytes] = frozenset()
    next_hop: NextHopWish = None

    def made(self, a: Attrs, asn: int) -> Attrs:
        """The attributes afterwards."""
        new: dict[str, Any] = {}
        if self.local_pref is not None:
            new["local_pref"] = self.local_pref
        if self.med is not None:
            new["med"] = None if self.med < 0 else self.med
        if self.origin is not None:
            new["origin"] = self.origin
        path = prepended(a.as_path, asn, self.prepend)
        for number in reversed(self.prepend_path):
            path = prepended(path, number)
        if path is not a.as_path:
            new["as_path"] = path
        new["communities"] = _edited(a.communities, self.communities, self.add_communities, self.remove_communities)
        new["large"] = _edited(a.large, self.large, self.add_large, self.remove_large)
        new["extended"] = _edited(a.extended, self.extended, self.add_extended, self.remove_extended)
        new = {name: value for name, value in new.items() if value != getattr(a, name)}
        return a.with_(**new) if new else a


def _edited(have: tuple[Any, ...], instead: Any, add: Iterable[Any], remove: frozenset[Any]) -> tuple[Any, ...]:
    if instead is not None:
        have = instead
    if remove:
        have = tuple(c for c in have if c not in remove)
    extra = tuple(c for c in add if c not in have)
    return tuple(sorted((*have, *extra))) if extra else have


@dataclass(frozen=True, slots=True)
class Rule:
    """then: what happens to a route that matches, after the change."""

    name: str
    match: Match
    change: Change = field(default_factory=Change)
    then: Literal["accept", "reject", "next"] = "accept"


class Verdict(NamedTuple):
    """attrs: None for a rejected route; next_hop: what a rule wants of it; why: which rule decided."""

    attrs: Attrs | None
    next_hop: NextHopWish
    why: str


@dataclass(frozen=True)
class Policy:
    """rules in order; accept: what becomes of a route that no rule decides about."""

    name: str
    rules: tuple[Rule, ...] = ()
    accept: bool = False

    @cached_property
    def looks_at_prefix(self) -> bool:
        """Whether routes of the same attributes may fare differently."""
        return any(rule.match.looks_at_prefix for rule in self.rules)

    def judge(self, attrs: Attrs, prefix: Nlri, family: Family, *, source: str, asn: int) -> Verdict:
        """What becomes of a route. source: local, ebgp or ibgp; asn: ours, for prepending."""
        hop: NextHopWish = None
        for rule in self.rules:
            if not rule.match.holds(attrs, prefix, family, source):
                continue
            if rule.then == "reject":
                return Verdict(None, None, f"policy {self.name}, rule {rule.name}, rejects it")
            attrs = rule.change.made(attrs, asn)
            hop = hop if rule.change.next_hop is None else rule.change.next_hop
            if rule.then == "accept":
                return Verdict(attrs, hop, f"policy {self.name}, rule {rule.name}, accepts it")
        word = "accepts" if self.accept else "rejects"
        return Verdict(attrs if self.accept else None, hop, f"policy {self.name} {word} what no rule decides about")


#: the two that need no definition
ALL, NONE = Policy("all", accept=True), Policy("none")
#: what an external peer has that was given no policy (RFC 8212)
MISSING = Policy("missing (RFC 8212: an external peer needs one)")
