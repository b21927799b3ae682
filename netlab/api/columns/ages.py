"""Durations as columns print them (apimachinery pkg/util/duration)."""

from __future__ import annotations

from netlab.api.times import TimeError, parse

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY


def human(seconds: float) -> str:
    """A duration in two units at most, coarser as it grows."""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    if s < 0:
        return "0s"
    if s < 2 * _MINUTE:
        return f"{s}s"
    minutes = s // _MINUTE
    if minutes < 10:
        rest = s % _MINUTE
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = s // _HOUR
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = s // _DAY
    if hours < 192:
        rest = hours % 24
        return f"{days}d{rest}h" if rest else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = s // _YEAR
    if days < 365 * 8:
        rest = days % 365
        return f"{years}y{rest}d" if rest else f"{years}y"
    return f"{years}y"


def age(stamp: object, now: float) -> str:
    """How long ago a time of the API was; `<unknown>` without one."""
    if not isinstance(stamp, str) or not stamp:
        return "<unknown>"
    try:
        return human(now - parse(stamp).timestamp())
    except TimeError:
        return "<invalid>"
