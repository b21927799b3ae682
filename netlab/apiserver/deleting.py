"""DELETE of one object and of a collection: preconditions, finalizers, propagation, grace.

Source: apiserver pkg/registry/generic/registry/store.go and pkg/registry/rest/delete.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from netlab.api import Json, status, times
from netlab.api.fielderrors import FieldError, invalid
from netlab.apiserver import bodies, converting, objects, reading, tables
from netlab.apiserver.admission import Attributes
from netlab.apiserver.call import Call, answer
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import Form, negotiate
from netlab.apiserver.reading import present
from netlab.apiserver.requestinfo import truthy
from netlab.apiserver.writing import RETRIES, check_dry_run
from netlab.store.protocol import Conflict, KeyValue

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
#: kinds of the core group whose deletion is answered with the object
_SHOWN = (
    "Pod", "Namespace", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim", "PodTemplate",
    "ResourceQuota",
)  # fmt: skip
_POLICIES = ("Foreground", "Background", "Orphan")


@dataclass(slots=True)
class Options:
    """DeleteOptions. grace: seconds, None if unset; uid, revision: preconditions, "" for none."""

    grace: int | None = None
    policy: str = ""
    orphan: bool | None = None
    uid: str = ""
    revision: str = ""
    dry: bool = False
    problems: list[FieldError] = field(default_factory=list)


def options_from(value: Mapping[str, Any], dry: list[str]) -> Options:
    found = Options()
    grace = value.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        raise status.bad_request(
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
        )
    found.grace = grace
    policy = value.get("propagationPolicy")
    found.policy = policy if isinstance(policy, str) else ""
    orphan = value.get("orphanDependents")
    found.orphan = orphan if isinstance(orphan, bool) else None
    conditions = value.get("preconditions") or {}
    if isinstance(conditions, dict):
        found.uid, found.revision = conditions.get("uid") or "", conditions.get("resourceVersion") or ""
    found.dry = check_dry_run(dry, "DeleteOptions")
    if found.policy and found.orphan is not None:
        found.problems.append(
            invalid("propagationPolicy", found.policy, "orphanDependents and deletionPropagation cannot be both set")
        )
    if found.policy and found.policy not in _POLICIES:
        found.problems.append(
            FieldError("FieldValueNotSupported", "propagationPolicy",
                       'supported values: "Foreground", "Background", "Orphan", "nil"', found.policy)
        )  # fmt: skip
    return found


async def options_of(call: Call) -> Options:
    """DeleteOptions out of the body, or out of the query if there is no body. ApiError."""
    body = await bodies.read(call.request)
    call.body = body
    if body.strip():
        value = bodies.parse(body, bodies.media_type(call.request.headers))
        if not isinstance(value, dict):
            raise status.bad_request("DeleteOptions are an object")
        kind = value.get("kind", "DeleteOptions")
        if kind != "DeleteOptions":
            raise status.bad_request(f"decoded object cannot be converted to DeleteOptions: {kind}")
        dry = value.get("dryRun") or []
        found = options_from(value, [str(d) for d in dry] if isinstance(dry, list) else [str(dry)])
    else:
        value = {k: call.query[k] for k in ("propagationPolicy",) if k in call.query}
        text = call.query.get("gracePeriodSeconds", "")
        if text.lstrip("-").isdigit():
            value["gracePeriodSeconds"] = int(text)
        if "orphanDependents" in call.query:
            value["orphanDependents"] = truthy(call.query["orphanDependents"])
        dry = call.query.getall("dryRun", []) if hasattr(call.query, "getall") else []
        found = options_from(value, [d for d in dry if d])
    if found.problems:
        raise status.invalid("DeleteOptions", "meta.k8s.io", "", found.problems)
    return found


def _check(kind: Kind, name: str, meta: Json, options: Options) -> None:
    r = kind.resource
    if options.uid and options.uid != meta.get("uid"):
        why = f"the UID in the precondition ({options.uid}) does not match the UID in record ({meta.get('uid')}). "
        raise status.conflict(r.plural, r.group, name, why + "The object might have been deleted and then recreated")
    if options.revision and options.revision != meta.get("resourceVersion"):
        why = f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in "
        why += f"record ({meta.get('resourceVersion')}). The object might have been modified"
        raise status.conflict(r.plural, r.group, name, why)


def _finalizers(kind: Kind, meta: Json, options: Options) -> list[str]:
    """The finalizers of an object whose deletion begins: the policy's among them."""
    kept = [f for f in meta.get("finalizers") or () if f not in (FOREGROUND, ORPHAN)]
    there = [f for f in meta.get("finalizers") or () if f in (FOREGROUND, ORPHAN)]
    policy = options.policy
    if options.orphan is not None:
        policy = "Orphan" if options.orphan else "Background"
    if not policy:
        return kept + there
    # a policy named now takes the place of one that was named before
    if policy == "Foreground":
        return [*kept, FOREGROUND]
    return [*kept, ORPHAN] if policy == "Orphan" else kept


