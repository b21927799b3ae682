"""matrix: who opens a connection to whom, every pair at once."""

from __future__ import annotations

import asyncio
from itertools import permutations

from netlab.base.patience import patience
from netlab.lab.checks.reach import PATIENCE
from netlab.lab.checks.result import CannotProbe, Context, NotYet
from netlab.lab.checkspec import MatrixCheck

#: wrong pairs that are told
TOLD = 6


async def matrix(spec: MatrixCheck, context: Context) -> str:
    """NotYet with the pairs that are otherwise than they should be. CannotProbe if somebody does not serve at all: that
    he is not reached would prove nothing."""
    netns = {name: context.netns(name) for name in spec.among}
    address = {name: context.addresses(name)[0] for name in spec.among}
    probes = context.machine.probes()

    async def opens(source: str, target: str) -> bool:
        answer = await probes.tcp(netns[source], address[target], spec.tcp, timeout=patience(PATIENCE))
        return answer.outcome == "answered"

    at_home = await asyncio.gather(*(opens(name, name) for name in spec.among))
    deaf = [name for name, answers in zip(spec.among, at_home, strict=True) if not answers]
    if deaf:
        raise CannotProbe(f"{', '.join(deaf)} does not answer tcp {spec.tcp} even from inside")
    pairs = list(permutations(spec.among, 2))
    found = await asyncio.gather(*(opens(a, b) for a, b in pairs))
    wrong = [
        f"{a} → {b} {'must not' if reached else 'must'}"
        for (a, b), reached in zip(pairs, found, strict=True)
        if reached != (b in spec.allowed.get(a, ()))
    ]
    if wrong:
        more = f" and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
        raise NotYet(f"tcp {spec.tcp}: {'; '.join(wrong[:TOLD])}{more}")
    return f"tcp {spec.tcp}: {sum(found)} of {len(pairs)} pairs, as asked for"
