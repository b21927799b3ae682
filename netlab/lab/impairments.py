"""What a user says of a bad link, as queueing disciplines: rate by tbf, everything else by netem."""

from __future__ import annotations

from collections.abc import Iterable

from netlab.lab.schema import Impair
from netlab.model import Netem, Tbf

#: bytes that may pass at once: 10 ms at the rate, but never less than two full frames with their headers
BURST_SECONDS, BURST_MIN = 0.01, 3200
#: bytes that may wait: 50 ms at the rate, so that a shaped link shows a queue but not seconds of it
QUEUE_SECONDS = 0.05


def qdiscs(spec: Impair) -> tuple[Tbf | Netem, ...]:
    """The disciplines of one interface, the root first. ValueError for what makes no sense together."""
    if (spec.jitter or spec.reorder) and not spec.delay:
        raise ValueError("jitter and reorder need a delay: only what waits can come early or late")
    found: list[Tbf | Netem] = []
    if spec.delay or spec.loss or spec.duplicate or spec.reorder or spec.corrupt:
        found.append(
            Netem(
                delay=spec.delay or 0,
                jitter=spec.jitter or 0,
                loss=spec.loss or 0.0,
                duplicate=spec.duplicate or 0.0,
                reorder=spec.reorder or 0.0,
                corrupt=spec.corrupt or 0.0,
            )
        )
    if spec.rate:
        octets = spec.rate // 8
        burst = max(BURST_MIN, round(octets * BURST_SECONDS))
        found.append(Tbf(rate=spec.rate, burst=burst, limit=burst + max(BURST_MIN, round(octets * QUEUE_SECONDS))))
    return tuple(found)


def words(kinds: Iterable[Tbf | Netem]) -> str:
    """Disciplines as a person would say them: `10 Mbit/s, delay 50 ms ± 5 ms, loss 1%`."""
    said: list[str] = []
    for kind in kinds:
        if isinstance(kind, Tbf):
            said.insert(0, _bits(kind.rate))
            continue
        if kind.delay:
            said.append(f"delay {_time(kind.delay)}" + (f" ± {_time(kind.jitter)}" if kind.jitter else ""))
        shares = {name: getattr(kind, name) for name in ("loss", "duplicate", "reorder", "corrupt")}
        said += [f"{name} {share:g}%" for name, share in shares.items() if share]
    return ", ".join(said)


def _bits(rate: int) -> str:
    for unit, size in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if rate >= size:
            return f"{rate / size:g} {unit}"
    return f"{rate} bit/s"


def _time(microseconds: int) -> str:
    for unit, size in (("s", 10**6), ("ms", 10**3)):
        if microseconds >= size:
            return f"{microseconds / size:g} {unit}"
    return f"{microseconds} µs"
