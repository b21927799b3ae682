"""What a speaker knows, as plain data for people and for JSON: summary, neighbours, routes, and why a path won."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from netlab.base.addresses import Network, inside
from netlab.base.errors import InputError
from netlab.bgp import decision, nlri
from netlab.bgp.attributes import path_text
from netlab.bgp.decision import Path
from netlab.bgp.export import told
from netlab.bgp.fsm import State
from netlab.bgp.nlri import Family, Nlri
from netlab.bgp.peer import Peer
from netlab.bgp.rib import Entry, Table
from netlab.bgp.speaker import Speaker
from netlab.model.explain.l3 import create_route


def summary(speaker: Speaker) -> dict[str, Any]:
    """The speaker and a line per peer."""
    c = speaker.config
    return {
        "name": c.name,
        "as": c.asn,
        "router_id": str(c.router_id),
        "restarting": speaker.restarting,
        "routes": {family.label: len(table.entries) for family, table in speaker.tables.items()},
        "kernel_routes": len(speaker.fib.installed),
        "kernel_errors": speaker.kernel_errors,
        "last_kernel_error": speaker.last_kernel_error,
        "peers": [_line(speaker, peer) for peer in speaker.peers.values()],
    }


def _line(speaker: Speaker, peer: Peer) -> dict[str, Any]:
    out = peer.outbox
    state = peer.state.value
    if peer.config.shutdown is not None:
        state = "Idle (shut down)"
    elif peer.helping and peer.state is not State.ESTABLISHED:
        state += " (keeping its routes)"
    return {
        "name": peer.config.name,
        "address": str(peer.config.address),
        "as": peer.config.asn,
        "type": peer.source.kind,
        "state": state,
        "since": round(speaker.now - peer.stats.last_change, 3),
        "received": {f.label: peer.source.counts.get(f, 0) for f in peer.config.families},
        "sent": {f.label: len(t) for f, t in out.told.items()} if out else {},
        "last_error": peer.stats.last_error,
    }


def neighbors(speaker: Speaker, name: str | None = None) -> list[dict[str, Any]]:
    """Everything about each peer, or about one of that name or address. InputError if there is none."""
    found = [p for p in speaker.peers.values() if name in (None, p.config.name, str(p.config.address))]
    if name is not None and not found:
        hint = "there are: " + (", ".join(speaker.peers) or "none")
        raise InputError(f"there is no peer {name!r}", hint=hint)
    return [_neighbor(speaker, p) for p in found]


def _neighbor(speaker: Speaker, peer: Peer) -> dict[str, Any]:
    connection = peer.established
    theirs = connection.session.peer_open if connection else None
    ours, far = connection.ends_of() if connection else (None, None)
    agreed = peer.agreed
    c = peer.config
    return {
        **_line(speaker, peer),
        "router_id": str(agreed.router_id) if agreed else None,
        "local_address": str(ours) if ours else None,
        "remote_address": str(far) if far else None,
        "opened_by": None if connection is None else "peer" if connection.incoming else "us",
        "hold_time": agreed.hold_time if agreed else None,
        "families": [f.label for f in agreed.families] if agreed else [],
        "end_of_rib": [f.label for f in Family if f in peer.ended],
        "capabilities": {
            "ours": peer.terms.open().capabilities.as_json(),
            "theirs": theirs.capabilities.as_json() if theirs else None,
        },
        "import": c.import_policy.name,
        "export": c.export_policy.name,
        "route_reflector_client": c.client,
        "password": c.password is not None,
        "ttl_security": c.ttl_security,
        "established": peer.stats.established,
        "faults": peer.stats.faults,
        "messages": {"received": dict(peer.stats.received), "sent": dict(peer.stats.sent)},
    }


def _path(speaker: Speaker, path: Path) -> dict[str, Any]:
    attrs = path.attrs or path.received
    return {
        "from": path.source.name,
        "type": path.source.kind,
        "peer": str(path.source.address) if path.source.address else None,
        "age": round(speaker.now - path.since, 3),
        "stale": path.stale,
        "accepted": path.attrs is not None,
        "why": path.why,
        "usable": speaker.rules.usable(path),
        "next_hop_state": decision.usable_text(path, speaker.rules),
        "attributes": attrs.as_json(),
    }


def _tables(speaker: Speaker, family: str | None) -> list[tuple[Family, Table]]:
    return [(f, table) for f, table in speaker.tables.items() if family in (None, f.label)]


def _sorted(table: Table) -> list[tuple[Nlri, Entry]]:
    return sorted(table.entries.items(), key=lambda x: (nlri.number(x[0], table.family), x[0][0]))


def rib(speaker: Speaker, *, family: str | None = None, prefix: str | None = None) -> Iterator[dict[str, Any]]:
    """Every prefix with all its paths, the best first; of one prefix, what lies within it."""
    within = parse_prefix(prefix) if prefix else None
    for f, table in _tables(speaker, family):
        for key, entry in _sorted(table):
            if within is not None and not inside(nlri.network(key, f), within):
                continue
            ordered = [*entry.best, *(p for p in entry.paths if p not in entry.best)]
            yield {
                "prefix": nlri.text(key, f),
                "family": f.label,
                "best": len(entry.best),
                "paths": [_path(speaker, p) for p in ordered],
            }


def routes(speaker: Speaker, *, family: str | None = None) -> Iterator[dict[str, Any]]:
    """What we ask the kernel for."""
    for (f, key), route in sorted(
        speaker.fib.installed.items(), key=lambda x: (x[0][0].afi, nlri.number(x[0][1], x[0][0]), x[0][1][0])
    ):
        if family not in (None, f.label):
            continue
        ways = [{"dev": n.dev, "via": str(n.via)} for n in route.nexthops]
        if not ways and route.dev:
            ways = [{"dev": route.dev, "via": str(route.via) if route.via else None}]  # type: ignore[dict-item]
        yield {
            "prefix": nlri.text(key, f),
            "family": f.label,
            "type": route.type,
            "next_hops": ways,
            "protocol": route.protocol,
            "table": route.table,
            "metric": route.metric,
            "why": route.why,
        }


def told_to(speaker: Speaker, name: str) -> Iterator[dict[str, Any]]:
    """What a peer has been told: its Adj-RIB-Out. InputError."""
    peer = speaker.peers.get(name)
    if peer is None:
        raise InputError(f"there is no peer {name!r}", hint="there are: " + (", ".join(speaker.peers) or "none"))
    for family, entries in (peer.outbox.told if peer.outbox else {}).items():
        for key, attrs in sorted(entries.items(), key=lambda x: (nlri.number(x[0], family), x[0][0])):
            yield {"prefix": nlri.text(key, family), "family": family.label, "attributes": attrs.as_json()}


def parse_prefix(text: str) -> Network:
    """A prefix, or an address as a prefix of its full length. InputError."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InputError(f"{text!r} is not a prefix or an address") from None


