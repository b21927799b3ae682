"""`netlab bench store`: what an API server asks of its store, on the file, on a real etcd and in memory, in turns.

Writers that wait for each of their creations to be kept, readers, one whole list, watchers that are all told of all
changes. etcd runs on loopback with its data beside the file, and both wait for the disk before they acknowledge.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.base.errors import KernelError, MachineError
from netlab.client.etcd import EtcdClient
from netlab.daemons.bench import Figure, Target, at_least, at_most, machine, terminable
from netlab.kernel import processes
from netlab.store.etcd import EtcdStore
from netlab.store.memory import MemoryStore
from netlab.store.protocol import Store
from netlab.store.sqlite import SqliteStore

KINDS = ("sqlite", "etcd", "memory")
WRITERS, KEYS, VALUE, GETS = 8, 10_000, 2048, 5000
WATCHERS, RATE, SECONDS = 1000, 100, 5.0
#: what is promised of the durable file: creations a second, seconds for the list, seconds at the 99th percentile
CREATES_MIN, LIST_MAX, LATENCY_MAX = 3000.0, 0.15, 0.25
#: seconds for an etcd to come up, and between two looks
_PATIENCE, _LOOK = 30.0, 0.02
PREFIX = "/registry/pods/"

#: what is measured: creates a second, CPU seconds of this process for a thousand of them, gets a second, seconds for
#: the list, and seconds from a change to its being told (median and 99th percentile)
PHASES = ("creates", "cpu", "gets", "list", "p50", "p99")


@dataclass(frozen=True, slots=True)
class Report:
    """By kind of store, by phase. absent: which kind did not take part, and why."""

    repeat: int
    figures: dict[str, dict[str, Figure]]
    absent: dict[str, str]
    machine: dict[str, Any]

    def targets(self) -> list[Target]:
        """The promises."""
        found = self.figures.get("sqlite")
        if not found:
            return []
        return [
            at_least(f"sqlite: creates/s from {WRITERS} writers", found["creates"].median, CREATES_MIN),
            at_most(f"sqlite: list of {KEYS} (s)", found["list"].median, LIST_MAX),
            at_most(f"sqlite: {WATCHERS} watchers, {RATE}/s, p99 (s)", found["p99"].median, LATENCY_MAX),
        ]

    def ratio(self, kind: str, phase: str) -> float | None:
        """A kind's median as a multiple of the file's."""
        base, other = self.figures.get("sqlite", {}).get(phase), self.figures[kind].get(phase)
        return other.median / base.median if base and other and base.median else None

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included."""
        return {
            "repeat": self.repeat,
            "writers": WRITERS, "keys": KEYS, "value_bytes": VALUE, "watchers": WATCHERS, "changes_per_second": RATE,
            "machine": self.machine,
            "stores": {k: {phase: f.as_json() for phase, f in found.items()} for k, found in self.figures.items()},
            "ratios_to_sqlite": {
                k: {p: round(r, 3) for p in PHASES if (r := self.ratio(k, p)) is not None} for k in self.figures
            },
            "absent": self.absent,
            "targets": [
                {"what": t.what, "value": round(t.value, 4), "limit": t.limit, "met": t.met} for t in self.targets()
            ],
        }  # fmt: skip


def run(
    repeat: int,
    kinds: Sequence[str] = KINDS,
    *,
    folder: Path | None = None,
    tell: Callable[[str, int], None] = lambda _w, _n: None,
) -> Report:
    """Measure, and leave nothing behind. folder: on the disk that is to be measured."""
    absent: dict[str, str] = {}
    if "etcd" in kinds and not shutil.which("etcd"):
        absent["etcd"] = "etcd is not installed: apt-get install etcd-server"
    samples: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds if kind not in absent}
    if not samples:
        raise MachineError("there is nothing to measure: " + ", ".join(absent.values()))
    with terminable():
        for _ in range(repeat):
            for kind, found in samples.items():
                tell(kind, 0)
                with tempfile.TemporaryDirectory(prefix="netlab-bench-", dir=folder) as scratch:
                    for phase, value in _turn(kind, Path(scratch)).items():
                        found.setdefault(phase, []).append(value)
                tell(kind, 1)
    figures = {k: {phase: Figure(tuple(v)) for phase, v in found.items()} for k, found in samples.items()}
    return Report(repeat, figures, absent, machine())


