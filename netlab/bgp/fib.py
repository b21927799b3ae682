"""Which routes the kernel should hold: a pure function from winners to Route items, and the difference to what it has.

The kernel itself is behind `Kernel`, which daemons implement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from netlab.base.addresses import Address
from netlab.bgp import nlri
from netlab.bgp.config import KernelConfig
from netlab.bgp.decision import Hop, HopKey, Path
from netlab.bgp.nlri import Family, Nlri
from netlab.bgp.rib import Entry
from netlab.model.item import Item
from netlab.model.l3 import NextHop, Route
from netlab.model.state import HostState

#: (family, prefix): one key for both tables
Place = tuple[Family, Nlri]


class Looked(NamedTuple):
    """What the kernel answers about an address. protocol: of the route that leads there."""

    dev: str
    via: Address | None
    metric: int
    protocol: str


class Kernel(Protocol):
    """What a speaker needs of this host. Every method is quick; KernelError if the kernel refuses."""

    def held(self) -> HostState:
        """The routes that an earlier run of this speaker asked for and has not taken back."""

    def transition(self, was: HostState, wanted: HostState) -> None:
        """Take away what is in `was` alone, make what is in `wanted` alone; all else of ours stays as it is."""

    def apply(self, wanted: HostState) -> None:
        """Make the whole of it so, after a look at what is there."""

    def lookup(self, address: Address, dev: str = "") -> Looked | None:
        """How packets get to `address` (by `dev`), None if they do not."""

    def fileno(self) -> int:
        """Readable after devices, addresses or routes have changed."""

    def drain(self) -> frozenset[str]:
        """Forget the changes until now. Devices that went down or away meanwhile, whose routes the kernel dropped."""

    def other_address(self, address: Address, version: int) -> Address | None:
        """An address of the other family on the device that has `address`."""


class Fib:
    """What we believe the kernel holds, and the way from there to what it should. held: from an earlier run.

    While `adopting`, routes of the earlier run that nobody has announced yet stay (RFC 4724 section 4.1).
    """

    def __init__(self, config: KernelConfig, owner: str, held: HostState) -> None:
        self.config, self.owner = config, owner
        self.installed: dict[Place, Route] = {}
        self.foreign: list[Item] = []
        self.blackholes: dict[Place, str] = {}
        self.adopting = False
        self.suspects: set[Place] = set()
        self._known: dict[int, tuple[tuple[Path, ...], tuple[NextHop, ...], str]] = {}
        for item in held:
            place = self._place(item)
            if place is None or place in self.installed or not self._like_ours(item):
                self.foreign.append(item)  # of another configuration: another table, another mark
            else:
                assert isinstance(item, Route)
                self.installed[place] = item

    def _place(self, item: Item) -> Place | None:
        if not isinstance(item, Route):
            return None
        return Family.of(item.dst.version), nlri.nlri(item.dst)

    def _like_ours(self, item: Item) -> bool:
        c = self.config
        return isinstance(item, Route) and (item.table, item.metric, item.protocol) == (c.table, c.metric, c.protocol)

    def route(
        self, family: Family, prefix: Nlri, entry: Entry | None, hops: Mapping[HopKey, Hop | None]
    ) -> Route | None:
        """The kernel's route for a prefix, None if it should have none. Pure but for what it remembers of winners."""
        c = self.config
        if not c.install:
            return None
        if self.blackholes:
            why = self.blackholes.get((family, prefix))
            if why is not None:
                return Route(
                    dst=nlri.network(prefix, family), type="blackhole", table=c.table, metric=c.metric,
                    protocol=c.protocol, owner=self.owner, why=why,
                )  # fmt: skip
        if entry is None or not entry.best:
            return None
        ways, why = self._ways(entry.best, hops)
        if not ways:
            return None  # our own: whoever has it on a device has its route
        single = ways[0] if len(ways) == 1 else None
        return Route(
            dst=nlri.network(prefix, family),
            dev=single.dev if single else None,
            via=single.via if single else None,
            nexthops=() if single else ways,
            table=c.table, metric=c.metric, protocol=c.protocol, owner=self.owner, why=why,
        )  # fmt: skip

    def _ways(self, best: tuple[Path, ...], hops: Mapping[HopKey, Hop | None]) -> tuple[tuple[NextHop, ...], str]:
        """By which devices and gateways; one answer serves all prefixes that share the winners."""
        known = self._known.get(id(best))
        if known is not None and known[0] is best:
            return known[1], known[2]
        ways: dict[NextHop, None] = {}
        for path in best:
            hop = hops.get(path.hop) if path.hop else None
            if hop is not None and path.hop is not None:
                ways[NextHop(hop.dev, hop.via or path.hop[0])] = None
        why = "BGP from " + ", ".join(dict.fromkeys(path.source.name for path in best))
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[id(best)] = (best, tuple(ways), why)
        return tuple(ways), why

    def hops_changed(self) -> None:
        """Next hops are reached in other ways than before."""
        self._known.clear()

    def delta(
        self,
        places: Iterable[Place],
        entry: Callable[[Place], Entry | None],
        hops: Mapping[HopKey, Hop | None],
    ) -> tuple[HostState, HostState]:
        """What to take away and what to make for these prefixes. They count as done from here on."""
        was: list[Item] = []
        wanted: list[Item] = []
        installed = self.installed
        for place in places:
            old = installed.get(place)
            new = self.route(*place, entry(place), hops)
            if new is None:
                if old is not None and not self.adopting:
                    was.append(old)
                    del installed[place]
            elif old is None:
                wanted.append(new)
                installed[place] = new
            elif old != new:
                was.append(old)
                wanted.append(new)
                installed[place] = new
            elif place in self.suspects:
                wanted.append(new)  # put again: the kernel may have dropped it
                installed[place] = new
        self.suspects.clear()
        return HostState(tuple(was)), HostState(tuple(wanted))

    def suspect(self, devices: frozenset[str]) -> list[Place]:
        """Routes that the kernel has dropped with these devices, perhaps; `delta` then puts or removes them anew."""
        found = [place for place, route in self.installed.items() if not devices.isdisjoint(route.devices)]
        self.suspects.update(found)
        return found

    def whole(self) -> HostState:
        """All that the kernel should hold of ours, in order."""
        return HostState.of(self.installed.values())
