"""What is to be done about a pod next. Pure: the pod, what is known of it and the time come to actions.

    a pod that has to end    its containers (sidecars last, in reverse), its sandbox, then it is done
    no sandbox               whatever runs without one ends; a sandbox
    init containers          one after the other, each until it succeeds; sidecars until they are started
    containers               each that has not begun, that may begin again, that a probe has given up or that changed

Only one thing is begun at a time, in the order of the spec, as the original does; whatever ends, ends beside it.
Source: kubernetes pkg/kubelet/kuberuntime (computePodActions, killContainersWithSyncResult, doBackOff).
"""

from __future__ import annotations

from dataclasses import dataclass

from netlab.api import Json
from netlab.kubelet import pods
from netlab.kubelet.phase import phase_of
from netlab.kubelet.pods import Spec
from netlab.kubelet.seen import POD, Instance, State
from netlab.kubelet.status import container_statuses, crash_wait, restarts

#: dead containers that are kept of each name, beside the newest one: for `logs --previous`
KEPT = 1
CHANGED = "Pod sandbox changed, it will be killed and re-created."


@dataclass(frozen=True, slots=True)
class MakeSandbox:
    """Namespaces and network."""

    attempt: int


@dataclass(frozen=True, slots=True)
class DropSandbox:
    """Take it away with its network, whatever state it is in."""

    id: str


