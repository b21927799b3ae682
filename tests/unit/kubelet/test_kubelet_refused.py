"""What the system refuses, and what nobody thought of: told, and tried again after a while, not at once and for ever."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from podvalues import NOW, pod

from netlab.base.errors import KernelError
from netlab.kubelet.engine import Engine
from netlab.kubelet.needs import Clock
from netlab.kubelet.worker import RETRY, Worker


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/var/lib/netlab/containers/a/state.json")


def test_a_full_disk_is_an_error_like_others() -> None:
    engine = Engine(cast(Any, SimpleNamespace(create=full, remove=full)))
    with pytest.raises(KernelError, match=r"containers/a/state.json: No space left on device"):
        asyncio.run(engine.create("a", lambda: cast(Any, None), Path("log")))
    with pytest.raises(KernelError):
        asyncio.run(engine.remove(["a"]))


class Held(Clock):
    def now(self) -> float:
        return NOW


def test_a_bug_waits_before_it_strikes_again(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    tools = SimpleNamespace(clock=Held(), client=None, says=lambda _pod, reason, *_args, **_more: said.append(reason))

    async def bug() -> None:
        raise ZeroDivisionError("nobody thought of it")

    async def test() -> None:
        worker = Worker(cast(Any, tools), pod())
        for _ in range(2):
            worker._lane("c", bug())
            await asyncio.gather(*worker._tasks._tasks.values())
        trouble = worker.state.troubles["c"]
        assert trouble.until == NOW + 2 * RETRY and "nobody thought of it" in trouble.message
        assert worker.state.starting == ""

    asyncio.run(test())
    assert said == ["FailedSync"] * 2
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
