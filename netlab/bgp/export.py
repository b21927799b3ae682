"""What a peer is told of a route, and what a route from a peer has to be: the rules between neighbours. Pure.

RFC 4271 sections 5 and 9.1, 9.2; reflection: RFC 4456; next hops of IPv6: RFC 2545.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from netlab.base.addresses import Address
from netlab.bgp.attributes import Attrs, prepended
from netlab.bgp.codes import NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED
from netlab.bgp.decision import LOCAL_PREF, Path, Source
from netlab.bgp.nlri import Family, Nlri
from netlab.bgp.policy import ALL, MISSING, Policy, Verdict

#: extended communities with this bit in their first octet stay within the AS (RFC 4360 section 2)
NON_TRANSITIVE = 0x40


class Self(NamedTuple):
    """Who we are. cluster: our cluster as a route reflector."""

    asn: int
    router_id: IPv4Address
    cluster: IPv4Address


@dataclass(slots=True, kw_only=True)
class Neighbour:
    """A peer as routes see it. hops: our own addresses as next hops, by family; None: not known.

    allow_own_as: how often our AS may be in a path that it sends.
    """

    source: Source
    import_policy: Policy = ALL
    export_policy: Policy = ALL
    next_hop_self: bool = False
    allow_own_as: int = 0
    enforce_first_as: bool = True
    hops: dict[Family, Address | None] = field(default_factory=dict)
    link_local: IPv6Address | None = None
    _told: dict[int, tuple[Path, tuple[Attrs | None, str]]] = field(default_factory=dict, repr=False)

    @property
    def external(self) -> bool:
        """Whether it is of another AS."""
        return self.source.kind == "ebgp"

    def forget(self) -> None:
        """After a change of policies or addresses."""
        self._told.clear()


def default_policy(external: bool) -> Policy:
    """What a peer has without any (RFC 8212)."""
    return MISSING if external else ALL


def accept(attrs: Attrs, prefix: Nlri, family: Family, peer: Neighbour, us: Self) -> Verdict:
    """A route from a peer, after the checks that no policy can waive, and the import policy."""
    if attrs.passes(us.asn) > peer.allow_own_as:
        return Verdict(None, None, f"our AS {us.asn} is in its path")
    if peer.external:
        if peer.enforce_first_as and attrs.neighbour_as != peer.source.asn:
            return Verdict(None, None, f"its path does not begin with the peer's AS {peer.source.asn}")
    elif attrs.originator == us.router_id:
        return Verdict(None, None, "we are its originator")
    elif us.cluster in attrs.clusters:
        return Verdict(None, None, f"our cluster {us.cluster} is in its cluster list")
    if attrs.next_hop is not None and attrs.next_hop in peer.hops.values():
        return Verdict(None, None, f"its next hop {attrs.next_hop} is ourselves")
    verdict = peer.import_policy.judge(attrs, prefix, family, source=peer.source.kind, asn=us.asn)
    if verdict.attrs is not None and isinstance(verdict.next_hop, IPv4Address | IPv6Address):
        return Verdict(verdict.attrs.with_(next_hop=verdict.next_hop, link_local=None), None, verdict.why)
    return verdict


def told(path: Path | None, prefix: Nlri, family: Family, peer: Neighbour, us: Self) -> tuple[Attrs | None, str]:
    """What the peer is told of the winning path: the attributes, or None, and why."""
    if path is None or path.attrs is None:
        return None, "there is no path"
    known = peer._told.get(id(path))
    if known is not None and known[0] is path:
        return known[1]
    answer = _told(path, prefix, family, peer, us)
    if not peer.export_policy.looks_at_prefix:
        if len(peer._told) > 10_000:
            peer._told.clear()
        peer._told[id(path)] = (path, answer)
    return answer


def _told(path: Path, prefix: Nlri, family: Family, peer: Neighbour, us: Self) -> tuple[Attrs | None, str]:
    attrs, source = path.attrs, path.source
    assert attrs is not None
    if source is peer.source:
        return None, "it comes from this peer"
    reflected = source.kind == "ibgp" and not peer.external
    if reflected and not (source.client or peer.source.client):
        return None, "internal routes are not passed on to internal peers, and neither is a reflector's client"
    if NO_ADVERTISE in attrs.communities:
        return None, "it has the community no-advertise"
    if peer.external and (NO_EXPORT in attrs.communities or NO_EXPORT_SUBCONFED in attrs.communities):
        return None, "it has the community no-export"
    if reflected and attrs.originator and int(attrs.originator) == peer.source.router_id:
        return None, "this peer is its originator"
    if peer.external and source.kind != "local" and attrs.med is not None:
        attrs = attrs.with_(med=None)  # a MED is meant for its receiver (RFC 4271 section 5.1.4)
    verdict = peer.export_policy.judge(attrs, prefix, family, source=source.kind, asn=us.asn)
    if verdict.attrs is None:
        return None, verdict.why
    new: dict[str, Any] = {}
    own = peer.hops.get(family)
    wants_self = verdict.next_hop == "self" or (peer.next_hop_self and not reflected)
    unset = verdict.attrs.next_hop is None or verdict.attrs.next_hop.is_unspecified
    if isinstance(verdict.next_hop, IPv4Address | IPv6Address):
        new |= {"next_hop": verdict.next_hop, "link_local": None}
    elif unset or wants_self or (peer.external and verdict.next_hop != "unchanged"):
        if own is None:
            return None, f"we have no {family.label} address to be its next hop"
        new |= {"next_hop": own, "link_local": peer.link_local if family is Family.IPV6 else None}
    elif verdict.attrs.link_local is not None:
        new["link_local"] = None  # it means something on the link it came from alone
    if peer.external:
        new |= _outward(verdict.attrs, us)
    else:
        if verdict.attrs.local_pref is None:
            new["local_pref"] = LOCAL_PREF
        if reflected:
            new["originator"] = verdict.attrs.originator or IPv4Address(source.router_id)
            new["clusters"] = (us.cluster, *verdict.attrs.clusters)
    return verdict.attrs.with_(**new), verdict.why


def _outward(attrs: Attrs, us: Self) -> dict[str, Any]:
    return {
        "as_path": prepended(attrs.as_path, us.asn),
        "local_pref": None,
        "originator": None,
        "clusters": (),
        "extended": tuple(c for c in attrs.extended if not c[0] & NON_TRANSITIVE),
    }
