"""Reading the few fields that a compiler needs out of an object, with a note of everything that is not as expected."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from netlab.base.errors import Problem
from netlab.base.manifests import Manifest, Path

T = TypeVar("T")
_NAMES = {str: "text", int: "a number", dict: "a mapping", list: "a list", bool: "true or false"}
#: what the API allows in names, and a comment or a chain's name can hold without quoting
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_ABSENT: dict[str, Any] = {}
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


def is_domain(text: str) -> bool:
    """Whether it is a name of the DNS (RFC 1123), with or without its last dot."""
    return _DOMAIN.fullmatch(text.removesuffix(".").lower()) is not None


class Fields:
    """A part of an object. Every reader returns a default where the value is missing, or wrong, which it notes."""

    __slots__ = ("data", "manifest", "path", "problems", "what")

    def __init__(
        self, data: Mapping[str, Any], manifest: Manifest, problems: list[Problem], what: str, path: Path = ()
    ) -> None:
        self.data, self.manifest, self.problems, self.what, self.path = data, manifest, problems, what, path

    def complain(self, key: str, message: str, hint: str | None = None) -> None:
        """Note that the value at `key` is wrong."""
        path = (*self.path, *key.split(".")) if key else self.path
        named = ".".join(map(str, path))
        place = self.manifest.place(path)
        text = f"{self.what}: {named} {message}"
        self.problems.append(Problem(place or self.what, text if place else f"{named} {message}", hint))

    def get(self, key: str, kind: type[T], default: T) -> T:
        """The value at a dotted key, of that kind. null counts as missing, as for the API."""
        value: Any = self.data
        for step in key.split("."):
            if not isinstance(value, dict):
                return default
            value = value.get(step)
            if value is None:
                return default
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self.complain(key, f"is {value!r}, expected {_NAMES.get(kind, kind.__name__)}")
        return default

    def within(self, key: str) -> Iterator[Fields]:
        """The mappings of the list at `key`."""
        for at, item in enumerate(self.get(key, list, [])):
            path = (*self.path, *key.split("."), at)
            if isinstance(item, dict):
                yield Fields(item, self.manifest, self.problems, self.what, path)
            else:
                named = ".".join(map(str, path))
                self.problems.append(
                    Problem(self.manifest.place(path) or self.what, f"{named} is {item!r}, expected a mapping")
                )

    def sub(self, key: str) -> Fields | None:
        """The mapping at `key`, None if there is none."""
        value = self.get(key, dict, _ABSENT)
        if value is _ABSENT:
            return None
        return Fields(value, self.manifest, self.problems, self.what, (*self.path, *key.split(".")))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of text."""
        found = []
        for value in self.get(key, list, []):
            if isinstance(value, str):
                found.append(value)
            else:
                self.complain(key, f"holds {value!r}, expected text")
        return tuple(found)

    def labels(self, key: str) -> dict[str, str]:
        """A mapping of text to text."""
        found = {}
        for name, value in self.get(key, dict, {}).items():
            if isinstance(value, str):
                found[str(name)] = value
            else:
                self.complain(key, f"has {value!r} under {name!r}, expected text", 'put it in quotes: "true", "8080"')
        return found

    def choice(self, key: str, known: tuple[str, ...], default: str) -> str:
        """One of a few words."""
        value = self.get(key, str, default)
        if value in known:
            return value
        self.complain(key, f"is {value!r}", f"known are {', '.join(known)}")
        return default

    def protocol(self, key: str = "protocol") -> str:
        """`tcp`, `udp` or `sctp`; TCP if the field is missing."""
        return PROTOCOLS[self.choice(key, tuple(PROTOCOLS), "TCP")]

    def port(self, key: str, *, zero: bool = True) -> int:
        """A port number; 0 where there is none."""
        before = len(self.problems)
        value = self.get(key, int, 0)
        if len(self.problems) > before:
            return 0  # no number at all, which was said
        if 0 <= value <= 65535 and (zero or value):
            return value
        self.complain(key, f"is {value}, expected a port from 1 to 65535")
        return 0

    def address(self, key: str) -> str:
        """An IP address in its usual spelling, "" where there is none."""
        return self.addressed(key, self.get(key, str, ""))

    def addressed(self, key: str, text: str) -> str:
        """`text` if it is an IP address, else "" and a complaint."""
        try:
            return str(ipaddress.ip_address(text)) if text else ""
        except ValueError:
            self.complain(key, f"is {text!r}, expected an IP address")
            return ""

    def network(self, key: str, text: str) -> str:
        """`text` as a prefix in its usual spelling, else "" and a complaint."""
        try:
            return str(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            self.complain(key, f"holds {text!r}, expected a prefix such as 10.0.0.0/8")
            return ""

    def name(self, key: str) -> str:
        """A name as the API allows it."""
        value = self.get(key, str, "")
        if not _NAME.fullmatch(value):
            self.complain(key, f"is {value!r}, expected a name", "lower case letters, digits, '-' and '.'")
        return value

    def domain(self, key: str) -> str:
        """A name of the DNS (RFC 1123), with or without its last dot."""
        value = self.get(key, str, "")
        if not is_domain(value):
            self.complain(key, f"is {value!r}, expected a name of the DNS", "such as my.database.example.com")
        return value
