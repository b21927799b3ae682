"""A pod's status out of what is known of it. Pure.

Source: kubernetes pkg/kubelet/kubelet_pods.go (convertStatusToAPIStatus, generateAPIPodStatus), status/generate.go; the
reasons and messages are the original's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netlab.api import Json, times
from netlab.kubelet import backoff, conditions, pods
from netlab.kubelet.phase import phase_of
from netlab.kubelet.pods import Spec
from netlab.kubelet.seen import Instance, State, Trouble

CRASHING = "CrashLoopBackOff"
_LISTS = {"init": "initContainerStatuses", "sidecar": "initContainerStatuses", "main": "containerStatuses",
          "ephemeral": "ephemeralContainerStatuses"}  # fmt: skip


def container_id(instance: Instance) -> str:
    """As the API names it."""
    return f"netlab://{instance.id}"


def restarts(pod: Json, spec: Spec, instance: Instance) -> bool:
    """Whether a container that has ended so is begun again."""
    policy = "Always" if spec.kind == "sidecar" else pods.restart_policy(pod)
    match spec.kind:
        case "ephemeral":
            return False
        case "init":
            return instance.exit_code != 0 and policy != "Never"
        case _:
            return policy == "Always" or (policy == "OnFailure" and instance.exit_code != 0)


def crash_wait(pod: Json, spec: Spec, instance: Instance, state: State, now: float) -> Trouble | None:
    """That a container which ends again and again has to wait; None if it need not."""
    delay = state.delays.get(spec.name)
    until = backoff.until(delay, instance.over)
    if delay is None or until <= now:
        return None
    told = f"back-off {backoff.spelled(delay.seconds)} restarting failed container={spec.name} pod={pods.shown(pod)}"
    return Trouble(CRASHING, told, until)


def _terminated(instance: Instance) -> Json:
    reason = instance.reason or ("OOMKilled" if instance.oom_killed else "Error" if instance.exit_code else "Completed")
    found: Json = {
        "exitCode": instance.exit_code, "reason": reason, "startedAt": times.seconds(instance.started) if
        instance.started else None, "finishedAt": times.seconds(instance.finished), "containerID":
        container_id(instance),
    }  # fmt: skip
    if instance.message:
        found["message"] = instance.message
    return {name: value for name, value in found.items() if value is not None}


def _waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def container_status(pod: Json, spec: Spec, state: State, now: float, *, fresh: str) -> Json:
    """Of one container. fresh: the reason of one that has not begun yet."""
    newest, last = state.seen.newest(spec.name), state.seen.previous(spec.name)
    trouble = state.troubles.get(spec.name)
    found: Json
    if newest is None:
        found = _waiting(trouble.reason, trouble.message) if trouble else _waiting(fresh)
    elif state.up(newest):
        found = {"running": {"startedAt": times.seconds(newest.started)}}
    elif newest.state != "exited":
        found = _waiting(fresh if newest.attempt == 0 else "ContainerCreating")
    else:
        wait = None
        if state.ending is None and state.starting != spec.name and restarts(pod, spec, newest):
            wait = crash_wait(pod, spec, newest, state, now) or trouble
        if wait is None:
            found = {"terminated": _terminated(newest)}
        else:
            found, last = _waiting(wait.reason, wait.message), newest
    status: Json = {
        "name": spec.name, "state": found, "lastState": {}, "ready": _ready(spec, newest, state),
        "restartCount": newest.attempt if newest else state.attempts.get(spec.name, 0),
        "image": (newest.image if newest else "") or spec.container.get("image", ""),
        "imageID": newest.image_id if newest else "",
        "started": state.healthy(newest, what="started"),
    }  # fmt: skip
    if last is not None and last.state == "exited":
        status["lastState"] = {"terminated": _terminated(last)}
    if newest is not None:
        status["containerID"] = container_id(newest)
    if spec.kind == "ephemeral":
        del status["started"]
    return status


def _succeeded(instance: Instance | None) -> bool:
    return instance is not None and instance.state == "exited" and instance.exit_code == 0


def _ready(spec: Spec, newest: Instance | None, state: State) -> bool:
    match spec.kind:
        case "init":
            return _succeeded(newest)
        case "ephemeral":
            return False
        case _:
            return state.healthy(newest, what="ready")


def initialized(pod: Json, state: State) -> bool:
    """Whether the containers proper may begin: init containers are done, sidecars are started. Once they have begun in
    this sandbox, it stays so."""
    here = {spec.name: state.seen.here(spec.name) for spec in pods.specs(pod)}
    if any(here[spec.name] for spec in pods.specs(pod) if spec.kind == "main"):
        return True
    for spec in pods.specs(pod):
        found = here[spec.name]
        if spec.kind == "init" and not _succeeded(found):
            return False
        if spec.kind == "sidecar" and not state.healthy(found, what="started"):
            return False
    return True


def container_statuses(pod: Json, state: State, now: float) -> dict[str, list[Json]]:
    """The three lists, as far as the pod has such containers."""
    ready_to_go = initialized(pod, state)
    found: dict[str, list[Json]] = {}
    for spec in pods.specs(pod):
        waits = spec.kind in ("init", "sidecar") or not ready_to_go
        has_init = bool((pod.get("spec") or {}).get("initContainers"))
        fresh = "PodInitializing" if waits and has_init else "ContainerCreating"
        found.setdefault(_LISTS[spec.kind], []).append(container_status(pod, spec, state, now, fresh=fresh))
    return found


def pod_status(
    pod: Json,
    state: State,
    now: float,
    wall: float,
    *,
    host_ips: Sequence[str],
    old: Mapping[str, Any] | None = None,
) -> Json:
    """The whole status. now: as of the state's times; wall: as the machine's clock has it; old: as it was told before,
    whose times stay where nothing has changed."""
    old = old if old is not None else pod.get("status") or {}
    lists = container_statuses(pod, state, now)
    ending, stamp = state.ending, times.seconds(wall)
    found: Json = {}
    over = not state.seen.running() and (ending is not None or pods.terminal(str(old.get("phase"))))
    if ending is not None and ending.reason and (over or ending.reason != "DeadlineExceeded"):
        found |= {"phase": pods.FAILED, "reason": ending.reason, "message": ending.message}
    elif pods.terminal(str(old.get("phase"))):  # a last phase is the last one
        found |= {name: old[name] for name in ("phase", "reason", "message") if old.get(name)}
    else:
        found["phase"] = phase_of(pod, lists, over=over)
    ips = state.seen.sandbox.ips if state.seen.sandbox else ()
    if pods.host_network(pod):
        ips = tuple(host_ips)
    if ips:
        found |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    elif (ending is not None or pods.terminal(found["phase"])) and old.get("podIP"):  # it is told where it was
        found |= {"podIP": old["podIP"], "podIPs": old.get("podIPs")}
    if host_ips:
        found |= {"hostIP": host_ips[0], "hostIPs": [{"ip": ip} for ip in host_ips]}
    found["startTime"] = old.get("startTime") or stamp
    found |= lists
    box = state.seen.sandbox
    wanted = conditions.of(pod, lists, found["phase"], sandbox=box is not None and box.running)
    found["conditions"] = conditions.stamped(wanted, old, stamp)
    if (old.get("qosClass") or (pod.get("status") or {}).get("qosClass")) is not None:
        found["qosClass"] = old.get("qosClass") or pod["status"]["qosClass"]
    return found
