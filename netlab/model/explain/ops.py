"""A list of operations, or a whole state, as commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from netlab.model.diff import Change, Create, Op, diff
from netlab.model.explain import firewall, ipvs, l3, links, nftables, qdisc, sets, sysctl
from netlab.model.explain.command import Command, Style
from netlab.model.iptables import Chain
from netlab.model.ipvs import IpvsService
from netlab.model.item import Item
from netlab.model.l3 import Address, Fdb, Neighbour, Route, Rule
from netlab.model.links import BridgeVlan, Link
from netlab.model.nft import NFT, NftTable
from netlab.model.qdisc import Qdisc
from netlab.model.sets import Ipset
from netlab.model.state import HostState
from netlab.model.sysctl import Sysctl


@dataclass(frozen=True, slots=True)
class _Verbs:
    """How one class of items is made, changed and removed."""

    create: Callable[[Any], list[Command]]
    change: Callable[[Any, Any], list[Command]]
    delete: Callable[[Any], list[Command]]


#: links and chains are missing, as their operations depend on one another; sets, as they have two styles
_VERBS: dict[type[Item], _Verbs] = {
    Address: _Verbs(l3.create_address, l3.change_address, l3.delete_address),
    Route: _Verbs(l3.create_route, l3.change_route, l3.delete_route),
    Rule: _Verbs(l3.create_rule, l3.change_rule, l3.delete_rule),
    Neighbour: _Verbs(l3.create_neighbour, l3.change_neighbour, l3.delete_neighbour),
    BridgeVlan: _Verbs(links.create_vlan, links.change_vlan, links.delete_vlan),
    Fdb: _Verbs(l3.create_fdb, l3.change_fdb, l3.delete_fdb),
    Qdisc: _Verbs(qdisc.create, qdisc.change, qdisc.delete),
    Sysctl: _Verbs(sysctl.create, sysctl.change, sysctl.delete),
    IpvsService: _Verbs(ipvs.create, ipvs.change, ipvs.delete),
}


def commands(ops: Iterable[Op], *, style: Style = "lines", made: Iterable[str] = ()) -> list[Command]:
    """What a person would type to carry out `ops` (the output of `plan` or `diff`), in their order.

    made: names of veth ends that are there already, because the other end brought them (see `lab`).
    """
    ops = list(ops)
    wiring = links.Wiring(ops, made=made)
    out: list[Command] = []
    for together, run in groupby(ops, _together):
        if together is Chain:
            out += firewall.commands(run, style=style)
        elif together is NftTable:
            out += nftables.commands(run, style=style)
        else:
            for op in run:
                out += _one(op, wiring, style)
    return out


def _together(op: Op) -> type[Item] | None:
    """What is told as a whole, because its operations depend on one another."""
    if isinstance(op.item, NFT):
        return NftTable
    return Chain if isinstance(op.item, Chain) else None


def explain(state: HostState, *, style: Style = "lines") -> list[Command]:
    """What a person would type to make `state` in a namespace that has nothing but `lo`."""
    return commands(diff(HostState(), state), style=style)


def _one(op: Op, wiring: links.Wiring, style: Style) -> list[Command]:
    item = op.item
    if isinstance(item, Link):
        return wiring.commands(op)
    if isinstance(item, Ipset):
        verbs = _Verbs(lambda i: sets.create(i, style=style), lambda a, b: sets.change(a, b, style=style), sets.delete)
    else:
        verbs = _VERBS[type(item)]
    if isinstance(op, Create):
        return verbs.create(item)
    if isinstance(op, Change):
        return verbs.change(op.old, item)
    return verbs.delete(item)
