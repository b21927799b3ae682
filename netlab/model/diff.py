"""What separates what is from what should be, as ordered operations. Pure; knows what the kernel does by itself.

The kernel takes things away without being told: a deleted device takes its addresses, routes and neighbours along, a
device set down loses its routes and IPv6 addresses, the last IPv4 address of a device takes that device's IPv4 routes.
`plan` counts such things as gone and asks for them anew where they are wanted, so that one pass is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from netlab.model import vlans
from netlab.model.iptables import Chain, merged
from netlab.model.ipvs import IpvsService
from netlab.model.item import Item, Key
from netlab.model.l3 import Address, Fdb, Neighbour, Route
from netlab.model.links import Bridge, BridgeVlan, Link, Loopback, Veth, Wireguard
from netlab.model.nft import NFT
from netlab.model.sets import Ipset
from netlab.model.state import HostState, device_of
from netlab.model.sysctl import Sysctl


@dataclass(frozen=True, slots=True)
class Create:
    """Make `item`, which is not there."""

    item: Item


@dataclass(frozen=True, slots=True)
class Change:
    """Turn `old`, as it is, into `item`."""

    old: Item
    item: Item


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove `item`, as it is."""

    item: Item


Op = Create | Change | Delete


def stage_of(op: Op) -> int:
    """0 before devices are made, 1 devices, 2 after. With several namespaces, each stage is done in all of them first.

    Veth pairs join namespaces, so all devices must stand before any address or route needs one.
    """
    if isinstance(op.item, Link):
        return 0 if isinstance(op, Delete) else 1
    if isinstance(op.item, Sysctl) and op.item.device is None:
        return 0
    return 0 if isinstance(op, Delete) and not isinstance(op.item, (Chain, Ipset, *NFT)) else 2


#: kinds whose options can be set on a living device; any other difference of kind means a new device
_CHANGEABLE = (Bridge, Wireguard)


def must_be_remade(actual: Link, wanted: Link) -> bool:
    """Whether the device has to be deleted and made anew to become `wanted`."""
    if actual.kind == wanted.kind:
        return False
    return type(actual.kind) is not type(wanted.kind) or not isinstance(wanted.kind, _CHANGEABLE)


def lost_with(state: HostState, devices: Iterable[str]) -> set[Key]:
    """The `order` of all that the kernel takes away when `devices` are deleted, the devices included."""
    gone = set(devices)
    grown = True
    while grown:
        grown = False
        for link in state.all(Link):
            if link.name not in gone and (
                link.parent in gone
                or (isinstance(link.kind, Veth) and not link.kind.peer_netns and link.kind.peer in gone)
            ):
                gone.add(link.name)
                grown = True
    # a bridge takes along what it knew of its ports
    ports = {link.name for link in state.all(Link) if link.master in gone}
    return {
        item.order
        for item in state
        if (isinstance(item, Link) and item.name in gone)
        or device_of(item) in gone
        or (_of_a_port(item) and device_of(item) in ports)
        or (isinstance(item, Route) and item.devices & gone)
    }


def _of_a_port(item: Item) -> bool:
    """Whether the bridge knows it, and not the device itself."""
    return (isinstance(item, Fdb) and item.dst is None) or (isinstance(item, BridgeVlan) and not item.on_bridge)


def without_devices(state: HostState, devices: Iterable[str]) -> HostState:
    """`state` after the kernel has deleted `devices`: what hung on them is gone, ports of a bridge are free."""
    lost = lost_with(state, devices)
    names = {item.name for item in state.all(Link) if item.order in lost}
    kept = (item for item in state if item.order not in lost)
    return HostState(
        tuple(
            replace(item, master=None, port=None) if isinstance(item, Link) and item.master in names else item
            for item in kept
        )
    )


def doomed(actual: HostState, wanted: HostState, was: HostState) -> set[str]:
    """Names of devices that have to be deleted: those no longer wanted, and those that must be made anew."""
    wanted_links = {link.name: link for link in wanted.all(Link)}
    mine = {link.name for link in was.all(Link)}
    names = set()
    for link in actual.all(Link):
        target = wanted_links.get(link.name)
        if target is None:
            if link.name in mine and not isinstance(link.kind, Loopback):
                names.add(link.name)
        elif must_be_remade(link, target):
            names.add(link.name)
    return names


