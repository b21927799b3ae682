"""Times as the API writes them: RFC 3339 in UTC, to the second (Time) or the microsecond (MicroTime)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_RFC3339 = re.compile(r"^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$")


class TimeError(ValueError):
    """Not a time; the text is Go's."""


def parse(text: str) -> datetime:
    """A time of the API. TimeError in the words of Go's time.Parse."""
    if not _RFC3339.match(text):
        layout = "2006-01-02T15:04:05Z07:00"
        raise TimeError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')
    try:
        return datetime.fromisoformat(_six_digits(text)).astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise TimeError(f'parsing time "{text}": {"day" if "day" in str(e) else "value"} out of range') from e


def _six_digits(text: str) -> str:
    match = re.search(r"\.\d+", text)
    if not match:
        return text
    return text[: match.start()] + (match.group() + "000000")[:7] + text[match.end() :]


@lru_cache(4096)  # an object has the same few times all over, and is decoded at every write
def time(text: str) -> str:
    """A Time as it is written again."""
    if len(text) == 20 and text[-1] == "Z" and _RFC3339.match(text):
        parse(text)
        return text
    return parse(text).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(text: str) -> str:
    """A MicroTime as it is written again: always six digits."""
    return parse(text).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(unix: float) -> str:
    """Seconds since 1970 as a Time."""
    return _second(int(unix))


@lru_cache(64)  # within a second a busy process asks a thousand times
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micros(unix: float) -> str:
    """Seconds since 1970 as a MicroTime."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
