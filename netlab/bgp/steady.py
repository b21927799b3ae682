"""Where routing comes to rest: the kernel's routes of many speakers once they have told each other everything. Pure.

The rules are the speaker's own (`export.told`, `export.accept`, the tables' decision, `fib`); sessions, timers and
wires are left out: a session stands if both ends ask for each other. What depends on who was first (RFC 4271 leaves the
tie to the oldest path) is decided by router id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netlab.base.addresses import Address, Network
from netlab.bgp import nlri
from netlab.bgp.attributes import Attrs
from netlab.bgp.config import Config, PeerConfig
from netlab.bgp.decision import Hop, HopKey, Path, Rules, Source
from netlab.bgp.export import Neighbour, Self, accept, told
from netlab.bgp.fib import Fib
from netlab.bgp.nlri import Family, Nlri
from netlab.bgp.rib import Table
from netlab.model.item import Item
from netlab.model.l3 import Address as OnDevice
from netlab.model.l3 import Route
from netlab.model.state import HostState

#: more rounds of telling each other than that: policies that never agree (RFC 4264)
ROUNDS_MAX = 100


@dataclass(eq=False)
class _Router:
    config: Config
    state: HostState
    hops: dict[HopKey, Hop | None] = field(default_factory=dict)
    tables: dict[Family, Table] = field(default_factory=dict)
    sessions: list[_Session] = field(default_factory=list)

    @property
    def us(self) -> Self:
        return Self(self.config.asn, self.config.router_id, self.config.cluster)

    def own(self, address: Address) -> OnDevice | None:
        return next((a for a in self.state.all(OnDevice) if a.address.ip == address), None)


@dataclass(eq=False)
class _Session:
    """What a router knows of a peer; other: the far end's view of the same session."""

    router: _Router
    neighbour: Neighbour
    families: tuple[Family, ...]
    other: _Session | None = None
    said: dict[tuple[Family, Nlri], Attrs] = field(default_factory=dict)


def routes(routers: Mapping[str, tuple[Config, HostState]]) -> dict[str, HostState]:
    """By name, what each speaker asks its kernel for. The states are those of their hosts without BGP."""
    known = {name: _router(config, state) for name, (config, state) in routers.items()}
    everyone = list(known.values())
    for i, one in enumerate(everyone):
        for other in everyone[i + 1 :]:
            _meet(one, other)
    for _ in range(ROUNDS_MAX):
        news = [_tell(session) for router in everyone for session in router.sessions]  # all of them, each round
        if not any(news):
            break
    return {name: _kernel(router) for name, router in known.items()}


def _router(config: Config, state: HostState) -> _Router:
    router = _Router(config, state)
    rules = Rules(
        router.hops, config.multipath, config.multipath_relax, config.always_compare_med, config.compare_router_id
    )
    router.tables = {family: Table(family, rules) for family in Family}
    local = Source("local", kind="local", asn=config.asn)
    for network in config.networks:
        family = Family.of(network.prefix.version)
        path = Path(local, network.attrs, network.attrs, "ours", 0.0)
        router.tables[family].announce(path, [nlri.nlri(network.prefix)])
    return router


def _meet(one: _Router, other: _Router) -> None:
    for p in one.config.peers:
        far = other.own(p.address)
        if far is None:
            continue
        for q in other.config.peers:
            near = one.own(q.address)
            if near is None or p.address.version != q.address.version or not _agree(one, p, other, q):
                continue
            families = tuple(f for f in p.families if f in q.families)
            mine = _Session(one, _neighbour(one, p, other, near), families)
            theirs = _Session(other, _neighbour(other, q, one, far), families)
            mine.other, theirs.other = theirs, mine
            one.sessions.append(mine)
            other.sessions.append(theirs)
            break


