"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: other programs change or refuse a write.

Mutating webhooks are asked one after another, by the names of their configurations; a webhook that wants to see what
later ones changed (reinvocationPolicy IfNeeded) is asked once more, after the built-in plugins have had their second
turn. Validating ones are asked all at once, and the first refusal in their order counts.

Source: apiserver pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import orjson

from netlab.api import Json, cel, patches, status
from netlab.api.catalogue import Resource
from netlab.api.shapes import DecodeError
from netlab.apiserver import converting, metadata
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.kinds import Kind
from netlab.apiserver.lister import Lister
from netlab.apiserver.webhooks import review as reviews
from netlab.apiserver.webhooks.caller import Caller, CallError
from netlab.apiserver.webhooks.matching import Matcher, conditions_met

log = logging.getLogger("apiserver")

#: seconds that a webhook may take if it does not say
SECONDS = 10


class Webhooks:
    """What both plugins share. configurations: their cache."""

    def __init__(self, matcher: Matcher, caller: Caller, configurations: Lister) -> None:
        self.matcher, self.caller, self.configurations = matcher, caller, configurations

    def hooks(self) -> Iterator[tuple[str, Json]]:
        """Every webhook with what it is told apart by, in the order in which they are asked."""
        for configuration in sorted(self.configurations.all(), key=lambda c: c["metadata"]["name"]):
            for hook in configuration.get("webhooks") or ():
                yield f"{configuration['metadata']['name']}/{hook['name']}", hook

    async def meant(self, a: Attributes, hook: Json) -> Resource | None:
        """The resource as whose version a webhook is to be asked, None if it is not. ApiError."""
        found = await self.matcher.matched(a, hook, hook.get("rules") or ())
        conditions = hook.get("matchConditions")
        if found is None or not conditions:
            return found
        request = await self._request(a, found)
        values = {"object": request["object"], "oldObject": request["oldObject"], "request": request}
        try:
            return found if conditions_met(conditions, values) else None
        except cel.CelError as e:
            if hook.get("failurePolicy") == "Ignore":
                return None
            raise status.internal(f'failed calling webhook "{hook["name"]}": match conditions: {e}') from e

    async def ask(self, a: Attributes, hook: Json, matched: Resource, *, mutating: bool) -> reviews.Verdict | None:
        """A webhook's verdict; None if there is none, and its failure does not matter. ApiError."""
        name = hook["name"]
        if a.dry and hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise status.bad_request(f'admission webhook "{name}" does not support dry run')
        request = await self._request(a, matched)
        try:
            asked = reviews.review_of(request, hook.get("admissionReviewVersions") or [])
            answer = await self.caller.post(hook["clientConfig"], asked, hook.get("timeoutSeconds") or SECONDS)
            verdict = reviews.verdict_of(asked, answer, mutating=mutating)
        except CallError as e:
            why = f'failed calling webhook "{name}": failed to call webhook: {e}'
            if hook.get("failurePolicy") != "Ignore":
                raise status.internal(why) from e
            log.warning("%s; its failure is ignored", why)
            return None
        for text in verdict.warnings:
            a.call.warn(text)
        if not verdict.allowed:
            raise reviews.refusal(name, verdict.result)
        return verdict

    async def _request(self, a: Attributes, matched: Resource) -> Json:
        request = reviews.request_of(a, matched)
        kind = self.kind_of(a, matched)
        request["object"] = await _as(a, kind, a.obj)
        request["oldObject"] = await _as(a, kind, a.old)
        request["options"] = reviews.options_of(a)
        return request

    def kind_of(self, a: Attributes, matched: Resource) -> Kind:
        """The kind of a matched resource."""
        r = a.kind.resource
        if matched is r:
            return a.kind
        return self.matcher.registry.find(matched.group, matched.version, matched.plural) or a.kind


async def _as(a: Attributes, kind: Kind, obj: Json | None) -> Json | None:
    """A copy of an object in the version of a kind."""
    if obj is None:
        return None
    copy: Json = orjson.loads(orjson.dumps(obj))
    if a.operation == "CONNECT":
        return copy
    (shown,) = await converting.shown(kind, [copy])
    return kind.show(shown)


class MutatingWebhooks(Plugin):
    """hooks: of all MutatingWebhookConfigurations."""

    def __init__(self, hooks: Webhooks) -> None:
        self.hooks = hooks

    async def mutate(self, a: Attributes) -> None:
        if not len(self.hooks.configurations):
            return
        # of the first turn: who has to be asked again, because a later one changed something
        again: set[str] = set()
        asked: list[tuple[str, Json]] = []
        for key, hook in self.hooks.hooks():
            if a.turn and key not in a.again:
                continue
            matched = await self.hooks.meant(a, hook)
            if matched is None:
                continue
            verdict = await self.hooks.ask(a, hook, matched, mutating=True)
            patch = verdict.patch if verdict is not None and a.obj is not None else None
            if patch and await self._change(a, matched, hook, patch):
                again.update(k for k, h in asked if h.get("reinvocationPolicy") == "IfNeeded")
                a.changed = True
            asked.append((key, hook))
        a.again = frozenset(again)

    async def _change(self, a: Attributes, matched: Resource, hook: Json, patch: list[object]) -> bool:
        """Apply a patch to the object; whether it differs now. ApiError."""
        kind = self.hooks.kind_of(a, matched)
        before = await _as(a, kind, a.obj)
        assert before is not None
        text = orjson.dumps(before)
        try:
            after = patches.json_patch(before, patch)
            if orjson.dumps(after) == text:
                return False
            if not isinstance(after, dict) or not isinstance(after.get("metadata"), dict):
                raise patches.PatchError("the patch makes no object of it")
            found = kind.decode(after, [])
        except (patches.PatchError, patches.PatchConflict, DecodeError) as e:
            raise status.internal(f'admission webhook "{hook["name"]}" attempted a wrong change: {e}') from e
        if kind is not a.kind:
            (found,) = await converting.shown(a.kind, [found])
        a.kind.default(found)
        meta = found["metadata"]
        if a.namespace and a.kind.resource.namespaced:
            meta["namespace"] = a.namespace
        a.obj = metadata.ordered(found)
        return True


class ValidatingWebhooks(Plugin):
    """hooks: of all ValidatingWebhookConfigurations."""

    def __init__(self, hooks: Webhooks) -> None:
        self.hooks = hooks

    async def validate(self, a: Attributes) -> None:
        if not len(self.hooks.configurations):
            return
        meant = []
        for _, hook in self.hooks.hooks():
            matched = await self.hooks.meant(a, hook)
            if matched is not None:
                meant.append((hook, matched))
        asked = [self.hooks.ask(a, hook, matched, mutating=False) for hook, matched in meant]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
