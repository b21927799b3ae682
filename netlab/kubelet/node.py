"""The Node object as the kubelet writes it: what the machine has, and how it does. Pure.

Source: kubernetes pkg/kubelet/nodestatus/setters.go, kubelet_node_status.go; reasons and messages are the original's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netlab.api import Json, times

#: names of conditions
MEMORY, DISK, PIDS, READY = "MemoryPressure", "DiskPressure", "PIDPressure", "Ready"
_FINE = {
    MEMORY: ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    DISK: ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    PIDS: ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
_PRESSED = {
    MEMORY: ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    DISK: ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    PIDS: ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}
#: the reasons of events when a condition has become False, and True
_EVENTS = {
    MEMORY: ("NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
    DISK: ("NodeHasNoDiskPressure", "NodeHasDiskPressure"),
    PIDS: ("NodeHasSufficientPID", "NodeHasInsufficientPID"),
    READY: ("NodeNotReady", "NodeReady"),
}
#: images that are listed, the largest first
IMAGES_MAX = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What does not change while the kubelet runs. cpus: whole; memory, storage: bytes; info: of nodeInfo."""

    name: str
    ips: Sequence[str]
    cpus: int
    memory: int
    storage: int
    pods: int = 110
    reserved: Mapping[str, int] = field(default_factory=dict)
    port: int = 10250
    info: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Json] = ()

    @property
    def capacity(self) -> dict[str, str]:
        """As quantities."""
        return {
            "cpu": str(self.cpus), "memory": _kibi(self.memory), "pods": str(self.pods),
            "ephemeral-storage": _kibi(self.storage),
        }  # fmt: skip

    @property
    def allocatable(self) -> dict[str, str]:
        """What pods may ask for: without what is reserved (milli-CPUs, bytes)."""
        cpu = self.cpus * 1000 - self.reserved.get("cpu", 0)
        return {
            **self.capacity, "cpu": str(cpu // 1000) if cpu % 1000 == 0 else f"{cpu}m",
            "memory": _kibi(self.memory - self.reserved.get("memory", 0)),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How it does now. network: why no pod can be wired, None if it can; pressures: conditions that are True; images:
    names and sizes; available: total and available bytes of each signal of `evicting`."""

    network: str | None = None
    pressures: frozenset[str] = frozenset()
    images: Sequence[tuple[Sequence[str], int]] = ()
    available: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def _kibi(number: int) -> str:
    return f"{number // 1024}Ki"


def fresh(machine: Machine) -> Json:
    """The object that is registered, without its status."""
    found: Json = {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": machine.name, "labels": labels(machine)}, "spec": {},
    }  # fmt: skip
    if machine.taints:
        found["spec"]["taints"] = [dict(t) for t in machine.taints]
    return found


def labels(machine: Machine) -> dict[str, str]:
    """Those that every node has, and its own."""
    arch, system = machine.info.get("architecture", ""), machine.info.get("operatingSystem", "linux")
    return {
        "kubernetes.io/hostname": machine.name, "kubernetes.io/os": system, "kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": system, "beta.kubernetes.io/arch": arch, **machine.labels,
    }  # fmt: skip


def status(machine: Machine, moment: Moment, now: float, *, old: Json) -> Json:
    """The whole status. old: as it is, whose transition times stay where nothing has changed."""
    there = {c["type"]: c for c in old.get("conditions") or ()}
    stamp = times.seconds(now)
    conditions = []
    for condition in _conditions(moment):
        before = there.get(condition["type"])
        same = before is not None and before.get("status") == condition["status"]
        since = before.get("lastTransitionTime") if same and before is not None else None
        conditions.append({**condition, "lastHeartbeatTime": stamp, "lastTransitionTime": since or stamp})
    addresses = [{"type": "InternalIP", "address": ip} for ip in machine.ips]
    return {
        "capacity": machine.capacity, "allocatable": machine.allocatable, "conditions": conditions,
        "addresses": [*addresses, {"type": "Hostname", "address": machine.name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": machine.port}}, "nodeInfo": dict(machine.info),
        "images": [{"names": list(n), "sizeBytes": s} for n, s in
                   sorted(moment.images, key=lambda i: -i[1])[:IMAGES_MAX]],
    }  # fmt: skip


def _conditions(moment: Moment) -> list[Json]:
    found = []
    for kind in (MEMORY, DISK, PIDS):
        pressed = kind in moment.pressures
        reason, message = (_PRESSED if pressed else _FINE)[kind]
        found.append({"type": kind, "status": "True" if pressed else "False", "reason": reason, "message": message})
    if moment.network is None:
        ready = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    else:
        told = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network "
        ready = {"status": "False", "reason": "KubeletNotReady", "message": f"{told}plugin returns error: "
                 f"{moment.network}"}  # fmt: skip
    return [*found, {"type": READY, **ready}]


def patch_of(old: Json, new: Json) -> Json | None:
    """A strategic merge patch of the status; None if nothing but the heartbeat has changed."""
    found: Json = {name: new[name] for name in ("capacity", "allocatable", "daemonEndpoints", "nodeInfo", "images")
                   if new[name] != (old.get(name) or ([] if name == "images" else None))}  # fmt: skip
    if new["addresses"] != old.get("addresses"):
        found["addresses"] = [{"$patch": "replace"}, *new["addresses"]]
    there = {c["type"]: _lasting(c) for c in old.get("conditions") or ()}
    if any(there.get(c["type"]) != _lasting(c) for c in new["conditions"]):
        found["conditions"] = new["conditions"]
    return found or None


def conditions_told(old: Json, new: Json) -> list[str]:
    """The reasons of the events when a status becomes another. Of one that is new, all but whether it is Ready."""
    was, now = _states(old), _states(new)
    kinds = (MEMORY, DISK, PIDS, *((READY,) if READY in was else ()))
    return [_EVENTS[kind][now[kind] == "True"] for kind in kinds if kind in now and was.get(kind) != now[kind]]


def _states(status: Json) -> dict[str, str]:
    return {c["type"]: c["status"] for c in status.get("conditions") or ()}


def cordon_told(old: Json, new: Json) -> list[str]:
    """The reason of the event when a node (the object) is cordoned or no longer."""
    was, now = ((node.get("spec") or {}).get("unschedulable", False) for node in (old, new))
    return [] if was == now else ["NodeNotSchedulable" if now else "NodeSchedulable"]


def _lasting(condition: Json) -> Json:
    return {k: v for k, v in condition.items() if k != "lastHeartbeatTime"}
