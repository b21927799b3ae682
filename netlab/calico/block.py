"""A block: one piece of a pool, its addresses, and who has them. The IPAMBlock object as a value."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Any

from netlab.base.addresses import Address, Network
from netlab.base.errors import InputError

API = "crd.projectcalico.org/v1"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Whose an address is. handle: of all that one pod has; more: namespace, node and pod."""

    handle: str
    more: tuple[tuple[str, str], ...] = ()

    @property
    def node(self) -> str | None:
        """The node on which it is used."""
        return dict(self.more).get("node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """node: whose affinity it has. allocations: by ordinal, an index into attributes, or None.

    unallocated: ordinals in the order in which they are handed out: what was given back comes last.
    sequence: grows with every change.
    """

    cidr: Network
    node: str | None
    allocations: tuple[int | None, ...]
    unallocated: tuple[int, ...]
    attributes: tuple[Attribute, ...] = ()
    strict: bool = False
    sequence: int = 0

    @classmethod
    def fresh(cls, cidr: Network, node: str | None, *, strict: bool = False) -> Block:
        """A block that nobody has used yet."""
        size = cidr.num_addresses
        return cls(cidr=cidr, node=node, allocations=(None,) * size, unallocated=tuple(range(size)), strict=strict)

    @property
    def empty(self) -> bool:
        """Whether no address of it is in use."""
        return len(self.unallocated) == len(self.allocations)

    def address(self, ordinal: int) -> Address:
        """The address of a number within the block."""
        return self.cidr[ordinal]

    def ordinal(self, address: Address) -> int:
        """The number of an address within the block."""
        return int(address) - int(self.cidr.network_address)

    def used(self) -> list[tuple[Address, Attribute]]:
        """Addresses in use, in order, and by whom."""
        return [(self.address(n), self.attributes[i]) for n, i in enumerate(self.allocations) if i is not None]

    def with_(self, ordinal: int, owner: Attribute) -> Block:
        """The address is in use from here on. ValueError if it is already."""
        if self.allocations[ordinal] is not None:
            raise ValueError(f"{self.address(ordinal)} is in use")
        known = self.attributes.index(owner) if owner in self.attributes else len(self.attributes)
        attributes = self.attributes if known < len(self.attributes) else (*self.attributes, owner)
        return replace(
            self, allocations=(*self.allocations[:ordinal], known, *self.allocations[ordinal + 1 :]),
            unallocated=tuple(n for n in self.unallocated if n != ordinal), attributes=attributes,
            sequence=self.sequence + 1,
        )  # fmt: skip

    def without(self, ordinal: int) -> Block:
        """The address is free again. ValueError if it was."""
        if self.allocations[ordinal] is None:
            raise ValueError(f"{self.address(ordinal)} is not in use")
        left = [None if n == ordinal else i for n, i in enumerate(self.allocations)]
        used = sorted({i for i in left if i is not None})
        return replace(
            self, allocations=tuple(None if i is None else used.index(i) for i in left),
            unallocated=(*self.unallocated, ordinal), attributes=tuple(self.attributes[i] for i in used),
            sequence=self.sequence + 1,
        )  # fmt: skip

    # -- as an object

    def as_object(self) -> dict[str, Any]:
        """The IPAMBlock."""
        return {
            "apiVersion": API, "kind": "IPAMBlock", "metadata": {"name": name_of(self.cidr)},
            "spec": {
                "cidr": str(self.cidr), **({"affinity": f"host:{self.node}"} if self.node else {}),
                "strictAffinity": self.strict, "allocations": list(self.allocations),
                "unallocated": list(self.unallocated),
                "attributes": [{"handle_id": a.handle, "secondary": dict(a.more)} for a in self.attributes],
                "deleted": False, "sequenceNumber": self.sequence,
            },
        }  # fmt: skip

    @classmethod
    def of(cls, data: dict[str, Any]) -> Block:
        """From an IPAMBlock. InputError if it contradicts itself: then nobody should allocate from it."""
        try:
            spec = data["spec"]
            cidr = ipaddress.ip_network(spec["cidr"])
            affinity = spec.get("affinity") or ""
            block = cls(
                cidr=cidr, node=affinity.removeprefix("host:") or None, allocations=tuple(spec["allocations"]),
                unallocated=tuple(spec["unallocated"]), strict=bool(spec.get("strictAffinity")),
                attributes=tuple(
                    Attribute(a.get("handle_id") or "", tuple(sorted((a.get("secondary") or {}).items())))
                    for a in spec["attributes"]
                ),
                sequence=int(spec.get("sequenceNumber", 0)),
            )  # fmt: skip
            free = {n for n, i in enumerate(block.allocations) if i is None}
            if len(block.allocations) != cidr.num_addresses or free != set(block.unallocated):
                raise ValueError("allocations and unallocated do not fit each other")
            if any(i is not None and i not in range(len(block.attributes)) for i in block.allocations):
                raise ValueError("an allocation has no attribute")
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            name = (data.get("metadata") or {}).get("name", "?")
            raise InputError(f"IPAMBlock {name} makes no sense: {e}") from e
        return block


def name_of(cidr: Network) -> str:
    """A prefix as an object's name: 10.244.0.0/26 is 10-244-0-0-26."""
    return str(cidr).replace(".", "-").replace(":", "-").replace("/", "-")
