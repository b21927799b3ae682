"""wireguard: encrypted tunnels. One device for each family (Mode separate), or one for both.

A peer is a lease: its public key, its subnets as allowed IPs, its node's address as endpoint. The route is one for the
whole network; which peer a packet goes to is WireGuard's own decision, by the allowed IPs.
Source: flannel Documentation/backends.md, pkg/backend/wireguard (v0.28).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any, ClassVar

from netlab.base.addresses import Address as IpAddress
from netlab.base.addresses import Network
from netlab.model import Address, HostState, Item, Link, Route, WireguardPeer
from netlab.model import Wireguard as WireguardKind
from netlab.overlay.backends.direct import why
from netlab.overlay.backends.options import Options
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Lease, LeaseAttrs
from netlab.overlay.underlay import Underlay

DEVICE, DEVICE6 = "flannel-wg", "flannel-wg-v6"
PORT, PORT6 = 51820, 51821
#: outer IPv6, UDP and WireGuard's own, in bytes: the larger of both families
OVERHEAD = 80
MODES = ("separate", "auto", "ipv4", "ipv6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A node's key pair, base64 (wg(8))."""

    private: str = field(repr=False)
    public: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wireguard:
    """See `Backend`. keys: given by whoever keeps them, before anything but `mtu` is asked for."""

    kind: ClassVar[str] = "wireguard"

    port: int = PORT
    port6: int = PORT6
    psk: str = field(default="", repr=False)
    keepalive: int = 0
    mode: str = "separate"
    mtu_wish: int = 0
    network4: Network | None = None
    network6: Network | None = None
    keys: Keys | None = None

    @classmethod
    def parse(cls, config: NetworkConfig, *, place: str) -> Wireguard:
        """ListenPort, ListenPortV6, PSK, PersistentKeepaliveInterval, Mode, MTU."""
        options = Options(config.backend, place=place)
        made = cls(
            port=options.number("ListenPort", PORT, 1, 65535),
            port6=options.number("ListenPortV6", PORT6, 1, 65535),
            psk=options.text("PSK"),
            keepalive=options.number("PersistentKeepaliveInterval", 0, 0, 65535),
            mode=options.text("Mode", "separate", among=MODES),
            mtu_wish=options.number("MTU", 0, 576, 65535),
            network4=config.ipv4.network if config.ipv4 else None,
            network6=config.ipv6.network if config.ipv6 else None,
        )
        options.done()
        return made

    def mtu(self, underlay: Underlay) -> int:
        return self.mtu_wish or underlay.mtu - OVERHEAD

    def _keys(self) -> Keys:
        if self.keys is None:
            raise ValueError("a WireGuard backend without keys")
        return self.keys

    def attrs(self, underlay: Underlay, found: HostState) -> LeaseAttrs:
        data = {"PublicKey": self._keys().public}
        single = self.mode != "separate"
        return LeaseAttrs(
            public_ip=underlay.public_ip,
            public_ipv6=underlay.public_ipv6,
            backend_type=self.kind,
            backend_data=data if self.network4 or single else None,
            backend_v6_data=data if self.network6 and not single else None,
        )

    def _tunnels(self) -> list[tuple[str, int, tuple[Network, ...]]]:
        """Device, port and networks of each tunnel."""
        both = tuple(n for n in (self.network4, self.network6) if n)
        if self.mode != "separate":
            return [(DEVICE, self.port, both)]
        tunnels = ((DEVICE, self.port, self.network4), (DEVICE6, self.port6, self.network6))
        return [(device, port, (network,)) for device, port, network in tunnels if network]

    def _endpoint(self, lease: Lease, device: str) -> tuple[IpAddress, int]:
        attrs = lease.attrs
        over6 = device == DEVICE6 or self.mode == "ipv6" or (self.mode == "auto" and not attrs.public_ip)
        address: IpAddress | None = attrs.public_ipv6 if over6 else attrs.public_ip
        if address is None:
            raise ValueError(f"its node has no IPv{6 if over6 else 4} address, which {device} needs")
        return address, self.port6 if device == DEVICE6 else self.port

    def _peer(self, lease: Lease, device: str, networks: tuple[Network, ...]) -> WireguardPeer | None:
        allowed = tuple(n for n in lease.subnet.networks if any(n.version == wide.version for wide in networks))
        if not allowed:
            return None
        data: dict[str, Any] | None = lease.attrs.backend_v6_data if device == DEVICE6 else lease.attrs.backend_data
        key = (data or {}).get("PublicKey")
        if not isinstance(key, str) or len(key) != 44:
            raise ValueError(f"its PublicKey is {key!r}, expected 44 characters of base64")
        return WireguardPeer(
            public_key=key,
            allowed_ips=allowed,
            endpoint=self._endpoint(lease, device),
            keepalive=self.keepalive,
            preshared_key=self.psk or None,
        )

    def devices(self, own: Lease, underlay: Underlay, peers: Mapping[str, Lease]) -> list[Item]:
        items: list[Item] = []
        because = f"flanneld wireguard, own lease {own.subnet}"
        for device, port, networks in self._tunnels():
            found = (self._peer(lease, device, networks) for lease in peers.values())
            kind = WireguardKind(
                private_key=self._keys().private, listen_port=port, peers=tuple(peer for peer in found if peer)
            )
            items.append(Link(name=device, kind=kind, mtu=self.mtu(underlay), why=because))
            for network in networks:
                subnet = next(n for n in own.subnet.networks if n.version == network.version)
                host = ip_interface(f"{subnet.network_address}/{subnet.max_prefixlen}")
                items += [
                    Address(dev=device, address=host, why=because),
                    Route(dst=network, dev=device, why=because),
                ]
        return items

    def remote(self, lease: Lease, own: Lease, underlay: Underlay) -> list[Item]:
        for device, _, networks in self._tunnels():
            try:
                self._peer(lease, device, networks)
            except ValueError as e:
                raise ValueError(f"{e} ({why(lease)})") from None
        return []
