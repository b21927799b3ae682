"""Ways of agreeing with the other nodes on who has which subnet: each a `SubnetManager`, one contract suite for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs, Subnet

#: every lease of the network, by the key's last part
Leases = Mapping[str, Lease]


class SubnetManager(Protocol):
    """The agreement. Every method may raise StoreUnavailable; the caller tries again."""

    async def config(self) -> NetworkConfig:
        """The network's configuration as it is now. ConfigMissing, or InputError if it makes no sense."""

    async def acquire(self, attrs: LeaseAttrs, *, previous: Subnet | None = None) -> Lease:
        """This node's lease: the one that its public address has, else `previous` if that is free, else a free one.

        Two that ask at once get two different ones. NoSubnetLeft.
        """

    async def renew(self, lease: Lease) -> Lease:
        """The lease with a new date of expiry. LeaseLost if it is no longer this node's."""

    def watch(self) -> AsyncIterator[Leases]:
        """All leases as they are now, and again after each change, for ever. No change is missed between two of them;
        several changes may come as one. StoreUnavailable is not raised: it waits until the store is back."""

    async def release(self, lease: Lease) -> None:
        """Give the lease back. Gone already is good."""

    async def aclose(self) -> None:
        """Close connections."""
