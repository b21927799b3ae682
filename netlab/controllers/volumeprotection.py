"""Claims and volumes that are in use are deleted when they no longer are: a finalizer holds them until then.

Source: kubernetes pkg/controller/volume/{pvcprotection,pvprotection}, which are two there.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.owning import ENDED, ending, phase
from netlab.controllers.shape import LEAN_PODS, PODS, Tools, Watch
from netlab.scheduler.matching import claims_of

CLAIMS, VOLUMES = Resource("v1", "persistentvolumeclaims"), Resource("v1", "persistentvolumes")
OF_CLAIMS, OF_VOLUMES = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"


class VolumeProtection:
    """Keys are those of claims (`namespace/name`) and of volumes (`name`)."""

    NAME = "volume-protection-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._pods = tools.client, tools.store(LEAN_PODS)
        self._claims, self._volumes = tools.store(Interest(CLAIMS)), tools.store(Interest(VOLUMES))
        #: pods by the claims that they use
        self._users: dict[str, set[str]] = {}
        self.WATCHES = (
            Watch(Interest(CLAIMS), _held), Watch(Interest(VOLUMES), _held), Watch(LEAN_PODS, self._of_pod),
        )  # fmt: skip

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Keeps who uses what; a claim that nobody uses any more is looked at."""
        pod = new if new is not None else old
        assert pod is not None
        key, used = key_of(pod), new is not None and phase(new) not in ENDED
        for name in claims_of(pod):
            claim = f"{pod['metadata']['namespace']}/{name}"
            if used:
                self._users.setdefault(claim, set()).add(key)
            else:
                users = self._users.get(claim, set())
                users.discard(key)
                if not users:
                    self._users.pop(claim, None)
                    yield claim

    async def reconcile(self, key: str) -> float | None:
        """Let it go if it is to go and nobody uses it."""
        if "/" in key:
            claim = self._claims.get(key)
            if claim is not None and ending(claim) and not self._users.get(key) and not await self._used(claim):
                await self._let_go(CLAIMS, claim, OF_CLAIMS)
            return None
        volume = self._volumes.get(key)
        if volume is not None and ending(volume) and (volume.get("status") or {}).get("phase") != "Bound":
            await self._let_go(VOLUMES, volume, OF_VOLUMES)
        return None

    async def _used(self, claim: Object) -> bool:
        """Whether a pod uses it that our cache does not have yet: what is deleted cannot be had back."""
        meta = claim["metadata"]
        pods = (await self._client.list(PODS.path(meta["namespace"])))["items"]
        return any(phase(pod) not in ENDED and meta["name"] in claims_of(pod) for pod in pods)

    async def _let_go(self, resource: Resource, obj: Object, finalizer: str) -> None:
        meta = obj["metadata"]
        rest = [f for f in meta.get("finalizers") or () if f != finalizer]
        if rest == (meta.get("finalizers") or []):
            return
        patch = {"metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], "finalizers": rest}}
        try:
            await self._client.patch(resource.at(key_of(obj)), patch)
        except ApiError as e:
            if e.code != 404:
                raise


def _held(_old: Object | None, new: Object | None) -> Iterable[str]:
    return () if new is None or not ending(new) else (key_of(new),)
