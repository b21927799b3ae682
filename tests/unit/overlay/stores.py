"""The stores that the contract suite runs against, each with the means to play tricks on it; and a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from netlab.client.etcd import EtcdClient
from netlab.client.etcd2 import Etcd2Client
from netlab.overlay.managers.etcd import Etcd2Store, EtcdStore
from netlab.overlay.managers.file import FileStore
from netlab.overlay.managers.memory import MemoryStore
from netlab.overlay.managers.store import LeaseStore

#: seconds after which a test that waits has failed
DEADLINE = 20.0


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.002)


@dataclass
class Clock:
    """Seconds since the epoch that pass only when a test says so."""

    seconds: float = 1_700_000_000.0
    sleepers: list[tuple[float, asyncio.Future[None]]] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.seconds + seconds, waiting))
        await waiting

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        due = [waiting for at, waiting in self.sleepers if at <= self.seconds]
        self.sleepers = [(at, waiting) for at, waiting in self.sleepers if at > self.seconds]
        for waiting in due:
            if not waiting.done():
                waiting.set_result(None)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Etcd:
    """An etcd on loopback, with both APIs and its data in `folder`; it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        if not shutil.which("etcd"):
            pytest.skip("etcd is not installed: apt-get install etcd-server")
        self.folder = folder
        self.url, self.peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # no fsync: the data is thrown away, and the disk is shared
        command = [
            "etcd", "--data-dir", str(self.folder / "data"), "--enable-v2", "--unsafe-no-fsync",
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
            "--initial-cluster", f"default={self.peer}", "--heartbeat-interval", "20", "--election-timeout", "200",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        host, port = self.url.removeprefix("http://").split(":")
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1) as s:
                s.settimeout(1)
                s.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                answer = b""
                while part := s.recv(4096):
                    answer += part
                if b'"true"' in answer:
                    return
            time.sleep(0.01)
        raise AssertionError(f"etcd does not come up: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Bench(Protocol):
    """A store under test. clock: None where time is the store's own."""

    name: str
    clock: Clock | None

    def store(self) -> LeaseStore: ...
    async def configure(self, config: object) -> None: ...
    async def put(self, key: str, value: str) -> None: ...
    async def drop(self, key: str) -> None: ...
    async def expire(self, key: str) -> None: ...
    async def keys(self) -> set[str]: ...
    async def go_away(self) -> None: ...
    async def come_back(self) -> None: ...
    async def close(self) -> None: ...


class MemoryBench:
    name = "memory"

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.memory = MemoryStore(now=self.clock.now, sleep=self.clock.sleep)

    def store(self) -> LeaseStore:
        return self.memory

    async def configure(self, config: object) -> None:
        self.memory.configuration = json.dumps(config).encode()

    async def put(self, key: str, value: str) -> None:
        self.memory.put(key, value.encode())

    async def drop(self, key: str) -> None:
        self.memory.keys.pop(key, None)
        self.memory.touch()

    async def expire(self, key: str) -> None:
        self.clock.advance(25 * 3600)

    async def keys(self) -> set[str]:
        return set(await self.memory.entries())

    async def go_away(self) -> None:
        self.memory.away = True
        self.memory.touch()

    async def come_back(self) -> None:
        self.memory.away = False

    async def close(self) -> None:
        pass


class FileBench:
    name = "file"

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder / "leases"
        self.folder.mkdir()
        self.aside = folder / "aside"

    def store(self) -> LeaseStore:
        return FileStore(self.folder, now=self.clock.now, sleep=self.clock.sleep)

    def _here(self) -> Path:
        return (self.folder if self.folder.exists() else self.aside) / "subnets"

    async def configure(self, config: object) -> None:
        (self.folder / "config").write_text(json.dumps(config))

    async def put(self, key: str, value: str) -> None:
        self._here().mkdir(exist_ok=True)
        scratch = self._here().parent / "by-hand"
        scratch.write_text(value)
        scratch.replace(self._here() / key)

    async def drop(self, key: str) -> None:
        (self._here() / key).unlink()

    async def expire(self, key: str) -> None:
        self.clock.advance(25 * 3600)

    async def keys(self) -> set[str]:
        return set(await FileStore(self.folder, now=self.clock.now).entries())

    async def go_away(self) -> None:
        self.folder.rename(self.aside)

    async def come_back(self) -> None:
        self.aside.rename(self.folder)

    async def close(self) -> None:
        pass


class EtcdBench:
    """etcd by v3, and by v2 (`Etcd2Bench`). What is done by hand while it is away is done before the watchers look."""

    name = "etcd"
    clock = None

    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd
        self.waiting: list[Callable[[], Awaitable[object]]] = []
        self.open: list[LeaseStore] = []
        self.client = EtcdClient([etcd.url], timeout=2)

    def store(self) -> LeaseStore:
        self.open.append(EtcdStore(EtcdClient([self.etcd.url], timeout=2)))
        return self.open[-1]

    async def configure(self, config: object) -> None:
        await self.client.put("/coreos.com/network/config", json.dumps(config).encode())

    async def put(self, key: str, value: str) -> None:
        await self.client.put(f"/coreos.com/network/subnets/{key}", value.encode())

    async def drop(self, key: str) -> None:
        await self.client.delete(f"/coreos.com/network/subnets/{key}")

    async def expire(self, key: str) -> None:
        found = await self.client.get(f"/coreos.com/network/subnets/{key}")
        assert found and found.lease
        assert await self.client.revoke(found.lease)

    async def keys(self) -> set[str]:
        found = await self.client.prefix("/coreos.com/network/subnets/", keys_only=True)
        return {item.key.rpartition("/")[2] for item in found.items}

    async def go_away(self) -> None:
        await asyncio.to_thread(self.etcd.stop)

    async def come_back(self) -> None:
        await asyncio.to_thread(self.etcd.start)

    async def clear(self) -> None:
        await self.client.delete_prefix("/coreos.com/network/")

    async def close(self) -> None:
        for store in self.open:
            await store.aclose()
        await self.clear()
        await self.client.aclose()


class Etcd2Bench(EtcdBench):
    name = "etcd2"

    def __init__(self, etcd: Etcd) -> None:
        super().__init__(etcd)
        self.client2 = Etcd2Client([etcd.url], timeout=2)

    def store(self) -> LeaseStore:
        self.open.append(Etcd2Store(Etcd2Client([self.etcd.url], timeout=2)))
        return self.open[-1]

    async def configure(self, config: object) -> None:
        assert await self.client2.put("/coreos.com/network/config", json.dumps(config))

    async def put(self, key: str, value: str) -> None:
        assert await self.client2.put(f"/coreos.com/network/subnets/{key}", value)

    async def drop(self, key: str) -> None:
        assert await self.client2.delete(f"/coreos.com/network/subnets/{key}")

    async def expire(self, key: str) -> None:
        found, _ = await self.client2.get(f"/coreos.com/network/subnets/{key}")
        assert found and found.expires
        assert await self.client2.put(f"/coreos.com/network/subnets/{key}", found.value, ttl=1)

    async def keys(self) -> set[str]:
        found, _ = await self.client2.get("/coreos.com/network/subnets", recursive=True)
        return {leaf.key.rpartition("/")[2] for leaf in found.leaves()} if found else set()

    async def clear(self) -> None:
        await self.client2.delete("/coreos.com/network", recursive=True)

    async def close(self) -> None:
        await super().close()
        await self.client2.aclose()


@contextlib.contextmanager
def running_etcd(folder: Path) -> Iterator[Etcd]:
    etcd = Etcd(folder)
    etcd.start()
    try:
        yield etcd
    finally:
        etcd.stop()


@contextlib.asynccontextmanager
async def opened(make: Callable[[], Bench]) -> AsyncIterator[Bench]:
    """A bench for as long as a test takes, made inside the test's loop."""
    bench = make()
    try:
        yield bench
    finally:
        await bench.close()
