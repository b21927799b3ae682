"""One pod's worker: it knows what there is of the pod, asks `decide` what is next, has it done, and tells the status.

Nothing in `_step` waits, so that it sees one moment; all that waits is a task beside it, which changes what is known
when it is done and wakes the worker. One task at a time begins things (the lane); ends have a task each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Literal

from netlab.api import Json, times
from netlab.base.aio import in_thread
from netlab.base.errors import NetlabError
from netlab.client.rest import ApiError, ApiUnavailable
from netlab.kubelet import backoff, pods, sandboxing
from netlab.kubelet.backoff import Delay
from netlab.kubelet.decide import Action, DropSandbox, Kill, MakeSandbox, Remove, Start, decide
from netlab.kubelet.ending import end, message
from netlab.kubelet.engine import fresh_id, instance_of
from netlab.kubelet.handlers import Outcome
from netlab.kubelet.making import Missing
from netlab.kubelet.pods import Spec
from netlab.kubelet.probing import Prober
from netlab.kubelet.sandboxing import Held, NoSandbox
from netlab.kubelet.seen import CONTAINER, POD, Ending, Health, Instance, Seen, State, Trouble
from netlab.kubelet.starting import NotStarted, start
from netlab.kubelet.status import pod_status
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
#: seconds that a postStart may take: until the pod ends, so to say
HOOK_MAX = 86400.0
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
        self._instances: dict[str, list[Instance]] = {}
        self._troubles: dict[str, Trouble] = {}
        self._delays: dict[str, Delay] = {}
        self._attempts: dict[str, int] = {}
        self._health: dict[str, Health] = {}
        self._hooking: set[str] = set()
        self._killing: dict[str, float] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._starting = ""
        self._failures = 0
        self._prepared = self.gone = self.over = False
        #: what is cleared away: nothing yet, all but what goes only with the pod itself, everything
        self._cleared: Literal["", "kept", "final"] = ""
        self._ending: Ending | None = None
        if rejected is not None:
            self._ending = Ending(deadline=0, reason=rejected[0], message=rejected[1])
        #: every container that there ever was, so that nothing of it is left in the end
        self._ids = {s.id for s in statuses}
        self.boxes = {s.id for s in statuses if s.labels.get(CONTAINER) == POD}
        self._found = list(statuses)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

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

    def evict(self, reason: str, text: str) -> None:
        """It has to go, for that reason."""
        if self._ending is None:
            self._ending = Ending(deadline=self.clock.now() + pods.grace(self.pod), reason=reason, message=text)
            self._wake.set()

    def changed(self) -> None:
        """Something that it refers to is another now: volumes follow, and what was missing may be there."""
        for name, trouble in self._troubles.items():
            if trouble.reason not in ("ErrImagePull", "ImagePullBackOff"):
                self._troubles[name] = replace(trouble, until=0)
        self._begin("refresh", self.refresh())
        self._wake.set()

    async def refresh(self) -> None:
        """Its volumes, as what they are made of is now."""
        if self._prepared:
            try:
                await self.tools.making.refresh(self.pod)
            except Missing as e:
                log.info("%s: %s", pods.shown(self.pod), e.message)

    # -- what is known

    @property
    def state(self) -> State:
        """As a value."""
        seen = Seen(
            sandbox=self.held.box if self.held else None,
            instances={name: tuple(found) for name, found in self._instances.items()},
        )
        return State(
            seen=seen, troubles=dict(self._troubles), delays=dict(self._delays), attempts=dict(self._attempts),
            health=dict(self._health), hooking=frozenset(self._hooking), killing=dict(self._killing),
            starting=self._starting, ending=self._ending,
        )  # fmt: skip

    def instance(self, id: str) -> Instance | None:
        """The container of that id."""
        return next((i for found in self._instances.values() for i in found if i.id == id), None)

    def _put(self, instance: Instance) -> None:
        found = self._instances.setdefault(instance.name, [])
        for at, there in enumerate(found):
            if there.id == instance.id:
                found[at] = instance
                return
        found.append(instance)

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
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self.teller.aclose()

    def _step(self) -> float | None:
        """When to look again though nothing has happened."""
        now = self.clock.now()
        due = self._judge(now)
        plan = decide(self.pod, self.state, now)
        if self._ending is not None and self._starting not in ("", POD) and LANE in self._tasks:
            self._tasks[LANE].cancel()  # nothing more is begun
        for action in plan.actions:
            self._do(action)
        wanted: Literal["kept", "final"] = "final" if self.gone or pods.deleted(self.pod) else "kept"
        if plan.done and self._cleared != wanted:
            self._begin(FINISH, self._finish(wanted))
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
        due = times.parse(begun).timestamp() + float(limit)
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
        self.status = pod_status(self.pod, self.state, now, host_ips=hosts, old=self.status)
        self.teller.tell(self.status)

    # -- tasks

    def _begin(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        if key in self._tasks:
            work.close()
            return
        task = asyncio.create_task(work, name=f"{key} {pods.shown(self.pod)}")
        self._tasks[key] = task

        def ended(task: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is task:
                del self._tasks[key]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s of %s ended by a bug", key, pods.shown(self.pod), exc_info=error)
            self._wake.set()

        task.add_done_callback(ended)

    def _do(self, action: Action) -> None:
        match action:
            case MakeSandbox():
                self._lane(POD, self._make_sandbox(action))
            case DropSandbox():
                self._lane(POD, self._drop_sandbox(action.id))
            case Start():
                self._lane(action.name, self._start(action))
            case Kill():
                self._kill(action)
            case Remove():
                for found in self._instances.values():
                    found[:] = [i for i in found if i.id != action.id]
                self._begin(f"remove {action.id}", self._remove(action.id))

    def _lane(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        async def alone() -> None:
            try:
                await work
            finally:
                self._starting = ""

        if LANE in self._tasks:
            work.close()
            return
        self._starting = what
        self._begin(LANE, alone())

    # -- the sandbox

    async def _prepare(self) -> None:
        """Volumes. NoSandbox (FailedMount)."""
        if not self._prepared:
            try:
                await self.tools.follow(self.pod)
                await self.tools.making.prepare(self.pod)
            except Missing as e:
                raise NoSandbox(e.reason, e.message) from e
            self._prepared = True

    def _failed(self, e: NoSandbox, name: str) -> None:
        wait = min(RETRY * 2.0 ** min(self._failures, 16), RETRY_MAX)
        self._failures += 1
        self._troubles[name] = Trouble(
            e.reason if name == POD else "ContainerCreating", e.message, self.clock.now() + wait
        )
        self.tools.says(self.pod, e.reason, e.message, warning=True)

    async def _make_sandbox(self, action: MakeSandbox) -> None:
        id = fresh_id()
        self._ids.add(id)
        self.boxes.add(id)
        try:
            await self._prepare()
            held = await sandboxing.make(self.tools, self.pod, id, action.attempt)
        except NoSandbox as e:
            self._failed(e, POD)
            return
        self._failures = 0
        self._troubles.pop(POD, None)
        self._attempts[POD] = action.attempt + 1
        self.held = held
        await self.tools.engine.watch(id, lambda: self._sandbox_ended(id))

    def _sandbox_ended(self, id: str) -> None:
        if self.held is not None and self.held.box.id == id:
            self.held = replace(self.held, box=replace(self.held.box, running=False))
            if self._ending is None:
                self.tools.says(self.pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            self._wake.set()

    async def _drop_sandbox(self, id: str) -> None:
        try:
            await sandboxing.drop(self.tools, id)
        except NetlabError as e:
            told = f'error killing pod: failed to "KillPodSandbox" for "{pods.uid(self.pod)}": {e.message}'
            self.tools.says(self.pod, "FailedKillPod", told, warning=True)
            await self.clock.sleep(RETRY)
            return
        self._ids.discard(id)
        self.boxes.discard(id)
        self.held = None

    # -- containers

    async def _start(self, action: Start) -> None:
        spec, held = pods.spec_of(self.pod, action.name), self.held
        if spec is None or held is None:
            return
        id = fresh_id()
        self._ids.add(id)
        newest = self.state.seen.newest(spec.name)

        def counts() -> None:
            if newest is not None:
                now = self.clock.now()
                self._delays[spec.name] = backoff.following(self._delays.get(spec.name), newest.finished, now)

        try:
            await self._prepare()
            instance = await start(self.tools, self.pod, spec, held, id, action.attempt, making=counts)
        except NoSandbox as e:
            self._failed(e, spec.name)
            return
        except NotStarted as e:
            self._not_started(spec, e)
            return
        self._troubles.pop(spec.name, None)
        self._put(instance)
        hook = (spec.container.get("lifecycle") or {}).get("postStart")
        if hook:
            self._hooking.add(id)
        await self._look_after(spec, instance, Prober.first(spec.container))
        self._wake.set()
        if hook:
            await self._post_start(spec, instance, hook)

    def _not_started(self, spec: Spec, e: NotStarted) -> None:
        trouble = e.trouble
        if e.instance is not None:
            self._put(e.instance)
            found = self.state
            newest = found.seen.newest(spec.name)
            wait = backoff.until(found.delays.get(spec.name), newest.finished) if newest else 0
            if wait > self.clock.now():
                told = f"Back-off restarting failed container {spec.name} in pod {pods.shown(self.pod)}"
                self.tools.says(self.pod, "BackOff", told, container=spec.name, warning=True)
        self._troubles[spec.name] = trouble

    async def _look_after(self, spec: Spec, instance: Instance, health: Health) -> None:
        id = instance.id
        self._ended[id] = asyncio.Event()
        if spec.probes and spec.kind in ("main", "sidecar"):
            self._health[id] = health
            ips = [str(ip) for ip in self.tools.host_ips] if pods.host_network(self.pod) else (
                self.held.box.ips if self.held else ())  # fmt: skip
            prober = Prober(
                self.tools.asker.ask, self.tools.target(id, spec.container, ips), started=instance.started,
                health=health,
                told=self._told(id), complain=self._complain(spec), clock=self.clock,
            )  # fmt: skip
            self._begin(f"probe {id}", prober.run())
        await self.tools.engine.watch(id, lambda: self._container_ended(spec, id))

    def _told(self, id: str) -> Callable[[Health], None]:
        def told(health: Health) -> None:
            self._health[id] = health
            self._wake.set()

        return told

    def _complain(self, spec: Spec) -> Callable[[str, Outcome], None]:
        def complain(kind: str, outcome: Outcome) -> None:
            how = "failed" if outcome.result == "failure" else "errored"
            told = f"{kind.capitalize()} probe {how}: {outcome.output}"
            self.tools.says(self.pod, "Unhealthy", told, container=spec.name, warning=True)

        return complain

    async def _post_start(self, spec: Spec, instance: Instance, hook: Json) -> None:
        id = instance.id
        ips = self.held.box.ips if self.held else ()
        asking = asyncio.ensure_future(self.tools.asker.ask(hook, self.tools.target(id, spec.container, ips), HOOK_MAX))
        gone = asyncio.ensure_future(self._ended[id].wait())
        try:
            await asyncio.wait({asking, gone}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not asking.result().ok and not gone.done():
                self.tools.says(
                    self.pod, "FailedPostStartHook", "PostStartHook failed", container=spec.name, warning=True
                )
                deadline = self.clock.now() + pods.grace(self.pod)
                self._kill(Kill(id, spec.name, deadline, "FailedPostStartHook"))
        finally:
            asking.cancel()
            gone.cancel()
            self._hooking.discard(id)

    def _kill(self, action: Kill) -> None:
        id, first = action.id, action.id not in self._killing
        spec = pods.spec_of(self.pod, action.name)
        container = spec.container if spec else {"name": action.name}
        self._killing[id] = action.deadline
        if first:
            self.tools.says(self.pod, "Killing", action.message, container=action.name)
        elif (task := self._tasks.pop(f"kill {id}", None)) is not None:
            task.cancel()
        ips = self.held.box.ips if self.held else ()
        target = self.tools.target(id, container, ips)
        ended = self._ended.setdefault(id, asyncio.Event())
        self._begin(f"kill {id}", end(self.tools, self.pod, target, action.deadline, hook=first, ended=ended))

    def _container_ended(self, spec: Spec, id: str) -> None:
        self._ended[id].set()
        self._begin(f"end {id}", self._note_end(spec, id))

    async def _note_end(self, spec: Spec, id: str) -> None:
        if (task := self._tasks.get(f"probe {id}")) is not None:
            task.cancel()
        status = await self.tools.engine.status(id)
        instance = self.instance(id)
        if instance is None:
            return
        if status is None:  # somebody has taken it away behind our back
            now = self.clock.now()
            instance = replace(
                instance, state="exited", finished=now, exit_code=137, reason="ContainerStatusUnknown",
                message="The container could not be located when the pod was terminated",
            )  # fmt: skip
        else:
            instance = await self._closed(spec, status)
        self._put(instance)
        self._killing.pop(id, None)
        self._health.pop(id, None)
        if self._ending is None:
            self._say_back_off(spec, instance)

    def _say_back_off(self, spec: Spec, instance: Instance) -> None:
        if backoff.until(self._delays.get(spec.name), instance.finished) > self.clock.now():
            told = f"Back-off restarting failed container {spec.name} in pod {pods.shown(self.pod)}"
            self.tools.says(self.pod, "BackOff", told, container=spec.name, warning=True)

    async def _closed(self, spec: Spec, status: Status) -> Instance:
        """A container that has ended, with what it had to say."""
        instance = instance_of(status)
        file = self.tools.making.termination_log(pods.uid(self.pod), spec.name, instance.attempt)
        path = self.tools.log_directory(self.pod) / spec.name / f"{instance.attempt}.log"
        told = await in_thread(lambda: message(file, path, spec.container, failed=instance.exit_code != 0))
        return replace(instance, message=told)

    async def _remove(self, id: str) -> None:
        try:
            await self.tools.engine.remove([id])
            self._ids.discard(id)
        except NetlabError as e:
            log.warning("container %s is not removed: %s", id, e)

    # -- beginning again, and the end

    async def _adopt(self) -> None:
        """What another kubelet has left: nothing is begun anew that runs."""
        statuses = self.pod.get("status") or {}
        told = pods.statuses(statuses)
        for status in self._found:
            if status.labels.get(CONTAINER) == POD:
                held = Held.of(status)
                if self.held is None or held.box.attempt >= self.held.box.attempt:
                    self.held = held
                self._attempts[POD] = max(self._attempts.get(POD, 0), held.box.attempt + 1)
        for status in self._found:
            name = status.labels.get(CONTAINER, "")
            if name == POD:
                continue
            spec = pods.spec_of(self.pod, name) or Spec(name, "main", {"name": name})
            if status.state == "exited":
                self._put(await self._closed(spec, status))
                continue
            instance = instance_of(status)
            self._put(instance)
            if status.state == "running":
                first, was = Prober.first(spec.container), told.get(name, {})
                if was.get("containerID", "").endswith(status.id):
                    first = Health(started=bool(was.get("started")) or first.started, ready=bool(was.get("ready")))
                await self._look_after(spec, instance, first)
        for name, was in told.items():
            if name not in self._instances and was.get("containerID"):
                self._attempts[name] = int(was.get("restartCount", 0)) + 1
        if self.held is not None and self.held.box.running:
            id = self.held.box.id
            await self.tools.engine.watch(id, lambda: self._sandbox_ended(id))

    async def _finish(self, wanted: Literal["kept", "final"]) -> None:
        """Nothing runs any more: volumes go; with the pod itself, everything."""
        try:
            if wanted == "final":
                for id in sorted(self.boxes):
                    await in_thread(self.tools.network.detach, id)
                await self.tools.engine.remove(sorted(self._ids))
                self._ids.clear()
                self.boxes.clear()
            await in_thread(self.tools.making.release, pods.uid(self.pod))
            self._prepared = False
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
