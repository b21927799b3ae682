"""What a flanneld needs from others, as narrow as it is: the node's kernel, a data path, the node's object."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Protocol

from netlab.daemons.flanneld.metrics import DataPath
from netlab.model import HostState
from netlab.model.diff import Op
from netlab.overlay.backends.udp import Udp
from netlab.overlay.backends.wireguard import Keys
from netlab.overlay.lease import Lease
from netlab.overlay.underlay import Underlay


class Network(Protocol):
    """This node's kernel (`netlab.kernel.apply.DaemonKernel`, in the namespace that the process runs in)."""

    def read(self) -> HostState:
        """The node's network as it is: devices, addresses, routes."""

    def apply(self, wanted: HostState) -> list[Op]:
        """Make it so."""

    def transition(self, was: HostState, wanted: HostState) -> list[Op]:
        """Make it so, knowing what it was."""


class Carrier(DataPath, Protocol):
    """The udp backend's data path."""

    def set_routes(self, routes: Mapping[IPv4Network, tuple[IPv4Address, int]]) -> None:
        """Where to send what is for a subnet."""

    async def run(self) -> None:
        """Carry packets until cancelled; returns, or raises KernelError, when its device has gone."""

    def close(self) -> None:
        """Give back its descriptors."""


class Machine(Protocol):
    """What a flanneld needs of the machine that it runs on."""

    @property
    def network(self) -> Network:
        """The node's own."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Something in the network has changed, by us or by others."""

    def carrier(self, backend: Udp, own: Lease, underlay: Underlay) -> Carrier:
        """The data path over flannel0, which is there. MachineError if this kernel cannot, the way `backend` says."""

    def wireguard_keys(self, path: Path) -> Keys:
        """The node's key pair, made if the file is not there."""


class NodeObject(Protocol):
    """The node as an object of the Kubernetes API."""

    async def node_public_ips(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        """What the node's annotations say that the others are to be told."""

    async def network_available(self) -> None:
        """Tell that pods can be started."""
