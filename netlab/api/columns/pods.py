"""The row of a pod: its status is the first thing that people look at, and the original's is an algorithm.

Source: kubernetes pkg/printers/internalversion/printers.go (printPod).
"""

from __future__ import annotations

from typing import Any

from netlab.api import Json
from netlab.api.columns.ages import age


def _true(conditions: list[Json], kind: str) -> bool:
    return any(c.get("type") == kind and c.get("status") == "True" for c in conditions)


def _initializing(spec: Json, status: Json) -> tuple[str | None, int, str]:
    """The status while init containers run (None: they are done), their restarts, the last restart."""
    declared = {c["name"]: c for c in spec.get("initContainers") or ()}
    restarts, last = 0, ""
    total = len(declared)
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        restarts += container.get("restartCount", 0)
        last = max(last, _finished(container))
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        sidecar = declared.get(container.get("name"), {}).get("restartPolicy") == "Always"
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if sidecar and container.get("started"):
            continue
        if ended is not None:
            if ended.get("reason"):
                text = ended["reason"]
            else:
                text = f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
            return f"Init:{text}", restarts, last
        if waiting is not None and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}", restarts, last
        return f"Init:{i}/{total}", restarts, last
    return None, restarts, last


def _finished(container: Json) -> str:
    return str(((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "")


def pod(obj: Json, now: float) -> list[Any]:
    """Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    conditions = status.get("conditions") or []
    total, ready, restarts, last = len(spec.get("containers") or ()), 0, 0, ""
    for c in spec.get("initContainers") or ():
        total += c.get("restartPolicy") == "Always"
    reason = status.get("reason") or status.get("phase") or ""
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    initializing, init_restarts, init_last = _initializing(spec, status)
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for c in status.get("initContainerStatuses") or ():
        if c.get("name") in sidecars:
            restarts += c.get("restartCount", 0)
            last = max(last, _finished(c))
            ready += bool(c.get("ready"))
    if initializing is not None:
        reason, restarts, last = initializing, init_restarts, init_last
    if initializing is None or _true(conditions, "Initialized"):
        running = False
        for c in reversed(status.get("containerStatuses") or []):
            restarts += c.get("restartCount", 0)
            last = max(last, _finished(c))
            state = c.get("state") or {}
            waiting, ended = state.get("waiting"), state.get("terminated")
            if waiting is not None and waiting.get("reason"):
                reason = waiting["reason"]
            elif ended is not None and ended.get("reason"):
                reason = ended["reason"]
            elif ended is not None:
                reason = f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
            elif c.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            reason = "Running" if _true(conditions, "Ready") else "NotReady"
    if meta.get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif (status.get("phase") or "") not in ("Failed", "Succeeded"):
            reason = "Terminating"
    shown = f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)
    gates = spec.get("readinessGates") or ()
    passed = sum(_true(conditions, g.get("conditionType", "")) for g in gates)
    ips = status.get("podIPs") or ()
    return [
        meta["name"], f"{ready}/{total}", reason, shown, age(meta.get("creationTimestamp"), now),
        (ips[0].get("ip") if ips else status.get("podIP")) or "<none>", spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>", f"{passed}/{len(gates)}" if gates else "<none>",
    ]  # fmt: skip
