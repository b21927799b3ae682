"""Conversion of old versions of kinds to the stored one and back: tables and pure functions.

Most old versions differ by their name only, and by a few fields that were defaulted otherwise or renamed. Sources: the
"Deprecated API Migration Guide" of the documentation, and the conversion functions that the original had.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from netlab.api import Json

Conversion = Callable[[Json], Json]


def _selector_from_template(obj: Json) -> Json:
    """extensions/v1beta1, apps/v1beta1: a selector that was left out is the template's labels."""
    spec = obj.get("spec") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if spec and not spec.get("selector") and labels:
        spec["selector"] = {"matchLabels": dict(labels)}
    spec.pop("rollbackTo", None)
    spec.pop("templateGeneration", None)
    return obj


def _backend_up(old: Any) -> Any:
    if not isinstance(old, dict) or ("serviceName" not in old and "servicePort" not in old):
        return old
    port = old.get("servicePort")
    key = "name" if isinstance(port, str) and not port.isdigit() else "number"
    number = int(port) if key == "number" and isinstance(port, str) else port
    new: Json = {k: v for k, v in old.items() if k not in ("serviceName", "servicePort")}
    new["service"] = {"name": old.get("serviceName", ""), "port": {key: number} if port is not None else {}}
    return new


def _backend_down(new: Any) -> Any:
    service = new.get("service") if isinstance(new, dict) else None
    if not service:
        return new
    port = service.get("port") or {}
    old: Json = {"serviceName": service.get("name", "")}
    if port:
        old["servicePort"] = port.get("name") or port.get("number", 0)
    return old


def _ingress(obj: Json, backend: Callable[[Any], Any], default: tuple[str, str], path_type: bool) -> Json:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return obj
    if default[0] in spec:
        spec[default[1]] = backend(spec.pop(default[0]))
    for rule in spec.get("rules") or ():
        if not isinstance(rule, dict):
            continue
        for path in (rule.get("http") or {}).get("paths") or ():
            if isinstance(path, dict):
                if "backend" in path:
                    path["backend"] = backend(path["backend"])
                if path_type:
                    path.setdefault("pathType", "ImplementationSpecific")
    return obj


def _ingress_up(obj: Json) -> Json:
    return _ingress(obj, _backend_up, ("backend", "defaultBackend"), True)


def _ingress_down(obj: Json) -> Json:
    return _ingress(obj, _backend_down, ("defaultBackend", "backend"), False)


