"""Random writers, and watchers that drop and resume: at the end every watcher's view is what a list says."""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import DEADLINE, MAPS, Client, config_map, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "overlay"))

from stores import running_etcd

from netlab.client.etcd import EtcdClient
from netlab.store.etcd import EtcdStore
from netlab.store.memory import MemoryStore
from netlab.store.protocol import Store
from netlab.store.sqlite import SqliteStore

NEEDS_ETCD = pytest.mark.skipif(shutil.which("etcd") is None, reason="needs etcd: apt-get install etcd-server")
Stores = Callable[[str], Awaitable[Store]]

_names = st.sampled_from(["a", "b", "c", "d"])
_writes = st.lists(st.tuples(_names, st.sampled_from(["put", "in", "out", "delete"])), min_size=1, max_size=30)
#: after how many events a watcher drops its connection, each time
_drops = st.lists(st.integers(1, 5), max_size=4)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """An empty store of a kind, for one example after another."""
    files = count()
    with ExitStack() as ends:
        etcd: list[str] = []

        async def make(kind: str) -> Store:
            if kind == "memory":
                return MemoryStore()
            if kind == "sqlite":
                return await SqliteStore.open(tmp_path / f"{next(files)}.db")
            if not etcd:
                etcd.append(ends.enter_context(running_etcd(tmp_path)).url)
            client = EtcdClient(etcd, timeout=DEADLINE)
            await client.delete_prefix("")
            return EtcdStore(client)

        yield make


async def write(c: Client, writes: list[tuple[str, str]]) -> None:
    """One writer after another, whoever wins."""
    for i, (name, what) in enumerate(writes):
        if what == "delete":
            await c.delete(f"{MAPS}/{name}")
            continue
        obj = config_map(name, n=str(i))
        obj["metadata"]["labels"] = {"in": "no" if what == "out" else "yes"}
        if (await c.put(f"{MAPS}/{name}", obj)).status == 404:
            await c.post(MAPS, obj)


async def follow(c: Client, drops: list[int], until: asyncio.Future[int], **query: Any) -> dict[str, Any]:
    """A watcher's view, when it has seen all up to the revision `until`."""
    listed = (await c.get(MAPS, **query)).body
    view = {i["metadata"]["name"]: i["data"] for i in listed["items"]}
    seen = int(listed["metadata"]["resourceVersion"])
    left = list(drops)
    while not (until.done() and seen >= until.result()):
        async with c.watch(MAPS, resourceVersion=seen, allowWatchBookmarks="true", **query) as events:
            told = 0
            while not (until.done() and seen >= until.result()):
                event = await events.next()
                meta = event["object"]["metadata"]
                revision = int(meta["resourceVersion"])
                if event["type"] == "BOOKMARK":
                    seen = max(seen, revision)
                    continue
                assert revision > seen, "an event was repeated, or came out of order"
                seen = revision
                name = meta["name"]
                if event["type"] == "DELETED":
                    assert view.pop(name, None) is not None, "a deletion of what was not there"
                else:
                    assert (event["type"] == "ADDED") == (name not in view)
                    view[name] = event["object"]["data"]
                told += 1
                if left and told >= left[0]:
                    left.pop(0)
                    break
    return view


@pytest.mark.parametrize("kind", ["memory", "sqlite", pytest.param("etcd", marks=NEEDS_ETCD)])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(writers=st.lists(_writes, min_size=1, max_size=3), watchers=st.lists(_drops, min_size=1, max_size=3))
def test_every_view_is_the_truth_at_the_end(
    kind: str, stores: Stores, writers: list[list[tuple[str, str]]], watchers: list[list[int]]
) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE), serving(await stores(kind)) as c:
            c.server.ctx.bookmark_every = 0.02
            until: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            queries: list[dict[str, Any]] = [{}, {"labelSelector": "in=yes"}, {"labelSelector": "in!=yes"}]
            following = [
                asyncio.create_task(follow(c, drops, until, **queries[i % 3])) for i, drops in enumerate(watchers)
            ]
            await asyncio.gather(*(write(c, w) for w in writers))
            until.set_result(await c.server.store.revision())
            views = await asyncio.gather(*following)
            for i, view in enumerate(views):
                items = (await c.get(MAPS, **queries[i % 3])).body["items"]
                assert view == {x["metadata"]["name"]: x["data"] for x in items}

    asyncio.run(run())
