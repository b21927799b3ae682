"""Addresses: IPv4 and IPv6 are equal citizens, always `ipaddress` objects, always handled in lists."""

from __future__ import annotations

import hashlib
import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")

DEFAULT4 = IPv4Network("0.0.0.0/0")
DEFAULT6 = IPv6Network("::/0")


def parse_mac(text: str) -> str:
    """`AA:BB:…` to lower case. ValueError if it is not six octets in hexadecimal."""
    lowered = text.lower()
    if not _MAC.match(lowered):
        raise ValueError(f"{text!r} is not a MAC address (expected six octets such as 02:42:ac:11:00:02)")
    return lowered


def derived_mac(*parts: str) -> str:
    """A locally administered unicast MAC that depends on `parts` alone, so that a lab never changes by chance."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return "02:" + ":".join(f"{b:02x}" for b in digest[:5])


def docker_mac(address: Address) -> str:
    """Docker's MAC for a container: 02:42 and the four octets of its IPv4 address (172.17.0.2: 02:42:ac:11:00:02)."""
    return "02:42:" + ":".join(f"{b:02x}" for b in address.packed[-4:])


def default_network(version: int) -> Network:
    """0.0.0.0/0 or ::/0."""
    return DEFAULT4 if version == 4 else DEFAULT6


def inside(inner: Network, outer: Network) -> bool:
    """Whether `inner` is a part of `outer` or all of it; networks of two families never are."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # the same family


def networks_of_families(text: str) -> tuple[Network, ...]:
    """Of `10.244.0.0/16,fd00:10:244::/56`: at most one network of each family, in the order given. ValueError."""
    found = tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    if len({network.version for network in found}) < len(found):
        raise ValueError(f"{text}: expected one prefix, or one of each family")
    return found
