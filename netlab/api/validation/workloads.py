"""Validation of what makes pods. Sources: kubernetes pkg/apis/{apps,batch,autoscaling,policy}/validation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, forbidden, invalid, not_supported, required
from netlab.api.validation.common import (
    immutable,
    int_or_percent,
    not_negative,
    one_of,
    selector,
    selects,
)
from netlab.api.validation.meta import labels
from netlab.api.validation.pods import pod_spec


def template(
    value: Json | None, field: str, *, restart: tuple[str, ...] = ("Always",), claims: Iterable[str] = ()
) -> list[FieldError]:
    """A pod template. claims: see `pod_spec`."""
    if value is None:
        return [required(field)]
    found = labels((value.get("metadata") or {}).get("labels") or {}, f"{field}.labels")
    spec = value.get("spec") or {}
    found += pod_spec(spec, f"{field}.spec", template=True, claims=claims)
    policy = spec.get("restartPolicy")
    if policy and policy not in restart:
        found.append(not_supported(f"{field}.spec.restartPolicy", policy, list(restart)))
    return found


def pod_template(obj: Json, _old: Json | None) -> list[FieldError]:
    return template(obj.get("template"), "template", restart=("Always", "Never", "OnFailure"))


def _selected(spec: Json, field: str = "spec") -> list[FieldError]:
    """The selector, and whether it selects the template."""
    chosen = spec.get("selector")
    if not chosen or not (chosen.get("matchLabels") or chosen.get("matchExpressions")):
        if chosen is None:
            found = [required(f"{field}.selector")]
        else:
            detail = "empty selector is invalid for deployment"
            found = [invalid(f"{field}.selector", chosen, detail)]
    else:
        found = selector(chosen, f"{field}.selector")
    wanted = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if chosen and not selects(chosen, wanted):
        found.append(
            invalid(f"{field}.template.metadata.labels", wanted, "`selector` does not match template `labels`")
        )
    return found


def deployment(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit", field="spec")
    found += _selected(spec) + template(spec.get("template"), "spec.template")
    strategy = spec.get("strategy") or {}
    at, rolling = "spec.strategy", strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                found.append(
                    forbidden(f"{at}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
                )
        case "RollingUpdate":
            found += _rolling(rolling or {}, f"{at}.rollingUpdate")
        case other:
            found.append(not_supported(f"{at}.type", other, ["Recreate", "RollingUpdate"]))
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int) and deadline <= spec.get("minReadySeconds", 0):
        found.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return found + (immutable(old.get("spec") or {}, spec, "selector", field="spec") if old else [])


def _zero(value: Any) -> bool:
    return value in (0, "0", "0%")


def _rolling(rolling: Json, at: str) -> list[FieldError]:
    found = int_or_percent(rolling.get("maxUnavailable"), f"{at}.maxUnavailable")
    found += int_or_percent(rolling.get("maxSurge"), f"{at}.maxSurge")
    if _zero(rolling.get("maxUnavailable")) and _zero(rolling.get("maxSurge")):
        found.append(invalid(f"{at}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0"))
    return found


def replica_set(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative(spec, "replicas", "minReadySeconds", field="spec")
    found += _selected(spec) + template(spec.get("template"), "spec.template")
    return found + (immutable(old.get("spec") or {}, spec, "selector", field="spec") if old else [])


def replication_controller(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative(spec, "replicas", "minReadySeconds", field="spec")
    chosen = spec.get("selector") or {}
    if not chosen:
        found.append(required("spec.selector"))
    if "template" not in spec:
        return [*found, required("spec.template")]
    wanted = (spec["template"].get("metadata") or {}).get("labels") or {}
    if any(wanted.get(k) != v for k, v in chosen.items()):
        found.append(invalid("spec.template.metadata.labels", wanted, "`selector` does not match template `labels`"))
    return found + template(spec["template"], "spec.template")


_STATEFUL = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_STATEFUL_FREE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "minReadySeconds",
    "persistentVolumeClaimRetentionPolicy",
)  # fmt: skip


def stateful_set(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit", field="spec")
    found += one_of(spec.get("podManagementPolicy"), ("OrderedReady", "Parallel"), "spec.podManagementPolicy")
    found += one_of((spec.get("updateStrategy") or {}).get("type"), ("OnDelete", "RollingUpdate"),
                    "spec.updateStrategy.type")  # fmt: skip
    claims = [(c.get("metadata") or {}).get("name", "") for c in spec.get("volumeClaimTemplates") or ()]
    found += _selected(spec) + template(spec.get("template"), "spec.template", claims=claims)
    if old is not None:
        was = old.get("spec") or {}
        keys = (spec.keys() | was.keys()) - set(_STATEFUL_FREE)
        if any(spec.get(k) != was.get(k) for k in keys):
            found.append(forbidden("spec", _STATEFUL))
    return found


def daemon_set(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative(spec, "minReadySeconds", "revisionHistoryLimit", field="spec")
    found += _selected(spec) + template(spec.get("template"), "spec.template")
    strategy = spec.get("updateStrategy") or {}
    found += one_of(strategy.get("type"), ("OnDelete", "RollingUpdate"), "spec.updateStrategy.type")
    if strategy.get("type") == "RollingUpdate":
        rolling, at = strategy.get("rollingUpdate") or {}, "spec.updateStrategy.rollingUpdate"
        found += int_or_percent(rolling.get("maxUnavailable"), f"{at}.maxUnavailable")
        found += int_or_percent(rolling.get("maxSurge"), f"{at}.maxSurge")
        if not _zero(rolling.get("maxUnavailable")) and not _zero(rolling.get("maxSurge")):
            found.append(
                invalid(f"{at}.maxSurge", rolling["maxSurge"], "may not be set when maxUnavailable is non-zero")
            )
    return found + (immutable(old.get("spec") or {}, spec, "selector", field="spec") if old else [])


def _job_spec(spec: Json, field: str) -> list[FieldError]:
    found = not_negative(
        spec, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
        "backoffLimitPerIndex", "maxFailedIndexes", field=field,
    )  # fmt: skip
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        found.append(required(f"{field}.completions", "when completion mode is Indexed"))
    inner = spec.get("template")
    found += template(inner, f"{field}.template", restart=("Never", "OnFailure", "Always"))
    policy = ((inner or {}).get("spec") or {}).get("restartPolicy")
    if policy == "Always":
        found.append(required(f"{field}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    return found


def job(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = _job_spec(spec, "spec")
    chosen = spec.get("selector")
    if chosen is None:
        found.insert(0, required("spec.selector"))
    if old is not None:
        was = old.get("spec") or {}
        names = ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"]
        if not was.get("suspend"):
            names.append("template")
        if spec.get("completionMode") != "Indexed":
            names.append("completions")
        found += immutable(was, spec, *names, field="spec")
    return found


_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,\-?LW#]+")
_CRON_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def cron_job(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    schedule = spec.get("schedule", "")
    if not schedule:
        found.append(required("spec.schedule"))
    elif "TZ=" in schedule:
        found.append(invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field "
                             "instead"))  # fmt: skip
    elif not schedule.startswith("@every ") and schedule not in _CRON_WORDS:
        parts = schedule.split()
        if len(parts) != 5:
            detail = f"expected exactly 5 fields, found {len(parts)}: {parts}".replace("'", "").replace(",", "")
            found.append(invalid("spec.schedule", schedule, detail))
        elif not all(_CRON_FIELD.fullmatch(p) for p in parts):
            found.append(invalid("spec.schedule", schedule, "failed to parse the schedule"))
    found += one_of(spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"), "spec.concurrencyPolicy")
    found += not_negative(spec, "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit",
                          field="spec")  # fmt: skip
    inner = (spec.get("jobTemplate") or {}).get("spec") or {}
    found += _job_spec(inner, "spec.jobTemplate.spec")
    if len(obj["metadata"].get("name", "")) > 52:
        found.append(invalid("metadata.name", obj["metadata"]["name"], "must be no more than 52 characters"))
    return found


def autoscaler(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if isinstance(low, int) and low < 1:
        found.append(invalid("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        found.append(invalid("spec.maxReplicas", high, "must be greater than 0"))
    if isinstance(low, int) and high < low:
        found.append(invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    ref = spec.get("scaleTargetRef") or {}
    found += [required(f"spec.scaleTargetRef.{n}") for n in ("kind", "name") if not ref.get(n)]
    return found


def disruption_budget(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        found.append(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            found += int_or_percent(spec[name], f"spec.{name}")
    return found + selector(spec.get("selector"), "spec.selector")
