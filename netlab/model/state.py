"""`HostState`: the desired network of one network namespace, frozen, in total order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from netlab.model.item import Item, Key
from netlab.model.l3 import Address, Fdb, Neighbour, Route
from netlab.model.links import TUNL0, Bridge, BridgeVlan, Ipip, Link
from netlab.model.qdisc import Qdisc
from netlab.model.sysctl import Sysctl

I = TypeVar("I", bound=Item)  # noqa: E741


def device_of(item: Item) -> str | None:
    """The device that an item lives on and dies with, or None."""
    if isinstance(item, Address | Neighbour | Fdb | BridgeVlan | Qdisc):
        return item.dev
    if isinstance(item, Sysctl):
        return item.device
    return None


@dataclass(frozen=True, slots=True)
class HostState:
    """Items in their order, at most one per key. Two states are equal if they describe the same network."""

    items: tuple[Item, ...] = ()

    @classmethod
    def of(cls, items: Iterable[Item]) -> HostState:
        """Sort `items`. ValueError if two of one key differ; the same item twice counts once."""
        by_order: dict[Key, Item] = {}
        for item in items:
            known = by_order.setdefault(item.order, item)
            if known is not item and known != item:
                raise ValueError(
                    f"{item} is asked for twice, differently"
                    + (f": by {known.why} and by {item.why}" if item.why else "")
                )
        return cls(tuple(by_order[key] for key in sorted(by_order)))

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __or__(self, other: HostState) -> HostState:
        """Both together. ValueError where they contradict each other."""
        return HostState.of((*self.items, *other.items))

    def all(self, kind: type[I]) -> list[I]:
        """The items of one class, in order."""
        return [item for item in self.items if isinstance(item, kind)]

    def link(self, name: str) -> Link | None:
        """The device of that name."""
        return next((item for item in self.items if isinstance(item, Link) and item.name == name), None)

    def where(self, keep: Callable[[Item], bool]) -> HostState:
        """Those items for which `keep` holds."""
        return HostState(tuple(item for item in self.items if keep(item)))

    def stamped(self, owner: str) -> HostState:
        """The same, all of it in the name of `owner`."""
        return HostState(tuple(replace(item, owner=owner) for item in self.items))

    def problems(self) -> list[str]:
        """Why no kernel could hold this state: as what refers to a missing device, or lives on one that is down."""
        links = {link.name: link for link in self.all(Link)}
        up = {name for name, link in links.items() if link.up} | {"lo"}
        known = set(links) | {"lo"}
        found = []
        for item in self.items:
            if isinstance(item, Link):
                found += [
                    f"{item}: its {word} {name} is not there"
                    for word, name in (("master", item.master), ("parent device", item.parent))
                    if name and name not in known
                ]
                if item.name == "tunl0" and isinstance(item.kind, Ipip) and item.kind != TUNL0:
                    found.append(f"{item}: it is the kernel's own IPIP device, whose options cannot be changed")
            elif isinstance(item, Route):
                found += [f"{item}: device {d} is not there or is down" for d in sorted(item.devices - up)]
            elif isinstance(item, Neighbour):
                if item.dev not in up:
                    found.append(f"{item}: device {item.dev} is not there or is down")
            else:
                dev = device_of(item)
                if dev and dev not in known:
                    found.append(f"{item}: device {dev} is not there")
                elif isinstance(item, BridgeVlan):
                    found += self._vlan_problems(item, links)
        return found

    def _vlan_problems(self, item: BridgeVlan, links: Mapping[str, Link]) -> list[str]:
        link = links.get(item.dev)
        found = []
        if item.on_bridge != (link is not None and isinstance(link.kind, Bridge)):
            found.append(f"{item}: {item.dev} is {'no bridge' if item.on_bridge else 'itself a bridge'}")
        elif not item.on_bridge and not (link and link.master):
            found.append(f"{item}: {item.dev} is no port of a bridge")
        rivals = [v for v in self.all(BridgeVlan) if v.dev == item.dev and v.pvid and v.vid < item.vid]
        if item.pvid and rivals:
            found.append(f"{item}: {rivals[0]} is the PVID there already")
        return found
