"""An API server as a source of objects: informers, whose objects are parsed once, when they come.

    informer ─▶ parsed, and the rest of it let go ─▶ what has changed, gathered until somebody asks ─▶ an agent

While the server is away everything stays as it was; when it is back, the difference is told. It tells nothing before
all kinds have been listed: an agent that knew Services and no endpoints would take away what its predecessor has put
into the kernel.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from functools import partial

from netlab.base.errors import InputError, Problem
from netlab.client.informer import Informers, Interest
from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.compile.objects import Ref, Value
from netlab.compile.parse import ref, value
from netlab.daemons.sources import Change, Want

_RESOURCES = {
    "Service": Resource("v1", "services"),
    "EndpointSlice": Resource("discovery.k8s.io/v1", "endpointslices"),
    "Pod": Resource("v1", "pods"),
    "Namespace": Resource("v1", "namespaces"),
    "Node": Resource("v1", "nodes"),
    "NetworkPolicy": Resource("networking.k8s.io/v1", "networkpolicies"),
}
_KEPT = ("name", "namespace", "uid", "resourceVersion")


def parsed(obj: Object) -> Object:
    """What is held of an object: enough for the informer to know it by, and its value, or what is wrong with it."""
    held = {"metadata": {key: text for key, text in obj["metadata"].items() if key in _KEPT}, "kind": obj["kind"]}
    try:
        return held | {"value": value(obj)}
    except InputError as e:
        return held | {"problems": e.problems}


class Followed:
    """A source (see `sources.Source`). informers: the process' own, or its part in those that it shares with others;
    whoever has made them ends them.
    """

    implied = False

    def __init__(self, informers: Informers, wants: Iterable[Want]) -> None:
        self._informers = informers
        self._interests = {
            Interest(_RESOURCES[w.kind], label_selector=w.labels, field_selector=w.fields, keep=parsed): w.kind
            for w in wants
        }
        self._changed: dict[Ref, Value | None] = {}
        self._problems: dict[Ref, tuple[Problem, ...]] = {}
        self._wake = asyncio.Event()

    async def watch(self) -> AsyncGenerator[Change, None]:
        """Everything once all of it is known, and then what has changed since the last time."""
        handlers = [(self._informers.of(i), partial(self._note, kind)) for i, kind in self._interests.items()]
        failed = asyncio.ensure_future(self._informers.failure())
        failed.add_done_callback(lambda _: self._wake.set())
        try:
            for informer, handler in handlers:
                informer.add_handler(handler)
            self._informers.start()
            await self._informers.wait(self._interests)
            while True:
                values, self._changed = self._changed, {}
                self._wake.clear()
                problems = sorted({p for listed in self._problems.values() for p in listed})
                yield Change(values, tuple(problems))
                await self._wake.wait()
                if failed.done():
                    failed.result()
        finally:
            failed.cancel()
            for informer, handler in handlers:
                informer.remove_handler(handler)

    def _note(self, kind: str, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        at = ref({**obj, "kind": kind})
        if new is not None and "problems" in new:
            # what it was before stays
            self._problems[at] = new["problems"]
        else:
            mended = self._problems.pop(at, None)
            now = new["value"] if new is not None else None
            if old is not None and new is not None and old.get("value") == now and mended is None:
                return  # the status of something that nobody compiles
            self._changed[at] = now
        self._wake.set()
