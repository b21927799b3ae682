"""Creates and updates: one way for POST, PUT and all patches, for the object and for its status.

    decode ─▶ metadata ─▶ admission (mutating) ─▶ managedFields ─▶ validation ─▶ admission (validating) ─▶ store

An update is a function of what is there; it runs again if somebody else wrote in between, unless the client named the
revision that it wants to replace. A write that changes nothing is not made.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from netlab.api import Json, names, ownership, status, times
from netlab.api.fielderrors import FieldError, invalid, required
from netlab.apiserver import converting, metadata, objects, tables
from netlab.apiserver.admission import Attributes
from netlab.apiserver.call import Call
from netlab.apiserver.decoding import object_of
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import Form, negotiate
from netlab.apiserver.reading import present
from netlab.store.protocol import Conflict, KeyExists, KeyValue

#: tries of an update that does not name a revision
RETRIES = 20
#: characters of a field manager's name
MANAGER_MAX = 128
#: what of a pod its subresources may change
PARTS = {"ephemeralcontainers": ("ephemeralContainers",), "resize": ("containers", "initContainers")}
#: seconds that events are kept
EVENT_TTL = 3600


def dry_run(call: Call) -> bool:
    """Whether nothing is to be written. ApiError 422 for anything but All."""
    values = call.query.getall("dryRun", []) if hasattr(call.query, "getall") else []
    return check_dry_run([v for v in values if v], "CreateOptions" if call.request.method == "POST" else "PatchOptions")


def check_dry_run(values: list[str], options: str) -> bool:
    """Whether `All` is asked for."""
    if any(v != "All" for v in values):
        wrong = FieldError("FieldValueNotSupported", "dryRun", 'supported values: "All"', values)
        raise status.invalid(options, "meta.k8s.io", "", [wrong])
    return bool(values)


def manager_of(call: Call, *, needed: bool = False) -> str:
    """The field manager: the query's, or the first part of the User-Agent. ApiError 422."""
    name = call.query.get("fieldManager", "")
    wrong: list[FieldError] = []
    if len(name) > MANAGER_MAX:
        wrong.append(FieldError("FieldValueTooLong", "fieldManager", f"may not be more than {MANAGER_MAX} bytes"))
    elif not name.isprintable():
        wrong.append(invalid("fieldManager", name, "should not contain non-printable character"))
    elif not name and needed:
        wrong.append(required("fieldManager", "is required for apply patch"))
    if wrong:
        raise status.invalid("PatchOptions", "meta.k8s.io", "", wrong)
    if name:
        return name
    agent = call.request.headers.get("User-Agent", "").partition("/")[0]
    return "".join(c for c in agent if c.isprintable())[:MANAGER_MAX] or "unknown"


def writer_of(ctx: Context, call: Call, kind: Kind, manager: str) -> ownership.Writer:
    """Who writes, for managedFields."""
    subresource = call.info.subresource
    ignored: tuple[str, ...] = ()
    if kind.strategy.status:
        ignored = ("spec",) if subresource == "status" else ("status",)
        if subresource == "status" and kind.resource.custom:
            ignored = ()
    return ownership.Writer(manager, kind.resource.api_version, subresource, times.seconds(ctx.now()), ignored)


def own(ctx: Context, call: Call, kind: Kind, old: Json | None, new: Json) -> None:
    """Write managedFields of a plain write."""
    writer = writer_of(ctx, call, kind, manager_of(call))
    meta = new["metadata"]
    given = meta.pop("managedFields", None)
    before = old if old is not None else kind.blank()
    if old is not None and given == []:
        # an empty list asks to forget who owned what
        before = copy.deepcopy(old)
        before["metadata"].pop("managedFields", None)
    managed = ownership.update(before, new, kind.type, writer, blank=old is None)
    if managed:
        meta["managedFields"] = managed


def check_size(value: bytes) -> None:
    """ApiError 413 for an object that is too large for the store."""
    if len(value) > objects_max():
        raise status.too_large("etcdserver: request is too large")


def objects_max() -> int:
    """Bytes of an object."""
    from netlab.apiserver.bodies import OBJECT_MAX

    return OBJECT_MAX


def check_valid(kind: Kind, obj: Json, old: Json | None, part: str = "") -> None:
    """ApiError 422 with everything that is wrong. part: the subresource that is written."""
    errors = validate_metadata(kind, obj) + kind.validate(obj, old, part)
    if errors:
        group, _ = kind.resource.storage
        group = kind.resource.group if group != kind.resource.group else group
        raise status.invalid(kind.resource.kind, group, obj["metadata"].get("name", ""), errors)


def validate_metadata(kind: Kind, obj: Json) -> list[FieldError]:
    """Names, labels, annotations, finalizers and owners."""
    from netlab.api.validation import meta

    r = kind.resource
    core = not r.custom and r.group != "apiextensions.k8s.io"
    return meta.object_meta(obj["metadata"], r.kind, namespaced=r.namespaced, core=core)


