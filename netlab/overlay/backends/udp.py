"""udp: packets go into a TUN device, whose reader (`netlab.overlay.udp`) sends each in a datagram to the other node.

The device has the first address of the node's subnet and the length of the whole network, which is what gives the
route of the text: `100.96.0.0/16 dev flannel0 proto kernel scope link src 100.96.1.0`.
Source: flannel Documentation/backends.md, pkg/backend/udp (v0.28).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import ClassVar

from netlab.model import Address, HostState, Item, Link, Sysctl, Tun
from netlab.overlay.backends.options import Options, without
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.underlay import Underlay

DEVICE = "flannel0"
#: outer IPv4 and UDP headers, in bytes
OVERHEAD = 28
PORT = 8285


@dataclass(frozen=True, slots=True)
class Udp:
    """See `Backend`. offload: the device hands over in one piece what TCP means to send (with a virtio-net header)."""

    kind: ClassVar[str] = "udp"

    network: IPv4Network
    port: int = PORT
    offload: bool = True

    @classmethod
    def parse(cls, config: NetworkConfig, *, place: str) -> Udp:
        """Port. IPv4 alone, as the original's."""
        options = Options(config.backend, place=place)
        port = options.number("Port", PORT, 1, 65535)
        options.done()
        without(config.ipv6 is not None, "EnableIPv6", place, cls.kind)
        assert config.ipv4 is not None and isinstance(config.ipv4.network, IPv4Network)
        return cls(config.ipv4.network, port)

    def mtu(self, underlay: Underlay) -> int:
        return underlay.mtu - OVERHEAD

    def attrs(self, underlay: Underlay, found: HostState) -> LeaseAttrs:
        return LeaseAttrs(public_ip=underlay.public_ip, backend_type=self.kind)

    def address(self, own: Lease) -> IPv4Interface:
        """That of flannel0: 100.96.1.0/16."""
        assert own.subnet.ipv4 is not None
        return IPv4Interface((own.subnet.ipv4.network_address, self.network.prefixlen))

    def devices(self, own: Lease, underlay: Underlay, peers: Mapping[str, Lease]) -> list[Item]:
        because = f"flanneld udp, own lease {own.subnet}"
        return [
            Link(name=DEVICE, kind=Tun(vnet_hdr=self.offload), mtu=self.mtu(underlay), why=because),
            Address(dev=DEVICE, address=self.address(own), why=because),
            # the ICMP errors of the data path come out of flannel0 with its own address, which is a martian otherwise
            Sysctl(name=f"net/ipv4/conf/{DEVICE}/accept_local", value="1", why=f"{because}: ICMP errors"),
        ]

    def remote(self, lease: Lease, own: Lease, underlay: Underlay) -> list[Item]:
        if lease.subnet.ipv4 is None or lease.attrs.public_ip is None:
            raise ValueError("has no IPv4 subnet and address")
        return []

    def routes(self, peers: Mapping[str, Lease]) -> dict[IPv4Network, tuple[IPv4Address, int]]:
        """Where the data path sends what is for a subnet: address and port of its node."""
        return {
            lease.subnet.ipv4: (lease.attrs.public_ip, self.port)
            for lease in peers.values()
            if lease.subnet.ipv4 and lease.attrs.public_ip
        }
