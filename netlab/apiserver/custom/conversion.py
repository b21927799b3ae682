"""Conversion of custom resources by their definition's webhook.

Source: apiextensions-apiserver pkg/apiserver/conversion/webhook_converter.go.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from netlab.api import Json, status
from netlab.apiserver.webhooks.caller import Caller, CallError

#: seconds that a webhook may take
SECONDS = 30
GROUP = "apiextensions.k8s.io"
VERSIONS = ("v1", "v1beta1")


@dataclass(frozen=True, slots=True)
class WebhookConversion:
    """webhook: spec.conversion.webhook of a definition; kind: of the objects."""

    caller: Caller
    webhook: Json
    kind: str

    async def convert(self, objs: list[Json], wanted: str) -> list[Json]:
        """The objects in another version; those that are in it are as they were. ApiError 500."""
        others = [o for o in objs if o["apiVersion"] != wanted]
        if not others:
            return objs
        try:
            fresh = iter(await self._ask(others, wanted))
        except (CallError, _WrongAnswer) as e:
            text = f"conversion webhook for {others[0]['apiVersion']}, Kind={self.kind} failed: {e}"
            raise status.internal(text) from e
        return [o if o["apiVersion"] == wanted else next(fresh) for o in objs]

    async def _ask(self, objs: list[Json], wanted: str) -> list[Json]:
        known = [v for v in self.webhook.get("conversionReviewVersions") or () if v in VERSIONS]
        if not known:
            raise _WrongAnswer("does not support any version of ConversionReview that is known here")
        uid = str(uuid.uuid4())
        review = {
            "kind": "ConversionReview", "apiVersion": f"{GROUP}/{known[0]}",
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objs},
        }  # fmt: skip
        answer = await self.caller.post(self.webhook["clientConfig"], review, SECONDS)
        head = (answer.get("apiVersion"), answer.get("kind"))
        if head != (review["apiVersion"], "ConversionReview"):
            raise _WrongAnswer(f"expected webhook response of {review['apiVersion']}, Kind=ConversionReview, "
                               f"got {head[0]}, Kind={head[1]}")  # fmt: skip
        response = answer.get("response") or {}
        if response.get("uid") != uid:
            raise _WrongAnswer(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
        result = response.get("result") or {}
        if result.get("status") != "Success":
            raise _WrongAnswer(result.get("message") or f"response.result.status was '{result.get('status', '')}', "
                               "not 'Success'")  # fmt: skip
        found = response.get("convertedObjects") or []
        if len(found) != len(objs):
            raise _WrongAnswer(f"returned {len(found)} objects, expected {len(objs)}")
        return [self._checked(old, new, wanted) for old, new in zip(objs, found, strict=True)]

    def _checked(self, old: Json, new: Json, wanted: str) -> Json:
        """A converted object, with the metadata that it had: labels and annotations are all that may change."""
        name = (old.get("metadata") or {}).get("name", "")
        if new.get("apiVersion") != wanted:
            raise _WrongAnswer("returned invalid converted object at index 0: invalid groupVersion (expected "
                               f"{wanted}, received {new.get('apiVersion')})")  # fmt: skip
        if new.get("kind") != old.get("kind"):
            raise _WrongAnswer("returned invalid converted object at index 0: invalid kind (expected "
                               f"{old.get('kind')}, received {new.get('kind')})")  # fmt: skip
        meta = new.get("metadata")
        if not isinstance(meta, dict):
            raise _WrongAnswer(f"returned invalid metadata in object {name}")
        was = old["metadata"]
        for key in ("name", "namespace", "uid"):
            if meta.get(key) != was.get(key):
                raise _WrongAnswer(f"returned invalid metadata in object at index 0: must have the same {key}: "
                                   f"{meta.get(key)} != {was.get(key)}")  # fmt: skip
        kept = {k: v for k, v in was.items() if k not in ("labels", "annotations")}
        kept |= {k: meta[k] for k in ("labels", "annotations") if meta.get(k)}
        return {**new, "metadata": kept}


class _WrongAnswer(Exception):
    """An answer that converts nothing."""
