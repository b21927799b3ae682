"""A resolved lab to the HostState of each of its namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Interface

from netlab.base.addresses import derived_mac
from netlab.compile.docker import container_host_chains
from netlab.compile.topology import Device, Place, Topology
from netlab.model import (
    Address,
    BridgePort,
    Chain,
    Fdb,
    HostState,
    IptablesRule,
    Item,
    Link,
    Loopback,
    Neighbour,
    NextHop,
    Qdisc,
    Route,
    Rule,
    Sysctl,
    Veth,
)


def compile_lab(topology: Topology, *, owner: str | None = None) -> dict[str, HostState]:
    """The desired network of every namespace of the lab, by namespace, in the lab's order.

    owner: defaults to `lab/<name>`. ValueError if the topology contradicts itself (its resolver should have said so).
    """
    by = owner or f"lab/{topology.name}"
    states = {}
    for place in topology.places:
        if not place.shares:
            state = HostState.of(_items(place, topology, by))
            problems = state.problems()
            if problems:
                raise ValueError(f"{place.name}: {'; '.join(problems)}")
            states[topology.netns(place.name)] = state
    return states


def _items(place: Place, topology: Topology, by: str) -> Iterator[Item]:
    yield Link(name="lo", kind=Loopback(), why=place.why, owner=by)
    for device in place.devices:
        yield from _device(device, place, topology, by)
    for name, value, why in place.sysctls:
        yield Sysctl(name=name, value=value, why=why, owner=by)
    for r in place.routes:
        hops = tuple(NextHop(dev, via, weight, r.onlink) for via, dev, weight in r.nexthops)
        yield Route(
            dst=r.to, via=r.via, dev=r.dev, src=r.src, table=r.table, metric=r.metric, mtu=r.mtu,
            onlink=r.onlink, type=r.type, nexthops=hops, why=r.why, owner=by,
        )  # fmt: skip
    for rule in place.rules:
        yield Rule(
            priority=rule.priority, family=rule.family, table=rule.table, src=rule.src, dst=rule.dst,
            fwmark=rule.fwmark, iif=rule.iif, why=rule.why, owner=by,
        )  # fmt: skip
    for n in place.neighbours:
        yield Neighbour(dev=n.dev, address=n.address, mac=n.mac, proxy=n.mac is None, why=n.why, owner=by)
    for f in place.fdb:
        yield Fdb(dev=f.dev, mac=f.mac, dst=f.dst, why=f.why, owner=by)
    for item in place.items:
        if not isinstance(item, Chain):
            yield replace(item, owner=by)
    for chain in _chains(place):
        yield replace(chain, owner=by)


def _device(device: Device, place: Place, topology: Topology, by: str) -> Iterator[Item]:
    kind = device.kind
    if kind is None:
        assert device.peer is not None
        node, name = device.peer
        kind = Veth(name, topology.netns(node))
    yield Link(
        name=device.name,
        kind=kind,
        up=device.up,
        mtu=device.mtu,
        mac=device.mac
        or (None if kind.NAME in ("tun", "ipip") else derived_mac(topology.name, place.name, device.name)),
        master=device.master,
        port=BridgePort(hairpin=device.hairpin) if device.master else None,
        why=device.why,
        owner=by,
    )
    for address in device.addresses:
        broadcast = None
        if isinstance(address, IPv4Interface) and address.network.prefixlen < 31:
            broadcast = address.network.broadcast_address
        yield Address(dev=device.name, address=address, broadcast=broadcast, why=device.why, owner=by)
    if device.impairment:
        yield from impaired(device.name, device.impairment.qdiscs, why=device.impairment.why, owner=by)


def impaired(dev: str, qdiscs: tuple[object, ...], *, why: str, owner: str = "") -> Iterator[Qdisc]:
    """The qdiscs of an impaired device: netem at the root, tbf at the root or below netem."""
    for i, kind in enumerate(qdiscs):
        parent, handle = ("root", "1:") if i == 0 else ("1:1", "10:")
        yield Qdisc(dev=dev, kind=kind, parent=parent, handle=handle, why=why, owner=owner)  # type: ignore[arg-type]


def _chains(place: Place) -> list[Chain]:
    chains: dict[object, Chain] = {}

    def add(chain: Chain) -> None:
        known = chains.get(chain.key)
        if known:
            chain = replace(known, rules=known.rules + chain.rules, policy=chain.policy or known.policy)
        chains[chain.key] = chain

    if place.bridges:
        for family in (4, 6):
            if any(s.version == family for b in place.bridges for s in b.subnets):
                for chain in container_host_chains(family, place.bridges, why=place.bridges[0].why):
                    add(chain)
    for version, table, name, policy, why in place.policies:
        add(Chain(family=version, table=table, name=name, policy=policy, why=why))
    for r in place.firewall:
        rule = IptablesRule.of(r.rule, why=r.why)
        add(Chain(family=r.family, table=r.table, name=r.chain, rules=(rule,), why=r.why))
    for item in place.items:
        if isinstance(item, Chain):
            add(item)
    return list(chains.values())
