"""What the verbs of `netlab lab` share: the machine, the engine, and how they are named on the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netlab.cli import output
from netlab.cli.completing import complete_lab

if TYPE_CHECKING:
    from netlab.daemons.labclusters import ClusterLabs
    from netlab.lab.engine import Engine
    from netlab.lab.labfile import Lab

F = TypeVar("F", bound=Callable[..., Any])


def lab_argument(command: F) -> F:
    """The LAB argument: a lab's name, completed by the shell."""
    return click.argument("lab", metavar="LAB", shell_complete=complete_lab)(command)


def store_option(command: F) -> F:
    """--store: where a flannel lab keeps its leases."""
    kinds = click.Choice(["embedded", "etcd"])
    text = "Where a flannel lab keeps its leases: in a directory, or in a real etcd. [default: embedded]"
    return click.option("--store", type=kinds, help=text)(command)


def engine() -> Engine:
    """The engine on this machine; remarks go to stderr."""
    from netlab.daemons.machine import LinuxMachine
    from netlab.lab.engine import Engine

    return Engine(LinuxMachine(), say=output.note)


def on_clusters() -> ClusterLabs:
    """The engine of labs on clusters; remarks go to stderr."""
    from netlab.daemons.clusters import ClusterMachine
    from netlab.daemons.labclusters import ClusterLabs

    return ClusterLabs(ClusterMachine(), say=output.note)


def lab_of(name: str) -> Lab:
    """The lab's definition: of one that is up, the file and store that it was brought up with."""
    from netlab.base.errors import NetlabError
    from netlab.lab.journal import Journal, on_cluster
    from netlab.lab.labfile import Lab, available

    if "/" not in name and name not in available() and not Path(name).exists():
        if on_cluster(name):
            return Lab(Path(on_clusters().remembered(name).source))
        record = Journal(name).read(names_only=True)
        if record:
            return Lab(Path(record.source), record.store)
    lab = Lab.named(name)
    guess = lab.likely_name
    if guess:
        with contextlib.suppress(NetlabError):  # whoever needs the journal will say what is wrong with it
            record = Journal(guess).read(names_only=True)
            if record and record.store and Path(record.source) == lab.path:
                return Lab(lab.path, record.store)
    return lab


def with_store(name: str, store: str | None) -> Lab:
    """The lab's definition, with leases where the user wants them; as it is up, if that is not said."""
    from netlab.lab.labfile import Lab

    lab = lab_of(name)
    return lab if store is None else Lab(lab.path, None if store == "embedded" else store)


def running_name(name: str) -> str:
    """The name under which a lab runs: a name is taken as it is, a path is asked what its lab is called."""
    from netlab.lab.labfile import Lab

    return Lab.named(name).name if "/" in name or name.endswith((".yaml", ".yml")) else name
