"""The network's configuration: what stands under `/coreos.com/network/config`, or in net-conf.json.

Source: flannel Documentation/configuration.md and pkg/subnet/config.go (v0.28): the same names and defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeVar

from netlab.base.errors import InputError, Problem

A = TypeVar("A", IPv4Address, IPv6Address)
N = TypeVar("N", IPv4Network, IPv6Network)

#: the original's names of backends, in lower case
BACKENDS = ("udp", "vxlan", "host-gw", "ipip", "wireguard", "alloc")
BACKEND_DEFAULT = "vxlan"
_KNOWN = {
    "EnableIPv4", "EnableIPv6", "Network", "IPv6Network", "SubnetLen", "SubnetMin", "SubnetMax",
    "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax", "Backend", "EnableNFTables",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Range:
    """Subnets of one family: those of `length` bits in `network`, from `first` to `last` (their addresses)."""

    network: IPv4Network | IPv6Network
    length: int
    first: IPv4Address | IPv6Address
    last: IPv4Address | IPv6Address

    def __contains__(self, subnet: object) -> bool:
        return (
            isinstance(subnet, IPv4Network | IPv6Network)
            and subnet.version == self.network.version
            and subnet.prefixlen == self.length
            and int(self.first) <= int(subnet.network_address) <= int(self.last)
        )

    @property
    def step(self) -> int:
        """How far one subnet's address is from the next."""
        return 1 << (self.network.max_prefixlen - self.length)

    @property
    def count(self) -> int:
        """How many there are."""
        return (int(self.last) - int(self.first)) // self.step + 1

    def nth(self, index: int) -> IPv4Network | IPv6Network:
        """The subnet number `index`, counted from 0."""
        address = int(self.first) + index * self.step
        if self.network.version == 4:
            return IPv4Network((address, self.length))
        return IPv6Network((address, self.length))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """ipv4, ipv6: where subnets come from, None for a family that is off. backend: its object as it was given."""

    ipv4: Range | None
    ipv6: Range | None = None
    backend_type: str = BACKEND_DEFAULT
    backend: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: str | bytes, *, place: str) -> NetworkConfig:
        """From JSON. InputError with every problem found; place: where the text stands, for the messages."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as e:
            hint = 'write {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'
            raise InputError([Problem(place, f"is not JSON: {e}", hint)]) from e
        reading = _Reading(place, data)
        config = reading.config()
        if reading.problems:
            raise InputError(reading.problems)
        assert config is not None
        return config


class _Reading:
    def __init__(self, place: str, data: Any) -> None:
        self.place, self.data = place, data
        self.problems: list[Problem] = []

    def problem(self, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(self.place, message, hint))

    def config(self) -> NetworkConfig | None:
        if not isinstance(self.data, dict):
            self.problem(f"the network configuration is an object, not {json.dumps(self.data)[:60]}")
            return None
        for name in sorted(self.data.keys() - _KNOWN):
            close = next((known for known in _KNOWN if known.lower() == name.lower()), None)
            self.problem(f"unknown field {name!r}", f"did you mean {close!r}?" if close else None)
        use4, use6 = self._flag("EnableIPv4", True), self._flag("EnableIPv6", False)
        ipv4 = self._range(IPv4Network, IPv4Address, "Network", "", 24, 22) if use4 else None
        ipv6 = self._range(IPv6Network, IPv6Address, "IPv6Network", "IPv6", 64, 62) if use6 else None
        if not use4 and not use6:
            self.problem("EnableIPv4 and EnableIPv6 are both false: there is no network to make")
        backend = self.data.get("Backend") or {}
        kind = BACKEND_DEFAULT
        if not isinstance(backend, dict):
            self.problem(f"Backend is {backend!r}, expected an object such as {{'Type': 'vxlan'}}")
            backend = {}
        else:
            given = backend.get("Type", BACKEND_DEFAULT)
            kind = given.lower() if isinstance(given, str) else ""
            if kind not in BACKENDS:
                self.problem(f"Backend.Type is {given!r}, expected one of {', '.join(BACKENDS)}")
        return NetworkConfig(ipv4=ipv4, ipv6=ipv6, backend_type=kind, backend=backend)

    def _flag(self, name: str, default: bool) -> bool:
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            self.problem(f"{name} is {value!r}, expected true or false")
            return default
        return value

    def _range(self, kind: type[N], address: type[A], name: str, prefix: str, usual: int, crowded: int) -> Range | None:
        """The subnets of a family. usual: their length; two bits below the network where that is beyond `crowded`."""
        text = self.data.get(name)
        if text is None:
            self.problem(f"{name} is missing", f'write "{name}": "{"10.244.0.0/16" if not prefix else "fd00:10::/48"}"')
            return None
        try:
            network = kind(_text(text))
        except ValueError as e:
            self.problem(f"{name}: {text!r} is not a network: {str(e).removeprefix(repr(text)).strip()}")
            return None
        if network.prefixlen > network.max_prefixlen - 3:
            self.problem(f"{name}: {network} is too small to be divided into subnets", "a /16 is usual")
            return None
        length = self.data.get(f"{prefix}SubnetLen")
        if length is None or length == 0:
            length = usual if network.prefixlen <= crowded else network.prefixlen + 2
        if (
            not isinstance(length, int)
            or isinstance(length, bool)
            or not network.prefixlen < length <= (network.max_prefixlen - 2)
        ):
            self.problem(
                f"{prefix}SubnetLen is {length!r}, expected {network.prefixlen + 1} to {network.max_prefixlen - 2}",
                "a subnet is a part of the network and has room for a gateway and a pod",
            )
            return None
        step = 1 << (network.max_prefixlen - length)
        low, high = int(network.network_address), int(network.broadcast_address)
        first = self._bound(f"{prefix}SubnetMin", address, low + step, network, step)
        last = self._bound(f"{prefix}SubnetMax", address, high + 1 - step, network, step)
        if first is None or last is None:
            return None
        if int(first) > int(last):
            self.problem(f"{prefix}SubnetMin {first} is above {prefix}SubnetMax {last}")
            return None
        return Range(network, length, first, last)

    def _bound(self, name: str, address: type[A], default: int, network: N, step: int) -> A | None:
        text = self.data.get(name)
        if text is None:
            return address(default)
        try:
            bound = address(_text(text))
        except ValueError:
            self.problem(f"{name}: {text!r} is not an IPv{network.version} address")
            return None
        if bound not in network:
            self.problem(f"{name}: {bound} is not in {network}")
        elif (int(bound) - int(network.network_address)) % step:
            below = address(int(bound) - (int(bound) - int(network.network_address)) % step)
            self.problem(f"{name}: {bound} is not where a subnet begins", f"write {below}")
        else:
            return bound
        return None


def _text(value: Any) -> str:
    """ipaddress would take a number for an address, and a truth for a number."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value
