"""object and kubectl: what a cluster's API says, asked for as objects, or by the person's own kubectl."""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import Any

from netlab.api import jsonpath
from netlab.base.patience import patience
from netlab.lab.checks.result import Context, NotYet
from netlab.lab.checkspec import KubectlCheck, ObjectCheck

#: seconds that one kubectl may take
KUBECTL = 20.0
#: objects that are told of, where some are not as they should be
TOLD = 4


async def find(spec: ObjectCheck, context: Context) -> str:
    """NotYet unless the objects are there, and like that."""
    cluster = context.cluster
    if spec.name is not None:
        name = context.text(spec.name)
        one = await cluster.get(spec.kind, name, namespace=spec.namespace)
        said = f"{spec.kind} {name}"
        if (one is None) != spec.absent:
            raise NotYet(f"{said} is {'not there' if one is None else 'there'}")
        wrong = _differences(spec, one, context) if one is not None else []
        if wrong:
            raise NotYet(f"{said}: {'; '.join(wrong)}")
        return f"{said} is {'not ' * spec.absent}there" + _shown(spec, context)
    listed = await cluster.all(spec.kind, namespace=spec.namespace, selector=context.text(spec.selector or ""))
    judged = [(obj["metadata"]["name"], _differences(spec, obj, context)) for obj in listed]
    fitting = [name for name, wrong in judged if not wrong]
    what = f"{spec.kind} {spec.selector or ''}".strip() + (f" like that, of {len(listed)}" if spec.has else "")
    others = [f"{name}: {'; '.join(wrong)}" for name, wrong in judged if wrong]
    told = "".join(f"; {text}" for text in others[:TOLD])
    if spec.absent:
        if fitting:
            raise NotYet(f"there is {', '.join(fitting)}")
        return f"no {what}"
    if spec.count is not None or spec.least is not None:
        enough = len(fitting) == spec.count if spec.count is not None else len(fitting) >= (spec.least or 0)
        if not enough:
            wanted = spec.count if spec.count is not None else f"at least {spec.least}"
            raise NotYet(f"{len(fitting)} {what}, not {wanted}{told}")
        return f"{len(fitting)} {what}"
    if others or not fitting:
        raise NotYet(f"{len(fitting)} {what}{told}")
    return f"{len(fitting)} {what}" + _shown(spec, context)


def _shown(spec: ObjectCheck, context: Context) -> str:
    return "".join(f", {path} {_wanted(_said(value, context))}" for path, value in spec.has.items())


def _differences(spec: ObjectCheck, obj: dict[str, Any], context: Context) -> list[str]:
    """What is not as it should be of an object."""
    found = []
    for path, wanted in spec.has.items():
        values = jsonpath.find(obj, path)
        should = _said(wanted, context)
        if not fits(should, values):
            there = ", ".join(map(_word, values)) if values else "not there"
            found.append(f"{path} is {there}, not {_wanted(should)}")
    return found


def _said(wanted: Any, context: Context) -> Any:
    """With the addresses of places where a text has them."""
    if isinstance(wanted, str):
        return context.text(wanted)
    if isinstance(wanted, list):
        return [_said(one, context) for one in wanted]
    return wanted


def fits(wanted: Any, values: list[Any]) -> bool:
    """Whether what a path leads to is what a check wants, see `ObjectCheck`."""
    if wanted is None:
        return not values
    if isinstance(wanted, list):
        return list(map(_word, values)) == list(map(_word, wanted))
    if not isinstance(wanted, dict):
        return len(values) == 1 and _word(values[0]) == _word(wanted)
    (kind, operand), *_ = wanted.items()
    match kind:
        case "matches":
            return len(values) > 0 and all(re.search(str(operand), _word(value)) for value in values)
        case "not":
            return _word(operand) not in map(_word, values)
        case "least":
            return len(values) == 1 and _number(values[0]) >= float(operand)
        case _:
            return len(values) == 1 and _number(values[0]) <= float(operand)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")  # neither more nor less than anything


def _word(value: Any) -> str:
    """YAML's 3 and the API's "3" are the same to whoever reads them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _wanted(wanted: Any) -> str:
    if wanted is None:
        return "absent"
    if isinstance(wanted, dict):
        (kind, operand), *_ = wanted.items()
        return f"{ {'matches': 'matching', 'least': 'at least', 'most': 'at most'}.get(kind, kind) } {_word(operand)}"
    return ", ".join(map(_word, wanted)) if isinstance(wanted, list) else _word(wanted)


async def kubectl(spec: KubectlCheck, context: Context) -> tuple[str, dict[str, Any]]:
    """NotYet unless kubectl prints what it should."""
    words = shlex.split(context.text(spec.run))
    status, output = await asyncio.to_thread(context.cluster.kubectl, words, timeout=patience(KUBECTL))
    lines = output.splitlines()
    if status != spec.status:
        raise NotYet(f"kubectl {spec.run}: status {status}, not {spec.status}: {lines[-1] if lines else 'no output'}")
    at = 0
    for expression in spec.lines:
        wanted = context.text(expression)
        found = next((i for i in range(at, len(lines)) if re.search(wanted, lines[i])), None)
        if found is None:
            raise NotYet(f"kubectl {spec.run}: no line matches {wanted!r}" + (f" after line {at}" if at else ""))
        at = found + 1
    for expression in map(context.text, spec.absent):
        line = next((line for line in lines if re.search(expression, line)), None)
        if line is not None:
            raise NotYet(f"kubectl {spec.run}: {line.strip()!r} matches {expression!r}")
    return f"kubectl {spec.run}: {len(spec.lines)} lines as expected", {"output": lines}