def _agree(one: _Router, p: PeerConfig, other: _Router, q: PeerConfig) -> bool:
    if p.asn != other.config.asn or q.asn != one.config.asn or p.password != q.password:
        return False
    if p.shutdown is not None or q.shutdown is not None or (p.passive and q.passive):
        return False
    ways = [_look(one.state, (p.address, p.interface)), _look(other.state, (q.address, q.interface))]
    if None in ways:
        return False
    near = all(way is not None and way.via is None for way in ways)
    external = p.asn != q.asn
    return near or not external or all((peer.multihop or peer.ttl_security or 1) > 1 for peer in (p, q))


def _neighbour(us: _Router, peer: PeerConfig, them: _Router, near: OnDevice) -> Neighbour:
    kind = "ebgp" if peer.asn != us.config.asn else "ibgp"
    source = Source(
        peer.name, kind=kind, asn=peer.asn, address=peer.address, client=peer.client, interface=peer.interface
    )
    source.router_id = int(them.config.router_id)
    hops: dict[Family, Address | None] = {}
    for address in us.state.all(OnDevice):
        if address.dev == near.dev and not address.address.ip.is_link_local:
            hops.setdefault(Family.of(address.address.version), address.address.ip)
    hops[Family.of(near.address.version)] = near.address.ip
    return Neighbour(
        source=source, import_policy=peer.import_policy, export_policy=peer.export_policy,
        next_hop_self=peer.next_hop_self, allow_own_as=peer.allow_own_as, enforce_first_as=peer.enforce_first_as,
        hops=hops | dict(peer.next_hops),
    )  # fmt: skip


def _tell(session: _Session) -> bool:
    """Tell the other side what has changed. Whether anything had."""
    assert session.other is not None
    listener, heard = session.other.router, session.other.neighbour
    changed = False
    for family in session.families:
        table = session.router.tables[family]
        for prefix in {*table.entries, *(p for f, p in session.said if f is family)}:
            entry = table.entries.get(prefix)
            best = entry.best[0] if entry and entry.best else None
            attrs = told(best, prefix, family, session.neighbour, session.router.us)[0]
            if attrs == session.said.get((family, prefix)):
                continue
            changed = True
            if attrs is None:
                del session.said[family, prefix]
                listener.tables[family].withdraw(heard.source, [prefix])
                continue
            session.said[family, prefix] = attrs
            verdict = accept(attrs, prefix, family, heard, listener.us)
            path = Path(heard.source, attrs, verdict.attrs, verdict.why, 0.0)
            if path.hop is not None and path.hop not in listener.hops:
                listener.hops[path.hop] = _look(listener.state, path.hop)
            listener.tables[family].announce(path, [prefix])
    return changed


def _look(state: HostState, key: HopKey) -> Hop | None:
    """How a host gets to an address without BGP: the longest prefix among its own networks and routes."""
    address, dev = key
    if address is None:
        return None
    found: list[tuple[int, int, Hop | None]] = []

    def consider(network: Network, metric: int, hop: Hop | None) -> None:
        if network.version == address.version and address in network and (hop is None or dev in ("", hop.dev)):
            found.append((-network.prefixlen, metric, hop))

    for a in state.all(OnDevice):
        consider(a.address.network, 0, Hop(a.dev))
    for r in state.all(Route):
        if r.table == 254:
            way = r.nexthops[0] if r.nexthops else None
            hop = Hop(way.dev, way.via, r.metric) if way else Hop(r.dev, r.via, r.metric) if r.dev else None
            consider(r.dst, r.metric, hop)
    return min(found, key=lambda f: f[:2])[2] if found else None


def _kernel(router: _Router) -> HostState:
    fib = Fib(router.config.kernel, f"bgpd/{router.config.name}", HostState())
    for network in router.config.networks:
        if network.blackhole:
            key = Family.of(network.prefix.version), nlri.nlri(network.prefix)
            fib.blackholes[key] = f"network {network.prefix} of ours"
    items: list[Item] = []
    for family, table in router.tables.items():
        for prefix, entry in table.entries.items():
            route = fib.route(family, prefix, entry, router.hops)
            if route is not None:
                items.append(route)
    return HostState.of(items)
