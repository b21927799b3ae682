"""The kubelet of one node: the pods that are given to it have a worker each, and the node is told of.

What ran before it began is found in the runtime and goes on; what nobody knows any more is ended and taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.base.aio import first, in_thread
from netlab.client.informer import Informers, Interest
from netlab.client.recorder import Correlator, Recorder
from netlab.client.resources import Resource, key_of
from netlab.client.rest import Object, RestClient
from netlab.kubelet import pods, uses
from netlab.kubelet.admitting import REJECTED, refusal
from netlab.kubelet.doors import Doors
from netlab.kubelet.engine import Engine, by_pod, pod_of
from netlab.kubelet.events import Events
from netlab.kubelet.evicting import EVICTED, SIGNALS, Amount, Pressure, Threshold, Use, unwelcome, victim, words
from netlab.kubelet.handlers import Asker
from netlab.kubelet.imaging import Images
from netlab.kubelet.logs import rotating
from netlab.kubelet.making.world import Tell
from netlab.kubelet.mirrors import Mirrors
from netlab.kubelet.needs import Clock, Making, Network
from netlab.kubelet.node import Machine, Moment
from netlab.kubelet.registering import LEASE, NODES, Registration
from netlab.kubelet.seen import UID
from netlab.kubelet.static import Manifests
from netlab.kubelet.tools import Tools
from netlab.kubelet.worker import Worker
from netlab.kubelet.world import ApiWorld
from netlab.runtime.containers import Runtime, Status

log = logging.getLogger("kubelet")

#: seconds between two looks at how much room there is
LOOK = 10.0
#: seconds that an evicted pod has to be taken away before another one has to go (the original's podCleanupTimeout)
CLEARING = 30.0
#: seconds between two looks at volumes: at content that ages (tokens), and at sizes
REFRESH = 60.0


class Kubelet:
    """making: of the world, what makes pods; moment: how the node does; logs: below which containers write; manifests:
    a directory of static pods; hard: when pods are evicted; lease: seconds that the node's Lease is good for."""

    def __init__(
        self, client: RestClient, runtime: Runtime, network: Network, machine: Machine,
        making: Callable[[ApiWorld, Tell], Making], *, ips: Sequence[Address], logs: Path,
        moment: Callable[[], Moment], clock: Clock | None = None, manifests: Path | None = None,
        pulls: bool = False, insecure: bool = False, hard: Sequence[Threshold] = (), lease: int = LEASE,
    ) -> None:  # fmt: skip
        self.client, self.runtime, self.machine = client, runtime, machine
        self._clock = clock or Clock()
        self._informers = Informers(client)
        self._recorder = Recorder(client, Correlator("kubelet", machine.name, host=machine.name))
        self.world = ApiWorld(client, self._informers, self._changed)
        self._engine = Engine(runtime)
        self._asker = Asker(self._engine.run)
        says = Events(self._recorder)

        def warn(pod: Json, reason: str, message: str) -> None:
            says(pod, reason, message, warning=True)

        self.tools = Tools(
            client=client, engine=self._engine, making=making(self.world, warn), network=network, asker=self._asker,
            images=Images(runtime.images, self._clock, pulls=pulls, insecure=insecure), says=says, host_ips=tuple(ips),
            logs=logs, clock=self._clock, follow=self.world.follow,
        )  # fmt: skip

        self._pressure, self._moment = Pressure(tuple(hard)), moment
        # who was evicted last, and until when that is waited for
        self._leaving: Worker | None = None
        self._until = 0.0

        async def now() -> Moment:
            found = await in_thread(moment)
            return replace(found, pressures=self._pressure.conditions(self._clock.now()))

        self.registration = Registration(client, machine, now, says, self._clock, lease=lease)
        self._pods = self._informers.of(
            Interest(Resource("v1", "pods"), field_selector=f"spec.nodeName={machine.name}")
        )
        self._nodes = self._informers.of(Interest(NODES, field_selector=f"metadata.name={machine.name}"))
        self._manifests = None if manifests is None else Manifests(manifests, machine.name)
        self._static: dict[str, Json] = {}
        self._mirrors = Mirrors(
            client, self._pods, self._clock, static=lambda: self._static.values(),
            node=lambda: self.registration.node, found=self._mirrored,
        )  # fmt: skip
        self.workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._found: dict[str, list[Status]] = {}
        self._adopted = False
        self.ready = asyncio.Event()
        #: for the server that others ask
        self.doors = Doors(machine.name, runtime, lambda: self.workers.values())

    def why_not_ready(self) -> str | None:
        """None once the pods of the node are known."""
        return None if self.ready.is_set() else "the pods of this node are not known yet"

    # -- the whole

    async def run(self) -> None:
        """Work until cancelled; the containers go on. What a bug raises is raised."""
        try:
            statuses = await self._engine.all()
            self._found = by_pod(statuses)
            # whoever made these was killed before he could say whose they are
            await self._engine.remove(s.id for s in statuses if UID not in s.labels)
            self._nodes.add_handler(self._node)
            self._informers.start()
            await first(
                self._informers.failure(),
                self._recorder.run(),
                self.registration.run(),
                self._serve(),
                self._age(),
                rotating(self.runtime),
                self._relieve(),
            )
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._informers.aclose()
            await self._asker.aclose()
            self._engine.close()

    async def _serve(self) -> None:
        self._follow_static()  # they wait for nobody
        await self.registration.registered.wait()
        await self._informers.wait([self._pods.interest])
        for pod in sorted(self._pods.store, key=lambda p: (p["metadata"].get("creationTimestamp", ""), key_of(p))):
            self._pod(None, pod)
        self._follow_static()
        for statuses in list(self._found.values()):
            worker = self._work(pod_of(statuses[0]), statuses)
            worker.remove()
        self._found.clear()
        # before anything is waited for: a pod that is deleted meanwhile would be run for ever
        self._pods.add_handler(self._pod)
        await self._tidy()
        self._adopted = True
        self.ready.set()
        log.info("the kubelet of %s runs %d pods", self.machine.name, len(self.workers))
        await first(self._mirrors.run(), self._look())

    async def _tidy(self) -> None:
        """What is left of pods and sandboxes that nobody knows."""
        making, network = self.tools.making, self.tools.network
        for uid in await in_thread(making.known):
            if uid not in self.workers:
                await in_thread(making.release, uid)
        for id in await in_thread(network.known):
            # asked now: pods come meanwhile, and note a sandbox before they make it
            if not any(id in worker.boxes for worker in self.workers.values()):
                await in_thread(network.detach, id)
        await in_thread(self.tools.forget_other_logs, self.workers)

    async def _age(self) -> None:
        while True:
            await self._clock.sleep(REFRESH)
            for worker in list(self.workers.values()):
                await worker.refresh()
                if worker.pod["spec"].get("volumes") and worker.evictable:
                    for told in await in_thread(self.tools.making.overfull, worker.pod):
                        self._leave(worker, told)

    # -- room

    async def _relieve(self) -> None:
        """Look whether there is memory and disk; if not, the node says so, and one pod goes at a time: what the one
        leaves may be enough."""
        await self.ready.wait()
        while True:
            await self._clock.sleep(LOOK)
            before = self._pressure.conditions(self._clock.now())
            available = {s: Amount(*a) for s, a in (await in_thread(self._moment)).available.items()}
            met = self._pressure.look(available, self._clock.now())
            if self._pressure.conditions(self._clock.now()) != before:
                self.registration.wake.set()
            for threshold in met[:1]:
                resource = SIGNALS[threshold.signal][1]
                self.tools.says(
                    self.registration.node, "EvictionThresholdMet", f"Attempting to reclaim {resource}", warning=True
                )
                if self._leaving is None or self._leaving.cleared or self._clock.now() > self._until:
                    await self._evict(threshold, available[threshold.signal], resource)

    async def _evict(self, threshold: Threshold, amount: Amount, resource: str) -> None:
        measure = uses.memory if resource == "memory" else uses.storage
        found = []
        for worker in [w for w in self.workers.values() if w.pod["spec"] and w.evictable]:
            used = await in_thread(measure, self.tools, self.runtime, worker.pod, worker.state.seen)
            found.append(Use(pod=worker.pod, used=used))
        gone = victim(found, resource)
        if gone is not None and (chosen := self.workers.get(pods.uid(gone.pod))) is not None:
            self._leave(chosen, words(threshold, amount, gone))
            self._leaving, self._until = chosen, self._clock.now() + CLEARING

    def _leave(self, worker: Worker, told: str) -> None:
        self.tools.says(worker.pod, EVICTED, told, warning=True)
        worker.evict(EVICTED, told)

    # -- pods

    def _node(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.registration.seen(new)

    def _pod(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._mirrors.wake.set()
            if old is not None and (worker := self.workers.get(pods.uid(old))) is not None:
                worker.remove()
            return
        if pods.mirror(new):
            self._mirrors.wake.set()
            return
        worker = self.workers.get(pods.uid(new))
        if worker is not None:
            worker.update(new)
            return
        statuses = self._found.pop(pods.uid(new), [])
        rejected = None
        if not pods.terminal(pods.phase(new)) and not any(s.state == "running" for s in statuses):
            rejected = self._refusal(new)
        self._work(new, statuses, rejected)

    def _refusal(self, pod: Json) -> tuple[str, str] | None:
        others = [
            w.pod for w in self.workers.values() if w.pod["spec"] and not pods.terminal(w.status.get("phase", ""))
        ]
        pressed = self._pressure.conditions(self._clock.now())
        found = unwelcome(pod, pressed) or refusal(pod, self.registration.node, others)
        if found is None:
            return None
        reason, told = found
        self.tools.says(pod, reason, told, warning=True)
        return reason, REJECTED + told

    # -- static pods

    async def _look(self) -> None:
        if self._manifests is not None:
            async with contextlib.aclosing(self._manifests.changes()) as changes:
                async for _ in changes:
                    self._follow_static()
        await asyncio.Event().wait()

    def _follow_static(self) -> None:
        """Of two that have one name, one that is of another content now, the first has to end before the second."""
        if self._manifests is None:
            return
        self._static = self._manifests.look(self._clock.wall())
        for uid, worker in list(self.workers.items()):
            if uid not in self._static and pods.static(worker.pod):
                worker.remove()
        taken = {key_of(worker.pod) for worker in self.workers.values()}
        for uid, pod in self._static.items():
            if key_of(pod) not in taken:
                self._work(pod, self._found.pop(uid, []))
        self._mirrors.wake.set()

    def _mirrored(self, uid: str, mirror: Json) -> None:
        worker = self.workers.get(uid)
        if worker is not None:
            worker.teller.about(mirror)
            worker.poke()

    def _work(self, pod: Json, statuses: Sequence[Status], rejected: tuple[str, str] | None = None) -> Worker:
        uid = pods.uid(pod)
        worker = self.workers[uid] = Worker(self.tools, pod, statuses=statuses, rejected=rejected)
        task = self._tasks[uid] = asyncio.create_task(worker.run(), name=f"pod {pods.shown(pod)}")
        task.add_done_callback(lambda task: self._ended(uid, pod, task))
        return worker

    def _ended(self, uid: str, pod: Json, task: asyncio.Task[None]) -> None:
        self.workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.error("the worker of pod %s ended by a bug", uid, exc_info=error)
            return
        if pods.static(pod):
            self._follow_static()
        forgetting = asyncio.ensure_future(self.world.forget(uid))
        self._tasks[f"forget {uid}"] = forgetting
        forgetting.add_done_callback(lambda _: self._tasks.pop(f"forget {uid}", None))

    def _changed(self, uids: Iterable[str]) -> None:
        """Something that these pods refer to is another now."""
        for uid in uids:
            worker = self.workers.get(uid)
            if worker is not None:
                worker.changed()
