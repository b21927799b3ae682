"""GET of one object, and lists: selectors, paging over one revision, Tables."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from netlab.api import Json, status
from netlab.api.fielderrors import FieldError, forbidden
from netlab.api.fields import field_selector
from netlab.api.selectors import FieldSelector, LabelSelector, SelectorError, parse_labels
from netlab.apiserver import converting, objects, tables
from netlab.apiserver.call import Call, answer, raw, token
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import Form, negotiate
from netlab.store.protocol import Compacted, FutureRevision, KeyValue

#: keys read at once while a selector looks for a page of matches
SCAN = 500

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Both selectors of a request."""

    labels: LabelSelector
    fields: FieldSelector

    def __bool__(self) -> bool:
        return bool(self.labels) or bool(self.fields)

    def matches(self, obj: Json) -> bool:
        """Whether a stored object is selected."""
        return self.labels.matches(obj["metadata"].get("labels")) and self.fields.matches(obj)


def selection(call: Call, kind: Kind) -> Selection:
    """The selectors of a request. ApiError 400."""
    r = kind.resource
    extra = getattr(kind, "selectable", ())
    try:
        labels = parse_labels(call.query.get("labelSelector", ""))
    except SelectorError as e:
        raise status.bad_request(
            f"unable to parse requirement: {e}".replace(
                "unable to parse requirement: " * 2, "unable to parse requirement: "
            )
        ) from e
    try:
        fields = field_selector(r.group, r.kind, call.query.get("fieldSelector", ""), extra)
        if call.info.name:  # the deprecated watch of one name
            named = ("metadata.name", True, call.info.name)
            fields = FieldSelector((*fields.terms, named), fields.get)
    except SelectorError as e:
        raise status.bad_request(str(e)) from e
    return Selection(labels, fields)


