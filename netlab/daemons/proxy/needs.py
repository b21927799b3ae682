"""What a proxy needs of the machine that it runs on, as narrow as it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Protocol

from netlab.compile.proxying import Family
from netlab.compile.rules import Mode
from netlab.model import HostState, IpvsService, Item
from netlab.model.diff import Op
from netlab.model.flows import Flow


class Network(Protocol):
    """This node's kernel (`netlab.kernel.apply.DaemonKernel`, in the namespace that the process runs in)."""

    def read(self) -> HostState:
        """The node's network as it is: devices, addresses, routes."""

    def apply(self, wanted: HostState) -> list[Op]:
        """Make it so, whatever is there."""

    def step(self, gone: Collection[Item], new: Collection[Item]) -> list[Op]:
        """Make a change, knowing what was."""

    def servers(self) -> list[IpvsService]:
        """The virtual servers with their real ones."""

    def busy(self) -> list[IpvsService]:
        """The virtual servers, each with those real servers alone that have connections."""

    def flows(self, family: Family, protocol: str) -> list[Flow]:
        """The tracked connections."""

    def forget(self, flows: Iterable[Flow]) -> int:
        """Delete tracked connections; returns how many were still there."""


class Machine(Protocol):
    """One node."""

    @property
    def network(self) -> Network:
        """The node's own."""

    def need(self, mode: Mode) -> None:
        """MachineError if the kernel cannot serve Services that way."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Something in the network has changed, by us or by others."""
