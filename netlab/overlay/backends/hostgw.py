"""host-gw: the node that has the pods is the next hop to them. No tunnel, no device; all nodes share one link.

Source: flannel Documentation/backends.md, the text's `10.244.1.0/24 via 10.168.0.3 dev eth0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netlab.model import HostState, Item
from netlab.overlay.backends.direct import direct_routes, is_direct
from netlab.overlay.backends.options import Options
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.underlay import Underlay


@dataclass(frozen=True, slots=True)
class HostGw:
    """See `Backend`."""

    kind: ClassVar[str] = "host-gw"

    @classmethod
    def parse(cls, config: NetworkConfig, *, place: str) -> HostGw:
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
        if not is_direct(lease, underlay):
            networks = ", ".join(str(i.network) for i in underlay.interfaces)
            raise ValueError(f"its node is not on the link of {underlay.dev} ({networks}), which host-gw needs")
        return direct_routes(lease, underlay)
