"""The network below: the device by which a node's packets reach the other nodes. Chosen from what a node has.

Source: flannel's --iface, --iface-regex, --iface-can-reach, --public-ip (Documentation/configuration.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from netlab.base.addresses import Address, Interface
from netlab.base.errors import InputError, Problem
from netlab.model import Address as AddressItem
from netlab.model import HostState, Link, Loopback, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Underlay:
    """dev and its mtu (bytes) and addresses; ip, ipv6: the node's own there; public_*: what the others are told."""

    dev: str
    mtu: int
    interfaces: tuple[Interface, ...] = ()
    ip: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    public_ip: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None

    def on_link(self, address: Address | None) -> bool:
        """Whether the address is reached without a router."""
        return any(address in i.network for i in self.interfaces if address and address.version == i.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a person says which device: tried in this order, all of `iface` and `regex` one by one.

    iface: names or addresses; regex: matched against names and addresses; can_reach: the device of the route there.
    """

    iface: Sequence[str] = ()
    regex: Sequence[str] = ()
    can_reach: Address | None = None
    public_ip: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None
    ipv4: bool = True
    ipv6: bool = False


def choose(state: HostState, wish: Wish) -> Underlay:
    """The underlay of a node whose network is `state`. InputError names what there is instead."""
    by_dev = _addresses(state)
    dev = _device(state, by_dev, wish)
    link = state.link(dev)
    assert link is not None
    interfaces = tuple(by_dev.get(dev, ()))
    ip = next((i.ip for i in interfaces if isinstance(i.ip, IPv4Address)), None)
    ipv6 = next((i.ip for i in interfaces if isinstance(i.ip, IPv6Address)), None)
    for family, asked, found in ((4, wish.ipv4, ip), (6, wish.ipv6, ipv6)):
        if asked and found is None:
            listed = ", ".join(map(str, interfaces)) or "none"
            hint = f"ip addr add … dev {dev}, or choose another device with --iface"
            raise InputError(
                [Problem(f"--iface {dev}", f"{dev} has no global IPv{family} address (it has: {listed})", hint)]
            )
    return Underlay(
        dev=dev,
        mtu=link.mtu,
        interfaces=interfaces,
        ip=ip if wish.ipv4 else None,
        ipv6=ipv6 if wish.ipv6 else None,
        public_ip=(wish.public_ip or ip) if wish.ipv4 else None,
        public_ipv6=(wish.public_ipv6 or ipv6) if wish.ipv6 else None,
    )


def _addresses(state: HostState) -> dict[str, list[Interface]]:
    """Addresses of each device that can be an underlay: not loopback ones, not link-local ones."""
    found: dict[str, list[Interface]] = {
        link.name: [] for link in state.all(Link) if not isinstance(link.kind, Loopback)
    }
    for item in state.all(AddressItem):
        if item.dev in found and not item.address.ip.is_link_local:
            found[item.dev].append(item.address)
    return found


def _device(state: HostState, by_dev: dict[str, list[Interface]], wish: Wish) -> str:
    listed = ", ".join(f"{d} ({', '.join(str(i.ip) for i in a) or 'no address'})" for d, a in by_dev.items()) or "none"
    if wish.iface or wish.regex:
        for dev in _wished(by_dev, wish):
            return dev
        asked = [*(f"--iface {name}" for name in wish.iface), *(f"--iface-regex {text}" for text in wish.regex)]
        raise InputError([Problem(", ".join(asked), "no such device or address here", f"there are: {listed}")])
    if wish.can_reach:
        dev = _route(state, wish.can_reach)
        if dev in by_dev:
            return dev
        raise InputError([Problem(f"--iface-can-reach {wish.can_reach}", "no route leads there", f"devices: {listed}")])
    for version, used in ((4, wish.ipv4), (6, wish.ipv6)):
        dev = _first(r for r in state.all(Route) if r.dst.version == version and r.dst.prefixlen == 0)
        if used and dev in by_dev:
            return dev
    raise InputError([Problem("--iface", "there is no default route to tell the device by", f"name one of: {listed}")])


def _wished(by_dev: dict[str, list[Interface]], wish: Wish) -> Iterator[str]:
    for name in wish.iface:
        for dev, interfaces in by_dev.items():
            if name == dev or name in (str(i.ip) for i in interfaces):
                yield dev
    for text in wish.regex:
        try:
            pattern = re.compile(text)
        except re.error as e:
            raise InputError([Problem(f"--iface-regex {text}", f"is not a regular expression: {e}")]) from e
        for dev, interfaces in by_dev.items():
            if any(pattern.search(candidate) for candidate in (dev, *(str(i.ip) for i in interfaces))):
                yield dev


def _route(state: HostState, to: Address) -> str:
    """The device by which an address is reached; "" if there is none."""
    routes = (*state.all(Route), *_connected(state))
    return _first(r for r in routes if r.dst.version == to.version and to in r.dst)


def _first(routes: Iterable[Route]) -> str:
    """The device of the longest of these routes, the lowest metric first; "" if there is none."""
    found = [
        (-route.dst.prefixlen, route.metric, route.dev or (route.nexthops[0].dev if route.nexthops else ""))
        for route in routes
        if route.type == "unicast"
    ]
    return min(found)[2] if found else ""


def _connected(state: HostState) -> Iterator[Route]:
    # the kernel makes these by itself, with the address
    for item in state.all(AddressItem):
        yield Route(dst=item.address.network, dev=item.dev)
