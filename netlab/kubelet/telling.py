"""The status of a pod, written to the API: only what changed, only when something has, and only of that very pod.

Source: kubernetes pkg/kubelet/status/status_manager.go.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from netlab.api import Json
from netlab.client.backoff import Backoff
from netlab.client.resources import Resource
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, ApiUnavailable, RestClient
from netlab.kubelet import pods
from netlab.kubelet.needs import Clock

log = logging.getLogger("kubelet")

PODS = Resource("v1", "pods")
#: what of a status is the kubelet's
_OWN = (
    "phase", "reason", "message", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "qosClass",
    "initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses",
)  # fmt: skip
#: lists that a strategic merge would merge, and that are to be as they are told
_WHOLE = ("hostIPs", "podIPs")


def _plain(value: Any) -> Any:
    """Without what is nothing: a server may leave it out."""
    if isinstance(value, dict):
        return {k: v for k, v in ((k, _plain(v)) for k, v in value.items()) if v not in (None, {}, [])}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def patch_of(old: Json, new: Json) -> Json | None:
    """What makes an old status the new one; None if there is nothing to change. Conditions of others stay."""
    found: Json = {}
    for name in _OWN:
        if _plain(old.get(name)) == _plain(new.get(name)) or (not old.get(name) and not new.get(name)):
            continue
        value = new.get(name)
        found[name] = [{"$patch": "replace"}, *value] if name in _WHOLE and value else value
    there = {kind: _plain(c) for kind, c in pods.conditions(old).items()}
    changed = [
        {**dict.fromkeys(there.get(c["type"], ()), None), **c}
        for c in new.get("conditions") or () if there.get(c["type"]) != _plain(c)
    ]  # fmt: skip
    if changed:
        found["conditions"] = changed
    return found or None


class Teller:
    """Of one pod. known: the status as the API has it. The newest word is written; those before it need not be."""

    def __init__(self, client: RestClient, clock: Clock, pod: Json) -> None:
        self._client, self._clock = client, clock
        self._uid, self.gone = "", False
        self.about(pod)
        #: a static pod is told of when it has a mirror
        self.gone = pods.static(pod) and not pods.mirror(pod)
        self._next: Json | None = None
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff(first=0.5, last=10.0)

    def about(self, pod: Json) -> None:
        """Which object's status it is: of a static pod, that of its mirror."""
        meta = pod["metadata"]
        self._path = PODS.path(meta.get("namespace", ""), meta["name"], "status")
        if self._uid == meta["uid"] and not self.gone:
            return
        self._uid = meta["uid"]
        self.known: Json = pod.get("status") or {}
        self.gone, self._revision = False, 0

    def seen(self, pod: Json) -> None:
        """The object as somebody has left it: what others did to the status is to be made good."""
        revision = pod["metadata"].get("resourceVersion", "")
        if self._next is None and revision.isdecimal() and int(revision) > self._revision:
            self.known = pod.get("status") or {}

    def tell(self, status: Json) -> None:
        """The status is this now."""
        if self.gone or (self._next or self.known) is status:
            return
        if patch_of(self._next or self.known, status) is None:
            return
        self._next = status
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name=f"status {self._path}")

    async def told(self) -> None:
        """Until it is written, or there is nobody to be told."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def aclose(self) -> None:
        """Write no more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _write(self) -> None:
        while (status := self._next) is not None and not self.gone:
            patch = patch_of(self.known, status)
            if patch is None:
                self._next = None
                return
            body = {"metadata": {"uid": self._uid}, "status": patch}
            try:
                written = await self._client.patch(self._path, body, kind=STRATEGIC_MERGE_PATCH)
            except ApiError as e:
                if e.code == 404 or (e.code == 409 and "uid" in e.message.lower()):
                    self.gone, self._next = True, None
                    return
                log.warning("a status is not taken: %s", e)
                if e.code == 422:  # it will not be taken another time either
                    self.known, self._next = status, None if self._next is status else self._next
                    continue
                await self._clock.sleep(self._backoff.next())
            except ApiUnavailable as e:
                log.info("a status waits: %s", e)
                await self._clock.sleep(self._backoff.next())
            else:
                self._backoff.reset()
                self.known = status
                revision = written["metadata"].get("resourceVersion", "")
                self._revision = int(revision) if revision.isdecimal() else 0
                if self._next is status:
                    self._next = None
