"""What controllers of pods have in common: whose a pod is, whether it runs, what was begun and is not seen yet.

A pod belongs to whom its controlling owner reference names. One that a selector means and nobody has is adopted, one
that its owner's selector means no longer is released. Source: kubernetes pkg/controller/controller_utils.go and
controller_ref_manager.go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from netlab.api import times
from netlab.api.selectors import LabelSelector, SelectorError, from_object
from netlab.client.indexer import orphans_of
from netlab.client.resources import Resource, key_of
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, Object, RestClient
from netlab.controllers.shape import PODS, Says, Store

#: seconds after which what was begun is no longer waited for
EXPECTED = 300.0
#: pods that are made for one key by one reconcile, at most
BURST = 500
ENDED = ("Succeeded", "Failed")
_LONG_AGO = float("-inf")


def controller_of(obj: Object) -> Object | None:
    """The owner reference of the one that controls it."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return dict(owner)
    return None


def owned_by(obj: Object, uid: str) -> bool:
    """Whether this one controls it."""
    owner = controller_of(obj)
    return owner is not None and owner.get("uid") == uid


def owner_reference(owner: Object, api_version: str, kind: str) -> Object:
    """What makes `owner` control an object."""
    meta = owner["metadata"]
    return {"apiVersion": api_version, "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True,
            "blockOwnerDeletion": True}  # fmt: skip


def owner_key(kind: str) -> Callable[[Object | None, Object | None], Iterable[str]]:
    """The keys of the owners of a kind, before and after a change: for a Watch of what is owned."""

    def keys(old: Object | None, new: Object | None) -> Iterable[str]:
        found = set()
        for obj in (old, new):
            owner = None if obj is None else controller_of(obj)
            if obj is not None and owner is not None and owner.get("kind") == kind:
                found.add(f"{obj['metadata']['namespace']}/{owner['name']}")
        return found

    return keys


def selector_of(owner: Object) -> LabelSelector | None:
    """The selector of a workload; None for one that selects nothing or is none. A ReplicationController's is a map."""
    given = (owner.get("spec") or {}).get("selector")
    if isinstance(given, dict) and given and all(isinstance(value, str) for value in given.values()):
        given = {"matchLabels": given}
    try:
        return from_object(given)
    except SelectorError:
        return None


# -- pods


def phase(pod: Object) -> str:
    """Pending, Running, Succeeded, Failed or Unknown."""
    return str((pod.get("status") or {}).get("phase", ""))


def ending(pod: Object) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def active(pod: Object) -> bool:
    """Whether it runs, or is going to."""
    return phase(pod) not in ENDED and not ending(pod)


