"""What only the store in a file can do, and what can go wrong with a file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from storing import DEADLINE, take, told, until

from netlab.base.errors import ConflictError, InputError, NetlabError
from netlab.store import database
from netlab.store.compacting import keep_compacted
from netlab.store.database import Database
from netlab.store.memory import MemoryStore
from netlab.store.protocol import Compacted, KeyValue, StoreError, Uncertain
from netlab.store.restoring import restore_file, restore_into
from netlab.store.sqlite import SqliteStore

CRASHING = Path(__file__).parent / "crashing.py"


def run(file: Path, test: Callable[[SqliteStore], Awaitable[None]], **more: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(DEADLINE):
            store = await SqliteStore.open(file, **more)
            try:
                await test(store)
            finally:
                await store.aclose()

    asyncio.run(whole())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def rows(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        return int(connection.execute("SELECT count(*) FROM log").fetchone()[0])
    finally:
        connection.close()


def test_a_restart_continues_with_everything(file: Path) -> None:
    async def before(store: SqliteStore) -> None:
        assert await store.create("/a", b"1") == 2
        assert await store.update("/a", b"2", expected=2) == 3
        assert await store.create("/b", b"") == 4
        assert (await store.delete("/b"))[1] == 5

    async def after(store: SqliteStore) -> None:
        assert await store.revision() == 5
        assert await store.get("/a") == (KeyValue("/a", b"2", 2, 3), 5)
        assert await store.get("/b", revision=4) == (KeyValue("/b", b"", 4, 4), 4)
        assert told(await take(store.watch("", after=0), 4)) == [
            ("+", "/a", b"1"), ("~", "/a", b"2"), ("+", "/b", b""), ("-", "/b", b""),
        ]  # fmt: skip
        assert await store.create("/c", b"") == 6
        await store.compact(5)

    async def compacted(store: SqliteStore) -> None:
        assert (await store.revision(), store.oldest) == (6, 5)
        with pytest.raises(Compacted):
            await store.get("/a", revision=4)
        assert [kv.key for kv in (await store.list("")).items] == ["/a", "/c"]
        await store.settled()

    run(file, before)
    run(file, after)
    run(file, compacted)
    assert rows(file) == 2
    assert [p.name for p in file.parent.iterdir()] == ["state.db"]


def test_what_is_durable_is_set(file: Path) -> None:
    async def test(store: SqliteStore) -> None:
        connection = store._writer._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    run(file, test)
    assert file.stat().st_mode & 0o777 == 0o600


def test_writes_that_come_together_share_a_transaction(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append = Database.append

    def counted(self: Database, records: Any) -> None:
        sizes.append(len(records))
        append(self, records)

    monkeypatch.setattr(Database, "append", counted)

    async def test(store: SqliteStore) -> None:
        await asyncio.gather(*(store.create(f"/{n}", b"") for n in range(500)))
        assert sum(sizes) == 500 and len(sizes) <= 3

    run(file, test)


def test_a_cancelled_writer_does_not_disturb_the_others(file: Path) -> None:
    async def test(store: SqliteStore) -> None:
        tasks = [asyncio.create_task(store.create(f"/{n}", b"")) for n in range(10)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results[::2])
        assert all(isinstance(r, int) for r in results[1::2])
        for n in range(1, 10, 2):
            assert (await store.get(f"/{n}"))[0]

    run(file, test)


def test_a_full_disk_is_told_and_leaves_nothing_half_written(file: Path) -> None:
    async def test(store: SqliteStore) -> None:
        await store.create("/a", b"")
        limit = store._writer._connection
        limit.execute("PRAGMA max_page_count = 12")
        watch = store.watch("/", after=2)
        with pytest.raises(StoreError, match=r"state\.db: the disk is full"):
            for n in range(100):
                await store.create(f"/x/{n}", b"x" * 5000)
        count, revision = await store.count("/x/"), await store.revision()
        assert 0 < count < 100 and revision == 2 + count
        results = await asyncio.gather(
            *(store.create(f"/y/{n}", b"y" * 9000) for n in range(5)),
            store.delete("/a", expected=9),
            return_exceptions=True,
        )
        assert all(isinstance(r, StoreError) and "full" in str(r) for r in results)
        limit.execute("PRAGMA max_page_count = 1000000")
        assert await store.create("/z", b"") == revision + 1
        assert [e.kv.revision for e in await take(watch, count + 1)] == list(range(3, revision + 2))

    run(file, test)

    async def again(store: SqliteStore) -> None:
        assert not await store.count("/y/") and await store.count("/z") == 1

    run(file, again)


def test_an_unknown_outcome_ends_the_store(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Database, records: Any) -> None:
        raise Uncertain("the disk is gone")

    async def test(store: SqliteStore) -> None:
        watch = store.watch("/", after=1)
        waiting = asyncio.create_task(watch.__anext__())
        await asyncio.sleep(0)
        monkeypatch.setattr(Database, "append", broken)
        with pytest.raises(Uncertain):
            await store.create("/a", b"")
        for call in (store.get("/a"), store.create("/b", b""), waiting):
            with pytest.raises(StoreError, match="the disk is gone"):
                await call

    run(file, test)


def test_a_file_has_one_server_and_any_number_of_readers(file: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, str(CRASHING), str(file), "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin and holder.stdout
    try:
        assert holder.stdout.readline() == b"open - 1\n"
        with pytest.raises(ConflictError, match=rf"state\.db is in use by process {holder.pid} \(python"):
            asyncio.run(SqliteStore.open(file))

        async def read(store: SqliteStore) -> None:
            assert await store.revision() == 1
            with pytest.raises(StoreError, match="for reading only"):
                await store.create("/a", b"")

        run(file, read, read_only=True)
    finally:
        holder.stdin.close()
        holder.stdout.close()
        assert holder.wait(DEADLINE) == 0

    async def second(store: SqliteStore) -> None:
        with pytest.raises(ConflictError, match="another user in this process"):
            await SqliteStore.open(file)

    run(file, second)


def test_who_has_locked_the_file_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.02)
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('locked', flush=True); sys.stdin.read()"
    )

    async def test(store: SqliteStore) -> None:
        other = subprocess.Popen(
            [sys.executable, "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdin and other.stdout
        try:
            assert other.stdout.readline() == b"locked\n"
            with pytest.raises(StoreError, match=rf"state\.db: it is locked by process {other.pid} \(python"):
                await store.create("/a", b"")
        finally:
            other.stdin.close()
            other.stdout.close()
            other.wait()
        assert await store.create("/a", b"") == 2

    run(file, test)


def test_files_that_are_no_store(file: Path, tmp_path: Path) -> None:
    def refused(path: Path, kind: type[NetlabError], match: str, **more: Any) -> None:
        with pytest.raises(kind, match=match) as e:
            asyncio.run(SqliteStore.open(path, **more))
        assert str(path) in str(e.value)

    refused(file, InputError, "there is no such store", read_only=True)
    refused(file, InputError, "there is no such store", create=False)
    refused(tmp_path / "no" / "x.db", StoreError, "No such file or directory")
    refused(tmp_path, StoreError, "Is a directory")
    file.write_bytes(b"apiVersion: v1\n" * 500)
    refused(file, InputError, "is no SQLite file")
    assert file.read_bytes().startswith(b"apiVersion")
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    refused(other, InputError, "an SQLite file of something else")
    run(tmp_path / "new.db", _nothing)
    connection = sqlite3.connect(tmp_path / "new.db")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    refused(tmp_path / "new.db", InputError, "is of version 7; this netlab knows version 1")


async def _nothing(store: SqliteStore) -> None:
    pass


def test_a_damaged_file_is_told(file: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        await asyncio.gather(*(store.create(f"/{n}", os.urandom(3000)) for n in range(200)))

    run(file, fill)
    data = bytearray(file.read_bytes())
    data[3 * 8192 : 40 * 8192] = b"\xa5" * (37 * 8192)
    file.write_bytes(data)
    with pytest.raises(StoreError, match="damaged") as e:
        asyncio.run(SqliteStore.open(file))
    assert "netlab store restore" in str(e.value)
    with pytest.raises(StoreError, match="damaged"):
        asyncio.run(restore_file(file, file.with_name("new.db")))
    assert not file.with_name("new.db").exists()


def test_keys_expire_across_a_restart(file: Path) -> None:
    now = [1000.0]

    async def before(store: SqliteStore) -> None:
        await store.create("/a", b"", ttl=60)
        await store.create("/b", b"", ttl=600)
        now[0] += 61

    async def after(store: SqliteStore) -> None:
        assert told(await take(store.watch("", after=3), 1)) == [("-", "/a", b"")]
        assert [kv.key for kv in (await store.list("")).items] == ["/b"]

    run(file, before, clock=lambda: now[0])
    run(file, after, clock=lambda: now[0])


def test_compaction_that_was_interrupted_is_finished(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Database, revisions: Any) -> None:
        raise StoreError("the disk is full")

    async def interrupted(store: SqliteStore) -> None:
        revision = await store.create("/a", b"")
        for _ in range(20):
            revision = await store.update("/a", b"", expected=revision)
        monkeypatch.setattr(Database, "drop", full)
        await store.compact(revision)
        await store.settled()

    async def after(store: SqliteStore) -> None:
        await store.settled()
        assert (await store.get("/a"))[1] == 22

    run(file, interrupted)
    assert rows(file) == 21
    monkeypatch.undo()
    run(file, after)
    assert rows(file) == 1


def test_the_past_is_forgotten_now_and_then(file: Path) -> None:
    async def test(store: SqliteStore) -> None:
        async def pause(_: float) -> None:
            await ticks.get()

        ticks: asyncio.Queue[None] = asyncio.Queue()
        keeping = asyncio.create_task(keep_compacted(store, sleep=pause))
        await until(lambda: bool(ticks._getters))  # type: ignore[attr-defined]
        first = await store.create("/a", b"")
        second = await store.update("/a", b"", expected=first)
        for oldest in (1, second, second):
            ticks.put_nowait(None)
            await until(lambda o=oldest: store.oldest == o)  # type: ignore[misc]
        keeping.cancel()

    run(file, test)


def test_snapshots_of_stores_in_use(file: Path, tmp_path: Path, kind: Any) -> None:
    """From every kind of store; back into a file, and into every kind."""
    saved, restored = tmp_path / "saved.db", tmp_path / "restored.db"

    async def whole() -> None:
        async with asyncio.timeout(DEADLINE):
            async with kind.opened() as store:
                for n in range(700):
                    await store.create(f"/é/{n}", b"%d" % n)
                gone = await store.create("/gone", b"")
                await store.delete("/gone")
                await store.create("/short", b"", ttl=3600)
                writing = asyncio.gather(*(store.create(f"/later/{n}", b"") for n in range(50)))
                revision = await store.snapshot(saved)
                await writing
                expected = await store.list("", revision=revision)
            assert await restore_file(saved, restored) == revision
            with pytest.raises(ConflictError, match="--force"):
                await restore_file(saved, restored)
            copy = await SqliteStore.open(restored)
            assert await copy.list("") == expected
            assert (copy.oldest == revision) == (kind.name == "etcd")
            if kind.name != "etcd":
                assert (await copy.get("/gone", revision=gone))[0]
            assert await copy.create("/new", b"") == revision + 1
            assert [when for when, key, _ in copy._expiries if key == "/short"]
            with pytest.raises(ConflictError, match="in use"):
                await restore_file(saved, restored, replace=True)
            await copy.aclose()
            assert await restore_file(saved, restored, replace=True) == revision
            async with kind.opened() as store:
                await restore_into(saved, store)
                again = await store.list("")
                assert [(kv.key, kv.value) for kv in again.items] == [(kv.key, kv.value) for kv in expected.items]
                with pytest.raises(ConflictError, match="has 7"):
                    await restore_into(saved, store)

    asyncio.run(whole())
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "0.db" and p.name != "1.db") == [
        "restored.db",
        "saved.db",
    ]


def test_a_restored_file_is_not_mixed_with_the_log_of_the_old_one(file: Path, tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        await store.create("/old", b"")

    run(file, fill)
    # as a server leaves them that was killed
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).write_bytes(b"x" * 100_000)

    async def whole() -> None:
        memory = MemoryStore()
        await memory.create("/new", b"")
        await memory.snapshot(tmp_path / "saved.db")
        await memory.aclose()
        await restore_file(tmp_path / "saved.db", file, replace=True)

    asyncio.run(whole())

    async def check(store: SqliteStore) -> None:
        assert [kv.key for kv in (await store.list("")).items] == ["/new"]

    run(file, check)


def test_snapshots_that_cannot_be_written(file: Path, tmp_path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        await store.create("/a", b"")
        for path in (tmp_path / "no" / "x.db", tmp_path / "folder"):
            with pytest.raises(StoreError):
                await store.snapshot(path)

    (tmp_path / "folder").mkdir()
    run(file, test)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "state.db"]
