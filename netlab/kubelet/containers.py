"""The containers of one pod: begun, probed, ended, and what is known of each, for the pod's worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from netlab.api import Json
from netlab.base.aio import in_thread, to_its_end
from netlab.base.errors import NetlabError
from netlab.kubelet import backoff, pods
from netlab.kubelet.backoff import Delay
from netlab.kubelet.decide import Kill, Start
from netlab.kubelet.ending import end, message
from netlab.kubelet.engine import fresh_id, instance_of
from netlab.kubelet.handlers import Outcome, Target
from netlab.kubelet.pods import Spec
from netlab.kubelet.probing import Prober
from netlab.kubelet.sandboxing import Held
from netlab.kubelet.seen import CONTAINER, Health, Instance, Trouble
from netlab.kubelet.starting import NotStarted, image_of, start
from netlab.kubelet.tasks import Tasks
from netlab.kubelet.tools import Tools
from netlab.runtime.containers import Status
from netlab.runtime.images.store import Image

log = logging.getLogger("kubelet")

#: seconds that a postStart may take: until the pod ends, so to say
HOOK_MAX = 86400.0
#: troubles that only time mends
_PULLS = ("ErrImagePull", "ImagePullBackOff")


class Containers:
    """pod: as it is now; ips: its addresses; wake: called when something has changed. What is public is what the worker
    decides by (see `seen.State`); ids: of every container that there ever was and that may have left something."""

    def __init__(
        self, tools: Tools, tasks: Tasks, *, pod: Callable[[], Json], ips: Callable[[], Sequence[str]],
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._tools, self._tasks, self._pod, self._ips, self._wake = tools, tasks, pod, ips, wake
        self.instances: dict[str, list[Instance]] = {}
        self.troubles: dict[str, Trouble] = {}
        self.delays: dict[str, Delay] = {}
        self.attempts: dict[str, int] = {}
        self.health: dict[str, Health] = {}
        self.hooking: set[str] = set()
        self.killing: dict[str, float] = {}
        self.ids: set[str] = set()
        self._ended: dict[str, asyncio.Event] = {}

    def instance(self, id: str) -> Instance | None:
        """The container of that id."""
        return next((i for found in self.instances.values() for i in found if i.id == id), None)

    def _put(self, instance: Instance) -> None:
        found = self.instances.setdefault(instance.name, [])
        for at, there in enumerate(found):
            if there.id == instance.id:
                found[at] = instance
                return
        found.append(instance)

    def _says(self, reason: str, text: str, name: str, *, warning: bool = True) -> None:
        self._tools.says(self._pod(), reason, text, container=name, warning=warning)

    def _target(self, id: str, container: Json) -> Target:
        return self._tools.target(id, container, self._ips())

    def hurry(self) -> None:
        """What something was missing for may be there now."""
        for name, trouble in self.troubles.items():
            if trouble.reason not in _PULLS:
                self.troubles[name] = replace(trouble, until=0)

    # -- the beginning

    async def start(self, action: Start, held: Held) -> None:
        """Begin one, up to the end of its hook; or note why that cannot be."""
        spec = pods.spec_of(self._pod(), action.name)
        if spec is None:
            return
        try:
            image = await image_of(self._tools, self._pod(), spec)
            # from here on there is something to be kept in view, whatever happens meanwhile
            instance = await to_its_end(self._begin(spec, held, action.attempt, image))
        except NotStarted as e:
            self.troubles[spec.name] = e.trouble
            if e.instance is not None:
                self._put(e.instance)
                self._tell_wait(spec, e.instance)
            return
        self._wake()
        if instance.id in self.hooking:
            await self._post_start(spec, instance.id, spec.container["lifecycle"]["postStart"])

    async def _begin(self, spec: Spec, held: Held, attempt: int, image: Image) -> Instance:
        id = fresh_id()
        self.ids.add(id)
        newest = next(reversed(self.instances.get(spec.name, [])), None)
        if newest is not None:
            now = self._tools.clock.now()
            self.delays[spec.name] = backoff.following(self.delays.get(spec.name), newest.over, now)
        instance = await start(self._tools, self._pod(), spec, held, id, attempt, image)
        self.troubles.pop(spec.name, None)
        if (spec.container.get("lifecycle") or {}).get("postStart"):
            self.hooking.add(id)
        self._put(instance)
        await self._look_after(spec, instance, Prober.first(spec.container))
        return instance

    def _tell_wait(self, spec: Spec, instance: Instance) -> None:
        if backoff.until(self.delays.get(spec.name), instance.over) > self._tools.clock.now():
            told = f"Back-off restarting failed container {spec.name} in pod {pods.shown(self._pod())}"
            self._says("BackOff", told, spec.name)

    async def _post_start(self, spec: Spec, id: str, hook: Json) -> None:
        target = self._target(id, spec.container)
        asking = asyncio.ensure_future(self._tools.asker.ask(hook, target, HOOK_MAX))
        gone = asyncio.ensure_future(self._ended[id].wait())
        try:
            await asyncio.wait({asking, gone}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not asking.result().ok and not gone.done():
                self._says("FailedPostStartHook", "PostStartHook failed", spec.name)
                deadline = self._tools.clock.now() + pods.grace(self._pod())
                self.kill(Kill(id, spec.name, deadline, "FailedPostStartHook"))
        finally:
            asking.cancel()
            gone.cancel()
            self.hooking.discard(id)

    # -- while it runs

    async def _look_after(self, spec: Spec, instance: Instance, health: Health) -> None:
        id = instance.id
        self._ended[id] = asyncio.Event()
        if spec.probes and spec.kind in ("main", "sidecar"):
            self.health[id] = health

            def told(found: Health) -> None:
                self.health[id] = found
                self._wake()

            def complain(kind: str, outcome: Outcome) -> None:
                how = "failed" if outcome.result == "failure" else "errored"
                self._says("Unhealthy", f"{kind.capitalize()} probe {how}: {outcome.output}", spec.name)

            prober = Prober(
                self._tools.asker.ask, self._target(id, spec.container), health=health, told=told, complain=complain,
                started=self._tools.clock.at(instance.started), clock=self._tools.clock,
            )  # fmt: skip
            self._tasks.begin(f"probe {id}", prober.run())
        await self._tools.engine.watch(id, lambda: self._over(spec, id))

    # -- the end

    def kill(self, action: Kill) -> None:
        """End one; if that is under way, sooner."""
        id, first = action.id, action.id not in self.killing
        spec = pods.spec_of(self._pod(), action.name)
        self.killing[id] = action.deadline
        if first:
            self._says("Killing", action.message, action.name, warning=False)
        self._tasks.cancel(f"kill {id}", forget=True)
        target = self._target(id, spec.container if spec else {"name": action.name})
        ended = self._ended.setdefault(id, asyncio.Event())
        self._tasks.begin(f"kill {id}", end(self._tools, self._pod(), target, action.deadline, hook=first, ended=ended))

    def _over(self, spec: Spec, id: str) -> None:
        self._ended[id].set()
        self._tasks.begin(f"end {id}", self._note_end(spec, id))

    async def _note_end(self, spec: Spec, id: str) -> None:
        self._tasks.cancel(f"probe {id}")
        status = await self._tools.engine.status(id)
        instance = self.instance(id)
        if instance is None:
            return
        if status is None:  # somebody has taken it away behind our back
            instance = replace(
                instance, state="exited", finished=self._tools.clock.wall(), over=self._tools.clock.now(),
                exit_code=137, reason="ContainerStatusUnknown",
                message="The container could not be located when the pod was terminated",
            )  # fmt: skip
        else:
            instance = await self._closed(spec, status)
        self._put(instance)
        self.killing.pop(id, None)
        self.health.pop(id, None)
        self._tell_wait(spec, instance)

    async def _closed(self, spec: Spec, status: Status) -> Instance:
        """A container that has ended, with what it had to say."""
        instance, pod = instance_of(status), self._pod()
        file = self._tools.making.termination_log(pods.uid(pod), spec.name, instance.attempt)
        path = self._tools.log_directory(pod) / spec.name / f"{instance.attempt}.log"
        told = await in_thread(lambda: message(file, path, spec.container, failed=instance.exit_code != 0))
        return replace(instance, message=told, over=self._tools.clock.at(instance.finished))

    def remove(self, id: str) -> None:
        """A dead one goes; nobody speaks of it from now on."""
        for found in self.instances.values():
            found[:] = [i for i in found if i.id != id]
        self._tasks.begin(f"remove {id}", self._remove(id))

    async def _remove(self, id: str) -> None:
        try:
            await self._tools.engine.remove([id])
            self.ids.discard(id)
        except NetlabError as e:  # what is left is tried again when the pod ends
            log.warning("container %s is not removed: %s", id, e)

    # -- beginning again

    async def adopt(self, statuses: Sequence[Status]) -> None:
        """What another kubelet has left: nothing is begun anew that runs. statuses: in the order of their attempts."""
        pod = self._pod()
        told = pods.statuses(pod.get("status") or {})
        for status in statuses:
            self.ids.add(status.id)
            name = status.labels.get(CONTAINER, "")
            spec = pods.spec_of(pod, name) or Spec(name, "main", {"name": name})
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
            if name not in self.instances and was.get("containerID"):
                self.attempts[name] = int(was.get("restartCount", 0)) + 1
