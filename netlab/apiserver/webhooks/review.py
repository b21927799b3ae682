"""AdmissionReview: what a webhook is told of a write, and what its answer says.

Source: apiserver pkg/admission/plugin/webhook/request/admissionreview.go.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from netlab.api import Json, status
from netlab.api.catalogue import Resource
from netlab.apiserver.admission import Attributes
from netlab.apiserver.webhooks.caller import CallError

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
#: the group, version and kind of a subresource's bodies in a review where they are not the resource's
_CONNECTED = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """allowed; patch: operations of a JSON patch; result: the Status of a refusal; warnings: for the client."""

    allowed: bool
    patch: list[Any] | None = None
    result: Json = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def request_of(a: Attributes, matched: Resource) -> Json:
    """AdmissionRequest without the objects. matched: the resource as whose version the webhook is asked."""

    def gvk(r: Resource) -> Json:
        if a.operation == "CONNECT":
            return {"group": "", "version": "v1", "kind": _CONNECTED.get(a.subresource, f"{r.kind}ProxyOptions")}
        return {"group": r.group, "version": r.version, "kind": r.kind}

    def gvr(r: Resource) -> Json:
        return {"group": r.group, "version": r.version, "resource": r.plural}

    own = a.kind.resource
    out: Json = {
        "uid": str(uuid.uuid4()), "kind": gvk(matched), "resource": gvr(matched), "requestKind": gvk(own),
        "requestResource": gvr(own), "name": a.name, "namespace": a.namespace, "operation": a.operation,
        "userInfo": a.user.as_json(), "dryRun": a.dry,
    }  # fmt: skip
    if a.subresource:
        out["subResource"] = out["requestSubResource"] = a.subresource
    if not a.namespace:
        del out["namespace"]
    return out


def options_of(a: Attributes) -> Json | None:
    """The options of a write."""
    kind = _OPTIONS.get(a.operation)
    if kind is None:
        return None
    query = a.call.query
    if a.call.request.method == "PATCH":
        kind = "PatchOptions"
    out: Json = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    for name in ("fieldManager", "fieldValidation"):
        if query.get(name) and kind != "DeleteOptions":
            out[name] = query[name]
    if a.dry:
        out["dryRun"] = ["All"]
    return out


def review_of(request: Json, versions: list[str]) -> Json:
    """An AdmissionReview in a version that a webhook knows. CallError."""
    known = next((v for v in versions if v in VERSIONS), None)
    if known is None:
        raise CallError(f"could not create admission objects: webhook does not accept known AdmissionReview versions "
                        f"({', '.join(VERSIONS)})")  # fmt: skip
    return {"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{known}", "request": request}


def verdict_of(review: Json, answer: Json, *, mutating: bool) -> Verdict:
    """What an answer says. CallError if it is none."""
    version = review["apiVersion"]
    head = (answer.get("apiVersion"), answer.get("kind"))
    # v1beta1 may leave it out
    if (version == f"{GROUP}/v1" or any(head)) and head != (version, "AdmissionReview"):
        got = f"{head[0] or ''}, Kind={head[1] or ''}"
        raise CallError(f"expected webhook response of {version}, Kind=AdmissionReview, got {got}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallError("webhook response was absent")
    uid = review["request"]["uid"]
    if version == f"{GROUP}/v1" and response.get("uid") != uid:
        raise CallError(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    patch = _patch(response) if response.get("patch") else None
    if patch is not None and not mutating:
        raise CallError("validating webhook may not return response.patch")
    result = response.get("status")
    texts = tuple(str(w) for w in response.get("warnings") or ())
    return Verdict(bool(response.get("allowed")), patch, result if isinstance(result, dict) else {}, texts)


def _patch(response: Json) -> list[Any]:
    if response.get("patchType") != "JSONPatch":
        raise CallError(f'invalid response.patchType "{response.get("patchType", "")}", expected "JSONPatch"')
    try:
        found = orjson.loads(base64.b64decode(response["patch"], validate=True))
    except (binascii.Error, TypeError, ValueError) as e:
        raise CallError(f"invalid response.patch: {e}") from e
    if not isinstance(found, list):
        raise CallError("invalid response.patch: it is no list of operations")
    return found


def refusal(name: str, result: Json) -> status.ApiError:
    """The error that a client gets for a refusal."""
    said = result.get("message") or result.get("reason")
    by = f'admission webhook "{name}" denied the request'
    code = result.get("code")
    details = result.get("details")
    return status.ApiError(
        code if isinstance(code, int) and code >= 400 else 400, str(result.get("reason") or ""),
        f"{by}: {said}" if said else f"{by} without explanation", details if isinstance(details, dict) else None,
    )  # fmt: skip
