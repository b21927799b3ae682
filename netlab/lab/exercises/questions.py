"""What does the packet carry? netlab sends one, watches it pass, and reads the right answer off what it captured."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from netlab.base.addresses import parse_mac
from netlab.base.errors import InputError
from netlab.lab.capture import path
from netlab.lab.capture.identity import Sighting
from netlab.lab.checks import Context, reach
from netlab.lab.checks.journey import taps, watch
from netlab.lab.checks.result import CannotProbe
from netlab.lab.exercises.spec import Question


def answer(question: Question, context: Context) -> str:
    """The right answer, from a packet. CannotProbe if none passed: a lab that is broken has no answer."""
    return asyncio.run(_answer(question, context))


async def _answer(question: Question, context: Context) -> str:
    async with context.opened():
        await context.look(question.model_dump_json())
        return await _observed(question, context)


async def _observed(question: Question, context: Context) -> str:
    family = question.probe.family or 4
    to = next((a for a in reach.targets(question.probe, context) if a.version == family), None)
    if to is None:
        raise CannotProbe(f"{question.probe.to} has no IPv{family} address")
    places, devices = taps([question.at], context)
    try:
        packets = await watch(context, question.probe, to, places, devices)
    except OSError as e:
        raise CannotProbe(f"cannot watch {question.at}: {e}") from e
    where = context.where(question.where)
    for sighting in map(Sighting.of, packets):
        if path.matches(where, sighting) and question.field in sighting.fields:
            return str(sighting.fields[question.field])
    wanted = " ".join(f"{key}={value}" for key, value in question.where.items())
    raise CannotProbe(
        f"no packet with {wanted} passed {question.at} while netlab sent its {reach.words(question.probe)}",
        hint=f"is the lab as it should be? netlab lab check {context.record.name}",
    )


def right(given: str, truth: str) -> bool:
    """Whether an answer says the same: MACs in any spelling, addresses and numbers by value, text in any case."""
    words = given.strip().strip(".").lower()
    if not words:
        raise InputError("the answer is empty", hint="--answer TEXT")
    return _normal(words) == _normal(truth.lower())


def _normal(text: str) -> object:
    for reading in (lambda t: parse_mac(t.replace("-", ":")), ip_address, lambda t: int(t, 0)):
        try:
            return reading(text)
        except ValueError:
            continue
    return " ".join(text.split())
