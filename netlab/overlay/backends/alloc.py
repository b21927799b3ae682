"""alloc: a lease and nothing else. Somebody else, a cloud's routing table, carries the packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netlab.model import HostState, Item
from netlab.overlay.backends.options import Options
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.underlay import Underlay


@dataclass(frozen=True, slots=True)
class Alloc:
    """See `Backend`."""

    kind: ClassVar[str] = "alloc"

    @classmethod
    def parse(cls, config: NetworkConfig, *, place: str) -> Alloc:
        """No options."""
        Options(config.backend, place=place).done()
        return cls()

    def mtu(self, underlay: Underlay) -> int:
        return underlay.mtu

    def attrs(self, underlay: Underlay, found: HostState) -> LeaseAttrs:
        return LeaseAttrs(public_ip=underlay.public_ip, public_ipv6=underlay.public_ipv6, backend_type=self.kind)

    def devices(self, own: Lease, underlay: Underlay, peers: Mapping[str, Lease]) -> list[Item]:
        return []

    def remote(self, lease: Lease, own: Lease, underlay: Underlay) -> list[Item]:
        return []
