"""What the managers over a store of keys have in common; a store only has to keep keys, compare and swap.

    config                    the network's configuration, JSON
    subnets/100.96.1.0-24     {"PublicIP":"10.168.0.2",…}, with a time to live; without one it is a reservation

`StoreManager` is the SubnetManager; `LeaseStore` is what it asks of etcd, a directory or memory. `MemoryStore` is the
store of tests and of labs that run in one process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from netlab.overlay.allocate import Choose, overlaps, plan
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import (
    ConfigMissing,
    Lease,
    LeaseAttrs,
    LeaseLost,
    StoreUnavailable,
    Subnet,
    SubnetError,
)
from netlab.overlay.managers import Leases

log = logging.getLogger(__name__)

#: seconds that a lease lives without being renewed (flannel's subnetTTL)
TTL = 24 * 3600.0
#: every try that fails means that another node got what this one wanted, so this many mean that something else is wrong
TRIES = 100
#: seconds between two attempts at a store that is away: doubled from the first to the last
BACKOFF_FIRST, BACKOFF_LAST = 0.1, 5.0

Now = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key below `subnets/` as it stands. expires: seconds since the epoch, None for never; revision: the store's mark
    of the key's last write."""

    key: str
    value: bytes
    expires: float | None
    revision: int = 0


Entries = Mapping[str, Entry]


