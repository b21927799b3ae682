"""What the agents of a node share: they work in their node's namespace, one of each kind, and hear of its changes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from netlab.base.errors import ConflictError, MachineError
from netlab.kernel import netns
from netlab.kernel.events import Changes


def enter(name: str, *, this_machine: bool) -> None:
    """Make sure that a daemon may change the network that it runs in. MachineError if it is the machine's own, unless
    that is meant."""
    netns.require_root()
    if netns.is_machines_own() and not this_machine:
        raise MachineError(
            "this is the machine's own network, not a namespace of a lab: nothing was changed",
            hint=f"run it in a namespace (ip netns exec NAME netlab {name} …), or mean it: --this-machine",
        )
    netns.own()


@contextlib.contextmanager
def alone(name: str, claims: Path, *, held: str, hint: str) -> Iterator[None]:
    """Hold the node for one daemon of the kind. ConflictError if another one runs.

    claims: its file of claims, beside which the lock is; held: what the other one has.
    """
    path = claims.with_name(claims.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise MachineError(f"{path} cannot be made: {e.strerror}", hint=hint) from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise ConflictError(f"another {name} (process {holder}) has {held}", hint=f"stop it first, or {hint}") from None
    try:
        os.truncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


def log_to_stderr() -> None:
    """A daemon's log: a line with the time for each event."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s", datefmt="%H:%M:%S"
    )


async def network_changes() -> AsyncGenerator[None, None]:
    """Something in the network of this namespace has changed, by us or by others."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    with Changes() as changes:

        def told() -> None:
            if changes.drain():
                event.set()

        loop.add_reader(changes.fileno(), told)
        try:
            while True:
                await event.wait()
                event.clear()
                yield
        finally:
            loop.remove_reader(changes.fileno())
