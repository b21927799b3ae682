"""Every kind that a server has, as they come and go: for those who care about all objects, whatever they are.

Discovery is asked when a CustomResourceDefinition changes, and now and then. Of each object only its metadata is held,
and of that only what says whose it is. Source: kubernetes pkg/controller/garbagecollector (monitors).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Protocol

from netlab.client.backoff import Backoff
from netlab.client.informer import Handler, Informer, Informers, Interest
from netlab.client.reflector import Sleep
from netlab.client.resources import Resource, Served, discover, distinct
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient

log = logging.getLogger(__name__)

CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions")
#: seconds after which discovery is asked without a reason: aggregated APIs come without a CRD
REFRESH = 30.0
#: of these there are many, and nobody owns them, or is owned by them
_IGNORED = ("events",)
#: what is held of an object at least
KEPT = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")


class KindHandler(Protocol):
    """Told of the changes of every object but events, with what it is one of; see `informer.Handler`."""

    def __call__(self, served: Served, old: Object | None, new: Object | None, /) -> None: ...


def lean(obj: Object) -> Object:
    """What is held of an object: who it is and whose."""
    metadata = obj["metadata"]
    return {"metadata": {name: metadata[name] for name in KEPT if name in metadata}}


def _uid(obj: Object) -> Iterator[str]:
    yield str(obj["metadata"].get("uid", ""))


def _owners(obj: Object) -> Iterator[str]:
    for owner in obj["metadata"].get("ownerReferences") or ():
        yield str(owner.get("uid", ""))


class Kinds:
    """`refresh` or `run` fill it. Objects are found by their uid and by that of their owners.

    shared: interests of others that keep KEPT, too: these resources are then not watched twice.
    """

    def __init__(
        self, client: RestClient, informers: Informers, *, shared: Iterable[Interest] = (), sleep: Sleep = asyncio.sleep
    ) -> None:
        self._client, self._informers, self._sleep = client, informers, sleep
        self._shared = {interest.resource: interest for interest in shared}
        self._served: list[Served] = []
        self._by_kind: dict[tuple[str, str], Served] = {}
        self._followed: dict[Served, Informer] = {}
        #: by uid, of what there is: it is asked for at every change of everything that has an owner
        self._kind_of: dict[str, Served] = {}
        self._handlers: list[KindHandler] = []
        self._definitions = informers.of(CRDS)
        self._definitions.add_handler(self._changed)
        self._dirty, self._known = asyncio.Event(), asyncio.Event()
        self._refreshing = asyncio.Lock()

    # -- what there is

    def __iter__(self) -> Iterator[Served]:
        """Each resource once, in its preferred version."""
        return iter(self._served)

    def find(self, api_version: str, kind: str) -> Served | None:
        """The resource of a kind, in any version that is served."""
        return self._by_kind.get((api_version, kind))

    def with_uid(self, uid: str) -> tuple[Served, Object] | None:
        """The object of a uid."""
        served = self._kind_of.get(uid)
        informer = self._followed.get(served) if served is not None else None
        if served is None or informer is None:
            return None
        return next(((served, obj) for obj in informer.store.find("uid", uid)), None)

    def owned_by(self, uid: str) -> list[tuple[Served, Object]]:
        """The objects that name this uid as an owner."""
        return [
            (served, obj) for served, informer in self._followed.items() for obj in informer.store.find("owner", uid)
        ]

    # -- following

    def follow(self, handler: KindHandler) -> None:
        """Have all objects of all kinds followed, from the next `refresh` on, and this one told."""
        self._handlers.append(handler)

    async def refresh(self) -> None:
        """Ask the server what it has, and follow that if anybody wants it. ApiError, ApiUnavailable, NetlabError."""
        async with self._refreshing:
            found = await discover(self._client)
            self._by_kind = {(s.resource.api_version, s.kind): s for s in found}
            self._served = distinct(found)
            if self._handlers:
                whole = [s for s in self._served if {"list", "watch", "delete"} <= s.verbs]
                await self._follow([s for s in whole if s.resource.plural not in _IGNORED])
            self._known.set()

    async def wait(self) -> None:
        """Until there was a first `refresh`, and every object of the kinds that it found has been told."""
        await self._known.wait()
        await self._informers.wait([informer.interest for informer in self._followed.values()])

    async def run(self) -> None:
        """Refresh when there is a reason, until cancelled."""
        backoff = Backoff()
        while True:
            self._dirty.clear()
            try:
                await self.refresh()
            except (ApiError, ApiUnavailable) as e:
                log.warning("discovery is tried again: %s", e)
                await self._sleep(backoff.next())
                continue
            if self._behind():
                # a definition is established a moment before its kind is served
                await self._sleep(backoff.next())
                continue
            backoff.reset()
            try:
                async with asyncio.timeout(REFRESH):
                    await self._dirty.wait()
            except TimeoutError:
                pass

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self._dirty.set()

    def _behind(self) -> bool:
        """Whether discovery does not say yet what the definitions say."""
        there = {(s.resource.group, s.resource.plural) for s in self._served}
        return any(_brought(crd) not in there for crd in self._definitions.store if _established(crd))

    async def _follow(self, wanted: list[Served]) -> None:
        for served in [s for s in self._followed if s not in wanted]:
            informer = self._followed.pop(served)
            await self._informers.forget(informer.interest)
            for obj in list(informer.store):
                self._tell(served, obj, None)
        for served in wanted:
            if served not in self._followed:
                own = Interest(served.resource, metadata=True, keep=lean)
                interest = self._shared.get(served.resource, own)
                informer = self._followed[served] = self._informers.of(interest)
                informer.add_index("uid", _uid)
                informer.add_index("owner", _owners)
                informer.add_handler(self._teller(served))
        self._informers.start()

    def _teller(self, served: Served) -> Handler:
        def tell(old: Object | None, new: Object | None) -> None:
            self._tell(served, old, new)

        return tell

    def _tell(self, served: Served, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._kind_of[new["metadata"].get("uid", "")] = served
        elif old is not None:
            self._kind_of.pop(old["metadata"].get("uid", ""), None)
        for handler in self._handlers:
            handler(served, old, new)


def _established(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    established = any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)
    served = any(version.get("served") for version in crd["spec"]["versions"])
    return established and served and not crd["metadata"].get("deletionTimestamp")


def _brought(crd: Object) -> tuple[str, str]:
    """Group and plural of what a definition brings; which of its versions is preferred is the server's to say."""
    return crd["spec"]["group"], crd["spec"]["names"]["plural"]
