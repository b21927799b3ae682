"""What only one of the stores can do: compaction, history, folders that a person works in."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from agreeing import FIRST, IPV4, THIRD, Watching, manager, names, node, run
from stores import (
    DEADLINE,
    Bench,
    Etcd,
    Etcd2Bench,
    EtcdBench,
    FileBench,
    running_etcd,
    until,
)

from netlab.client.etcd import EtcdClient
from netlab.overlay.lease import StoreUnavailable
from netlab.overlay.managers import file
from netlab.overlay.managers.etcd import EtcdStore
from netlab.overlay.managers.file import FileStore


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


def test_etcd_compaction_while_the_watch_is_cut_off(etcd: Etcd) -> None:
    async def test(bench: Bench) -> None:
        assert isinstance(bench, EtcdBench)
        await bench.configure(IPV4)
        await bench.put("100.96.1.0-24", '{"PublicIP":"10.0.0.1"}')
        async with Watching(manager(bench)) as watching:
            await watching.until({"100.96.1.0-24"})
            await bench.go_away()
            await bench.come_back()
            await bench.drop("100.96.1.0-24")
            for n in range(5):
                await bench.put("100.96.2.0-24", f'{{"PublicIP":"10.0.0.{n}"}}')
            found = await bench.client.prefix("/")
            await bench.client.compact(found.revision)
            await watching.until({"100.96.2.0-24"})
            await until(lambda: watching.seen[-1]["100.96.2.0-24"].attrs.public_ip == IPv4Address("10.0.0.4"))

    run(lambda: EtcdBench(etcd), test)


def test_etcd2_history_is_overrun(etcd: Etcd) -> None:
    """More than the thousand events that v2 keeps, elsewhere in the store, and then one of ours."""

    async def test(bench: Bench) -> None:
        assert isinstance(bench, Etcd2Bench)
        await bench.configure(IPV4)
        store = bench.store()
        stream = store.watch()
        assert await anext(stream) == {}
        turn = asyncio.Semaphore(20)

        async def put(number: int) -> None:
            async with turn:
                await bench.client2.put("/elsewhere", str(number))

        await bench.put("100.96.1.0-24", '{"PublicIP":"10.0.0.1"}')
        # the watch is not under way now: it is this loop that drives it
        await asyncio.gather(*(put(n) for n in range(1100)))
        await bench.drop("100.96.1.0-24")
        await bench.put("100.96.2.0-24", '{"PublicIP":"10.0.0.2"}')
        async with asyncio.timeout(DEADLINE):
            while set(entries := await anext(stream)) != {"100.96.2.0-24"}:
                assert set(entries) <= {"100.96.1.0-24", "100.96.2.0-24"}
        await stream.aclose()
        assert await bench.client2.delete("/elsewhere")

    run(lambda: Etcd2Bench(etcd), test)


def test_etcd_expiries_of_others(etcd: Etcd) -> None:
    async def test(bench: Bench) -> None:
        await bench.configure(IPV4)
        mine = await manager(bench, ttl=3600).acquire(node(1))
        client = EtcdClient([etcd.url])
        rough, exact = EtcdStore(client), EtcdStore(client, exact=True)
        assert mine.expires is not None
        entry = (await exact.entries())[mine.subnet.key]
        assert entry.expires == pytest.approx(mine.expires, abs=60)
        entry = (await rough.entries())[mine.subnet.key]
        assert entry.expires == pytest.approx(mine.expires + 23 * 3600, abs=60)
        await client.aclose()

    run(lambda: EtcdBench(etcd), test)


def test_file_is_what_a_learner_expects(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        assert isinstance(bench, FileBench)
        await bench.configure(IPV4)
        lease = await manager(bench).acquire(node(1))
        mine = bench.folder / "subnets" / "100.96.1.0-24"
        assert mine.read_text() == node(1).to_json()
        assert str(mine.readlink()) == "../leases/100.96.1.0-24@1700086400.000"
        assert lease.expires == 1_700_086_400
        # nothing is left over from renewals
        bench.clock.advance(3600)
        await manager(bench).renew(lease)
        assert names(bench.folder / "leases") == ["100.96.1.0-24@1700090000.000"]
        assert names(bench.folder) == ["config", "leases", "lock", "subnets"]
        # edited through the link: the value changes, the expiry stays
        async with Watching(manager(bench)) as watching:
            await watching.until({"100.96.1.0-24"})
            mine.write_text('{"PublicIP":"10.0.0.1","BackendType":"udp"}')
            await until(lambda: watching.seen[-1]["100.96.1.0-24"].attrs.backend_type == "udp")
            assert watching.seen[-1]["100.96.1.0-24"].expires == 1_700_090_000
            # swept with the next write
            bench.clock.advance(25 * 3600)
            await watching.until(set())
        await manager(bench).acquire(node(2), previous=THIRD)
        assert names(bench.folder / "subnets") == ["100.96.3.0-24"]
        assert len(names(bench.folder / "leases")) == 1

    run(lambda: FileBench(tmp_path), test)


def test_file_survives_odd_things_in_its_folder(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        assert isinstance(bench, FileBench)
        await bench.configure(IPV4)
        subnets = bench.folder / "subnets"
        subnets.mkdir()
        (subnets / "100.96.1.0-24").mkdir()
        (subnets / ".100.96.2.0-24.swp").write_bytes(b"\0")
        (subnets / "100.96.2.0-24~").write_bytes(b"\0")
        (subnets / "100.96.2.0-24").write_bytes(b"\xff\xfe")
        (subnets / "100.96.3.0-24").symlink_to("100.96.3.0-24")
        (subnets / "100.96.4.0-24").symlink_to("/nowhere/at/all")
        (subnets / "a\nb").write_text("{}")
        os.mkfifo(subnets / "100.96.9.0-24")
        reports: list[str] = []
        lease = await manager(bench, reports).acquire(node(1))
        assert lease.subnet.key in ("100.96.3.0-24", "100.96.4.0-24", "100.96.5.0-24")
        assert len(reports) >= 3, reports
        await manager(bench).renew(lease)
        await manager(bench).release(lease)

    run(lambda: FileBench(tmp_path), test)


def test_file_lock_held_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_LOCK_LIMIT", 0.02)
    store = FileStore(tmp_path)
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="held by another process"):
            asyncio.run(store.create(FIRST, b"{}", 1.0))
    assert asyncio.run(store.create(FIRST, b"{}", 1.0))


_RACER = """
import asyncio, pathlib, random, sys
from ipaddress import IPv4Address
from netlab.overlay.lease import LeaseAttrs
from netlab.overlay.managers.file import FileStore
from netlab.overlay.managers.store import StoreManager

