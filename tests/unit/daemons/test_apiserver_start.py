"""A server that begins before its etcd does, and one that has to end before it has begun."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from netlab.client.transport import Unavailable
from netlab.daemons import apiserver
from netlab.daemons.apiserver import Options, answering, started
from netlab.store.protocol import StoreError


class Etcd:
    """Answers after so many questions."""

    def __init__(self, silent: int) -> None:
        self.silent = silent

    async def get(self, key: str) -> None:
        if self.silent:
            self.silent -= 1
            raise Unavailable("http://127.0.0.1:2379: connection refused")


def test_etcd_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "LOOK", 0.0)
    etcd = Etcd(3)
    asyncio.run(answering(cast(Any, etcd), 60))
    assert etcd.silent == 0
    with pytest.raises(StoreError, match="connection refused"):
        asyncio.run(answering(cast(Any, Etcd(10**9)), 0))


def test_a_signal_is_heard_while_it_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone: list[str] = []

    async def serve(options: Options) -> NoReturn:
        try:
            await asyncio.Event().wait()
        finally:
            gone.append("ended")
        raise AssertionError

    monkeypatch.setattr(apiserver, "serve", serve)

    async def test() -> object:
        ended = asyncio.Event()
        asyncio.get_running_loop().call_soon(ended.set)
        return await started(Options(data_dir=tmp_path), ended)

    assert asyncio.run(test()) is None and gone == ["ended"]
