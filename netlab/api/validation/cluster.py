"""Validation of volumes, quotas, classes, leases."""

from __future__ import annotations

from netlab.api import Json
from netlab.api.fielderrors import FieldError, forbidden, invalid, not_supported, required
from netlab.api.names import label_problems
from netlab.api.quantity import value as amount
from netlab.api.validation.common import IMMUTABLE, immutable, one_of, selector

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
#: the largest value that a user's PriorityClass may have
PRIORITY_MAX = 1_000_000_000


def _modes(spec: Json) -> list[FieldError]:
    modes = spec.get("accessModes") or []
    if not modes:
        return [required("spec.accessModes", "at least 1 access mode is required")]
    return [not_supported("spec.accessModes", m, list(_MODES)) for m in modes if m not in _MODES]


_PV_SOURCES = (
    "hostPath", "nfs", "local", "csi", "iscsi", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "rbd",
    "flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
    "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip


def persistent_volume(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = _modes(spec)
    capacity = spec.get("capacity") or {}
    if not capacity:
        found.append(required("spec.capacity"))
    elif set(capacity) != {"storage"}:
        found.append(not_supported("spec.capacity", capacity, ["storage"]))
    elif amount(capacity["storage"]) <= 0:
        found.append(invalid("spec.capacity[storage]", capacity["storage"], "must be greater than zero"))
    sources = [s for s in _PV_SOURCES if spec.get(s) is not None]
    if not sources:
        found.append(required("spec", "must specify a volume type"))
    found += [forbidden(f"spec.{s}", "may not specify more than 1 volume type") for s in sources[1:]]
    found += one_of(spec.get("persistentVolumeReclaimPolicy"), ("Delete", "Recycle", "Retain"),
                    "spec.persistentVolumeReclaimPolicy")  # fmt: skip
    if spec.get("local") is not None and spec.get("nodeAffinity") is None:
        found.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    if old is not None:
        was = old.get("spec") or {}
        if any(was.get(s) != spec.get(s) for s in _PV_SOURCES):
            found.append(forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after "
                                   "creation"))  # fmt: skip
        found += immutable(was, spec, "volumeMode", field="spec")
    return found


def persistent_volume_claim(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = _modes(spec) + selector(spec.get("selector"), "spec.selector")
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        found.append(required("spec.resources[storage]"))
    elif amount(size) <= 0:
        found.append(invalid("spec.resources[storage]", size, "must be greater than zero"))
    if old is not None:
        was = dict(old.get("spec") or {})
        now = dict(spec)
        before = ((was.get("resources") or {}).get("requests") or {}).get("storage")
        if before is not None and size is not None and amount(size) < amount(before):
            found.append(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
        for s in (was, now):
            s.pop("resources", None)
            s.pop("volumeAttributesClassName", None)
        if not was.get("volumeName"):
            was.pop("volumeName", None)
            now.pop("volumeName", None)
        if not was.get("storageClassName"):
            was.pop("storageClassName", None)
            now.pop("storageClassName", None)
        if was != now:
            found.append(forbidden("spec", "spec is immutable after creation except resources.requests and "
                                   "volumeAttributesClassName for bound claims"))  # fmt: skip
    return found


def resource_quota(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = []
    for name, text in (spec.get("hard") or {}).items():
        if amount(text) < 0:
            found.append(invalid(f"spec.hard[{name}]", text, "must be greater than or equal to 0"))
    if old is not None and (old.get("spec") or {}).get("scopes") != spec.get("scopes"):
        found.append(invalid("spec.scopes", spec.get("scopes"), IMMUTABLE))
    return found


def limit_range(obj: Json, _old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    for i, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        at = f"spec.limits[{i}]"
        if not item.get("type"):
            found.append(required(f"{at}.type"))
        high, low, default, request = (item.get(k) or {} for k in ("max", "min", "default", "defaultRequest"))
        for name, text in low.items():
            if name in high and amount(text) > amount(high[name]):
                detail = f"min value {text} is greater than max value {high[name]}"
                found.append(invalid(f"{at}.min[{name}]", text, detail))
        for name, text in request.items():
            if name in default and amount(text) > amount(default[name]):
                detail = f"default request value {text} is greater than default limit value {default[name]}"
                found.append(invalid(f"{at}.defaultRequest[{name}]", text, detail))
        for name, text in default.items():
            if name in high and amount(text) > amount(high[name]):
                detail = f"default value {text} is greater than max value {high[name]}"
                found.append(invalid(f"{at}.default[{name}]", text, detail))
    return found


def priority_class(obj: Json, old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    name = obj["metadata"].get("name", "")
    if name.startswith("system-") and name not in ("system-cluster-critical", "system-node-critical"):
        found.append(forbidden("metadata.name", "priority class names with 'system-' prefix are reserved for system "
                               f"use only. error: {name} is not a known system priority class"))  # fmt: skip
    elif not name.startswith("system-") and obj.get("value", 0) > PRIORITY_MAX:
        found.append(forbidden("value", f"maximum allowed value of a user defined priority is {PRIORITY_MAX}"))
    if old is not None and old.get("value", 0) != obj.get("value", 0):
        found.append(forbidden("value", "may not be changed in an update."))
    if old is not None and old.get("preemptionPolicy") != obj.get("preemptionPolicy"):
        found.append(invalid("preemptionPolicy", obj.get("preemptionPolicy"), IMMUTABLE))
    return found


def storage_class(obj: Json, old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    if not obj.get("provisioner"):
        found.append(required("provisioner"))
    found += one_of(obj.get("reclaimPolicy"), ("Delete", "Retain"), "reclaimPolicy")
    found += one_of(obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode")
    if old is not None:
        for name in ("parameters", "provisioner", "reclaimPolicy"):
            if (old.get(name) or None) != (obj.get(name) or None):
                found.append(forbidden(name, f"updates to {name} are forbidden."))
        if old.get("volumeBindingMode") != obj.get("volumeBindingMode"):
            found.append(invalid("volumeBindingMode", obj.get("volumeBindingMode"), IMMUTABLE))
    return found


def lease(obj: Json, _old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    seconds = spec.get("leaseDurationSeconds")
    if isinstance(seconds, int) and seconds <= 0:
        found.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    number = spec.get("leaseTransitions")
    if isinstance(number, int) and number < 0:
        found.append(invalid("spec.leaseTransitions", number, "must be greater than or equal to 0"))
    return found


def runtime_class(obj: Json, old: Json | None) -> list[FieldError]:
    handler = obj.get("handler", "")
    found = [required("handler")] if not handler else [invalid("handler", handler, p) for p in label_problems(handler)]
    if old is not None and old.get("handler") != handler:
        found.append(invalid("handler", handler, IMMUTABLE))
    return found
