"""Mirror pods kept: one for each static pod, of its very content; those of none go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from netlab.api import Json
from netlab.client.informer import Informer
from netlab.client.resources import key_of
from netlab.client.rest import ApiError, ApiUnavailable, RestClient
from netlab.kubelet import pods
from netlab.kubelet.needs import Clock
from netlab.kubelet.static import mirror_of
from netlab.kubelet.telling import PODS

log = logging.getLogger("kubelet")

#: seconds until what the API refused is tried again
AGAIN = 5.0


class Mirrors:
    """static: the static pods that there are to be; node: the Node object; found: told of each mirror that is right."""

    def __init__(
        self, client: RestClient, informer: Informer, clock: Clock, *, static: Callable[[], Iterable[Json]],
        node: Callable[[], Json], found: Callable[[str, Json], None],
    ) -> None:  # fmt: skip
        self._client, self._informer, self._clock = client, informer, clock
        self._static, self._node, self._found = static, node, found
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.wake.clear()
            try:
                await self._keep()
            except (ApiError, ApiUnavailable) as e:
                log.warning("mirror pods: %s", e)
                await self._clock.wait(self.wake, AGAIN)
                continue
            await self.wake.wait()

    async def _keep(self) -> None:
        wanted = {key_of(pod): pod for pod in self._static()}
        there = {key_of(pod): pod for pod in self._informer.store if pods.mirror(pod)}
        for key, mirror in there.items():
            static = wanted.get(key)
            right = static is not None and pods.annotations_of(mirror)[pods.MIRROR] == pods.uid(static)
            if not right or pods.deleted(mirror):
                await self._delete(key, mirror)
            elif static is not None:
                self._found(pods.uid(static), mirror)
        for key, static in wanted.items():
            if key not in there:
                namespace = static["metadata"]["namespace"]
                made = await self._client.create(PODS.path(namespace), mirror_of(static, self._node()))
                self._found(pods.uid(static), made)

    async def _delete(self, key: str, mirror: Json) -> None:
        try:
            await self._client.delete(PODS.at(key), uid=pods.uid(mirror), grace=0)
        except ApiError as e:
            if e.code not in (404, 409):
                raise
