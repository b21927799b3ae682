"""Backends: what a node has to do so that packets reach the pods of the others. Each is a pure function to items.

One file per backend, one shape for all (`Backend`), one table of them (`TABLE`). A backend says what it publishes with
the lease, which devices it has, and what one remote lease adds; `desired` puts the whole together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Compiler:
    """From leases to a HostState, again and again: what came of a lease is kept until the lease changes.

    Without what is kept it is a pure function of its arguments; the kept items are what makes one change of a thousand
    leases cheap, as they stay the same objects (see `DaemonKernel.transition`).
    """

    backend: Backend
    underlay: Underlay
    #: the own lease's attributes do not count: only its subnet goes into a remote lease's items
    _kept: dict[str, tuple[Lease, list[Item]]] = field(default_factory=dict)
    _devices: tuple[object, list[Item]] = (None, [])

    def desired(self, own: Lease, leases: Leases, extra: list[Item]) -> Desired:
        """extra: what else the node needs whatever the leases are (chains), as the same objects each time."""
        peers: dict[str, Lease] = {}
        refused: dict[str, str] = {}
        kept: dict[str, tuple[Lease, list[Item]]] = {}
        taken: dict[Key, str] = {}
        items: list[Item] = []
        for key in sorted(leases):
            lease = leases[key]
            if key == own.subnet.key or lease.attrs.same_node(own.attrs):
                continue
            try:
                new = self._remote(key, lease, own)
            except ValueError as e:
                refused[key] = str(e)
                continue
            orders = [item.order for item in new]
            clash = next((taken[order] for order in orders if order in taken), None)
            if clash is not None:
                refused[key] = f"asks for what {clash} asks for, too"
                continue
            taken.update((order, key) for order in orders)
            kept[key] = (lease, new)
            peers[key] = lease
            items += new
        self._kept = kept
        devices = self._own_devices(own, peers)
        return Desired(HostState.of([*devices, *extra, *items]), peers, refused)

    def _remote(self, key: str, lease: Lease, own: Lease) -> list[Item]:
        known = self._kept.get(key)
        if known and (known[0] is lease or (known[0].subnet == lease.subnet and known[0].attrs == lease.attrs)):
            return known[1]
        if lease.attrs.backend_type and lease.attrs.backend_type != self.backend.kind:
            raise ValueError(f"is of backend {lease.attrs.backend_type}, this node runs {self.backend.kind}")
        return self.backend.remote(lease, own, self.underlay)

    def _own_devices(self, own: Lease, peers: dict[str, Lease]) -> list[Item]:
        devices = self.backend.devices(own, self.underlay, peers)
        if self._devices[0] != own.subnet or devices != self._devices[1]:
            self._devices = (own.subnet, devices)
        return self._devices[1]
