"""Quantities: `500m`, `1Gi`, `2e3`. Canonical form as apimachinery's resource.Quantity writes it.

No fraction, the largest suffix of the family that leaves none (binary, decimal or exponent, as the input had it),
precision down to nano, rounded up.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

_FORM = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX = {v: k for k, v in _DECIMAL.items()}
_MAX = Decimal(2**63 - 1)
#: digits of an exponent that are looked at: beyond, the value is capped or rounded up anyway
_EXPONENT_MAX = 40


class QuantityError(ValueError):
    """Not a quantity; the text is the original's."""

    def __init__(self) -> None:
        super().__init__("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")


def _parts(text: str) -> tuple[Decimal, str]:
    match = _FORM.match(text) if len(text) <= 256 else None
    if not match:
        raise QuantityError
    sign, digits, suffix = match[1], match[2], match[3] or ""
    number = Decimal(sign + digits)
    if suffix in _BINARY:
        return number * 1024 ** _BINARY[suffix], "Ki"
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix]), ""
    exponent = max(-_EXPONENT_MAX, min(_EXPONENT_MAX, int(suffix[1:])))
    return number.scaleb(exponent), "e"


@lru_cache(4096)
def value(text: str) -> Decimal:
    """The number that a quantity stands for. QuantityError."""
    return _parts(text)[0]


@lru_cache(4096)
def canonical(text: str) -> str:
    """The quantity as the API writes it. QuantityError."""
    number, family = _parts(text)
    if abs(number) > _MAX:
        number = _MAX.copy_sign(number)
    return format_(number, family)


def format_(number: Decimal, family: str = "") -> str:
    """A number as a quantity. family: "Ki" binary, "" decimal, "e" with exponents."""
    if not number:
        return "0"
    if family == "Ki" and (abs(number) < 1024 or number != number.to_integral_value()):
        family = ""
    if family == "Ki":
        whole, power = int(number), 0
        while whole % 1024 == 0 and power < 6:
            whole //= 1024
            power += 1
        return f"{whole}{next((k for k, v in _BINARY.items() if v == power), '')}"
    sign = -1 if number < 0 else 1
    nano = sign * int((abs(number).scaleb(9)).to_integral_value(rounding=ROUND_CEILING))
    power = -9
    while nano % 1000 == 0 and power < 18:
        nano //= 1000
        power += 3
    if family == "e":
        return f"{nano}e{power}" if power else str(nano)
    return f"{nano}{_SUFFIX[power]}"
