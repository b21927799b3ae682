"""What of a pod may change, and by which of its subresources.

Source: kubernetes pkg/apis/core/validation (ValidatePodUpdate, …EphemeralContainersUpdate, …Resize).
"""

from __future__ import annotations

import orjson

from netlab.api import Json
from netlab.api.fielderrors import FieldError, duplicate, forbidden, invalid, required
from netlab.api.quotas import qos_class
from netlab.api.validation.pods import container, pod_spec, resources

UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod(obj: Json, old: Json | None) -> list[FieldError]:
    """A Pod."""
    spec = obj.get("spec") or {}
    if old is None:
        return pod_spec(spec, "spec")
    return _update(obj, old)


def _update(obj: Json, old: Json) -> list[FieldError]:
    spec, was = obj.get("spec") or {}, old.get("spec") or {}
    if spec == was:
        return []
    found: list[FieldError] = []
    for name in ("containers", "initContainers"):
        now, before = spec.get(name) or [], was.get(name) or []
        if len(now) != len(before):
            found.append(forbidden(f"spec.{name}", "pod updates may not add or remove containers"))
            return found
        found += [
            required(f"spec.{name}[{i}].image") for i, c in enumerate(now) if not c.get("image")
        ]  # fmt: skip
    if not _only_added(was.get("tolerations") or [], spec.get("tolerations") or []):
        found.append(forbidden("spec.tolerations", "existing toleration can not be modified except its "
                               "tolerationSeconds"))  # fmt: skip
    a, b = _normal(spec), _normal(was)
    if a != b and not found:
        found.append(forbidden("spec", f"{UPDATE}\n{_difference(b, a)}"))
    return found


def binding(_obj: Json, _old: Json | None) -> list[FieldError]:
    """A pod that is given to a node: the subresource itself changes nothing else."""
    return []


def ephemeral(obj: Json, old: Json | None) -> list[FieldError]:
    """More ephemeral containers; those that are there stay as they are."""
    spec, was = obj.get("spec") or {}, (old or {}).get("spec") or {}
    now = spec.get("ephemeralContainers") or []
    volumes = {v.get("name", "") for v in spec.get("volumes") or ()}
    taken = {c.get("name") for k in ("containers", "initContainers") for c in spec.get(k) or ()}
    found: list[FieldError] = []
    for i, c in enumerate(now):
        at = f"spec.ephemeralContainers[{i}]"
        found += container(c, at, volumes, init=False)
        if c.get("name") in taken:
            found.append(duplicate(f"{at}.name", c.get("name")))
        taken.add(c.get("name"))
        for name in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
            if c.get(name):
                found.append(forbidden(f"{at}.{name}", "cannot be set for an Ephemeral Container"))
        if (c.get("resources") or {}).keys() & {"limits", "requests"}:
            found.append(forbidden(f"{at}.resources", "cannot be set for an Ephemeral Container"))
    names = {c.get("name"): c for c in now}
    for c in was.get("ephemeralContainers") or ():
        name = c.get("name")
        if name not in names:
            detail = f'existing ephemeral containers "{name}" may not be removed\n'
            found.append(forbidden("spec.ephemeralContainers", detail))
        elif names[name] != c:
            detail = f'existing ephemeral containers "{name}" may not be changed\n'
            found.append(forbidden("spec.ephemeralContainers", detail))
    return found


def resize(obj: Json, old: Json | None) -> list[FieldError]:
    """Other resources of containers: cpu and memory, and the pod's quality of service stays."""
    spec, was = obj.get("spec") or {}, (old or {}).get("spec") or {}
    found: list[FieldError] = []
    for key in ("initContainers", "containers"):
        for i, (c, before) in enumerate(zip(spec.get(key) or (), was.get(key) or (), strict=False)):
            at = f"spec.{key}[{i}].resources"
            found += resources(c.get("resources") or {}, at)
            for field in ("limits", "requests"):
                a, b = ((x.get("resources") or {}).get(field) or {} for x in (c, before))
                changed = {n for n in a.keys() | b.keys() if a.get(n) != b.get(n)}
                if changed - {"cpu", "memory"}:
                    found.append(forbidden(at, "only cpu and memory resources are mutable"))
                found += [forbidden(f"{at}.{field}", f"resource {field} cannot be removed")
                          for n in sorted(changed & {"cpu", "memory"}) if n not in a]  # fmt: skip
    if not found and qos_class(spec) != qos_class(was):
        found.append(invalid("spec", qos_class(spec), "Pod QOS Class may not change as a result of resizing"))
    return found


def _only_added(before: list[Json], now: list[Json]) -> bool:
    def key(t: Json) -> bytes:
        return orjson.dumps({k: v for k, v in t.items() if k != "tolerationSeconds"}, option=orjson.OPT_SORT_KEYS)

    return {key(t) for t in before} <= {key(t) for t in now}


def _normal(spec: Json) -> Json:
    """A spec without what may change."""
    out: Json = orjson.loads(orjson.dumps(spec))
    for name in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        out.pop(name, None)
    for name in ("containers", "initContainers"):
        for c in out.get(name) or ():
            c.pop("image", None)
    return out


def _difference(before: Json, now: Json) -> str:
    keys = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    lines = []
    for k in keys:
        lines += [f"- \t{k}: {orjson.dumps(before.get(k)).decode()}", f"+ \t{k}: {orjson.dumps(now.get(k)).decode()}"]
    return "\n".join(lines)
