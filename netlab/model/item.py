"""What every part of a HostState has: a key that names it, an owner, and the reason why it is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from netlab.base.addresses import Address, Interface, Network

#: scalars only, so that any two keys of one class compare
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One part of a network. Equality is about the network alone: `owner` and `why` do not take part.

    owner: which subsystem of which lab or cluster; why: the object or the line that asked for it.
    """

    #: position of the class in the total order, which is also the order of creation
    RANK: ClassVar[int] = 0
    #: the field's word for it, in messages and JSON
    NOUN: ClassVar[str] = "item"

    owner: str = field(default="", compare=False)
    why: str = field(default="", compare=False)

    @property
    def key(self) -> Key:
        """What names the item in its namespace; two items of one class with one key cannot both exist."""
        raise NotImplementedError

    @property
    def order(self) -> Key:
        """Total order over all items: class first, then `key`."""
        return (self.RANK, *self.key)

    def met_by(self, actual: Item) -> bool:
        """Whether `actual`, read from a kernel, is what this item asks for."""
        return self == actual

    def __str__(self) -> str:
        return f"{self.NOUN} {' '.join(str(part) for part in self.key if part != '')}"


def network_key(network: Network) -> Key:
    """Comparable across families: version, address as a number, prefix length."""
    return (network.version, int(network.network_address), network.prefixlen)


def address_key(address: Address | None) -> Key:
    """Comparable across families, with no address first."""
    return (0, 0) if address is None else (address.version, int(address))


def interface_key(interface: Interface) -> Key:
    """Comparable across families: version, address as a number, prefix length."""
    return (interface.version, int(interface.ip), interface.network.prefixlen)
