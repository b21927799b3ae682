"""Validation of roles and bindings. Source: kubernetes pkg/apis/rbac/validation."""

from __future__ import annotations

from netlab.api import Json
from netlab.api.fielderrors import FieldError, invalid, not_supported, required
from netlab.api.names import path_segment_problems, subdomain_problems

GROUP = "rbac.authorization.k8s.io"


def role(obj: Json, _old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    for i, rule in enumerate(obj.get("rules") or ()):
        at = f"rules[{i}]"
        if not rule.get("verbs"):
            found.append(required(f"{at}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if obj["kind"] == "Role":
                found.append(invalid(f"{at}.nonResourceURLs", rule["nonResourceURLs"], "namespaced rules cannot apply "
                                     "to non-resource URLs"))  # fmt: skip
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                found.append(invalid(f"{at}.nonResourceURLs", rule["nonResourceURLs"], "rules cannot apply to both "
                                     "regular resources and non-resource URLs"))  # fmt: skip
            continue
        if not rule.get("apiGroups"):
            found.append(required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            found.append(required(f"{at}.resources", "resource rules must supply at least one resource"))
    return found


def binding(obj: Json, old: Json | None) -> list[FieldError]:
    found: list[FieldError] = []
    ref = obj.get("roleRef") or {}
    if ref.get("apiGroup") != GROUP:
        found.append(not_supported("roleRef.apiGroup", ref.get("apiGroup"), [GROUP]))
    kinds = ["ClusterRole"] if obj["kind"] == "ClusterRoleBinding" else ["ClusterRole", "Role"]
    if ref.get("kind") not in kinds:
        found.append(not_supported("roleRef.kind", ref.get("kind", ""), kinds))
    if not ref.get("name"):
        found.append(required("roleRef.name"))
    else:
        found += [invalid("roleRef.name", ref["name"], p) for p in path_segment_problems(ref["name"])]
    for i, subject in enumerate(obj.get("subjects") or ()):
        found += _subject(subject, f"subjects[{i}]", namespaced=obj["kind"] == "RoleBinding")
    if old is not None and old.get("roleRef") != ref:
        found.append(invalid("roleRef", ref, "cannot change roleRef"))
    return found


def _subject(subject: Json, at: str, *, namespaced: bool) -> list[FieldError]:
    found: list[FieldError] = []
    name = subject.get("name", "")
    if not name:
        found.append(required(f"{at}.name"))
    match subject.get("kind"):
        case "ServiceAccount":
            if name:
                found += [invalid(f"{at}.name", name, p) for p in subdomain_problems(name)]
            if subject.get("apiGroup"):
                found.append(not_supported(f"{at}.apiGroup", subject["apiGroup"], [""]))
            if not namespaced and not subject.get("namespace"):
                found.append(required(f"{at}.namespace"))
        case "User" | "Group":
            if subject.get("apiGroup") != GROUP:
                found.append(not_supported(f"{at}.apiGroup", subject.get("apiGroup"), [GROUP]))
        case other:
            found.append(not_supported(f"{at}.kind", other or "", ["Group", "ServiceAccount", "User"]))
    return found
