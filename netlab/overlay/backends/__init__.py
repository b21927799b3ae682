"""Backends: what a node has to do so that packets reach the pods of the others. Each is a pure function to items.

One file per backend, one shape for all (`Backend`), one table of them (`TABLE`). A backend says what it publishes with
the lease, which devices it has, and what one remote lease adds; `desired` puts the whole together.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar, Protocol

from netlab.model import HostState, Item
from netlab.model.item import Key
from netlab.overlay.backends.alloc import Alloc
from netlab.overlay.backends.hostgw import HostGw
from netlab.overlay.backends.ipip import Ipip
from netlab.overlay.backends.udp import Udp
from netlab.overlay.backends.vxlan import Vxlan
from netlab.overlay.backends.wireguard import Wireguard
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.managers import Leases
from netlab.overlay.underlay import Underlay


class Backend(Protocol):
    """One way to carry packets between nodes. Everything is computed; ValueError from `remote` refuses one lease."""

    #: the Type under which it is configured and published
    kind: ClassVar[str]

    def mtu(self, underlay: Underlay) -> int:
        """Bytes that a pod's packet may have."""

    def attrs(self, underlay: Underlay, found: HostState) -> LeaseAttrs:
        """What is published. found: the node's network as it is, in which an earlier device may be adopted."""

    def devices(self, own: Lease, underlay: Underlay, peers: Mapping[str, Lease]) -> list[Item]:
        """Devices with their addresses and settings. peers: the other nodes' leases that this backend understands."""

    def remote(self, lease: Lease, own: Lease, underlay: Underlay) -> list[Item]:
        """What another node's lease adds: routes, neighbours, forwarding entries. ValueError if it makes no sense."""


#: type in the configuration: the backend, made from the configuration. InputError if its options are wrong
TABLE = {cls.kind: cls for cls in (Udp, Vxlan, HostGw, Ipip, Wireguard, Alloc)}


def backend_of(config: NetworkConfig, *, place: str) -> Backend:
    """The configured backend. InputError names every option that is wrong; place: where the configuration stands."""
    made: Backend = TABLE[config.backend_type].parse(config, place=place)
    return made


@dataclass(frozen=True, slots=True)
class Desired:
    """state: what the node's network should be; refused: leases that were left out, and why."""

    state: HostState
    peers: dict[str, Lease]
    refused: dict[str, str]


@dataclass(slots=True)
class _Known:
    """What came of one lease."""

    lease: Lease
    items: list[Item]
    orders: list[Key]


class Compiler:
    """From leases to a HostState, again and again: what came of a lease is kept until the lease changes.

    What is kept changes nothing but the time that it takes: of a thousand leases one changes, and only that one is
    worked on. The kept items stay the same objects, by which `DaemonKernel.transition` sees what is new.
    """

    def __init__(self, backend: Backend, underlay: Underlay) -> None:
        self.backend, self.underlay = backend, underlay
        self._own: Lease | None = None
        self._base: list[Item] = []
        self._refused: dict[str, str] = {}
        self._kept: dict[str, _Known] = {}
        self._taken: dict[Key, str] = {}
        #: every remote item with its order, in order
        self._rows: list[tuple[Key, Item]] = []

    def desired(self, own: Lease, leases: Leases, extra: list[Item]) -> Desired:
        """extra: what else the node needs whatever the leases are (chains), as the same objects each time."""
        fresh = [key for key, lease in leases.items() if not self._is_known(key, lease)]
        gone = self._kept.keys() - leases.keys()
        same_node = self._own is not None and self._own.subnet == own.subnet and self._own.attrs == own.attrs
        self._own = own
        # what was refused may be right without what has gone: then everything is looked at again
        if not same_node or self._refused or not self._step(own, leases, fresh, gone):
            self._start_over(own, leases)
        peers = {key: known.lease for key, known in self._kept.items()}
        devices = self.backend.devices(own, self.underlay, peers)
        if devices != self._base:
            self._base = devices
        items = sorted((*((item.order, item) for item in (*self._base, *extra)), *self._rows), key=itemgetter(0))
        return Desired(HostState(tuple(item for _, item in items)), peers, dict(self._refused))

    def _is_known(self, key: str, lease: Lease) -> bool:
        known = self._kept.get(key)
        if known is None or known.lease is lease:
            return known is not None
        if known.lease.subnet != lease.subnet or known.lease.attrs != lease.attrs:
            return False
        known.lease = lease  # renewed
        return True

    def _step(self, own: Lease, leases: Leases, fresh: list[str], gone: AbstractSet[str]) -> bool:
        """Work on what is new and what has gone. False if they get into each other's way; then nothing is kept."""
        replaced = {key: self._kept.pop(key) for key in {*fresh, *gone} if key in self._kept}
        lost = {order for known in replaced.values() for order in known.orders}
        for order in lost:
            del self._taken[order]
        if lost:
            self._rows = [row for row in self._rows if row[0] not in lost]
        for key in fresh:
            if self._is_own(key, leases[key], own):
                continue
            if not self._take(key, leases[key], own):
                return False
        return True

    def _start_over(self, own: Lease, leases: Leases) -> None:
        before, self._kept = self._kept, {}
        self._taken, self._rows, self._refused = {}, [], {}
        for key in sorted(leases):
            if not self._is_own(key, leases[key], own):
                self._take(key, leases[key], own, before.get(key))

    @staticmethod
    def _is_own(key: str, lease: Lease, own: Lease) -> bool:
        return key == own.subnet.key or lease.attrs.same_node(own.attrs)

    def _take(self, key: str, lease: Lease, own: Lease, known: _Known | None = None) -> bool:
        """Put one lease to the others. False if it is refused."""
        if known is None or known.lease.attrs != lease.attrs:
            try:
                items = self._remote(lease, own)
            except ValueError as e:
                self._refused[key] = str(e)
                return False
            known = _Known(lease, items, [item.order for item in items])
        clash = next((self._taken[order] for order in known.orders if order in self._taken), None)
        if clash is not None:
            self._refused[key] = f"asks for what {clash} asks for, too"
            return False
        self._kept[key] = known
        self._taken.update((order, key) for order in known.orders)
        for row in zip(known.orders, known.items, strict=True):
            insort(self._rows, row, key=itemgetter(0))
        return True

    def _remote(self, lease: Lease, own: Lease) -> list[Item]:
        if lease.attrs.backend_type and lease.attrs.backend_type != self.backend.kind:
            raise ValueError(f"is of backend {lease.attrs.backend_type}, this node runs {self.backend.kind}")
        _harmless(lease, own, self.underlay)
        return self.backend.remote(lease, own, self.underlay)


def _harmless(lease: Lease, own: Lease, underlay: Underlay) -> None:
    """ValueError if the lease would take this node's own pods or network away, or leads to what is no other node."""
    for subnet in lease.subnet.networks:
        for mine in own.subnet.networks:
            if subnet[0] in mine or mine[0] in subnet:
                raise ValueError(f"overlaps this node's own subnet {mine}")
        for interface in underlay.interfaces:
            if interface.ip in subnet:
                raise ValueError(f"has addresses of this node's own network, {interface.network} on {underlay.dev}")
    for address in (lease.attrs.public_ip, lease.attrs.public_ipv6):
        if address is None:
            continue
        nets = [i.network for i in underlay.interfaces if i.version == 4 and i.network.prefixlen < 31]
        if address.is_loopback or address.is_multicast or any(address in (net[0], net[-1]) for net in nets):
            raise ValueError(f"{address} is not the address of a node")
        if any(address == interface.ip for interface in underlay.interfaces):
            raise ValueError(f"{address} is an address of this node")
