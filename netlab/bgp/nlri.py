"""Prefixes as the wire spells them (RFC 4271 section 4.3): a length octet and as many octets as it needs.

That spelling, with the spare bits cleared, is also the key of every table: forty bytes of memory where an `ipaddress`
network takes three hundred, and nothing to convert for the routes that only pass through. `network` and `nlri` convert.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from netlab.base.addresses import Address, Network

#: a prefix on the wire, spare bits cleared; which family it is of, its table knows
Nlri = bytes


class Family(Enum):
    """An address family that routes may be of: (AFI, SAFI) of RFC 4760. Unicast only."""

    IPV4 = (1, 1)
    IPV6 = (2, 1)

    # there is one object of each, so its identity will do; Enum hashes the name, in Python, for every look-up
    __hash__ = object.__hash__

    @property
    def afi(self) -> int:
        return self.value[0]

    @property
    def safi(self) -> int:
        return self.value[1]

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if self is Family.IPV4 else 6

    @property
    def bits(self) -> int:
        """The longest prefix."""
        return 32 if self is Family.IPV4 else 128

    @property
    def label(self) -> str:
        """`ipv4` or `ipv6`."""
        return f"ipv{self.version}"

    @classmethod
    def of(cls, version: int) -> Family:
        """The family of an `ipaddress` object's version."""
        return cls.IPV4 if version == 4 else cls.IPV6


FAMILIES = {family.value: family for family in Family}


def parse(data: bytes, bits: int) -> list[Nlri]:
    """The prefixes in a field. ValueError if it is malformed; set spare bits are cleared (RFC 4271 section 4.3)."""
    found = []
    at, end = 0, len(data)
    while at < end:
        length = data[at]
        stop = at + 1 + ((length + 7) >> 3)
        if length > bits:
            raise ValueError(f"prefix length {length} is above {bits}")
        if stop > end:
            raise ValueError("a prefix is cut short")
        key = data[at:stop]
        spare = -length & 7
        if spare and key[-1] & ((1 << spare) - 1):
            key = key[:-1] + bytes((key[-1] & (0xFF << spare) & 0xFF,))
        found.append(key)
        at = stop
    return found


def network(nlri: Nlri, family: Family) -> Network:
    """The prefix as an `ipaddress` network."""
    length = nlri[0]
    if family is Family.IPV4:
        return IPv4Network((int.from_bytes(nlri[1:], "big") << (32 - 8 * (len(nlri) - 1)), length))
    return IPv6Network((int.from_bytes(nlri[1:], "big") << (128 - 8 * (len(nlri) - 1)), length))


def nlri(network_: Network) -> Nlri:
    """The inverse of `network`."""
    length = network_.prefixlen
    return bytes((length,)) + network_.network_address.packed[: (length + 7) >> 3]


def text(key: Nlri, family: Family) -> str:
    """`10.0.0.0/8`, `2001:db8::/32`."""
    return str(network(key, family))


def number(key: Nlri, family: Family) -> int:
    """The network address as a number."""
    return int.from_bytes(key[1:], "big") << (family.bits - 8 * (len(key) - 1))


def address(packed: bytes) -> Address:
    """Four or sixteen octets as an address."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
