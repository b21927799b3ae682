"""What an exercise breaks: pure functions from the HostState of a place to what it is then.

Each leaves out what the kernel would not let live any longer, so that the result is a network that can be. `NoMatch`
if there is nothing in the lab that it could change: such an exercise would break nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from netlab.base.errors import NetlabError
from netlab.compile.proxying import joined
from netlab.lab.capture.packet import Place
from netlab.lab.exercises import spec
from netlab.model import (
    Address,
    Chain,
    Fdb,
    HostState,
    IptablesRule,
    IpvsService,
    Item,
    Link,
    Loopback,
    Neighbour,
    Route,
    Sysctl,
    Veth,
)
from netlab.model.diff import without_devices

States = Mapping[str, HostState]


class NoMatch(NetlabError):
    """The edit finds nothing to change."""


def edit(states: States, kind: str, what: spec.Edit, netns: Callable[[str], str], *, why: str) -> dict[str, HostState]:
    """The states of a lab after one edit. netns: of a place; why: what new items say of their origin. NoMatch."""
    here = netns(what.on)
    changed = plug(states, what, netns) if isinstance(what, spec.Plug) else {here: _EDITS[kind](states[here], what)}
    if all(state == states[ns] for ns, state in changed.items()):
        raise NoMatch(f"{what.on} is like that already: {kind} would change nothing")
    return {**states, **{ns: _stamped(state, states[ns], why) for ns, state in changed.items()}}


def _stamped(state: HostState, before: HostState, why: str) -> HostState:
    owner = next((item.owner for item in before), "")
    known = set(map(id, before))
    return HostState.of(item if id(item) in known else replace(item, owner=owner, why=why) for item in state)


def whole_pairs(states: States) -> dict[str, HostState]:
    """After all edits: a veth end whose other end is gone goes, too."""

    def alone(link: Link) -> bool:
        kind = link.kind
        there = states.get(kind.peer_netns) if isinstance(kind, Veth) else None
        return isinstance(kind, Veth) and there is not None and there.link(kind.peer) is None

    return {ns: without_devices(s, [link.name for link in s.all(Link) if alone(link)]) for ns, s in states.items()}


def _link(state: HostState, what: Any) -> Link:
    link = state.link(what.dev)
    if link is None:
        there = ", ".join(known.name for known in state.all(Link))
        raise NoMatch(f"{what.on} has no device {what.dev}", hint=f"there are: {there}")
    return link


def _with(state: HostState, *new: Item) -> HostState:
    """`state` with `new` in the place of what has their keys."""
    orders = {item.order for item in new}
    return HostState.of([*(item for item in state if item.order not in orders), *new])


def link_down(state: HostState, what: spec.LinkDown) -> HostState:
    """Down, without what lives only on a device that is up: routes, neighbours, IPv6 addresses."""
    link = _link(state, what)

    def lives(item: Item) -> bool:
        if isinstance(item, Route):
            return what.dev not in item.devices
        if isinstance(item, Address):
            return item.dev != what.dev or item.address.version == 4
        return not (isinstance(item, Neighbour) and item.dev == what.dev)

    return _with(state.where(lives), replace(link, up=False))


def unplug(state: HostState, what: spec.Unplug) -> HostState:
    """No longer a port of its bridge."""
    link = _link(state, what)
    if link.master is None:
        raise NoMatch(f"{what.on} {what.dev} is no port of a bridge")
    return _with(state, replace(link, master=None, port=None))


def plug(states: States, what: spec.Plug, netns: Callable[[str], str]) -> dict[str, HostState]:
    """A cable from the bridge to a device without an address: both namespaces as they are then."""
    far = Place.parse(what.far)
    here, there = netns(what.on), netns(far.node)
    for place, name, state in ((what.on, what.dev, states[here]), (far.node, far.device, states[there])):
        if state.link(name):
            raise NoMatch(f"{place} has a device {name} already")
    if states[here].link(what.bridge) is None:
        raise NoMatch(f"{what.on} has no bridge {what.bridge}")
    port = Link(name=what.dev, kind=Veth(far.device, there), master=what.bridge)
    # without IPv6 it has nothing to say: no router solicitation teaches the bridge that somebody is there
    mute = Sysctl(name=f"net/ipv6/conf/{far.device}/disable_ipv6", value="1")
    end = Link(name=far.device, kind=Veth(what.dev, here))
    return {here: _with(states[here], port), there: _with(states[there], end, mute)}


def gateway(state: HostState, what: spec.Gateway) -> HostState:
    """The default route by way of another gateway."""
    routes = [r for r in state.all(Route) if r.dst.prefixlen == 0 and r.via and r.dst.version == what.via.version]
    if not routes:
        raise NoMatch(f"{what.on} has no IPv{what.via.version} default route with a gateway")
    return _with(state, *(replace(route, via=what.via) for route in routes))


def drop_route(state: HostState, what: spec.DropRoute) -> HostState:
    """A route left out."""
    if not any(r.dst == what.to for r in state.all(Route)):
        there = ", ".join(str(r.dst) for r in state.all(Route)) or "none"
        raise NoMatch(f"{what.on} has no route to {what.to} that the lab asks for", hint=f"there are: {there}")
    return state.where(lambda item: not (isinstance(item, Route) and item.dst == what.to))


def add_route(state: HostState, what: spec.AddRoute) -> HostState:
    """One more route."""
    return _with(state, Route(dst=what.to, via=what.via, dev=_link(state, what).name))


def address(state: HostState, what: spec.AddressEdit) -> HostState:
    """An address changed, added or left out."""
    link = _link(state, what)
    old = next((a for a in state.all(Address) if a.dev == link.name and a.address == what.from_), None)
    if what.from_ and old is None:
        there = ", ".join(str(a.address) for a in state.all(Address) if a.dev == link.name) or "none"
        raise NoMatch(f"{what.on} {what.dev} has no address {what.from_}", hint=f"there are: {there}")
    kept = state.where(lambda item: item is not old)
    if what.to is None:
        return kept
    v4 = what.to.version == 4 and what.to.network.prefixlen < 31
    return _with(
        kept, Address(dev=link.name, address=what.to, broadcast=what.to.network.broadcast_address if v4 else None)
    )


def mtu(state: HostState, what: spec.MtuEdit) -> HostState:
    """Another MTU."""
    return _with(state, replace(_link(state, what), mtu=what.mtu))


def neighbour(state: HostState, what: spec.NeighbourEdit) -> HostState:
    """A permanent neighbour entry."""
    return _with(state, Neighbour(dev=_link(state, what).name, address=what.address, mac=what.mac))


def drop_neighbour(state: HostState, what: spec.DropNeighbour) -> HostState:
    """A permanent neighbour entry left out."""
    found = [n for n in state.all(Neighbour) if n.dev == what.dev and n.address == what.address]
    if not found:
        there = ", ".join(str(n.address) for n in state.all(Neighbour) if n.dev == what.dev) or "none"
        raise NoMatch(f"{what.on} {what.dev} has no entry for {what.address}", hint=f"there are: {there}")
    return state.where(lambda item: item not in found)


def drop_fdb(state: HostState, what: spec.DropFdb) -> HostState:
    """Forwarding entries left out."""
    found = [f for f in state.all(Fdb) if f.dev == what.dev and what.dst in (None, f.dst)]
    if not found:
        there = ", ".join(str(f.dst or f.mac) for f in state.all(Fdb) if f.dev == what.dev) or "none"
        raise NoMatch(f"{what.on} {what.dev} has no forwarding entry like that", hint=f"there are: {there}")
    return state.where(lambda item: item not in found)


def sysctl(state: HostState, what: spec.SysctlEdit) -> HostState:
    """Another value of a setting, whether the lab sets it or not."""
    name = what.name if "/" in what.name else what.name.replace(".", "/")
    return _with(state, Sysctl(name=name, value=what.value))


def _chains(state: HostState, what: spec.DropRule | spec.AddRule | spec.Policy) -> list[Chain]:
    return [
        c for c in state.all(Chain) if (c.table, c.name) == (what.table, what.chain) and what.family in (None, c.family)
    ]


def drop_rule(state: HostState, what: spec.DropRule) -> HostState:
    """Rules left out of a chain."""
    found = [c for c in _chains(state, what) if any(what.contains in str(rule) for rule in c.rules)]
    if not found:
        there = "; ".join(str(rule) for c in _chains(state, what) for rule in c.rules) or "none"
        raise NoMatch(
            f"{what.on} {what.table} {what.chain} has no rule with {what.contains!r}", hint=f"there are: {there}"
        )
    return _with(state, *(replace(c, rules=tuple(r for r in c.rules if what.contains not in str(r))) for c in found))


def add_rule(state: HostState, what: spec.AddRule) -> HostState:
    """A rule ahead of the lab's own."""
    new = IptablesRule.of(what.rule)
    known = _chains(state, what) or [Chain(family=what.family, table=what.table, name=what.chain)]
    return _with(state, *(replace(c, rules=(new, *c.rules)) for c in known))


