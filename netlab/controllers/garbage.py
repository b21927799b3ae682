"""The garbage collector: what has owners goes with the last of them, and an owner waits for what it owns if told to.

    background   the owner goes at once; whoever finds no owner of its own any more is deleted
    foreground   the owner has the finalizer foregroundDeletion: those that name it are deleted first, and it goes when
                 none is left that blocks it (ownerReferences[].blockOwnerDeletion)
    orphan       the owner has the finalizer orphan: those that name it forget it, then it goes

What the caches say is a reason to look; what is done is decided by what the server says of the object and of each of
its owners. Source: kubernetes pkg/controller/garbagecollector (garbagecollector.go, graph_builder.go).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from netlab.client.informer import METADATA
from netlab.client.resources import Served
from netlab.client.rest import ApiError, Object
from netlab.controllers.shape import Hopeless, Tools, WatchAll

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
#: owners that are remembered not to be there, as many as the original does
ABSENT = 500


def owners_of(obj: Object) -> list[Object]:
    """Its ownerReferences."""
    return list(obj["metadata"].get("ownerReferences") or ())


def waits_with(obj: Object, finalizer: str) -> bool:
    """Whether its deletion has begun and waits for the collector to take off this finalizer."""
    meta = obj["metadata"]
    return bool(meta.get("deletionTimestamp")) and finalizer in (meta.get("finalizers") or ())


def _blocks(obj: Object, owner: str) -> bool:
    return any(ref.get("uid") == owner and ref.get("blockOwnerDeletion") for ref in owners_of(obj))


@dataclass(slots=True)
class Owners:
    """The owners of an object by what has become of them: there, gone, waiting for what they own."""

    solid: list[Object] = field(default_factory=list)
    dangling: list[Object] = field(default_factory=list)
    waiting: list[Object] = field(default_factory=list)


class GarbageCollector:
    """Keys are uids."""

    NAME = "garbage-collector-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._kinds, self._says = tools.client, tools.kinds, tools.says
        self._absent: OrderedDict[tuple[Served, str | None, str, str], None] = OrderedDict()
        self.WATCHES = (WatchAll(self._reasons),)

    # -- when to look

    def _reasons(self, _: Served, old: Object | None, new: Object | None) -> Iterable[str]:
        """The uids of those for whom a change may mean something."""
        if new is not None:
            uid = str(new["metadata"].get("uid", ""))
            if waits_with(new, ORPHAN) or waits_with(new, FOREGROUND) or self._may_be_free(new):
                yield uid
            if waits_with(new, FOREGROUND):
                yield from self._owned(uid)
        if old is None:
            return
        if new is None:
            yield from self._owned(str(old["metadata"].get("uid", "")))
        # an owner that waits may be waiting for this one no longer
        left = {ref["uid"] for ref in owners_of(new) if ref.get("blockOwnerDeletion")} if new is not None else set()
        for ref in owners_of(old):
            if ref["uid"] not in left and self._waits(ref["uid"]):
                yield ref["uid"]

    def _owned(self, uid: str) -> list[str]:
        return [str(obj["metadata"]["uid"]) for _, obj in self._kinds.owned_by(uid)]

    def _waits(self, uid: str) -> bool:
        found = self._kinds.with_uid(uid)
        return found is not None and waits_with(found[1], FOREGROUND)

    def _may_be_free(self, obj: Object) -> bool:
        """Whether it has an owner that is not known to be there, or that waits for it."""
        for ref in owners_of(obj):
            known = self._kinds.with_uid(ref["uid"])
            if known is None or waits_with(known[1], FOREGROUND):
                return True
            meta = known[1]["metadata"]
            elsewhere = meta.get("namespace") not in (None, "", obj["metadata"].get("namespace"))
            if elsewhere or meta["name"] != ref["name"] or known[0].kind != ref["kind"]:
                return True
        return False

    # -- what to do

    async def reconcile(self, key: str) -> float | None:
        """Do what the object's own deletion asks for, or delete it if it has no owner left."""
        found = self._kinds.with_uid(key)
        if found is None:
            return None
        served, known = found
        if not (waits_with(known, ORPHAN) or waits_with(known, FOREGROUND) or self._may_be_free(known)):
            return None  # its owners have turned up meanwhile
        obj = await self._live(served, known["metadata"])
        if obj is None:
            return None
        if obj["metadata"].get("deletionTimestamp"):
            if waits_with(obj, ORPHAN):
                await self._orphan(served, obj)
            elif waits_with(obj, FOREGROUND):
                await self._foreground(served, obj)
            return None
        if owners_of(obj):
            await self._collect(served, obj)
        return None

    async def _live(self, served: Served, who: Object) -> Object | None:
        """The object as the server has it; None if it is gone, or another has taken its name."""
        try:
            obj = await self._client.get(served.resource.path(who.get("namespace"), who["name"]), accept=METADATA)
        except ApiError as e:
            if e.code == 404:
                return None
            raise
        return obj if obj["metadata"].get("uid") == who["uid"] else None

    async def _orphan(self, served: Served, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for kind, known in self._kinds.owned_by(uid):
            obj = await self._live(kind, known["metadata"])
            if obj is not None:
                await self._set_owners(kind, obj, [ref for ref in owners_of(obj) if ref.get("uid") != uid])
        await self._let_go(served, owner, ORPHAN)

    async def _foreground(self, served: Served, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        if not any(_blocks(obj, uid) for _, obj in self._kinds.owned_by(uid)):
            await self._let_go(served, owner, FOREGROUND)

    async def _collect(self, served: Served, obj: Object) -> None:
        owners = await self._look_at_owners(served, obj)
        gone = {ref["uid"] for ref in owners.dangling + owners.waiting}
        if owners.solid:
            if gone:
                await self._set_owners(served, obj, [ref for ref in owners_of(obj) if ref["uid"] not in gone])
            return
        meta = obj["metadata"]
        owned = self._kinds.owned_by(meta["uid"])
        asked = meta.get("finalizers") or ()
        policy = "Orphan" if ORPHAN in asked else "Foreground" if FOREGROUND in asked else "Background"
        if owners.waiting and owned:
            if any(waits_with(other, FOREGROUND) for _, other in owned):
                # they wait for each other in a circle: one has to let the other go first
                free = [{**ref, "blockOwnerDeletion": False} for ref in owners_of(obj)]
                obj = await self._set_owners(served, obj, free)
            policy = "Foreground"
        await self._delete(served, obj, policy)

    async def _look_at_owners(self, served: Served, obj: Object) -> Owners:
        found = Owners()
        namespace = obj["metadata"].get("namespace")
        for ref in owners_of(obj):
            kind = self._kinds.find(ref["apiVersion"], ref["kind"])
            if kind is None:
                await self._kinds.refresh()
                kind = self._kinds.find(ref["apiVersion"], ref["kind"])
            if kind is None:
                # it may be a kind that is not served just now: nothing is deleted for that
                raise ApiError(f"no kind {ref['kind']} in {ref['apiVersion']} is served", code=404, reason="NotFound")
            if kind.namespaced and not namespace:
                raise Hopeless(
                    f"{served.resource} {obj['metadata']['name']} is in no namespace and names an owner that is in "
                    f"one: {ref['kind']} {ref['name']}"
                )
            who = {"namespace": namespace if kind.namespaced else None, "name": ref["name"], "uid": ref["uid"]}
            owner = await self._owner(kind, who)
            if owner is None:
                found.dangling.append(ref)
                self._complain(served, obj, ref, kind)
            elif waits_with(owner, FOREGROUND):
                found.waiting.append(ref)
            else:
                found.solid.append(ref)
        return found

    async def _owner(self, kind: Served, who: Object) -> Object | None:
        """As `_live`; but the hundred pods of one owner that is gone do not ask for it a hundred times. What once had a
        uid and is gone does not come back."""
        key = (kind, who["namespace"], who["name"], who["uid"])
        if key in self._absent:
            self._absent.move_to_end(key)
            return None
        owner = await self._live(kind, who)
        if owner is None:
            self._absent[key] = None
            if len(self._absent) > ABSENT:
                self._absent.popitem(last=False)
        return owner

    def _complain(self, served: Served, obj: Object, ref: Object, kind: Served) -> None:
        """An owner in another namespace is none, which surprises people."""
        known = self._kinds.with_uid(ref["uid"])
        namespace = obj["metadata"].get("namespace", "")
        if known is not None and kind.namespaced and known[1]["metadata"].get("namespace") != namespace:
            shown = {"apiVersion": served.resource.api_version, "kind": served.kind, "metadata": obj["metadata"]}
            named = ", ".join(f"{k}: {ref[k]}" for k in ("apiVersion", "kind", "name", "uid"))
            self._says.warning(
                shown, "OwnerRefInvalidNamespace", f'ownerRef [{named}] does not exist in namespace "{namespace}"'
            )

    # -- writes, each for the very state that was looked at

    async def _set_owners(self, served: Served, obj: Object, owners: list[Object]) -> Object:
        return await self._patch(served, obj, {"ownerReferences": owners or None})

    async def _let_go(self, served: Served, obj: Object, finalizer: str) -> None:
        kept = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
        await self._patch(served, obj, {"finalizers": kept or None})

    async def _patch(self, served: Served, obj: Object, change: Object) -> Object:
        meta = obj["metadata"]
        body = {"metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], **change}}
        return await self._client.patch(served.resource.path(meta.get("namespace"), meta["name"]), body)

    async def _delete(self, served: Served, obj: Object, policy: str) -> None:
        meta = obj["metadata"]
        try:
            await self._client.delete(
                served.resource.path(meta.get("namespace"), meta["name"]), uid=meta["uid"],
                resource_version=meta["resourceVersion"], propagation=policy,
            )  # fmt: skip
        except ApiError as e:
            if e.code != 404:
                raise