def plan(
    actual: HostState,
    wanted: HostState,
    *,
    was: HostState | None = None,
    before: Mapping[str, str] | None = None,
) -> list[Op]:
    """Operations that make `actual` contain `wanted`, in an order that the kernel accepts.

    was: what the owner asked for last time; of `actual`, only what `was` or `wanted` names is ever touched.
    before: values that sysctls had before the owner set them, by name.
    """
    was = HostState() if was is None else was
    if _is_so(actual, wanted, was):
        return []
    # no other item has to do with a chain, and ten thousand Services are a hundred thousand of them
    (actual, have_chains), (wanted, want_chains), (was, my_chains) = map(_chains_apart, (actual, wanted, was))
    dead = doomed(actual, wanted, was)
    lost = lost_with(actual, dead)
    after = without_devices(actual, dead)

    have = {item.order: item for item in after}
    want = {item.order: item for item in wanted}
    mine = {item.order: item for item in was}
    early: list[Op] = []
    late: list[Op] = []

    gone = _taken_along(after, want, set(mine))
    upkeep = vlans.upkeep(after, wanted, was)
    early += [Delete(vlan) for vlan in upkeep.delete if vlan.order not in gone]
    gone |= {vlan.order for vlan in upkeep.delete}
    for order in sorted((set(have) & (set(mine) | set(want))) - gone - upkeep.kept, reverse=True):
        item, target = have[order], want.get(order)
        if target is None and not isinstance(item, (Link, Ipset, Sysctl, *NFT)):
            early.append(Delete(item))
        elif target is not None and not target.met_by(item) and _replace_by_deleting(item, target):
            early.append(Delete(item))
            gone.add(order)
    early[:0] = [Delete(r) for r in actual.all(Route) if r.order in lost | gone and _left_crippled(r)]

    removed = sorted((i for i in actual.all(Link) if i.name in dead), key=lambda i: (i.parent is None, i.name))
    early += [Delete(link) for link in removed]

    late += _loopback_down(have, want, mine)
    for item in _creation_order(wanted):
        actual_item = have.get(item.order) if item.order not in gone else None
        if actual_item is None:
            late.append(Create(item))
        elif not item.met_by(actual_item):
            late.append(Change(actual_item, item))
    late += [Change(old, vlan) if old else Create(vlan) for old, vlan in upkeep.put]
    asked = (op.item for op in late if isinstance(op.item, BridgeVlan))
    late[:0] = [Change(bridge, addressed) for bridge, addressed in vlans.unaddressed(after, wanted, asked)]
    late += _held_mtus(wanted, late)
    late += _no_longer_wanted(have, want, mine, before or {})
    late += _chains(have_chains, want_chains, my_chains)
    late += [Delete(have[o]) for o in mine if o not in want and o in have and isinstance(have[o], Ipset)]
    # nftables is changed in one transaction, in which the order is nftscript's
    late += [Delete(have[o]) for o in mine if o not in want and o in have and isinstance(have[o], NFT)]
    return _once(early) + shrunk_last(late)


def shrunk_last(ops: Sequence[Op]) -> list[Op]:
    """The same with sets that lose their entries after virtual servers have changed, as they get them before.

    Whom IPVS still chooses has to be in them: a packet to an endpoint that calls itself would else keep its own address
    as its source, for as long as the connection is tried.
    """
    if not any(isinstance(op.item, IpvsService) for op in ops):
        return list(ops)
    found: list[Op] = []
    shrunk: list[Op] = []
    for op in ops:
        old, new = (op.old, op.item) if isinstance(op, Change) else (None, op.item)
        if isinstance(old, Ipset) and isinstance(new, Ipset) and old.header == new.header:
            both = {*old.entries, *new.entries}
            if len(new.entries) < len(both) <= new.maxelem:
                between = replace(new, entries=tuple(both))
                found += [Change(old, between)] * (len(old.entries) < len(both))
                shrunk.append(Change(between, new))
                continue
        found.append(op)
    sets_go = next(
        (i for i, op in enumerate(found) if isinstance(op, Delete) and isinstance(op.item, Ipset)), len(found)
    )
    return [*found[:sets_go], *shrunk, *found[sets_go:]]


def _is_so(actual: HostState, wanted: HostState, was: HostState) -> bool:
    """Whether there is nothing to do, as far as that shows at a glance: an `up` of what is up asks for nothing else."""
    have = {item.order: item for item in actual}
    for item in wanted:
        found = have.get(item.order)
        if found is None or isinstance(item, Chain) or not item.met_by(found):
            return False
    return was == wanted or {item.order for item in was} <= {item.order for item in wanted}


