"""Label and field selectors: parsed once, asked often.

Label selectors: `a=b`, `a==b`, `a!=b`, `a in (x,y)`, `a notin (x)`, `a`, `!a`, `a>1`, `a<1`, joined by commas. Source:
apimachinery pkg/labels/selector.go, pkg/fields/selector.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netlab.api import Json
from netlab.api.names import label_value_problems, qualified_name_problems


class SelectorError(ValueError):
    """The selector cannot be parsed; the text is the original's."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """operator: = != in notin exists ! gt lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels satisfy it. An absent label satisfies != and notin."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                if value is None or not re.fullmatch(r"[+-]?\d+", value):
                    return False
                bound = int(next(iter(self.values)))
                return int(value) > bound if self.operator == "gt" else int(value) < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements have to hold; none at all match everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        there = labels or {}
        return all(r.matches(there) for r in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|>|<|[^\s=!,()<>]+)")


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if not match:
            raise SelectorError(f"unable to parse requirement: found '{text[at:]}'")
        found.append(match[1])
        at = match.end()
    return found


_SYMBOLS = {"==", "!=", "=", "!", ",", "(", ")", ">", "<"}


def parse_labels(text: str) -> LabelSelector:
    """A label selector from its text. SelectorError."""
    tokens = _tokens(text)
    requirements: list[Requirement] = []
    at = 0

    def peek() -> str:
        return tokens[at] if at < len(tokens) else ""

    while at < len(tokens):
        negated = tokens[at] == "!"
        at += negated
        key = peek()
        if not key or key in _SYMBOLS:
            raise SelectorError(f"unable to parse requirement: found '{key}', expected: identifier")
        _check_key(key)
        at += 1
        if negated:
            requirements.append(Requirement(key, "!"))
        else:
            operator = peek()
            if operator in ("", ","):
                requirements.append(Requirement(key, "exists"))
            elif operator in ("=", "==", "!=", ">", "<"):
                at += 1
                value = peek()
                if value in _SYMBOLS and value != ",":
                    raise SelectorError(f"unable to parse requirement: found '{value}', expected: identifier")
                if value in ("", ","):
                    value = ""
                else:
                    at += 1
                requirements.append(_compare(key, operator, value))
            elif operator in ("in", "notin"):
                at += 1
                values, at = _values(tokens, at)
                for value in values:
                    _check_value(key, value)
                requirements.append(Requirement(key, operator, frozenset(values)))
            else:
                raise SelectorError(
                    f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt"
                )
        if at < len(tokens):
            if tokens[at] != ",":
                raise SelectorError(f"found '{tokens[at]}', expected: ',' or 'end of string'")
            at += 1
            if at == len(tokens):
                raise SelectorError("found '', expected: identifier after ','")
    return LabelSelector(tuple(requirements))


def _compare(key: str, operator: str, value: str) -> Requirement:
    if operator in (">", "<"):
        if not re.fullmatch(r"[+-]?\d+", value):
            raise SelectorError(
                f"unable to parse requirement: values[0][{key}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, "
                "the value must be an integer"
            )
        return Requirement(key, "gt" if operator == ">" else "lt", frozenset({value}))
    _check_value(key, value)
    return Requirement(key, "!=" if operator == "!=" else "=", frozenset({value}))


def _values(tokens: Sequence[str], at: int) -> tuple[list[str], int]:
    if at >= len(tokens) or tokens[at] != "(":
        found = tokens[at] if at < len(tokens) else ""
        raise SelectorError(f"unable to parse requirement: found '{found}' expected: '('")
    at += 1
    values: list[str] = []
    empty = True
    while at < len(tokens) and tokens[at] != ")":
        if tokens[at] == ",":
            if empty:
                values.append("")
            empty = True
        elif tokens[at] in _SYMBOLS or not empty:
            raise SelectorError(f"unable to parse requirement: found '{tokens[at]}', expected: ',', or ')'")
        else:
            values.append(tokens[at])
            empty = False
        at += 1
    if at >= len(tokens):
        raise SelectorError("unable to parse requirement: found '', expected: ',', or ')'")
    if empty:
        values.append("")
    return values, at + 1


def _check_key(key: str) -> None:
    problems = qualified_name_problems(key)
    if problems:
        raise SelectorError(f'unable to parse requirement: <nil>: Invalid value: "{key}": {"; ".join(problems)}')


def _check_value(key: str, value: str) -> None:
    problems = label_value_problems(value)
    if problems:
        raise SelectorError(
            f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {"; ".join(problems)}'
        )


def from_object(selector: Json | None) -> LabelSelector | None:
    """A metav1.LabelSelector as a selector. None selects nothing, an empty one everything."""
    if selector is None:
        return None
    found = [Requirement(k, "=", frozenset({v})) for k, v in sorted((selector.get("matchLabels") or {}).items())]
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    for term in selector.get("matchExpressions") or ():
        operator = operators.get(term.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{term.get("operator", "")}" is not a valid label selector operator')
        found.append(Requirement(term["key"], operator, frozenset(term.get("values") or ())))
    return LabelSelector(tuple(found))


def as_text(selector: Json | None) -> str:
    """A metav1.LabelSelector in the form that columns and Scale.status.selector print it."""
    if selector is None:
        return "<none>"
    parts = [(k, f"{k}={v}") for k, v in (selector.get("matchLabels") or {}).items()]
    for term in selector.get("matchExpressions") or ():
        key, values = term.get("key", ""), ",".join(sorted(term.get("values") or ()))
        match term.get("operator"):
            case "In":
                parts.append((key, f"{key} in ({values})"))
            case "NotIn":
                parts.append((key, f"{key} notin ({values})"))
            case "Exists":
                parts.append((key, key))
            case _:
                parts.append((key, f"!{key}"))
    return ",".join(text for _, text in sorted(parts))


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """terms: (key, is it to be equal, value), all of which have to hold; get: the value of a key in an object."""

    terms: tuple[tuple[str, bool, str], ...] = ()
    get: Callable[[Json, str], str] | None = None

    def matches(self, obj: Json) -> bool:
        """Whether the object is selected."""
        get = self.get
        return get is None or all((get(obj, key) == value) == equal for key, equal, value in self.terms)

    def exact(self, key: str) -> str | None:
        """The value that `key` has to have, None if the selector does not say."""
        return next((value for k, equal, value in self.terms if k == key and equal), None)

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_fields(text: str) -> tuple[tuple[str, bool, str], ...]:
    """The terms of a field selector: `a=b,c!=d`, with backslash before `\\`, `,` and `=` in values. SelectorError."""
    terms, current, escaped = [], "", False
    for c in text:
        if c == "," and not escaped:
            terms.append(current)
            current = ""
            continue
        escaped = c == "\\" and not escaped
        current += c
    terms.append(current)
    return tuple(_field_term(term, text) for term in terms if term)


def _field_term(term: str, text: str) -> tuple[str, bool, str]:
    match = re.match(r"^((?:[^\\=!]|\\.)*?)(!=|==|=)(.*)$", term, re.DOTALL)
    if not match:
        raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
    value = re.sub(r"\\([\\,=])", r"\1", match[3])
    return match[1], match[2] != "!=", value


def path_value(obj: Any, path: str) -> str:
    """The value at `spec.nodeName` as a selector compares it; "" if it is not there."""
    for step in path.split("."):
        if not isinstance(obj, dict):
            return ""
        obj = obj.get(step)
    match obj:
        case None:
            return ""
        case bool():
            return "true" if obj else "false"
        case _:
            return str(obj)
