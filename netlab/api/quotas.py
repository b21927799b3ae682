"""What an object takes of a ResourceQuota: admission counts what comes, the controller counts all that is there.

Source: kubernetes pkg/quota/v1/evaluator/core.
"""

from __future__ import annotations

from decimal import Decimal

from netlab.api import Json
from netlab.api.qos import qos_class
from netlab.api.quantity import format_
from netlab.api.quantity import value as amount

#: kinds of the core group that have a name of their own, beside count/<plural>
COUNTED = {
    "Service": "services", "Secret": "secrets", "ConfigMap": "configmaps", "ResourceQuota": "resourcequotas",
    "ReplicationController": "replicationcontrollers", "PersistentVolumeClaim": "persistentvolumeclaims",
}  # fmt: skip
#: what containers request and are limited to
COMPUTE = ("cpu", "memory", "ephemeral-storage")


def usage(group: str, kind: str, plural: str, obj: Json) -> dict[str, Decimal]:
    """What one object takes of a quota."""
    one = Decimal(1)
    found: dict[str, Decimal] = {f"count/{plural}.{group}" if group else f"count/{plural}": one}
    if group == "" and kind in COUNTED:
        found[COUNTED[kind]] = one
    spec = obj.get("spec") or {}
    if (group, kind) == ("", "Service"):
        ports = Decimal(len(spec.get("ports") or ()))
        if spec.get("type") == "LoadBalancer":
            found["services.loadbalancers"] = one
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            found["services.nodeports"] = ports
    elif (group, kind) == ("", "PersistentVolumeClaim"):
        found["requests.storage"] = amount(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
    elif (group, kind) == ("", "Pod"):
        if (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return found
        found["pods"] = one
        for field in ("requests", "limits"):
            for container in spec.get("containers") or ():
                for name, text in ((container.get("resources") or {}).get(field) or {}).items():
                    key = f"{field}.{name}"
                    found[key] = found.get(key, Decimal(0)) + amount(text)
                    if field == "requests" and name in COMPUTE:
                        found[name] = found.get(name, Decimal(0)) + amount(text)
    return found


def in_scope(quota: Json, kind: str, obj: Json) -> bool:
    """Whether a quota's scopes take an object in."""
    spec = quota.get("spec") or {}
    scopes = list(spec.get("scopes") or ())
    terms = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if (scopes or terms) and kind != "Pod":
        return False
    pod = obj.get("spec") or {}
    for scope in scopes:
        if not _scope(scope, pod):
            return False
    for term in terms:
        if term.get("scopeName") == "PriorityClass":
            name = pod.get("priorityClassName")
            values = term.get("values") or ()
            match term.get("operator"):
                case "In":
                    fits = name in values
                case "NotIn":
                    fits = name not in values
                case "Exists":
                    fits = bool(name)
                case _:
                    fits = not name
            if not fits:
                return False
        elif not _scope(term.get("scopeName", ""), pod):
            return False
    return True


def _scope(scope: str, pod: Json) -> bool:
    best_effort = qos_class(pod) == "BestEffort"
    terminating = pod.get("activeDeadlineSeconds") is not None
    return {
        "BestEffort": best_effort, "NotBestEffort": not best_effort, "Terminating": terminating,
        "NotTerminating": not terminating,
    }.get(scope, False)  # fmt: skip


def text(name: str, number: Decimal) -> str:
    """An amount of a quota's resource as it is written."""
    return format_(number, "Ki" if "memory" in name or "storage" in name else "")
