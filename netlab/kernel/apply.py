"""`apply`: make the namespaces of one owner what it wants, touching nothing that it did not ask for.

This is the part of the kernel room that knows no system call: it reads through a `Backend`, plans with the pure diff,
and hands the plan back. `linux.LinuxBackend` is the real one; `fake.FakeBackend` passes the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from netlab.kernel.ledger import Ledger, NotedLedger, joined
from netlab.model import vlans
from netlab.model.claims import Claims
from netlab.model.diff import Change, Create, Delete, Op, doomed, plan, shrunk_last, swapped, without_devices
from netlab.model.iptables import Chain
from netlab.model.ipvs import IpvsService
from netlab.model.item import Item
from netlab.model.l3 import Fdb, Neighbour, Route, Rule
from netlab.model.links import FALLBACK_TUNNELS, BridgeVlan, Link, Veth
from netlab.model.nft import NftChain, NftSet, NftTable
from netlab.model.qdisc import Qdisc
from netlab.model.sets import Ipset
from netlab.model.state import HostState
from netlab.model.sysctl import Sysctl

#: what costs an own look to read, so it is read only where somebody asked for it
OPTIONAL = (BridgeVlan, Fdb, Neighbour, Rule, Qdisc, Ipset, IpvsService, Chain, NftTable)

States = Mapping[str, HostState]
_NOTHING = HostState()


class Backend(Protocol):
    """A set of named namespaces that can be read and operated on."""

    def names(self) -> Iterable[str]:
        """The namespaces that exist."""

    def create(self, name: str) -> None:
        """Make a namespace with nothing but `lo`, down."""

    def delete(self, name: str) -> bool:
        """Remove a namespace with all that is in it. False if there was none."""

    def read(self, wanted: States, *, everything: bool = False) -> dict[str, HostState]:
        """The namespaces of `wanted` as they are. Optional parts are read where `wanted` has some, or all of them.

        Sysctls are read by the names in `wanted`.
        """

    def perform(self, plans: Mapping[str, list[Op]]) -> None:
        """Carry the operations out, each namespace's in order. KernelError names the first that was refused."""


class Kernel:
    """The one door through which networks are changed."""

    def __init__(self, backend: Backend, ledger: Ledger) -> None:
        self.backend = backend
        self.ledger = ledger

    def apply(self, netns: str, owner: str, wanted: HostState) -> list[Op]:
        """Make `wanted` so in one namespace, on behalf of `owner`. Returns the operations that it took."""
        return self.apply_all(owner, {netns: wanted}).get(netns, [])

    def apply_all(
        self, owner: str, wanted: States, *, progress: Callable[[str, int], None] | None = None
    ) -> dict[str, list[Op]]:
        """Make every namespace of `wanted` so; a namespace that is missing is made. Other namespaces are not touched.

        Returns the operations by namespace, without those that needed none. KernelError if the kernel refuses one:
        what has been done until then is claimed, so that the next call repairs it or takes it away.
        """
        tell = progress or (lambda _what, _count: None)
        old = self.ledger.load(owner)
        claims = {ns: joined(old.states.get(ns, HostState()), state) for ns, state in wanted.items()}
        saved, record = old, Claims({**old.states, **claims}, old.before)
        missing = self._missing(wanted)
        if missing:
            saved = self._saved(owner, saved, record)
            self._create(missing, tell)
        plans, before = self._plan(old, wanted, claims)
        record = Claims(record.states, before)
        saved = self._saved(owner, saved, record)
        if plans:
            tell("configuring", sum(map(len, plans.values())))
            self.backend.perform(plans)
        states = {ns: state for ns, state in {**old.states, **wanted}.items() if len(state)}
        self._saved(owner, saved, Claims(states, {ns: values for ns, values in before.items() if ns in states}))
        return plans

    def _saved(self, owner: str, saved: Claims, record: Claims) -> Claims:
        """What the ledger holds then. Large claims take long to write, so what it holds already is not written."""
        if record != saved:
            self.ledger.save(owner, record)
        return record

    def plan_all(self, owner: str, wanted: States) -> dict[str, list[Op]]:
        """What `apply_all` would do, without doing it. Namespaces that are missing are planned as if new."""
        old = self.ledger.load(owner)
        claims = {ns: joined(old.states.get(ns, HostState()), state) for ns, state in wanted.items()}
        return self._plan(old, wanted, claims)[0]

    def drift(
        self, owner: str, wanted: States, *, others: States | None = None
    ) -> tuple[dict[str, list[Op]], dict[str, list[Item]]]:
        """What differs from `wanted`: the operations that would mend it, and what is there that nobody asked for.

        others: what other owners have asked for in these namespaces.
        """
        others = others or {}
        plans = self.plan_all(owner, wanted)
        existing = set(self.backend.names())
        actual = self.backend.read({ns: s for ns, s in wanted.items() if ns in existing}, everything=True)
        extra = {ns: strangers(state, wanted[ns], others.get(ns, HostState())) for ns, state in actual.items()}
        return plans, {ns: items for ns, items in extra.items() if items}

    def _missing(self, wanted: States) -> list[str]:
        existing = set(self.backend.names())
        return [ns for ns, state in wanted.items() if ns not in existing and len(state)]

    def _create(self, missing: Sequence[str], tell: Callable[[str, int], None]) -> None:
        tell("namespaces", len(missing))
        for ns in missing:
            self.backend.create(ns)

    def _plan(
        self, old: Claims, wanted: States, claims: States
    ) -> tuple[dict[str, list[Op]], dict[str, dict[str, str]]]:
        existing = set(self.backend.names())
        actual = self.backend.read({ns: claims[ns] for ns in wanted if ns in existing})
        was = {ns: old.states.get(ns, HostState()) for ns in wanted}
        before = {ns: dict(values) for ns, values in old.before.items()}
        for ns, state in actual.items():
            known = {s.name for s in was[ns].all(Sysctl)}
            named = {s.name for s in wanted[ns].all(Sysctl) if not s.device} - known
            fresh = {s.name: s.value for s in state.all(Sysctl) if s.name in named}
            if fresh:
                before[ns] = {**fresh, **before.get(ns, {})}
        actual = _cut_cables(actual, wanted, was)
        plans = {ns: plan(actual.get(ns, HostState()), wanted[ns], was=was[ns], before=before.get(ns)) for ns in wanted}
        return {ns: ops for ns, ops in plans.items() if ops}, before


