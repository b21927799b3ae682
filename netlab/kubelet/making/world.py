"""What the making of pods needs to be told: of the API, of the node; and how it says that something is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.base.errors import NetlabError

#: why something could not be made; the first two are reasons of events, the others of a waiting container as well
Reason = Literal["FailedMount", "FailedCreatePodSandBox", "CreateContainerConfigError", "CreateContainerError"]
#: (pod, reason, message): a warning that becomes an event of the pod
Tell = Callable[[Json, str, str], None]


class Missing(NetlabError):
    """What a pod refers to is not there, or not as it has to be, yet. str() is Kubernetes' message for it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Objects(Protocol):
    """What pods refer to."""

    def configmap(self, namespace: str, name: str) -> Json | None:
        """None: there is none."""

    def secret(self, namespace: str, name: str) -> Json | None:
        """None: there is none."""


class World(Objects, Protocol):
    """What is asked of the API, answered from caches."""

    def services(self, namespace: str) -> Sequence[Json]:
        """All of a namespace."""

    def claim(self, namespace: str, name: str) -> Json | None:
        """A PersistentVolumeClaim; None: there is none."""

    def volume(self, name: str) -> Json | None:
        """A PersistentVolume; None: there is none."""

    async def token(self, namespace: str, service_account: str, request: Json) -> Json:
        """What a TokenRequest with the spec `request` is answered: its status. Any NetlabError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """allocatable: of the node's status, as quantities; memory: bytes that it has; dns: of the cluster; pids: for one
    pod, None for no limit; resolv_conf, hosts: of the node itself."""

    name: str
    ips: tuple[Address, ...]
    allocatable: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    dns: tuple[Address, ...] = ()
    domain: str = "cluster.local"
    pids: int | None = None
    resolv_conf: Path = Path("/etc/resolv.conf")
    hosts: Path = Path("/etc/hosts")


def containers(pod: Json) -> Iterable[Json]:
    """All containers of a pod, of any sort."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod["spec"].get(kind) or ()
