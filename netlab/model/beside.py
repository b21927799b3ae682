"""Several owners' values of one namespace, as its kernel would hold them together."""

from __future__ import annotations

from dataclasses import replace

from netlab.model.iptables import Chain, merged
from netlab.model.item import Item, Key
from netlab.model.state import HostState


def beside(state: HostState, other: HostState) -> HostState:
    """Two owners' values of one namespace together: in a built-in chain, the rules of both in their declared order."""
    items: dict[Key, Item] = {item.order: item for item in state}
    for item in other:
        known = items.get(item.order)
        if isinstance(item, Chain) and isinstance(known, Chain) and item.builtin:
            rules = merged(known.rules, (), item.rules)
            items[item.order] = replace(known, rules=rules, policy=known.policy or item.policy)
        else:
            items[item.order] = item
    return HostState.of(items.values())