def explain(speaker: Speaker, text: str) -> dict[str, Any]:
    """Why a prefix's best path is the best: every step, what each path had to show, who was left; what the kernel
    got of it and what each peer is told. For an address, of the longest prefix that has it. InputError."""
    wanted = parse_prefix(text)
    family = Family.of(wanted.version)
    table = speaker.tables[family]
    found = _find(table, wanted, exact="/" in text)
    if found is None:
        return {"asked": text, "prefix": None, "steps": [], "paths": [], "told": [], "kernel": None}
    key, entry = found
    labels = {id(p): f"{p.source.name}" for p in entry.paths}
    steps = [
        {
            "step": judged.step,
            "values": {labels[id(p)]: value for p, value in judged.values},
            "left": [labels[id(p)] for p in judged.left],
        }
        for judged in decision.explain(entry.paths, speaker.rules, speaker.now)
    ]
    route = speaker.fib.installed.get((family, key))
    best = entry.best[0] if entry.best else None
    tellings = []
    for peer in speaker.peers.values():
        if peer.outbox is None or family not in peer.outbox.told:
            tellings.append({"peer": peer.config.name, "told": False, "why": f"no session for {family.label}"})
            continue
        attrs, why = told(best, key, family, peer.neighbour, speaker.us)
        tellings.append(
            {"peer": peer.config.name, "told": attrs is not None, "why": why}
            | ({"as_path": path_text(attrs.as_path), "next_hop": str(attrs.next_hop)} if attrs else {})
        )
    return {
        "asked": text,
        "prefix": nlri.text(key, family),
        "winner": labels[id(best)] if best else None,
        "multipath": [labels[id(p)] for p in entry.best[1:]],
        "steps": steps,
        "paths": [_path(speaker, p) for p in [*entry.best, *(p for p in entry.paths if p not in entry.best)]],
        "kernel": None if route is None else create_route(route)[0].shell(),
        "told": tellings,
    }


def _find(table: Table, wanted: Network, *, exact: bool) -> tuple[Nlri, Entry] | None:
    while True:
        key = nlri.nlri(wanted)
        entry = table.entries.get(key)
        if entry is not None:
            return key, entry
        if exact or wanted.prefixlen == 0:
            return None
        wanted = wanted.supernet()
