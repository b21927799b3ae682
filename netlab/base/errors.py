"""The one exception tree. A command's exit status is a property of the error, decided where the error is known.

NetlabError (1)
├── InputError (2)           the user's file or argument is wrong: one or many Problems, each with its place
├── ConflictError (2)        the input is right by itself but clashes with what is up
├── MachineError (3)         this machine cannot do it: what is missing, and the command that brings it
└── KernelError (1)          the kernel refused an operation: the item, its why, the errno
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXIT_OK, EXIT_FAILED, EXIT_INPUT, EXIT_MACHINE = 0, 1, 2, 3


class NetlabError(Exception):
    """Anything that netlab reports to its user without a traceback."""

    exit_status = EXIT_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def as_json(self) -> dict[str, object]:
        """The error as `--json` prints it: message, hint, exit status."""
        return {"error": self.message, "hint": self.hint, "exit_status": self.exit_status}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with an input.

    place: `labs/x/lab.yaml:14` or an option's name; message: what is wrong and what was expected; hint: what to do.
    """

    place: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f"\n    hint: {self.hint}" if self.hint else "")


class InputError(NetlabError):
    """The user's input is wrong. Carries every problem found, not just the first."""

    exit_status = EXIT_INPUT

    def __init__(self, problems: Iterable[Problem] | str, *, hint: str | None = None) -> None:
        if isinstance(problems, str):
            self.problems: tuple[Problem, ...] = ()
            super().__init__(problems, hint=hint)
        else:
            self.problems = tuple(problems)
            super().__init__("\n".join(str(p) for p in self.problems), hint=hint)

    def as_json(self) -> dict[str, object]:
        listed = [{"place": p.place, "message": p.message, "hint": p.hint} for p in self.problems]
        return {**super().as_json(), "problems": listed}


class ConflictError(NetlabError):
    """The request clashes with something that exists: a lab under another definition, a lock held by another verb."""

    exit_status = EXIT_INPUT


class MachineError(NetlabError):
    """This machine cannot do it. The message names what is missing, the hint is the command that brings it."""

    exit_status = EXIT_MACHINE


class KernelError(NetlabError):
    """The kernel refused an operation. `errno_` is its error number, `item` describes what was being applied."""

    def __init__(self, message: str, *, errno_: int = 0, item: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno_ = errno_
        self.item = item