def revision(call: Call) -> int | None:
    """The query's resourceVersion, None if it is unset. ApiError 400."""
    text = call.query.get("resourceVersion", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise status.bad_request(
            f"Invalid value: {text!r}: strconv.ParseUint: parsing {orjson.dumps(text).decode()}: invalid syntax"
        )
    return int(text)


def _integer(call: Call, name: str) -> int:
    text = call.query.get(name, "")
    if not text:
        return 0
    try:
        value = int(text)
    except ValueError as e:
        quoted = orjson.dumps(text).decode()
        raise status.bad_request(f"strconv.ParseInt: parsing {quoted}: invalid syntax") from e
    return value


def _list_options(errors: list[FieldError]) -> status.ApiError:
    return status.invalid("ListOptions", "meta.k8s.io", "", errors)


def _check_match(call: Call, asked: int | None) -> str:
    match = call.query.get("resourceVersionMatch", "")
    field = "resourceVersionMatch"
    if not match:
        return ""
    why = ""
    if asked is None:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif call.query.get("continue"):
        why = "resourceVersionMatch is forbidden when continue is provided"
    elif match == "Exact" and asked == 0:
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
    elif match not in ("Exact", "NotOlderThan"):
        raise _list_options(
            [FieldError("FieldValueNotSupported", field, 'supported values: "Exact", "NotOlderThan", ""', match)]
        )
    if why:
        raise _list_options([forbidden(field, why)])
    return match


async def get(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """GET of one object."""
    r, info = kind.resource, call.info
    form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
    kv, now = await ctx.store.get(objects.key(r, info.namespace, info.name))
    asked = revision(call)
    if asked is not None and asked > now:
        raise status.too_large_revision(asked, now)
    if kv is None:
        raise status.not_found(r.plural, r.group, info.name)
    return await present(ctx, call, kind, kv.value, kv.revision, form)


async def present(
    ctx: Context, call: Call, kind: Kind, value: bytes, rev: int, form: Form, code: int = 200
) -> web.StreamResponse:
    """An answer of one stored object in the form that is wanted."""
    if not form.as_ and not form.yaml and kind.raw and "pretty" not in call.query:
        return raw(call, objects.shown(value, rev) if rev else value, code)
    (obj,) = await converting.shown(kind, [objects.loads(value, rev)])
    if form.as_ == "Table":
        metadata = {"resourceVersion": str(rev)}
        return answer(call, tables.table(kind, [obj], metadata, form, tables.include_of(call.query), ctx.now()), code)
    shown = kind.show(obj)
    return answer(call, tables.partial(shown, form.version) if form.as_ else shown, code, form)


@dataclass(slots=True)
class Listed:
    """A page: what it holds, the revision it holds at, the token for the rest ("" for none) and how many are left."""

    items: list[KeyValue]
    revision: int
    token: str = ""
    remaining: int = 0


def _continue(call: Call, prefix: str) -> tuple[str, int]:
    """The key to go on behind, and the revision to go on at (-1: any)."""
    text = call.query.get("continue", "")
    try:
        value = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        start, rev = str(value["start"]), int(value["rv"])
        if value["v"] != "meta.k8s.io/v1" or ".." in start:
            raise ValueError(start)
    except (ValueError, KeyError, TypeError, binascii.Error) as e:
        raise status.bad_request(f"continue key is not valid: {e}") from e
    return prefix + start.removesuffix("\0"), rev


async def page(ctx: Context, call: Call, kind: Kind, chosen: Selection) -> Listed:
    """The objects that a list asks for. ApiError."""
    r, limit = kind.resource, _integer(call, "limit")
    prefix = objects.prefix(r, call.info.namespace)
    asked = revision(call)
    match = _check_match(call, asked)
    after, at = "", 0
    if call.query.get("continue"):
        if asked:
            raise status.bad_request("specifying resource version is not allowed when using continue")
        after, at = _continue(call, prefix)
        at = max(at, 0)
    elif asked and (match == "Exact" or (limit and not match)):
        at = asked
    name = chosen.fields.exact("metadata.name")
    if name is not None and (call.info.namespace or not r.namespaced) and not after and not at:
        kv, now = await ctx.store.get(objects.key(r, call.info.namespace, name))
        kvs = await converting.shown_keys(kind, [kv] if kv is not None else [])
        found = [kv for kv in kvs if chosen.matches(objects.load(kv))]
        listed = Listed(found, now)
    else:
        try:
            listed = await _scan(ctx, kind, prefix, chosen, limit, after, at)
        except Compacted as e:
            if after:
                start = after.removeprefix(prefix) + "\0"
                raise status.expired(_EXPIRED, token({"v": "meta.k8s.io/v1", "rv": -1, "start": start})) from e
            raise status.expired("The resourceVersion for the provided list is too old.") from e
        except FutureRevision as e:
            raise status.too_large_revision(e.asked, e.current) from e
    if asked and asked > listed.revision:
        raise status.too_large_revision(asked, listed.revision)
    return listed


async def _scan(ctx: Context, kind: Kind, prefix: str, chosen: Selection, limit: int, after: str, at: int) -> Listed:
    if not chosen:
        got = await ctx.store.list(prefix, limit=limit, after=after, revision=at)
        listed = Listed(await converting.shown_keys(kind, got.items), got.revision)
        if got.more and got.items:
            listed.token = _token(got.items[-1].key, prefix, got.revision)
            listed.remaining = max(got.remaining, 0)
        return listed
    found: list[KeyValue] = []
    while True:
        got = await ctx.store.list(prefix, limit=SCAN if limit else 0, after=after, revision=at)
        at = got.revision
        for i, kv in enumerate(await converting.shown_keys(kind, got.items)):
            if chosen.matches(objects.load(kv)):
                found.append(kv)
                if limit and len(found) == limit and (got.more or i + 1 < len(got.items)):
                    return Listed(found, at, _token(kv.key, prefix, at))
        if not got.more or not got.items:
            return Listed(found, at)
        after = got.items[-1].key


def _token(last: str, prefix: str, rev: int) -> str:
    return token({"v": "meta.k8s.io/v1", "rv": rev, "start": last.removeprefix(prefix) + "\0"})


async def list_(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """GET of a collection."""
    form = negotiate(call.request.headers.get("Accept", ""), tables.LIST_OFFERS)
    chosen = selection(call, kind)
    listed = await page(ctx, call, kind, chosen)
    r = kind.resource
    metadata: Json = {"resourceVersion": str(listed.revision)}
    if listed.token:
        metadata["continue"] = listed.token
        if not chosen and listed.remaining:
            metadata["remainingItemCount"] = listed.remaining
    if not form.as_ and not form.yaml and kind.raw and "pretty" not in call.query:
        head = orjson.dumps({"kind": r.list_kind, "apiVersion": r.api_version, "metadata": metadata})
        put = objects.shown if r.custom else objects.item
        parts = [put(kv.value, kv.revision) for kv in listed.items] or [b""]
        # a list may be large: its beginning and its end go to its parts, so that the whole is put together once
        parts[0] = b'%b,"items":[%b' % (head[:-1], parts[0])
        parts[-1] += b"]}"
        return raw(call, b",".join(parts))
    objs = [objects.load(kv) for kv in listed.items]
    if form.as_ == "Table":
        include = tables.include_of(call.query)
        return answer(call, tables.table(kind, objs, metadata, form, include, ctx.now()))
    shown: list[Any] = [kind.show(o) for o in objs]
    if form.as_:
        body_ = [tables.partial(o, form.version) for o in shown]
        return answer(call, {
            "kind": "PartialObjectMetadataList", "apiVersion": f"meta.k8s.io/{form.version}", "metadata": metadata,
            "items": body_,
        })  # fmt: skip
    return answer(
        call, {"kind": r.list_kind, "apiVersion": r.api_version, "metadata": metadata, "items": shown}, form=form
    )
