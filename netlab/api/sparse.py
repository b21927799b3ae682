"""What a client said, out of what decoding made of it."""

from __future__ import annotations

from typing import Any

from netlab.api import Json


def sparse(decoded: Json, given: Json) -> Json:
    """The decoded object (canonical values) with only the fields that the client gave.

    decoded: after decoding and defaulting; given: the body. Lists have the same length in both, for decoding drops no
    elements.
    """
    found = _only(decoded, given)
    assert isinstance(found, dict)
    return found


def _only(decoded: Any, given: Any) -> Any:
    if isinstance(decoded, dict) and isinstance(given, dict):
        return {k: _only(decoded[k], v) for k, v in given.items() if k in decoded and v is not None}
    if isinstance(decoded, list) and isinstance(given, list) and len(decoded) == len(given):
        return [_only(d, g) for d, g in zip(decoded, given, strict=True)]
    return decoded