async def create(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """POST."""
    form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
    obj = await object_of(call, kind)
    return await create_object(ctx, call, kind, obj, form)


async def create_object(
    ctx: Context, call: Call, kind: Kind, obj: Json, form: Form, *, applied: bool = False
) -> web.StreamResponse:
    """Make an object that is decoded; the answer."""
    r, dry = kind.resource, dry_run(call)
    metadata.place(obj, r, call.info.namespace)
    meta = obj["metadata"]
    if meta.get("resourceVersion") not in (None, "", "0"):
        raise status.ApiError(500, "", "resourceVersion should not be set on objects to be created")
    meta.pop("resourceVersion", None)
    base = meta.get("generateName", "")
    made = not meta.get("name") and bool(base)
    if made:
        meta["name"] = metadata.generated(base)
    if kind.strategy.wipe:
        _wipe(kind, obj)
    metadata.for_create(obj, times.seconds(ctx.now()), generation=kind.strategy.generation or r.custom)
    kind.default(obj)
    attributes = Attributes(
        "CREATE", kind, call.info.namespace, meta.get("name", ""), "", obj, None, call.user, dry, call
    )
    obj = await ctx.admission.mutate(attributes)
    if not applied:
        own(ctx, call, kind, None, obj)
    for attempt in range(metadata.TRIES):
        check_valid(kind, obj, None)
        attributes.obj = obj
        await ctx.admission.validate(attributes)
        value = objects.encode(await converting.stored(kind, obj))
        check_size(value)
        path = objects.key(r, call.info.namespace, obj["metadata"]["name"])
        ttl = EVENT_TTL if r.kind == "Event" else 0
        try:
            if dry:
                there, _ = await ctx.store.get(path)
                if there is not None:
                    raise KeyExists(path)
                return await present(ctx, call, kind, value, 0, form, 201)
            rev = await ctx.store.create(path, value, ttl=ttl)
        except KeyExists as e:
            await ctx.admission.undo(attributes)
            if not made:
                raise status.already_exists(r.plural, r.group, obj["metadata"]["name"]) from e
            if attempt + 1 == metadata.TRIES:
                raise status.name_clash(r.plural, r.group, obj["metadata"]["name"]) from e
            obj["metadata"]["name"] = metadata.generated(base)
            continue
        except BaseException:
            await ctx.admission.undo(attributes)
            raise
        await ctx.admission.done(attributes)
        return await present(ctx, call, kind, value, rev, form, 201)
    raise AssertionError("the last try returns or raises")


def _wipe(kind: Kind, obj: Json) -> None:
    blank = kind.blank().get("status")
    if blank is None:
        obj.pop("status", None)
    else:
        obj["status"] = blank


@dataclass(slots=True)
class Change:
    """What an update makes of an object. obj: the new one; managed: whether managedFields are done already."""

    obj: Json
    managed: bool = False


class Found:
    """What an update finds. obj: in the version of the request, not to be changed; own(): a copy that may be."""

    __slots__ = ("_kv", "obj")

    def __init__(self, kv: KeyValue, obj: Json, kind: Kind) -> None:
        self.obj = obj
        self._kv = kv if kind.conversion is None else None

    def own(self) -> Json:
        return objects.load(self._kv) if self._kv is not None else copy.deepcopy(self.obj)


Updater = Callable[[Found], Awaitable[Change]]


async def put(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """PUT of the object or its status."""
    form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
    new = await object_of(call, kind)
    metadata.place(new, kind.resource, call.info.namespace)
    name = new["metadata"].get("name", "")
    if name != call.info.name:
        if name:
            raise status.bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({call.info.name})"
            )
        raise status.bad_request("name must be provided")
    value = orjson.dumps(new)

    async def replace(_: Found) -> Change:
        return Change(orjson.loads(value))

    rev = new["metadata"].get("resourceVersion", "")
    if not rev and not kind.strategy.unconditional:
        kv, _ = await ctx.store.get(objects.key(kind.resource, call.info.namespace, name))
        if kv is not None:
            wrong = invalid("metadata.resourceVersion", "", "must be specified for an update")
            wrong = FieldError(wrong.reason, wrong.field, wrong.detail, 0)
            raise status.invalid(kind.resource.kind, kind.resource.group, name, [_hex_zero(wrong)])
    if kind.strategy.create_on_update and not call.info.subresource and not rev:
        kv, _ = await ctx.store.get(objects.key(kind.resource, call.info.namespace, name))
        if kv is None:
            return await create_object(ctx, call, kind, new, form)
    return await update(ctx, call, kind, replace, form)


@dataclass(frozen=True, slots=True)
class _Hex(FieldError):
    """The original prints this zero in hexadecimal."""

    @property
    def body(self) -> str:
        return f"Invalid value: 0x0: {self.detail}"


def _hex_zero(e: FieldError) -> FieldError:
    return _Hex(e.reason, e.field, e.detail, e.value)


async def update(
    ctx: Context, call: Call, kind: Kind, updater: Updater, form: Form, *, code: int = 200
) -> web.StreamResponse:
    """Change an object by a function of what is there; the answer. ApiError."""
    r, info, dry = kind.resource, call.info, dry_run(call)
    path = objects.key(r, info.namespace, info.name)
    for _ in range(RETRIES):
        kv, _now = await ctx.store.get(path)
        if kv is None:
            raise status.not_found(r.plural, r.group, info.name)
        (old,) = await converting.shown(kind, [objects.load(kv)])
        change = await updater(Found(kv, old, kind))
        new = metadata.ordered(change.obj)
        asked = new["metadata"].get("resourceVersion", "")
        if asked and asked not in ("0", str(kv.revision)):
            raise status.conflict(r.plural, r.group, info.name)
        uid = new["metadata"].get("uid")
        if uid and uid != old["metadata"].get("uid"):
            raise status.conflict(r.plural, r.group, info.name, (
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata'].get('uid')}"
            ))  # fmt: skip
        _settle(kind, call, old, new)
        attributes = Attributes("UPDATE", kind, info.namespace, info.name, info.subresource, new, old, call.user, dry,
                                call)  # fmt: skip
        new = await ctx.admission.mutate(attributes)
        if not change.managed:
            own(ctx, call, kind, old, new)
        new["metadata"]["resourceVersion"] = str(kv.revision)
        if _count(kind, old, new):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        check_valid(kind, new, old, info.subresource)
        attributes.obj = new
        await ctx.admission.validate(attributes)
        value = objects.encode(await converting.stored(kind, new))
        if value == kv.value or _unchanged(old, new):
            return await present(ctx, call, kind, kv.value, kv.revision, form, code)
        check_size(value)
        if dry:
            return await present(ctx, call, kind, value, kv.revision, form, code)
        try:
            if _finished(new):
                rev = (await ctx.store.delete(path, expected=kv.revision))[1]
            else:
                rev = await ctx.store.update(path, value, expected=kv.revision)
        except Conflict as e:
            await ctx.admission.undo(attributes)
            if asked and asked != "0" and call.request.method == "PUT":
                raise status.conflict(r.plural, r.group, info.name) from e
            continue
        await ctx.admission.done(attributes)
        return await present(ctx, call, kind, value, rev, form, code)
    raise status.conflict(r.plural, r.group, info.name)


def _settle(kind: Kind, call: Call, old: Json, new: Json) -> None:
    """What this write may not change is as it was."""
    metadata.for_update(new, old)
    if call.info.subresource == "status":
        labels = {k: v for k, v in new["metadata"].items() if k in ("managedFields", "resourceVersion")}
        if not kind.resource.custom:
            labels |= {k: new["metadata"][k] for k in ("labels", "annotations", "finalizers") if k in new["metadata"]}
        kept = {k: v for k, v in old["metadata"].items() if k not in ("managedFields", "labels", "annotations",
                                                                      "finalizers", "resourceVersion")}  # fmt: skip
        if kind.resource.custom:
            kept |= {k: old["metadata"][k] for k in ("labels", "annotations", "finalizers") if k in old["metadata"]}
        new["metadata"] = {**kept, **labels}
        for name in [n for n in new if n not in ("kind", "apiVersion", "metadata", "status")]:
            del new[name]
        for name, value in old.items():
            if name not in ("kind", "apiVersion", "metadata", "status"):
                new[name] = value
    elif call.info.subresource in PARTS:
        metadata.keep_part(new, old, PARTS[call.info.subresource])
    elif kind.strategy.status and not call.info.subresource:
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)


