"""What a container and a pod may use: limits, the pod's group, and whom the kernel takes first when memory is short.

Source: kubernetes pkg/kubelet/cm/helpers_linux.go (ResourceConfigForPod), pkg/kubelet/qos/policy.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING
from typing import Literal

from netlab.api import Json
from netlab.api.quantity import value
from netlab.api.quotas import qos_class
from netlab.runtime.spec import Limits

#: added to what the kernel reckons (-1000 to 1000)
_GUARANTEED, _BEST_EFFORT = -997, 1000


def amount(container: Json, kind: Literal["limits", "requests"], name: str) -> int:
    """A resource of a container: thousandths of a CPU, units of all else, rounded up; 0 for none."""
    number = value(str(((container.get("resources") or {}).get(kind) or {}).get(name) or "0"))
    return int((number * 1000 if name == "cpu" else number).to_integral_value(ROUND_CEILING))


def limits(container: Json) -> Limits:
    """Of a container."""
    cpu = amount(container, "limits", "cpu")
    requested = amount(container, "requests", "cpu")
    if not requested and "cpu" not in ((container.get("resources") or {}).get("requests") or {}):
        requested = cpu
    return Limits(cpu=cpu or None, cpu_request=requested, memory=amount(container, "limits", "memory") or None)


def pod_limits(spec: Json, pids: int | None) -> Limits:
    """Of all containers of a pod together: the kernel holds to each one's as well. A limit that one of them is without
    is none of the pod's. pids: for a pod."""
    everyone = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]

    def together(name: str) -> int | None:
        limited = all(amount(c, "limits", name) for c in everyone)
        return _together(spec, "limits", name) if limited else None

    overhead = {"resources": {"limits": spec.get("overhead") or {}}}
    cpu, memory = (
        None if most is None else most + amount(overhead, "limits", name)
        for name, most in (("cpu", together("cpu")), ("memory", together("memory")))
    )
    requested = 0 if qos_class(spec) == "BestEffort" else _together(spec, "requests", "cpu")
    return Limits(cpu=cpu, cpu_request=requested, memory=memory, pids=pids)


def _together(spec: Json, kind: Literal["limits", "requests"], name: str) -> int:
    """Of containers that run at once; the first ones run one after the other, beside the sidecars before them."""
    most = beside = 0
    for container in spec.get("initContainers") or ():
        own = amount(container, kind, name)
        if container.get("restartPolicy") == "Always":
            beside += own
            most = max(most, beside)
        else:
            most = max(most, beside + own)
    return max(most, beside + sum(amount(c, kind, name) for c in _containers(spec)))


def _containers(spec: Json) -> Iterable[Json]:
    return spec.get("containers") or ()


def group(pod: Json) -> str:
    """The pod's group below the runtime's, where kubelets have it."""
    quality = qos_class(pod["spec"])
    between = "" if quality == "Guaranteed" else f"{quality.lower()}/"
    return f"kubepods/{between}pod{pod['metadata']['uid']}"


def oom_score(pod: Json, container: Json, memory: int) -> int:
    """What the kernel adds to a container's part of memory when it chooses whom to kill. memory: bytes of the node."""
    spec, quality = pod["spec"], qos_class(pod["spec"])
    if quality == "Guaranteed" or spec.get("priorityClassName") == "system-node-critical":
        return _GUARANTEED
    if quality == "BestEffort":
        return _BEST_EFFORT
    asked = amount(container, "requests", "memory")
    # who asked for much is taken late, but never before a guaranteed one, nor as late as a best-effort one
    reckoned = 1000 - 1000 * asked // memory if memory else _BEST_EFFORT
    return min(max(reckoned, 1000 + _GUARANTEED), _BEST_EFFORT - 1)
