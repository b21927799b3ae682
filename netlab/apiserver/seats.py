"""Who is answered first when there is more to do than one process can: a seat for every request, by its level.

    system:masters                      no seat is asked for
    Leases: who leads, which node lives SEATS of their own
    everything else                     SEATS, in the order of coming

Without it a thousand nodes that report at once would keep a leader from renewing its Lease: whoever has a seat is
answered soon, whoever has none costs nothing. A cut of the original's priority and fairness, whose FlowSchemas are kept
and not obeyed.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager

from netlab.apiserver.call import Call

#: requests of one level that are answered at once: as many as share a write to the disk with gain
SEATS = 64
EXEMPT = "system:masters"


class Seats:
    """Those of one server."""

    def __init__(self, seats: int = SEATS) -> None:
        self._leases, self._rest = asyncio.Semaphore(seats), asyncio.Semaphore(seats)

    def of(self, call: Call) -> AbstractAsyncContextManager[None]:
        """To be held while the request is answered."""
        if EXEMPT in call.user.groups:
            return contextlib.nullcontext()
        if call.info.group == "coordination.k8s.io":
            return self._leases
        return self._rest
