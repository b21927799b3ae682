"""From a body to a stored object: media type, kind and version, decoding with field validation, defaults."""

from __future__ import annotations

from typing import Any

from netlab.api import Json, status
from netlab.api.catalogue import Resource
from netlab.api.shapes import DecodeError
from netlab.api.versions import OLD
from netlab.apiserver import bodies
from netlab.apiserver.call import Call
from netlab.apiserver.kinds import Kind

_WARNINGS = {(o.group, o.version, o.kind): o.warning for o in OLD}


def validation_mode(call: Call) -> str:
    """The query's fieldValidation: Ignore, Warn (the default) or Strict. ApiError 422."""
    mode = call.query.get("fieldValidation", "") or "Warn"
    if mode not in ("Ignore", "Warn", "Strict"):
        from netlab.api.fielderrors import not_supported

        wrong = not_supported("fieldValidation", mode, ["", "Ignore", "Strict", "Warn"])
        raise status.invalid(
            "CreateOptions" if call.request.method == "POST" else "UpdateOptions", "meta.k8s.io", "", [wrong]
        )
    return mode


async def body_of(call: Call) -> tuple[Any, list[str]]:
    """The value in a request's body, and the paths of its repeated keys. ApiError."""
    body = await bodies.read(call.request)
    call.body = body
    duplicates: list[str] = []
    strict = validation_mode(call) != "Ignore"
    return bodies.parse(body, bodies.media_type(call.request.headers), duplicates if strict else None), duplicates


def check_kind(obj: Any, resource: Resource, kind: str, api_version: str) -> Json:
    """The object, if it is of the kind that the URL asks for. A body without kind is taken for one. ApiError 400."""
    if not isinstance(obj, dict):
        go = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}.get(type(obj), "null")
        raise status.bad_request(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {go} into Go value of type struct "
            '{ APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
    given_version, given_kind = obj.get("apiVersion") or api_version, obj.get("kind") or kind
    if not isinstance(given_kind, str) or not isinstance(given_version, str):
        raise status.bad_request(
            "couldn't get version/kind; json parse error: json: cannot unmarshal object into Go struct field .kind of "
            "type string"
        )
    if given_kind != kind:
        text = f'no kind "{given_kind}" is registered for version "{given_version}" here'
        if given_version == api_version:
            text = f"the object provided is a {given_kind}"
        raise status.bad_request(f"the object provided is unrecognized (must be of type {kind}): {text}")
    if given_version != api_version:
        raise status.bad_request(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )
    return obj


def decode(call: Call, kind: Kind, obj: Json, duplicates: list[str], *, prefix: str = "") -> Json:
    """An object of the request's version as the stored one, with defaults. Strict errors refuse or warn.

    ApiError 400 in the words of the original.
    """
    r = kind.resource
    mode = validation_mode(call)
    unknown: list[str] = []
    metadata = obj.get("metadata")
    if metadata is None:
        obj["metadata"] = {}
    try:
        out = kind.decode(obj, unknown)
    except DecodeError as e:
        raise status.bad_request(f'{r.kind} in version "{r.version}" cannot be handled as a {r.kind}: {e}') from e
    except RecursionError as e:
        raise status.bad_request("json: exceeded max depth") from e
    strict = [f'duplicate field "{d}"' for d in duplicates] + [
        f'unknown field "{u}"' for u in unknown if u not in ("apiVersion", "kind")
    ]
    if strict and mode == "Strict":
        raise status.bad_request(
            f'{prefix}{r.kind} in version "{r.version}" cannot be handled as a {r.kind}: strict decoding error: '
            + ", ".join(strict)
        )
    if strict and mode == "Warn":
        for text in strict:
            call.warn(text)
    kind.default(out)
    warning = _WARNINGS.get((r.group, r.version, r.kind))
    if warning is not None:
        call.warn(warning)
    return out


async def object_of(call: Call, kind: Kind) -> Json:
    """The object in a request's body, as it would be stored. ApiError."""
    value, duplicates = await body_of(call)
    obj = check_kind(value, kind.resource, kind.resource.kind, kind.resource.api_version)
    return decode(call, kind, obj, duplicates)