class DaemonKernel(Kernel):
    """The door for a daemon, which knows its last value and changes a little of it at a time."""

    def __init__(self, backend: Backend, ledger: NotedLedger) -> None:
        super().__init__(backend, ledger)
        self._notes = ledger

    def transition(self, netns: str, owner: str, was: HostState, wanted: HostState) -> list[Op]:
        """From what the owner asked for last to what it asks for now, without reading the kernel first.

        For large values of which little changes: routes, neighbours and forwarding entries, which the kernel puts and
        removes whether they are there or not. Any other difference is left to `apply`. Items that are the same object
        in both are taken for unchanged, so a caller that keeps its items pays for what changes alone. Whether the
        kernel still holds the rest is for `apply` to see, now and then.
        """
        before, after = set(map(id, was)), set(map(id, wanted))
        gone = HostState(tuple(item for item in was if id(item) not in after))
        new = HostState(tuple(item for item in wanted if id(item) not in before))
        if not all(isinstance(item, Route | Neighbour | Fdb) for item in (*gone, *new)):
            return self.apply(netns, owner, wanted)
        return self._perform(netns, owner, swapped(gone, new), list(gone), list(new))

    def step(self, netns: str, owner: str, gone: Collection[Item], new: Collection[Item]) -> list[Op]:
        """A change that the owner hands over: items that were and are no more, or not as they are; and the new.

        For values of which nobody wants to look at the whole: ten thousand Services are a hundred thousand chains.
        What the owner has to itself (its chains, sets, tables, virtual servers, routes) is not read first; what it
        shares (rules in built-in chains, devices, addresses, sysctls) is. The kernel gets one iptables-restore
        --noflush per table with the changed chains alone, and one transaction of nftables. `apply` with the whole
        value verifies and repairs, now and then.
        """
        was = {item.order: item for item in gone}
        ops: list[Op] = []
        shared: list[Item] = []
        for item in new:
            old = was.pop(item.order, None)
            if not _own(item):
                shared.append(item)
                if old is not None:
                    was[item.order] = old
            elif old is None:
                ops.append(Create(item))
            elif old is not item:
                ops.append(Change(old, item))
        leaving = [item for item in was.values() if not _own(item)]
        # sets come before the rules that refer to them, and go after them; chains in order of name are faster to take
        last = sorted((Delete(item) for item in was.values() if _own(item)), key=lambda op: isinstance(op.item, Ipset))
        ops.sort(key=lambda op: (not isinstance(op.item, Ipset), op.item.order))
        if shared or leaving:
            first = self._shared(netns, owner, HostState.of(leaving), HostState.of(shared))
            ops = [*first, *ops]
        return self._perform(netns, owner, shrunk_last([*ops, *last]), gone, new)

    def _shared(self, netns: str, owner: str, was: HostState, wanted: HostState) -> list[Op]:
        """Operations on what others may have a part in, or what knows more than it was told."""
        actual = self.backend.read({netns: joined(was, wanted)})[netns]
        names = {item.name for item in wanted.all(Sysctl)} - {item.name for item in was.all(Sysctl)}
        fresh = {item.name: item.value for item in actual.all(Sysctl) if item.name in names}
        claims = self.ledger.load(owner)
        before = {**fresh, **claims.before.get(netns, {})}
        if fresh:
            self.ledger.save(owner, Claims(claims.states, {**claims.before, netns: before}))
        return plan(actual, wanted, was=was, before=before)

    def _perform(
        self, netns: str, owner: str, ops: list[Op], gone: Collection[Item], new: Collection[Item]
    ) -> list[Op]:
        if ops:
            self._notes.note(owner, netns, added=new)
            self.backend.perform({netns: ops})
            orders = {item.order for item in new} if gone else set()
            dropped = [item for item in gone if item.order not in orders]
            if dropped:
                self._notes.note(owner, netns, dropped=dropped)
        return ops


