"""Processes in namespaces: have a table of them run, and wait until those that tell have told that they are ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from netlab.base.errors import NetlabError
from netlab.base.patience import patience, rest
from netlab.lab.journal import Journal

if TYPE_CHECKING:
    Table = Sequence[Mapping[str, Any]]

#: the file of what is to run, in the directory of a lab or a cluster
TABLE = "processes.json"
#: seconds in which processes that tell have to be ready
READY_LIMIT = 60.0
#: seconds between two looks at whether they are, at least
_LOOK = 0.01


class Machine(Protocol):
    """See `netlab.lab.machine.Machine`."""

    def identity(self, name: str) -> int | None: ...

    def start_processes(self, run_dir: Path) -> None: ...

    def processes(self, run_dir: Path) -> dict[str, dict[str, Any]]: ...


def follow(machine: Machine, journal: Journal, table: Table, *, stopped: Collection[str] = ()) -> None:
    """Have these programs run: the table is a file, the supervisor follows it. stopped: what is to end."""
    if table or stopped:
        # a namespace that was made anew has another number: what ran in the old one starts again
        numbered = [
            {**entry, "namespace": machine.identity(netns) if (netns := entry.get("netns")) else None}
            for entry in table
        ]
        journal.store(TABLE, orjson.dumps({"processes": numbered}))
        machine.start_processes(journal.dir)


def ready(
    machine: Machine, journal: Journal, table: Table, progress: Callable[[str, int], None] | None,
    *, limit: float = READY_LIMIT,
) -> None:  # fmt: skip
    """Until every process that tells has told that it is ready. NetlabError with its last words if it does not."""
    waiting = [entry["name"] for entry in table if entry.get("notify")]
    limit = patience(limit)
    end = time.monotonic() + limit
    while waiting:
        looked = time.monotonic()
        if progress:
            progress("waiting for processes", len(waiting))
        there = machine.processes(journal.dir)
        waiting = [name for name in waiting if not there.get(name, {}).get("ready")]
        broken = [name for name in waiting if there.get(name, {}).get("state") == "failed"]
        if broken or (waiting and time.monotonic() > end):
            name = (broken or waiting)[0]
            reason = there.get(name, {}).get("reason")
            said = last_words(journal.dir / "log" / f"{name.replace('/', '.')}.log")
            raise NetlabError(
                f"{name} is not ready" + ("" if broken else f" after {limit:g} s")
                + "".join(f": {text}" for text in (reason, said) if text)
            )  # fmt: skip
        if waiting:
            time.sleep(rest(looked, _LOOK))


def last_words(log: Path) -> str:
    """The last line of a process's log that is not set in."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    # what is set in belongs to the line before it
    return next((line for line in reversed(lines) if line.strip() and not line.startswith(" ")), "")
