"""Versions of custom resources between which a webhook converts. All other kinds differ by names and tables only.

Objects of such a kind are on their way in the version of their request, and in the stored version in the store alone:
each way in and out of the store passes here, in batches. For kinds without a webhook these functions do nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from netlab.api import Json
from netlab.apiserver import metadata, objects
from netlab.apiserver.kinds import Kind
from netlab.store.protocol import Event, KeyValue


async def shown(kind: Kind, objs: list[Json]) -> list[Json]:
    """Stored objects in the version of the kind. ApiError 500."""
    if kind.conversion is None:
        return objs
    return await kind.conversion.convert(objs, kind.resource.api_version)


async def stored(kind: Kind, obj: Json) -> Json:
    """An object as it is to be stored. ApiError 500."""
    if kind.conversion is None:
        return obj
    (out,) = await kind.conversion.convert([obj], kind.resource.stored_version)
    return metadata.ordered(out)


async def shown_keys(kind: Kind, kvs: Sequence[KeyValue]) -> list[KeyValue]:
    """Keys with their values in the version of the kind. ApiError 500."""
    if kind.conversion is None:
        return list(kvs)
    objs = await shown(kind, [objects.load(kv) for kv in kvs])
    return [kv._replace(value=objects.encode(metadata.ordered(o))) for kv, o in zip(kvs, objs, strict=True)]


async def shown_events(kind: Kind, events: Sequence[Event]) -> Sequence[Event]:
    """Events with both of their states in the version of the kind. ApiError 500."""
    if kind.conversion is None:
        return events
    states = [s for e in events for s in (e.kv, e.previous) if s is not None and s.value]
    converted = iter(await shown_keys(kind, states))
    out = []
    for e in events:
        now = next(converted) if e.kv.value else e.kv
        before = next(converted) if e.previous is not None and e.previous.value else e.previous
        out.append(e._replace(kv=now, previous=before))
    return out
