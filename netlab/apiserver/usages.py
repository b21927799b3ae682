"""metrics.k8s.io: what nodes and pods use, as `kubectl top` asks, from the kubelets' /metrics/resource.

Two samples make a rate. They are taken when somebody asks: the one before stays good for a while, and the first that
asks waits for a second. Nothing is stored, and nothing is asked while nobody looks.
Source: kubernetes-sigs/metrics-server (pkg/scraper, pkg/storage, pkg/api).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from netlab.api import Json, status, times
from netlab.apiserver import objects, tables
from netlab.apiserver.call import Call, answer
from netlab.apiserver.kinds import Kind
from netlab.apiserver.kubelets import Kubelets
from netlab.apiserver.negotiate import negotiate
from netlab.apiserver.reading import Selection, selection
from netlab.store.protocol import Store

log = logging.getLogger("apiserver")

GROUP = "metrics.k8s.io"
#: seconds: between two samples at least; for which the newest is good enough, and the one before at most
WINDOW_MIN, FRESH, WINDOW_MAX = 1.0, 5.0, 120.0
#: seconds that a kubelet may take; bytes of its page; how many are asked at once
PATIENCE, PAGE_MAX, AT_ONCE = 10.0, 64 << 20, 16

Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Used:
    """cpu: seconds of processor time since it began; memory: bytes."""

    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Sample:
    """when: seconds since 1970; node: what the whole node has used; containers: by namespace, pod and container."""

    when: float
    node: Used
    containers: dict[Place, Used]


@dataclass(slots=True)
class _Node:
    before: Sample | None = None
    now: Sample | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


def parse(page: str, when: float) -> Sample:
    """A kubelet's page. when: for figures that tell no time. ValueError."""
    cpu: dict[Place, float] = {}
    memory: dict[Place, float] = {}
    whole: Place = ("", "", "")
    for family in text_string_to_metric_families(page):
        for s in family.samples:
            place = (s.labels.get("namespace", ""), s.labels.get("pod", ""), s.labels.get("container", ""))
            match s.name:
                case "node_cpu_usage_seconds_total":
                    cpu[whole], when = s.value, float(s.timestamp or when)
                case "node_memory_working_set_bytes":
                    memory[whole] = s.value
                case "container_cpu_usage_seconds_total":
                    cpu[place] = s.value
                case "container_memory_working_set_bytes":
                    memory[place] = s.value
    found = {place: Used(cpu[place], int(memory.get(place, 0))) for place in cpu}
    node = found.pop(whole, Used(0.0, 0))
    return Sample(when, node, found)


def usage(before: Used | None, now: Used, seconds: float) -> Json | None:
    """What is used in a second, as quantities; None of what began since, or began anew."""
    if before is None or seconds <= 0 or now.cpu < before.cpu:
        return None
    return {"cpu": f"{int((now.cpu - before.cpu) / seconds * 1e9)}n", "memory": f"{now.memory // 1024}Ki"}


