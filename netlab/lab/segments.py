"""Layer 2 segments while a lab is resolved: who has which address, and which is free next. No chance in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from netlab.base.addresses import Address, Interface, Network


@dataclass(slots=True)
class Segment:
    """One broadcast domain. taken: who has an address, with the place in the file that says so."""

    name: str
    subnets: list[Network]
    mtu: int = 1500
    taken: dict[Address, str] = field(default_factory=dict)
    _next: dict[Network, int] = field(default_factory=dict)

    def take(self, address: Address, place: str) -> str | None:
        """Claim an address. Returns the place that has it already, or None."""
        return None if self.taken.setdefault(address, place) == place else self.taken[address]

    def allot(self, place: str) -> list[Interface]:
        """The first free host address of each subnet. ValueError when one is full."""
        found: list[Interface] = []
        for subnet in self.subnets:
            address = self._free(subnet)
            self.taken[address] = place
            found.append(_interface(address, subnet))
        return found

    def _free(self, subnet: Network) -> Address:
        start = self._next.get(subnet, 1)
        last = subnet.num_addresses - (2 if subnet.version == 4 and subnet.prefixlen < 31 else 1)
        for offset in islice(range(start, last + 1), len(self.taken) + 1):
            address = subnet.network_address + offset
            self._next[subnet] = offset + 1
            if address not in self.taken:
                return address
        raise ValueError(f"subnet {subnet} of {self.name} is full")


def _interface(address: Address, subnet: Network) -> Interface:
    from ipaddress import ip_interface

    return ip_interface((address.packed, subnet.prefixlen))
