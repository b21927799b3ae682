"""The nouns of a walk: a packet, a step, an outcome; chance and memory as values that a caller chooses."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from netlab.base.addresses import Address, Network

ACCEPT, DROP, REJECT = "accept", "drop", "reject"


class UnknownRule(ValueError):
    """A rule that the simulator does not understand. It says so: a guess would be worse than no answer."""


@lru_cache(1 << 16)
def address(text: str) -> Address:
    """An address; walks look at the same few over and over."""
    return ipaddress.ip_address(text)


@lru_cache(1 << 16)
def network(text: str) -> Network:
    """A prefix."""
    return ipaddress.ip_network(text, strict=False)


@dataclass(slots=True)
class Packet:
    """The first packet of a connection, or a later one (`state`), as it is at some point of its way.

    iif, oif: what is known of devices; `pod` and `wire` where a name does not matter. dnat: its destination was
    rewritten; masqueraded: its source was.
    """

    src: str
    dst: str
    protocol: str = "tcp"
    dport: int = 80
    sport: int = 40000
    state: str = "NEW"
    mark: int = 0
    iif: str = ""
    oif: str = ""
    bridged: bool = False
    dnat: bool = False
    masqueraded: bool = False

    def __str__(self) -> str:
        def joined(ip: str, port: int) -> str:
            return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

        return f"{self.protocol} {joined(self.src, self.sport)} → {joined(self.dst, self.dport)}"


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that matched, or a station of the way. number: of the rule in its chain, from 1; 0 for a station."""

    node: str
    table: str
    chain: str
    number: int
    rule: str
    why: str
    effect: str

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a packet. verdict: `delivered`, `drop`, `reject` or `unroutable`; where: `pod ns/name`, `node n1`.

    probability: of this way among all; decided: the why of the rule that ended it, if one did.
    """

    verdict: str
    where: str
    packet: Packet
    steps: tuple[Step, ...]
    probability: float = 1.0
    decided: str = ""

    @property
    def key(self) -> tuple[str, str, int, bool]:
        """What can be seen from outside: verdict, where, at which port, and whether the source was rewritten."""
        delivered = self.verdict == "delivered"
        port = self.packet.dport if delivered else 0
        return (self.verdict, self.where if delivered else "", port, delivered and self.packet.masqueraded)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        p = self.packet
        return {
            "verdict": self.verdict,
            "where": self.where,
            "probability": round(self.probability, 6),
            "source": p.src,
            "destination": p.dst,
            "port": p.dport,
            "protocol": p.protocol,
            "masqueraded": p.masqueraded,
            "dnat": p.dnat,
            "decided": self.decided,
            "steps": [step.as_json() for step in self.steps],
        }


class Dice:
    """Chance. With `script`, the first choices are given; the rest are by `rng`, or the first that is possible."""

    def __init__(self, script: Sequence[int] = (), rng: random.Random | None = None) -> None:
        self.script, self._rng = list(script), rng
        #: (choice, of how many, its probability) of each throw
        self.thrown: list[tuple[int, int, float]] = []

    def choose(self, weights: Sequence[float]) -> int:
        """An index, each with its weight; weights of nothing are never chosen."""
        at = len(self.thrown)
        if at < len(self.script):
            choice = self.script[at]
        elif self._rng is not None:
            choice = self._rng.choices(range(len(weights)), weights)[0]
        else:
            choice = next(i for i, weight in enumerate(weights) if weight > 0)
        self.thrown.append((choice, len(weights), weights[choice]))
        return choice

    @property
    def probability(self) -> float:
        """Of all that was thrown together."""
        product = 1.0
        for _, _, share in self.thrown:
            product *= share
        return product


@dataclass(slots=True)
class Memory:
    """What rules remember between packets: by node and list or set, the sources that they have seen."""

    seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def has(self, node: str, name: str, source: str) -> bool:
        return source in self.seen.get((node, name), ())

    def note(self, node: str, name: str, source: str) -> None:
        self.seen.setdefault((node, name), set()).add(source)


@dataclass(slots=True)
class Journey:
    """One packet under way on one node: what the engines read and write."""

    node: str
    packet: Packet
    dice: Dice
    memory: Memory
    local: frozenset[str]
    masquerade_as: str
    steps: list[Step] = field(default_factory=list)
    decided: str = ""

    def is_local(self, text: str) -> bool:
        """Whether an address is one of this node's."""
        return text in self.local or address(text).is_loopback

    def rewrite(self, target: str) -> None:
        """DNAT to `address:port`."""
        host, _, port = target.rpartition(":")
        self.packet.dst, self.packet.dnat = host.strip("[]"), True
        if port:
            self.packet.dport = int(port)

    def masquerade(self) -> None:
        """The source becomes an address of this node."""
        self.packet.src, self.packet.masqueraded = self.masquerade_as, True
