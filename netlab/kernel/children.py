"""Programs that run beside us with descriptors of ours as their input and outputs, waited for in the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from netlab.base.descriptors import readable
from netlab.kernel.commands import missing


class Child:
    """A program under way, which leads a session of its own. Whoever starts it waits for it, or kills it and waits."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Starts it. The descriptors stay the caller's; env: added to ours. MachineError if it is not installed."""
        try:
            self._process = subprocess.Popen(
                list(argv), stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, cwd=cwd,
                start_new_session=True, env={**os.environ, "LC_ALL": "C", **(env or {})},
            )  # fmt: skip
        except FileNotFoundError:
            raise missing(argv[0]) from None
        self._waiting: asyncio.Task[int] | None = None

    async def wait(self) -> int:
        """Its exit status when it has ended: 128 and the signal's number if one ended it. Any number may wait."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._wait())
        return await asyncio.shield(self._waiting)

    async def _wait(self) -> int:
        if self._process.poll() is None:
            fd = os.pidfd_open(self._process.pid)  # ours until it is reaped: the number is no other's
            try:
                while self._process.poll() is None:
                    await readable(fd)
            finally:
                os.close(fd)
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def send(self, number: int) -> None:
        """Signal it; nothing happens if it has ended."""
        self._process.send_signal(number)

    async def end(self) -> None:
        """Kill it if it runs, and reap it, however often the caller is cancelled meanwhile."""
        self.send(signal.SIGKILL)
        await self.wait()
