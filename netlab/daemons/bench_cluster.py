"""`netlab bench cluster`: a real cluster of nodes made of namespaces, by the commands a person types, and by its API.

    up ─▶ at rest: memory, processor ─▶ pods one by one ─▶ a Deployment of many behind a Service ─▶ rolled ─▶ down

Every time is from the request to the moment in which the API tells what was promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netlab.base.errors import KernelError
from netlab.client.kubeconfig import load
from netlab.client.resources import Resource
from netlab.client.rest import STRATEGIC_MERGE_PATCH, Object, RestClient
from netlab.cluster import plan
from netlab.daemons.bench import Target, at_most, machine, netlab_command, terminable
from netlab.kernel import cgroups, netns
from netlab.kernel.measure import measured
from netlab.kernel.supervise import supervisor

NODES, PODS, SINGLE = 3, 100, 20
#: replicas of the Deployment that is rolled
ROLLED = 50
#: the promises: seconds, bytes, part of one processor
UP_MAX, DOWN_MAX, POD_MAX, PODS_MAX, MEMORY_MAX, IDLE_MAX = 6.0, 3.0, 0.4, 15.0, 400e6, 0.05
#: seconds in which an idle cluster is watched, and that anything may take
IDLE, PATIENCE = 10.0, 600.0
IMAGE, OTHER = "nginx:1.9.1", "nginx:1.7.9"
POD, DEPLOYMENTS = Resource("v1", "pods"), Resource("apps/v1", "deployments")


@dataclass(slots=True)
class Report:
    """seconds: of each phase, a list of samples; memory: bytes of an idle cluster; idle: part of one processor."""

    nodes: int
    pods: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    idle: float = 0.0
    machine: dict[str, Any] = field(default_factory=dict)

    def median(self, phase: str) -> float:
        """Of a phase's samples."""
        return statistics.median(self.seconds[phase])

    def targets(self) -> list[Target]:
        """The promises, which are made for NODES and PODS."""
        return [
            at_most(f"cluster up, all {self.nodes} nodes Ready (s)", self.median("up"), UP_MAX),
            at_most("cluster down (s)", self.median("down"), DOWN_MAX),
            at_most("one pod, created to Running (s)", self.median("running"), POD_MAX),
            at_most(f"{self.pods} pods, created to Ready (s)", self.median("many"), PODS_MAX),
            at_most("idle: memory (MB)", sum(self.memory.values()) / 1e6, MEMORY_MAX / 1e6),
            at_most("idle: part of one processor", self.idle, IDLE_MAX),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included."""
        return {
            "nodes": self.nodes, "pods": self.pods, "memory_bytes": self.memory, "idle": round(self.idle, 4),
            "seconds": {
                phase: {"median": round(self.median(phase), 3), "samples": [round(s, 3) for s in samples]}
                for phase, samples in self.seconds.items()
            },
            "machine": self.machine,
            "targets": [
                {"what": t.what, "value": round(t.value, 3), "limit": t.limit, "met": t.met} for t in self.targets()
            ],
        }  # fmt: skip


def run(
    nodes: int = NODES, pods: int = PODS, *, repeat: int = 3, single: int = SINGLE, options: tuple[str, ...] = (),
    tell: Callable[[str], None] = lambda _what: None,
) -> Report:  # fmt: skip
    """Measure, and leave nothing behind. repeat: how often it is brought up; single: pods that are made one by one;
    options: of `cluster up`."""
    netns.require_root()
    report = Report(nodes, pods, machine=machine())
    name = f"bench{os.getpid()}"
    with terminable():
        for turn in range(repeat):
            tell("up")
            with _up(report, name, nodes, options) as config:
                if turn == repeat - 1:
                    asyncio.run(_Bench(report, name, config, single, tell).run())
    return report


@contextlib.contextmanager
def _up(report: Report, name: str, nodes: int, options: tuple[str, ...]) -> Iterator[Path]:
    try:
        done = measured(netlab_command("cluster", "up", name, "--nodes", str(nodes), "--json", *options))
        if done.returncode != 0:
            raise KernelError(f"the cluster does not come up: {done.output.strip()[-2000:]}")
        report.seconds.setdefault("up", []).append(done.wall)
        yield Path("/run/netlab") / name / "admin.conf"
    finally:
        done = measured(netlab_command("cluster", "down", name))
        report.seconds.setdefault("down", []).append(done.wall)


class _Bench:
    def __init__(self, report: Report, name: str, config: Path, single: int, tell: Callable[[str], None]) -> None:
        self.report, self.name, self.single, self.tell = report, name, single, tell
        self.client = RestClient(load(config), user_agent="netlab-bench")

    async def run(self) -> None:
        """All phases of a cluster that is up."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._idle()
                await self._one_by_one()
                await self._many()
        finally:
            await self.client.aclose()

    async def _idle(self) -> None:
        self.tell("at rest")
        await asyncio.sleep(IDLE)  # what a beginning leaves to do is done
        before, began = self._cpu(), time.monotonic()
        await asyncio.sleep(IDLE)
        self.report.idle = (self._cpu() - before) / (time.monotonic() - began)
        self.report.memory = self._memory()

    def _cpu(self) -> float:
        return cgroups.usage(plan.cgroup(self.name)).cpu / 1e9

    def _memory(self) -> dict[str, float]:
        """By node, what its own processes have, and what starts them again; what several share counts once."""
        found = {}
        data = json.loads((Path("/run/netlab") / self.name / "cluster.json").read_text())
        for node in data["options"]["nodes"]:
            found[node] = sum(map(_pss, cgroups.members(f"{plan.cgroup(self.name)}/{node}/system")))
        own = supervisor(Path("/run/netlab") / self.name)
        found["supervisor"] = _pss(own.pid) if own else 0.0
        return found

    async def _one_by_one(self) -> None:
        for number in range(self.single):
            self.tell("pods one by one")
            pod = {"metadata": {"name": f"one-{number}"}, "spec": _spec(IMAGE)}
            began = time.perf_counter()
            running, ready = await self._until_ready(pod, began)
            for phase, seconds in (("running", running), ("ready", ready)):
                self.report.seconds.setdefault(phase, []).append(seconds)
            await self.client.delete(POD.path("default", f"one-{number}"), grace=0)

    async def _until_ready(self, pod: Object, began: float) -> tuple[float, float]:
        """Seconds from the request until the API told that it runs, and that it is Ready."""
        listed = await self.client.list(POD.path("default"), limit=1)
        version = str(listed["metadata"]["resourceVersion"])
        name, running = pod["metadata"]["name"], 0.0
        async with contextlib.aclosing(
            self.client.watch(POD.path("default"), resource_version=version, field_selector=f"metadata.name={name}")
        ) as events:
            creating = asyncio.create_task(self.client.create(POD.path("default"), pod))
            async for event in events:
                status = event.object.get("status") or {}
                if status.get("phase") == "Running" and not running:
                    running = time.perf_counter() - began
                if _ready(event.object):
                    await creating
                    return running, time.perf_counter() - began
        raise KernelError(f"the watch of pod {name} ended")

    async def _many(self) -> None:
        self.tell("many pods")
        began = time.perf_counter()
        await self.client.create(DEPLOYMENTS.path("default"), _deployment("many", self.report.pods, IMAGE))
        await self._replicas("many", self.report.pods)
        self.report.seconds["many"] = [time.perf_counter() - began]
        self.tell("a roll")
        count = min(ROLLED, self.report.pods)
        await self.client.patch(DEPLOYMENTS.path("default", "many"), {"spec": {"replicas": count}})
        await self._replicas("many", count)
        await self._gone(count)
        began = time.perf_counter()
        change = {"spec": {"template": {"spec": _spec(OTHER)}}}
        await self.client.patch(DEPLOYMENTS.path("default", "many"), change, kind=STRATEGIC_MERGE_PATCH)
        await self._replicas("many", count)
        self.report.seconds["roll"] = [time.perf_counter() - began]
        self.tell("pods gone")
        began = time.perf_counter()
        await self.client.delete(DEPLOYMENTS.path("default", "many"), propagation="Background")
        await self._gone(0)
        self.report.seconds["gone"] = [time.perf_counter() - began]

    async def _replicas(self, name: str, count: int) -> None:
        async for found in self._looks(DEPLOYMENTS.path("default", name)):
            status, meta = found.get("status") or {}, found["metadata"]
            if status.get("observedGeneration", 0) < meta["generation"]:
                continue
            if all(status.get(part, 0) == count for part in ("replicas", "updatedReplicas", "readyReplicas")):
                return

    async def _gone(self, left: int) -> None:
        async for found in self._looks(POD.path("default")):
            if len(found["items"]) <= left:
                return

    async def _looks(self, path: str) -> AsyncIterator[Object]:
        while True:
            yield await self.client.get(path)
            await asyncio.sleep(0.05)


def _pss(pid: int) -> float:
    """Bytes of a process, with its part of what it shares with others (proc(5), smaps_rollup)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0.0
    return sum(float(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _spec(image: str) -> Object:
    return {"terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": image}]}


def _deployment(name: str, replicas: int, image: str) -> Object:
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": _spec(image)}},
    }  # fmt: skip