class Usages:
    """kubelets: None if no node can be reached: then nothing is known of any."""

    def __init__(self, store: Store, kubelets: Kubelets | None, now: Callable[[], float] = time.time) -> None:
        self._store, self._kubelets, self._now = store, kubelets, now
        self._nodes: dict[str, _Node] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, call: Call, kind: Kind) -> web.StreamResponse:
        """GET of one, or of all. ApiError."""
        info, r = call.info, kind.resource
        chosen = selection(call, kind)
        made = self._of_nodes if r.plural == "nodes" else self._of_pods
        items = await made(info.namespace, info.name, chosen)
        form = negotiate(call.request.headers.get("Accept", ""), ("Table",))
        if form.as_ == "Table" and (items or info.verb == "list"):
            include = tables.include_of(call.query)
            return answer(call, tables.table(kind, items, {}, form, include, self._now()))
        if info.verb == "list":
            body = {"kind": r.list_kind, "apiVersion": r.api_version, "metadata": {}, "items": items}
            return answer(call, body, form=form)
        if not items:
            name = f"{info.namespace}/{info.name}" if r.namespaced else info.name
            raise status.not_found(r.singular, GROUP, name)
        return answer(call, {"kind": r.kind, "apiVersion": r.api_version, **items[0]}, form=form)

    async def _of_nodes(self, _: str, name: str, chosen: Selection) -> list[Json]:
        page = await self._store.list("/registry/minions/")
        nodes = [n for n in map(objects.load, page.items) if name in ("", n["metadata"]["name"]) and chosen.matches(n)]
        known = await self._samples([n["metadata"]["name"] for n in nodes])
        found = []
        for node in nodes:
            meta = node["metadata"]
            pair = known.get(meta["name"])
            used = usage(pair[0].node, pair[1].node, pair[1].when - pair[0].when) if pair else None
            if pair and used:
                found.append({**_head(meta, *pair), "usage": used})
        return found

    async def _of_pods(self, namespace: str, name: str, chosen: Selection) -> list[Json]:
        page = await self._store.list(f"/registry/pods/{namespace}/" if namespace else "/registry/pods/")
        pods = [
            p for p in map(objects.load, page.items)
            if name in ("", p["metadata"]["name"]) and chosen.matches(p) and p["spec"].get("nodeName")
        ]  # fmt: skip
        known = await self._samples(sorted({p["spec"]["nodeName"] for p in pods}))
        found = []
        for pod in pods:
            meta, pair = pod["metadata"], known.get(pod["spec"]["nodeName"])
            if pair is None:
                continue
            before, now = pair
            used = [
                (place[2], usage(before.containers.get(place), each, now.when - before.when))
                for place, each in sorted(now.containers.items()) if place[:2] == (meta["namespace"], meta["name"])
            ]  # fmt: skip
            containers = [{"name": container, "usage": each} for container, each in used if each]
            if containers and len(containers) == len(used):
                found.append({**_head(meta, before, now), "containers": containers})
        return found

    async def _samples(self, names: list[str]) -> dict[str, tuple[Sample, Sample]]:
        """Two samples of each node that answers."""
        for gone in self._nodes.keys() - set(names) if len(self._nodes) > 2 * len(names) else ():
            del self._nodes[gone]
        pairs = await asyncio.gather(*map(self._pair, names))
        return {name: pair for name, pair in zip(names, pairs, strict=True) if pair is not None}

    async def _pair(self, name: str) -> tuple[Sample, Sample] | None:
        node = self._nodes.setdefault(name, _Node())
        async with node.busy, self._slots:
            age = self._now() - node.now.when if node.now is not None else WINDOW_MAX
            if node.before is None or age >= FRESH:
                first = node.now if node.now is not None and WINDOW_MIN <= age < WINDOW_MAX else await self._ask(name)
                if first is not node.now:
                    await asyncio.sleep(WINDOW_MIN)
                node.before, node.now = first, await self._ask(name)
            if node.before is None or node.now is None:
                node.before = node.now = None
                return None
            return node.before, node.now

    async def _ask(self, name: str) -> Sample | None:
        if self._kubelets is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                place = await self._kubelets.place(name)
                reply = await self._kubelets.request("GET", place, "/metrics/resource")
                try:
                    page = await reply.content.read(PAGE_MAX) if reply.status == 200 else b""
                    while reply.status == 200 and (more := await reply.content.read(PAGE_MAX)):
                        page += more
                finally:
                    reply.close()
            return parse(page.decode(), self._now()) if page else None
        except (status.ApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as e:
            log.info("node %s tells nothing of what it uses: %s", name, e)
            return None


def _head(meta: Json, before: Sample, now: Sample) -> Json:
    kept = {key: meta[key] for key in ("name", "namespace", "labels") if meta.get(key)}
    return {
        "metadata": {**kept, "creationTimestamp": times.seconds(now.when)},
        "timestamp": times.seconds(now.when), "window": f"{now.when - before.when:.3f}s",
    }  # fmt: skip
