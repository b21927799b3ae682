"""The garbage collector of a process that keeps much for long: caches of objects, and whatever follows them.

Nearly everything is freed by counting references. Looking for cycles through ten thousand pods every few hundred
allocations, as Python does by default, finds next to nothing.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def looked_for_rarely() -> Iterator[None]:
    """In the body; and never among what is there already, the modules."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