def _turn(kind: str, folder: Path) -> dict[str, float]:
    async def measured(url: str = "") -> dict[str, float]:
        store: Store
        if kind == "sqlite":
            store = await SqliteStore.open(folder / "state.db")
        elif kind == "etcd":
            store = EtcdStore(EtcdClient([url], timeout=_PATIENCE))
        else:
            store = MemoryStore()
        try:
            return {**await _writing(store), **await _reading(store), **await _watching(store)}
        finally:
            await store.aclose()

    if kind != "etcd":
        return asyncio.run(measured())
    with running_etcd(folder) as url:
        return asyncio.run(measured(url))


async def _writing(store: Store) -> dict[str, float]:
    value = os.urandom(VALUE)

    async def write(writer: int) -> None:
        for n in range(KEYS // WRITERS):
            await store.create(f"{PREFIX}default/pod-{writer}-{n}", value)

    cpu, started = _cpu(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for writer in range(WRITERS):
            group.create_task(write(writer))
    took = time.perf_counter() - started
    return {"creates": KEYS / took, "cpu": (_cpu() - cpu) / KEYS * 1000}


async def _reading(store: Store) -> dict[str, float]:
    async def read(reader: int) -> None:
        for n in range(GETS // WRITERS):
            assert (await store.get(f"{PREFIX}default/pod-{reader}-{n % (KEYS // WRITERS)}"))[0]

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for reader in range(WRITERS):
            group.create_task(read(reader))
    gets = GETS / (time.perf_counter() - started)
    started = time.perf_counter()
    page = await store.list(PREFIX)
    took = time.perf_counter() - started
    assert len(page.items) == KEYS
    return {"gets": gets, "list": took}


async def _watching(store: Store) -> dict[str, float]:
    """All watchers have the same prefix, thus are told of every change: the most that so many can cost."""
    loop, changes = asyncio.get_running_loop(), int(RATE * SECONDS)
    prefix = "/registry/endpoints/"
    start = await store.revision()
    latencies: list[float] = []

    async def watch() -> None:
        seen, watching = 0, store.watch(prefix, after=start)
        while seen < changes:
            batch = await anext(watching)
            now = time.perf_counter()
            latencies.extend(now - float(event.kv.value) for event in batch.events)
            seen += len(batch.events)
        await watching.aclose()

    async with asyncio.TaskGroup() as group:
        for _ in range(WATCHERS):
            group.create_task(watch())
        await asyncio.sleep(0)
        began = loop.time()
        for n in range(changes):
            await asyncio.sleep(max(0.0, began + n / RATE - loop.time()))
            group.create_task(store.create(f"{prefix}{n}", repr(time.perf_counter()).encode()))
    assert len(latencies) == WATCHERS * changes
    latencies.sort()
    return {"p50": latencies[len(latencies) // 2], "p99": latencies[len(latencies) * 99 // 100]}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def running_etcd(folder: Path) -> Iterator[str]:
    """A real one, with its data in `folder`."""
    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    argv = [
        "etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
    ]  # fmt: skip
    log = folder / "etcd.log"
    identity = processes.identify(processes.spawn(argv, netns=None, log=log))
    assert identity is not None  # our child: until it is reaped, it has its number
    try:
        end = time.monotonic() + _PATIENCE
        while not _healthy(client):
            if time.monotonic() > end or not processes.alive(identity):
                raise KernelError(f"etcd did not come up: {log.read_text()[-500:]}")
            time.sleep(_LOOK)
        yield client
    finally:
        processes.stop([identity])


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _healthy(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=1)
    try:
        connection.request("GET", "/health")
        return b'"true"' in connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()


def _main() -> None:
    """For profilers: `python -m netlab.daemons.bench_store KIND`."""
    for kind in sys.argv[1:] or KINDS:
        report = run(1, [kind])
        print(kind, {phase: round(figure.median, 5) for phase, figure in report.figures[kind].items()})


if __name__ == "__main__":
    _main()
