"""One's complement sums of many rows at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.int64]

_CARRY = np.uint64((1 << 32) - 1)
_HALF = np.uint64(32)


def pitch(size: int) -> int:
    """The least multiple of 8 that holds a row: what `row_sums` needs."""
    return (size + 7) & ~7


def complements(rows: Bytes) -> Words:
    """Minus the sum of each row's 16-bit words in the machine's byte order, to be taken modulo 65535: a row whose
    checksum is right has zero, and one whose checksum is yet zero has that. Shape (n, p) to (n,).

    p: a multiple of 8; rows aligned to 8 and contiguous, at most 2**32 bytes long. A sum in the other byte order is the
    same number with its bytes swapped, so what is stored in the machine's order is right on the wire (RFC 1071
    section 2).

    Adding 64-bit words is 3 times faster than widening 16-bit ones, but loses what overflows. The sum of the upper
    halves alone, which cannot overflow, brings it back: the lower halves' sum is the difference. Shifting them down
    first is one pass more, and still faster than a sum that widens every other 32-bit word.
    """
    words = rows.view(np.uint64)
    wrapped = np.add.reduce(words, axis=1)
    upper = np.add.reduce(words >> _HALF, axis=1)
    # lower + upper, with lower = wrapped - (upper << 32), in two steps instead of three
    upper *= _CARRY
    upper -= wrapped
    found: Words = upper.view(np.int64)
    return found


def swapped(word: int) -> int:
    """A 16-bit word from network order to the machine's."""
    return (word >> 8 | word << 8) & 0xFFFF
