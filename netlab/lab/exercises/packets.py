"""Is it in the capture? The packets that an exercise asks for, looked up in what the learner has captured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netlab.lab.capture import path
from netlab.lab.capture.identity import Sighting
from netlab.lab.capture.packet import Packet
from netlab.lab.exercises.spec import Finding, Pcap


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. detail: the way that the packet took, or what the nearest packet lacks."""

    title: str
    passed: bool
    detail: str


def grade(pcap: Pcap, packets: Iterable[Packet]) -> list[Found]:
    """One outcome for each finding, in their order. InputError if the packets come from a file that is unsound."""
    captured = list(packets)
    places = {str(packet.place) for packet in captured}
    after = 0
    out = []
    for finding in pcap.findings:
        found, time = _look(finding, captured, places, after)
        out.append(found)
        after = time if time and pcap.ordered else after
    return out


def _look(finding: Finding, captured: Sequence[Packet], places: set[str], after: int) -> tuple[Found, int | None]:
    """The finding's outcome, and the time of its packet (nanoseconds) if it is there."""
    needed = {hop.at for hop in finding.at} | {*finding.also_at, *finding.not_at}
    deaf = sorted(needed - places)
    if deaf:
        there = ", ".join(sorted(places)) or "nothing"
        return Found(finding.title, False, f"the file has no packet of {', '.join(deaf)}; it has {there}"), None
    best: list[str] | None = None
    for journey in path.follow(captured, finding.where):
        time = journey[0].packet.time_ns
        if time <= after:
            continue
        result = path.check([s.packet for s in journey], finding.where, _expected(finding))
        problems = [*result.mismatches, *_elsewhere(finding, journey)]
        if not problems:
            return Found(finding.title, True, " → ".join(str(hop.place) for hop in result.hops)), time
        if best is None or len(problems) < len(best):
            best = problems
    wanted = " ".join(f"{key}={value}" for key, value in finding.where.items())
    later = " behind the one before" if after else ""
    return Found(finding.title, False, "; ".join(best) if best else f"no packet with {wanted}{later}"), None


def _expected(finding: Finding) -> list[path.Expected]:
    return [path.Expected(hop.at, hop.where, hop.outgoing) for hop in finding.at]


def _elsewhere(finding: Finding, journey: Iterable[Sighting]) -> list[str]:
    seen = {str(sighting.packet.place) for sighting in journey}
    missed = [f"{place}: not seen there" for place in finding.also_at if place not in seen]
    return [*missed, *(f"{place}: seen there, though it should not be" for place in finding.not_at if place in seen)]
