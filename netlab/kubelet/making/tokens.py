"""ServiceAccount tokens of pods: asked for when one is needed, and again at four fifths of its life.

Source: kubernetes pkg/kubelet/token/token_manager.go.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple

from netlab.api import Json
from netlab.base.errors import NetlabError
from netlab.kubelet.making.world import Missing

log = logging.getLogger("kubelet.tokens")

#: part of its life after which a token is renewed, and the age at which it is in any case (seconds)
_RENEW, _OLDEST = 0.8, 24 * 3600
#: seconds that the API server gives to one who does not say
_DEFAULT_LIFE = 3600

Ask = Callable[[str, str, Json], Awaitable[Json]]


class _Key(NamedTuple):
    pod: str
    namespace: str
    account: str
    audience: str
    seconds: int


class _Token(NamedTuple):
    text: str
    asked: float
    expires: float

    def stale(self, now: float) -> bool:
        return now >= self.asked + min(_OLDEST, _RENEW * (self.expires - self.asked))


class Tokens:
    """ask: as `World.token`. now: seconds since the epoch."""

    def __init__(self, ask: Ask, now: Callable[[], float] = time.time) -> None:
        self._ask, self._now = ask, now
        self._known: dict[_Key, _Token] = {}

    async def get(self, pod: Json, source: Json) -> str:
        """The token that a serviceAccountToken source asks for. Missing (FailedMount) if there is none that is good."""
        meta = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        seconds = int(source.get("expirationSeconds") or _DEFAULT_LIFE)
        key = _Key(meta["uid"], meta["namespace"], account, source.get("audience") or "", seconds)
        known = self._known.get(key)
        if known is not None and not known.stale(self._now()):
            return known.text
        request = {
            "audiences": [key.audience] if key.audience else [], "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        }  # fmt: skip
        asked = self._now()
        try:
            status = await self._ask(key.namespace, account, request)
        except NetlabError as e:
            if known is not None and known.expires > self._now():
                log.warning("token of %s/%s is not renewed: %s", key.namespace, account, e.message)
                return known.text
            raise Missing("FailedMount", f"failed to fetch token: {e.message}") from e
        expires = datetime.fromisoformat(status["expirationTimestamp"].replace("Z", "+00:00")).timestamp()
        self._known[key] = _Token(status["token"], asked, expires)
        return str(status["token"])

    def forget(self, uid: str) -> None:
        """Those of a pod that is gone."""
        for key in list(self._known):  # a copy: others may come meanwhile, in the event loop
            if key.pod == uid:
                self._known.pop(key, None)
