"""The probes of the matrix, sent: each until it passes or the time is over. What was seen last is told.

Packets are somebody else's business: this is handed `netlab.lab.machine.Probes`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netlab.base.addresses import Address
from netlab.base.patience import patience
from netlab.cluster.matrix import LONG, Ask, Connect, Echo, Get, Probe
from netlab.dns import asking, message
from netlab.lab.machine import Answer, Probes

#: seconds that one answer may take, between two tries, and how many probes are under way at once
ANSWER, AGAIN, AT_ONCE = 3.0, 0.1, 16
#: requests until every endpoint should have answered: of four, one is missed by chance once in 10¹²
REQUESTS = 100
DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Seen:
    """How a probe ended. failure: what was seen instead; empty if it passed."""

    probe: Probe
    failure: str


async def seen(
    probes: Sequence[Probe], sender: Probes, *, limit: float, progress: Callable[[str, int], None]
) -> list[Seen]:
    """All probes, in their order. limit: seconds in which they have to pass; each is tried at least once."""
    loop = asyncio.get_running_loop()
    end, turns, left = loop.time() + limit, asyncio.Semaphore(AT_ONCE), len(probes)

    async def one(probe: Probe) -> Seen:
        nonlocal left
        while True:
            async with turns:
                failure = await _tried(probe, sender)
            if not failure or loop.time() > end:
                left -= 1
                progress("probes", left)
                return Seen(probe, failure)
            await asyncio.sleep(AGAIN)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(probe)) for probe in probes]
    return [task.result() for task in tasks]


async def _tried(probe: Probe, sender: Probes) -> str:
    """What is wrong, or nothing."""
    where = probe.source.netns
    match probe.what:
        case Echo(to, size, whole, fits):
            more = {"whole": True} if whole else {}
            answer = await sender.icmp(where, to, timeout=patience(ANSWER), size=size, **more)
            if fits:
                return _failed(answer, to)
            return "" if "too long" in answer.detail.lower() else f"it was not refused, but {_said(answer)}"
        case Connect(to, port):
            return _failed(await sender.tcp(where, to, port, timeout=patience(ANSWER)), to, port)
        case Get() as get:
            return await _got(get, where, sender)
        case Ask() as ask:
            return await _asked(ask, where, sender)


def _said(answer: Answer) -> str:
    return f"{answer.outcome} ({answer.detail})" if answer.detail not in ("", answer.outcome) else answer.outcome


def _failed(answer: Answer, to: Address, port: int = 0) -> str:
    at = f"{to} port {port}" if port else str(to)
    return "" if answer.outcome == "answered" else f"{at}: {_said(answer)}"


async def _got(get: Get, where: str, sender: Probes) -> str:
    missing = set(get.answers)
    for _ in range(REQUESTS):
        path = "/long" if get.long else "/cgi-bin/who"
        answer = await sender.http(where, get.to, get.port, path=path, timeout=patience(ANSWER))
        if failure := _failed(answer, get.to, get.port):
            return failure
        if get.long:
            came = len(answer.body)
            return "" if came == LONG else f"{came} of {LONG} octets came of {get.to} port {get.port}"
        words = answer.body.split()
        if len(words) != 2 or words[0] not in get.answers:
            return f"{get.to} port {get.port}: {' '.join(words)[:80]!r} answered"
        name, client = words
        # of a socket that serves both families
        client = client.removeprefix("[").removesuffix("]").removeprefix("::ffff:")
        if get.client is not None and name != get.own and client != str(get.client):
            return f"{name} saw {client} as the one who asks, not {get.client}"
        missing.discard(name)
        if not missing:
            return ""
    return f"{get.to} port {get.port}: {', '.join(sorted(missing))} did not answer one of {REQUESTS} requests"


async def _asked(ask: Ask, where: str, sender: Probes) -> str:
    question = message.question(ask.name, ask.type, secrets.randbelow(1 << 16))
    got = await sender.exchange(where, ask.server, DNS_PORT, question, timeout=patience(ANSWER))
    if got is None:
        return f"{ask.server} does not answer"
    told = asking.said(ask.type, got)
    data = {record.data for record in told.records}
    return (
        "" if data == ask.answers else f"{', '.join(sorted(data)) or told.status}, not {', '.join(sorted(ask.answers))}"
    )
