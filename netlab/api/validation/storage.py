"""Validation of CSI's kinds and of volume attachments. Source: kubernetes pkg/apis/storage/validation."""

from __future__ import annotations

from netlab.api import Json
from netlab.api.fielderrors import FieldError, duplicate, invalid, not_supported, required, too_long
from netlab.api.names import subdomain_problems
from netlab.api.quantity import value as amount
from netlab.api.validation.common import IMMUTABLE, NOT_NEGATIVE, immutable
from netlab.api.validation.meta import labels

#: characters of a driver's name, and of a node's id
DRIVER_MAX, NODE_MAX = 63, 192
_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Ephemeral", "Persistent")


def _driver_name(name: str, field: str) -> list[FieldError]:
    if not name:
        return [required(field)]
    found = [too_long(field, DRIVER_MAX)] if len(name) > DRIVER_MAX else []
    return found + [invalid(field, name, p) for p in subdomain_problems(name.lower())]


def csi_driver(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = _driver_name(obj["metadata"].get("name", ""), "metadata.name")
    needed = ("attachRequired", "podInfoOnMount", "storageCapacity")
    found += [required(f"spec.{n}") for n in needed if spec.get(n) is None]
    policy = spec.get("fsGroupPolicy")
    if policy and policy not in _POLICIES:
        found.append(not_supported("spec.fsGroupPolicy", policy, list(_POLICIES)))
    for i, mode in enumerate(spec.get("volumeLifecycleModes") or ()):
        if mode not in _MODES:
            found.append(not_supported(f"spec.volumeLifecycleModes[{i}]", mode, list(_MODES)))
    audiences: set[str] = set()
    for i, request in enumerate(spec.get("tokenRequests") or ()):
        at, audience = f"spec.tokenRequests[{i}]", request.get("audience", "")
        if audience in audiences:
            found.append(duplicate(f"{at}.audience", audience))
        audiences.add(audience)
        seconds = request.get("expirationSeconds")
        if isinstance(seconds, int) and seconds < 600:
            found.append(invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    was = (old.get("spec") or {}) if old is not None else None
    return found + immutable(was, spec, "attachRequired", "volumeLifecycleModes", field="spec")


def csi_node(obj: Json, old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    names: set[str] = set()
    drivers = (obj.get("spec") or {}).get("drivers") or []
    for i, driver in enumerate(drivers):
        at, name = f"spec.drivers[{i}]", driver.get("name", "")
        found += _driver_name(name, f"{at}.name")
        if name in names:
            found.append(duplicate(f"{at}.name", name))
        names.add(name)
        node = driver.get("nodeID", "")
        if not node:
            found.append(required(f"{at}.nodeID"))
        elif len(node) > NODE_MAX:
            found.append(invalid(f"{at}.nodeID", node, f"must be {NODE_MAX} characters or less"))
        count = (driver.get("allocatable") or {}).get("count")
        if isinstance(count, int) and count < 0:
            found.append(invalid(f"{at}.allocatable.count", count, NOT_NEGATIVE))
        keys = driver.get("topologyKeys") or []
        found += [duplicate(f"{at}.topologyKeys", k) for j, k in enumerate(keys) if k in keys[:j]]
    if old is not None:
        now = {d.get("name"): d for d in drivers}
        for before in (old.get("spec") or {}).get("drivers") or ():
            after = now.get(before.get("name"))
            if after is not None and after != before:
                found.append(invalid("CSINodeDriver", after, IMMUTABLE))
    return found


def csi_storage_capacity(obj: Json, old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    name = obj.get("storageClassName", "")
    if not name:
        found.append(required("storageClassName"))
    else:
        found += [invalid("storageClassName", name, p) for p in subdomain_problems(name)]
    found += labels((obj.get("nodeTopology") or {}).get("matchLabels") or {}, "nodeTopology.matchLabels")
    for field in ("capacity", "maximumVolumeSize"):
        if obj.get(field) is not None and amount(obj[field]) < 0:
            found.append(invalid(field, obj[field], NOT_NEGATIVE))
    if old is not None:
        found += [invalid(n, obj.get(n), IMMUTABLE) for n in ("nodeTopology", "storageClassName")
                  if old.get(n) != obj.get(n)]  # fmt: skip
    return found


def volume_attachment(obj: Json, old: Json | None) -> list[FieldError]:
    spec = obj.get("spec") or {}
    if old is not None:
        return [invalid("spec", spec, IMMUTABLE)] if old.get("spec") != spec else []
    found = _driver_name(spec.get("attacher", ""), "spec.attacher")
    source = spec.get("source") or {}
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and volume is None:
        found.append(required("spec.source", one))
    elif inline is not None and volume is not None:
        found.append(FieldError("FieldValueForbidden", "spec.source", one))
    elif volume is not None:
        if not volume:
            found.append(required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
        else:
            found += [invalid("spec.source.persistentVolumeName", volume, p) for p in subdomain_problems(volume)]
    node = spec.get("nodeName", "")
    return found + [invalid("spec.nodeName", node, p) for p in subdomain_problems(node)]
