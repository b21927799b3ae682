"""Fields of a configuration or a result, read one by one: each mistake is told with the field's name.

A field that a plugin does not know is passed over, as the specification asks; one that it knows and cannot honour is
refused with code 2 by the plugin itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from netlab.base.addresses import Address, Interface, Network
from netlab.cni.errors import CniError, Code

T = TypeVar("T")


class Fields:
    """One JSON object. place: how the object is called in complaints; code: of the complaints."""

    def __init__(self, data: Any, place: str, *, code: Code = Code.CONFIG) -> None:
        self.place, self.code = place, code
        if not isinstance(data, Mapping):
            raise CniError(code, f"{place} is {_shown(data)}, expected an object")
        self.data: Mapping[str, Any] = data

    def wrong(self, name: str, expected: str) -> CniError:
        """The complaint about a field."""
        return CniError(self.code, f"{self.place}: {name} is {_shown(self.data.get(name))}, expected {expected}")

    def _typed(self, name: str, kind: type[T], default: T, expected: str) -> T:
        value = self.data.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, expected)
        return value

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        return self._typed(name, str, default, "a string")

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        return self._typed(name, bool, default, "true or false")

    def number(self, name: str, default: int = 0, *, low: int = 0, high: int = 1 << 32) -> int:
        """An integer from `low` to `high`; what is missing may be outside of that."""
        value = self._typed(name, int, default, "a number")
        if name in self.data and not low <= value <= high:
            raise self.wrong(name, f"a number from {low} to {high}")
        return value

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; none if it is missing."""
        found = self._typed(name, list, [], "a list of objects")
        return [Fields(entry, f"{self.place}: {name}[{i}]", code=self.code) for i, entry in enumerate(found)]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; none if it is missing."""
        found = self._typed(name, list, [], "a list of strings")
        if not all(isinstance(entry, str) for entry in found):
            raise self.wrong(name, "a list of strings")
        return tuple(found)

    def inner(self, name: str) -> Fields:
        """An object; an empty one if it is missing."""
        return Fields(self.data.get(name) or {}, f"{self.place}: {name}", code=self.code)

    def address(self, name: str) -> Address | None:
        """An IP address."""
        return self._parsed(name, ip_address, "an IP address")

    def interface(self, name: str) -> Interface | None:
        """An IP address with a prefix length."""
        return self._parsed(name, _interface, "an address with its prefix length, such as 10.1.0.5/24")

    def network(self, name: str) -> Network | None:
        """A prefix; an address within it will do, as everywhere in CNI."""
        return self._parsed(name, lambda text: ip_network(text, strict=False), "a prefix, such as 10.1.0.0/24")

    def _parsed(self, name: str, parse: Callable[[str], T], expected: str) -> T | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError:
            raise self.wrong(name, expected) from None


def _interface(text: str) -> Interface:
    if "/" not in text:
        raise ValueError(text)
    return ip_interface(text)


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:60]
