"""ipip: packets in packets, by the kernel's IP-in-IP device. IPv4 alone; 20 bytes an outer header.

Source: flannel Documentation/backends.md, pkg/backend/ipip (v0.28).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import ClassVar

from netlab.model import Address, HostState, Item, Link, Route
from netlab.model import Ipip as IpipKind
from netlab.overlay.backends.direct import direct_routes, is_direct, why
from netlab.overlay.backends.options import Options, without
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.underlay import Underlay

DEVICE = "flannel.ipip"
#: the outer IPv4 header, in bytes
OVERHEAD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipip:
    """See `Backend`."""

    kind: ClassVar[str] = "ipip"

    direct_routing: bool = False

    @classmethod
    def parse(cls, config: NetworkConfig, *, place: str) -> Ipip:
        """DirectRouting. IPv4 alone."""
        options = Options(config.backend, place=place)
        made = cls(direct_routing=options.flag("DirectRouting"))
        options.done()
        without(config.ipv6 is not None, "EnableIPv6", place, cls.kind)
        return made

    def mtu(self, underlay: Underlay) -> int:
        return underlay.mtu - OVERHEAD

    def attrs(self, underlay: Underlay, found: HostState) -> LeaseAttrs:
        return LeaseAttrs(public_ip=underlay.public_ip, backend_type=self.kind)

    def devices(self, own: Lease, underlay: Underlay, peers: Mapping[str, Lease]) -> list[Item]:
        assert own.subnet.ipv4 is not None
        because = f"flanneld ipip, own lease {own.subnet}"
        host = ip_interface(f"{own.subnet.ipv4.network_address}/32")
        return [
            # no remote: each route says by its gateway where the outer header goes
            Link(name=DEVICE, kind=IpipKind(local=underlay.ip), mtu=self.mtu(underlay), why=because),
            Address(dev=DEVICE, address=host, why=because),
        ]

    def remote(self, lease: Lease, own: Lease, underlay: Underlay) -> list[Item]:
        if lease.subnet.ipv4 is None or lease.attrs.public_ip is None:
            raise ValueError("has no IPv4 subnet and address")
        if self.direct_routing and is_direct(lease, underlay):
            return direct_routes(lease, underlay)
        return [Route(dst=lease.subnet.ipv4, via=lease.attrs.public_ip, dev=DEVICE, onlink=True, why=why(lease))]
