"""What the modes of the Service proxy share: results kept per Service, and the step from one value to the next.

A change of one Service compiles that Service alone. Items that did not change are the same objects as before, so that
`DaemonKernel.step` can be handed what goes and what comes, and neither side looks at the other ten thousand.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from netlab.compile.objects import EndpointSlice, Name, Objects, Service
from netlab.compile.proxying import Family, Port, ProxyConfig, ports_of
from netlab.model import HostState, Item
from netlab.model.item import Key

R = TypeVar("R", bound="Part")


@dataclass(frozen=True, slots=True)
class Step:
    """From one value of an owner to the next: the items that were and are no more (or not as they are), and the new."""

    gone: tuple[Item, ...] = ()
    new: tuple[Item, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.gone or self.new)


class Part(Protocol):
    """What one Service comes to in one mode. own: the items that are its alone."""

    @property
    def own(self) -> tuple[Item, ...]: ...


class Proxier(Generic[R]):
    """The Services of one node in one family and mode. Subclasses compile a Service and assemble what is shared."""

    def __init__(self, config: ProxyConfig, family: Family) -> None:
        self.config, self.family = config, family
        self._parts: dict[Name, R] = {}
        self._inputs: dict[Name, tuple[Service, tuple[EndpointSlice, ...]]] = {}
        #: since the last step
        self._was: dict[Name, R | None] = {}
        self._shared: tuple[Item, ...] | None = None
        #: the names of `_parts` in order, None before the first step
        self._names: list[Name] | None = None

    # what a mode says

    def part(self, ports: Sequence[Port]) -> R:
        """One Service's ports compiled."""
        raise NotImplementedError

    def shared(self, parts: Sequence[R], touched: frozenset[int] | None) -> tuple[Item, ...]:
        """The items that all Services have a share in, out of the Services' parts in the order of their names.

        touched: which of the shares differ from the last time, None for any. What stays the same has to stay the same
        object.
        """
        raise NotImplementedError

    def touches(self, old: R | None, new: R | None) -> Iterable[int]:
        """Which of the shared items show the difference."""
        raise NotImplementedError

    # what a caller does

    def put(self, key: Name, service: Service | None, slices: Iterable[EndpointSlice] = ()) -> None:
        """A Service as it is now, with its slices; None if it is gone. The same objects again cost nothing."""
        listed = tuple(slices)
        known = self._inputs.get(key)
        if known is not None and known[0] is service and _same(known[1], listed):
            return
        old = self._parts.get(key)
        self._was.setdefault(key, old)
        ports = ports_of(service, listed, self.config, self.family) if service is not None else []
        if service is not None:
            self._inputs[key] = (service, listed)
        else:
            self._inputs.pop(key, None)
        if ports:
            if old is None and self._names is not None:
                bisect.insort(self._names, key)
            self._parts[key] = self.part(ports)
        elif old is not None:
            if self._names is not None:
                del self._names[bisect.bisect_left(self._names, key)]
            del self._parts[key]

    def load(self, objects: Objects) -> None:
        """All Services of a cluster; those that are not in it are gone."""
        by_service: dict[Name, list[EndpointSlice]] = {}
        for one in objects.slices:
            by_service.setdefault((one.namespace, one.service), []).append(one)
        wanted = {service.key for service in objects.services}
        for key in [key for key in self._inputs if key not in wanted]:
            self.put(key, None)
        for service in objects.services:
            self.put(service.key, service, by_service.get(service.key, ()))

    def step(self) -> Step:
        """What has changed since the last step. The first step brings everything."""
        gone: list[Item] = []
        new: list[Item] = []
        first = self._shared is None
        touched: set[int] = set()
        for key, old in self._was.items():
            part = self._parts.get(key)
            if old is part:
                continue
            touched.update(self.touches(old, part))
            if old is None:
                new += part.own if part is not None else ()
                continue
            before, after = old.own, part.own if part is not None else ()
            kept = {item.order: item for item in before}
            for item in after:
                was = kept.get(item.order)
                if was is not None and was == item:
                    del kept[item.order]
                else:
                    new.append(item)
            gone += kept.values()
        self._was.clear()
        if first or touched:
            if self._names is None:
                self._names = sorted(self._parts)
            shared = self.shared([self._parts[n] for n in self._names], None if first else frozenset(touched))
            had = set(map(id, self._shared or ()))
            has = set(map(id, shared))
            gone += [item for item in self._shared or () if id(item) not in has]
            new += [item for item in shared if id(item) not in had]
            self._shared = shared
        return Step(tuple(gone), tuple(new))

    def items(self) -> Iterable[Item]:
        """Everything, as of the last step."""
        own = itertools.chain.from_iterable(part.own for part in self._parts.values())
        return itertools.chain(self._shared or (), own)

    def state(self) -> HostState:
        """Everything as a value. For a look, a full apply or a repair: it sorts the whole."""
        self.step()
        return _ordered(self.items())


def _same(a: Sequence[EndpointSlice], b: Sequence[EndpointSlice]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def _ordered(items: Iterable[Item]) -> HostState:
    """In total order; compilers make no two items of one key."""
    return HostState(tuple(sorted(items, key=_order)))


def _order(item: Item) -> Key:
    return item.order


def merged_steps(steps: Iterable[Step]) -> Step:
    """Several families' steps as one."""
    gone: list[Item] = []
    new: list[Item] = []
    for step in steps:
        gone += step.gone
        new += step.new
    return Step(tuple(gone), tuple(new))
