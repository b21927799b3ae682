"""Checks of what a kernel holds: links, routes, neighbours, forwarding, settings, rules."""

from __future__ import annotations

from fnmatch import fnmatchcase

from netlab.lab.checks.result import CannotProbe, Context, NotYet
from netlab.lab.checkspec import FdbCheck, LinkCheck, NeighbourCheck, RouteCheck, RuleCheck, SysctlCheck
from netlab.model import Address, Route
from netlab.model.links import FALLBACK_TUNNELS


def link(spec: LinkCheck, context: Context) -> str:
    """A device, its state and its addresses."""
    state = context.state(spec.on)
    found = state.link(spec.dev)
    if found and not found.up and found.name in FALLBACK_TUNNELS and spec.absent:
        found = None  # the kernel's own, which is in every namespace once its module is loaded, and carries nothing
    if found is None or spec.absent:
        if (found is None) == spec.absent:
            return f"{spec.on} has {'no' if spec.absent else 'a'} device {spec.dev}"
        raise NotYet(f"{spec.on} has {'a' if found else 'no'} device {spec.dev}")
    there = {
        "kind": found.kind.NAME, "vni": getattr(found.kind, "vni", None), "up": found.up, "mtu": found.mtu,
        "mac": found.mac, "master": found.master,
    }  # fmt: skip
    for name, value in there.items():
        wanted = getattr(spec, name)
        if wanted is not None and value != wanted:
            raise NotYet(f"{spec.on} {spec.dev}: {name} is {_shown(value)}, not {_shown(wanted)}")
    have = [str(a.address) for a in state.all(Address) if a.dev == spec.dev]
    missing = [a for a in spec.addresses or [] if a not in have]
    if missing:
        raise NotYet(f"{spec.on} {spec.dev} has {', '.join(have) or 'no address'}, not {', '.join(missing)}")
    return f"{spec.on} {spec.dev} {'up' if found.up else 'down'}, mtu {found.mtu}" + (
        f", {', '.join(have)}" if have else ""
    )


def _shown(value: object) -> str:
    return (
        {True: "yes", False: "no", None: "none"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def route(spec: RouteCheck, context: Context) -> str:
    """A route: gateway and device; the connected routes that follow from addresses count as well."""
    state = context.state(spec.on)
    to, via = context.network(spec.to), context.address(spec.via) if spec.via else None
    routes = [r for r in state.all(Route) if r.dst == to and r.table == spec.table]
    connected = [a for a in state.all(Address) if a.address.network == to and spec.table == 254]
    ways = [(r.via, r.dev) for r in routes] + [(h.via, h.dev) for r in routes for h in r.nexthops]
    ways += [(None, a.dev) for a in connected]
    fitting = [(v, d) for v, d in ways if via in (None, v) and spec.dev in (None, d)]
    if spec.absent:
        if fitting:
            raise NotYet(f"{spec.on} has a route to {to}")
        return f"{spec.on} has no route to {to}"
    if not fitting:
        there = "; ".join(_way(v, d) for v, d in ways) or "nothing"
        raise NotYet(f"{spec.on} route to {to}: {there}, not {_way(via, spec.dev)}")
    return f"{spec.on} {to} {_way(*fitting[0])}"


def _way(via: object, dev: str | None) -> str:
    return " ".join(([f"via {via}"] if via else []) + ([f"dev {dev}"] if dev else []) or ["anywhere"])


def neighbour(spec: NeighbourCheck, context: Context) -> str:
    """A resolved ARP or NDP entry."""
    address = context.address(spec.address)
    table = [n for n in context.machine.neighbours(context.netns(spec.on)) if n.address == address]
    usable = [n for n in table if n.mac and spec.mac in (None, n.mac) and spec.dev in (None, n.dev)]
    if not usable:
        there = ", ".join(f"{n.mac or 'no MAC'} {n.dev} {n.state}" for n in table) or "nothing"
        raise NotYet(f"{spec.on} knows {there} of {address}" + (f", not {spec.mac}" if spec.mac else ""))
    return f"{spec.on} {address} is {usable[0].mac} on {usable[0].dev} ({usable[0].state})"


def fdb(spec: FdbCheck, context: Context) -> str:
    """Behind which port a MAC is."""
    dst = context.address(spec.dst) if spec.dst else None
    table = [
        e for e in context.machine.forwarding(context.netns(spec.on)) if e.mac == spec.mac and e.state != "PERMANENT"
    ]
    table += [e for e in context.machine.forwarding(context.netns(spec.on)) if e.mac == spec.mac and e.address]
    if not any(e.dev == spec.dev and dst in (None, e.address) for e in table):
        there = ", ".join(f"{e.dev} {e.address or ''}".strip() for e in table) or "nowhere"
        raise NotYet(f"{spec.on} has {spec.mac} behind {there}, not {spec.dev}")
    return f"{spec.on} has {spec.mac} behind {spec.dev}"


def sysctl(spec: SysctlCheck, context: Context) -> str:
    """A setting."""
    name = spec.name if "/" in spec.name else spec.name.replace(".", "/")
    value = context.machine.sysctl(context.netns(spec.on), name)
    if value is None:
        raise CannotProbe(f"{spec.on} has no setting {spec.name}")
    if value != spec.value:
        raise NotYet(f"{spec.on} {spec.name} is {value}, not {spec.value}")
    return f"{spec.on} {spec.name} = {value}"


def rule(spec: RuleCheck, context: Context) -> str:
    """An iptables rule and its counters."""
    variant = context.record.iptables or context.machine.iptables_variant()
    counts = context.machine.counters(context.netns(spec.on), spec.family, spec.table, iptables=variant)
    where = f"{spec.on} {spec.table} {spec.chain}"
    text = context.text(spec.contains)
    found = [c for c in counts if fnmatchcase(c.chain, spec.chain) and text in c.rule]
    if bool(found) == spec.absent:
        raise NotYet(f"{where} has {'a' if found else 'no'} rule with {text!r}")
    if not found:
        return f"{where} has no rule with {text!r}"
    met = sum(c.packets for c in found)
    if spec.packets is not None and met < spec.packets:
        raise NotYet(f"{where}: {met} packets met {found[0].rule!r}, not {spec.packets}")
    return f"{where}: {found[0].rule} ({met} packets)"
