"""Who may ask the kubelet: those whose client certificate is the cluster's, and whom the API server lets reach nodes.

The API server is asked by a SubjectAccessReview for the verb and the subresource of `nodes` that a path stands for, and
its answers are kept for a while. Superusers, of whom the API server is one, are not asked about.
Source: kubernetes pkg/kubelet/server/auth.go.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import NameOID

SUPERUSERS = "system:masters"
#: seconds that an answer is kept, as the original's --authorization-webhook-cache-*-ttl; answers that are kept
ALLOWED, DENIED, KEPT = 300.0, 30.0, 4096
_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PARTS = {"stats": "stats", "metrics": "metrics", "logs": "log", "healthz": "healthz"}


@dataclass(frozen=True, slots=True)
class Who:
    """The subject of a client certificate."""

    name: str
    groups: tuple[str, ...]


#: who, verb, subresource of nodes: whether that may be. Any exception: it could not be asked.
Review = Callable[[Who, str, str], Awaitable[bool]]


def who(request: web.BaseRequest) -> Who | None:
    """Whose certificate it is; TLS has verified it. None without one."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if not der:
        return None
    subject = x509.load_der_x509_certificate(der).subject
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return Who(names[0], (*groups, "system:authenticated")) if names else None


def asks(method: str, path: str) -> tuple[str, str]:
    """The verb and the subresource of nodes that a request stands for."""
    return _VERBS.get(method, "get"), _PARTS.get(path.strip("/").split("/")[0], "proxy")


class Access:
    """review: asks the API server; without it superusers alone get in."""

    def __init__(self, review: Review | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._review, self._now = review, now
        self._kept: dict[tuple[Who, str, str], tuple[bool, float]] = {}

    async def allowed(self, user: Who, verb: str, part: str) -> bool:
        """Whether the user may."""
        if SUPERUSERS in user.groups:
            return True
        if self._review is None:
            return False
        key = (user, verb, part)
        kept = self._kept.get(key)
        if kept is not None and kept[1] > self._now():
            return kept[0]
        found = await self._review(user, verb, part)
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[key] = (found, self._now() + (ALLOWED if found else DENIED))
        return found
