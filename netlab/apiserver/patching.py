"""PATCH: JSON patch, merge patch, strategic merge patch and server-side apply."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from netlab.api import Json, ownership, patches, protobuf, status, strategic
from netlab.api.patches import PatchConflict, PatchError
from netlab.apiserver import bodies, metadata, objects, tables
from netlab.apiserver.call import Call
from netlab.apiserver.decoding import check_kind, decode, validation_mode
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import Form, negotiate
from netlab.apiserver.requestinfo import truthy
from netlab.apiserver.writing import Change, Found, create_object, manager_of, update, writer_of

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC_PATCH, APPLY_PATCH = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
_STATUS_PARTS, _IDENTITY = {"kind", "apiVersion", "metadata", "status"}, {"name", "namespace", "uid", "resourceVersion"}


def accepted(kind: Kind) -> list[str]:
    """The patch types of a kind: custom resources have no strategic merge."""
    types = [JSON_PATCH, MERGE_PATCH]
    if not kind.resource.custom:
        types.append(STRATEGIC_PATCH)
    return [*types, APPLY_PATCH]


async def patch(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """PATCH of the object or its status."""
    media = bodies.media_type(call.request.headers)
    form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
    types = accepted(kind)
    if media not in types or media == protobuf.MEDIA_TYPE:
        raise status.unsupported_media_type(types)
    body = await bodies.read(call.request)
    call.body = body
    if media == APPLY_PATCH:
        return await _apply(ctx, call, kind, body, form)
    if truthy(call.query.get("force")):
        from netlab.api.fielderrors import forbidden

        wrong = forbidden("force", "may not be specified for non-apply patch")
        raise status.invalid("PatchOptions", "meta.k8s.io", "", [wrong])
    duplicates: list[str] = []
    parsed = bodies.parse_json(body, duplicates if validation_mode(call) != "Ignore" else None)

    of_status = call.info.subresource == "status" and _of_status(kind, media, parsed)

    async def change(found: Found) -> Change:
        old = _status_part(found.obj) if of_status else found.own()
        return Change(patched(ctx, call, kind, old, media, parsed, duplicates))

    return await update(ctx, call, kind, change, form)


def _of_status(kind: Kind, media: str, parsed: Any) -> bool:
    """Whether a patch of the status concerns nothing else: then the rest is not taken apart, for it will be as it was.
    That is what nodes and controllers send all day."""
    if kind.resource.custom or not kind.raw or media not in (MERGE_PATCH, STRATEGIC_PATCH):
        return False
    if not isinstance(parsed, dict) or not parsed.keys() <= _STATUS_PARTS:
        return False
    meta = parsed.get("metadata")
    return meta is None or (isinstance(meta, dict) and meta.keys() <= _IDENTITY)


def _status_part(obj: Json) -> Json:
    """A copy of an object without what such a patch does not concern."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    part: Json = orjson.loads(orjson.dumps({k: obj[k] for k in ("kind", "apiVersion", "status") if k in obj} | {
        "metadata": meta,
    }))  # fmt: skip
    return part


def patched(ctx: Context, call: Call, kind: Kind, old: Json, media: str, parsed: Any, duplicates: list[str]) -> Json:
    """A stored object after a patch, decoded anew. ApiError 400 or 422."""
    shown = kind.show(old)
    try:
        if media == JSON_PATCH:
            result = patches.json_patch(shown, parsed)
        elif not isinstance(parsed, dict):
            raise PatchError("json: cannot unmarshal array into Go value of type map[string]interface {}")
        elif media == MERGE_PATCH:
            result = patches.merge(shown, parsed)
        else:
            result = strategic.apply(shown, parsed, kind.definition or "")
    except PatchConflict as e:
        # without the reason, as the original: clients go by the code
        text = "the server rejected our request due to an error in our request"
        raise status.ApiError(422, "Invalid", text, {}) from e
    except PatchError as e:
        raise status.bad_request(str(e)) from e
    r = kind.resource
    if not isinstance(result, dict):
        raise status.bad_request("the patch makes no object of it")
    if not isinstance(result.get("metadata"), dict):
        result["metadata"] = {}
    result.setdefault("kind", r.kind)
    result.setdefault("apiVersion", r.api_version)
    obj = check_kind(result, r, r.kind, r.api_version)
    obj["metadata"].setdefault("name", call.info.name)
    if obj["metadata"]["name"] != call.info.name:
        raise status.bad_request(
            f"the name of the object ({obj['metadata']['name']}) does not match the name on the URL ({call.info.name})"
        )
    return decode(call, kind, obj, duplicates)


