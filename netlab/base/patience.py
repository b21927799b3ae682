"""How long is long: what is plenty on most machines is a moment on one whose processor is emulated.

NETLAB_PATIENCE=N in the environment makes netlab wait N times as long for answers and for what it started, in labs and
their checks. `netlab vm run` says so to its guest where it emulates the processor. What a user asked for in seconds
(`--timeout`) is not touched.
"""

from __future__ import annotations

import os
import time

from netlab.base.errors import InputError

VARIABLE = "NETLAB_PATIENCE"
#: of a wait, the part that is spent with looking whether it is over; and seconds between two looks at the most
_SHARE, _LONGEST = 0.2, 1.0


def factor() -> float:
    """By what every wait is multiplied, 1 if nobody says otherwise. InputError for what is no number from 1 to 100."""
    given = os.environ.get(VARIABLE, "1")
    try:
        found = float(given)
    except ValueError:
        found = 0.0
    if not 1 <= found <= 100:
        raise InputError(f"{VARIABLE}={given}: expected a number from 1 to 100", hint=f"unset {VARIABLE}")
    return found


def patience(seconds: float) -> float:
    """Seconds until a wait is given up here, from those that are plenty on most machines."""
    return seconds * factor()


def rest(began: float, least: float) -> float:
    """Seconds until the next look at what others have to get done: `least`, or more where looking takes long.

    began: when the last look did, by the monotonic clock. Who looks all the time keeps those that it waits for from the
    processor, which on an emulated one makes the wait twice as long.
    """
    took = time.monotonic() - began
    return max(least, min(took / _SHARE - took, _LONGEST))
