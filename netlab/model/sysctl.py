"""Kernel settings of a namespace, by path below /proc/sys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netlab.model.item import Item, Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Item):
    """A setting. name: with slashes, as a device may have a dot in its name (`net/ipv4/conf/flannel.1/forwarding`)."""

    RANK: ClassVar[int] = 15
    NOUN: ClassVar[str] = "sysctl"

    name: str
    value: str

    def __post_init__(self) -> None:
        # a path that leaves net/ would reach settings of the whole machine
        if not self.name.startswith("net/") or ".." in self.name.split("/"):
            raise ValueError(f"sysctl {self.name!r} is not below net/, the part that a network namespace has to itself")
        object.__setattr__(self, "value", " ".join(self.value.split()))

    @property
    def key(self) -> Key:
        return (self.name,)

    @property
    def order(self) -> Key:
        # what holds for the whole namespace comes before the devices, which take their defaults from it
        return (self.RANK if self.device else 5, self.name)

    @property
    def device(self) -> str | None:
        """The device whose settings it belongs to, if any: `net/ipv4/conf/eth0/rp_filter` gives eth0."""
        parts = self.name.split("/")
        if len(parts) == 5 and parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default"):
            return parts[3]
        return None
