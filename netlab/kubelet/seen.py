"""What the runtime has of a pod, and what is known beside it, as values: what decisions are made of.

Times are seconds since 1970, 0 for what has not been.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from netlab.kubelet.backoff import Delay

#: of a sandbox, where a container's name stands
POD = "POD"
#: labels that every container has: whose it is, so that a kubelet which begins again finds its own
NAMESPACE, NAME, UID = (f"io.kubernetes.pod.{part}" for part in ("namespace", "name", "uid"))
CONTAINER, ATTEMPT, HASH = (f"io.kubernetes.container.{part}" for part in ("name", "attempt", "hash"))
SANDBOX, IMAGE = "io.kubernetes.sandbox.id", "io.kubernetes.image.id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A container that was made. sandbox: whose namespaces it joined; fingerprint: see `pods.fingerprint`; reason,
    message: of its end, "" for what follows from the rest; created, started, finished: by the machine's clock; over:
    when it had ended by the kubelet's own (`needs.Clock`)."""

    id: str
    name: str
    attempt: int = 0
    state: Literal["created", "running", "exited"] = "running"
    sandbox: str = ""
    image: str = ""
    image_id: str = ""
    fingerprint: str = ""
    created: float = 0
    started: float = 0
    finished: float = 0
    over: float = 0
    exit_code: int = 0
    oom_killed: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A sandbox. ips: as the network gave them, the first is the pod's."""

    id: str
    running: bool = True
    attempt: int = 0
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """instances: in the order of their attempts, by name."""

    sandbox: Box | None = None
    instances: Mapping[str, tuple[Instance, ...]] = field(default_factory=dict)

    def newest(self, name: str) -> Instance | None:
        """The last one of that name."""
        found = self.instances.get(name)
        return found[-1] if found else None

    def previous(self, name: str) -> Instance | None:
        """The one before."""
        found = self.instances.get(name, ())
        return found[-2] if len(found) > 1 else None

    def here(self, name: str) -> Instance | None:
        """The last one, if it joined the sandbox that there is (without a sandbox, wherever it was)."""
        found = self.newest(name)
        if found is None or self.sandbox is None or found.sandbox in ("", self.sandbox.id):
            return found
        return None

    def all(self) -> list[Instance]:
        """Every one."""
        return [i for found in self.instances.values() for i in found]

    def running(self) -> list[Instance]:
        """Those that run."""
        return [i for i in self.all() if i.state == "running"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no such container now, in the original's words, and when to try again."""

    reason: str
    message: str
    until: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What probes say of a container. failed: the kind of the probe by which it has to end, "" for none."""

    started: bool = True
    ready: bool = True
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """That the pod has to end. deadline: until when its containers are asked; reason, message: of the pod's status if
    it fails by this, "" if nobody but its owner wanted it so."""

    deadline: float
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is known of a pod. troubles, delays, attempts: by container (POD stands for the sandbox); attempts: how
    often it was begun that nobody has an instance of any more; health: by id; hooking: ids whose postStart runs;
    killing: until when an id is asked to end; starting: what is being begun, "" for nothing."""

    seen: Seen = field(default_factory=Seen)
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    delays: Mapping[str, Delay] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    health: Mapping[str, Health] = field(default_factory=dict)
    hooking: frozenset[str] = frozenset()
    killing: Mapping[str, float] = field(default_factory=dict)
    starting: str = ""
    ending: Ending | None = None

    def up(self, instance: Instance | None) -> bool:
        """Whether it runs, and all that had to be done first is done."""
        return instance is not None and instance.state == "running" and instance.id not in self.hooking

    def healthy(self, instance: Instance | None, *, what: Literal["started", "ready"]) -> bool:
        """Whether it is up and probes say so."""
        if instance is None or not self.up(instance):
            return False
        health = self.health.get(instance.id, Health())
        return health.started and (what == "started" or health.ready)
