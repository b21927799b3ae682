"""Sandboxes: the infra container of a pod, which does nothing and holds the namespaces that the others join.

It is a container like any other, of the image PAUSE. Its network namespace is made, and wired by CNI, by whoever asks
for it. With a shared process namespace it is process 1, and reaps whatever the others leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netlab.base.errors import ConflictError
from netlab.kernel import cgroups
from netlab.runtime.containers import Runtime, Status
from netlab.runtime.spec import HOST, Container, Limits, Mount, Security

PAUSE = "k8s.gcr.io/pause"
#: a pod without it is no pod: the kernel takes all else first
OOM_SCORE = -998


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """netns: the path of a network namespace, or HOST; shared_pid: one process namespace for all of its containers;
    sysctls: of its namespaces, by name with dots; cgroup: the pod's, below the runtime's, "" for none; limits: of all
    of its containers together, if it has one; privileged: one of them is, which is to find /sys writable: the kernel
    has one for each network namespace, as it was mounted first."""

    hostname: str
    netns: str
    shared_pid: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    cgroup: str = ""
    limits: Limits = field(default_factory=Limits)
    privileged: bool = False

    def as_container(self) -> Container:
        """What holds it."""
        host = {kind: HOST for kind, wanted in (("pid", self.host_pid), ("ipc", self.host_ipc)) if wanted}
        if self.netns == HOST:
            host["uts"] = HOST
        least = Security(drop=("ALL",), no_new_privileges=True, oom_score=OOM_SCORE)
        return Container(
            image=PAUSE, hostname="" if self.netns == HOST else self.hostname, read_only=True, mounts=self.mounts,
            namespaces={"network": self.netns, **host}, sysctls=self.sysctls, labels=self.labels, cgroup=self.cgroup,
            security=Security(privileged=True, oom_score=OOM_SCORE) if self.privileged else least,
        )  # fmt: skip


def run(runtime: Runtime, name: str, sandbox: Sandbox, *, log: Path) -> Status:
    """Make it and start it, in the pod's group. Errors as of `Runtime.create`."""
    if sandbox.cgroup:
        cgroups.limit(f"{runtime.cgroup}/{sandbox.cgroup}", sandbox.limits.as_numbers())
    runtime.create(name, sandbox.as_container(), log=log)
    try:
        runtime.start(name)
    except BaseException:
        runtime.remove(name)
        raise
    return runtime.status(name)


def namespaces(runtime: Runtime, name: str, sandbox: Sandbox) -> dict[str, str]:
    """What a container of the sandbox joins. ConflictError if the sandbox does not run."""
    status = runtime.status(name)
    if status.state != "running":
        raise ConflictError(f"sandbox {name} does not run: it has {status.state}", hint="remove it, and make another")
    joined = {kind: f"/proc/{status.pid}/ns/{file}" for kind, file in (("ipc", "ipc"), ("uts", "uts"))}
    joined["network"] = HOST if sandbox.netns == HOST else f"/proc/{status.pid}/ns/net"
    if sandbox.host_pid:
        joined["pid"] = HOST
    elif sandbox.shared_pid:
        joined["pid"] = f"/proc/{status.pid}/ns/pid"
    return joined
