"""Watches: a list's changes as a stream of events, one JSON object a line.

    store.watch ─▶ selectors (of the state before and after) ─▶ ADDED, MODIFIED, DELETED ─▶ chunks

An event is encoded once for all the watchers that want it in the same form. A watch ends at its timeout, when the
server closes, or with one ERROR event when its revision has been compacted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Sequence

import orjson
from aiohttp import web

from netlab.api import Json, status
from netlab.api.fielderrors import forbidden
from netlab.apiserver import converting, objects, tables
from netlab.apiserver.call import Call, headers
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import Form, negotiate
from netlab.apiserver.reading import Selection, revision, selection
from netlab.apiserver.requestinfo import truthy
from netlab.store.protocol import Among, Compacted, Event, KeyValue, StoreError, Watch

#: seconds after which a watch without timeoutSeconds ends: a random time from here to the double
TIMEOUT_MIN = 1800.0
#: encoded events that are kept for other watchers
CACHE = 2048
#: seconds of the server's time that one write to one watcher may take, several times what it does with TLS; and the
#: longest pause that comes of it. A change is written to every watcher that wants it: with a thousand of them a watcher
#: hears ten times a second, of all that there was meanwhile, and not a hundred times; with ten it hears at once.
WRITE_SECONDS, PAUSE_MAX = 100e-6, 0.1
#: a pause that is not worth it
PAUSE_MIN = 0.005


class Encoder:
    """Events in the form that one watch wants. Plain events of raw kinds are shared by all watchers."""

    def __init__(self, ctx: Context, call: Call, kind: Kind, form: Form) -> None:
        self.ctx, self.kind, self.form = ctx, kind, form
        self.include = tables.include_of(call.query) if form.as_ == "Table" else ""
        self.plain = not form.as_ and kind.raw
        self._head = True

    def __call__(self, verb: bytes, kv: KeyValue) -> bytes:
        """One event as a line."""
        if self.plain:
            key = (kv.key, kv.revision, verb)
            line = self.ctx.events.get(key)
            if line is None:
                line = b'{"type":"%b","object":%b}\n' % (verb, objects.shown(kv.value, kv.revision))
                self.ctx.events[key] = line
                if len(self.ctx.events) > CACHE:
                    self.ctx.events.popitem(last=False)
            return line
        obj = objects.load(kv)
        if self.form.as_ == "Table":
            metadata = {"resourceVersion": str(kv.revision)}
            shown = tables.table(self.kind, [obj], metadata, self.form, self.include, self.ctx.now(), head=self._head)
            self._head = False
        else:
            shown = self.kind.show(obj)
            if self.form.as_:
                shown = tables.partial(shown, self.form.version)
        return _line(verb.decode(), shown)

    def bookmark(self, rev: int, *, initial: bool = False) -> bytes:
        """A mark of how far the watch is; initial: the last of sendInitialEvents."""
        r = self.kind.resource
        metadata: Json = {"resourceVersion": str(rev), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        kind, version = r.kind, r.api_version
        if self.form.as_:
            kind, version = "PartialObjectMetadata", f"meta.k8s.io/{self.form.version}"
        return _line("BOOKMARK", {"kind": kind, "apiVersion": version, "metadata": metadata})


def _line(verb: str, obj: Json) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (verb.encode(), orjson.dumps(obj))


_NODE = re.compile(rb'"nodeName":"([^"]+)"')


def nodes_of(value: bytes) -> list[str]:
    """Every node that may be the one of a stored pod."""
    return [name.decode() for name in _NODE.findall(value)]


def lines(events: Sequence[Event], chosen: Selection, encode: Encoder, inside: dict[str, int]) -> list[bytes]:
    """What a watcher is told of some events. inside: which keys were in the selection at which revision, kept from one
    call to the next, so that a state is not looked into twice."""
    out = []
    for event in events:
        verb = b"DELETED" if event.deleted else b"MODIFIED" if event.previous is not None else b"ADDED"
        if chosen:
            before = event.previous if not event.deleted else event.previous or event.kv
            known = inside.pop(event.kv.key, 0)
            was_in = before is not None and (known == before.revision or chosen.matches(objects.load(before)))
            is_in = not event.deleted and chosen.matches(objects.load(event.kv))
            if is_in:
                inside[event.kv.key] = event.kv.revision
            if not is_in and not was_in:
                continue
            verb = b"MODIFIED" if is_in and was_in else b"ADDED" if is_in else b"DELETED"
            if not is_in and not event.deleted and before is not None:
                # it left the selection: the state that was in it, at the revision at which it left
                out.append(encode(verb, before._replace(revision=event.kv.revision)))
                continue
        out.append(encode(verb, event.kv))
    return out


def _initial(call: Call) -> bool:
    """Whether the state is to be told first: sendInitialEvents. ApiError 422 where it is misused."""
    field = "resourceVersionMatch"
    text = call.query.get("sendInitialEvents")
    match = call.query.get(field, "")
    if text is None:
        if match:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise status.invalid("ListOptions", "meta.k8s.io", "", [forbidden(field, why)])
        return False
    if match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise status.invalid("ListOptions", "meta.k8s.io", "", [forbidden(field, why)])
    return truthy(text)


def _timeout(call: Call) -> float:
    text = call.query.get("timeoutSeconds", "")
    if text.isascii() and text.isdigit() and int(text) > 0:
        return float(min(int(text), 1 << 31))
    return TIMEOUT_MIN * (1 + random.random())


async def watch(ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
    """GET of a collection with watch=true."""
    form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
    chosen = selection(call, kind)
    asked = revision(call)
    initial = _initial(call)
    bookmarks = truthy(call.query.get("allowWatchBookmarks"))
    prefix, among = objects.prefix(kind.resource, call.info.namespace), None
    if chosen.fields:
        # a thousand kubelets look at their own node and pods
        name, node = chosen.fields.exact("metadata.name"), chosen.fields.exact("spec.nodeName")
        if name and (call.info.namespace or not kind.resource.namespaced):
            prefix += name
        if node and (kind.resource.group, kind.resource.plural) == ("", "pods"):
            among = Among(nodes_of, node)
    now = await ctx.store.revision()
    if asked is not None and asked > now:
        raise status.too_large_revision(asked, now)
    first: list[bytes] = []
    encode = Encoder(ctx, call, kind, form)
    explicit_no = call.query.get("sendInitialEvents") is not None and not initial
    if initial or (not asked and not explicit_no):
        got = await ctx.store.list(prefix)
        kvs = await converting.shown_keys(kind, got.items)
        first = [encode(b"ADDED", kv) for kv in kvs if not chosen or chosen.matches(objects.load(kv))]
        after = got.revision
        if initial and bookmarks:
            first.append(encode.bookmark(after, initial=True))
    else:
        after = asked or now
    response = web.StreamResponse(status=200, headers=headers(call))
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    if first:
        await response.write(b"".join(first))
    progress = ctx.bookmark_every if bookmarks else 0
    task = asyncio.current_task()
    stream = ctx.store.watch(prefix, after=after, progress=progress, among=among)
    pump = asyncio.ensure_future(_pump(stream, response, chosen, encode, bookmarks=bookmarks))
    closing = asyncio.ensure_future(ctx.closing.wait())
    ctx.watching[kind.resource.registry] += 1
    try:
        await asyncio.wait({pump, closing}, timeout=_timeout(call), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ctx.watching[kind.resource.registry] -= 1
        for part in (pump, closing):
            part.cancel()
        results = await asyncio.gather(pump, closing, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result
    if task is not None and not task.cancelling():
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
    return response


async def _pump(
    stream: Watch, response: web.StreamResponse, chosen: Selection, encode: Encoder, *, bookmarks: bool
) -> None:
    inside: dict[str, int] = {}
    try:
        async for batch in stream:
            if batch.events:
                told = lines(await converting.shown_events(encode.kind, batch.events), chosen, encode, inside)
                if told:
                    await response.write(b"".join(told))
                    watchers = encode.ctx.watching[encode.kind.resource.registry]
                    pause = min(watchers * WRITE_SECONDS, PAUSE_MAX)
                    if pause >= PAUSE_MIN:
                        await asyncio.sleep(pause)
            elif bookmarks:
                await response.write(encode.bookmark(batch.revision))
    except Compacted as e:
        gone = status.expired(f"too old resource version: {e.asked} ({e.oldest})")
        await response.write(_line("ERROR", gone.status()))
    except StoreError as e:
        await response.write(_line("ERROR", status.internal(str(e)).status()))
    except status.ApiError as e:  # of a conversion
        await response.write(_line("ERROR", e.status()))
    finally:
        await stream.aclose()
