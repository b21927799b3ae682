"""The rules of a schema as programs: how they are compiled, and what they see."""

from __future__ import annotations

from typing import Any, Final

from netlab.api import Json, cel
from netlab.api.fielderrors import FieldError, invalid, not_supported, required

#: stands for what was not there
MISSING: Final = object()

_NAMES = ("self", "oldSelf")
#: the variables behind an `oldSelf` that is an optional
_OPTIONAL = ("self", "before_", "had_")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def program_of(rule: Json, *, message: bool = False) -> cel.Program:
    """The program of a rule, or of its messageExpression. CelError."""
    text = rule["messageExpression"] if message else rule["rule"]
    if rule.get("optionalOldSelf"):
        bound = f"cel.bind(oldSelf, had_ ? optional.of(before_) : optional.none(), ({text}))"
        return cel.compiled(bound, *_OPTIONAL)
    return cel.compiled(text, *_NAMES)


def values_of(value: Any, old: Any, schema: Json) -> Json:
    """What a rule's program sees."""
    before = None if old is MISSING else seen(old, schema)
    return {"self": seen(value, schema), "oldSelf": before, "before_": before, "had_": old is not MISSING}


def seen(value: Any, schema: Json) -> Any:
    """A value with its properties named as expressions name them."""
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        out = {}
        for name, inner in value.items():
            known = properties.get(name)
            if isinstance(known, dict):
                out[cel.escaped(name)] = seen(inner, known)
            else:
                out[name] = seen(inner, extra) if isinstance(extra, dict) else inner
        return out
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [seen(v, schema["items"]) for v in value]
    return value


def problems(schema: Json, at: str, *, correlated: bool) -> list[FieldError]:
    """What is wrong with the rules at one level of a schema. correlated: it is known what a value was before."""
    found: list[FieldError] = []
    for i, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        where = f"{at}.x-kubernetes-validations[{i}]"
        text = rule.get("rule") or ""
        if not text.strip():
            found.append(required(f"{where}.rule", "rule is not specified"))
            continue
        found += _compiled(rule, where, correlated=correlated)
        message = rule.get("message") or ""
        if "\n" in message:
            found.append(invalid(f"{where}.message", message, "message must not contain line breaks"))
        elif "message" in rule and not message.strip() and message:
            found.append(invalid(f"{where}.message", message, "message must be non-empty if specified"))
        elif "\n" in text and not message and not rule.get("messageExpression"):
            found.append(required(f"{where}.message", "message must be specified if rule contains line breaks"))
        if rule.get("reason") and rule["reason"] not in _REASONS:
            found.append(not_supported(f"{where}.reason", rule["reason"], list(_REASONS)))
        field = rule.get("fieldPath")
        if field and not _leads(schema, field):
            found.append(invalid(f"{where}.fieldPath", field, "fieldPath must be a valid path"))
    return found


def _compiled(rule: Json, where: str, *, correlated: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for name, kind in (("rule", "BOOL"), ("messageExpression", "STRING")):
        text = rule.get(name) or ""
        if not text:
            continue
        try:
            program = program_of(rule, message=name == "messageExpression")
        except cel.CelError as e:
            found.append(invalid(f"{where}.{name}", text, str(e)))
            continue
        if program.kind not in (kind, "DYN"):
            found.append(
                invalid(f"{where}.{name}", text, f"must evaluate to a {'bool' if kind == 'BOOL' else 'string'}")
            )
        elif name == "rule" and program.uses("oldSelf") and not correlated:
            found.append(
                invalid(f"{where}.rule", text, "oldSelf cannot be used on the uncorrelatable portion of the schema")
            )
    return found


def _leads(schema: Json, path: str) -> bool:
    """Whether a simple path (`.spec.replicas`) leads somewhere in a schema."""
    if not path.startswith("."):
        return False
    at: Any = schema
    for step in path[1:].split("."):
        at = (at.get("properties") or {}).get(step) if isinstance(at, dict) else None
        if at is None:
            return False
    return True