def _own(item: Item) -> bool:
    """Whether the owner has the item to itself, so that the kernel holds what the owner put there last."""
    if isinstance(item, Chain):
        return not item.builtin
    return isinstance(item, Ipset | IpvsService | NftTable | NftSet | NftChain | Route | Neighbour | Fdb)


def _cut_cables(actual: dict[str, HostState], wanted: States, was: States) -> dict[str, HostState]:
    """Take out of `actual` what disappears because the other end of its veth pair, elsewhere, is deleted."""
    states = {ns: _mark_wrong_peers(state, wanted[ns], wanted) for ns, state in actual.items()}
    dead = sorted((ns, name) for ns, state in states.items() for name in doomed(state, wanted[ns], was[ns]))
    taken: set[tuple[str, str]] = set()
    for ns, name in dead:
        link = states[ns].link(name)
        # of two doomed ends the first deletes the pair, so only the other counts as taken along
        if (ns, name) not in taken and link and isinstance(link.kind, Veth) and link.kind.peer_netns in states:
            taken.add((link.kind.peer_netns, link.kind.peer))
    for ns in {ns for ns, _ in taken}:
        states[ns] = without_devices(states[ns], {name for where, name in taken if where == ns})
    return states


def _mark_wrong_peers(state: HostState, target_state: HostState, wanted: States) -> HostState:
    """An end whose other end could not be found, though its namespace was read, is plugged in somewhere else."""

    def mark(item: Item) -> Item:
        if not isinstance(item, Link) or not isinstance(item.kind, Veth) or item.kind.peer:
            return item
        target = target_state.link(item.name)
        if target is None or not isinstance(target.kind, Veth):
            return item
        if target.kind.peer_netns and target.kind.peer_netns not in wanted:
            return replace(item, kind=target.kind)  # the other end is not ours to judge
        return replace(item, kind=Veth("?", "?"))

    return HostState(tuple(mark(item) for item in state))


def _born_with(link: Link) -> bool:
    """Whether a namespace has the device from birth, and nobody has touched it."""
    return link.name == "lo" or (link.name in FALLBACK_TUNNELS and not link.up)


def strangers(actual: HostState, wanted: HostState, others: HostState = _NOTHING) -> list[Item]:
    """What is in a namespace although nobody asked for it. Sysctls always have a value and do not count."""
    asked = {item.order for item in (*wanted, *others)}
    theirs = {rule for chain in others.all(Chain) for rule in chain.rules}
    found: list[Item] = []
    for item in actual:
        if isinstance(item, Sysctl) or (isinstance(item, Link) and _born_with(item)):
            continue
        if isinstance(item, BridgeVlan) and item.order not in asked and vlans.kernels_own(item, actual):
            continue
        if isinstance(item, Chain) and item.builtin:
            target = next((c for c in wanted.all(Chain) if c.order == item.order), None)
            rules = tuple(r for r in item.rules if r not in theirs and (not target or r not in target.rules))
            shut = item.policy == "DROP" and not (target and target.policy)
            if rules or shut:
                found.append(replace(item, rules=rules, policy="DROP" if shut else None))
        elif item.order not in asked:
            found.append(item)
    return found
