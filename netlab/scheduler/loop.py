"""The loop: informers keep the snapshot and the queue, pods are decided one by one, bindings go out at once.

A pod counts as placed from the moment of its decision, so that the next one is decided without waiting for the server;
if the binding fails, it is taken back. Source: kubernetes pkg/scheduler (schedule_one.go, eventhandlers.go).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from netlab.api import times
from netlab.api.selectors import SelectorError, from_object
from netlab.base.aio import first
from netlab.client.informer import Informer, Informers, Interest
from netlab.client.recorder import Correlator, Recorder
from netlab.client.resources import Resource, key_of
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, ApiUnavailable, Object, RestClient
from netlab.scheduler import nodes, pods, volumes
from netlab.scheduler.decide import Decider, Unfit
from netlab.scheduler.matching import SELECTED
from netlab.scheduler.pods import Pod
from netlab.scheduler.preempt import Budget, Room, make_room, why_not
from netlab.scheduler.queue import SchedulingQueue

log = logging.getLogger("scheduler")

NAME = "default-scheduler"
#: pods that have ended take nothing: they leave the cache as if they were deleted
PODS = Interest(
    Resource("v1", "pods"), field_selector="status.phase!=Succeeded,status.phase!=Failed", keep=pods.lean
)  # fmt: skip
NODES, NAMESPACES = Interest(Resource("v1", "nodes")), Interest(Resource("v1", "namespaces"), metadata=True)
CLAIMS, VOLUMES = Interest(Resource("v1", "persistentvolumeclaims")), Interest(Resource("v1", "persistentvolumes"))
CLASSES = Interest(Resource("storage.k8s.io/v1", "storageclasses"))
BUDGETS = Interest(Resource("policy/v1", "poddisruptionbudgets"))
#: bindings and other requests that may be under way at once
IN_FLIGHT = 64
#: seconds between two looks for pods that have waited too long
TIDY = 30.0
#: who may say otherwise after a change
_BY_RELATION = frozenset({"InterPodAffinity", "PodTopologySpread"})
_BY_ROOM = _BY_RELATION | {"NodeResourcesFit", "NodePorts", "VolumeRestrictions"}
_BY_VOLUME = frozenset({volumes.PLUGIN})


class Scheduler:
    """Places the pods of one API server. identity: of this process; clock: seconds that only grow; now: since 1970."""

    def __init__(
        self, client: RestClient, *, identity: str = "", clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time, chance: random.Random | None = None,
    ) -> None:  # fmt: skip
        self._client, self._now = client, now
        self.snapshot, self.queue = nodes.Snapshot(), SchedulingQueue(clock)
        self._decider = Decider(self.snapshot, chance=chance)
        self._recorder = Recorder(client, Correlator(NAME, identity, now=now))
        self._informers = Informers(client)
        self._stores = {i: self._informers.of(i).store for i in (CLAIMS, VOLUMES, CLASSES, BUDGETS)}
        self._of(NODES).add_handler(self._node)
        self._of(NAMESPACES).add_handler(self._namespace)
        self._of(PODS).add_handler(self._pod)
        for interest in (CLAIMS, VOLUMES, CLASSES):
            self._of(interest).add_handler(self._volume)
        #: placed by a decision, and not yet seen so
        self._assumed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self.ready = asyncio.Event()
        self.placed = self.failed = 0

    def _of(self, interest: Interest) -> Informer:
        return self._informers.of(interest)

    def why_not_ready(self) -> str | None:
        """None once all caches are filled."""
        return None if self.ready.is_set() else "the caches of the scheduler are not filled yet"

    async def run(self) -> None:
        """Schedule until cancelled. What a bug raises is raised."""
        try:
            self._informers.start()
            await self._informers.wait()
            self.ready.set()
            await first(self._informers.failure(), self._recorder.run(), self._serve(), self._tidy())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._informers.aclose()

    async def _serve(self) -> None:
        while True:
            self._wake.clear()
            pod = self.queue.pop()
            if pod is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.queue.due()):
                        await self._wake.wait()
                continue
            self._one(pod)
            await asyncio.sleep(0)  # what has come in meanwhile is to be seen before the next decision
            while len(self._tasks) >= IN_FLIGHT:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY)
            self.queue.left_over()
            self._wake.set()

    # -- what changes

    def _moved(self, helped: frozenset[str] | None) -> None:
        self.queue.moved(helped)
        self._wake.set()

    def _node(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            if self.snapshot.set_node(nodes.facts(new)):
                self._moved(None)
        elif old is not None:
            self.snapshot.remove_node(old["metadata"]["name"])
            self._moved(_BY_RELATION)

    def _namespace(self, old: Object | None, new: Object | None) -> None:
        obj = new if new is not None else old
        if obj is None:
            return
        name, labels = obj["metadata"]["name"], obj["metadata"].get("labels") or {}
        if new is None:
            self.snapshot.namespaces.pop(name, None)
        elif self.snapshot.namespaces.get(name) != labels:
            self.snapshot.namespaces[name] = labels
            self._moved(_BY_RELATION)

    def _volume(self, old: Object | None, new: Object | None) -> None:
        self._moved(_BY_VOLUME)

    def _pod(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self._gone(key_of(old))
            return
        pod = pods.parse(new)
        if pod.node:
            self._seen(pod)
        elif pod.ending:
            self._forget(pod.key)
        elif (new["spec"].get("schedulerName") or NAME) == NAME:
            self._waits(pod)

    def _seen(self, pod: Pod) -> None:
        self._assumed.discard(pod.key)
        self._forget(pod.key)
        if self.snapshot.pods.get(pod.key) != pod:
            self.snapshot.place(pod)
            self._moved(_BY_RELATION)

    def _waits(self, pod: Pod) -> None:
        self.queue.set(pod)
        if self.snapshot.nominated or pod.nominated:
            self.snapshot.nominate(pod, pod.nominated)
        self._wake.set()

    def _gone(self, key: str) -> None:
        self._assumed.discard(key)
        self._forget(key)
        if self.snapshot.remove(key) is not None:
            self._moved(_BY_ROOM)

    def _forget(self, key: str) -> None:
        pod = self.queue.get(key)
        if pod is not None:
            self.queue.remove(key)
            self.snapshot.nominate(pod, "")

    # -- decisions

    def _one(self, pod: Pod) -> None:
        claims = volumes.Claims()
        if pod.claims:
            find = {i: self._stores[i].get for i in (CLAIMS, VOLUMES, CLASSES)}
            claims = volumes.claims_of(
                pod, self.snapshot, claim=find[CLAIMS], volume=find[VOLUMES], storage=find[CLASSES],
                volumes=self._stores[VOLUMES],
            )  # fmt: skip
            if claims.told:
                self.queue.unschedulable(pod.key, _BY_VOLUME)  # until they are bound
                return
        found = self._decider.decide(pod, claims)
        if isinstance(found, Unfit):
            self._nowhere(pod, found, claims)
            return
        if claims.waiting:
            self.queue.unschedulable(pod.key, _BY_VOLUME)
            self._begin(self._tell(pod, claims.waiting, found))
            return
        self.snapshot.place(replace(pod, node=found))
        self.snapshot.nominate(pod, "")
        self._assumed.add(pod.key)
        self._begin(self._bind(pod, found))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a request ended by a bug", exc_info=error)

    async def _bind(self, pod: Pod, node: str) -> None:
        namespace, name = pod.namespace, pod.obj["metadata"]["name"]
        binding = {
            "apiVersion": "v1", "kind": "Binding", "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            "metadata": {"name": name, "namespace": namespace, "uid": pod.uid},
        }  # fmt: skip
        try:
            await self._client.create(PODS.resource.path(namespace, name, "binding"), binding)
        except (ApiError, ApiUnavailable) as e:
            self.failed += 1
            if pod.key in self._assumed:
                self._assumed.discard(pod.key)
                self.snapshot.remove(pod.key)
                self.queue.fault(pod.key)
                self._moved(_BY_ROOM)
            if not isinstance(e, ApiError) or e.code not in (404, 409):
                log.warning("%s is not bound to %s: %s", pod.key, node, e)
            return
        self.placed += 1
        self._recorder.normal(pod.obj, "Scheduled", f"Successfully assigned {pod.key} to {node}")

    async def _tell(self, pod: Pod, names: Iterable[str], node: str) -> None:
        """Tell claims that wait for their first consumer where that is: then they are bound there."""
        for name in names:
            patch = {"metadata": {"annotations": {SELECTED: node}}}
            try:
                await self._client.patch(CLAIMS.resource.path(pod.namespace, name), patch)
            except (ApiError, ApiUnavailable) as e:
                log.warning("the claim %s/%s is not told its node: %s", pod.namespace, name, e)

    # -- nowhere to go

    def _nowhere(self, pod: Pod, unfit: Unfit, claims: volumes.Claims) -> None:
        self.failed += 1
        nominated, after = pod.nominated, ""
        if unfit.total:
            found: Room | str = why_not(pod, self.snapshot) or make_room(
                pod, unfit, self.snapshot, claims, list(self._budgets())
            )
            if isinstance(found, Room):
                nominated = found.node
                self._begin(self._preempt(pod, found))
            else:
                after = f"preemption: {found}"
                if not found.startswith("not eligible"):
                    nominated = ""
        self.snapshot.nominate(pod, nominated)
        message = unfit.message(after)
        self._recorder.warning(pod.obj, "FailedScheduling", message)
        self.queue.unschedulable(pod.key, unfit.plugins)
        self._begin(self._say(pod, message, nominated))

    def _budgets(self) -> Iterable[Budget]:
        for budget in self._stores[BUDGETS]:
            with suppress(SelectorError):
                selector = from_object((budget.get("spec") or {}).get("selector"))
                if selector is not None:
                    allowed = (budget.get("status") or {}).get("disruptionsAllowed", 0)
                    yield Budget(budget["metadata"]["namespace"], selector, allowed)

    async def _say(self, pod: Pod, message: str, nominated: str) -> None:
        """The pod's condition, if it is another than it was."""
        wanted = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        there: Object = next(iter((pod.obj.get("status") or {}).get("conditions") or ()), {})
        if nominated == pod.nominated and all(there.get(name) == value for name, value in wanted.items()):
            return
        since = there.get("lastTransitionTime") if there.get("status") == "False" else None
        condition = {**wanted, "lastProbeTime": None, "lastTransitionTime": since or times.seconds(self._now())}
        await self._status(pod, {"conditions": [condition], "nominatedNodeName": nominated or None})

    async def _preempt(self, pod: Pod, room: Room) -> None:
        """Let the victims go, each with the reason in its status."""
        stamp = times.seconds(self._now())
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": f"{NAME}: preempting to accommodate a higher priority pod", "lastTransitionTime": stamp,
        }  # fmt: skip
        for victim in room.victims:
            if victim.ending:
                continue
            await self._status(victim, {"conditions": [condition]})
            try:
                path = PODS.resource.path(victim.namespace, victim.obj["metadata"]["name"])
                await self._client.delete(path, uid=victim.uid)
            except (ApiError, ApiUnavailable) as e:
                if not isinstance(e, ApiError) or e.code not in (404, 409):
                    log.warning("%s does not make room for %s: %s", victim.key, pod.key, e)
                continue
            self._recorder.normal(victim.obj, "Preempted", f"Preempted by pod {pod.uid} on node {room.node}")

    async def _status(self, pod: Pod, change: Object) -> None:
        path = PODS.resource.path(pod.namespace, pod.obj["metadata"]["name"], "status")
        try:
            patch = {"metadata": {"uid": pod.uid}, "status": change}
            await self._client.patch(path, patch, kind=STRATEGIC_MERGE_PATCH)
        except (ApiError, ApiUnavailable) as e:
            if not isinstance(e, ApiError) or e.code not in (404, 409):
                log.warning("the status of %s is not written: %s", pod.key, e)
