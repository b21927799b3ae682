"""ipsets: named collections that iptables rules match against (ipset(8))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from netlab.model.item import Item, Key

#: kernel limit with the closing NUL (IPSET_MAXNAMELEN)
IPSET_NAME_MAX = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipset(Item):
    """A set. type: `hash:ip`, `hash:ip,port`, …; entries: as `ipset save` prints them (`10.0.0.1,tcp:80`), any order.

    timeout: seconds that an entry lives by default, None for ever.
    """

    RANK: ClassVar[int] = 90
    NOUN: ClassVar[str] = "ipset"

    name: str
    type: str
    family: Literal[4, 6] = 4
    maxelem: int = 65536
    hashsize: int = 1024
    timeout: int | None = None
    entries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or len(self.name.encode()) > IPSET_NAME_MAX:
            raise ValueError(f"ipset name {self.name!r} must have 1 to {IPSET_NAME_MAX} bytes")
        object.__setattr__(self, "entries", tuple(sorted(set(self.entries))))

    @property
    def key(self) -> Key:
        return (self.name,)

    @property
    def header(self) -> tuple[object, ...]:
        """What can only be changed by making the set anew. The kernel may grow hashsize by itself."""
        return (self.type, self.family, self.maxelem, self.timeout)

    def met_by(self, actual: Item) -> bool:
        return isinstance(actual, Ipset) and self.header == actual.header and self.entries == actual.entries
