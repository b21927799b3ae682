"""`netlab bench api`: what clients wait for, of a real `netlab apiserver` with TLS, on this machine.

One process serves, this one asks: the figures are those of both on the same processors. The clients are as small as
clients can be (requests are bytes that were made before, answers are not parsed), or they would measure themselves.

    start to ready ─▶ creations ─▶ GETs ─▶ a whole list ─▶ watchers ─▶ more creations ─▶ memory
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from netlab.base.errors import KernelError
from netlab.client import kubeconfig
from netlab.daemons.bench import Figure, Target, at_least, at_most, cpu_of, machine, netlab_command, rss_of, terminable
from netlab.daemons.bench_store import running_etcd
from netlab.kernel import processes

KINDS = ("sqlite", "etcd", "memory")
CLIENTS, PODS, GETS = 8, 10_000, 6000
WATCHERS, RATE, SECONDS = 1000, 100, 5.0
#: namespaces over which watchers are spread when each looks at its own, as agents of nodes do
SPREAD = 100
#: what is promised of the durable file
CREATES_MIN, GETS_MIN, LIST_MAX, LATENCY_MAX, READY_MAX, RSS_MAX = 800.0, 3000.0, 1.0, 0.25, 1.5, 250e6
#: seconds for a server to come up, and between two looks
_PATIENCE, _LOOK = 60.0, 0.005
_BLOCK = 1 << 20

#: creates and gets: a second; create_cpu, get_cpu: the server's CPU seconds for one; ready, list: seconds; spread, all:
#: seconds from a change to its being told at the 99th percentile, to watchers of a namespace each and to watchers of
#: everything; rss: bytes with twice PODS objects
PHASES = ("ready", "creates", "create_cpu", "gets", "get_cpu", "list", "spread", "all", "rss")


@dataclass(frozen=True, slots=True)
class Report:
    """By kind of store, by phase. absent: which did not take part, and why."""

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
            at_most("start to ready (s)", found["ready"].median, READY_MAX),
            at_least(f"pod creations/s from {CLIENTS} clients", found["creates"].median, CREATES_MIN),
            at_least("GETs/s", found["gets"].median, GETS_MIN),
            at_most(f"list of {PODS} pods (s)", found["list"].median, LIST_MAX),
            at_most(f"{WATCHERS} watchers of everything, {RATE} changes/s, p99 (s)", found["all"].median, LATENCY_MAX),
            at_most(f"memory with {2 * PODS} objects (MB)", found["rss"].median / 1e6, RSS_MAX / 1e6),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included."""
        return {
            "repeat": self.repeat, "clients": CLIENTS, "pods": PODS, "watchers": WATCHERS, "changes_per_second": RATE,
            "machine": self.machine,
            "stores": {k: {phase: f.as_json() for phase, f in found.items()} for k, found in self.figures.items()},
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
    """Measure, and leave nothing behind. folder: on the disk that is to be measured. KernelError."""
    import shutil

    absent = {}
    if "etcd" in kinds and not shutil.which("etcd"):
        absent["etcd"] = "etcd is not installed: apt-get install etcd-server"
    samples: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds if kind not in absent}
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
    import uvloop

    with contextlib.ExitStack() as stack:
        store = ["--store", kind]
        if kind == "etcd":
            store += ["--etcd-servers", stack.enter_context(running_etcd(folder))]
        server, config, ready = stack.enter_context(_serving(folder, store))

        async def measured() -> dict[str, float]:
            api = Api(config)
            await api.namespaces()
            used = [cpu_of(server)]
            creates = await api.creations(0)
            used.append(cpu_of(server))
            gets = await api.gets()
            used.append(cpu_of(server))
            listed = await api.list()
            spread, everything = await api.latency(SPREAD), await api.latency(1)
            await api.creations(1)
            return {
                "creates": creates, "create_cpu": (used[1] - used[0]) / PODS, "gets": gets,
                "get_cpu": (used[2] - used[1]) / GETS, "list": listed, "spread": spread, "all": everything,
            }  # fmt: skip

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measured())
        return {"ready": ready, **found, "rss": rss_of(server)}


@contextlib.contextmanager
def _serving(folder: Path, store: list[str]) -> Iterator[tuple[processes.Identity, kubeconfig.ApiConfig, float]]:
    """A server process: who it is, how to reach it, seconds until it was ready."""
    file, log = folder / "admin.conf", folder / "log"
    argv = netlab_command(
        "apiserver", "--data-dir", str(folder / "data"), "--port", "0", "--kubeconfig", str(file), *store
    )
    started = time.perf_counter()
    identity = processes.identify(processes.spawn(argv, netns=None, log=log))
    assert identity is not None  # our child: until it is reaped, it has its number
    try:
        end = time.monotonic() + _PATIENCE
        # it is written when the server answers
        while not file.exists():
            if time.monotonic() > end or not processes.alive(identity):
                raise KernelError(f"the API server did not come up: {log.read_text()[-500:]}")
            time.sleep(_LOOK)
        ready = time.perf_counter() - started
        yield identity, kubeconfig.load(file), ready
    finally:
        processes.stop([identity], grace=10.0)


def _pod(namespace: str, name: str) -> bytes:
    container = {"name": "app", "image": "nginx:1.25", "ports": [{"containerPort": 80}],
                 "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}  # fmt: skip
    return orjson.dumps({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "bench", "n": name}},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    })  # fmt: skip


