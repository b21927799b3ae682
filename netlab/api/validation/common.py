"""What several kinds check alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, forbidden, invalid, not_supported, required
from netlab.api.names import label_value_problems, qualified_name_problems
from netlab.api.selectors import SelectorError, from_object
from netlab.api.validation.meta import labels

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"


def immutable(old: Json | None, new: Json, *names: str, field: str) -> list[FieldError]:
    """Fields that an update may not change."""
    if old is None:
        return []
    return [invalid(f"{field}.{n}", new.get(n), IMMUTABLE) for n in names if old.get(n) != new.get(n)]


def not_negative(obj: Json, *names: str, field: str) -> list[FieldError]:
    """Numbers that may be absent."""
    return [
        invalid(f"{field}.{n}", obj[n], NOT_NEGATIVE)
        for n in names if isinstance(obj.get(n), int) and obj[n] < 0
    ]  # fmt: skip


def one_of(value: Any, allowed: Iterable[str], field: str) -> list[FieldError]:
    """A value of an enumeration, which has to be there."""
    if not value:
        return [required(field)]
    return [] if value in allowed else [not_supported(field, value, list(allowed))]


def selector(value: Json | None, field: str) -> list[FieldError]:
    """A metav1.LabelSelector."""
    if value is None:
        return []
    found = labels(value.get("matchLabels") or {}, f"{field}.matchLabels")
    for i, term in enumerate(value.get("matchExpressions") or ()):
        at = f"{field}.matchExpressions[{i}]"
        operator, values = term.get("operator"), term.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                found.append(required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                found.append(
                    forbidden(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
                )
        else:
            found.append(invalid(f"{at}.operator", operator or "", "not a valid selector operator"))
        key = term.get("key", "")
        found += [invalid(f"{at}.key", key, p) for p in qualified_name_problems(key)]
        for j, v in enumerate(values):
            found += [invalid(f"{at}.values[{j}]", v, p) for p in label_value_problems(v)]
    return found


def selects(value: Json | None, wanted: Json | None) -> bool:
    """Whether a selector selects these labels."""
    try:
        parsed = from_object(value)
    except SelectorError:
        return False
    return parsed is not None and parsed.matches(wanted)


_PERCENT = re.compile(r"[0-9]+%")


def int_or_percent(value: Any, field: str) -> list[FieldError]:
    """25% or 3."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            return [invalid(field, value, "a valid percent string must be a numeric string followed by an ending '%' "
                            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')")]  # fmt: skip
        return []
    return [invalid(field, value, NOT_NEGATIVE)] if isinstance(value, int) and value < 0 else []


def port_problem(value: Any) -> str | None:
    """What is wrong with a port number."""
    return None if isinstance(value, int) and 1 <= value <= 65535 else "must be between 1 and 65535, inclusive"
