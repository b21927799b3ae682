"""`netlab bench cluster --simulated`: a thousand nodes and ten thousand pods, of whose containers none is real.

API server, controllers and scheduler are processes of their own, as a person would run them for a cluster of this size;
the nodes (`simnodes`) and whoever measures are this process. All share this machine.

    start ─▶ nodes register, get podCIDRs ─▶ Deployments ─▶ every pod Running ─▶ Deployments deleted ─▶ no pod left
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from netlab.base import garbage
from netlab.base.errors import KernelError
from netlab.client import kubeconfig
from netlab.client.resources import Resource
from netlab.client.rest import Object, RestClient
from netlab.daemons.bench import Target, at_most, cpu_of, machine, netlab_command, rss_of, terminable
from netlab.daemons.simnodes import Counts, SimNode
from netlab.kernel import processes

NODES, PODS = 1000, 10_000
#: pods of one Deployment
EACH = 100
#: seconds that are promised for all pods
RUNNING_MAX, DELETED_MAX = 60.0, 60.0
#: large enough for 4,096 nodes
CLUSTER_CIDR = "10.128.0.0/12"
#: nodes that join at once: each does two TLS handshakes
JOINING = 20
#: seconds for one phase, and between two looks
_PATIENCE, _LOOK = 1800.0, 0.05
DEPLOYMENTS, POD, NODE = Resource("apps/v1", "deployments"), Resource("v1", "pods"), Resource("v1", "nodes")


@dataclass(frozen=True, slots=True)
class Report:
    """Seconds by phase; by process, CPU seconds by phase and bytes of memory in the end."""

    nodes: int
    pods: int
    seconds: dict[str, float]
    cpu: dict[str, dict[str, float]]
    rss: dict[str, float]
    failed: int
    machine: dict[str, Any]

    def targets(self) -> list[Target]:
        """The promises, which are made for NODES and PODS."""
        return [
            at_most(f"{self.pods} pods on {self.nodes} nodes, created to Running (s)", self.seconds["running"],
                    RUNNING_MAX),
            at_most("all of them deleted (s)", self.seconds["deleted"], DELETED_MAX),
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Everything."""

        def rounded(values: dict[str, float]) -> dict[str, float]:
            return {name: round(value, 3) for name, value in values.items()}

        return {
            "nodes": self.nodes, "pods": self.pods, "seconds": rounded(self.seconds), "failed_requests": self.failed,
            "cpu_seconds": {phase: rounded(used) for phase, used in self.cpu.items()}, "rss_bytes": self.rss,
            "machine": self.machine,
            "targets": [
                {"what": t.what, "value": round(t.value, 3), "limit": t.limit, "met": t.met} for t in self.targets()
            ],
        }  # fmt: skip


def run(
    nodes: int = NODES, pods: int = PODS, *, store: str = "sqlite", folder: Path | None = None,
    tell: Callable[[str], None] = lambda _what: None,
) -> Report:  # fmt: skip
    """Measure, and leave nothing behind. store, folder: of the API server. KernelError."""
    import uvloop

    with (
        garbage.looked_for_rarely(),
        terminable(),
        tempfile.TemporaryDirectory(prefix="netlab-bench-", dir=folder) as scratch,
        _processes(Path(scratch), nodes, store) as (running, config),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_Bench(nodes, pods, running, config, Path(scratch), tell).run())


@contextlib.contextmanager
def _processes(
    folder: Path, nodes: int, store: str
) -> Iterator[tuple[dict[str, processes.Identity], kubeconfig.ApiConfig]]:
    """The control plane, by name, and its administrator."""
    file, tokens = folder / "admin.conf", folder / "tokens"
    tokens.write_text("".join(f"{_token(n)},system:node:{_name(n)},{n},system:nodes\n" for n in range(nodes)))
    found: dict[str, processes.Identity] = {}
    try:

        def start(name: str, *words: str) -> None:
            pid = processes.spawn(netlab_command(*words), netns=None, log=folder / f"{name}.log")
            identity = processes.identify(pid)
            assert identity is not None  # our child: until it is reaped, it has its number
            found[name] = identity

        start(
            "apiserver", "apiserver", "--data-dir", str(folder / "data"), "--port", "0", "--store", store,
            "--kubeconfig", str(file), "--token-auth-file", str(tokens),
        )  # fmt: skip
        end = time.monotonic() + _PATIENCE
        while not file.exists():  # it is written when the server answers
            if time.monotonic() > end or not processes.alive(found["apiserver"]):
                raise KernelError(f"the API server did not come up: {(folder / 'apiserver.log').read_text()[-500:]}")
            time.sleep(_LOOK)
        # there is one of each
        follower = ("--kubeconfig", str(file), "--no-leader-elect")
        start("controllers", "controllers", *follower, "--cluster-cidr", CLUSTER_CIDR)
        start("scheduler", "scheduler", *follower)
        yield found, kubeconfig.load(file)
    finally:
        processes.stop(list(found.values()), grace=10.0)


