"""Which field selectors a kind knows beside metadata.name and metadata.namespace.

Source: kubernetes pkg/apis/<group>/<version>/conversion.go (AddFieldLabelConversionFunc), and the strategies.
"""

from __future__ import annotations

from collections.abc import Callable

from netlab.api import Json
from netlab.api.selectors import FieldSelector, SelectorError, parse_fields, path_value

_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_KEYS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
    ),
    ("", "Node"): ("spec.unschedulable",),
    ("", "Event"): (
        *(f"involvedObject.{k}" for k in _REFERENCE), "reason", "reportingComponent", "source", "type",
    ),
    ("events.k8s.io", "Event"): (
        *(f"regarding.{k}" for k in _REFERENCE), "reason", "reportingController", "type",
    ),
    ("", "Namespace"): ("status.phase",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP", "spec.type"),
    ("", "ReplicationController"): ("status.replicas",),
    ("apps", "ReplicaSet"): ("status.replicas",),
    ("batch", "Job"): ("status.successful",),
    ("certificates.k8s.io", "CertificateSigningRequest"): ("spec.signerName",),
}  # fmt: skip
_ALIASES = {("", "Pod", "spec.host"): "spec.nodeName", ("batch", "Job", "status.successful"): "status.succeeded"}
_EVENT_KEYS = {"regarding": "involvedObject", "reportingController": "reportingComponent"}


def _event_value(obj: Json, key: str) -> str:
    head, _, rest = key.partition(".")
    key = ".".join(filter(None, (_EVENT_KEYS.get(head, head), rest)))
    if key == "source":
        return path_value(obj, "source.component") or path_value(obj, "reportingComponent")
    if key == "reportingComponent":
        return path_value(obj, key) or path_value(obj, "source.component")
    return path_value(obj, key)


def _pod_value(obj: Json, key: str) -> str:
    if key == "spec.hostNetwork":
        return path_value(obj, key) or "false"
    if key == "status.podIPs":
        return ",".join(i.get("ip", "") for i in (obj.get("status") or {}).get("podIPs") or ())
    return path_value(obj, key)


def _node_value(obj: Json, key: str) -> str:
    return path_value(obj, key) or ("false" if key == "spec.unschedulable" else "")


def _count_value(obj: Json, key: str) -> str:
    return path_value(obj, key) or ("0" if key.startswith("status.") else "")


_GETTERS: dict[str, Callable[[Json, str], str]] = {
    "Event": _event_value, "Pod": _pod_value, "Node": _node_value, "ReplicationController": _count_value,
    "ReplicaSet": _count_value, "Job": _count_value,
}  # fmt: skip


def field_selector(group: str, kind: str, text: str, extra: tuple[str, ...] = ()) -> FieldSelector:
    """The selector of a kind's objects. extra: more keys (selectableFields). SelectorError with the original's text."""
    known = (*_KEYS.get((group, kind), ()), *extra, "metadata.name", "metadata.namespace")
    terms = []
    for key, equal, value in parse_fields(text):
        name = _ALIASES.get((group, kind, key), key)
        if name not in known and key not in known:
            raise SelectorError(f"field label not supported: {key}")
        terms.append((name, equal, value))
    return FieldSelector(tuple(terms), _GETTERS.get(kind, path_value) if not extra else path_value)