class LeaseStore(Protocol):
    """Keys of a network. Every method may raise StoreUnavailable."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    async def config(self) -> bytes | None:
        """The value of `config`."""

    async def entries(self) -> Entries:
        """What is below `subnets/`, by the last part of the key; what has expired is not there."""

    async def entry(self, key: str) -> Entry | None:
        """One of them."""

    async def create(self, subnet: Subnet, value: bytes, ttl: float) -> Entry | None:
        """Write the key of `subnet`. None if it, or one whose subnet overlaps it, is there; of several that ask for
        overlapping subnets at once at most one gets its own."""

    async def replace(self, entry: Entry, value: bytes, ttl: float | None) -> Entry | None:
        """Write it anew, to live `ttl` seconds (None: for ever). None if it is no longer as `entry` says."""

    async def remove(self, entry: Entry) -> bool:
        """Delete it. Whether it is gone, and not something else by now."""

    def watch(self) -> AsyncGenerator[Entries, None]:
        """All entries, and all again after each change. Ends with StoreUnavailable when it cannot say any longer."""

    async def aclose(self) -> None:
        """Close connections."""


class StoreManager:
    """The agreement over a store (managers.SubnetManager).

    ttl: seconds that a lease lives; choose: picks among the free subnets; report: is told of keys that make no sense
    and of a store that is away, once each; now, sleep: seconds since the epoch, and waiting for some.
    """

    def __init__(self, store: LeaseStore, *, ttl: float = TTL, choose: Choose = random.choice,
                 report: Callable[[str], None] = log.warning, now: Now = time.time,
                 sleep: Sleep = asyncio.sleep) -> None:  # fmt: skip
        self.store = store
        self._ttl, self._choose, self._report, self._now, self._sleep = ttl, choose, report, now, sleep
        self._broken: set[tuple[str, bytes]] = set()
        self._parsed: dict[str, tuple[Entry, Lease]] = {}

    async def config(self) -> NetworkConfig:
        """ConfigMissing, InputError, StoreUnavailable."""
        text = await self.store.config()
        if text is None:
            hint = 'write it, such as {"Network": "100.96.0.0/16", "Backend": {"Type": "vxlan"}}'
            raise ConfigMissing(f"{self.store.place} has no network configuration yet", hint=hint)
        return NetworkConfig.parse(text, place=f"{self.store.place}: config")

    async def acquire(self, attrs: LeaseAttrs, *, previous: Subnet | None = None) -> Lease:
        """NoSubnetLeft, and what `config` raises."""
        config = await self.config()
        value = attrs.to_json().encode()
        for _ in range(TRIES):
            entries = await self.store.entries()
            leases = self._leases(entries)
            taken = [subnet for key in entries if key not in leases and (subnet := _subnet(key))]
            todo = plan(config, leases, attrs, previous=previous, taken=taken, choose=self._choose)
            for lease in todo.drop:
                await self.store.remove(entries[lease.subnet.key])
            if todo.adopt is not None:
                ttl = None if todo.adopt.expires is None else self._ttl
                found = await self.store.replace(entries[todo.adopt.subnet.key], value, ttl)
                subnet = todo.adopt.subnet
            else:
                assert todo.create is not None
                subnet = todo.create
                found = await self.store.create(subnet, value, self._ttl)
            if found is not None:
                return Lease(subnet=subnet, attrs=attrs, expires=found.expires, revision=found.revision)
        raise SubnetError(f"{self.store.place}: {TRIES} attempts at a subnet, and each time another node was faster")

    async def renew(self, lease: Lease) -> Lease:
        """LeaseLost, StoreUnavailable. The attributes are written again with the lease, as the original does."""
        value = lease.attrs.to_json().encode()
        for _ in range(TRIES):
            entry = await self._mine(lease)
            found = await self.store.replace(entry, value, None if entry.expires is None else self._ttl)
            if found is not None:
                return replace(lease, expires=found.expires, revision=found.revision)
        raise StoreUnavailable(f"{self.store.place}: the key {lease.subnet.key} never stands still")

    async def _mine(self, lease: Lease) -> Entry:
        """The lease's entry. LeaseLost if it is not this node's."""
        key = lease.subnet.key
        entry = await self.store.entry(key)
        if entry is None:
            raise LeaseLost(f"the lease of {lease.subnet} is gone from {self.store.place}: it expired or was removed")
        try:
            holder = LeaseAttrs.parse(entry.value)
        except ValueError as e:
            raise LeaseLost(f"the lease of {lease.subnet} was overwritten in {self.store.place}: {e}") from e
        if not holder.same_node(lease.attrs):
            owner = holder.public_ip or holder.public_ipv6
            raise LeaseLost(f"the lease of {lease.subnet} belongs to {owner} now, says {self.store.place}")
        return entry

    async def release(self, lease: Lease) -> None:
        """Delete the lease if it is still this node's. A reservation stays: it was a person who made it."""
        for _ in range(TRIES):
            try:
                entry = await self._mine(lease)
            except LeaseLost:
                return
            if entry.expires is None or await self.store.remove(entry):
                return

    async def watch(self) -> AsyncIterator[Leases]:
        """See SubnetManager. After the store was away everything is read anew, so deletions meanwhile are seen too."""
        last: Leases | None = None
        delay = BACKOFF_FIRST
        while True:
            try:
                async with aclosing(self.store.watch()) as stream:
                    async for entries in stream:
                        delay = BACKOFF_FIRST
                        leases = self._leases(entries)
                        if leases != last:
                            last = leases
                            yield leases
            except StoreUnavailable as e:
                if delay == BACKOFF_FIRST:
                    self._report(f"leases cannot be watched, trying again: {e}")
            await self._sleep(delay)
            delay = min(delay * 2, BACKOFF_LAST)

    def _leases(self, entries: Entries) -> dict[str, Lease]:
        """The entries that make sense, in the order of the keys; the others are reported, each value once."""
        leases: dict[str, Lease] = {}
        broken = set()
        parsed, self._parsed = self._parsed, {}
        for key, entry in sorted(entries.items()):
            known = parsed.get(key)
            if known and (known[0] is entry or known[0] == entry):
                # the same object, by which whoever works with leases sees that nothing is new
                self._parsed[key] = known
                leases[key] = known[1]
                continue
            try:
                subnet, attrs = Subnet.parse(key), LeaseAttrs.parse(entry.value)
                if subnet.key != key:
                    raise ValueError(f"the key would be spelled {subnet.key}")
                if attrs.public_ip is None and attrs.public_ipv6 is None:
                    raise ValueError("it has no PublicIP")
            except (ValueError, RecursionError) as e:
                broken.add((key, entry.value))
                if (key, entry.value) not in self._broken:
                    self._report(f"{self.store.place}: the lease {key!r} makes no sense and is left out: {e}")
                continue
            leases[key] = Lease(subnet=subnet, attrs=attrs, expires=entry.expires, revision=entry.revision)
            self._parsed[key] = (entry, leases[key])
        self._broken = broken
        return leases

    async def aclose(self) -> None:
        """Close connections."""
        await self.store.aclose()


def _subnet(key: str) -> Subnet | None:
    try:
        return Subnet.parse(key)
    except ValueError:
        return None


def in_the_way(subnet: Subnet, keys: Collection[str]) -> list[str]:
    """Those of the keys whose subnets overlap `subnet`, or are it; keys that make no sense are in nobody's way."""
    return [key for key in keys if (other := _subnet(key)) and (key == subnet.key or overlaps(subnet, other))]


#: seconds after which expiries are looked at again in any case, should the clock have been set
LOOK_AGAIN = 60.0


def until_next(entries: Entries, now: float) -> float | None:
    """Seconds until the next of the entries expires, at most LOOK_AGAIN; None if none ever does."""
    left = [entry.expires - now for entry in entries.values() if entry.expires is not None]
    return max(0.0, min([*left, LOOK_AGAIN])) if left else None


async def wait_or(change: Awaitable[object], sleep: Sleep, seconds: float | None) -> None:
    """Until `change` has come, or `seconds` have passed (None: no such end). The other one is cancelled."""
    waiting = [asyncio.ensure_future(change)]
    if seconds is not None:
        waiting.append(asyncio.ensure_future(sleep(seconds)))
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
