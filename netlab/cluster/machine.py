"""What clusters need of a machine, as a narrow protocol. `netlab.daemons.clusters` is the real thing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from netlab.lab.machine import Machine as LabMachine

#: what is going on, and how many of it are left
Progress = Callable[[str, int], None]


#: a process, once and for all: its number, and when it began (`netlab.kernel.processes.Identity`)
Process = tuple[int, int]


class Machine(LabMachine, Protocol):
    """One Linux machine, on which nodes can be made."""

    def boot(self) -> list[str]:
        """The command of a node's first process, to which the file is added that says what it is."""

    def code(self) -> tuple[Path, ...]:
        """Directories without which netlab does not run, if a node might not see them by itself."""

    def missing(self, programs: Sequence[str]) -> None:
        """MachineError if one of these is not installed, with the command that brings all that are not."""

    def free_port(self, first: int, taken: Collection[int]) -> int:
        """A port of 127.0.0.1 that nobody listens on, from `first` on, and none of `taken`."""

    def images(self, root: Path, tell: Callable[[str], None]) -> None:
        """Have the catalogue's images in the store, as far as this machine has the files for them."""

    def kill(self, process: Process, *, seconds: float) -> bool:
        """End that very process, now. False if it is gone already; NetlabError if it does not end."""

    def clear_cgroup(self, group: str) -> None:
        """End what is in a group and below it, and take it away."""

    def enter(self, process: Process, argv: Sequence[str], *, cgroup: str) -> NoReturn:
        """Run a program where that process is, with this terminal, and end as it ends."""

    def settle(
        self, kubeconfig: Path, objects: Sequence[Mapping[str, Any]], nodes: Collection[str], *, limit: float,
        progress: Progress,
    ) -> None:  # fmt: skip
        """Create the objects that are not there, and wait until these nodes are Ready. NetlabError if they are not in
        `limit` seconds."""

    def create(self, kubeconfig: Path, objects: Sequence[Mapping[str, Any]]) -> None:
        """Create the objects that are not there. ApiError, ApiUnavailable."""

    def forget_node(self, kubeconfig: Path, node: str) -> None:
        """Delete the Node object, if the API server answers; one that is not there is no error."""

    def nodes(self, kubeconfig: Path) -> dict[str, dict[str, Any]]:
        """What the API knows of the nodes, by name; empty if it does not answer."""