def policy(state: HostState, what: spec.Policy) -> HostState:
    """Another policy."""
    known = _chains(state, what) or [Chain(family=what.family, table=what.table, name=what.chain)]
    return _with(state, *(replace(c, policy=what.policy) for c in known))


def real_server(state: HostState, what: spec.RealServer) -> HostState:
    """A real server with another weight, or left out."""
    services = {str(service).removeprefix("ipvs "): service for service in state.all(IpvsService)}
    service = services.get(what.service)
    if service is None:
        there = ", ".join(services) or "none"
        raise NoMatch(f"{what.on} has no virtual server {what.service}", hint=f"there are: {there}")
    servers = {joined(str(d.address), d.port): d for d in service.destinations}
    if what.server not in servers:
        raise NoMatch(f"{what.on} {what.service} has no {what.server}", hint=f"there are: {', '.join(servers)}")
    found = servers.pop(what.server)
    left = [*servers.values(), *([replace(found, weight=what.weight)] if what.weight is not None else [])]
    return _with(state, replace(service, destinations=tuple(left)))


def remove(state: HostState, what: spec.Remove) -> HostState:
    """Devices left out, and the firewall."""
    there = [link.name for link in state.all(Link) if not isinstance(link.kind, Loopback)]
    names = there if what.devices == "all" else what.devices
    missing = [name for name in names if name not in there]
    if missing:
        raise NoMatch(f"{what.on} has no device {missing[0]}", hint=f"there are: {', '.join(there)}")
    left = without_devices(state, names)
    return left.where(lambda item: not isinstance(item, Chain)) if what.firewall else left


_EDITS: dict[str, Callable[[HostState, Any], HostState]] = {
    "link_down": link_down,
    "unplug": unplug,
    "gateway": gateway,
    "drop_route": drop_route,
    "add_route": add_route,
    "address": address,
    "mtu": mtu,
    "neighbour": neighbour,
    "sysctl": sysctl,
    "drop_rule": drop_rule,
    "add_rule": add_rule,
    "policy": policy,
    "drop_neighbour": drop_neighbour,
    "drop_fdb": drop_fdb,
    "real_server": real_server,
    "remove": remove,
}
