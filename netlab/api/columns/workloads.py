"""Rows of what makes pods."""

from __future__ import annotations

from typing import Any

from netlab.api import Json
from netlab.api.columns.ages import age, human
from netlab.api.selectors import as_text
from netlab.api.times import TimeError, parse


def _age(obj: Json, now: float) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def containers(spec: Json) -> list[Any]:
    """Names and images of a template's containers."""
    found = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    return [",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)]


def deployment(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"]["name"], f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0), status.get("availableReplicas", 0), _age(obj, now), *containers(spec),
        as_text(spec.get("selector")),
    ]  # fmt: skip


def replica_set(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"]["name"], spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0),
        _age(obj, now), *containers(spec), as_text(spec.get("selector")),
    ]  # fmt: skip


def replication_controller(obj: Json, now: float) -> list[Any]:
    cells = replica_set(obj, now)
    selector = (obj.get("spec") or {}).get("selector") or {}
    cells[-1] = ",".join(f"{k}={v}" for k, v in sorted(selector.items())) or "<none>"
    return cells


def stateful_set(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [obj["metadata"]["name"], ready, _age(obj, now), *containers(spec)]


def daemon_set(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    nodes = ((spec.get("template") or {}).get("spec") or {}).get("nodeSelector") or {}
    return [
        obj["metadata"]["name"], status.get("desiredNumberScheduled", 0), status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0), status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0),
        ",".join(f"{k}={v}" for k, v in sorted(nodes.items())) or "<none>", _age(obj, now), *containers(spec),
        as_text(spec.get("selector")),
    ]  # fmt: skip


def _job_status(obj: Json) -> str:
    _spec, status = obj.get("spec") or {}, obj.get("status") or {}
    true = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    if "Complete" in true:
        return "Complete"
    if "Failed" in true:
        return "Failed"
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if kind in true:
            return kind
    return "Running"


def job(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    done = status.get("succeeded", 0)
    if "completions" in spec:
        completions = f"{done}/{spec['completions']}"
    else:
        parallel = spec.get("parallelism", 0)
        completions = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    duration = ""
    try:
        if status.get("startTime"):
            start = parse(status["startTime"]).timestamp()
            end = parse(status["completionTime"]).timestamp() if status.get("completionTime") else now
            duration = human(end - start)
    except TimeError:
        duration = "<invalid>"
    return [
        obj["metadata"]["name"], _job_status(obj), completions, duration, _age(obj, now), *containers(spec),
        as_text(spec.get("selector")),
    ]  # fmt: skip


def cron_job(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    last = age(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else "<none>"
    inner = (spec.get("jobTemplate") or {}).get("spec") or {}
    return [
        obj["metadata"]["name"], spec.get("schedule", ""), spec.get("timeZone") or "<none>",
        "True" if spec.get("suspend") else "False", len(status.get("active") or ()), last, _age(obj, now),
        *containers(inner), as_text(inner.get("selector")),
    ]  # fmt: skip


def _metric(spec: Json, current: Json) -> str:
    kind = spec.get("type", "")
    field = kind[:1].lower() + kind[1:]
    source, now = spec.get(field) or {}, (current or {}).get(field) or {}
    target, value = source.get("target") or {}, now.get("current") or {}
    name = source.get("name") or (source.get("metric") or {}).get("name", "")
    if kind in ("Resource", "ContainerResource"):
        if target.get("averageValue") is not None:
            shown = f"{value.get('averageValue', '<unknown>')}/{target['averageValue']}"
        else:
            used = value.get("averageUtilization")
            used_text = f"{used}%" if used is not None else "<unknown>"
            wanted = target.get("averageUtilization")
            shown = f"{used_text}/{f'{wanted}%' if wanted is not None else '<auto>'}"
        return f"{name}: {shown}"
    if target.get("averageValue") is not None:
        average = f"{value.get('averageValue', '<unknown>')}/{target['averageValue']}"
        return average if kind == "Pods" else f"{average} (avg)"
    return f"{value.get('value', '<unknown>')}/{target.get('value', '<auto>')}"


def autoscaler(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ref = spec.get("scaleTargetRef") or {}
    metrics, current = spec.get("metrics") or [], status.get("currentMetrics") or []
    shown = [_metric(m, current[i] if i < len(current) else {}) for i, m in enumerate(metrics)]
    targets = ", ".join(shown[:2]) + (f" + {len(shown) - 2} more..." if len(shown) > 2 else "") if shown else "<none>"
    low = spec.get("minReplicas")
    return [
        obj["metadata"]["name"], f"{ref.get('kind', '')}/{ref.get('name', '')}", targets,
        str(low) if low is not None else "<unset>", spec.get("maxReplicas", 0), status.get("currentReplicas", 0),
        _age(obj, now),
    ]  # fmt: skip


def disruption_budget(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        obj["metadata"]["name"], "N/A" if low is None else str(low), "N/A" if high is None else str(high),
        status.get("disruptionsAllowed", 0), _age(obj, now),
    ]  # fmt: skip


def controller_revision(obj: Json, now: float) -> list[Any]:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    name = "<none>"
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        kind = owner.get("kind", "").lower()
        name = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return [obj["metadata"]["name"], name, obj.get("revision", 0), _age(obj, now)]


def pod_template(obj: Json, _now: float) -> list[Any]:
    labels = ((obj.get("template") or {}).get("metadata") or {}).get("labels") or {}
    shown = ",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "<none>"
    return [obj["metadata"]["name"], *containers(obj), shown]