def diff(a: HostState, b: HostState) -> list[Op]:
    """What turns `a` into `b` if all of `a` is ours."""
    return plan(a, b, was=a)


def swapped(gone: Iterable[Item], new: Iterable[Item]) -> list[Op]:
    """What `plan` makes of routes, neighbours and forwarding entries alone, on devices that stay as they are.

    Such items depend on nothing but devices, so most of what `plan` looks into cannot be; for ten thousand routes that
    leave at once it looks too long.
    """
    leaving = {item.order: item for item in gone}
    first: list[tuple[Key, Op]] = []
    early: list[tuple[Key, Op]] = []
    late: list[Op] = []
    for item in new:
        order = item.order
        old = leaving.pop(order, None)
        if old is None:
            late.append(Create(item))
        elif not item.met_by(old):
            if _replace_by_deleting(old, item):
                (first if isinstance(old, Route) and _left_crippled(old) else early).append((order, Delete(old)))
                late.append(Create(item))
            else:
                late.append(Change(old, item))
    early += [(order, Delete(item)) for order, item in leaving.items()]
    early.sort(key=lambda pair: pair[0], reverse=True)
    return [op for _, op in [*sorted(first, key=lambda pair: pair[0]), *early]] + late


def _once(ops: list[Op]) -> list[Op]:
    seen: set[Key] = set()
    return [op for op in ops if op.item.order not in seen and not seen.add(op.item.order)]  # type: ignore[func-returns-value]


def _left_crippled(route: Route) -> bool:
    """Whether the kernel would keep a maimed route: one dead way of several, or IPv6 without its preferred source."""
    return bool(route.nexthops) or (route.dst.version == 6 and route.src is not None)


def _replace_by_deleting(item: Item, target: Item) -> bool:
    """Whether the kernel has no in-place change from `item` to `target`."""
    if isinstance(item, Route) and isinstance(target, Route):
        # IPv6 keeps several routes per prefix; only a plain gateway route is replaced as a whole
        plain = bool(item.via and target.via) and not item.nexthops and not target.nexthops
        return item.dst.version == 6 and not plain
    return isinstance(item, Address)


def _taken_along(actual: HostState, want: Mapping[Key, Item], mine: set[Key]) -> set[Key]:
    """What of `actual` disappears by itself, or has to be taken away first, while its device lives."""
    gone: set[Key] = set()
    links = {link.name: link for link in actual.all(Link)}
    targets = {item.name: item for item in want.values() if isinstance(item, Link)}
    unwanted = mine - set(want)
    going_down = {name for name, t in targets.items() if name in links and links[name].up and not t.up}
    going_down |= {n for n, li in links.items() if li.up and isinstance(li.kind, Loopback) and li.order in unwanted}
    moved = {n for n, t in targets.items() if n in links and links[n].master and links[n].master != t.master}
    for item in actual:
        if (
            (isinstance(item, Route) and falls_with(item) & going_down)
            or (isinstance(item, Neighbour) and item.dev in going_down)
            or (isinstance(item, Address) and item.address.version == 6 and item.dev in going_down)
            or (_of_a_port(item) and device_of(item) in moved)
        ):
            gone.add(item.order)

    addresses = [item for item in actual.all(Address) if item.order not in gone]
    leaving = [a for a in addresses if a.order in mine | set(want) and want.get(a.order) != a]
    # deleting a primary IPv4 address takes the secondaries of its subnet along
    subnets = {(a.dev, a.address.network) for a in leaving if a.address.version == 4}
    taken = {a.order for a in addresses if (a.dev, a.address.network) in subnets}
    emptied = {a.dev for a in leaving if a.address.version == 4} - {
        a.dev for a in addresses if a.address.version == 4 and a.order not in taken
    }
    # only a real Delete takes them along, so they are planned as leaving too: see `plan`, which deletes the primaries
    addresses_lost = {a.address.ip for a in addresses if a.order in taken or a in leaving}
    leaving_orders = {a.order for a in leaving}
    gone |= {order for order in taken if order not in leaving_orders}
    # which address is the primary does not show: where one is to stay, the routes may stay with it, and are deleted
    doubtful = {a.dev for a in addresses if a.order in taken and a.order not in leaving_orders}
    for route in actual.all(Route):
        may_stay = route.order in unwanted and bool(route.devices & doubtful)
        if route.dst.version == 4 and route.devices & emptied and not may_stay:
            gone.add(route.order)
    # a route with a preferred source goes with that address (IPv4), or loses it (IPv6, see `_left_crippled`)
    surely = {a.address.ip for a in leaving}
    gone |= {
        route.order
        for route in actual.all(Route)
        if route.src in (surely if route.order in unwanted else addresses_lost) and route.order in mine | set(want)
    }
    return gone


