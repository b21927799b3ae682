"""The conditions of a pod: how far it has come, and whether traffic may go to it. Pure.

Source: kubernetes pkg/kubelet/status/generate.go, status_manager.go (updateLastTransitionTime).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netlab.api import Json
from netlab.kubelet import pods

SCHEDULED, SANDBOX, INITIALIZED, CONTAINERS, READY = (
    "PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready",
)  # fmt: skip
#: those that the kubelet writes; the others are of whoever has asked for a readiness gate
OURS = (SANDBOX, INITIALIZED, READY, CONTAINERS, SCHEDULED)


def _false(kind: str, reason: str, message: str = "") -> Json:
    return {"type": kind, "status": "False", "reason": reason, **({"message": message} if message else {})}


def of(pod: Json, lists: Mapping[str, Sequence[Json]], phase: str, *, sandbox: bool) -> list[Json]:
    """Without their times. lists: see `status.container_statuses`."""
    containers = _containers(pod, lists, phase)
    return [
        {"type": SANDBOX, "status": "True" if sandbox else "False"}, _initialized(pod, lists, phase),
        _ready(pod, containers), containers, {"type": SCHEDULED, "status": "True"},
    ]  # fmt: skip


def _initialized(pod: Json, lists: Mapping[str, Sequence[Json]], phase: str) -> Json:
    kinds = {spec.name: spec.kind for spec in pods.specs(pod)}
    if phase == pods.SUCCEEDED:
        return {"type": INITIALIZED, "status": "True", "reason": "PodCompleted"}
    begun = any("waiting" not in s["state"] or s["lastState"] for s in lists.get("containerStatuses", ()))
    lacking = [
        s["name"] for s in lists.get("initContainerStatuses", ())
        if not (s["ready"] if kinds[s["name"]] == "init" else s.get("started"))
    ]  # fmt: skip
    if lacking and not begun:
        return _false(INITIALIZED, "ContainersNotInitialized", f"containers with incomplete status: {_listed(lacking)}")
    return {"type": INITIALIZED, "status": "True"}


def _containers(pod: Json, lists: Mapping[str, Sequence[Json]], phase: str) -> Json:
    if phase == pods.SUCCEEDED:
        return _false(CONTAINERS, "PodCompleted")
    if phase == pods.FAILED:
        return _false(CONTAINERS, "PodFailed")
    kinds = {spec.name: spec.kind for spec in pods.specs(pod)}
    listed = [*lists.get("initContainerStatuses", ()), *lists.get("containerStatuses", ())]
    lacking = [s["name"] for s in listed if kinds[s["name"]] in ("main", "sidecar") and not s["ready"]]
    if lacking:
        return _false(CONTAINERS, "ContainersNotReady", f"containers with unready status: {_listed(lacking)}")
    return {"type": CONTAINERS, "status": "True"}


def _ready(pod: Json, containers: Json) -> Json:
    if containers["status"] != "True":
        return {**containers, "type": READY}
    there = pods.conditions(pod.get("status") or {})
    faults = []
    for gate in (pod.get("spec") or {}).get("readinessGates") or ():
        kind = gate.get("conditionType", "")
        found = there.get(kind)
        if found is None:
            faults.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found.get("status") != "True":
            faults.append(f'the status of pod readiness gate "{kind}" is not "True", but {found.get("status")}')
    if faults:
        return _false(READY, "ReadinessGatesNotReady", ", ".join(faults))
    return {"type": READY, "status": "True"}


def _listed(names: Iterable[str]) -> str:
    return f"[{' '.join(names)}]"


def stamped(wanted: Iterable[Json], old: Mapping[str, Any], stamp: str) -> list[Json]:
    """The same with the time of their last change of status."""
    there = pods.conditions(dict(old))
    found = []
    for condition in wanted:
        before = there.get(condition["type"])
        same = before is not None and before.get("status") == condition["status"]
        since = before.get("lastTransitionTime") if same and before is not None else None
        found.append({**condition, "lastProbeTime": None, "lastTransitionTime": since or stamp})
    return found
