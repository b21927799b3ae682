"""Definitions as they come and go: their conditions, the kinds that they bring, and the end of their objects.

Source: apiextensions-apiserver pkg/controller/{status,establish,finalizer}.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from netlab.api import Json, times
from netlab.apiserver import objects
from netlab.apiserver.custom.kind import kinds_of
from netlab.apiserver.handlers import Context
from netlab.apiserver.lister import RETRY, Lister
from netlab.apiserver.webhooks.caller import Caller
from netlab.store.protocol import Conflict, StoreError

log = logging.getLogger("apiserver")

PREFIX = "/registry/apiextensions.k8s.io/customresourcedefinitions/"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def condition(obj: Json, kind: str) -> str:
    """The status of a condition, "" without it."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((str(c.get("status")) for c in conditions if c.get("type") == kind), "")


class Definitions:
    """Follows the definitions in the store and keeps the registry as they say."""

    def __init__(self, ctx: Context, caller: Caller) -> None:
        self.ctx, self.caller = ctx, caller
        self.lister = Lister(ctx.store, PREFIX, on_change=self._changed)
        self._dirty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _changed(self, _new: Json | None, _old: Json | None) -> None:
        self._dirty.set()

    async def start(self) -> None:
        """Serve what is there, then follow."""
        await self.lister.start()
        await self._settle()
        self._task = asyncio.create_task(self._run(), name="definitions")

    async def aclose(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.lister.aclose()

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            try:
                await self._settle()
            except StoreError as e:
                log.warning("definitions: %s", e)
                await asyncio.sleep(RETRY)
                self._dirty.set()

    async def _settle(self) -> None:
        self._dirty.clear()
        for crd in list(self.lister.all()):
            if crd["metadata"].get("deletionTimestamp"):
                await self._end(crd)
            else:
                await self._accept(crd)
        kinds = []
        for crd in sorted(self.lister.all(), key=lambda c: c["metadata"]["name"]):
            if condition(crd, "Established") == "True":
                kinds += kinds_of(crd, self.caller)
        self.ctx.registry.set_custom(kinds)

    def _clash(self, crd: Json) -> tuple[str, str]:
        """The reason and message of a name that is taken, empty if there is none."""
        names, group = crd["spec"]["names"], crd["spec"]["group"]
        paths: set[str] = set()
        kinds: set[str] = set()
        for other in self.lister.all():
            if other["metadata"]["name"] == crd["metadata"]["name"] or other["spec"]["group"] != group:
                continue
            taken = (other.get("status") or {}).get("acceptedNames") or {}
            paths |= {taken.get("plural", ""), taken.get("singular", ""), *(taken.get("shortNames") or ())}
            kinds |= {taken.get("kind", ""), taken.get("listKind", "")}
        asked = [
            ("PluralConflict", names["plural"], paths), ("SingularConflict", names.get("singular"), paths),
            *(("ShortNamesConflict", s, paths) for s in names.get("shortNames") or ()),
            ("KindConflict", names["kind"], kinds), ("ListKindConflict", names.get("listKind"), kinds),
        ]  # fmt: skip
        return next(((why, f'"{n}" is already in use') for why, n, used in asked if n and n in used), ("", ""))

    async def _accept(self, crd: Json) -> None:
        spec = crd["spec"]
        stored = next((v["name"] for v in spec["versions"] if v.get("storage")), "")
        state = crd.get("status") or {}
        versions = state.get("storedVersions") or []
        names = {k: v for k, v in spec["names"].items() if v}
        done = condition(crd, "Established") == "True" and state.get("acceptedNames") == names and stored in versions
        if done and FINALIZER in (crd["metadata"].get("finalizers") or ()):
            return
        now = times.seconds(self.ctx.now())
        reason, message = self._clash(crd)

        def entry(kind: str, status: str, why: str, text: str) -> Json:
            return {"type": kind, "status": status, "lastTransitionTime": now, "reason": why, "message": text}

        if reason:
            conditions = [
                entry("NamesAccepted", "False", reason, message),
                entry("Established", "False", "NotAccepted", "not all names are accepted"),
            ]
            if condition(crd, "NamesAccepted") == "False":
                return
        else:
            conditions = [
                entry("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
                entry("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
            ]
        kv, _ = await self.ctx.store.get(PREFIX + crd["metadata"]["name"])
        if kv is None:
            return
        new = objects.load(kv)
        if new["metadata"]["resourceVersion"] != crd["metadata"]["resourceVersion"]:
            self._dirty.set()  # the cache is behind: come again
            self.lister.put(kv)
            return
        if FINALIZER not in (new["metadata"].get("finalizers") or ()):
            new["metadata"].setdefault("finalizers", []).append(FINALIZER)
        new["status"] = {
            "conditions": conditions, "acceptedNames": names,
            "storedVersions": versions if stored in versions else [*versions, stored],
        }  # fmt: skip
        await self._write(kv.key, new, kv.revision)

    async def _write(self, key: str, obj: Json, expected: int) -> None:
        try:
            rev = await self.ctx.store.update(key, objects.encode(obj), expected=expected)
        except Conflict:
            self._dirty.set()
            return
        obj["metadata"]["resourceVersion"] = str(rev)
        self.lister.set(key, obj)

    async def _end(self, crd: Json) -> None:
        """Take the objects of a definition that is going, then let it go."""
        spec = crd["spec"]
        prefix = f"/registry/{spec['group']}/{spec['names']['plural']}/"
        left = 0
        for kv in (await self.ctx.store.list(prefix)).items:
            obj = objects.load(kv)
            try:
                if obj["metadata"].get("finalizers"):
                    left += 1
                    if not obj["metadata"].get("deletionTimestamp"):
                        obj["metadata"]["deletionTimestamp"] = times.seconds(self.ctx.now())
                        obj["metadata"]["deletionGracePeriodSeconds"] = 0
                        await self.ctx.store.update(kv.key, objects.encode(obj), expected=kv.revision)
                else:
                    await self.ctx.store.delete(kv.key, expected=kv.revision)
            except Conflict:
                left += 1
        if left:
            asyncio.get_running_loop().call_later(RETRY, self._dirty.set)
            return
        key = PREFIX + crd["metadata"]["name"]
        kv_, _ = await self.ctx.store.get(key)
        if kv_ is None:
            return
        now = objects.load(kv_)
        finalizers = [f for f in now["metadata"].get("finalizers") or () if f != FINALIZER]
        try:
            if finalizers:
                now["metadata"]["finalizers"] = finalizers
                await self.ctx.store.update(key, objects.encode(now), expected=kv_.revision)
            else:
                await self.ctx.store.delete(key, expected=kv_.revision)
        except Conflict:
            self._dirty.set()
            return
        if not finalizers:
            self.lister.set(key, None)
