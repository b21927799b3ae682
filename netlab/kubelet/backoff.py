"""How long something that failed waits: 10 s, twice as long each time, 5 min at most; forgotten after twice that.

The figures and rules are client-go's util/flowcontrol (backoff.go) and the kubelet's. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

#: seconds
FIRST, LAST = 10.0, 300.0
FORGET = 2 * LAST


@dataclass(frozen=True, slots=True)
class Delay:
    """seconds: of the wait after the next failure; since: when it became so long."""

    seconds: float
    since: float


def following(delay: Delay | None, when: float, now: float) -> Delay:
    """The delay once it is tried again. when: the failure that this is about."""
    if delay is None or when - delay.since > FORGET:
        return Delay(FIRST, now)
    return Delay(min(2 * delay.seconds, LAST), now)


def until(delay: Delay | None, when: float) -> float:
    """When it may be tried again after a failure at `when`; 0 for at once."""
    if delay is None or when - delay.since > FORGET:
        return 0.0
    return when + delay.seconds


def spelled(seconds: float) -> str:
    """A duration as Go prints it: 10s, 1m20s, 5m0s."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
