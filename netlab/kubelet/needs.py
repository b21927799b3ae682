"""What the kubelet is handed by whoever starts it, each as small as it needs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.base.errors import NetlabError
from netlab.runtime.images.store import Image
from netlab.runtime.sandbox import Sandbox
from netlab.runtime.spec import Container


class Clock:
    """The time. Tests have one of their own."""

    def __init__(self) -> None:
        self._base = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970 by the machine's clock when this one began, and evenly on from there: what waits by it
        comes in time whoever sets the machine's clock meanwhile."""
        return self._base + time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970 as the machine's clock has them now, for what others are told."""
        return time.time()

    def at(self, stamp: float) -> float:
        """When that was by `now`, of a moment by the machine's clock: as long ago."""
        return self.now() - (self.wall() - stamp)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Until an event, or so many seconds have passed; whether it has happened."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True


class NetworkError(NetlabError):
    """A pod could not be wired, or not be taken off."""


class Network(Protocol):
    """The pods' network. What it does blocks: it is called in threads. id: of the sandbox."""

    def problem(self) -> str | None:
        """Why no pod can be wired now; None if it can."""

    def attach(self, pod: Json, id: str) -> tuple[str, Sequence[Address]]:
        """A network namespace for a pod, wired: its path and addresses. NetworkError."""

    def detach(self, id: str) -> None:
        """Nothing is left of it; success if there is nothing. NetworkError."""

    def known(self) -> set[str]:
        """The ids of which there may be something left."""


class Making(Protocol):
    """See `netlab.kubelet.making.Making`."""

    async def prepare(self, pod: Json) -> None: ...

    def sandbox(self, pod: Json, *, netns: str) -> Sandbox: ...

    def container(
        self, pod: Json, container: Json, *, image: Image, namespaces: Mapping[str, str], ips: Sequence[Address],
        attempt: int,
    ) -> Container: ...  # fmt: skip

    def termination_log(self, uid: str, container: str, attempt: int) -> Path: ...

    def overfull(self, pod: Json) -> list[str]: ...

    async def refresh(self, pod: Json) -> None: ...

    def release(self, uid: str) -> None: ...

    def known(self) -> set[str]: ...


class Says(Protocol):
    """Writes events about pods. container: which of them it is about, "" for none."""

    def __call__(self, pod: Json, reason: str, message: str, *, container: str = "", warning: bool = False) -> None: ...