@dataclass(frozen=True, slots=True)
class Start:
    """Make and start a container."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a container: ask until the deadline (seconds since 1970), then make it. message: of the event."""

    id: str
    name: str
    deadline: float
    message: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A dead container, and what there is of it but its log."""

    id: str


Action = MakeSandbox | DropSandbox | Start | Kill | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """wake: when to ask again though nothing has happened, None for no such time; done: nothing of the pod is left but
    dead containers, and nothing is to come."""

    actions: tuple[Action, ...] = ()
    wake: float | None = None
    done: bool = False


class _Deciding:
    def __init__(self, pod: Json, state: State, now: float) -> None:
        self.pod, self.state, self.now, self.seen = pod, state, now, state.seen
        self.specs = list(pods.specs(pod))
        self.actions: list[Action] = []
        self.wakes: list[float] = []
        self.begins = bool(state.starting)

    def plan(self, *, done: bool = False) -> Plan:
        return Plan(tuple(self.actions), min(self.wakes, default=None), done)

    def kill(self, instance: Instance, deadline: float, message: str) -> None:
        under_way = self.state.killing.get(instance.id)
        if under_way is None or deadline < under_way:
            self.actions.append(Kill(instance.id, instance.name, deadline, message))

    # -- the end

    def end(self, deadline: float) -> Plan:
        kinds = {spec.name: spec.kind for spec in self.specs}
        running = self.seen.running()
        first = [i for i in running if kinds.get(i.name) != "sidecar"]
        if not first:
            order = [spec.name for spec in self.specs]
            first = sorted(running, key=lambda i: order.index(i.name))[-1:]
        for instance in first:
            self.kill(instance, deadline, f"Stopping container {instance.name}")
        if running or self.begins:
            return self.plan()
        self.actions += [Remove(i.id) for i in self.seen.all() if i.state == "created"]
        if self.seen.sandbox is not None:
            self.actions.append(DropSandbox(self.seen.sandbox.id))
        return self.plan(done=not self.actions)

    # -- the sandbox

    def without_sandbox(self) -> Plan:
        for instance in self.seen.running():
            self.kill(instance, self.now + pods.grace(self.pod), CHANGED)
        if self.seen.running() or self.begins:
            return self.plan()
        box = self.seen.sandbox
        if box is not None:
            self.actions.append(DropSandbox(box.id))
        elif not self.waits(POD):
            self.actions.append(MakeSandbox(self.state.attempts.get(POD, 0)))
        return self.plan()

    # -- containers

    def waits(self, name: str) -> bool:
        trouble = self.state.troubles.get(name)
        if trouble is None or trouble.until <= self.now:
            return False
        self.wakes.append(trouble.until)
        return True

    def begin(self, spec: Spec, newest: Instance | None) -> None:
        """Unless something else is begun just now, or it is not yet its time."""
        if self.waits(spec.name):
            return
        if newest is not None and newest.state != "exited":  # of a sandbox that is no more
            if newest.state == "running":
                self.kill(newest, self.now + pods.grace(self.pod), CHANGED)
            return
        if newest is not None:
            wait = crash_wait(self.pod, spec, newest, self.state, self.now)
            if wait is not None:
                self.wakes.append(wait.until)
                return
        if not self.begins:
            self.begins = True
            attempt = newest.attempt + 1 if newest else self.state.attempts.get(spec.name, 0)
            self.actions.append(Start(spec.name, attempt))

    def tend(self, spec: Spec, newest: Instance | None) -> None:
        """A container whose time has come."""
        if newest is None:
            self.begin(spec, None)
        elif newest.state == "running":
            self.look_after(spec, newest)
        elif newest.state == "exited" and restarts(self.pod, spec, newest):
            self.begin(spec, newest)

    def look_after(self, spec: Spec, newest: Instance) -> None:
        if spec.kind == "ephemeral":
            return
        health = self.state.health.get(newest.id)
        if newest.fingerprint and newest.fingerprint != pods.fingerprint(spec.container):
            told = f"Container {spec.name} definition changed, will be restarted"
            self.kill(newest, self.now + pods.grace(self.pod), told)
        elif health is not None and health.failed:
            policy = "Always" if spec.kind == "sidecar" else pods.restart_policy(self.pod)
            told = f"Container {spec.name} failed {health.failed} probe"
            told += ", will be restarted" if policy != "Never" else ""
            own = (spec.container.get(f"{health.failed}Probe") or {}).get("terminationGracePeriodSeconds")
            self.kill(newest, self.now + (pods.grace(self.pod) if own is None else own), told)

    def init(self) -> bool:
        """Whether the containers proper may begin, or have."""
        begun = any(self.seen.here(s.name) for s in self.specs if s.kind == "main")
        for spec in self.specs:
            newest, here = self.seen.newest(spec.name), self.seen.here(spec.name)
            if spec.kind == "sidecar":
                self.tend(spec, newest)
                if not begun and not self.state.healthy(here, what="started"):
                    return False
            elif spec.kind == "init" and not begun:
                if here is not None and here.state == "exited" and here.exit_code == 0:
                    continue
                if here is None:  # another sandbox: all are run again
                    self.begin(spec, newest)
                else:
                    self.tend(spec, here)
                return False
        return True

    def over(self) -> bool:
        """Whether the containers proper have all ended for good: sidecars are no reason to go on."""
        for spec in self.specs:
            newest = self.seen.newest(spec.name)
            if spec.kind == "main" and (newest is None or newest.state != "exited"
                                        or restarts(self.pod, spec, newest)):  # fmt: skip
                return False
        return True

    def whole(self) -> Plan:
        box = self.seen.sandbox
        if box is None or not box.running:
            return self.without_sandbox()
        if self.init():
            for spec in self.specs:
                if spec.kind == "main":
                    self.tend(spec, self.seen.newest(spec.name))
        for spec in self.specs:
            if spec.kind == "ephemeral":
                self.tend(spec, self.seen.newest(spec.name))
        for name, found in self.seen.instances.items():
            self.actions += [Remove(i.id) for i in found[: -1 - KEPT] if i.state == "exited"]
            if name != self.state.starting:  # whoever made it was killed before it could start
                self.actions += [Remove(i.id) for i in found if i.state == "created"]
        return self.plan()


def decide(pod: Json, state: State, now: float) -> Plan:
    """now: seconds since 1970."""
    deciding = _Deciding(pod, state, now)
    if state.ending is not None:
        return deciding.end(state.ending.deadline)
    phase = pods.phase(pod)
    if not pods.terminal(phase):
        phase = phase_of(pod, container_statuses(pod, state, now))
    if pods.terminal(phase) or deciding.over():
        return deciding.end(now + pods.grace(pod))
    return deciding.whole()