async def main():
    for n in range(10):
        manager = StoreManager(FileStore(pathlib.Path(sys.argv[1])), choose=lambda numbers: numbers[0])
        lease = await manager.acquire(LeaseAttrs(public_ip=IPv4Address(int(sys.argv[2]) * 256 + n)))
        print(lease.subnet.key)
        await asyncio.sleep(0)

asyncio.run(main())
"""


def test_file_race_between_processes(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(json.dumps(IPV4))
    command = [sys.executable, "-c", _RACER, str(tmp_path)]
    racers = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in (1, 2, 3)]
    printed = [racer.communicate(timeout=DEADLINE)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    keys = [key for keys in printed for key in keys]
    assert len(keys) == len(set(keys)) == 30
    assert names(tmp_path / "subnets") == sorted(keys)


def test_file_folder_replaced_under_the_watch(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        assert isinstance(bench, FileBench)
        await bench.configure(IPV4)
        async with Watching(manager(bench)) as watching:
            await watching.until(set())
            # before the watcher has a chance to look
            bench.folder.rename(bench.aside)
            bench.folder.mkdir()
            await bench.put("100.96.1.0-24", '{"PublicIP":"10.0.0.1"}')
            await watching.until({"100.96.1.0-24"})
            await bench.put("100.96.2.0-24", '{"PublicIP":"10.0.0.2"}')
            await watching.until({"100.96.1.0-24", "100.96.2.0-24"})

    run(lambda: FileBench(tmp_path), test)
