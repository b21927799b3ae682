"""Bootstrap tokens, with which new nodes come, are deleted when they expire.

The Secrets are `bootstrap-token-ID` in kube-system. Source: kubernetes pkg/controller/bootstrap/tokencleaner.go.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.rest import ApiError, Object
from netlab.controllers.shape import SECRETS, Tools, Watch

TYPE = "bootstrap.kubernetes.io/token"
TOKENS = Interest(SECRETS, namespace="kube-system", field_selector=f"type={TYPE}")


def expiration(secret: Object) -> float | None:
    """When a token expires (since 1970); None for never. One that cannot be read has expired."""
    text = (secret.get("data") or {}).get("expiration")
    if not text:
        return None
    try:
        return times.parse(b64decode(text).decode()).timestamp()
    except (Error, UnicodeDecodeError, times.TimeError):
        return 0.0


class TokenCleaner:
    """Keys are those of Secrets."""

    NAME = "token-cleaner-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._now = tools.client, tools.now
        self._secrets = tools.store(TOKENS)
        self.WATCHES = (Watch(TOKENS),)

    async def reconcile(self, key: str) -> float | None:
        """Delete it when its time is up; seconds until then."""
        secret = self._secrets.get(key)
        until = None if secret is None else expiration(secret)
        if secret is None or until is None:
            return None
        left = until - self._now()
        if left > 0:
            return left
        try:
            await self._client.delete(SECRETS.at(key), uid=secret["metadata"]["uid"])
        except ApiError as e:
            if e.code not in (404, 409):
                raise
        return None
