"""Certificates that are renewed before they expire, as the original's kubelet does it.

When 70 to 90 % of a certificate's time have passed (chance says when, so that nodes that joined together do not come
together) another one is asked for, and what is asked from then on is asked by it. Until it is there, the old one does.
A certificate that has expired cannot ask for another: that takes a token (`joining`).
Source: kubernetes client-go util/certificate/certificate_manager.go.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

from cryptography import x509

from netlab.base.errors import NetlabError
from netlab.base.lockedfiles import put
from netlab.client.backoff import Backoff
from netlab.client.kubeconfig import load, renewed
from netlab.client.rest import RestClient

#: shares of a certificate's time between which it is renewed
EARLIEST, LATEST = 0.7, 0.9
#: seconds between two looks at the clock, which may be set, and stands while a machine sleeps
LOOK = 600.0
#: seconds between two attempts, from the first to the last, and at least between two certificates
RETRY, RETRY_MAX, PAUSE = 2.0, 300.0, 60.0
log = logging.getLogger("agent")


def due(cert: bytes, chance: float) -> float:
    """When a certificate is to be renewed, in seconds since the epoch. chance: from 0 to 1."""
    found = x509.load_pem_x509_certificate(cert)
    begin, end = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    return begin + (end - begin) * (EARLIEST + (LATEST - EARLIEST) * chance)


def expiry(cert: bytes) -> datetime.datetime:
    """Until when it is good."""
    return x509.load_pem_x509_certificate(cert).not_valid_after_utc


async def kept(
    what: str, cert: Callable[[], bytes], renew: Callable[[], Awaitable[None]], *,
    now: Callable[[], float] = time.time, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> NoReturn:  # fmt: skip
    """Renew a certificate whenever its time has come. what: for the log; cert: as it stands, in PEM."""
    at = due(cert(), chance())
    while True:
        while (left := at - now()) > 0:
            await sleep(min(left, LOOK))
        backoff = Backoff(RETRY, RETRY_MAX, chance)
        while True:
            try:
                await renew()
                break
            except NetlabError as e:
                log.warning("%s is good until %s, and is not renewed: %s; trying again", what, expiry(cert()), e)
                await sleep(backoff.next())
        log.info("%s is renewed: good until %s", what, expiry(cert()))
        # whoever signs for a moment only, or has another clock, is not asked a thousand times
        at = max(due(cert(), chance()), now() + PAUSE)


class Identity:
    """Who asks: a kubeconfig, and the clients that were made by it."""

    def __init__(self, path: Path) -> None:
        self.path, self.config = path, load(path)
        self._clients: set[RestClient] = set()

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[RestClient]:
        """A client for as long as the body takes, whatever becomes of the certificate meanwhile."""
        client = RestClient(self.config, user_agent=f"netlab-{name}")
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)
            await client.aclose()

    async def renew(self, cert: bytes, key: bytes) -> None:
        """Ask by this certificate from now on, and when somebody reads the file again."""
        put(self.path, renewed(self.path, cert, key), mode=0o600)
        self.config = load(self.path)
        for client in [*self._clients]:
            await client.renew(self.config)
