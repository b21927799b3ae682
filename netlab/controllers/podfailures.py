"""What a Job's podFailurePolicy says of a pod that has failed: whether it counts. Pure.

The first rule that fits decides. Source: kubernetes pkg/controller/job/pod_failure_policy.go. Not done: FailIndex,
which goes with backoffLimitPerIndex; it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netlab.client.rest import Object
from netlab.controllers.owning import phase

COUNT, IGNORE, FAIL_JOB = "Count", "Ignore", "FailJob"


class Verdict(NamedTuple):
    """message: why the Job fails, with FAIL_JOB."""

    action: str = COUNT
    message: str = ""


def judged(job: Object, pod: Object) -> Verdict:
    """What becomes of the failure of a pod."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    if phase(pod) != "Failed":
        return Verdict()
    for number, rule in enumerate(rules):
        why = _exit(rule["onExitCodes"], pod) if rule.get("onExitCodes") else _condition(rule, pod)
        if why:
            action = rule["action"] if rule["action"] in (IGNORE, FAIL_JOB) else COUNT
            return Verdict(action, f"{why} matching {rule['action']} rule at index {number}")
    return Verdict()


def _where(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _exit(rule: Object, pod: Object) -> str:
    values, name = rule.get("values") or (), rule.get("containerName")
    for container, code in exit_codes(pod):
        if name and container != name:
            continue
        if code and (code in values) == (rule.get("operator") == "In"):
            return f"Container {container} for pod {_where(pod)} failed with exit code {code}"
    return ""


def _condition(rule: Object, pod: Object) -> str:
    has = {(c["type"], c["status"]) for c in (pod.get("status") or {}).get("conditions") or ()}
    for pattern in rule.get("onPodConditions") or ():
        if (pattern["type"], pattern.get("status", "True")) in has:
            return f"Pod {_where(pod)} has condition {pattern['type']}"
    return ""


def exit_codes(pod: Object) -> Iterator[tuple[str, int]]:
    """Containers that have ended, and how."""
    state = pod.get("status") or {}
    for container in (*(state.get("containerStatuses") or ()), *(state.get("initContainerStatuses") or ())):
        ended = (container.get("state") or {}).get("terminated")
        if ended is not None:
            yield container.get("name", ""), int(ended.get("exitCode", 0))
