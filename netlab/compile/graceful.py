"""Real servers of IPVS that a Service has no more, and that clients are still connected to: they get nobody new (weight
0), and go when their last connection has ended.

It decides, and asks nobody: which of them are busy is told. TCP only: who speaks UDP or SCTP is sent elsewhere at once,
for such flows may never end. Of a Service that is gone nothing is left. Facts: Kubernetes 1.30,
pkg/proxy/ipvs/graceful_termination.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from netlab.compile.proxier import Step
from netlab.model import IpvsService, Item
from netlab.model.item import Key


class Graceful:
    """What is asked of the kernel, in place of what Services ask for: the same, and those on their way out."""

    def __init__(self) -> None:
        #: virtual servers that have somebody on his way out, as the kernel was told
        self._told: dict[Key, IpvsService] = {}

    @property
    def waits(self) -> bool:
        """Whether anybody is on his way out."""
        return bool(self._told)

    def step(self, step: Step) -> Step:
        """A change, of what the kernel was told."""
        gone = tuple(self._told.get(item.order, item) for item in step.gone)
        old = {item.order: item for item in gone if isinstance(item, IpvsService)}
        new = tuple(self._with(item, old.get(item.order)) for item in step.new)
        for order in old.keys() - {item.order for item in new}:
            self._told.pop(order, None)
        return Step(gone, new)

    def whole(self, items: Iterable[Item], there: Mapping[Key, IpvsService]) -> list[Item]:
        """All of it. there: virtual servers as they are, of which one may know nothing."""
        made = [self._with(item, self._told.get(item.order) or there.get(item.order)) for item in items]
        orders = {item.order for item in made}
        self._told = {order: item for order, item in self._told.items() if order in orders}
        return made

    def release(self, busy: Iterable[IpvsService]) -> Step:
        """Let those go that are not among the busy ones."""
        still = {(server.order, d.address, d.port) for server in busy for d in server.destinations}
        gone, new = [], []
        for order, told in list(self._told.items()):
            kept = tuple(d for d in told.destinations if d.weight or (order, d.address, d.port) in still)
            if len(kept) == len(told.destinations):
                continue
            less = replace(told, destinations=kept)
            gone.append(told)
            new.append(less)
            self._note(less)
        return Step(tuple(gone), tuple(new))

    def _with(self, item: Item, old: Item | None) -> Item:
        if not isinstance(item, IpvsService):
            return item
        if item.protocol == "tcp" and isinstance(old, IpvsService):
            wanted = {(d.address, d.port) for d in item.destinations}
            leaving = [replace(d, weight=0) for d in old.destinations if (d.address, d.port) not in wanted]
            item = replace(item, destinations=(*item.destinations, *leaving)) if leaving else item
        self._note(item)
        return item

    def _note(self, item: IpvsService) -> None:
        if any(not d.weight for d in item.destinations):
            self._told[item.order] = item
        else:
            self._told.pop(item.order, None)