def _definition_up(obj: Json) -> Json:
    """CustomResourceDefinition v1beta1: one version at the top, schema and columns for all of them."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return obj
    version = spec.pop("version", None)
    shared = {
        "schema": spec.pop("validation", None), "subresources": spec.pop("subresources", None),
        "additionalPrinterColumns": spec.pop("additionalPrinterColumns", None),
    }  # fmt: skip
    preserve = spec.get("preserveUnknownFields", True)
    versions = spec.get("versions") or ([{"name": version, "served": True, "storage": True}] if version else [])
    for item in versions:
        for name, value in shared.items():
            if value is not None and name not in item:
                item[name] = copy.deepcopy(value)
        for column in item.get("additionalPrinterColumns") or ():
            if "JSONPath" in column:
                column["jsonPath"] = column.pop("JSONPath")
        if preserve:  # v1beta1's way to say it is refused in v1, where the schema says it
            schema = item.setdefault("schema", {}).setdefault("openAPIV3Schema", {"type": "object"})
            schema.setdefault("type", "object")
            schema.setdefault("x-kubernetes-preserve-unknown-fields", True)
    spec["versions"] = versions
    spec.pop("preserveUnknownFields", None)
    conversion = spec.get("conversion")
    if isinstance(conversion, dict) and "webhookClientConfig" in conversion:
        conversion["webhook"] = {
            "clientConfig": conversion.pop("webhookClientConfig"),
            "conversionReviewVersions": conversion.pop("conversionReviewVersions", ["v1beta1"]),
        }
    return obj


def _definition_down(obj: Json) -> Json:
    spec = obj.get("spec")
    versions = (spec or {}).get("versions")
    if isinstance(spec, dict) and versions:
        spec["version"] = versions[0]["name"]
        spec["preserveUnknownFields"] = False
        if len(versions) == 1:
            only = versions[0]
            for name, top in (("schema", "validation"), ("subresources", "subresources")):
                if name in only:
                    spec[top] = only.pop(name)
        for item in versions:
            for column in item.get("additionalPrinterColumns") or ():
                if "jsonPath" in column:
                    column["JSONPath"] = column.pop("jsonPath")
    return obj


def _autoscaler_up(obj: Json) -> Json:
    """HorizontalPodAutoscaler v1: one figure for the CPU."""
    spec = obj.get("spec") or {}
    target = spec.pop("targetCPUUtilizationPercentage", None)
    if target is not None:
        metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}
        spec["metrics"] = [{"type": "Resource", "resource": metric}, *(spec.get("metrics") or [])]
    status = obj.get("status") or {}
    current = status.pop("currentCPUUtilizationPercentage", None)
    if current is not None:
        now = {"name": "cpu", "current": {"averageUtilization": current}}
        status["currentMetrics"] = [{"type": "Resource", "resource": now}]
    return obj


def _autoscaler_down(obj: Json) -> Json:
    spec = obj.get("spec") or {}
    rest = []
    for metric in spec.pop("metrics", None) or ():
        resource = metric.get("resource") or {}
        figure = (resource.get("target") or {}).get("averageUtilization")
        if resource.get("name") == "cpu" and figure is not None:
            spec["targetCPUUtilizationPercentage"] = figure
        else:
            rest.append(metric)
    spec.pop("behavior", None)
    status = obj.get("status") or {}
    for metric in status.pop("currentMetrics", None) or ():
        resource = metric.get("resource") or {}
        figure = (resource.get("current") or {}).get("averageUtilization")
        if resource.get("name") == "cpu" and figure is not None:
            status["currentCPUUtilizationPercentage"] = figure
    status.pop("conditions", None)
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    return obj


#: events.k8s.io/v1 name → core/v1 name, of the same stored object
_EVENT = {
    "regarding": "involvedObject", "note": "message", "reportingController": "reportingComponent",
    "deprecatedSource": "source", "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp", "deprecatedCount": "count",
}  # fmt: skip
_EVENT_BACK = {v: k for k, v in _EVENT.items()}


def _renamed(obj: Json, names: dict[str, str]) -> Json:
    return {names.get(k, k): v for k, v in obj.items()}


def _event_up(obj: Json) -> Json:
    out = _renamed(obj, _EVENT)
    out.setdefault("involvedObject", {})
    out.setdefault("source", {})
    out.setdefault("firstTimestamp", None)
    out.setdefault("lastTimestamp", None)
    out.setdefault("reportingComponent", "")
    out.setdefault("reportingInstance", "")
    return out


def _event_down(obj: Json) -> Json:
    return _renamed(obj, _EVENT_BACK)


_Key = tuple[str, str, str]
UP: dict[_Key, Conversion] = {
    ("apps", "v1beta1", "Deployment"): _selector_from_template,
    ("apps", "v1beta1", "StatefulSet"): _selector_from_template,
    ("extensions", "v1beta1", "Deployment"): _selector_from_template,
    ("extensions", "v1beta1", "DaemonSet"): _selector_from_template,
    ("extensions", "v1beta1", "ReplicaSet"): _selector_from_template,
    ("extensions", "v1beta1", "Ingress"): _ingress_up,
    ("networking.k8s.io", "v1beta1", "Ingress"): _ingress_up,
    ("apiextensions.k8s.io", "v1beta1", "CustomResourceDefinition"): _definition_up,
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): _autoscaler_up,
    ("events.k8s.io", "v1", "Event"): _event_up,
}
DOWN: dict[_Key, Conversion] = {
    ("extensions", "v1beta1", "Ingress"): _ingress_down,
    ("networking.k8s.io", "v1beta1", "Ingress"): _ingress_down,
    ("apiextensions.k8s.io", "v1beta1", "CustomResourceDefinition"): _definition_down,
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): _autoscaler_down,
    ("events.k8s.io", "v1", "Event"): _event_down,
}


def up(group: str, version: str, kind: str, obj: Json, stored: str) -> Json:
    """An object of an old version as the stored one (`stored` is its apiVersion). The argument may be changed."""
    convert = UP.get((group, version, kind))
    out = convert(obj) if convert is not None else obj
    out["apiVersion"] = stored
    return out


def down(group: str, version: str, kind: str, obj: Json) -> Json:
    """A stored object as an old version shows it. The argument may be changed."""
    convert = DOWN.get((group, version, kind))
    out = convert(obj) if convert is not None else obj
    out["apiVersion"] = f"{group}/{version}" if group else version
    return out
