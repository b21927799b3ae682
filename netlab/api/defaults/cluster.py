"""Defaults of everything else: namespaces, nodes, volumes, policies, webhooks, definitions."""

from __future__ import annotations

from typing import Any

from netlab.api import Json


def namespace(obj: Json) -> None:
    # NamespaceDefaultLabelName: selectors by name work without anybody's labelling
    name = obj["metadata"].get("name")
    if name:
        labels = obj["metadata"].get("labels") or {}
        labels.setdefault("kubernetes.io/metadata.name", name)
        obj["metadata"]["labels"] = labels
    obj.setdefault("status", {}).setdefault("phase", "Active")


def node(obj: Json) -> None:
    status = obj.setdefault("status", {})
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])


def secret(obj: Json) -> None:
    obj.setdefault("type", "Opaque")


def persistent_volume(obj: Json) -> None:
    spec = obj["spec"]
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    path = spec.get("hostPath")
    if path is not None:
        path.setdefault("type", "")
    claim = spec.get("claimRef")
    if claim is not None:
        claim.setdefault("kind", "PersistentVolumeClaim")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def persistent_volume_claim(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    source = spec.get("dataSource")
    if source is not None and "dataSourceRef" not in spec:
        spec["dataSourceRef"] = dict(source)
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def limit_range(obj: Json) -> None:
    for item in obj.get("spec", {}).get("limits") or ():
        if item.get("type") != "Container":
            continue
        default: Json = item.setdefault("default", {})
        for name, value in (item.get("max") or {}).items():
            default.setdefault(name, value)
        request: Json = item.setdefault("defaultRequest", {})
        for source in (default, item.get("min") or {}):
            for name, value in source.items():
                request.setdefault(name, value)
        for name in ("default", "defaultRequest"):
            if not item[name]:
                del item[name]


_RBAC = "rbac.authorization.k8s.io"


def role_binding(obj: Json) -> None:
    obj.setdefault("roleRef", {})
    if not obj["roleRef"].get("apiGroup"):
        obj["roleRef"]["apiGroup"] = _RBAC
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = _RBAC


def storage_class(obj: Json) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def csi_driver(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    for name, value in {
        "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False,
        "seLinuxMount": False, "fsGroupPolicy": "ReadWriteOnceWithFSType",
    }.items():  # fmt: skip
        spec.setdefault(name, value)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def priority_class(obj: Json) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _webhooks(obj: Json, **more: Any) -> None:
    for hook in obj.get("webhooks") or ():
        for name, value in more.items():
            hook.setdefault(name, value)
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("matchPolicy", "Equivalent")
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        hook.setdefault("timeoutSeconds", 10)
        service = (hook.get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)
        for rule in hook.get("rules") or ():
            rule.setdefault("scope", "*")


def mutating_webhooks(obj: Json) -> None:
    _webhooks(obj, reinvocationPolicy="Never")


def validating_webhooks(obj: Json) -> None:
    _webhooks(obj)


def admission_policy(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    match = spec.get("matchConstraints")
    if match is not None:
        match.setdefault("matchPolicy", "Equivalent")
        match.setdefault("namespaceSelector", {})
        match.setdefault("objectSelector", {})
        for rule in match.get("resourceRules") or ():
            rule.setdefault("scope", "*")


def priority_level(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    limited = spec.get("limited")
    if limited is not None:
        limited.setdefault("nominalConcurrencyShares", 30)
        limited.setdefault("lendablePercent", 0)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for name, value in {"queues": 64, "handSize": 8, "queueLengthLimit": 50}.items():
                if not queuing.get(name):
                    queuing[name] = value
    exempt = spec.get("exempt")
    if exempt is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)


def flow_schema(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def custom_resource_definition(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    names.setdefault("singular", kind.lower())
    if kind:
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {}).setdefault("strategy", "None")
    service = ((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)
