"""`path` checks: follow one packet through all places of a capture, and compare with the way it should have taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from netlab.lab.capture import identity
from netlab.lab.capture.identity import Sighting
from netlab.lab.capture.merge import time_order
from netlab.lab.capture.packet import Packet, Place

if TYPE_CHECKING:
    from netlab.lab.capture.dissect import Value


@dataclass(frozen=True, slots=True)
class Expected:
    """One place at which the packet must be seen.

    at: `node1:veth*`; outgoing: the direction, None for any; where: decode.KEYS -> what must be true there, which is
    a value, a prefix for an address, a pattern of fnmatch, or None for "must be absent".
    """

    at: str
    where: Mapping[str, Value | None] = field(default_factory=dict)
    outgoing: bool | None = None

    def __str__(self) -> str:
        return self.at + {True: " (out)", False: " (in)", None: ""}[self.outgoing]

    def is_at(self, sighting: Sighting) -> bool:
        """The sighting is at this place, in this direction; what must be true there is another matter."""
        direction = self.outgoing is None or sighting.packet.outgoing in (None, self.outgoing)
        return direction and fnmatchcase(str(sighting.packet.place), self.at)

    def problems(self, sighting: Sighting) -> list[str]:
        """What is not as it should be at the sighting."""
        found = []
        for key, wanted in self.where.items():
            saw = sighting.fields.get(key)
            if not holds(wanted, saw):
                saw_words = "the packet has none" if saw is None else f"saw {saw}"
                found.append(f"{self}: {key}: expected {'none' if wanted is None else wanted}, {saw_words}")
        return found


@dataclass(frozen=True, slots=True)
class Hop:
    """Where the packet was seen. offset_us: microseconds since the first sighting; changes: since the hop before."""

    place: Place
    outgoing: bool | None
    offset_us: float
    fields: Mapping[str, Value]
    changes: tuple[str, ...]

    def __str__(self) -> str:
        arrow = {True: ">", False: "<", None: "-"}[self.outgoing]
        return f"{self.offset_us:+10.1f} µs {self.place} {arrow}" + (
            f"  {', '.join(self.changes)}" if self.changes else ""
        )


@dataclass(frozen=True, slots=True)
class Result:
    """The way that the packet took, and in what it is not the way expected. No hops: the packet was never seen."""

    hops: tuple[Hop, ...]
    mismatches: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """The packet took the expected way."""
        return not self.mismatches

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        hops = [
            {
                "place": str(hop.place),
                "outgoing": hop.outgoing,
                "offset_us": hop.offset_us,
                "changes": list(hop.changes),
                "fields": dict(hop.fields),
            }
            for hop in self.hops
        ]
        return {"passed": self.passed, "hops": hops, "mismatches": list(self.mismatches)}


def check(
    packets: Iterable[Packet],
    flow: Mapping[str, Value | None],
    expected: Sequence[Expected],
    *,
    exactly: bool = False,
) -> Result:
    """Follow a packet of the flow and compare.

    flow: fields by which the packet is known at one place at least, in itself or inside of a tunnel. Where several
    packets match (three pings), the one with the fewest mismatches counts, the earliest of equals. exactly: no other
    sighting than those expected. `expected` may be empty, to just see the way.
    """
    captured = list(packets)
    best: Result | None = None
    for journey in follow(captured, flow):
        ordered = _settle_ties(journey, expected)
        result = Result(hops(ordered), tuple(_compare(ordered, expected, exactly=exactly)))
        if best is None or len(result.mismatches) < len(best.mismatches):
            best = result
        if best.passed:
            break
    if best is not None:
        return best
    wanted = " ".join(f"{key}={value}" for key, value in flow.items())
    places = ", ".join(sorted({str(packet.place) for packet in captured})) or "no place"
    return Result((), (f"no packet with {wanted} was seen; {len(captured)} other packets at {places}",))


def follow(packets: Iterable[Packet], flow: Mapping[str, Value | None]) -> list[list[Sighting]]:
    """The journeys of the packets that match the flow at one place at least, earliest first."""
    return [journey for journey in identity.journeys(packets) if any(matches(flow, s) for s in journey)]


def matches(flow: Mapping[str, Value | None], sighting: Sighting) -> bool:
    """The whole packet matches, or one that a tunnel carries."""
    views = [sighting.fields, *(level.fields for level in sighting.levels[1:])]
    return any(all(holds(wanted, view.get(key)) for key, wanted in flow.items()) for view in views)


def holds(wanted: Value | Sequence[Value] | None, saw: Value | None) -> bool:
    """`saw` is what is wanted: equal numbers or text (of any case), an address in a prefix, a pattern; None: absent.
    Of several, one of them."""
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return any(holds(one, saw) for one in wanted)
    if wanted is None or saw is None:
        return wanted is saw
    if isinstance(saw, int):
        try:
            return (wanted if isinstance(wanted, int) else int(wanted, 0)) == saw
        except ValueError:
            return False
    text = str(wanted)
    if text.lower() == saw.lower() or fnmatchcase(saw.lower(), text.lower()):
        return True
    try:  # other spellings of an IPv6 address, and prefixes
        return ip_address(saw) in ip_network(text)
    except ValueError:
        return False


def hops(journey: Sequence[Sighting]) -> tuple[Hop, ...]:
    """A journey as its hops, each with what has changed since the one before."""
    from netlab.lab.capture import changes  # loads scapy, as decoding did

    found = []
    start = journey[0].packet.time_ns
    for before, sighting in zip((None, *journey), journey, strict=False):
        changed = changes.between(before.levels, sighting.levels) if before else ()
        offset = (sighting.packet.time_ns - start) / 1000
        found.append(Hop(sighting.packet.place, sighting.packet.outgoing, offset, sighting.fields, changed))
    return tuple(found)


def _settle_ties(journey: Sequence[Sighting], expected: Sequence[Expected]) -> list[Sighting]:
    """Where time and size are equal (a bridge port and its bridge share one time stamp) the expected order stands."""

    def rank(sighting: Sighting) -> int:
        return next((i for i, e in enumerate(expected) if e.is_at(sighting)), len(expected))

    def key(sighting: Sighting) -> tuple[int, int, int]:
        return *time_order(sighting.packet), rank(sighting)

    return sorted(journey, key=key)


def _compare(journey: Sequence[Sighting], expected: Sequence[Expected], *, exactly: bool) -> list[str]:
    """Walk both lists side by side; an expectation takes the first sighting behind the one before that fits."""
    found: list[str] = []
    used: set[int] = set()
    last, last_name = -1, ""
    for wanted in expected:
        there = [i for i, sighting in enumerate(journey) if i not in used and wanted.is_at(sighting)]
        behind = [i for i in there if i > last]
        if behind:
            # a device may be passed twice: prefer the pass of which everything holds
            last = next((i for i in behind if not wanted.problems(journey[i])), behind[0])
            used.add(last)
            found += wanted.problems(journey[last])
            last_name = str(wanted)
        elif there:
            used.add(there[0])
            early = (journey[last].packet.time_ns - journey[there[0]].packet.time_ns) / 1000
            found.append(f"{wanted}: wrong order: seen {early:.1f} µs before {last_name}, expected behind it")
            found += wanted.problems(journey[there[0]])
        else:
            after = f" (expected behind {last_name})" if last_name else ""
            found.append(f"{wanted}: not seen there{after}; last seen at {journey[-1].packet.place}")
    if exactly:
        found += [f"{s.packet.place}: seen there, not expected" for i, s in enumerate(journey) if i not in used]
    return found
