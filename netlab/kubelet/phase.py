"""The phase of a pod out of the statuses of its containers. Pure.

Source: kubernetes pkg/kubelet/kubelet_pods.go (getPhase).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from netlab.api import Json
from netlab.kubelet import pods


def phase_of(pod: Json, lists: Mapping[str, Sequence[Json]], *, over: bool = False) -> str:
    """lists: see `status.container_statuses`; over: nothing of the pod runs, and nothing will be begun again."""
    kinds = {spec.name: spec.kind for spec in pods.specs(pod)}
    policy = pods.restart_policy(pod)
    init: Counter[str] = Counter()
    main: Counter[str] = Counter()
    for status in lists.get("initContainerStatuses", ()):
        if kinds[status["name"]] == "init":
            init[_init(status)] += 1
        else:
            _sidecar(status, init, main)
    for status in lists.get("containerStatuses", ()):
        main.update(_main(status))
    if init["failed"] and policy == "Never":
        return pods.FAILED
    # what was done before the containers began may have been taken away since
    if init["pending"] or ((init["absent"] or init["sidecar pending"]) and not main["begun"]):
        # one that has to end before its containers began has failed; else it begins yet
        return pods.FAILED if over and not pods.static(pod) else pods.PENDING
    if main["waiting"]:
        return pods.FAILED if over and not pods.static(pod) else pods.PENDING
    if main["running"]:
        return pods.RUNNING
    if main["stopped"]:
        well = main["stopped"] == main["succeeded"]
        if over and not pods.static(pod):
            return pods.SUCCEEDED if well else pods.FAILED
        if policy == "Always":
            return pods.RUNNING
        if well:
            return pods.SUCCEEDED
        return pods.FAILED if policy == "Never" else pods.RUNNING
    return pods.PENDING


def _init(status: Json) -> str:
    state = status["state"]
    if "terminated" in state:
        return "failed" if state["terminated"]["exitCode"] else "done"
    last = status["lastState"].get("terminated")
    if "waiting" in state and last:
        return "failed" if last["exitCode"] else "done"
    return "pending" if "running" in state or "containerID" in status else "absent"


def _sidecar(status: Json, init: Counter[str], main: Counter[str]) -> None:
    state = status["state"]
    if "running" in state:
        main["running"] += 1
        if not status.get("started"):
            init["sidecar pending"] += 1
    elif "waiting" in state and not status["lastState"]:
        init["sidecar pending"] += 1


def _main(status: Json) -> list[str]:
    state = status["state"]
    if "running" in state:
        return ["running", "begun"]
    if "terminated" in state:
        return ["stopped", "begun", *(["succeeded"] if state["terminated"]["exitCode"] == 0 else [])]
    # one that waits to begin again is not Pending: it has begun
    return ["stopped", "begun"] if status["lastState"] else ["waiting"]