def _count(kind: Kind, old: Json, new: Json) -> bool:
    """Whether this write counts as another generation."""
    if not (kind.strategy.generation or kind.resource.custom):
        return False
    ignored = {"kind", "apiVersion", "metadata"}
    if kind.strategy.status:
        ignored.add("status")
    keys = (old.keys() | new.keys()) - ignored
    return any(old.get(k) != new.get(k) for k in keys)


def _unchanged(old: Json, new: Json) -> bool:
    """Whether only the times in managedFields differ: then nothing is written."""
    if any(old.get(k) != new.get(k) for k in old.keys() | new.keys() if k != "metadata"):
        return False
    was, now = dict(old["metadata"]), dict(new["metadata"])
    before, after = was.pop("managedFields", []), now.pop("managedFields", [])
    if was != now:
        return False

    def timeless(entries: list[Json]) -> list[Json]:
        return [{k: v for k, v in e.items() if k != "time"} for e in entries]

    return timeless(before) == timeless(after)


def _finished(obj: Json) -> bool:
    """Whether it is to go now: its deletion has begun, and nobody has to do anything before."""
    meta = obj["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers"):
        return False
    if obj["kind"] == "Namespace" and obj["apiVersion"] == "v1" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return not meta.get("deletionGracePeriodSeconds")


def last_state(kv: KeyValue) -> Json:
    """What a key held."""
    return objects.load(kv)


def name_is_fit(kind: Kind, name: str) -> bool:
    """Whether an object may have this name."""
    return not names.name_problems(kind.resource.kind, name)
