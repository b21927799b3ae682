"""Authentication: client certificate, bearer token (ServiceAccount, static file, bootstrap), anonymous.

A request with credentials that are wrong is refused (401), not taken for anonymous.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from aiohttp import web

from netlab.api import Json, status, times
from netlab.apiserver import objects
from netlab.apiserver.call import ANONYMOUS, Call, User
from netlab.apiserver.tokens import Tokens
from netlab.store.protocol import Store

#: tokens whose check is remembered, and for how many seconds
REMEMBERED, REMEMBER_FOR = 4096, 10.0

AUTHENTICATED = "system:authenticated"
_BOOTSTRAP = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")


def static_tokens(text: str) -> dict[str, User]:
    """A token file: `token,user,uid,"group1,group2"` a line."""
    found = {}
    for row in csv.reader(io.StringIO(text)):
        if len(row) < 3 or not row[0].strip():
            continue
        groups = tuple(g.strip() for g in row[3].split(",")) if len(row) > 3 and row[3] else ()
        found[row[0].strip()] = User(row[1].strip(), (*groups, AUTHENTICATED), row[2].strip())
    return found


@lru_cache(1024)
def _subject(subject: tuple[tuple[tuple[str, str], ...], ...]) -> User | None:
    name, groups = "", []
    for part in subject:
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return User(name, (*groups, AUTHENTICATED)) if name else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Authenticator:
    """Who a request comes from. audiences: of tokens that are for this server."""

    def __init__(
        self, store: Store, tokens: Tokens, now: Callable[[], float], static: dict[str, User] | None = None,
        audiences: Sequence[str] = (), *, anonymous: bool = True,
    ) -> None:  # fmt: skip
        self.store, self.tokens, self.now = store, tokens, now
        # by their digests: a thousand nodes have a thousand tokens, and how long a look-up takes tells nothing of them
        self._static = {_digest(token): user for token, user in (static or {}).items()}
        self.audiences = tuple(audiences) or (tokens.issuer,)
        self.anonymous = anonymous
        self._known: OrderedDict[str, tuple[float, User]] = OrderedDict()

    async def __call__(self, call: Call) -> User:
        """The user. ApiError 401."""
        peer: Any = None
        transport = call.request.transport
        if transport is not None:
            peer = transport.get_extra_info("peercert")
        if peer:
            user = _subject(peer["subject"])
            if user is not None:
                return user
        header = call.request.headers.get("Authorization", "")
        if not header:
            header = self._websocket(call.request)
        if not header:
            if self.anonymous:
                return ANONYMOUS
            raise status.unauthorized()
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            if self.anonymous and scheme.lower() != "bearer":
                return ANONYMOUS
            raise status.unauthorized()
        user = await self.token_user(token, self.audiences)
        if user is None:
            raise status.unauthorized()
        return user

    @staticmethod
    def _websocket(request: web.BaseRequest) -> str:
        """Browsers can send a token only as a WebSocket subprotocol."""
        prefix = "base64url.bearer.authorization.k8s.io."
        for name in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if name.strip().startswith(prefix):
                encoded = name.strip().removeprefix(prefix)
                try:
                    return "Bearer " + b64decode(encoded + "=" * (-len(encoded) % 4), b"-_").decode()
                except ValueError:
                    return "Bearer "
        return ""

    async def token_user(self, token: str, audiences: Sequence[str]) -> User | None:
        """Who a token stands for, None if it is not good."""
        if self._static and (static := self._static.get(_digest(token))) is not None:
            return static
        match = _BOOTSTRAP.fullmatch(token)
        if match:
            return await self._bootstrap(match[1], match[2])
        if token.count(".") != 2 or len(token) > 16384:
            return None
        key = token + "|" + ",".join(audiences)
        remembered = self._known.get(key)
        # never for longer, should somebody set the clock back
        if remembered is not None and 0 < remembered[0] - self.now() <= REMEMBER_FOR:
            return remembered[1]
        claims = self.tokens.verify(token, audiences)
        if claims is None:
            return None
        found = await self._account(claims)
        if found is not None:
            self._known[key] = (min(self.now() + REMEMBER_FOR, claims["exp"]), found)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    async def _account(self, claims: Json) -> User | None:
        private = claims.get("kubernetes.io") or {}
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        name = account.get("name", "")
        if claims["sub"] != f"system:serviceaccount:{namespace}:{name}":
            return None
        if not await self._lives(f"/registry/serviceaccounts/{namespace}/{name}", account.get("uid", "")):
            return None
        extra: list[tuple[str, tuple[str, ...]]] = []
        for kind, where in (("pod", f"pods/{namespace}"), ("secret", f"secrets/{namespace}"), ("node", "minions")):
            bound = private.get(kind)
            if not bound:
                continue
            if kind != "node" and not await self._lives(f"/registry/{where}/{bound['name']}", bound.get("uid", "")):
                return None
            if kind != "secret":
                extra += [
                    (f"authentication.kubernetes.io/{kind}-name", (bound["name"],)),
                    (f"authentication.kubernetes.io/{kind}-uid", (bound.get("uid", ""),)),
                ]
        if "jti" in claims:
            extra.append(("authentication.kubernetes.io/credential-id", (f"JTI={claims['jti']}",)))
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(claims["sub"], groups, account.get("uid", ""), tuple(extra))

    async def _lives(self, key: str, uid: str) -> bool:
        kv, _ = await self.store.get(key)
        if kv is None:
            return False
        meta = objects.load(kv)["metadata"]
        return bool(meta.get("uid") == uid)

    async def _bootstrap(self, identity: str, secret: str) -> User | None:
        kv, _ = await self.store.get(f"/registry/secrets/kube-system/bootstrap-token-{identity}")
        if kv is None:
            return None
        obj = objects.load(kv)
        if obj.get("type") != "bootstrap.kubernetes.io/token" or obj["metadata"].get("deletionTimestamp"):
            return None
        try:
            data = {k: b64decode(v).decode() for k, v in (obj.get("data") or {}).items()}
            expires = times.parse(data["expiration"]).timestamp() if data.get("expiration") else None
        except ValueError:
            return None
        good = hmac.compare_digest(data.get("token-secret", "").encode(), secret.encode())
        good = good and data.get("token-id") == identity and data.get("usage-bootstrap-authentication") == "true"
        if not good or (expires is not None and expires <= self.now()):
            return None
        groups = [g for g in data.get("auth-extra-groups", "").split(",") if g.startswith("system:bootstrappers:")]
        return User(f"system:bootstrap:{identity}", ("system:bootstrappers", *groups, AUTHENTICATED))
