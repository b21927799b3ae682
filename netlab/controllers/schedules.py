"""When a CronJob is due. Pure: a schedule's text, a time zone, and times in seconds since 1970.

Times are those of clocks on the wall: what is due in an hour that a clock skips runs at its end. Source: kubernetes
pkg/controller/cronjob/utils.go. Beside the five fields there are `@hourly` and its like, and `@every 1h30m`.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

#: missed times after which somebody is told
MANY = 100
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class ScheduleError(ValueError):
    """What is wrong with a schedule."""


class ZoneError(ValueError):
    """There is no such time zone."""


class Schedule(Protocol):
    """Times that come again."""

    def after(self, seconds: float) -> float:
        """The first one later than this."""


class _Cron:
    def __init__(self, text: str, zone: datetime.tzinfo) -> None:
        self._text, self._zone = text, zone

    def after(self, seconds: float) -> float:
        start = datetime.datetime.fromtimestamp(seconds, self._zone)
        found: datetime.datetime = croniter(self._text, start).get_next(datetime.datetime)
        return found.timestamp()


class _Every:
    def __init__(self, seconds: float) -> None:
        self._every = max(1.0, float(int(seconds)))

    def after(self, seconds: float) -> float:
        return float(int(seconds)) + self._every


def zone_of(name: str | None) -> datetime.tzinfo:
    """The time zone of a name; UTC for none. ZoneError."""
    if not name:
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise ZoneError(f"unknown time zone {name}") from e


def parse(text: str, zone: datetime.tzinfo) -> Schedule:
    """A schedule. ScheduleError."""
    if text.startswith("@every "):
        given = text.removeprefix("@every ").strip()
        parts = _PART.findall(given)
        if not parts or "".join(number + unit for number, unit in parts) != given:
            raise ScheduleError(f"failed to parse duration {text}")
        return _Every(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if not text.startswith("@") and len(text.split()) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(text.split())}: [{text}]")
    try:
        croniter(text)
    except CroniterError as e:
        raise ScheduleError(str(e)) from e
    return _Cron(text, zone)


class Due(NamedTuple):
    """at: the last time that came and has not been heeded, None if there is none; next: the first that is to come;
    missed: how many have come, MANY if they are more."""

    at: float | None
    next: float
    missed: int


def due(schedule: Schedule, *, since: float, now: float, deadline: float | None) -> Due:
    """What is due. since: when it last ran, or was made; deadline: seconds after which a time is past and forgotten."""
    earliest = since if deadline is None else max(since, now - deadline)
    at = schedule.after(earliest)
    if at > now:
        return Due(None, at, 0)
    following = schedule.after(at)
    if following > now:
        return Due(at, following, 1)
    missed = 2
    while missed < MANY and (later := schedule.after(following)) <= now:
        following, missed = later, missed + 1
    if missed >= MANY:
        following = _last(schedule, following, now)
    return Due(following, schedule.after(now), missed)


def _last(schedule: Schedule, known: float, now: float) -> float:
    """The last time up to now: nearer and nearer, for there may have been many."""
    low, high = known, now
    while high - low > 1:
        middle = (low + high) / 2
        found = schedule.after(middle)
        if found <= now:
            low = found
        else:
            high = middle
    following = schedule.after(low)
    return following if following <= now else low
