"""IPVS virtual services and their destinations (ipvsadm(8))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from netlab.base.addresses import Address
from netlab.model.item import Item, Key, address_key


@dataclass(frozen=True, slots=True)
class IpvsDestination:
    """A real server behind a virtual service. weight 0: no new connections."""

    address: Address
    port: int
    weight: int = 1
    method: Literal["masq", "tunnel", "route"] = "masq"


@dataclass(frozen=True, slots=True, kw_only=True)
class IpvsService(Item):
    """A virtual service. scheduler: rr, wrr, lc, sh, …; persistence: seconds, 0 for none."""

    RANK: ClassVar[int] = 100
    NOUN: ClassVar[str] = "ipvs"

    protocol: Literal["tcp", "udp", "sctp"]
    address: Address
    port: int
    scheduler: str = "rr"
    persistence: int = 0
    destinations: tuple[IpvsDestination, ...] = ()

    def __post_init__(self) -> None:
        ordered = sorted(self.destinations, key=lambda d: (address_key(d.address), d.port))
        object.__setattr__(self, "destinations", tuple(ordered))

    @property
    def key(self) -> Key:
        return (self.protocol, *address_key(self.address), self.port)

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"ipvs {self.protocol} {host}:{self.port}"


def edits(old: IpvsService, new: IpvsService) -> list[tuple[Literal["add", "edit", "delete"], IpvsDestination]]:
    """The steps from the old destinations, told apart by address and port, to the new.

    Those that serve come first, new ones or not: of a service without any for a moment connections are refused.
    """
    before = {(d.address, d.port): d for d in old.destinations}
    after = {(d.address, d.port): d for d in new.destinations}
    put = sorted((d for place, d in after.items() if before.get(place) != d), key=lambda d: not d.weight)
    steps: list[tuple[Literal["add", "edit", "delete"], IpvsDestination]] = []
    for destination in put:
        known = (destination.address, destination.port) in before
        steps.append(("edit" if known else "add", destination))
    return steps + [("delete", destination) for place, destination in before.items() if place not in after]