async def _apply(ctx: Context, call: Call, kind: Kind, body: bytes, form: Form) -> web.StreamResponse:
    r, info = kind.resource, call.info
    manager = manager_of(call, needed=True)
    config = bodies.parse_yaml(body)
    _check_duplicates(call, body)
    if not isinstance(config, dict):
        raise status.bad_request("error decoding YAML: the configuration is no object")
    given = (config.get("apiVersion"), config.get("kind"))
    if given[0] != r.api_version and given[0]:
        raise status.bad_request(
            f"invalid object type: {given[0]}, Kind={given[1]}, expected {r.api_version}, Kind={r.kind}"
        )
    if not given[0] or not given[1]:
        raise status.bad_request(f"invalid object type: {given[0] or ''}, Kind={given[1] or ''}")
    config = check_kind(config, r, r.kind, r.api_version)
    meta = config.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise status.bad_request("metadata is no object")
    if meta.get("managedFields"):
        raise status.bad_request("metadata.managedFields must be nil")
    name = meta.get("name", info.name)
    if name != info.name:
        raise status.bad_request(f"the name of the object ({name}) does not match the name on the URL ({info.name})")
    said = _said(call, kind, config)
    force = truthy(call.query.get("force"))
    writer = writer_of(ctx, call, kind, manager)
    kv, _ = await ctx.store.get(objects.key(r, info.namespace, info.name))
    if kv is None:
        if info.subresource:
            raise status.not_found(r.plural, r.group, info.name)
        result = ownership.apply({}, said, kind.type, writer, force=force)
        obj = _whole(call, kind, result.obj)
        metadata.place(obj, r, info.namespace)
        obj["metadata"]["name"] = info.name
        obj["metadata"]["managedFields"] = result.managed
        if obj["metadata"].pop("uid", None):
            raise status.conflict(
                r.plural,
                r.group,
                info.name,
                f"uid mismatch: the provided object specified uid {meta['uid']}, and no existing object was found",
            )
        return await create_object(ctx, call, kind, obj, form, applied=True)

    async def change(found: Found) -> Change:
        result = ownership.apply(found.own(), said, kind.type, writer, force=force)
        if result.conflicts:
            raise status.apply_conflict(result.conflicts)
        obj = _whole(call, kind, result.obj)
        obj["metadata"]["managedFields"] = result.managed
        if "resourceVersion" in meta:
            obj["metadata"]["resourceVersion"] = meta["resourceVersion"]
        return Change(obj, managed=True)

    return await update(ctx, call, kind, change, form)


def _check_duplicates(call: Call, body: bytes) -> None:
    """Repeated keys of a configuration in JSON (in YAML they are refused always). ApiError 400."""
    mode = validation_mode(call)
    if mode == "Ignore" or body.lstrip()[:1] != b"{":
        return
    duplicates: list[str] = []
    bodies.parse_json(body, duplicates)
    if not duplicates:
        return
    lines = "\n".join(f'  line 1: key "{d.rpartition(".")[2]}" already set in map' for d in duplicates)
    text = f"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n{lines}"
    if mode == "Strict":
        raise status.bad_request(text)
    call.warn(text)


def _said(call: Call, kind: Kind, config: Json) -> Json:
    """A configuration in the stored version, without what decoding adds: what the client said and nothing else."""
    from netlab.api.sparse import sparse

    decoded = decode(call, kind, _copy(config), [])
    return sparse(decoded, config) if kind.raw else sparse(decoded, kind.decode(_copy(config), []))


def _copy(value: Json) -> Json:
    found: Json = orjson.loads(orjson.dumps(value))
    return found


def _whole(call: Call, kind: Kind, obj: Json) -> Json:
    """The merged object decoded again: structs that Go always writes, and defaults."""
    copy: Json = orjson.loads(orjson.dumps(obj))
    managed = copy.get("metadata", {}).pop("managedFields", None)
    out = kind.decode(copy, []) if kind.raw else copy
    kind.default(out)
    if managed is not None:
        out["metadata"]["managedFields"] = managed
    return out
