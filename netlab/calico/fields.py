"""Fields of a plain object, read one by one; what is wrong goes into a list, and reading goes on."""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from netlab.base.addresses import Address, Interface, Network
from netlab.base.errors import Problem
from netlab.bgp.attributes import parse_community, parse_large
from netlab.calico import selectors

T = TypeVar("T")
Where = str | int


def _nowhere(_: tuple[Where, ...]) -> str:
    return "object"


@dataclass(frozen=True, slots=True)
class Given:
    """An object as it was found. place: of a field of it, such as `manifests/pool.yaml:7`."""

    data: dict[str, Any] = field(hash=False)
    place: Callable[[tuple[Where, ...]], str] = field(default=_nowhere, compare=False)


class Fields:
    """One object. Getters give None (or the default) for what is missing or wrong; the latter they note."""

    def __init__(self, given: Given, problems: list[Problem]) -> None:
        self.given, self.data, self._problems = given, given.data, problems
        self.kind = str(self.data.get("kind"))
        metadata = self.data.get("metadata")
        self.name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
        if not self.name:
            self.problem(("metadata",), "it has no metadata.name")

    def place(self, *where: Where) -> str:
        """Where a field is written."""
        return self.given.place(where)

    def problem(self, where: tuple[Where, ...], message: str, hint: str | None = None) -> None:
        """Note what is wrong with a field."""
        named = ".".join(map(str, where))
        self._problems.append(Problem(self.place(*where), f"{self.kind} {self.name}: {named}: {message}", hint))

    def get(self, *where: Where) -> Any:
        """The value, None if there is none."""
        here: Any = self.data
        for step in where:
            if isinstance(here, dict):
                here = here.get(step)
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
            else:
                return None
        return here

    def known(self, section: str, *names: str) -> None:
        """A problem for each key of the section that nobody knows: likely a misspelt one."""
        there = self.data.get(section)
        for key in there if isinstance(there, dict) else ():
            if key not in names:
                close = difflib.get_close_matches(key, names, 1)
                self.problem((section, key), "unknown field", f"did you mean {close[0]!r}?" if close else None)

    def _parsed(self, where: tuple[Where, ...], parse: Callable[[Any], T], *, required: bool = False) -> T | None:
        value = self.get(*where)
        if value is None:
            if required:
                self.problem(where, "it is missing")
            return None
        try:
            return parse(value)
        except (ValueError, TypeError) as e:
            self.problem(where, str(e))
            return None

    def text(self, *where: Where) -> str | None:
        """A text."""
        return self._parsed(where, str)

    def items(self, *where: Where) -> list[Any]:
        """A list."""

        def parse(value: Any) -> list[Any]:
            if not isinstance(value, list):
                raise ValueError("a list is meant")
            return value

        return self._parsed(where, parse) or []

    def flag(self, *where: Where, default: bool = False) -> bool:
        """A truth."""

        def parse(value: Any) -> bool:
            if not isinstance(value, bool):
                raise ValueError(f"{value!r} is not true or false")
            return value

        found = self._parsed(where, parse)
        return default if found is None else found

    def number(self, *where: Where, default: int, low: int, high: int) -> int:
        """A number within bounds."""

        def parse(value: Any) -> int:
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{value!r} is not a number from {low} to {high}")
            return value

        found = self._parsed(where, parse)
        return default if found is None else found

    def choice(self, *where: Any) -> str:
        """choice(*where, values, default): one of the values."""
        *path, values, default = where

        def parse(value: Any) -> str:
            if value not in values:
                raise ValueError(f"{value!r} is none of {', '.join(values)}")
            return str(value)

        return self._parsed(tuple(path), parse) or str(default)

    def asn(self, *where: Where) -> int | None:
        """An AS number, plain or as two halves (RFC 5396)."""

        def parse(value: Any) -> int:
            high, dot, low = str(value).partition(".")
            number = (int(high) << 16 | int(low)) if dot else int(high)
            if isinstance(value, bool) or not 0 < number < 1 << 32:
                raise ValueError(f"{value!r} is not an AS number")
            return number

        return self._parsed(where, parse)

    def address(self, *where: Where) -> Address | None:
        """An address."""
        return self._parsed(where, ipaddress.ip_address)

    def network(self, *where: Where, required: bool = False) -> Network | None:
        """A prefix."""
        return self._parsed(where, lambda v: ipaddress.ip_network(str(v)), required=required)

    def interface(self, *where: Where) -> Interface | None:
        """An address with a prefix length."""
        return self._parsed(where, lambda v: ipaddress.ip_interface(str(v)))

    def endpoint(self, *where: Where) -> tuple[Address | None, int]:
        """An address, with or without a port: 10.0.0.1, 10.0.0.1:1790, [fd00::1]:1790."""

        def parse(value: Any) -> tuple[Address, int]:
            text = str(value)
            host, colon, port = text.rpartition(":")
            if colon and (host.startswith("[") or "." in host):
                return ipaddress.ip_address(host.strip("[]")), int(port)
            return ipaddress.ip_address(text), 179

        return self._parsed(where, parse) or (None, 179)

    def selector(self, *where: Where) -> str | None:
        """A selector, checked."""

        def parse(value: Any) -> str:
            selectors.parse(str(value))
            return str(value)

        return self._parsed(where, parse)

    def community(self, *where: Where) -> str | None:
        """A community or a large one, as text: 64512:100, 64512:1:2."""

        def parse(value: Any) -> str:
            text = str(value)
            if text.count(":") == 2:
                parse_large(text)
            else:
                parse_community(text)
            return text

        return self._parsed(where, parse)

    def secret(self, *where: Where) -> tuple[str, str] | None:
        """A reference to a key of a Secret."""
        if self.get(*where) is None:
            return None
        name, key = self.text(*where, "secretKeyRef", "name"), self.text(*where, "secretKeyRef", "key")
        if not name or not key:
            self.problem(where, "secretKeyRef with name and key is meant")
            return None
        return name, key

    def secrets(self) -> dict[str, str]:
        """What a Secret holds."""
        found = {str(k): str(v) for k, v in (self.get("stringData") or {}).items()}
        for key, value in (self.get("data") or {}).items():
            try:
                found[str(key)] = base64.b64decode(str(value), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as e:
                self.problem(("data", key), f"not text in base64: {e}")
        return found
