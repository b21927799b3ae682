"""One pod's worker: it knows what there is of the pod, asks `decide` what is next, has it done, and tells the status.

Nothing in `_step` waits, so that it sees one moment; all that waits is a task beside it, which changes what is known
when it is done and wakes the worker. One task at a time begins things (the lane); ends have a task each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Literal

from netlab.api import Json, times
from netlab.base.aio import in_thread
from netlab.base.errors import NetlabError
from netlab.client.rest import ApiError, ApiUnavailable
from netlab.kubelet import pods, sandboxing
from netlab.kubelet.containers import Containers
from netlab.kubelet.decide import Action, DropSandbox, Kill, MakeSandbox, Remove, Start, decide
from netlab.kubelet.engine import fresh_id
from netlab.kubelet.evicting import EVICTED
from netlab.kubelet.making import Missing
from netlab.kubelet.sandboxing import Held, NoSandbox
from netlab.kubelet.seen import CONTAINER, POD, Ending, Seen, State, Trouble
from netlab.kubelet.status import pod_status
from netlab.kubelet.tasks import Tasks
from netlab.kubelet.telling import PODS, Teller
from netlab.kubelet.tools import Tools
from netlab.runtime.containers import Status

log = logging.getLogger("kubelet")

#: the lane's name among the tasks
LANE, FINISH = "lane", "finish"
#: seconds until a sandbox or volumes that failed are tried again: at first, at most
RETRY, RETRY_MAX = 1.0, 60.0
#: seconds that the containers of a pod have which nobody knows any more
ORPHAN_GRACE = 1.0
DEADLINE = "DeadlineExceeded"


class Worker:
    """pod: as the API has it now; statuses: what the runtime has of it already; rejected: why it may not begin."""

    def __init__(
        self, tools: Tools, pod: Json, *, statuses: Sequence[Status] = (), rejected: tuple[str, str] | None = None
    ) -> None:
        self.tools, self.pod, self.clock = tools, pod, tools.clock
        self.teller = Teller(tools.client, tools.clock, pod)
        #: the status as it was told last
        self.status: Json = pod.get("status") or {}
        self.held: Held | None = None
        self._wake = asyncio.Event()
        self._tasks = Tasks(pods.shown(pod), self._wake.set)
        self.containers = Containers(
            tools, self._tasks, pod=lambda: self.pod, ips=self._ips, wake=self._wake.set
        )  # fmt: skip
        #: every sandbox that there ever was, and that may have left something
        self.boxes = {s.id for s in statuses if s.labels.get(CONTAINER) == POD}
        self._found = list(statuses)
        self._starting = ""
        #: what was being begun when the pod had to end: cancelled once, and not again while it still has to finish
        self._given_up: set[str] = set()
        self._failures = 0
        #: when the pod did, by our clock
        self._begun: float | None = None
        #: the sandbox that ends because we end it
        self._dropped = ""
        self._prepared = self.gone = self.over = False
        #: of volumes, at which only one may be
        self._making = asyncio.Lock()
        #: what is cleared away: nothing yet, all but what goes only with the pod itself, everything
        self._cleared: Literal["", "kept", "final"] = ""
        self._ending: Ending | None = None
        if rejected is not None:
            self._ending = Ending(deadline=0, reason=rejected[0], message=rejected[1])

    def _ips(self) -> Sequence[str]:
        if pods.host_network(self.pod):
            return [str(ip) for ip in self.tools.host_ips]
        return self.held.box.ips if self.held else ()

    # -- what comes from outside

    def update(self, pod: Json) -> None:
        """The pod is this now."""
        self.pod = pod
        if not pods.static(pod):
            self.teller.seen(pod)
        self._wake.set()

    def remove(self) -> None:
        """The API, or its manifest, has it no more."""
        self.gone = True
        self._wake.set()

    def poke(self) -> None:
        """There is a reason to look again."""
        self._wake.set()

    @property
    def evictable(self) -> bool:
        """Whether it has not ended, and is not about to."""
        return self._ending is None and not pods.terminal(str(self.status.get("phase")))

    def evict(self, reason: str, text: str) -> None:
        """It has to go, for that reason."""
        if self._ending is None:
            self._ending = Ending(deadline=self.clock.now() + pods.grace(self.pod), reason=reason, message=text)
            self._wake.set()

    @property
    def cleared(self) -> bool:
        """Whether what it had is taken away, as far as it goes without the pod."""
        return self._cleared != ""

    def changed(self) -> None:
        """Something that it refers to is another now: volumes follow, and what was missing may be there."""
        self.containers.hurry()
        self._tasks.begin("refresh", self.refresh())
        self._wake.set()

    async def refresh(self) -> None:
        """Its volumes, as what they are made of is now."""
        async with self._making:
            if self._prepared:
                try:
                    await self.tools.making.refresh(self.pod)
                except Missing as e:
                    log.info("%s: %s", pods.shown(self.pod), e.message)

    # -- what is known

    @property
    def state(self) -> State:
        """As a value."""
        c = self.containers
        seen = Seen(
            sandbox=self.held.box if self.held else None,
            instances={name: tuple(found) for name, found in c.instances.items()},
        )
        return State(
            seen=seen, troubles=dict(c.troubles), delays=dict(c.delays), attempts=dict(c.attempts),
            health=dict(c.health), hooking=frozenset(c.hooking), killing=dict(c.killing), starting=self._starting,
            ending=self._ending,
        )  # fmt: skip

    # -- the loop

    async def run(self) -> None:
        """Until nothing is left of the pod, or cancelled: then its containers go on."""
        try:
            await self._adopt()
            while True:
                self._wake.clear()
                due = self._step()
                if self.over:
                    return
                await self.clock.wait(self._wake, None if due is None else max(0.0, due - self.clock.now()))
        finally:
            await self._tasks.aclose()
            await self.teller.aclose()

    def _step(self) -> float | None:
        """When to look again though nothing has happened."""
        now = self.clock.now()
        due = self._judge(now)
        plan = decide(self.pod, self.state, now)
        if self._ending is not None and self._starting not in ("", POD, *self._given_up):
            self._given_up.add(self._starting)
            self._tasks.cancel(LANE)  # nothing more is begun
        for action in plan.actions:
            self._do(action)
        wanted: Literal["kept", "final"] = "final" if self.gone or pods.deleted(self.pod) else "kept"
        if plan.done and self._cleared != wanted:
            self._tasks.begin(FINISH, self._finish(wanted))
        self.over = self.gone and self._cleared == "final"
        self._tell(now)
        return min((at for at in (due, plan.wake) if at is not None), default=None)

    def _judge(self, now: float) -> float | None:
        """Whether it has to end; else until when it may run."""
        if pods.deleted(self.pod) or self.gone:
            orphan = self.gone and not self.pod["spec"]
            deadline = now + (ORPHAN_GRACE if orphan else pods.grace(self.pod))
            if self._ending is None:
                self._ending = Ending(deadline=deadline)
            elif deadline < self._ending.deadline:
                self._ending = replace(self._ending, deadline=deadline)
            return None
        limit, begun = self.pod["spec"].get("activeDeadlineSeconds"), self.status.get("startTime")
        if limit is None or begun is None or self._ending is not None or pods.terminal(str(self.status.get("phase"))):
            return None
        if self._begun is None:  # once: somebody may set the clock while it runs
            self._begun = self.clock.at(times.parse(begun).timestamp())
        due = self._begun + float(limit)
        if due > now:
            return due
        told = "Pod was active on the node longer than the specified deadline"
        self.tools.says(self.pod, DEADLINE, told)
        self._ending = Ending(deadline=now + pods.grace(self.pod), reason=DEADLINE, message=told)
        return None

    def _tell(self, now: float) -> None:
        hosts = [str(ip) for ip in self.tools.host_ips]
        if self.gone:
            return
        self.status = pod_status(self.pod, self.state, now, self.clock.wall(), host_ips=hosts, old=self.status)
        self.teller.tell(self.status)

    # -- tasks

    def _do(self, action: Action) -> None:
        match action:
            case MakeSandbox():
                self._lane(POD, self._make_sandbox(action))
            case DropSandbox():
                self._lane(POD, self._drop_sandbox(action.id))
            case Start():
                self._lane(action.name, self._start(action))
            case Kill():
                self.containers.kill(action)
            case Remove():
                self.containers.remove(action.id)

    def _lane(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        async def alone() -> None:
            try:
                await work
            except Exception as e:
                log.error("%s of %s ended by a bug", what, pods.shown(self.pod), exc_info=e)
                self._failed(NoSandbox("FailedSync", f"error syncing pod: {e}"), what)
            finally:
                self._starting = ""

        if LANE in self._tasks:
            work.close()
            return
        self._starting = what
        self._tasks.begin(LANE, alone())

    # -- the sandbox

    async def _prepare(self) -> None:
        """Volumes. NoSandbox (FailedMount)."""
        async with self._making:
            if self._prepared:
                return
            try:
                await self.tools.follow(self.pod)
                await self.tools.making.prepare(self.pod)
            except Missing as e:
                raise NoSandbox(e.reason, e.message) from e
            self._prepared = True

    def _failed(self, e: NoSandbox, name: str) -> None:
        wait = min(RETRY * 2.0 ** min(self._failures, 16), RETRY_MAX)
        self._failures += 1
        self.containers.troubles[name] = Trouble(
            e.reason if name == POD else "ContainerCreating", e.message, self.clock.now() + wait
        )
        self.tools.says(self.pod, e.reason, e.message, warning=True)

    async def _make_sandbox(self, action: MakeSandbox) -> None:
        id = fresh_id()
        self.boxes.add(id)
        try:
            await self._prepare()
            held = await sandboxing.make(self.tools, self.pod, id, action.attempt)
        except NoSandbox as e:
            self._failed(e, POD)
            return
        self._failures = 0
        self.containers.troubles.pop(POD, None)
        self.containers.attempts[POD] = action.attempt + 1
        self.held = held
        await self.tools.engine.watch(id, lambda: self._sandbox_ended(id))

    def _sandbox_ended(self, id: str) -> None:
        if self.held is not None and self.held.box.id == id:
            self.held = replace(self.held, box=replace(self.held.box, running=False))
            if self._ending is None and id != self._dropped:
                self.tools.says(self.pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            self._wake.set()

    async def _drop_sandbox(self, id: str) -> None:
        self._dropped = id
        try:
            await sandboxing.drop(self.tools, id)
        except NetlabError as e:
            told = f'error killing pod: failed to "KillPodSandbox" for "{pods.uid(self.pod)}": {e.message}'
            self.tools.says(self.pod, "FailedKillPod", told, warning=True)
            await self.clock.sleep(RETRY)
            return
        self.boxes.discard(id)
        self.held = None

    async def _start(self, action: Start) -> None:
        try:
            await self._prepare()
        except NoSandbox as e:
            self._failed(e, action.name)
            return
        if self.held is not None:
            await self.containers.start(action, self.held)

    # -- beginning again, and the end

    async def _adopt(self) -> None:
        """What another kubelet has left."""
        boxes = [s for s in self._found if s.labels.get(CONTAINER) == POD]
        if boxes:
            self.held = Held.of(boxes[-1])
            self.containers.attempts[POD] = self.held.box.attempt + 1
        await self.containers.adopt([s for s in self._found if s.labels.get(CONTAINER) != POD])
        if self.held is not None and self.held.box.running:
            id = self.held.box.id
            await self.tools.engine.watch(id, lambda: self._sandbox_ended(id))

    async def _finish(self, wanted: Literal["kept", "final"]) -> None:
        """Nothing runs any more: volumes go; of who had to make room, what its containers wrote; with the pod itself,
        everything."""
        try:
            if wanted == "final":
                for id in sorted(self.boxes):
                    await in_thread(self.tools.network.detach, id)
                await self.tools.engine.remove(sorted(self.containers.ids | self.boxes))
                self.containers.ids.clear()
                self.boxes.clear()
            elif self._ending is not None and self._ending.reason == EVICTED:
                await self.tools.engine.remove(sorted(self.containers.ids))
                self.containers.ids.clear()
            async with self._making:
                self._prepared = False
                await in_thread(self.tools.making.release, pods.uid(self.pod))
            await self.teller.told()
            if wanted == "final":
                await in_thread(self.tools.forget_logs, self.pod)
                self.tools.images.forget(pods.uid(self.pod))
                if not self.gone and not pods.static(self.pod):
                    await self._delete()
        except ApiUnavailable:
            await self.clock.sleep(RETRY)
        except NetlabError as e:
            log.warning("%s is not cleared away yet: %s", pods.shown(self.pod), e)
            self.tools.says(self.pod, "FailedKillPod", f"error killing pod: {e.message}", warning=True)
            await self.clock.sleep(RETRY)
        else:
            self._cleared = wanted

    async def _delete(self) -> None:
        """The API may forget it. ApiUnavailable."""
        meta = self.pod["metadata"]
        path = PODS.path(meta.get("namespace", ""), meta["name"])
        try:
            await self.tools.client.delete(path, uid=meta["uid"], grace=0)
        except ApiError as e:
            if e.code not in (404, 409):
                log.warning("%s is not deleted: %s", pods.shown(self.pod), e)
