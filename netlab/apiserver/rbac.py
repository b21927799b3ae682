"""RBAC: who may do what, decided from roles and bindings held in memory.

Decisions are remembered until any role or binding changes. Source: kubernetes plugin/pkg/auth/authorizer/rbac.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from netlab.api import Json, status
from netlab.api.selectors import from_object
from netlab.apiserver.call import User
from netlab.apiserver.lister import Lister
from netlab.store.protocol import Store

SUPERUSERS = "system:masters"
K = TypeVar("K")
V = TypeVar("V")
#: decisions that are remembered, and users' rules
REMEMBERED = 20_000


class Ask(NamedTuple):
    """What is asked: a resource (with its subresource as `pods/log`) or, where resource is "", a path."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """allowed, and why; errors: of roles that could not be found."""

    allowed: bool
    reason: str = ""


def rule_allows(rule: Json, ask: Ask) -> bool:
    """Whether one PolicyRule allows it."""
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and ask.verb not in verbs:
        return False
    if ask.path:
        return any(_path_matches(p, ask.path) for p in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if "*" not in groups and ask.group not in groups:
        return False
    resources = rule.get("resources") or ()
    if "*" not in resources and ask.resource not in resources:
        _, slash, sub = ask.resource.partition("/")
        if not slash or f"*/{sub}" not in resources:
            return False
    names = rule.get("resourceNames") or ()
    return not names or ask.name in names


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def subject_is(subject: Json, user: User, namespace: str) -> bool:
    """Whether a binding's subject is this user. namespace: of the binding, for ServiceAccounts without one."""
    match subject.get("kind"):
        case "User":
            return bool(subject.get("name") == user.name)
        case "Group":
            return subject.get("name") in user.groups
        case "ServiceAccount":
            where = subject.get("namespace") or namespace
            return bool(where) and user.name == f"system:serviceaccount:{where}:{subject.get('name')}"
        case _:
            return False


class _Rules(NamedTuple):
    """Those of a user in a namespace, each with the binding it holds by; named: whether one is for some names only."""

    held: tuple[tuple[Json, str], ...]
    named: bool

    def decide(self, ask: Ask) -> Decision:
        """Whether one of them allows it."""
        for rule, why in self.held:
            if rule_allows(rule, ask):
                return Decision(True, f"RBAC: allowed by {why}")
        return Decision(False)


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value


class Rbac:
    """The authorizer. Its listers follow the store."""

    def __init__(self, store: Store) -> None:
        self.roles = Lister(store, "/registry/roles/", on_change=self._changed)
        self.cluster_roles = Lister(store, "/registry/clusterroles/", on_change=self._changed)
        self.bindings = Lister(store, "/registry/rolebindings/", on_change=self._changed)
        self.cluster_bindings = Lister(store, "/registry/clusterrolebindings/", on_change=self._changed)
        self._known: dict[tuple[str, tuple[str, ...], Ask], Decision] = {}
        self._rules: dict[tuple[str, tuple[str, ...], str], _Rules] = {}

    def _changed(self, _new: Json | None, _old: Json | None) -> None:
        self._known.clear()
        self._rules.clear()

    def listers(self) -> tuple[Lister, ...]:
        """To be started and closed."""
        return self.roles, self.cluster_roles, self.bindings, self.cluster_bindings

    def decide(self, user: User, ask: Ask) -> Decision:
        """Whether the user may."""
        if SUPERUSERS in user.groups:
            return Decision(True)
        rules = self._rules_of(user, ask.namespace)
        if ask.name and not rules.named:
            # the same for all names: a node that reports ten thousand pods asks one question
            ask = ask._replace(name="")
        key = (user.name, user.groups, ask)
        found = self._known.get(key)
        if found is None:
            found = rules.decide(ask)
            _remember(self._known, key, found)
        return found

    def _rules_of(self, user: User, namespace: str) -> _Rules:
        key = (user.name, user.groups, namespace)
        found = self._rules.get(key)
        if found is None:
            held = tuple(self.rules(user, namespace))
            found = _Rules(held, any(rule.get("resourceNames") for rule, _ in held))
            _remember(self._rules, key, found)
        return found

    def rules(self, user: User, namespace: str) -> Iterator[tuple[Json, str]]:
        """Every rule that holds for a user in a namespace ("" for the cluster), and by which binding."""
        for binding in self.cluster_bindings.all():
            yield from self._bound(binding, user, "")
        if namespace:
            for binding in self.bindings.all(namespace):
                yield from self._bound(binding, user, namespace)

    def _bound(self, binding: Json, user: User, namespace: str) -> Iterator[tuple[Json, str]]:
        subject = next((s for s in binding.get("subjects") or () if subject_is(s, user, namespace)), None)
        if subject is None:
            return
        ref = binding.get("roleRef") or {}
        kind, name = ref.get("kind", ""), ref.get("name", "")
        own = "RoleBinding" if namespace else "ClusterRoleBinding"
        meta = binding["metadata"]
        title = f"{meta['name']}/{namespace}" if namespace else meta["name"]
        who = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            who = f"{who}/{subject.get('namespace') or namespace}"
        why = f'{own} "{title}" of {kind} "{name}" to {subject.get("kind")} "{who}"'
        for rule in self.rules_of(kind, name, namespace):
            yield rule, why

    def rules_of(self, kind: str, name: str, namespace: str) -> Iterable[Json]:
        """The rules of a role that a binding names."""
        role = self.roles.get(namespace, name) if kind == "Role" else self.cluster_roles.get(name)
        if role is not None and role.get("aggregationRule"):
            return self.aggregated(role)
        return (role or {}).get("rules") or ()

    def aggregated(self, role: Json) -> list[Json]:
        """The rules that a ClusterRole with an aggregationRule gathers from others, in the order of their names."""
        rules: list[Json] = []
        selectors = [from_object(s) for s in role["aggregationRule"].get("clusterRoleSelectors") or ()]
        for other in sorted(self.cluster_roles.all(), key=lambda o: o["metadata"]["name"]):
            if other["metadata"]["name"] == role["metadata"]["name"]:
                continue
            labels = other["metadata"].get("labels")
            if any(s is not None and s.matches(labels) for s in selectors):
                own = self.aggregated(other) if other.get("aggregationRule") else other.get("rules") or ()
                rules += [r for r in own if r not in rules]
        return rules


def denied(user: User, ask: Ask) -> status.ApiError:
    """403 as the original words it."""
    if ask.path:
        return status.forbidden("", "", "", f'User "{user.name}" cannot {ask.verb} path "{ask.path}"')
    where = f'in the namespace "{ask.namespace}"' if ask.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {ask.verb} resource "{ask.resource}" in API group "{ask.group}" {where}'
    return status.forbidden(ask.resource.partition("/")[0], ask.group, ask.name, why)
