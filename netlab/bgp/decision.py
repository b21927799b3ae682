"""Which path wins (RFC 4271 section 9.1.2.2, RFC 4456 section 9), step by step, each with its name and its reason.

A step takes the paths that are left and keeps those that no other beats. MED is why it cannot be a sort key: it
compares paths of one neighbouring AS alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netlab.base.addresses import Address
from netlab.bgp.attributes import Attrs
from netlab.bgp.codes import ORIGINS

LOCAL_PREF = 100

#: a next hop as it is looked up: the address, and for a link-local one the device
HopKey = tuple[Address | None, str]


class Hop(NamedTuple):
    """How the kernel gets to a next hop: by which device, by which gateway (None: it is on the link), how far."""

    dev: str
    via: Address | None = None
    metric: int = 0


class Source:
    """Whoever paths come from: a peer, or this speaker itself (kind local).

    router_id, address: numbers and (version, number) for the tie-breaks; epoch: which session with it, so that paths
    of the one before are stale; counts: paths held, by family.
    """

    __slots__ = ("address", "asn", "client", "counts", "epoch", "interface", "kind", "name", "router_id")

    def __init__(
        self, name: str, *, kind: str, asn: int, address: Address | None = None, client: bool = False,
        interface: str = "",
    ) -> None:  # fmt: skip
        self.name, self.kind, self.asn, self.address, self.client = name, kind, asn, address, client
        self.interface = interface
        self.router_id = 0
        self.epoch = 0
        self.counts: dict[Any, int] = {}


class Path:
    """A way to the prefixes of one UPDATE: all of them share it.

    received: as it came; attrs: after import policy, None if it was refused; why: by what; since: when it came, in
    seconds of the owner's clock; epoch: of its source, then.
    """

    __slots__ = ("attrs", "epoch", "hop", "received", "since", "source", "why")

    def __init__(self, source: Source, received: Attrs, attrs: Attrs | None, why: str, since: float) -> None:
        self.source, self.received, self.attrs, self.why, self.since = source, received, attrs, why, since
        self.epoch = source.epoch
        self.hop: HopKey | None = None
        if attrs is not None and source.kind != "local":
            linked = attrs.next_hop is None or attrs.next_hop.is_unspecified or attrs.next_hop.is_link_local
            target = (attrs.link_local or attrs.next_hop) if linked else attrs.next_hop
            self.hop = (target, source.interface if target is not None and target.is_link_local else "")

    @property
    def stale(self) -> bool:
        """Whether it is of a session that is over, kept while its source restarts."""
        return self.epoch != self.source.epoch


@dataclass(slots=True)
class Rules:
    """The knobs of the decision. hops: next hops and how to get there, None for those that cannot be reached."""

    hops: Mapping[HopKey, Hop | None] = field(default_factory=dict)
    multipath: int = 1
    #: let paths of different neighbouring AS share the load
    relax: bool = False
    always_compare_med: bool = False
    #: skip the age of paths, so that the outcome does not depend on history
    compare_router_id: bool = False

    def usable(self, path: Path) -> bool:
        """Accepted by policy, with a next hop that can be reached."""
        return path.attrs is not None and (path.hop is None or self.hops.get(path.hop) is not None)


def _attrs(path: Path) -> Attrs:
    assert path.attrs is not None
    return path.attrs


def _local_pref(path: Path, _: Rules) -> int:
    pref = _attrs(path).local_pref
    return LOCAL_PREF if pref is None else pref


def _metric(path: Path, rules: Rules) -> int:
    hop = rules.hops.get(path.hop) if path.hop else None
    return hop.metric if hop else 0


def _router_id(path: Path, _: Rules) -> int:
    originator = _attrs(path).originator
    return int(originator) if originator else path.source.router_id


def _address(path: Path, _: Rules) -> tuple[int, int]:
    address = path.source.address
    return (address.version, int(address)) if address else (0, 0)


class Step(NamedTuple):
    """key: the smallest wins; shown: the key as people read it; timed: the key is a time, and shown is its age."""

    name: str
    key: Callable[[Path, Rules], Any]
    shown: Callable[[Any], str]
    timed: bool = False


STEPS: tuple[Step, ...] = (
    Step("highest local preference", lambda p, r: -_local_pref(p, r), lambda k: str(-k)),
    Step("our own before learnt", lambda p, _: p.source.kind != "local", lambda k: "learnt" if k else "own"),
    Step("shortest AS path", lambda p, _: _attrs(p).path_length, str),
    Step("lowest origin", lambda p, _: _attrs(p).origin, lambda k: ORIGINS[k]),
    Step("lowest MED", lambda p, _: _attrs(p).med or 0, str),
    Step("external before internal", lambda p, _: p.source.kind == "ibgp", lambda k: "iBGP" if k else "eBGP"),
    Step("lowest metric to the next hop", _metric, str),
)
MED = "lowest MED"
TIE_BREAKS: tuple[Step, ...] = (
    Step(
        "oldest external path",
        lambda p, _: p.since if p.source.kind == "ebgp" else 0.0,
        lambda k: f"heard {k:.3f} s ago" if k else "internal",
        timed=True,
    ),
    Step("lowest router id", _router_id, lambda k: ".".join(map(str, k.to_bytes(4, "big")))),
    Step("shortest cluster list", lambda p, _: len(_attrs(p).clusters), str),
    Step("lowest peer address", _address, lambda k: str(k[1]) if k[0] == 0 else _spelt(k)),
)


def _spelt(key: tuple[int, int]) -> str:
    from ipaddress import IPv4Address, IPv6Address

    return str(IPv4Address(key[1]) if key[0] == 4 else IPv6Address(key[1]))


def _keep(step: Step, paths: list[Path], rules: Rules) -> list[Path]:
    if step.name == MED and not rules.always_compare_med:
        least: dict[int, int] = {}
        for p in paths:
            asn, med = _attrs(p).neighbour_as, _attrs(p).med or 0
            least[asn] = min(med, least.get(asn, med))
        return [p for p in paths if (_attrs(p).med or 0) == least[_attrs(p).neighbour_as]]
    keys = [step.key(p, rules) for p in paths]
    best = min(keys)
    return [p for p, key in zip(paths, keys, strict=True) if key == best]


def choose(paths: Sequence[Path], rules: Rules) -> tuple[Path, ...]:
    """The best path first, then those that share the load with it. Empty if none can be used."""
    left = [p for p in paths if rules.usable(p)]
    if len(left) < 2:
        return tuple(left)
    for step in STEPS:
        left = _keep(step, left, rules)
        if len(left) == 1:
            return tuple(left)
    equal = left
    for step in _tie_breaks(rules):
        left = _keep(step, left, rules)
        if len(left) == 1:
            break
    best = left[0]
    if rules.multipath < 2:
        return (best,)
    return (best, *_sharing(best, equal, rules))


def _tie_breaks(rules: Rules) -> tuple[Step, ...]:
    return TIE_BREAKS[1:] if rules.compare_router_id else TIE_BREAKS


def _sharing(best: Path, equal: list[Path], rules: Rules) -> list[Path]:
    """Paths as good as the best, by other next hops; unless relaxed, of the same neighbouring AS."""
    found: list[Path] = []
    hops = {best.hop}
    for p in sorted(equal, key=lambda p: _address(p, rules)):
        same = rules.relax or _attrs(p).neighbour_as == _attrs(best).neighbour_as
        if p.hop not in hops and p.hop is not None and same and len(found) + 1 < rules.multipath:
            hops.add(p.hop)
            found.append(p)
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """One step as it went: what each path had to show, and who is left."""

    step: str
    values: tuple[tuple[Path, str], ...]
    left: tuple[Path, ...]


def explain(paths: Sequence[Path], rules: Rules, now: float) -> list[Judged]:
    """The steps that `choose` goes through, up to the one that decides. now: in seconds, by the clock of Path.since."""

    def shown(step: Step, path: Path) -> str:
        key = step.key(path, rules)
        return step.shown(now - key if step.timed and key else key)

    out: list[Judged] = []
    left = [p for p in paths if rules.usable(p)]
    out.append(Judged("usable", tuple((p, usable_text(p, rules)) for p in paths), tuple(left)))
    for step in (*STEPS, *_tie_breaks(rules)):
        if len(left) < 2:
            break
        kept = _keep(step, left, rules)
        out.append(Judged(step.name, tuple((p, shown(step, p)) for p in left), tuple(kept)))
        left = kept
    return out


def usable_text(path: Path, rules: Rules) -> str:
    """Why a path can be used, or not."""
    if path.attrs is None:
        return path.why
    if path.hop is None:
        return "our own"
    hop = rules.hops.get(path.hop)
    if hop is None:
        return f"next hop {path.hop[0]} cannot be reached"
    return f"next hop {path.hop[0]} " + (f"by {hop.via} on {hop.dev}" if hop.via else f"on {hop.dev}")