def falls_with(route: Route) -> frozenset[str]:
    """Devices that take the route along when they are set down: the kernel keeps an IPv6 route that refuses on `lo`."""
    return route.devices or frozenset(["lo"] if route.dst.version == 6 else [])


def _creation_order(wanted: HostState) -> list[Item]:
    """Total order, but a device comes after its master and its parent."""
    links = {link.name: link for link in wanted.all(Link)}
    placed: dict[str, Link] = {}

    def place(link: Link) -> None:
        if link.name in placed:
            return
        for name in (link.master, link.parent):
            if name and name in links and name != link.name:
                place(links[name])
        placed[link.name] = link

    for link in links.values():
        place(link)
    before = [i for i in wanted if i.order < (Link.RANK,)]
    return [*before, *placed.values(), *(i for i in wanted if i.order >= (Link.RANK + 1,))]


def _loopback_down(have: Mapping[Key, Item], want: Mapping[Key, Item], mine: Mapping[Key, Item]) -> list[Op]:
    """`lo` down where it is no longer wanted, before anything is made that would go down with it."""
    lost = [have[order] for order in mine if order in have and order not in want]
    return [
        Change(item, replace(item, up=False))
        for item in lost
        if isinstance(item, Link) and isinstance(item.kind, Loopback) and item.up
    ]


def _held_mtus(wanted: HostState, ops: list[Op]) -> list[Op]:
    """Bridges whose MTU has to be said once more: until a person has set it, it follows the smallest of the ports."""
    touched = {op.item.name for op in ops if isinstance(op.item, Link)}
    held: list[Op] = []
    for bridge in wanted.all(Link):
        ports = (
            [port for port in wanted.all(Link) if port.master == bridge.name] if isinstance(bridge.kind, Bridge) else []
        )
        least = min((port.mtu for port in ports), default=bridge.mtu)
        if least != bridge.mtu and touched & {bridge.name, *(port.name for port in ports)}:
            held.append(Change(replace(bridge, mtu=least), bridge))
    return held


def _no_longer_wanted(
    have: Mapping[Key, Item], want: Mapping[Key, Item], mine: Mapping[Key, Item], before: Mapping[str, str]
) -> list[Op]:
    """Sysctls back to what they were before us."""
    ops: list[Op] = []
    for order in mine:
        item = have.get(order)
        if order not in want and isinstance(item, Sysctl):
            old = before.get(item.name)
            if old is not None and old != item.value:
                ops.append(Change(item, replace(item, value=old)))
    return ops


def _chains_apart(state: HostState) -> tuple[HostState, dict[Key, Chain]]:
    """The rest, and the chains."""
    chains = {item.order: item for item in state if isinstance(item, Chain)}
    return (HostState(tuple(item for item in state if not isinstance(item, Chain))) if chains else state), chains


def _chains(have: Mapping[Key, Chain], want: Mapping[Key, Chain], mine: Mapping[Key, Chain]) -> list[Op]:
    """Chain operations; a built-in chain is changed to the merge of the others' rules and ours."""
    ops: list[Op] = []
    for order in sorted({**want, **mine}):
        target, actual, owned = want.get(order), have.get(order), mine.get(order)
        name = target or owned
        assert name is not None
        if not name.builtin:
            if target is None:
                ops += [Delete(actual)] if actual else []
            elif actual is None:
                ops.append(Create(target))
            elif not target.same_rules(actual):
                ops.append(Change(actual, target))
            continue
        current = actual or Chain(family=name.family, table=name.table, name=name.name, policy="ACCEPT")
        rules = merged(current.rules, owned.rules if owned else (), target.rules if target else ())
        policy = current.policy
        if target and target.policy:
            policy = target.policy
        elif owned and owned.policy:
            policy = "ACCEPT"  # the kernel's own; an owner that no longer asks for a policy gives it back
        whole = replace(current, rules=rules, policy=policy, why=name.why, owner=name.owner)
        if whole.rules != current.rules or whole.policy != current.policy:
            ops.append(Change(current, whole))
    return ops
