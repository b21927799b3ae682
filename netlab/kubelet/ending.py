"""The end of a container: preStop, its stop signal, KILL; and what it had to say in the end.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (killContainer, getTerminationMessage).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from netlab.api import Json
from netlab.kubelet import pods
from netlab.kubelet.handlers import Target
from netlab.kubelet.tools import Tools

#: of a termination message: bytes out of its file; bytes and lines out of the log
FILE_MAX, LOG_MAX, LOG_LINES = 4096, 2048, 80


async def end(tools: Tools, pod: Json, target: Target, deadline: float, *, hook: bool, ended: asyncio.Event) -> None:
    """Ask until the deadline (seconds since 1970), then make it end. hook: whether preStop is to be run; ended: set
    when it has ended."""
    clock = tools.clock
    pre = (target.container.get("lifecycle") or {}).get("preStop")
    if hook and pre and deadline > clock.now():
        await _pre_stop(tools, pod, target, pre, deadline - clock.now(), ended)
        deadline = max(deadline, clock.now() + pods.GRACE_MIN)
    if deadline > clock.now() and not ended.is_set():
        await tools.engine.ask(target.id)
        await clock.wait(ended, deadline - clock.now())
    if not ended.is_set():
        await tools.engine.kill(target.id)


async def _pre_stop(
    tools: Tools, pod: Json, target: Target, pre: Json, seconds: float, ended: asyncio.Event
) -> None:  # fmt: skip
    asking = asyncio.ensure_future(tools.asker.ask(pre, target, seconds))
    gone = asyncio.ensure_future(tools.clock.wait(ended, seconds))
    try:
        await asyncio.wait({asking, gone}, return_when=asyncio.FIRST_COMPLETED)
        if asking.done() and not asking.result().ok and not ended.is_set():
            name = target.container["name"]
            tools.says(pod, "FailedPreStopHook", "PreStopHook failed", container=name, warning=True)
    finally:
        for task in (asking, gone):
            task.cancel()


def message(file: Path, log: Path, container: Json, *, failed: bool) -> str:
    """What it had to say in the end. Reads files."""
    try:
        with file.open("rb") as opened:
            said = opened.read(FILE_MAX).decode(errors="replace")
    except OSError:
        said = ""
    if not said and failed and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        return last_lines(log)
    return said


def last_lines(log: Path, *, lines: int = LOG_LINES, size: int = LOG_MAX) -> str:
    """The end of a log in the format of the Container Runtime Interface."""
    try:
        with log.open("rb") as file:
            end_of_file = file.seek(0, 2)
            file.seek(max(0, end_of_file - 8 * size))
            found = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = "".join(f"{line.split(' ', 3)[3]}\n" for line in found[-lines:] if line.count(" ") >= 3)
    return told.encode()[-size:].decode(errors="ignore")
