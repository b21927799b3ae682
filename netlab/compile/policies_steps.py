"""In which order policies reach the kernel: a pod's address is let through when its rules are there, not before (N19).

The set of known addresses is the gate. It is narrowed first, to those that stay with the pod that they had; then come
chains and sets; and it is opened last. A new pod waits outside until then, and so does one that has got the address of
another, though it were one of the same name. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from netlab.compile.objects import Name, Objects
from netlab.compile.policies_iptables import known_set
from netlab.compile.proxier import Step
from netlab.model import HostState, Ipset, Item

_GATES = (known_set(4), known_set(6))


class Owner(NamedTuple):
    """A pod, and which of those that had its name one after the other. uid: "" where nobody says."""

    pod: Name
    uid: str


#: address to the pod that has it
Owners = dict[str, Owner]


def owners(objects: Objects, node: str) -> Owners:
    """The addresses of a node's pods."""
    return {
        ip: Owner(pod.key, pod.uid)
        for pod in objects.pods
        if pod.node == node and not pod.host_network and not pod.finished
        for ip in pod.ips
    }


def moved(before: Owners, after: Owners) -> frozenset[str]:
    """Addresses that are another pod's now."""
    return frozenset(ip for ip, pod in before.items() if ip in after and after[ip] != pod)


def left(before: Owners, after: Owners) -> frozenset[str]:
    """Addresses that the pods who had them have no more, whoever has them now."""
    return frozenset(ip for ip, pod in before.items() if after.get(ip) != pod)


def in_order(step: Step, others: Collection[str] = (), standing: Iterable[Item] = ()) -> list[Step]:
    """A step as several. others: addresses that are another pod's now; standing: the gates as they are after it."""
    old, new = gates(step.gone), gates(step.new)
    for name, gate in gates(standing).items():
        if name not in new and not set(others).isdisjoint(gate.entries):
            # the same addresses, but not of the same pods
            old[name] = new[name] = gate
    if not old and not new:
        return [step]
    narrowed = [_narrowed(old.get(name), gate, others) for name, gate in new.items()]
    main = Step(tuple(i for i in step.gone if i.order not in orders(new.values())), tuple(_without(step.new, new)))
    first = Step(tuple(old[g.name] for g in narrowed if g.name in old), tuple(g for g in narrowed if g.name in old))
    # a gate that is new comes with the rules that refer to it, and is shut
    main = replace(main, new=(*main.new, *(g for g in narrowed if g.name not in old)))
    last = Step(tuple(narrowed), tuple(new.values()))
    return [part for part in (_changing(first), main, _changing(last)) if part]


def opened(state: HostState, before: Iterable[Item], others: Collection[str] = ()) -> tuple[HostState, Step]:
    """A whole value with its gates as narrow as they have to be at first, and the step that opens them.

    before: what the kernel was asked for last.
    """
    old = gates(before)
    narrowed = {g.order: _narrowed(old.get(g.name), g, others) for g in gates(state).values()}
    first = HostState(tuple(narrowed.get(item.order, item) for item in state))
    return first, _changing(Step(tuple(narrowed.values()), tuple(gates(state).values())))


def gates(items: Iterable[Item]) -> dict[str, Ipset]:
    """The sets of known addresses among these, by name."""
    return {item.name: item for item in items if isinstance(item, Ipset) and item.name in _GATES}


def orders(items: Iterable[Item]) -> set[object]:
    """What these are known by."""
    return {item.order for item in items}


def _narrowed(old: Ipset | None, new: Ipset, others: Collection[str]) -> Ipset:
    known = set(old.entries if old else ()).difference(others)
    return replace(new, entries=tuple(entry for entry in new.entries if entry in known))


def _without(items: Iterable[Item], left_out: dict[str, Ipset]) -> Iterable[Item]:
    return (item for item in items if not (isinstance(item, Ipset) and item.name in left_out))


def _changing(step: Step) -> Step:
    """Without what is the same before and after."""
    was = {item.order: item for item in step.gone}
    changed = [item for item in step.new if was.get(item.order) != item]
    return Step(tuple(was[item.order] for item in changed if item.order in was), tuple(changed))