class Api:
    """The clients of one server."""

    def __init__(self, config: kubeconfig.ApiConfig) -> None:
        parts = urlsplit(config.server)
        assert parts.hostname is not None and parts.port is not None
        self.host, self.port, self.tls = parts.hostname, parts.port, config.tls()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection that is kept."""
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=_BLOCK)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _each(self, work: Callable[[Connection, int], Any]) -> float:
        """Let all clients work; the seconds that it took."""

        async def client(number: int) -> None:
            async with self.connection() as connection:
                await work(connection, number)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(client(number))
        return time.perf_counter() - started

    async def namespaces(self) -> None:
        """What the watchers are spread over."""

        async def make(connection: Connection, number: int) -> None:
            for n in range(number, SPREAD, CLIENTS):
                body = orjson.dumps({"metadata": {"name": f"bench-{n}"}})
                await connection.ask("POST", "/api/v1/namespaces", body)

        await self._each(make)

    async def creations(self, turn: int) -> float:
        """PODS pods; a second."""
        each = PODS // CLIENTS

        async def make(connection: Connection, number: int) -> None:
            for n in range(each):
                body = _pod("default", f"pod-{turn}-{number}-{n}")
                await connection.ask("POST", "/api/v1/namespaces/default/pods", body)

        return each * CLIENTS / await self._each(make)

    async def gets(self) -> float:
        """GETs of pods; a second."""
        each = max(1, GETS // CLIENTS)

        async def get(connection: Connection, number: int) -> None:
            for n in range(each):
                await connection.ask("GET", f"/api/v1/namespaces/default/pods/pod-0-{number}-{n % (PODS // CLIENTS)}")

        return each * CLIENTS / await self._each(get)

    async def list(self) -> float:
        """Seconds for all pods at once."""
        async with self.connection() as connection:
            started = time.perf_counter()
            await connection.ask("GET", "/api/v1/pods")
            return time.perf_counter() - started

    async def latency(self, spread: int) -> float:
        """Seconds at the 99th percentile, to WATCHERS of `spread` namespaces; 1: all of them watch everything."""
        loop, changes = asyncio.get_running_loop(), max(1, int(RATE * SECONDS))
        spread = min(spread, SPREAD)
        latencies: list[float] = []
        told = asyncio.Event()
        expected = sum(sum(1 for w in range(WATCHERS) if w % spread == n % spread) for n in range(changes))

        def tell(found: list[float]) -> None:
            latencies.extend(found)
            if len(latencies) >= expected:
                told.set()

        watchers = []
        begun = asyncio.Semaphore(CLIENTS * 4)  # TLS handshakes at once
        now = await self._revision()

        async def begin(number: int) -> None:
            where = f"/namespaces/bench-{number % spread}" if spread > 1 else ""
            path = f"/api/v1{where}/configmaps?watch=true&resourceVersion={now}"
            async with begun:
                _, watcher = await loop.create_connection(lambda: Watcher(tell), self.host, self.port, ssl=self.tls)
                watchers.append(watcher)
                watcher.ask(path, self.host)
                await watcher.answered.wait()

        async with asyncio.TaskGroup() as group:
            for number in range(WATCHERS):
                group.create_task(begin(number))
        try:
            await self._changing(spread, changes)
            async with asyncio.timeout(_PATIENCE):
                await told.wait()
        finally:
            for watcher in watchers:
                watcher.close()
        latencies.sort()
        return latencies[len(latencies) * 99 // 100]

    async def _changing(self, spread: int, changes: int) -> None:
        """RATE objects a second, each with the time at which it was due: a server that falls behind does not slow the
        clock that it is measured by."""
        due = iter(range(changes))
        began: list[float] = []  # when the first is connected

        async def make(connection: Connection, _number: int) -> None:
            for n in due:
                began.append(time.perf_counter())
                at = began[0] + n / RATE
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                body = orjson.dumps({"metadata": {"name": f"c-{spread}-{n}"}, "data": {"at": f"{at:.6f}"}})
                await connection.ask("POST", f"/api/v1/namespaces/bench-{n % spread}/configmaps", body)

        await self._each(make)

    async def _revision(self) -> str:
        async with self.connection() as connection:
            body = await connection.ask("GET", "/api/v1/configmaps?limit=1")
            return str(orjson.loads(body)["metadata"]["resourceVersion"])


class Connection:
    """Requests one after another over one connection. No parser: our own server says Content-Length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of an answer. KernelError if it is an error."""
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", told)
        answer = await self._reader.readexactly(int(length[1])) if length else b""
        if told[9:10] != b"2":
            raise KernelError(f"{method} {path}: {told[:40]!r} {answer[:500]!r}")
        return answer


class Watcher(asyncio.Protocol):
    """One watch: hands over how long each event was under way."""

    _AT = re.compile(rb'"at":"([0-9.]+)"')

    def __init__(self, tell: Callable[[list[float]], None]) -> None:
        self.tell, self.answered = tell, asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def ask(self, path: str, host: str) -> None:
        """Begin."""
        assert self._transport is not None
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.answered.set()
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        found = self._AT.findall(whole) if newline else ()
        if found:
            self.tell([now - float(at) for at in found])

    def close(self) -> None:
        """End."""
        if self._transport is not None:
            self._transport.abort()


def _main() -> None:
    """For profilers: `python -m netlab.daemons.bench_api KIND`."""
    for kind in sys.argv[1:] or KINDS:
        report = run(1, [kind])
        print(kind, {phase: round(figure.median, 5) for phase, figure in report.figures[kind].items()})


if __name__ == "__main__":
    _main()
