"""Keys as text: which are taken, and where the keys with a prefix begin and end. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from netlab.store.protocol import MAX_KEY, MAX_VALUE, BadKey

#: the last code point, and those that UTF-8 has not
_LAST, _SURROGATES_BEGIN, _SURROGATES_END = 0x10FFFF, 0xD800, 0xE000
#: bytes per character: shorter keys need not be encoded to know that they fit
_UTF8_MAX = 4


def check(key: str, value: bytes = b"") -> None:
    """BadKey if no store would take it."""
    if not key:
        raise BadKey("a key cannot be empty")
    try:
        size = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError as e:
        raise BadKey(f"key {key[:80]!r} is no text: {e.reason} at character {e.start}") from e
    if size > MAX_KEY:
        raise BadKey(f"key {key[:80]!r}… has {size} bytes; at most {MAX_KEY} are taken")
    if len(value) > MAX_VALUE:
        raise BadKey(f"the value of key {key[:80]!r} has {len(value)} bytes; at most {MAX_VALUE} are taken")


def prefix_end(prefix: str) -> str | None:
    """The first text behind all that begin with `prefix`, None if there is none.

    By code points, whose order is that of the UTF-8 bytes (RFC 3629 section 1) as long as there are no surrogates.
    """
    while prefix:
        point = ord(prefix[-1]) + 1
        if point <= _LAST:
            return prefix[:-1] + chr(_SURROGATES_END if _SURROGATES_BEGIN <= point < _SURROGATES_END else point)
        prefix = prefix[:-1]
    return None


def span(keys: Sequence[str], prefix: str, after: str = "") -> tuple[int, int]:
    """Where in the sorted `keys` those begin and end that have the prefix and are behind `after`."""
    end = prefix_end(prefix)
    # "\0" makes the first text behind `after`
    start = bisect_left(keys, max(prefix, after + "\0") if after else prefix)
    return start, len(keys) if end is None else max(start, bisect_left(keys, end))
