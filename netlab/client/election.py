"""Leader election by a Lease: of several who could, one does, and another when that one falls silent.

A candidate trusts no clock but its own: a holder is silent when the Lease has not changed for its duration since this
candidate saw it change. A leader that cannot renew stops before another may begin. Source: client-go
tools/leaderelection (leaderelection.go), coordination.k8s.io/v1.

`Candidate` decides without I/O, `lead` asks, waits and runs the work. There is no fencing: work that was sent before
the end may still arrive after it, so it must bear to be done twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from netlab.api import times
from netlab.base.errors import NetlabError
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient

log = logging.getLogger(__name__)

LEASES = Resource("coordination.k8s.io/v1", "leases")


class LeadershipLost(NetlabError):
    """The Lease could not be renewed in time, or is somebody else's: the work was cancelled."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. lease: that a silent holder keeps it; renew: after which a leader that cannot renew stops; retry:
    between two tries. ValueError unless lease > renew > retry."""

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease > self.renew > self.retry > 0:
            raise ValueError(f"expected lease > renew > retry > 0, not {self.lease}, {self.renew}, {self.retry}")


class Candidate:
    """One of those who could. clock: monotonic; now: since 1970, for people who read the Lease."""

    def __init__(
        self, identity: str, timing: Timing, *, clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.identity, self.timing = identity, timing
        self._clock, self._now = clock, now
        self._seen: tuple[str, ...] | None = None
        self._seen_at = 0.0

    def wish(self, spec: Object | None) -> Object | None:
        """The spec with which to take or keep the Lease; None while somebody else holds it. spec: None if there is
        no Lease."""
        stamp = times.micros(self._now())
        wanted: Object = {
            "holderIdentity": self.identity, "leaseDurationSeconds": max(1, round(self.timing.lease)),
            "acquireTime": stamp, "renewTime": stamp, "leaseTransitions": 0,
        }  # fmt: skip
        if spec is None:
            return wanted
        holder = str(spec.get("holderIdentity") or "")
        seen = (holder, str(spec.get("renewTime") or ""), str(spec.get("leaseTransitions") or 0))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        if holder == self.identity:
            return {**spec, "leaseDurationSeconds": wanted["leaseDurationSeconds"], "renewTime": stamp}
        # the holder's own word of how long it keeps the Lease counts, as long as it says one
        lasts = float(spec.get("leaseDurationSeconds") or self.timing.lease)
        if holder and self._clock() - self._seen_at < lasts:
            return None
        return {**wanted, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}

    def farewell(self, spec: Object) -> Object | None:
        """The spec that lets the next one begin at once; None if the Lease is not ours."""
        if spec.get("holderIdentity") != self.identity:
            return None
        stamp = times.micros(self._now())
        return {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": stamp, "renewTime": stamp}


async def lead(
    client: RestClient, namespace: str, name: str, identity: str, work: Callable[[], Awaitable[None]], *,
    timing: Timing | None = None, report: Callable[[str], None] = log.info,
) -> None:  # fmt: skip
    """Wait for the Lease, run the work while holding it, give it back when the work ends or is cancelled.

    LeadershipLost after the work was cancelled because the Lease could not be renewed.
    """
    timing = timing or Timing()
    candidate = Candidate(identity, timing)
    while not await _try(client, namespace, name, candidate, timing.renew):
        await asyncio.sleep(timing.retry)
    report(f"{identity} leads {namespace}/{name}")
    task = asyncio.ensure_future(work())
    lost = ""
    try:
        deadline = time.monotonic() + timing.renew
        while not task.done():
            await asyncio.wait({task}, timeout=timing.retry)
            if task.done():
                break
            if await _try(client, namespace, name, candidate, max(0.0, deadline - time.monotonic())):
                deadline = time.monotonic() + timing.renew
            elif time.monotonic() >= deadline:
                lost = f"{identity} could not renew {namespace}/{name} for {timing.renew:g} s"
                break
    finally:
        task.cancel()
        await asyncio.wait({task})
        await _release(client, namespace, name, candidate)
    if lost:
        raise LeadershipLost(lost)
    await task


async def _try(client: RestClient, namespace: str, name: str, candidate: Candidate, seconds: float) -> bool:
    """Take or renew the Lease; whether it is ours now."""
    path = LEASES.path(namespace, name)
    try:
        async with asyncio.timeout(seconds):
            try:
                lease = await client.get(path)
            except ApiError as e:
                if e.code != 404:
                    raise
                lease = {"apiVersion": LEASES.api_version, "kind": "Lease",
                         "metadata": {"name": name, "namespace": namespace}}  # fmt: skip
            there = "uid" in lease["metadata"]
            spec = candidate.wish((lease.get("spec") or {}) if there else None)
            if spec is None:
                return False
            lease["spec"] = spec
            if there:
                await client.replace(path, lease)
            else:
                await client.create(LEASES.path(namespace), lease)
            return True
    except ApiError as e:
        # Conflict, AlreadyExists: somebody else was quicker
        if e.code != 409:
            log.warning("the Lease %s/%s: %s", namespace, name, e)
    except (ApiUnavailable, TimeoutError) as e:
        log.warning("the Lease %s/%s: %s", namespace, name, e or "no answer in time")
    return False


async def _release(client: RestClient, namespace: str, name: str, candidate: Candidate) -> None:
    path = LEASES.path(namespace, name)
    try:
        async with asyncio.timeout(candidate.timing.retry):
            lease = await client.get(path)
            spec = candidate.farewell(lease.get("spec") or {})
            if spec is not None:
                await client.replace(path, {**lease, "spec": spec})
    except (ApiError, ApiUnavailable, TimeoutError) as e:
        log.info("the Lease %s/%s is left to run out: %s", namespace, name, e or "no answer in time")
