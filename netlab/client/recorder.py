"""The event recorder: what a controller has to say about an object, as Events that `kubectl describe` shows.

What is said again is counted in the Event that is there; what is said in ever new words is put together after ten;
who talks without an end about one object is no longer listened to. Events are courtesy: one that cannot be written is
logged and forgotten. Source: client-go tools/record (event.go, events_cache.go) and its figures.

`Correlator` decides without I/O, `Recorder` writes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from netlab.api import times
from netlab.client.resources import Resource
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, ApiUnavailable, Object, RestClient

log = logging.getLogger(__name__)

EVENTS = Resource("v1", "events")
NORMAL, WARNING = "Normal", "Warning"
#: how many different texts for one reason are told apart, and for how many seconds
SIMILAR_MAX, SIMILAR_SECONDS = 10, 600.0
#: how many events about one object at once, and the seconds after which there may be one more
BURST, REFILL_SECONDS = 25, 300.0
#: how many objects and texts are remembered, and how many events may wait to be written
REMEMBERED, WAITING = 4096, 1000

_Key = tuple[str, ...]
_V = TypeVar("_V")


class Write(NamedTuple):
    """event: as it is now; patch: what makes the Event that is there so, None for a new one."""

    event: Object
    patch: Object | None


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class _Similar:
    last: float
    texts: set[str] = field(default_factory=set)


def reference(obj: Object) -> Object:
    """An ObjectReference."""
    meta = obj["metadata"]
    found = {"kind": obj.get("kind", ""), "namespace": meta.get("namespace", ""), "name": meta.get("name", ""),
             "uid": meta.get("uid", ""), "apiVersion": obj.get("apiVersion", ""),
             "resourceVersion": meta.get("resourceVersion", "")}  # fmt: skip
    return {name: value for name, value in found.items() if value}


class Correlator:
    """component: who speaks; instance: which of them; host: on which node, "" for on none; now: seconds since 1970, for
    what is written; clock: seconds that only grow, for how much is."""

    def __init__(
        self, component: str, instance: str = "", *, host: str = "", now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.component, self.instance, self._now, self._clock = component, instance, now, clock
        self._source = {"component": component, **({"host": host} if host else {})}
        self._buckets: OrderedDict[_Key, _Bucket] = OrderedDict()
        self._similar: OrderedDict[_Key, _Similar] = OrderedDict()
        self._events: OrderedDict[_Key, Object] = OrderedDict()

    def event(self, about: Object, kind: str, reason: str, message: str) -> Write | None:
        """What to write when `message` is said about an object; None if enough has been. kind: NORMAL or WARNING.

        about: an ObjectReference.
        """
        now, clock = self._now(), self._clock()
        who = tuple(str(about.get(k, "")) for k in ("kind", "namespace", "name", "uid", "apiVersion"))
        if not self._let(who, clock):
            return None
        key: _Key = (*who, kind, reason, str(about.get("fieldPath", "")))
        if self._many(key, message, clock):
            message = f"(combined from similar events): {message}"
        else:
            key = (*key, message)
        stamp, event = times.seconds(now), self._events.get(key)
        if event is not None:
            self._events.move_to_end(key)
            patch = {"count": event["count"] + 1, "lastTimestamp": stamp, "message": message}
            event |= patch  # what is in its parts never changes
            return Write(dict(event), patch)
        namespace = about.get("namespace") or "default"
        event = {
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": f"{about['name']}.{int(now * 1e9):x}", "namespace": namespace},
            "involvedObject": dict(about), "reason": reason, "message": message, "type": kind, "count": 1,
            "firstTimestamp": stamp, "lastTimestamp": stamp, "source": self._source,
            "reportingComponent": self.component, "reportingInstance": self.instance,
        }  # fmt: skip
        _remember(self._events, key, event)
        return Write(dict(event), None)

    def _many(self, key: _Key, message: str, now: float) -> bool:
        """Whether so many texts have come for one reason that they are one event from now on."""
        found = self._similar.get(key)
        if found is None or now - found.last > SIMILAR_SECONDS:
            found = _Similar(now)
            _remember(self._similar, key, found)
        found.last = now
        if len(found.texts) >= SIMILAR_MAX - 1 and message not in found.texts:
            return True
        found.texts.add(message)
        return False

    def _let(self, who: _Key, now: float) -> bool:
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = _Bucket(float(BURST), now)
            _remember(self._buckets, who, bucket)
        bucket.tokens = min(float(BURST), bucket.tokens + (now - bucket.at) / REFILL_SECONDS)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _remember(memory: OrderedDict[_Key, _V], key: _Key, value: _V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)


class Recorder:
    """Says things about objects; `run` writes them. What is said while too much waits is dropped."""

    def __init__(self, client: RestClient, correlator: Correlator) -> None:
        self._client, self._correlator = client, correlator
        self._queue: asyncio.Queue[Write] = asyncio.Queue(WAITING)

    def say(self, obj: Object, kind: str, reason: str, message: str, *, field: str = "") -> None:
        """kind: NORMAL or WARNING; field: of the object, of which it is said, such as `spec.containers{web}`."""
        about = reference(obj) | ({"fieldPath": field} if field else {})
        write = self._correlator.event(about, kind, reason, message)
        if write is not None and not self._queue.full():
            self._queue.put_nowait(write)

    def normal(self, obj: Object, reason: str, message: str) -> None:
        """All is well. obj: with kind and apiVersion."""
        self.say(obj, NORMAL, reason, message)

    def warning(self, obj: Object, reason: str, message: str) -> None:
        """Somebody should look."""
        self.say(obj, WARNING, reason, message)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            write = await self._queue.get()
            try:
                await self._write(write)
            except (ApiError, ApiUnavailable) as e:
                log.warning("an event is lost: %s", e)
            finally:
                self._queue.task_done()

    async def written(self) -> None:
        """Until all that was said has been written, or lost."""
        await self._queue.join()

    async def _write(self, write: Write) -> None:
        namespace, name = write.event["metadata"]["namespace"], write.event["metadata"]["name"]
        if write.patch is not None:
            try:
                await self._client.patch(EVENTS.path(namespace, name), write.patch, kind=STRATEGIC_MERGE_PATCH)
            except ApiError as e:
                if e.code != 404:  # it has lived its time, and is made anew
                    raise
            else:
                return
        await self._client.create(EVENTS.path(namespace), write.event)
