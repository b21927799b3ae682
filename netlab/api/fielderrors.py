"""What is wrong with a field, as apimachinery's pkg/util/validation/field words it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from netlab.api import Json

_PREFIX = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueNotFound": "Not found",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_NO_VALUE = ("FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError")


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def go_value(value: Any) -> str:
    """A value as the original prints it in an error: Go's %q and %#v, for the types that errors show."""
    match value:
        case None:
            return '"null"'
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case int() | float():
            return str(value)
        case list() if all(isinstance(v, str) for v in value):
            return "[]string{" + ", ".join(_quoted(v) for v in value) + "}"
        case dict() if value.keys() & {"matchLabels", "matchExpressions"}:
            return _selector(value)
        case dict() if all(isinstance(v, str) for v in value.values()):
            return (
                "map[string]string{" + ", ".join(f"{_quoted(k)}:{_quoted(v)}" for k, v in sorted(value.items())) + "}"
            )
        case _:
            return orjson.dumps(value).decode()


def _selector(value: Json) -> str:
    labels, terms = value.get("matchLabels"), value.get("matchExpressions")
    shown = go_value(labels) if labels else "map[string]string(nil)"
    kind = "[]v1.LabelSelectorRequirement"
    listed = f"{kind}(nil)"
    if terms:
        parts = [
            f"v1.LabelSelectorRequirement{{Key:{_quoted(t.get('key', ''))}, Operator:{_quoted(t.get('operator', ''))}, "
            f"Values:{go_value(t['values']) if t.get('values') else '[]string(nil)'}}}"
            for t in terms
        ]
        listed = kind + "{" + ", ".join(parts) + "}"
    return f"v1.LabelSelector{{MatchLabels:{shown}, MatchExpressions:{listed}}}"


@dataclass(frozen=True, slots=True)
class FieldError:
    """reason: of the Status cause; field: `spec.ports[0].port`; detail: what is wrong; value: what was there."""

    reason: str
    field: str
    detail: str
    value: Any = None

    @property
    def body(self) -> str:
        """The cause's message: without the field."""
        text = _PREFIX[self.reason]
        if self.reason not in _NO_VALUE:
            text += f": {go_value(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"

    def cause(self) -> Json:
        """The entry of Status.details.causes."""
        return {"reason": self.reason, "message": self.body, "field": self.field}


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, detail)


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, detail, value)


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueTypeInvalid", field, detail, value)


def not_supported(field: str, value: Any, supported: tuple[str, ...] | list[str]) -> FieldError:
    listed = ", ".join(go_value(s) for s in sorted(supported))
    return FieldError("FieldValueNotSupported", field, f"supported values: {listed}" if supported else "", value)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, "", value)


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, detail)


def too_long(field: str, limit: int) -> FieldError:
    return FieldError("FieldValueTooLong", field, f"may not be more than {limit} bytes")


def too_many(field: str, number: int, limit: int) -> FieldError:
    return FieldError("FieldValueTooMany", field, f"must have at most {limit} items", number)


def not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, "", value)
