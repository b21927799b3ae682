"""Calico's selectors over labels: `all()`, `has(rack)`, `rack == "a"`, `rack in {"a", "b"}`, with `!`, `&&`, `||`.

Source: docs.tigera.io, reference of selectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

_TOKEN = re.compile(r"""\s*(?:(all\(\)|global\(\)|has\(|&&|\|\||==|!=|[!(){},]|starts with|ends with)"""
                    r"""|"([^"]*)"|'([^']*)'|([A-Za-z0-9_][-A-Za-z0-9_./]*))""")  # fmt: skip


def parse(text: str) -> Selector:
    """A selector as a function; an empty one selects all. ValueError says what is wrong with it."""
    if not text.strip():
        return lambda _: True
    reader = _Reader(_tokens(text), text)
    found = reader.either()
    if reader.left:
        raise ValueError(f"selector {text!r}: {reader.left[0][1]!r} is one too many")
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    out, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"selector {text!r}: {text[at:].strip()!r} is not understood")
        mark, double, single, word = found.groups()
        quoted = double if double is not None else single
        out.append(("mark", mark) if mark else ("value", quoted) if quoted is not None else ("word", word))
        at = found.end()
    return out


class _Reader:
    """Recursive descent: either is a list of both, both a list of one."""

    def __init__(self, tokens: list[tuple[str, str]], text: str) -> None:
        self.left, self.text = tokens, text

    def take(self, *wanted: str) -> str | None:
        if self.left and self.left[0][0] in ("mark", "word") and self.left[0][1] in wanted:
            return self.left.pop(0)[1]
        return None

    def need(self, kind: str, what: str) -> str:
        if self.left and self.left[0][0] == kind:
            return self.left.pop(0)[1]
        there = repr(self.left[0][1]) if self.left else "the end"
        raise ValueError(f"selector {self.text!r}: expected {what}, not {there}")

    def close(self, mark: str) -> None:
        if self.take(mark) is None:
            raise ValueError(f"selector {self.text!r}: expected {mark!r}")

    def either(self) -> Selector:
        parts = [self.both()]
        while self.take("||"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda labels: any(p(labels) for p in parts)

    def both(self) -> Selector:
        parts = [self.one()]
        while self.take("&&"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda labels: all(p(labels) for p in parts)

    def one(self) -> Selector:
        if self.take("!"):
            inner = self.one()
            return lambda labels: not inner(labels)
        if self.take("("):
            inner = self.either()
            self.close(")")
            return inner
        if self.take("all()", "global()"):
            return lambda _: True
        if self.take("has("):
            name = self.need("word", "a label's name")
            self.close(")")
            return lambda labels: name in labels
        return self.comparison(self.need("word", "a label's name"))

    def comparison(self, name: str) -> Selector:
        if self.take("=="):
            value = self.need("value", "a value in quotes")
            return lambda labels: labels.get(name) == value
        if self.take("!="):
            value = self.need("value", "a value in quotes")
            return lambda labels: labels.get(name) != value
        if self.take("starts with"):
            value = self.need("value", "a value in quotes")
            return lambda labels: name in labels and labels[name].startswith(value)
        if self.take("ends with"):
            value = self.need("value", "a value in quotes")
            return lambda labels: name in labels and labels[name].endswith(value)
        negated = self.take("not") is not None
        if self.take("in") is None:
            raise ValueError(f"selector {self.text!r}: expected a comparison after {name}")
        values = self.values()
        if negated:
            return lambda labels: labels.get(name) not in values
        return lambda labels: labels.get(name) in values

    def values(self) -> frozenset[str]:
        self.close("{")
        found = [self.need("value", "a value in quotes")]
        while self.take(","):
            found.append(self.need("value", "a value in quotes"))
        self.close("}")
        return frozenset(found)
