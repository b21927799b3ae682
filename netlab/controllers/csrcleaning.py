"""Certificate requests that are of no use any more are deleted.

Source: kubernetes pkg/controller/certificates/cleaner.
"""

from __future__ import annotations

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, Object
from netlab.controllers.certificates import condition
from netlab.controllers.owning import created
from netlab.controllers.shape import Tools, Watch

REQUESTS = Resource("certificates.k8s.io/v1", "certificatesigningrequests")
#: seconds for which one is kept that was decided, and one that was not
DECIDED, PENDING = 3600.0, 86400.0


def expires(obj: Object) -> float:
    """When a request may go (since 1970)."""
    decided = [c for kind in ("Approved", "Denied", "Failed") if (c := condition(obj, kind)) is not None]
    if not decided:
        return created(obj) + PENDING
    stamps = [c.get("lastUpdateTime") or c.get("lastTransitionTime") for c in decided]
    known = [times.parse(stamp).timestamp() for stamp in stamps if stamp]
    return max(known, default=created(obj)) + DECIDED


class CertificateCleaner:
    """Keys are names of requests."""

    NAME = "certificatesigningrequest-cleaner-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._now = tools.client, tools.now
        self._requests = tools.store(Interest(REQUESTS))
        self.WATCHES = (Watch(Interest(REQUESTS)),)

    async def reconcile(self, key: str) -> float | None:
        """Delete it when its time is up; seconds until then."""
        obj = self._requests.get(key)
        if obj is None:
            return None
        left = expires(obj) - self._now()
        if left > 0:
            return left
        try:
            await self._client.delete(REQUESTS.at(key), uid=obj["metadata"]["uid"])
        except ApiError as e:
            if e.code not in (404, 409):
                raise
        return None
