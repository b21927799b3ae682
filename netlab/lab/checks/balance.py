"""balance: many connections to one address, and who of those behind it answers how often."""

from __future__ import annotations

import asyncio
from collections import Counter

from netlab.base.patience import patience
from netlab.lab.checks.result import Context, NotYet
from netlab.lab.checkspec import Balance

#: connections at a time: more would wait for the servers, which have one thread each
AT_ONCE = 20
#: seconds to wait for one answer: many ask at once, and SYNs that were lost are sent anew after one and three
PATIENCE = 5.0
#: wrong answers, or none, after which no more is asked
ENOUGH = 3
#: a fair choice is found unfair once in a million times: the standard normal deviate of that
_DEVIATE = 4.75


async def balance(spec: Balance, context: Context) -> str:
    """NotYet unless each of them, and nobody else, answers as often as chance would have it."""
    netns, probes = context.netns(spec.from_), context.machine.probes()
    to, among = context.address(spec.to), context.among(spec.among)
    room = asyncio.Semaphore(AT_ONCE)
    counted: Counter[str] = Counter()

    async def ask() -> None:
        async with room:
            if sum(counted[name] for name in counted if name not in among) >= ENOUGH:
                return
            answer = await probes.http(netns, to, spec.http, path=context.whoami, timeout=patience(PATIENCE))
        who = context.server(answer.body, answer.headers) if answer.outcome == "answered" else answer.outcome
        counted[who] += 1

    await asyncio.gather(*(ask() for _ in range(spec.connections)))
    said = ", ".join(f"{name} {counted[name]}" for name in sorted({*counted, *among}))
    text = f"of {counted.total()} connections {spec.from_} → {spec.to} http {spec.http}: {said}"
    if set(counted) - set(among):
        raise NotYet(f"{text}; only {', '.join(among)} should answer")
    if unfairness(counted, among) > limit(len(among)):
        raise NotYet(f"{text}; chance alone does not make that of equal shares")
    return text


def unfairness(counted: Counter[str], among: list[str]) -> float:
    """Pearson's chi-square against equal shares."""
    expected = sum(counted.values()) / len(among)
    return sum((counted[name] - expected) ** 2 / expected for name in among)


def limit(sides: int) -> float:
    """What a fair die of so many sides exceeds once in a million times (Wilson and Hilferty's approximation)."""
    free = sides - 1
    if free == 0:
        return 0.0
    return float(free * (1 - 2 / (9 * free) + _DEVIATE * (2 / (9 * free)) ** 0.5) ** 3)
