"""Rows of everything else."""

from __future__ import annotations

from typing import Any

from netlab.api import Json
from netlab.api.columns.ages import age, human


def _age(obj: Json, now: float) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def name_age(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], _age(obj, now)]


def name_created(obj: Json, _now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp") or "<unknown>"]


def namespace(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), _age(obj, now)]


def node(obj: Json, now: float) -> list[Any]:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    ready = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if spec.get("unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = sorted(
        k.removeprefix(prefix) if k.startswith(prefix) else v
        for k, v in (meta.get("labels") or {}).items()
        if (k.startswith(prefix) and k != prefix) or (k == "kubernetes.io/role" and v)
    )
    info = status.get("nodeInfo") or {}

    def address(kind: str) -> str:
        return next((a["address"] for a in status.get("addresses") or () if a.get("type") == kind), "<none>")

    return [
        meta["name"], state, ",".join(roles) or "<none>", _age(obj, now), info.get("kubeletVersion", ""),
        address("InternalIP"), address("ExternalIP"), info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>", info.get("containerRuntimeVersion") or "<unknown>",
    ]  # fmt: skip


def config_map(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), _age(obj, now)]


def secret(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or ()), _age(obj, now)]


def service_account(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("secrets") or ()), _age(obj, now)]


def event(obj: Json, now: float) -> list[Any]:
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or first
    series = obj.get("series") or {}
    if series:
        last = series.get("lastObservedTime") or last
    count = series.get("count") or obj.get("count") or 1
    target, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    sender = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return [
        age(last, now), obj.get("type", ""), obj.get("reason", ""),
        f"{target.get('kind', '').lower()}/{target.get('name', '')}", target.get("fieldPath", ""),
        f"{sender}, {host}" if sender and host else sender or host, str(obj.get("message", "")).strip(),
        age(first, now), count, obj["metadata"]["name"],
    ]  # fmt: skip


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Any) -> str:
    given = set(modes or ())
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def persistent_volume(obj: Json, now: float) -> list[Any]:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    ref = spec.get("claimRef")
    phase = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
    return [
        meta["name"], (spec.get("capacity") or {}).get("storage", ""), _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""), phase,
        f"{ref.get('namespace')}/{ref.get('name')}" if ref else "", spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>", status.get("reason", ""), _age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]  # fmt: skip


def persistent_volume_claim(obj: Json, now: float) -> list[Any]:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    phase = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
    name = (meta.get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
    return [
        meta["name"], phase, spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(status.get("accessModes")) if bound else "", name or spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>", _age(obj, now), spec.get("volumeMode") or "<unset>",
    ]  # fmt: skip


def storage_class(obj: Json, now: float) -> list[Any]:
    meta = obj["metadata"]
    default = (meta.get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    return [
        meta["name"] + (" (default)" if default else ""), obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode") or "<unset>",
        bool(obj.get("allowVolumeExpansion")), _age(obj, now),
    ]  # fmt: skip


def resource_quota(obj: Json, now: float) -> list[Any]:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        text = f"{name}: {used.get(name, '0')}/{hard[name]}"
        (limits if name.startswith("limits") else requests).append(text)
    return [obj["metadata"]["name"], ", ".join(requests), ", ".join(limits), _age(obj, now)]


def lease(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity", ""), _age(obj, now)]


def binding(obj: Json, now: float) -> list[Any]:
    ref, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()

    def named(kind: str) -> str:
        names = [
            f"{s.get('namespace')}/{s.get('name')}" if kind == "ServiceAccount" else s.get("name", "")
            for s in subjects if s.get("kind") == kind
        ]  # fmt: skip
        return ", ".join(names)

    return [
        obj["metadata"]["name"], f"{ref.get('kind')}/{ref.get('name')}", _age(obj, now), named("User"), named("Group"),
        named("ServiceAccount"),
    ]  # fmt: skip


def certificate_request(obj: Json, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    kinds = [c.get("type") for c in status.get("conditions") or ()]
    state = "Approved" if "Approved" in kinds else "Denied" if "Denied" in kinds else "Pending"
    if "Failed" in kinds:
        state += ",Failed"
    if status.get("certificate"):
        state += ",Issued"
    seconds = spec.get("expirationSeconds")
    return [
        obj["metadata"]["name"], _age(obj, now), spec.get("signerName") or "<none>", spec.get("username", ""),
        human(seconds) if seconds is not None else "<none>", state,
    ]  # fmt: skip


def priority_class(obj: Json, now: float) -> list[Any]:
    return [
        obj["metadata"]["name"], obj.get("value", 0), bool(obj.get("globalDefault")), _age(obj, now),
        obj.get("preemptionPolicy", ""),
    ]  # fmt: skip


def runtime_class(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("handler", ""), _age(obj, now)]


def webhooks(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("webhooks") or ()), _age(obj, now)]


def admission_policy(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    kind = spec.get("paramKind")
    shown = f"{kind.get('apiVersion')}/{kind.get('kind')}" if kind else "<unset>"
    return [obj["metadata"]["name"], len(spec.get("validations") or ()), shown, _age(obj, now)]


def admission_binding(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    ref = spec.get("paramRef")
    shown = "<unset>"
    if ref:
        shown = "/".join(filter(None, (ref.get("namespace"), ref.get("name", "*"))))
    return [obj["metadata"]["name"], spec.get("policyName", ""), shown, _age(obj, now)]


def csi_driver(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    tokens = ",".join(t.get("audience", "") for t in spec.get("tokenRequests") or ())
    return [
        obj["metadata"]["name"], bool(spec.get("attachRequired", True)), bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")), tokens or "<unset>", bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>", _age(obj, now),
    ]  # fmt: skip


def csi_node(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], len((obj.get("spec") or {}).get("drivers") or ()), _age(obj, now)]


def csi_capacity(obj: Json, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("storageClassName", ""), obj.get("capacity") or "<unset>"]


def volume_attachment(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    volume = (spec.get("source") or {}).get("persistentVolumeName", "")
    attached = bool((obj.get("status") or {}).get("attached"))
    return [
        obj["metadata"]["name"], spec.get("attacher", ""), volume, spec.get("nodeName", ""), attached, _age(obj, now),
    ]  # fmt: skip


def flow_schema(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    dangling = next((c.get("status") for c in (obj.get("status") or {}).get("conditions") or ()
                     if c.get("type") == "Dangling"), "?")  # fmt: skip
    method = spec.get("distinguisherMethod")
    return [
        obj["metadata"]["name"], (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence", 0), method.get("type") if method else "<none>", _age(obj, now), dangling,
    ]  # fmt: skip


def priority_level(obj: Json, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited") or spec.get("exempt") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    return [
        obj["metadata"]["name"], spec.get("type", ""), limited.get("nominalConcurrencyShares", "<none>"),
        queuing.get("queues", "<none>"), queuing.get("handSize", "<none>"), queuing.get("queueLengthLimit", "<none>"),
        _age(obj, now),
    ]  # fmt: skip


def component_status(obj: Json, _now: float) -> list[Any]:
    return [obj["metadata"]["name"], "Unknown", "", ""]


def api_service(obj: Json, now: float) -> list[Any]:
    service = (obj.get("spec") or {}).get("service")
    where = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    found = next((c for c in (obj.get("status") or {}).get("conditions") or () if c.get("type") == "Available"), None)
    state = "Unknown" if found is None else found.get("status", "")
    if found is not None and state != "True":
        state += f" ({found.get('reason', '')})"
    return [obj["metadata"]["name"], where, state, _age(obj, now)]


def custom_resource_definition(obj: Json, _now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp") or "<unknown>"]
