"""Traffic shaping and impairment of a device: tbf and netem (tc-tbf(8), tc-netem(8))."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import ClassVar

from netlab.model.item import Item, Key


@dataclass(frozen=True, slots=True)
class Tbf:
    """Token bucket. rate: bit/s (a whole number of bytes); burst: bytes; limit: bytes that may wait."""

    NAME: ClassVar[str] = "tbf"
    rate: int
    burst: int
    limit: int


@dataclass(frozen=True, slots=True)
class Netem:
    """Emulated distance. delay, jitter: µs; loss and its like: per cent; rate: bit/s; limit: packets."""

    NAME: ClassVar[str] = "netem"
    delay: int = 0
    jitter: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    rate: int = 0
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdisc(Item):
    """A queueing discipline. parent: `root` or a class such as `1:1`; handle: `1:`."""

    RANK: ClassVar[int] = 80
    NOUN: ClassVar[str] = "qdisc"

    dev: str
    kind: Tbf | Netem
    parent: str = "root"
    handle: str = "1:"

    @property
    def key(self) -> Key:
        # root sorts before its children
        return (self.dev, int(self.parent != "root"), self.parent)

    def met_by(self, actual: Item) -> bool:
        if not isinstance(actual, Qdisc) or (self.key, self.handle) != (actual.key, actual.handle):
            return False
        return _same(self.kind, actual.kind)

    def __str__(self) -> str:
        return f"qdisc {self.kind.NAME} dev {self.dev} {self.parent}"


def _same(wanted: Tbf | Netem, actual: Tbf | Netem) -> bool:
    """Equality as far as the kernel keeps what it is told: a burst as time in ticks of 64 ns, a share in 32 bits."""
    if isinstance(wanted, Tbf) and isinstance(actual, Tbf):
        close = abs(wanted.burst - actual.burst) <= wanted.rate / 8 * 64e-9 + 1
        return close and (wanted.rate, wanted.limit) == (actual.rate, actual.limit)
    if isinstance(wanted, Netem) and isinstance(actual, Netem):
        pairs = zip(astuple(wanted), astuple(actual), strict=True)
        return all(abs(a - b) < 1e-5 if isinstance(a, float) else a == b for a, b in pairs)
    return False
