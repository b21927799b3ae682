"""$(NAME) in a command, an argument, a variable or a path. $$ stands for a dollar; what has no value stays as it is.

Source: kubernetes third_party/forked/golang/expansion, the API reference of Container.command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# a dollar and what it governs: another dollar, a name in brackets, or nothing
_DOLLAR = re.compile(r"\$(?:(?P<dollar>\$)|\((?P<name>[^)]*)\))?")


def expand(text: str, value: Callable[[str], str | None]) -> str:
    """The text with the values of its names. value: None for a name that has none, and then stays as it was written."""

    def one(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        if found["name"] is None:
            return found[0]
        known = value(found["name"])
        return found[0] if known is None else known

    return _DOLLAR.sub(one, text) if "$" in text else text


def from_mappings(*mappings: Mapping[str, str]) -> Callable[[str], str | None]:
    """A value out of the first mapping that has it."""

    def value(name: str) -> str | None:
        return next((mapping[name] for mapping in mappings if name in mapping), None)

    return value
