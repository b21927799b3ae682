"""x-kubernetes-validations: the rules of a schema, over what an object is and what it was.

A rule that speaks of `oldSelf` holds for changes only: it is skipped where nothing was before. Times, durations and
bytes are text in expressions (`timestamp(self.at)`). Source: apiextensions-apiserver pkg/apiserver/schema/cel.
"""

from __future__ import annotations

from typing import Any

from netlab.api import Json, cel
from netlab.api.fielderrors import FieldError
from netlab.api.validation.crd_rules import MISSING as MISSING
from netlab.api.validation.crd_rules import program_of, values_of

_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")


def has_rules(schema: Any) -> bool:
    """Whether a schema has any rule."""
    if isinstance(schema, dict):
        return "x-kubernetes-validations" in schema or any(has_rules(v) for v in schema.values())
    return isinstance(schema, list) and any(has_rules(v) for v in schema)


def check(value: Any, old: Any, schema: Json, path: str = "") -> list[FieldError]:
    """What of an object breaks a rule. old: what is replaced, MISSING where nothing was."""
    found: list[FieldError] = []
    for rule in schema.get("x-kubernetes-validations") or ():
        found += _broken(rule, value, old, schema, path)
    match value:
        case dict():
            properties = schema.get("properties") or {}
            extra = schema.get("additionalProperties")
            before = old if isinstance(old, dict) else {}
            for name, inner in value.items():
                known = properties.get(name)
                if isinstance(known, dict):
                    found += check(inner, before.get(name, MISSING), known, f"{path}.{name}" if path else name)
                elif isinstance(extra, dict):
                    found += check(inner, before.get(name, MISSING), extra, f"{path}[{name}]")
        case list() if isinstance(schema.get("items"), dict):
            was = _by_key(old, schema)
            for i, inner in enumerate(value):
                found += check(inner, was.get(_key(inner, schema), MISSING), schema["items"], f"{path}[{i}]")
        case _:
            pass
    return found


def _key(element: Any, schema: Json) -> Any:
    """What an element of a list of type map is known by, None in other lists."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(element, dict):
        return None
    return tuple(repr(element.get(k)) for k in schema.get("x-kubernetes-list-map-keys") or ())


def _by_key(old: Any, schema: Json) -> dict[Any, Any]:
    if not isinstance(old, list):
        return {}
    return {key: element for element in old if (key := _key(element, schema)) is not None}


def _broken(rule: Json, value: Any, old: Any, schema: Json, path: str) -> list[FieldError]:
    field, detail = (path or "<nil>") + (rule.get("fieldPath") or ""), ""
    try:
        program = program_of(rule)
        if program.uses("oldSelf") and old is MISSING and not rule.get("optionalOldSelf"):
            return []
        values = values_of(value, old, schema)
        if program(values) is True:
            return []
        detail = _message(rule, values) or rule.get("message") or f"failed rule: {rule['rule'].strip()}"
    except cel.CelError as e:
        detail = f"{e} evaluating rule: {rule.get('message') or rule['rule'].strip()}"
    reason = rule.get("reason")
    field = field.removeprefix("<nil>.")
    return [FieldError(reason if reason in _REASONS else _REASONS[0], field, detail, schema.get("type", ""))]


def _message(rule: Json, values: Json) -> str:
    if not rule.get("messageExpression"):
        return ""
    try:
        made = program_of(rule, message=True)(values)
    except cel.CelError:
        return ""
    made = made.strip() if isinstance(made, str) else ""
    return "" if "\n" in made else made
