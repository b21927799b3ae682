"""What the verbs of `netlab lab` share: the machine, the engine, and how they are named on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netlab.cli import output
from netlab.cli.completing import complete_lab

if TYPE_CHECKING:
    from netlab.lab.engine import Engine
    from netlab.lab.labfile import Lab

F = TypeVar("F", bound=Callable[..., Any])


def lab_argument(command: F) -> F:
    """The LAB argument: a lab's name, completed by the shell."""
    return click.argument("lab", metavar="LAB", shell_complete=complete_lab)(command)


def engine() -> Engine:
    """The engine on this machine; remarks go to stderr."""
    from netlab.daemons.machine import LinuxMachine
    from netlab.lab.engine import Engine

    return Engine(LinuxMachine(), say=output.note)


def lab_of(name: str) -> Lab:
    """The lab's definition: of one that is up, the file that it was brought up from."""
    from netlab.lab.journal import Journal
    from netlab.lab.labfile import Lab, available

    if "/" not in name and name not in available() and not Path(name).exists():
        record = Journal(name).read()
        if record:
            return Lab(Path(record.source))
    return Lab.named(name)


def running_name(name: str) -> str:
    """The name under which a lab runs: a name is taken as it is, a path is asked what its lab is called."""
    from netlab.lab.labfile import Lab

    return Lab.named(name).name if "/" in name or name.endswith((".yaml", ".yml")) else name
