"""How long a test waits for what has to come: longer in a VM, which may be emulated at a tenth of a processor's speed."""

import os

_SLOWNESS = 6 if "NETLAB_VM" in os.environ else 1


def patience(seconds: float) -> float:
    """Seconds until a wait is given up, from those that are plenty on a machine of its own."""
    return seconds * _SLOWNESS
