"""kill -9 in the middle of writes: what was acknowledged is there, and nothing else but what was under way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from stores import Etcd
from storing import DEADLINE, take

from netlab.client.etcd import EtcdClient
from netlab.store.etcd import EtcdStore
from netlab.store.protocol import KeyExists, StoreError
from netlab.store.sqlite import SqliteStore

CRASHING = Path(__file__).parent / "crashing.py"


def killed_after(lines: int, file: Path, prefix: str) -> list[tuple[str, str, int]]:
    """What a writer had acknowledged when it was killed, after at least so many writes."""
    process = subprocess.Popen([sys.executable, str(CRASHING), str(file), prefix], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    return [(what, key, int(revision)) for what, key, revision in (line.split() for line in said if line[-1:] == "\n")]


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    acknowledged: dict[str, tuple[str, int]] = {}
    last, oldest = 1, 0

    async def check() -> int:
        store = await SqliteStore.open(file)
        try:
            revision = await store.revision()
            assert revision >= last and store.oldest >= oldest
            for key, (what, at) in acknowledged.items():
                kv, _ = await store.get(key)
                # a write that was under way may have been kept without anybody having been told
                if what == "delete":
                    assert kv is None, key
                elif kv is not None:
                    assert kv.revision == at or kv.revision > at, key
                else:
                    assert int(key.rpartition("/")[2]) % 5 == 4, key
            first = max(store.oldest, 1)
            events = await take(store.watch("", after=first), revision - first)
            assert [e.kv.revision for e in events] == list(range(first + 1, revision + 1))
            assert await store.create(f"/after/{revision}", b"") == revision + 1
            return revision + 1
        finally:
            await store.aclose()

    for number, lines in enumerate((1, 50, 1000, 3000)):
        said = killed_after(lines, file, f"/{number}")
        assert len(said) >= lines
        for what, key, revision in said:
            last = max(last, revision)
            if what == "compact":
                oldest = max(oldest, revision)
            else:
                acknowledged[key] = (what, revision)
        last = asyncio.run(check())


def test_a_killed_etcd_comes_back_and_watches_go_on(tmp_path: Path) -> None:
    etcd = Etcd(tmp_path / "etcd")
    etcd.start()

    async def whole() -> None:
        store = EtcdStore(EtcdClient([etcd.url], timeout=2))
        written: dict[str, int] = {}
        unknown: set[str] = set()
        stop = False

        async def write(writer: int) -> None:
            number = 0
            while not stop:
                key = f"/{writer}/{number:06}"
                number += 1
                try:
                    written[key] = await store.create(key, b"x")
                except KeyExists:
                    pytest.fail("created twice")
                except StoreError:
                    unknown.add(key)
                    await asyncio.sleep(0.01)

        start = await store.revision()
        watch = store.watch("/", after=start)
        seen: list[tuple[str, int]] = []

        async def follow() -> None:
            async for batch in watch:
                seen.extend((e.kv.key, e.kv.revision) for e in batch.events)

        following = asyncio.create_task(follow())
        writers = [asyncio.create_task(write(n)) for n in range(4)]
        async with asyncio.timeout(DEADLINE):
            for _ in range(2):
                goal = len(written) + 50
                while len(written) < goal:
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(etcd.stop)
                await asyncio.to_thread(etcd.start)
            goal = len(written) + 50
            while len(written) < goal:
                await asyncio.sleep(0.005)
            stop = True
            await asyncio.gather(*writers)
            last = await store.create("/last", b"")
            while not seen or seen[-1][1] < last:
                await asyncio.sleep(0.005)
        assert [revision for _, revision in seen] == list(range(start + 1, last + 1))
        told = dict(seen)
        assert written.items() <= told.items()
        assert told.keys() <= written.keys() | unknown | {"/last"}
        page = await store.list("/")
        assert {kv.key: kv.revision for kv in page.items} == told
        await store.aclose()
        await following

    try:
        asyncio.run(whole())
    finally:
        etcd.stop()