def ready_since(pod: Object) -> float | None:
    """Seconds since 1970; None if it is not ready."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            return _seconds(condition.get("lastTransitionTime")) if condition.get("status") == "True" else None
    return None


def available(pod: Object, seconds: int, now: float) -> bool:
    """Whether it has been ready for so long."""
    since = ready_since(pod)
    return since is not None and (not seconds or since + seconds <= now)


def created(obj: Object) -> float:
    """Seconds since 1970."""
    return _seconds(obj["metadata"].get("creationTimestamp"))


@lru_cache(4096)  # those of a hundred pods are asked for whenever one of them changes
def _seconds(stamp: str | None) -> float:
    if not stamp:
        return _LONG_AGO
    try:
        return times.parse(stamp).timestamp()
    except times.TimeError:
        return _LONG_AGO


def pod_of(template: Object, owner: Object, api_version: str, kind: str) -> Object:
    """A pod of a workload, to be given its name by the server."""
    meta = template.get("metadata") or {}
    kept = {name: meta[name] for name in ("labels", "annotations", "finalizers") if meta.get(name)}
    return {
        "apiVersion": "v1", "kind": "Pod", "spec": template.get("spec") or {},
        "metadata": {
            **kept, "generateName": f"{owner['metadata']['name']}-", "namespace": owner["metadata"]["namespace"],
            "ownerReferences": [owner_reference(owner, api_version, kind)],
        },
    }  # fmt: skip


# -- making and deleting


@dataclass(slots=True)
class _Begun:
    """Uids of pods by their keys, as they are still to be seen; since: seconds of a clock that only grows."""

    made: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    since: float = 0.0


class Expectations:
    """What was begun for each key: caches are late, and a pod that is not seen yet must not be made twice."""

    def __init__(self, pods: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._pods, self._clock = pods, clock
        self._begun: dict[str, _Begun] = {}

    def met(self, key: str) -> bool:
        """Whether the cache shows all of it, or it has been too long."""
        begun = self._begun.get(key)
        if begun is None:
            return True
        if self._clock() - begun.since <= EXPECTED:
            begun.made = {k: uid for k, uid in begun.made.items() if self._uid(k) != uid}
            begun.deleted = {k: uid for k, uid in begun.deleted.items() if self._runs(k, uid)}
            if begun.made or begun.deleted:
                return False
        del self._begun[key]
        return True

    def made(self, key: str, pod: Object) -> None:
        """A pod was made; as the server answered."""
        self._of(key).made[key_of(pod)] = pod["metadata"]["uid"]

    def deleted(self, key: str, pod: Object) -> None:
        """A pod was deleted."""
        self._of(key).deleted[key_of(pod)] = pod["metadata"]["uid"]

    def gone(self, pod: Object) -> None:
        """A pod is not there any more: whoever waits to see it come does not."""
        owner = controller_of(pod)
        if owner is not None:
            begun = self._begun.get(f"{pod['metadata']['namespace']}/{owner['name']}")
            if begun is not None:
                begun.made.pop(key_of(pod), None)

    def forget(self, key: str) -> None:
        """The workload is gone."""
        self._begun.pop(key, None)

    def _of(self, key: str) -> _Begun:
        begun = self._begun.setdefault(key, _Begun())
        begun.since = self._clock()
        return begun

    def _uid(self, key: str) -> str:
        there = self._pods.get(key)
        return "" if there is None else str(there["metadata"].get("uid", ""))

    def _runs(self, key: str, uid: str) -> bool:
        there = self._pods.get(key)
        return there is not None and there["metadata"].get("uid") == uid and not ending(there)


async def slow_start(count: int, make: Callable[[int], Awaitable[None]]) -> None:
    """Do it so many times, 1, then 2, 4 … at once, so that what cannot be done fails once. What fails is raised."""
    done, batch = 0, 1
    while done < count:
        number = min(batch, count - done)
        results = await asyncio.gather(*(make(done + n) for n in range(number)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        done, batch = done + number, batch * 2


class PodControl:
    """Makes and deletes the pods of a kind of workload, says so, and expects to see it."""

    def __init__(self, client: RestClient, says: Says, expected: Expectations, api_version: str, kind: str) -> None:
        self._client, self._says, self._expected = client, says, expected
        self._api_version, self._kind = api_version, kind

    async def create(self, key: str, owner: Object, template: Object, **metadata: object) -> None:
        """Make one. metadata: more of it. ApiError, unless the namespace ends."""
        pod = pod_of(template, owner, self._api_version, self._kind)
        pod["metadata"].update(metadata)
        try:
            made = await self._client.create(PODS.path(owner["metadata"]["namespace"]), pod)
        except ApiError as e:
            if any(cause.get("reason") == "NamespaceTerminating" for cause in e.details.get("causes") or ()):
                return
            self._says.warning(owner, "FailedCreate", f"Error creating: {e}")
            raise
        self._expected.made(key, made)
        self._says.normal(owner, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")

    async def delete(self, key: str, owner: Object, pod: Object) -> None:
        """Delete one. ApiError."""
        meta = pod["metadata"]
        try:
            await self._client.delete(PODS.at(key_of(pod)), uid=meta["uid"])
        except ApiError as e:
            if e.code in (404, 409):
                return
            self._says.warning(owner, "FailedDelete", f"Error deleting: {e}")
            raise
        self._expected.deleted(key, pod)
        self._says.normal(owner, "SuccessfulDelete", f"Deleted pod: {meta['name']}")


async def claim(
    client: RestClient, store: Store, resource: Resource, owner: Object, api_version: str, kind: str, *,
    mine: Callable[[Object], bool] = lambda _: True,
) -> list[Object]:  # fmt: skip
    """The objects of a resource that belong to a workload, after some were adopted and others released. ApiError.

    mine: what has to be so beside the selector's match.
    """
    meta, selector = owner["metadata"], selector_of(owner)
    owned = store.find("controller", meta["uid"])
    if selector is None:
        return owned
    found = []
    for obj in owned:
        if (selector.matches(obj["metadata"].get("labels")) and mine(obj)) or ending(owner):
            found.append(obj)
        else:
            await _release(client, resource, obj, meta["uid"])
    if ending(owner):
        return found
    for obj in store.find("controller", orphans_of(meta["namespace"])):
        if selector.matches(obj["metadata"].get("labels")) and active(obj) and mine(obj):
            await _adopt(client, resource, obj, owner_reference(owner, api_version, kind))
            found.append(obj)
    return found


async def _adopt(client: RestClient, resource: Resource, obj: Object, reference: Object) -> None:
    patch = {"metadata": {"uid": obj["metadata"]["uid"], "ownerReferences": [reference]}}
    await client.patch(resource.at(key_of(obj)), patch, kind=STRATEGIC_MERGE_PATCH)


async def _release(client: RestClient, resource: Resource, obj: Object, uid: str) -> None:
    patch = {"metadata": {"uid": obj["metadata"]["uid"], "ownerReferences": [{"$patch": "delete", "uid": uid}]}}
    try:
        await client.patch(resource.at(key_of(obj)), patch, kind=STRATEGIC_MERGE_PATCH)
    except ApiError as e:
        if e.code not in (404, 422):  # it is gone, or another by now
            raise


async def write_status(client: RestClient, resource: Resource, obj: Object, wanted: Object) -> None:
    """Replace the status if it is another. ApiError."""
    if (obj.get("status") or {}) != wanted:
        await client.replace(resource.at(key_of(obj), "status"), {**obj, "status": wanted})


def numbers(**counts: int) -> Object:
    """Of a status, the counts that are not zero: zeros are left out, as the original does."""
    return {name: number for name, number in counts.items() if number}


def with_condition(conditions: Sequence[Object], new: Object, stamp: str, *, updated: bool = False) -> list[Object]:
    """The conditions with one more, or changed. lastTransitionTime stays while the status does; updated: whether
    there is a lastUpdateTime, too."""
    there = next((c for c in conditions if c["type"] == new["type"]), None)
    if there is not None and all(there.get(k, "") == v for k, v in new.items() if k in ("status", "reason", "message")):
        return list(conditions)
    since = there["lastTransitionTime"] if there is not None and there["status"] == new["status"] else stamp
    made = {**new, "lastTransitionTime": since, **({"lastUpdateTime": stamp} if updated else {})}
    return [c for c in conditions if c["type"] != new["type"]] + [made]
