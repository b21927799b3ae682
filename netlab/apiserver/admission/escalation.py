"""Nobody gives away more than he has: roles, and bindings to them, are refused with rules that their writer lacks.

Whoever may `escalate` roles, or `bind` the one in question, is free of it. Source: kubernetes
pkg/registry/rbac/escalation_check.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.api import Json, status
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.rbac import SUPERUSERS, Ask, Rbac, rule_allows

GROUP = "rbac.authorization.k8s.io"


def _single(rule: Json) -> Iterable[Ask]:
    """A rule as the questions that it answers with yes."""
    verbs = rule.get("verbs") or ()
    for path in rule.get("nonResourceURLs") or ():
        yield from (Ask(v, path=path) for v in verbs)
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for name in rule.get("resourceNames") or ("",):
                yield from (Ask(v, group, resource, "", name) for v in verbs)


def _covered(ask: Ask, rules: list[Json]) -> bool:
    """Whether rules allow what is asked; a `*` in it only by a `*` of theirs."""
    return any(rule_allows(r, ask) for r in rules)


class Escalation(Plugin):
    """rbac: what the writer has."""

    def __init__(self, rbac: Rbac) -> None:
        self.rbac = rbac

    async def validate(self, a: Attributes) -> None:
        if a.kind.resource.storage[0] != GROUP or a.obj is None or SUPERUSERS in a.user.groups or a.subresource:
            return
        r = a.kind.resource
        if r.kind in ("Role", "ClusterRole"):
            rules = a.obj.get("rules") or []
            if a.old is not None and (a.old.get("rules") or []) == rules:
                return
            if self.rbac.decide(a.user, Ask("escalate", GROUP, r.plural, a.namespace, a.name)).allowed:
                return
        else:
            if a.old is not None and a.old.get("subjects") == a.obj.get("subjects"):
                return
            ref = a.obj.get("roleRef") or {}
            plural = "roles" if ref.get("kind") == "Role" else "clusterroles"
            if self.rbac.decide(a.user, Ask("bind", GROUP, plural, a.namespace, ref.get("name", ""))).allowed:
                return
            rules = list(self.rbac.rules_of(ref.get("kind", ""), ref.get("name", ""), a.namespace))
        own = [rule for rule, _ in self.rbac.rules(a.user, a.namespace)]
        missing = [rule for rule in rules if not all(_covered(ask, own) for ask in _single(rule))]
        if missing:
            groups = " ".join(f'"{g}"' for g in a.user.groups)
            lines = "\n".join(_compact(rule) for rule in missing)
            why = (
                f'user "{a.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:'
            )
            raise status.forbidden(r.plural, r.group, a.obj["metadata"].get("name", ""), f"{why}\n{lines}")


def _compact(rule: Json) -> str:
    names = {
        "apiGroups": "APIGroups", "resources": "Resources", "resourceNames": "ResourceNames",
        "nonResourceURLs": "NonResourceURLs", "verbs": "Verbs",
    }  # fmt: skip
    parts = [
        f"{title}:[" + " ".join(f'"{v}"' for v in rule[key]) + "]" for key, title in names.items() if rule.get(key)
    ]
    return "{" + ", ".join(parts) + "}"
