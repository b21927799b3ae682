"""One command as a person would type it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: lines: a command per rule and per set entry, as in a book; restore: a block per table and set, as a program would
Style = Literal["lines", "restore"]

#: tools of iproute2 that enter a namespace by themselves
_OWN_NETNS_OPTION = ("ip", "bridge", "tc")


@dataclass(frozen=True, slots=True)
class Command:
    """argv: the words; why: the object or the line that asked for it; stdin: what it reads, None for nothing."""

    argv: tuple[str, ...]
    why: str = ""
    stdin: str | None = None

    def inside(self, netns: str | None) -> tuple[str, ...]:
        """The words that run it in a named network namespace, None for the one that the caller is in."""
        tool, *rest = self.argv
        if netns is None:
            return self.argv
        if tool in _OWN_NETNS_OPTION:
            return (tool, "-n", netns, *rest)
        return ("ip", "netns", "exec", netns, *self.argv)

    def shell(self, netns: str | None = None) -> str:
        """A line for a POSIX shell; with `stdin`, the lines of a here-document."""
        # a lone ! is a plain word to every shell, and iptables lines are easier to read so
        line = " ".join(word if word == "!" else shlex.quote(word) for word in self.inside(netns))
        if self.stdin is None:
            return line
        text = self.stdin if self.stdin.endswith("\n") else self.stdin + "\n"
        mark = "EOF"
        while mark in text.splitlines():
            mark += "_"
        return f"{line} <<'{mark}'\n{text}{mark}"


def command(*words: object, why: str = "", stdin: str | None = None) -> Command:
    """A command of any words, given one by one."""
    return Command(tuple(str(word) for word in words), why, stdin)


def option(name: str, value: object) -> tuple[str, ...]:
    """`name value`, or nothing if there is no value (None, "" or 0)."""
    return (name, str(value)) if value else ()


def reasons(whys: Iterable[str]) -> str:
    """Several reasons as one, each once, in order."""
    return "; ".join(dict.fromkeys(why for why in whys if why))
