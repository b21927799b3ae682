"""A pod's quality of service. Source: kubernetes pkg/apis/core/v1/helper/qos."""

from __future__ import annotations

from netlab.api import Json
from netlab.api.quantity import value as amount


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from a PodSpec."""
    requested, limited, guaranteed = False, False, True
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            want, most = amount(requests.get(name, "0")), amount(limits.get(name, "0"))
            requested, limited = requested or want > 0, limited or most > 0
            guaranteed = guaranteed and most > 0 and (want == most)
    if not requested and not limited:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
