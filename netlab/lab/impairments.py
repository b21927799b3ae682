"""What a user says of a bad link, as queueing disciplines: rate by tbf, everything else by netem."""

from __future__ import annotations

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
