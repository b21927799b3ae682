"""What pods refer to in the API, from caches that are kept as long as a pod of this node refers to it.

A node may read single objects that its pods name, and no others: each is followed by a watch of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from netlab.api import Json
from netlab.api.references import references
from netlab.client.indexer import by_namespace
from netlab.client.informer import Informers, Interest
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, RestClient
from netlab.kubelet import pods

SERVICES = Interest(Resource("v1", "services"))
ACCOUNTS, VOLUMES = Resource("v1", "serviceaccounts"), Resource("v1", "persistentvolumes")
#: seconds in which an object that a pod names has come, or is not there
PATIENCE = 5.0


class ApiWorld:
    """See `making.World`. changed: told the uids of the pods that refer to something that is another now."""

    def __init__(self, client: RestClient, informers: Informers, changed: Callable[[Iterable[str]], None]) -> None:
        self._client, self._informers, self._changed = client, informers, changed
        informers.of(SERVICES).add_index("namespace", by_namespace)
        #: by what is followed: the uids of the pods that want it
        self._wanted: dict[Interest, set[str]] = {}
        self._volumes: dict[str, Json] = {}

    @staticmethod
    def _interest(plural: str, namespace: str, name: str) -> Interest:
        return Interest(Resource("v1", plural), namespace=namespace, field_selector=f"metadata.name={name}")

    async def follow(self, pod: Json) -> None:
        """Know what a pod refers to; at least that it is not there."""
        namespace, uid = pod["metadata"].get("namespace", ""), pods.uid(pod)
        wanted = [self._interest(plural, namespace, name) for plural, name in sorted(references(pod["spec"]))]
        for interest in wanted:
            if interest not in self._wanted:
                self._wanted[interest] = set()
                self._informers.of(interest).add_handler(self._teller(interest))
            self._wanted[interest].add(uid)
        self._informers.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._informers.wait([SERVICES, *wanted])
        except TimeoutError:  # what has not come is not there, for now
            pass
        for interest in wanted:
            if interest.resource.plural == "persistentvolumeclaims":
                await self._volume_of(interest)

    async def _volume_of(self, interest: Interest) -> None:
        for claim in self._informers.of(interest).store:
            name = (claim.get("spec") or {}).get("volumeName")
            if name and name not in self._volumes:
                try:
                    self._volumes[name] = await self._client.get(VOLUMES.path(None, name))
                except ApiError:  # it is not there: whoever asks is told so
                    pass

    async def forget(self, uid: str) -> None:
        """A pod is gone."""
        for interest, uids in list(self._wanted.items()):
            uids.discard(uid)
            if not uids:
                del self._wanted[interest]
                await self._informers.forget(interest)

    def _teller(self, interest: Interest) -> Callable[[Json | None, Json | None], None]:
        def tell(old: Json | None, new: Json | None) -> None:
            self._changed(list(self._wanted.get(interest, ())))

        return tell

    def _named(self, plural: str, namespace: str, name: str) -> Json | None:
        interest = self._interest(plural, namespace, name)
        if interest not in self._wanted:
            return None
        return self._informers.of(interest).store.get(f"{namespace}/{name}")

    # -- making.World

    def configmap(self, namespace: str, name: str) -> Json | None:
        """None: there is none."""
        return self._named("configmaps", namespace, name)

    def secret(self, namespace: str, name: str) -> Json | None:
        """None: there is none."""
        return self._named("secrets", namespace, name)

    def claim(self, namespace: str, name: str) -> Json | None:
        """A PersistentVolumeClaim; None: there is none."""
        return self._named("persistentvolumeclaims", namespace, name)

    def volume(self, name: str) -> Json | None:
        """A PersistentVolume; None: there is none."""
        return self._volumes.get(name)

    def services(self, namespace: str) -> Sequence[Json]:
        """All of a namespace."""
        return self._informers.of(SERVICES).store.find("namespace", namespace)

    async def token(self, namespace: str, service_account: str, request: Json) -> Json:
        """A token for a pod. ApiError, ApiUnavailable."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": request}
        answer = await self._client.create(ACCOUNTS.path(namespace, service_account, "token"), body)
        found: Json = answer["status"]
        return found
