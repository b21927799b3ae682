"""Validation of nodes, events and revisions. Source: kubernetes pkg/apis/{core,apps}/validation."""

from __future__ import annotations

import ipaddress
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError, forbidden, invalid, not_supported, required
from netlab.api.names import label_value_problems, qualified_name_problems
from netlab.api.validation.common import IMMUTABLE, selector

_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_FREE = ("podCIDR", "podCIDRs", "providerID", "unschedulable", "taints", "configSource", "externalID")
#: characters of an event's reason, action and reporting instance, and of its note
EVENT_MAX, NOTE_MAX = 128, 1024


def node(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = _taints(spec.get("taints") or [])
    cidrs = spec.get("podCIDRs") or []
    for i, text in enumerate(cidrs):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            found.append(invalid(f"spec.podCIDRs[{i}]", text, detail))
    if len(cidrs) > 2:
        found.append(invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family"))
    if old is None:
        return found
    was = old.get("spec") or {}
    if was.get("podCIDRs") and was["podCIDRs"] != cidrs:
        found.append(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
    if was.get("providerID") and was["providerID"] != spec.get("providerID"):
        found.append(forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'))
    if any(was.get(k) != spec.get(k) for k in (was.keys() | spec.keys()) - set(_FREE)):
        detail = "node updates may only change labels, taints, or capacity (or configSource, if the "
        found.append(forbidden("spec", detail + "DynamicKubeletConfig feature gate is enabled)"))
    return found


def _taints(taints: list[Json]) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[Any, Any]] = set()
    for i, taint in enumerate(taints):
        at = f"metadata.taints[{i}]"  # the original's: they were annotations once
        key, value, effect = (taint.get(n) or "" for n in ("key", "value", "effect"))
        found += [invalid(f"{at}.key", key, p) for p in qualified_name_problems(key)]
        found += [invalid(f"{at}.value", value, p) for p in label_value_problems(value)]
        if not effect:
            found.append(required(f"{at}.effect"))
        elif effect not in _EFFECTS:
            found.append(not_supported(f"{at}.effect", effect, list(_EFFECTS)))
        if (key, effect) in seen:
            detail = "taints must be unique by key and effect pair"
            found.append(FieldError("FieldValueDuplicate", at, detail, taint))
        seen.add((key, effect))
    return found


def event(obj: Json, _old: Json | None) -> list[FieldError]:
    """An Event of the core group."""
    about = (obj.get("involvedObject") or {}).get("namespace", "")
    here = obj["metadata"].get("namespace", "")
    if here != (about or "default"):
        return [invalid("involvedObject.namespace", about, "does not match event.namespace")]
    return []


def new_event(obj: Json, old: Json | None) -> list[FieldError]:
    """An Event of events.k8s.io, which says more; `obj` is in the stored form, that of the core group."""
    found = event(obj, old)
    if old is not None:
        if obj.get("eventTime") != old.get("eventTime"):
            found.append(invalid("eventTime", obj.get("eventTime"), IMMUTABLE))
        return found
    if not obj.get("eventTime"):
        found.append(required("eventTime"))
    controller = obj.get("reportingComponent", "")
    if not controller:
        found.append(required("reportingController"))
    else:
        found += [invalid("reportingController", controller, p) for p in qualified_name_problems(controller)]
    for name in ("reportingInstance", "action", "reason"):
        value = obj.get(name, "")
        if not value:
            found.append(required(name))
        elif len(value) > EVENT_MAX:
            found.append(invalid(name, "", f"can have at most {EVENT_MAX} characters"))
    if len(obj.get("message", "")) > NOTE_MAX:
        found.append(invalid("note", "", f"can have at most {NOTE_MAX} characters"))
    kind = obj.get("type", "")
    if kind not in ("Normal", "Warning"):
        found.append(invalid("type", "", f"has invalid value: {kind}"))
    series = obj.get("series")
    if series is not None:
        if series.get("count", 0) < 2:
            found.append(invalid("series.count", "", "should be at least 2"))
        if not series.get("lastObservedTime"):
            found.append(required("series.lastObservedTime"))
    return found


def controller_revision(obj: Json, old: Json | None) -> list[FieldError]:
    found = [] if obj.get("data") is not None else [required("data", "data is mandatory")]
    number = obj.get("revision", 0)
    if isinstance(number, int) and number < 0:
        found.append(invalid("revision", number, "must be greater than or equal to 0"))
    if old is not None and old.get("data") != obj.get("data"):
        found.append(invalid("data", obj.get("data"), IMMUTABLE))
    return found


def pod_preset(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = selector(spec.get("selector"), "spec.selector")
    if not any(spec.get(n) for n in ("volumes", "env", "envFrom", "volumeMounts")):
        found.append(required("volumes, env, envFrom, volumeMounts", "must specify at least one"))
    return found
