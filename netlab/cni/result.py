"""What a plugin has done, as a value, and as every version of the protocol spells it.

0.3 and 0.4 give each address its `version`, 1.0 took that away; 1.1 gave interfaces an `mtu`. What netlab does not know
of an interface or a route is kept and handed on. Source: CNI specification, section 5, of each version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netlab.base import addresses
from netlab.cni.errors import CniError, Code
from netlab.cni.fields import Fields

#: oldest first. flannel's own configuration still says 0.3.1, whose results are those of 0.4.0
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]
#: the first version that has a command
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def knows(version: str, command: str) -> bool:
    """Whether that version of the protocol has the command."""
    since = SINCE.get(command)
    return since is None or VERSIONS.index(version) >= VERSIONS.index(since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A device. sandbox: the path of its namespace, "" on the host; mtu: octets, 0 if not told."""

    name: str
    mac: str = ""
    sandbox: str = ""
    mtu: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ip:
    """An address of a container. interface: its place in the result's `interfaces`."""

    address: addresses.Interface
    gateway: addresses.Address | None = None
    interface: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route of a container. via: None for the gateway of the first address of its family."""

    dst: addresses.Network
    via: addresses.Address | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """What a container is to put into its resolv.conf."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: Fields) -> Dns:
        """From a `dns` object."""
        return cls(
            nameservers=fields.texts("nameservers"),
            domain=fields.text("domain"),
            search=fields.texts("search"),
            options=fields.texts("options"),
        )

    def as_document(self) -> dict[str, Any]:
        """Without what is empty."""
        parts = {
            "nameservers": list(self.nameservers),
            "domain": self.domain,
            "search": list(self.search),
            "options": list(self.options),
        }
        return {name: value for name, value in parts.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an ADD returns. That of an address plugin has no interfaces."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[Ip, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = field(default_factory=Dns)

    def with_interfaces(self, interfaces: Iterable[Interface]) -> Result:
        """The same with those in front; what was in it follows, and addresses still point to what they did."""
        first = tuple(interfaces)
        ips = tuple(ip if ip.interface is None else replace(ip, interface=ip.interface + len(first)) for ip in self.ips)
        return replace(self, interfaces=(*first, *self.interfaces), ips=ips)

    def inside(self) -> list[addresses.Address]:
        """The container's own addresses, in order."""

        def outside(ip: Ip) -> bool:
            at = ip.interface
            return at is not None and at < len(self.interfaces) and not self.interfaces[at].sandbox

        return [ip.address.ip for ip in self.ips if not outside(ip)]

    @classmethod
    def of(cls, data: Any, place: str = "result") -> Result:
        """From a plugin's answer or a prevResult, of whichever version. CniError (6) if it makes no sense."""
        whole = Fields(data, place, code=Code.DECODE)
        interfaces = tuple(
            Interface(
                name=f.text("name"),
                mac=f.text("mac"),
                sandbox=f.text("sandbox"),
                mtu=f.number("mtu"),
                more={k: v for k, v in f.data.items() if k not in ("name", "mac", "sandbox", "mtu")},
            )
            for f in whole.objects("interfaces")
        )
        ips = []
        for f in whole.objects("ips"):
            address = f.interface("address")
            if address is None:
                raise f.wrong("address", "an address with its prefix length")
            at = f.number("interface", -1, high=max(0, len(interfaces) - 1)) if interfaces else -1
            ips.append(Ip(address=address, gateway=f.address("gateway"), interface=None if at < 0 else at))
        routes = []
        for f in whole.objects("routes"):
            dst = f.network("dst")
            if dst is None:
                raise f.wrong("dst", "a prefix")
            more = {k: v for k, v in f.data.items() if k not in ("dst", "gw")}
            routes.append(Route(dst=dst, via=f.address("gw"), more=more))
        return cls(interfaces=interfaces, ips=tuple(ips), routes=tuple(routes), dns=Dns.of(whole.inner("dns")))

    def as_document(self, version: str) -> dict[str, Any]:
        """As that version of the protocol prints it."""
        old = VERSIONS.index(version) < VERSIONS.index("1.0.0")
        newest = version == NEWEST
        document: dict[str, Any] = {"cniVersion": version}
        if self.interfaces:
            document["interfaces"] = [
                {
                    "name": i.name,
                    **({"mac": i.mac} if i.mac else {}),
                    **({"mtu": i.mtu} if i.mtu and newest else {}),
                    **({"sandbox": i.sandbox} if i.sandbox else {}),
                    **i.more,
                }
                for i in self.interfaces
            ]
        if self.ips:
            document["ips"] = [
                {
                    **({"version": str(ip.address.version)} if old else {}),
                    "address": str(ip.address),
                    **({"gateway": str(ip.gateway)} if ip.gateway else {}),
                    **({} if ip.interface is None else {"interface": ip.interface}),
                }
                for ip in self.ips
            ]
        if self.routes:
            document["routes"] = [
                {"dst": str(r.dst), **({"gw": str(r.via)} if r.via else {}), **r.more} for r in self.routes
            ]
        document["dns"] = self.dns.as_document()
        return document


def check_version(version: str) -> str:
    """A version that netlab speaks, or CniError (1)."""
    if version not in VERSIONS:
        raise CniError(Code.VERSION, f"cniVersion {version!r} is not spoken here", f"supported: {', '.join(VERSIONS)}")
    return version
