"""What a plugin asks of the world, and all that it may: look at a namespace, have networks made, call another plugin.

What a plugin wants stands in a ledger under the attachment's name before the kernel is touched. So DEL needs nothing
but the name, CHECK compares with what was asked for, and a plugin that was killed in the middle leaves nothing that
a DEL would not find.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from netlab.model import HostState

#: the namespace that the plugin was called in: the node's. "" would do, but not as the other end of a cable
HOST = "."


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """Whose a part of a network is: one plugin's, for one interface of one container on one network."""

    network: str
    container_id: str
    ifname: str
    plugin: str

    def __str__(self) -> str:
        return f"cni {self.network} {self.container_id} {self.ifname} {self.plugin}"


class Machine(Protocol):
    """namespaces are HOST or a path."""

    @property
    def root(self) -> Path:
        """Where the machine's files begin: "/", or a node's or a test's own."""

    def see(self, netns: str) -> HostState | None:
        """Links, addresses and routes as they are; None if there is no such namespace."""

    def apply(self, owner: Owner, wanted: Mapping[str, HostState]) -> None:
        """Make it so. CniError (3) if a namespace is not there; KernelError, and then nothing of it is left."""

    def share(self, network: str, plugin: str, wanted: HostState) -> None:
        """What all attachments of a network have in common on the host. It stays when they go."""

    def release(self, owner: Owner) -> None:
        """Take away all that the owner has asked for; nothing if that is nothing."""

    def missing(self, owner: Owner) -> list[str]:
        """What the owner has asked for and is not so any more, in words. CniError (3) if it never asked."""

    def owners(self, network: str, plugin: str) -> Collection[Owner]:
        """Everybody who has asked for something."""

    def call(self, kind: str, command: str, config: Mapping[str, Any], environment: Mapping[str, str]) -> bytes:
        """Another plugin's answer. CniError: its own, or 103 if there is no such plugin."""
