"""Run checks: all that may run together do, each retried until it holds or its time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from netlab.base.errors import NetlabError
from netlab.base.patience import patience
from netlab.lab.checks import balance, journey, matrix, objects, reach, routing, tables
from netlab.lab.checks.result import CannotProbe, Context, NotYet, Result
from netlab.lab.checkspec import Check


def run_all(
    checks: Sequence[Check],
    context: Context,
    *,
    place: Callable[[int], str] = lambda _i: "",
    done: Callable[[Result], None] = lambda _r: None,
) -> list[Result]:
    """Evaluate checks; results in the checks' order. place: of a check by its position; done: called as each ends."""
    return asyncio.run(_run_all(checks, context, place, done))


async def _run_all(
    checks: Sequence[Check], context: Context, place: Callable[[int], str], done: Callable[[Result], None]
) -> list[Result]:
    results: dict[int, Result] = {}

    async def one(i: int) -> None:
        results[i] = await _evaluate(checks[i], context, place(i))
        done(results[i])

    # what looks at tables comes after what fills them; paths and balances want nothing else to move meanwhile
    first = [i for i, c in enumerate(checks) if c.reach or c.deny or c.object or c.kubectl]
    alone = [i for i, c in enumerate(checks) if c.path or c.balance]
    tables_ = [i for i in range(len(checks)) if i not in {*first, *alone}]
    async with context.opened():
        await asyncio.gather(*(one(i) for i in first))
        for i in alone:
            await one(i)
        await asyncio.gather(*(one(i) for i in tables_))
    return [results[i] for i in range(len(checks))]


def title(check: Check) -> str:
    """The check's name, or one made of what it says."""
    if check.name:
        return check.name
    kind = check.kinds[0]
    spec = getattr(check, kind)
    if kind == "balance":
        return f"balance {spec.from_} → {spec.to} http {spec.http}"
    if kind in ("reach", "deny"):
        return f"{kind} {spec.from_} → {spec.to} {reach.words(spec)}"
    if kind == "path":
        return f"path {spec.probe.from_} → {spec.probe.to} {reach.words(spec.probe)}"
    if kind == "matrix":
        return f"matrix of {', '.join(spec.among)} tcp {spec.tcp}"
    if kind == "dns":
        return f"dns {spec.from_}: {spec.name} {spec.type}"
    if kind == "object":
        return f"object {spec.kind} {spec.name or spec.selector or 'in ' + spec.namespace}"
    said = spec.model_dump(exclude_none=True, exclude_defaults=True)
    return f"{kind} " + " ".join(str(v) for v in said.values() if not isinstance(v, list | dict))


async def _evaluate(check: Check, context: Context, place: str) -> Result:
    started = time.monotonic()
    end = started + patience(check.within)
    name, words = title(check), check.model_dump_json()

    def result(outcome: Any, detail: str, more: dict[str, Any] | None = None) -> Result:
        hint = check.hint if outcome != "passed" else None
        return Result(name, outcome, detail, time.monotonic() - started, place, hint, more or {})

    while True:
        try:
            await context.look(words)
            detail, more = await _once(check, context)
            return result("passed", detail, more)
        except CannotProbe as e:
            last = result("unprobed", e.message)
        except NotYet as e:
            last = result("failed", e.message)
        except NetlabError as e:
            return result("unprobed", e.message)
        if time.monotonic() + context.pause > end:
            return last
        await asyncio.sleep(context.pause)


async def _once(check: Check, context: Context) -> tuple[str, dict[str, Any]]:
    if check.path:
        return await journey.path(check.path, context)
    if check.reach:
        return await reach.reach(check.reach, context), {}
    if check.deny:
        return await reach.deny(check.deny, context), {}
    if check.matrix:
        return await matrix.matrix(check.matrix, context), {}
    if check.object:
        return await objects.find(check.object, context), {}
    if check.kubectl:
        return await objects.kubectl(check.kubectl, context)
    if check.dns:
        from netlab.lab.checks import names  # what it needs of the DNS takes 40 ms to import

        return await names.dns(check.dns, context), {}
    if check.balance:
        return await balance.balance(check.balance, context), {}
    kind = check.kinds[0]
    if check.bgp:
        return await asyncio.to_thread(routing.bgp, check.bgp, context), {}
    look: Callable[[Any, Context], str] = getattr(tables, kind)
    return look(getattr(check, kind), context), {}
