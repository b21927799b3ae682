"""What the kubelet reads of a pod object, each fact in one place. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from netlab.api import Json

SUCCEEDED, FAILED, PENDING, RUNNING = "Succeeded", "Failed", "Pending", "Running"
#: seconds that a pod which does not say otherwise has to end, and that every asked container has at least
GRACE, GRACE_MIN = 30, 2
#: annotations of static pods and of what stands for them in the API
SOURCE, HASH, MIRROR = "kubernetes.io/config.source", "kubernetes.io/config.hash", "kubernetes.io/config.mirror"


class Spec(NamedTuple):
    """A container of a pod. kind: init, sidecar (an init container that stays), main or ephemeral."""

    name: str
    kind: str
    container: Json

    @property
    def probes(self) -> bool:
        """Whether anybody asks how it is."""
        return any(self.container.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness"))


def uid(pod: Json) -> str:
    """The pod's one and only name."""
    return str(pod["metadata"]["uid"])


def shown(pod: Mapping[str, Any]) -> str:
    """The pod as messages of the original name it: name_namespace(uid)."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta.get('namespace', '')}({meta['uid']})"


def specs(pod: Json) -> Iterator[Spec]:
    """All containers, in the order in which they begin."""
    spec = pod.get("spec") or {}
    for container in spec.get("initContainers") or ():
        kind = "sidecar" if container.get("restartPolicy") == "Always" else "init"
        yield Spec(container["name"], kind, container)
    for container in spec.get("containers") or ():
        yield Spec(container["name"], "main", container)
    for container in spec.get("ephemeralContainers") or ():
        yield Spec(container["name"], "ephemeral", container)


def spec_of(pod: Json, name: str) -> Spec | None:
    """The container of that name."""
    return next((s for s in specs(pod) if s.name == name), None)


def restart_policy(pod: Json) -> str:
    """Always, OnFailure or Never."""
    return str((pod.get("spec") or {}).get("restartPolicy") or "Always")


def grace(pod: Json) -> int:
    """Seconds that its containers are given to end: what the deletion says, else the pod's own."""
    given = pod["metadata"].get("deletionGracePeriodSeconds")
    if given is None:
        given = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
    return GRACE if given is None else max(0, int(given))


def deleted(pod: Json) -> bool:
    """Whether somebody has asked for its end."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def phase(pod: Json) -> str:
    """As the API has it."""
    return str((pod.get("status") or {}).get("phase") or PENDING)


def terminal(found: str) -> bool:
    """Whether a phase is a last one."""
    return found in (SUCCEEDED, FAILED)


def annotations_of(pod: Json) -> Json:
    """Never None."""
    found: Json = pod["metadata"].get("annotations") or {}
    return found


def static(pod: Json) -> bool:
    """Whether it is of a manifest of this node, not of the API."""
    return str(annotations_of(pod).get(SOURCE, "api")) != "api"


def mirror(pod: Json) -> bool:
    """Whether it only stands for a static pod."""
    return MIRROR in annotations_of(pod)


def host_network(pod: Json) -> bool:
    """Whether it is in the node's own network."""
    return bool((pod.get("spec") or {}).get("hostNetwork"))


def fingerprint(container: Json) -> str:
    """Changes with what may change of a container and needs another one: its image (kubelet's HashContainer)."""
    return hashlib.sha256(f"{container['name']}\0{container.get('image', '')}".encode()).hexdigest()[:8]


def conditions(status: Json) -> dict[str, Json]:
    """By type."""
    return {c["type"]: c for c in status.get("conditions") or ()}


def statuses(status: Json) -> dict[str, Json]:
    """The statuses of all containers, by name."""
    lists: Iterable[Any] = (status.get(f"{k}ontainerStatuses") for k in ("initC", "c", "ephemeralC"))
    return {s["name"]: s for listed in lists for s in listed or ()}
