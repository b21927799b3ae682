"""ValidatingAdmissionPolicy: expressions that a write has to meet, where a binding puts their policy in force.

Source: apiserver pkg/admission/plugin/policy/validating.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from netlab.api import Json, cel, status
from netlab.api.catalogue import Resource
from netlab.api.selectors import from_object
from netlab.apiserver import converting, objects
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister
from netlab.apiserver.webhooks import review
from netlab.apiserver.webhooks.matching import Matcher, conditions_met

#: variables of a policy's expressions
VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
#: codes of the reasons that a validation may give
CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}
#: characters of a message that an expression makes
MESSAGE_MAX = 5 * 1024


class _Failed(Exception):
    """A policy that could not be decided."""


class ValidatingPolicies(Plugin):
    """policies, bindings: their caches."""

    def __init__(self, matcher: Matcher, policies: Lister, bindings: Lister) -> None:
        self.matcher, self.policies, self.bindings = matcher, policies, bindings

    async def validate(self, a: Attributes) -> None:
        if not len(self.bindings):
            return
        for binding in sorted(self.bindings.all(), key=lambda b: b["metadata"]["name"]):
            policy = self.policies.get(binding["spec"].get("policyName", ""))
            if policy is not None:
                await self._apply(a, policy, binding)

    async def _apply(self, a: Attributes, policy: Json, binding: Json) -> None:
        spec = policy["spec"]
        match = spec.get("matchConstraints") or {}
        matched = await self.matcher.matched(
            a, match, match.get("resourceRules") or (), match.get("excludeResourceRules") or ()
        )
        if matched is None or not await self._bound(a, binding):
            return
        try:
            values = await self._values(a, matched)
            if not conditions_met(spec.get("matchConditions") or (), values):
                return
            params = await self._params(a, spec, binding["spec"])
        except (_Failed, cel.CelError) as e:
            if spec.get("failurePolicy") == "Ignore":
                return
            self._act(a, policy, binding, f"failed to configure binding: {e}", "Invalid", failed=True)
            return
        for param in params:
            for text, reason in _violations(spec, {**values, "params": param}):
                self._act(a, policy, binding, text, reason)

    async def _bound(self, a: Attributes, binding: Json) -> bool:
        match = binding["spec"].get("matchResources")
        if match is None:
            return True
        everything = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "*/*"]}]
        rules = match.get("resourceRules") or everything
        return await self.matcher.matched(a, match, rules, match.get("excludeResourceRules") or ()) is not None

    async def _values(self, a: Attributes, matched: Resource) -> Json:
        """What expressions see, in the version that was matched."""
        r = a.kind.resource
        kind = a.kind if matched is r else self.matcher.registry.find(matched.group, matched.version, matched.plural)
        assert kind is not None

        async def seen(obj: Json | None) -> Json | None:
            if obj is None or a.operation == "CONNECT":
                return obj
            (shown,) = await converting.shown(kind, [orjson.loads(orjson.dumps(obj))])
            return kind.show(shown)

        return {
            "object": await seen(a.obj), "oldObject": await seen(a.old), "request": review.request_of(a, matched),
            "namespaceObject": await self.matcher.namespace_of(a),
        }  # fmt: skip

    async def _params(self, a: Attributes, spec: Json, binding: Json) -> list[Json | None]:
        """The parameters to decide with, one after the other. _Failed."""
        wanted, ref = spec.get("paramKind"), binding.get("paramRef")
        if not wanted or not ref:
            return [None]
        resource = next(
            (r for r in self.matcher.registry.resources()
             if (r.api_version, r.kind) == (wanted.get("apiVersion"), wanted.get("kind"))), None,
        )  # fmt: skip
        if resource is None:
            raise _Failed(f"failed to find resource referenced by paramKind: '{wanted.get('apiVersion')}, "
                          f"Kind={wanted.get('kind')}'")  # fmt: skip
        namespace = (ref.get("namespace") or a.namespace) if resource.namespaced else ""
        if resource.namespaced and not namespace:
            raise _Failed("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
        store = self.bindings.store
        if ref.get("name"):
            kv, _ = await store.get(objects.key(resource, namespace, ref["name"]))
            found = [kv] if kv is not None else []
        else:
            selector = from_object(ref.get("selector"))
            page = await store.list(objects.prefix(resource, namespace))
            found = [
                kv for kv in page.items
                if selector is not None and selector.matches(objects.load(kv)["metadata"].get("labels"))
            ]  # fmt: skip
        kind = self.matcher.registry.find(resource.group, resource.version, resource.plural)
        assert kind is not None
        if not found and ref.get("parameterNotFoundAction", "Deny") == "Deny":
            raise _Failed("no params found for policy binding with `Deny` parameterNotFoundAction")
        shown = await converting.shown(kind, [objects.load(kv) for kv in found])
        return [kind.show(o) for o in shown]

    @staticmethod
    def _act(a: Attributes, policy: Json, binding: Json, text: str, reason: str, *, failed: bool = False) -> None:
        """Do with a violation what the binding says. ApiError."""
        names = f"'{policy['metadata']['name']}' with binding '{binding['metadata']['name']}'"
        actions = binding["spec"].get("validationActions") or ["Deny"]
        if "Warn" in actions and not failed:
            a.call.warn(f"Validation failed for ValidatingAdmissionPolicy {names}: {text}")
        if "Deny" in actions or failed:
            r = a.kind.resource
            name = a.name or ((a.obj or {}).get("metadata") or {}).get("name", "")
            cause = {"message": f"ValidatingAdmissionPolicy {names} denied request: {text}"}
            refused = status.forbidden(r.plural, r.group, name, cause["message"], [cause])
            refused.code, refused.reason = CODES.get(reason, 422), reason
            raise refused


def _variables(spec: Json, values: Json) -> tuple[Json, dict[str, str]]:
    """A policy's variables as far as they could be computed, and why the others could not: that matters only to who
    uses them."""
    found: Json = {}
    failed: dict[str, str] = {}
    for variable in spec.get("variables") or ():
        name = variable["name"]
        try:
            found[name] = cel.compiled(variable["expression"], *VARIABLES)({**values, "variables": found})
        except cel.CelError as e:
            failed[name] = f'composited variable "{name}" fails to evaluate: {e}'
    return found, failed


def _violations(spec: Json, values: Json) -> Iterator[tuple[str, str]]:
    """What a write does not meet: the message and the reason of each."""
    variables, failed = _variables(spec, values)
    values = {**values, "variables": variables}
    for validation in spec.get("validations") or ():
        expression = validation["expression"].strip()
        try:
            if cel.compiled(validation["expression"], *VARIABLES)(values) is True:
                continue
        except cel.CelError as e:
            if spec.get("failurePolicy") == "Ignore":
                continue
            why = failed.get(str(e).removeprefix("no such key: "), str(e))
            yield f"expression '{expression}' resulted in error: {why}", "Invalid"
            continue
        reason = validation.get("reason") or "Invalid"
        yield _message(validation, values) or f"failed expression: {expression}", reason


def _message(validation: Json, values: Json) -> str:
    text = validation.get("messageExpression")
    if text:
        try:
            made = cel.compiled(text, *VARIABLES)(values)
        except cel.CelError:
            made = ""
        made = made.strip() if isinstance(made, str) else ""
        if made and "\n" not in made and len(made) <= MESSAGE_MAX:
            return made
    return str(validation.get("message") or "").strip()
