"""The way back: what separates a lab as it is from what it should be, as operations and as commands.

`kernel.apply` touches only what its owner has asked for. A learner's own additions nobody has asked for, so they are
claimed first - put into the lab's claims as if the lab had made them - and the value that does not contain them then
takes them away. What machines have learnt of each other meanwhile and no longer holds (the MAC of a duplicate address
in an ARP cache) is replaced by a permanent entry and removed with it, as kernel.apply knows no learnt entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from netlab.lab.engine import Engine, owner
from netlab.lab.journal import Record
from netlab.lab.machine import Learnt
from netlab.model import Address, Chain, HostState, Item, Link, Neighbour, Veth
from netlab.model.diff import Create, Delete, Op, stage_of
from netlab.model.explain import Step, commands
from netlab.model.explain.links import add

States = Mapping[str, HostState]


@dataclass(frozen=True, slots=True)
class Way:
    """From a lab as it is to `states`. record: as it is, with all that is not in `states` claimed.

    plans: the operations; removed: what of it nobody had asked for; outdated: neighbour entries to forget. All by
    namespace.
    """

    record: Record
    plans: dict[str, list[Op]]
    removed: dict[str, list[Item]]
    outdated: dict[str, list[Neighbour]]

    @property
    def steps(self) -> list[Step]:
        """What a person would type to go it."""
        forget: dict[str, list[Op]] = {ns: [Delete(entry) for entry in found] for ns, found in self.outdated.items()}
        return [*steps(self.plans), *steps(forget)]


def way(engine: Engine, record: Record, states: States, *, stopped: Collection[str] = ()) -> Way:
    """Look at a lab that is up, and find the way to `states`. Changes nothing.

    stopped: processes whose part of the network is no longer theirs.
    """
    journal = engine.journal(record.name)
    journal.begin(record)
    network = engine.network(journal, record)
    others, all_others = engine.others(journal, record, without=stopped), engine.others(journal, record)
    _, strangers = network.drift(owner(record.name), states, others=others)
    for netns, chains in _policies(engine, record, states).items():
        told = {item.order for item in strangers.get(netns, [])}
        strangers.setdefault(netns, []).extend(chain for chain in chains if chain.order not in told)
    claims = {**record.claims}
    removed: dict[str, list[Item]] = {}
    for netns, items in strangers.items():
        known = record.claims.get(netns, HostState())
        claims[netns] = claimed(known, items)
        removed[netns] = _unknown(items, [*all_others.get(netns, ()), *known])
    record = replace(record, claims=claims)
    journal.begin(record)
    plans = network.plan_all(owner(record.name), states)
    return Way(record, plans, removed, _outdated(engine, record, states))


def claimed(claims: HostState, strangers: Iterable[Item]) -> HostState:
    """Claims that name the strangers, too. A built-in chain is shared: the strangers' rules join the lab's."""
    items = {item.order: item for item in claims}
    for item in strangers:
        known = items.get(item.order)
        if isinstance(item, Chain) and isinstance(known, Chain):
            extra = tuple(rule for rule in item.rules if rule not in known.rules)
            item = replace(known, rules=(*known.rules, *extra), policy=known.policy or item.policy)
        elif isinstance(item, Chain) and item.builtin:
            item = replace(item, policy="DROP" if item.policy == "DROP" else None)
        items[item.order] = item
    return HostState.of(items.values())


def _unknown(items: Iterable[Item], known: Iterable[Item]) -> list[Item]:
    """Those that nobody has asked for: neither the lab nor the exercise, nor a process of the lab."""
    asked: dict[object, list[Item]] = {}
    for item in known:
        asked.setdefault(item.order, []).append(item)
    found: list[Item] = []
    for item in items:
        same = asked.get(item.order, [])
        if isinstance(item, Chain) and same:
            theirs = {rule for chain in same if isinstance(chain, Chain) for rule in chain.rules}
            rules = tuple(rule for rule in item.rules if rule not in theirs)
            found += [replace(item, rules=rules)] if rules else []
        elif not same:
            found.append(item)
    return found


def _policies(engine: Engine, record: Record, states: States) -> dict[str, list[Chain]]:
    """Built-in chains that drop although nobody asked for a policy there; drift looks at rules only."""
    existing = [ns for ns in states if ns in engine.machine.namespaces()]
    found: dict[str, list[Chain]] = {}
    for ns, actual in engine.machine.read(existing, iptables=record.iptables).items():
        wanted = {c.order for c in states[ns].all(Chain) if c.policy}
        chains = [replace(c, rules=()) for c in actual.all(Chain) if c.policy == "DROP" and c.order not in wanted]
        if chains:
            found[ns] = chains
    return found


def _outdated(engine: Engine, record: Record, states: States) -> dict[str, list[Neighbour]]:
    """Neighbour entries that give an address of the lab a MAC that nobody with that address will have."""
    macs: dict[object, set[str]] = {}
    for state in states.values():
        for item in state.all(Address):
            link = state.link(item.dev)
            if link and link.mac:
                macs.setdefault(item.address.ip, set()).add(link.mac)

    def wrong(entry: Learnt) -> bool:
        known = macs.get(entry.address, set())
        return bool(entry.mac and known and entry.mac not in known and entry.state != "PERMANENT")

    found: dict[str, list[Neighbour]] = {}
    for ns in [ns for ns in states if ns in engine.machine.namespaces()]:
        devices = {link.name for link in states[ns].all(Link) if link.up}
        for entry in engine.machine.neighbours(ns):
            if wrong(entry) and entry.dev in devices and entry.address:
                found.setdefault(ns, []).append(Neighbour(dev=entry.dev, address=entry.address, mac=entry.mac))
    return found


def forget(engine: Engine, name: str, entries: Mapping[str, Iterable[Neighbour]], states: States) -> None:
    """Make the lab `states`, having forgotten the neighbour entries."""
    nailed = {ns: _nailed(states[ns], entries.get(ns, ())) for ns in states}
    engine.put(name, lambda record: (record, nailed))
    engine.put(name, lambda record: (record, states))


def _nailed(state: HostState, entries: Iterable[Neighbour]) -> HostState:
    new = {entry.order: entry for entry in entries}
    return HostState.of([*(item for item in state if item.order not in new), *new.values()])


def steps(plans: Mapping[str, list[Op]]) -> list[Step]:
    """The operations as commands in an order that works when typed: what goes, cables, then each namespace."""
    early = {ns: [op for op in ops if stage_of(op) == 0] for ns, ops in plans.items()}
    late = {ns: [op for op in ops if stage_of(op) != 0] for ns, ops in plans.items()}
    out: list[Step] = [(ns, line) for ns, ops in early.items() for line in commands(ops)]
    born = {
        (ns, op.item.name): op.item
        for ns, ops in late.items()
        for op in ops
        if isinstance(op, Create) and isinstance(op.item, Link) and isinstance(op.item.kind, Veth)
    }
    made: dict[str, set[str]] = {ns: set() for ns in plans}
    count = Counter(ns for ns, _ in born)
    for (ns, name), link in sorted(born.items(), key=lambda end: (-count[end[0][0]], end[0])):
        assert isinstance(link.kind, Veth)
        there = link.kind.peer_netns or ns
        if name in made[ns]:
            continue
        made[ns].add(name)
        made.setdefault(there, set()).add(link.kind.peer)
        outside = "" if there == ns else there
        out += [(ns, line) for line in add(link, peer=born.get((there, link.kind.peer)), peer_netns=outside)]
    return [*out, *((ns, line) for ns, ops in late.items() for line in commands(ops, made=made[ns]))]


def learnt(engine: Engine, netns: str, address: object) -> list[Neighbour]:
    """What a namespace has learnt of the MAC behind an address."""
    entries = [e for e in engine.machine.neighbours(netns) if e.address == address and e.state != "PERMANENT"]
    return [Neighbour(dev=e.dev, address=e.address, mac=e.mac) for e in entries if e.address and e.mac]
