"""Reading a backend's object of the network configuration, with every problem told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netlab.base.errors import InputError, Problem


class Options:
    """The options of one backend. Each is asked for once; `done` refuses what nobody asked for."""

    def __init__(self, backend: Mapping[str, Any], *, place: str) -> None:
        self._given = dict(backend)
        self._given.pop("Type", None)
        self._place = place
        self._known: list[str] = []
        self._problems: list[Problem] = []

    def _take(self, name: str) -> Any:
        self._known.append(name)
        return self._given.pop(name, None)

    def _refuse(self, name: str, value: Any, expected: str) -> None:
        self._problems.append(Problem(f"{self._place}: Backend.{name}", f"is {value!r}, expected {expected}"))

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._refuse(name, value, f"a number from {low} to {high}")
            return default
        return value

    def flag(self, name: str) -> bool:
        """true or false, false if it is not there."""
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            self._refuse(name, value, "true or false")
        return value is True

    def text(self, name: str, default: str = "", *, among: Sequence[str] = ()) -> str:
        """A text, one of a few if `among` is given."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, str) or (among and value not in among):
            self._refuse(name, value, f"one of {', '.join(among)}" if among else "a text")
            return default
        return value

    def problem(self, name: str, message: str, hint: str | None = None) -> None:
        """One more thing that is wrong with an option."""
        self._problems.append(Problem(f"{self._place}: Backend.{name}", message, hint))

    def done(self) -> None:
        """InputError if anything was wrong."""
        for name in self._given:
            close = next((known for known in self._known if known.lower() == name.lower()), None)
            known = f"it has: {', '.join(self._known)}" if self._known else "it has none"
            self.problem(name, "this backend has no such option", f"did you mean {close!r}?" if close else known)
        if self._problems:
            raise InputError(self._problems)


def without(extra: bool, name: str, place: str, kind: str) -> None:
    """InputError if the configuration has a family that a backend cannot carry."""
    if extra:
        hint = "use vxlan, host-gw or wireguard, which carry both families"
        raise InputError([Problem(f"{place}: {name}", f"the backend {kind} carries IPv4 only", hint)])