def _name(number: int) -> str:
    return f"sim-{number}"


def _token(number: int) -> str:
    return f"simulated-{number}"


def deployment(number: int, replicas: int) -> Object:
    """One of those that the pods come from."""
    labels = {"app": f"sim-{number}"}
    container = {"name": "app", "image": "nginx:1.25", "ports": [{"containerPort": 80}],
                 "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}  # fmt: skip
    spec = {"containers": [container], "automountServiceAccountToken": False}
    return {
        "metadata": {"name": f"sim-{number}"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": spec}},
    }  # fmt: skip


class _Bench:
    """One measurement."""

    def __init__(
        self, nodes: int, pods: int, running: dict[str, processes.Identity], config: kubeconfig.ApiConfig,
        folder: Path, tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._folder = folder
        self.nodes, self.pods, self._running, self._config, self._tell = nodes, pods, running, config, tell
        self.counts = Counts()
        self._cpu: dict[str, dict[str, float]] = {}
        self._seconds: dict[str, float] = {}

    async def run(self) -> Report:
        """All phases."""
        client = RestClient(self._config)
        configs = [replace(self._config, cert=b"", key=b"", token=_token(n)) for n in range(self.nodes)]
        # a kubelet has one connection for all that it asks
        clients = [RestClient(config, user_agent="kubelet", requests=1) for config in configs]
        works: list[asyncio.Task[None]] = []
        try:
            await self._phase("nodes", self._join(client, clients, works))
            await self._phase("running", self._create(client))
            await self._phase("deleted", self._delete(client))
            rss = {name: float(rss_of(identity)) for name, identity in self._running.items()}
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            for one in (client, *clients):
                await one.aclose()
        return Report(self.nodes, self.pods, self._seconds, self._cpu, rss, self.counts.failed, machine())

    async def _phase(self, name: str, work: Awaitable[None]) -> None:
        self._tell(name)
        before, own, started = self._used(), time.process_time(), time.perf_counter()
        async with asyncio.timeout(_PATIENCE):
            await work
        self._seconds[name] = time.perf_counter() - started
        used = {who: after - before[who] for who, after in self._used().items()}
        self._cpu[name] = {**used, "nodes": time.process_time() - own}

    def _used(self) -> dict[str, float]:
        return {name: cpu_of(identity) for name, identity in self._running.items()}

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            for name, identity in self._running.items():
                if not processes.alive(identity):
                    log = (self._folder / f"{name}.log").read_text()[-1000:]
                    raise KernelError(f"the {name} ended in the middle of the measurement: {log}")
            await asyncio.sleep(_LOOK)

    async def _join(self, client: RestClient, clients: list[RestClient], works: list[asyncio.Task[None]]) -> None:
        """All nodes registered, with podCIDRs."""
        first = int(IPv4Address("172.16.0.1"))
        for number, own in enumerate(clients):
            await self._until(lambda started=number: self.counts.registered >= started - JOINING)  # type: ignore[misc]
            node = SimNode(_name(number), str(IPv4Address(first + number)), own, self.counts)
            works.append(asyncio.create_task(node.run()))
        await self._until(lambda: self.counts.registered >= self.nodes)
        while not all((n.get("spec") or {}).get("podCIDR") for n in (await client.list(NODE.path()))["items"]):
            await asyncio.sleep(_LOOK)

    async def _create(self, client: RestClient) -> None:
        """Every pod Running, as its node has said and the server tells."""
        for number in range(-(-self.pods // EACH)):
            replicas = min(EACH, self.pods - number * EACH)
            await client.create(DEPLOYMENTS.path("default"), deployment(number, replicas))
        await self._until(lambda: self.counts.running >= self.pods)
        listed = (await client.list(POD.path("default")))["items"]
        running = sum((pod.get("status") or {}).get("phase") == "Running" for pod in listed)
        if (running, len(listed)) != (self.pods, self.pods):
            raise KernelError(f"of {len(listed)} pods {running} are Running, expected {self.pods}")

    async def _delete(self, client: RestClient) -> None:
        """No pod left."""
        for number in range(-(-self.pods // EACH)):
            await client.delete(DEPLOYMENTS.path("default", f"sim-{number}"), propagation="Background")
        await self._until(lambda: self.counts.deleted >= self.pods)
        while (await client.list(POD.path("default")))["items"]:
            await asyncio.sleep(_LOOK)
