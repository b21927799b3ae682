"""vxlan: one VTEP per node and family, and for each other node a route, a neighbour and a forwarding entry.

The history of the original in one paragraph: its first version answered the kernel's requests for missing neighbours
(L3MISS) one by one; the second learnt MACs by flooding; the one that this follows gives every VTEP an address, the
first of its node's subnet, makes that the next hop of the subnet's route, and writes down beforehand which MAC it has
(neighbour) and at which node that MAC lives (forwarding entry). The kernel never has to ask.
Source: flannel Documentation/backends.md, pkg/backend/vxlan (v0.28).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any, ClassVar, NamedTuple

from netlab.base.addresses import Address as IpAddress
from netlab.base.addresses import Network, derived_mac, parse_mac
from netlab.model import Address, Fdb, HostState, Item, Link, Neighbour, Route, Sysctl
from netlab.model import Vxlan as VxlanKind
from netlab.overlay.backends.direct import direct_routes, is_direct, why
from netlab.overlay.backends.options import Options
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.underlay import Underlay

PORT = 8472
#: outer Ethernet, IP, UDP and VXLAN headers by the version of the outer IP, in bytes
OVERHEAD = {4: 50, 6: 70}


class _Half(NamedTuple):
    """One family of one lease: VTEP name, subnet, the node's address, what it published."""

    device: str
    subnet: Network
    public: IpAddress
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan:
    """See `Backend`. mtu_wish: Backend.MTU, 0 for what the underlay leaves."""

    kind: ClassVar[str] = "vxlan"

    vni: int = 1
    port: int = PORT
    gbp: bool = False
    learning: bool = False
    direct_routing: bool = False
    mtu_wish: int = 0
    mac_prefix: str = ""
    ipv4: bool = True
    ipv6: bool = False

    @classmethod
    def parse(cls, config: NetworkConfig, *, place: str) -> Vxlan:
        """VNI, Port, GBP, Learning, DirectRouting, MTU, MacPrefix."""
        options = Options(config.backend, place=place)
        prefix = options.text("MacPrefix").lower()
        if prefix:
            try:
                first = int(parse_mac(f"{prefix.replace('-', ':')}:00:00:00:00")[:2], 16)
                if first & 1 or not first & 2:
                    options.problem("MacPrefix", f"{prefix} is not locally administered and unicast", "such as 0e-2a")
            except ValueError:
                options.problem("MacPrefix", f"is {prefix!r}, expected the first two octets of a MAC", "such as 0e-2a")
        made = cls(
            vni=options.number("VNI", 1, 1, 0xFFFFFF),
            port=options.number("Port", PORT, 1, 65535),
            gbp=options.flag("GBP"),
            learning=options.flag("Learning"),
            direct_routing=options.flag("DirectRouting"),
            mtu_wish=options.number("MTU", 0, 576, 65535),
            mac_prefix=prefix.replace("-", ":"),
            ipv4=config.ipv4 is not None,
            ipv6=config.ipv6 is not None,
        )
        options.done()
        return made

    def device(self, version: int) -> str:
        """flannel.1 or flannel-v6.1, for VNI 1."""
        return f"flannel.{self.vni}" if version == 4 else f"flannel-v6.{self.vni}"

    def mtu(self, underlay: Underlay) -> int:
        return (self.mtu_wish or underlay.mtu) - OVERHEAD[6 if self.ipv6 else 4]

    def _mac(self, underlay: Underlay, found: HostState, version: int) -> str:
        """The VTEP's: of the device that is there, so that a restart changes nothing; else one of its own for ever."""
        link = found.link(self.device(version))
        if link and isinstance(link.kind, VxlanKind) and link.kind.vni == self.vni and link.mac:
            return link.mac
        mac = derived_mac("flannel", str(underlay.public_ip), str(underlay.public_ipv6), self.device(version))
        return self.mac_prefix + mac[5:] if self.mac_prefix else mac

    def attrs(self, underlay: Underlay, found: HostState) -> LeaseAttrs:
        def data(version: int) -> dict[str, Any]:
            return {"VNI": self.vni, "VtepMAC": self._mac(underlay, found, version)}

        return LeaseAttrs(
            public_ip=underlay.public_ip,
            public_ipv6=underlay.public_ipv6,
            backend_type=self.kind,
            backend_data=data(4) if self.ipv4 else None,
            backend_v6_data=data(6) if self.ipv6 else None,
        )

    def _halves(self, lease: Lease) -> Iterator[_Half]:
        attrs = lease.attrs
        halves = (
            (4, self.ipv4, lease.subnet.ipv4, attrs.public_ip, attrs.backend_data, "BackendData"),
            (6, self.ipv6, lease.subnet.ipv6, attrs.public_ipv6, attrs.backend_v6_data, "BackendV6Data"),
        )
        for version, used, subnet, public, data, name in halves:
            if not used or subnet is None:
                continue
            if public is None or data is None:
                raise ValueError(f"has the subnet {subnet}, but no {name if public else 'public address'} for it")
            yield _Half(self.device(version), subnet, public, data)

    def devices(self, own: Lease, underlay: Underlay, peers: Mapping[str, Lease]) -> list[Item]:
        items: list[Item] = []
        because = f"flanneld vxlan, own lease {own.subnet}"
        for half in self._halves(own):
            version = half.subnet.version
            local = underlay.ip if version == 4 else underlay.ipv6
            kind = VxlanKind(
                vni=self.vni, port=self.port, local=local, dev=underlay.dev, learning=self.learning, gbp=self.gbp
            )
            host = ip_interface(f"{half.subnet.network_address}/{half.subnet.max_prefixlen}")
            items += [
                Link(name=half.device, kind=kind, mtu=self.mtu(underlay), mac=half.data["VtepMAC"], why=because),
                Address(dev=half.device, address=host, why=because),
                # a router's advertisement that came through the tunnel would be obeyed
                Sysctl(name=f"net/ipv6/conf/{half.device}/accept_ra", value="0", why=because),
            ]
        return items

    def remote(self, lease: Lease, own: Lease, underlay: Underlay) -> list[Item]:
        if self.direct_routing and is_direct(lease, underlay):
            return direct_routes(lease, underlay)
        items: list[Item] = []
        because = why(lease)
        for half in self._halves(lease):
            mac = half.data.get("VtepMAC")
            if not isinstance(mac, str):
                raise ValueError(f"its VtepMAC is {mac!r}, expected a MAC address")
            mac = parse_mac(mac)
            vni = half.data.get("VNI", self.vni)
            if vni != self.vni:
                raise ValueError(f"is of VNI {vni}, this node's is {self.vni}")
            gateway = half.subnet.network_address
            items += [
                Neighbour(dev=half.device, address=gateway, mac=mac, why=because),
                Fdb(dev=half.device, mac=mac, dst=half.public, why=because),
                Route(dst=half.subnet, via=gateway, dev=half.device, onlink=True, why=because),
            ]
        return items
