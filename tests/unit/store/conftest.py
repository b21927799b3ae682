"""The kinds of store, each as a thing that opens one; tests that take `kind` run against all of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "overlay"))

from stores import Etcd, running_etcd
from storing import DEADLINE

from netlab.client.etcd import EtcdClient
from netlab.store.etcd import EtcdStore
from netlab.store.memory import MemoryStore
from netlab.store.protocol import Store
from netlab.store.sqlite import SqliteStore


class Kind:
    """A kind of store. `run` gives an async test an open, empty one, and closes it."""

    def __init__(self, name: str, folder: Path, etcd: Etcd | None) -> None:
        self.name, self._folder, self._etcd = name, folder, etcd
        self._files = count()

    @asynccontextmanager
    async def opened(self) -> Any:
        store: Store
        if self.name == "memory":
            store = MemoryStore()
        elif self.name == "sqlite":
            store = await SqliteStore.open(self._folder / f"{next(self._files)}.db")
        else:
            assert self._etcd is not None
            client = EtcdClient([self._etcd.url], timeout=DEADLINE)
            await client.delete_prefix("")
            store = EtcdStore(client)
        try:
            yield store
        finally:
            await store.aclose()

    def run(self, test: Callable[[Any], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(DEADLINE), self.opened() as store:
                await test(store)

        asyncio.run(whole())


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", "etcd"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    etcd = request.getfixturevalue("etcd") if request.param == "etcd" else None
    return Kind(request.param, tmp_path, etcd)
