"""Whether a webhook or a policy is meant: rules, selectors and match conditions.

Source: apiserver pkg/admission/plugin/webhook/predicates and pkg/admission/plugin/policy/matching.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson

from netlab.api import Json, cel, status
from netlab.api.catalogue import Resource
from netlab.api.selectors import from_object
from netlab.apiserver import objects
from netlab.apiserver.admission import Attributes
from netlab.apiserver.lister import Lister
from netlab.apiserver.registry import Registry

#: kinds that no webhook and no policy may meddle with: whoever writes a wrong one has to be able to take it back
_EXEMPT = ("admissionregistration.k8s.io",)
#: variables of a match condition
VARIABLES = ("object", "oldObject", "request")


class Matcher:
    """registry: for equivalent versions; namespaces: their cache."""

    def __init__(self, registry: Registry, namespaces: Lister) -> None:
        self.registry, self.namespaces = registry, namespaces

    async def matched(
        self, a: Attributes, hook: Json, rules: Iterable[Json], excluded: Iterable[Json] = ()
    ) -> Resource | None:
        """The resource as whose version a request is meant, None if it is not. hook: has the selectors."""
        if a.kind.resource.group in _EXEMPT:
            return None
        found = self._by_rules(a, hook.get("matchPolicy", "Equivalent"), rules)
        if found is None or self._by_rules(a, hook.get("matchPolicy", "Equivalent"), excluded) is not None:
            return None
        if not _selected(hook.get("objectSelector"), a):
            return None
        return found if await self._in_namespace(hook.get("namespaceSelector"), a) else None

    def _by_rules(self, a: Attributes, policy: str, rules: Iterable[Json]) -> Resource | None:
        r = a.kind.resource
        rules = tuple(rules)
        if any(_fits(rule, a, r) for rule in rules):
            return r
        if policy != "Equivalent":
            return None
        for other in self.registry.resources():
            same = (other.storage, other.kind, other.registry) == (r.storage, r.kind, r.registry)
            if same and other is not r and any(_fits(rule, a, other) for rule in rules):
                return other
        return None

    async def namespace_of(self, a: Attributes) -> Json | None:
        """The namespace that a request is in, or that it is about. ApiError 404."""
        if a.group_kind == ("", "Namespace"):
            found = a.obj if a.operation != "DELETE" else a.old
            return found if found is not None else self.namespaces.get(a.name)
        if not a.kind.resource.namespaced or not a.namespace:
            return None
        found = self.namespaces.get(a.namespace)
        if found is None:
            kv, _ = await self.namespaces.store.get(f"{self.namespaces.prefix}{a.namespace}")
            if kv is None:
                raise status.not_found("namespaces", "", a.namespace)
            found = objects.load(kv)
        return found

    async def _in_namespace(self, selector: Json | None, a: Attributes) -> bool:
        if not selector:
            return True
        namespace = await self.namespace_of(a)
        return namespace is None or _parsed(selector).matches(namespace["metadata"].get("labels"))


def _parsed(selector: Json) -> Any:
    return _cached(orjson.dumps(selector))


@lru_cache(1024)
def _cached(text: bytes) -> Any:
    return from_object(orjson.loads(text))


def _selected(selector: Json | None, a: Attributes) -> bool:
    """Whether the object as it is or as it was is selected."""
    if not selector:
        return True
    parsed = _parsed(selector)
    return any(
        parsed.matches(o["metadata"].get("labels"))
        for o in (a.obj, a.old) if o is not None and isinstance(o.get("metadata"), dict)
    )  # fmt: skip


def _fits(rule: Json, a: Attributes, r: Resource) -> bool:
    def among(wanted: Iterable[str], value: str) -> bool:
        return any(w in ("*", value) for w in wanted)

    if rule.get("resourceNames") and a.name not in rule["resourceNames"]:
        return False
    scope = rule.get("scope") or "*"
    if scope != "*" and (scope == "Namespaced") != r.namespaced:
        return False
    return (
        among(rule.get("operations") or (), a.operation)
        and among(rule.get("apiGroups") or (), r.group)
        and among(rule.get("apiVersions") or (), r.version)
        and any(_resource_fits(w, r.plural, a.subresource) for w in rule.get("resources") or ())
    )


def _resource_fits(wanted: str, plural: str, subresource: str) -> bool:
    resource, _, part = wanted.partition("/")
    return resource in ("*", plural) and part in (("*", subresource) if subresource else ("", "*"))


def conditions_met(conditions: Iterable[Json], values: Json) -> bool:
    """Whether all match conditions hold. One that is false wins over one that failed. CelError."""
    failed: cel.CelError | None = None
    for condition in conditions:
        try:
            if cel.compiled(condition["expression"], *VARIABLES)(values) is not True:
                return False
        except cel.CelError as e:
            failed = failed or e
    if failed is not None:
        raise failed
    return True
