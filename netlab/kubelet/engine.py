"""The runtime, as the event loop uses it: what blocks is done in threads, and the end of a container is an event.

Containers are known by labels alone: what another kubelet made before this one is found and understood.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from netlab.base.aio import aside, in_thread
from netlab.base.errors import KernelError, NetlabError
from netlab.kubelet import seen
from netlab.kubelet.handlers import Ran
from netlab.kubelet.seen import Instance
from netlab.runtime import sandbox as sandboxes
from netlab.runtime.containers import NoContainer, Runtime, Status
from netlab.runtime.sandbox import Sandbox
from netlab.runtime.spec import Container

T = TypeVar("T")

#: containers that are made or taken away at once: more of them only make each slower
AT_ONCE = 4
#: programs that may run in containers for probes and hooks at once
RUNS = 64


def fresh_id() -> str:
    """A name for a container: unique, and short enough for the path of a socket."""
    return secrets.token_hex(16)


def labels_of(pod: Any, name: str, attempt: int, **more: str) -> dict[str, str]:
    """Whose a container is."""
    meta = pod["metadata"]
    return {
        seen.NAMESPACE: meta.get("namespace", ""), seen.NAME: meta["name"], seen.UID: meta["uid"],
        seen.CONTAINER: name, seen.ATTEMPT: str(attempt), **more,
    }  # fmt: skip


def instance_of(status: Status, *, message: str = "", reason: str = "") -> Instance:
    """What the runtime says of a container."""
    labels = status.labels
    attempt = labels.get(seen.ATTEMPT, "0")
    return Instance(
        id=status.id, name=labels.get(seen.CONTAINER, ""), attempt=int(attempt) if attempt.isdecimal() else 0,
        state=status.state, sandbox=labels.get(seen.SANDBOX, ""), image=status.image,
        image_id=labels.get(seen.IMAGE, ""), fingerprint=labels.get(seen.HASH, ""), created=status.created,
        started=status.started, finished=status.finished, exit_code=status.exit_code, oom_killed=status.oom_killed,
        message=message, reason=reason,
    )  # fmt: skip


class Engine:
    """One runtime, for one event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._making = asyncio.Semaphore(AT_ONCE)
        self._runs = asyncio.Semaphore(RUNS)
        self._watched: dict[str, int] = {}

    def close(self) -> None:
        """Watch nothing any more. Containers go on."""
        loop = asyncio.get_running_loop()
        for fd in self._watched.values():
            loop.remove_reader(fd)
            os.close(fd)
        self._watched.clear()

    async def _one(self, work: Callable[..., T], *args: object) -> T:
        """KernelError, too, for what the system refuses: a disk may be full."""
        async with self._making:
            try:
                return await in_thread(work, *args)
            except OSError as e:
                raise KernelError(f"{e.filename}: {e.strerror}" if e.filename else str(e), errno_=e.errno or 0) from e

    # -- what there is

    async def all(self) -> list[Status]:
        """Every container, of whichever pod."""
        return await in_thread(self.runtime.all)

    async def status(self, id: str) -> Status | None:
        """None if there is no such container."""
        try:
            return await in_thread(self.runtime.status, id)
        except NoContainer:
            return None

    async def watch(self, id: str, ended: Callable[[], None]) -> None:
        """Call `ended` once when the container ends, or at once if it has."""
        try:
            fd = await in_thread(self.runtime.pidfd, id)
        except NoContainer:
            fd = None
        loop = asyncio.get_running_loop()
        if fd is None:
            loop.call_soon(ended)
            return

        def readable() -> None:
            loop.remove_reader(fd)
            os.close(fd)
            self._watched.pop(id, None)
            ended()

        self._watched[id] = fd
        loop.add_reader(fd, readable)

    # -- making and ending

    async def sandbox(self, id: str, sandbox: Sandbox, log: Path) -> Status:
        """Make one and start it. NetlabError, and then nothing of it is left."""
        return await self._one(lambda: sandboxes.run(self.runtime, id, sandbox, log=log))

    async def joined(self, id: str, sandbox: Sandbox) -> Mapping[str, str]:
        """What containers of a sandbox join."""
        return await in_thread(sandboxes.namespaces, self.runtime, id, sandbox)

    async def create(self, id: str, container: Callable[[], Container], log: Path) -> None:
        """container: makes the value, and may block. Whatever that raises; NetlabError."""
        await self._one(lambda: self.runtime.create(id, container(), log=log))

    async def start(self, id: str) -> Status:
        """Run it, once created. NetlabError."""

        def work() -> Status:
            self.runtime.start(id)
            return self.runtime.status(id)

        return await self._one(work)

    async def ask(self, id: str) -> None:
        """Ask it to end."""
        try:
            await in_thread(self.runtime.ask, id)
        except NoContainer:
            pass

    async def kill(self, id: str) -> None:
        """Make it end."""
        try:
            await in_thread(self.runtime.stop, id, 0)
        except NoContainer:
            pass

    async def remove(self, ids: Iterable[str]) -> None:
        """Nothing is left of these but their logs. NetlabError of the last that would not go."""
        failed: NetlabError | None = None
        for id in ids:
            try:
                await self._one(self.runtime.remove, id)
            except NetlabError as e:
                failed = e
        if failed is not None:
            raise failed

    async def run(self, id: str, argv: Sequence[str], seconds: float) -> Ran:
        """One more program in it."""

        def work() -> Ran:
            try:
                done = self.runtime.run(id, argv, timeout=seconds)
            except KernelError as e:
                if "not done after" in e.message:
                    return Ran("", -1, True)
                raise
            return Ran(done.stdout + done.stderr, done.returncode)

        async with self._runs:
            return await aside(work)


def by_pod(statuses: Iterable[Status]) -> dict[str, list[Status]]:
    """The containers of each pod, by its uid, in the order of their attempts."""
    found: dict[str, list[Status]] = {}
    for status in statuses:
        if uid := status.labels.get(seen.UID):
            found.setdefault(uid, []).append(status)
    for listed in found.values():
        listed.sort(key=lambda s: (int(s.labels.get(seen.ATTEMPT, "0")), s.created))
    return found


def pod_of(status: Status) -> dict[str, Any]:
    """What a container tells of its pod, when nobody else does any more."""
    labels = status.labels
    meta = {"namespace": labels.get(seen.NAMESPACE, ""), "name": labels.get(seen.NAME, ""), "uid": labels[seen.UID]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}}
