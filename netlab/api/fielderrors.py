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
_NO_VALUE = ("FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError", "FieldValueTooMany")


def go_value(value: Any) -> str:
    """A value as the original prints it in an error: strings quoted, structs as JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        case int() | float():
            return str(value)
        case _:
            return orjson.dumps(value).decode()


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
    return FieldError(
        "FieldValueTooMany", field, f"{number}: must have at most {limit} item{'s' if limit != 1 else ''}"
    )


def not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, "", value)