def _grace(kind: Kind, obj: Json, options: Options) -> int:
    """Seconds that the object is given: only pods that run somewhere have any."""
    if not kind.strategy.grace:
        return 0
    spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
    seconds = options.grace
    if seconds is None:
        seconds = spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("nodeName") or phase in ("Failed", "Succeeded"):
        seconds = 0
    return 1 if seconds < 0 else int(seconds)


def _begun(ctx: Context, kind: Kind, obj: Json, options: Options) -> bool:
    """Mark the object as going; whether it is to go at once."""
    meta = obj["metadata"]
    finalizers = _finalizers(kind, meta, options)
    grace = _grace(kind, obj, options)
    was = meta.get("deletionGracePeriodSeconds", 0) or 0
    going = "deletionTimestamp" in meta and meta["deletionTimestamp"]
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    namespace = obj["kind"] == "Namespace" and kind.resource.storage[0] == ""
    held = bool(finalizers) or (namespace and bool((obj.get("spec") or {}).get("finalizers")))
    if grace == 0 and not held:
        return True
    if not going:
        meta["deletionTimestamp"] = times.seconds(ctx.now() + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if kind.strategy.generation or kind.resource.custom:
            meta["generation"] = meta.get("generation", 0) + 1
    elif grace < was:  # grace can be made shorter only
        stamp = times.parse(meta["deletionTimestamp"]).timestamp() - was + grace
        meta["deletionTimestamp"] = times.seconds(stamp)
        meta["deletionGracePeriodSeconds"] = grace
    if namespace:
        meta.pop("deletionGracePeriodSeconds", None)
        obj.setdefault("status", {})["phase"] = "Terminating"
    return False


async def delete(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """DELETE of one object."""
    form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
    options = await options_of(call)
    kv, value, gone = await remove(ctx, call, kind, call.info.namespace, call.info.name, options)
    r = kind.resource
    if gone and (r.group or r.kind not in _SHOWN):
        uid = objects.load(kv)["metadata"].get("uid", "")
        details = {"name": call.info.name, "group": r.group, "kind": r.plural, "uid": uid}
        return answer(call, status.success({k: v for k, v in details.items() if v}))
    return await present(ctx, call, kind, value, kv.revision, form)


async def remove(
    ctx: Context, call: Call, kind: Kind, namespace: str, name: str, options: Options
) -> tuple[KeyValue, bytes, bool]:
    """Delete one object, or begin to: the key, its value now, whether it is gone. ApiError."""
    r = kind.resource
    path = objects.key(r, namespace, name)
    for _ in range(RETRIES):
        kv, _now = await ctx.store.get(path)
        if kv is None:
            raise status.not_found(r.plural, r.group, name)
        old = objects.load(kv)
        attributes = Attributes("DELETE", kind, namespace, name, "", None, old, call.user, options.dry, call)
        await ctx.admission.mutate(attributes)
        await ctx.admission.validate(attributes)
        _check(kind, name, old["metadata"], options)
        obj = objects.load(kv)
        at_once = _begun(ctx, kind, obj, options)
        value = objects.encode(obj)
        if options.dry:
            return kv, value, at_once
        try:
            if at_once:
                was, rev = await ctx.store.delete(path, expected=kv.revision)
                await ctx.admission.done(attributes)
                return was._replace(revision=rev), value, True
            if value == kv.value:
                return kv, value, False
            rev = await ctx.store.update(path, value, expected=kv.revision)
            return kv._replace(value=value, revision=rev), value, False
        except Conflict:
            continue
    raise status.conflict(r.plural, r.group, name)


async def delete_collection(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """DELETE of all that a list with the same selectors would have."""
    form = negotiate(call.request.headers.get("Accept", ""), tables.LIST_OFFERS)
    options = await options_of(call)
    chosen = reading.selection(call, kind)
    listed = await reading.page(ctx, call, kind, chosen)
    items = []
    for kv in listed.items:
        meta = objects.load(kv)["metadata"]
        try:
            _, value, _ = await remove(ctx, call, kind, meta.get("namespace", ""), meta["name"], options)
        except status.ApiError as e:
            if e.code != 404:  # somebody else was quicker
                raise
            continue
        (gone,) = await converting.shown(kind, [objects.loads(value, kv.revision)])
        items.append(kind.show(gone))
    r = kind.resource
    metadata = {"resourceVersion": str(listed.revision)}
    body = {"kind": r.list_kind, "apiVersion": r.api_version, "metadata": metadata, "items": items}
    return answer(call, body, form=Form(yaml=form.yaml))
