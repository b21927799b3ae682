"""Leases in etcd, by the v3 API or the v2 one, under the keys and with the values of the original flannel.

Source: flannel pkg/subnet/etcd/registry.go (v0.28 for v3, v0.13 for v2).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator, Sequence

from netlab.client.etcd import Compacted, EtcdClient, EtcdError, KeyValue
from netlab.client.etcd2 import Etcd2Client, Etcd2Error, EventIndexCleared, Node
from netlab.client.transport import Unavailable
from netlab.overlay.lease import StoreUnavailable, Subnet
from netlab.overlay.managers.store import TTL, Entries, Entry, Now, in_the_way

PREFIX = "/coreos.com/network"
#: requests for the time that a lease has left that are under way at once
_ASK_AT_ONCE = 16


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Whatever keeps etcd from doing it, the data path goes on and the caller tries again."""
    try:
        yield
    except (Unavailable, EtcdError, Etcd2Error) as e:
        raise StoreUnavailable(e.message, hint=e.hint) from e


class EtcdStore:
    """The store (store.LeaseStore) in etcd, API v3. prefix: the original's --etcd-prefix.

    When leases of other nodes expire takes a request for each to find out. Without `exact` the answer is the latest
    possible moment, a whole TTL after the lease was first seen; those that this client granted are always exact.
    """

    def __init__(self, client: EtcdClient, *, prefix: str = PREFIX, exact: bool = False, now: Now = time.time) -> None:
        self._client, self._exact, self._now = client, exact, now
        self._prefix = "/" + prefix.strip("/")
        self._subnets = f"{self._prefix}/subnets/"
        self._expiries: dict[int, float] = {}

    @property
    def place(self) -> str:
        """etcd and the prefix."""
        return f"etcd {self._prefix}"

    async def config(self) -> bytes | None:
        """See LeaseStore."""
        with _translated():
            found = await self._client.get(f"{self._prefix}/config")
        return found.value if found else None

    async def entries(self) -> Entries:
        """See LeaseStore."""
        return (await self._read())[0]

    async def entry(self, key: str) -> Entry | None:
        """See LeaseStore."""
        with _translated():
            found = await self._client.get(self._subnets + key)
            return (await self._entries([found]))[key] if found else None

    async def _read(self) -> tuple[dict[str, Entry], int]:
        """All, and the revision that they are of."""
        with _translated():
            found = await self._client.prefix(self._subnets)
            return await self._entries(found.items, all_of_them=True), found.revision

    async def _entries(self, items: Sequence[KeyValue], *, all_of_them: bool = False) -> dict[str, Entry]:
        leases = {item.lease for item in items if item.lease}
        known = {lease: self._expiries[lease] for lease in leases & self._expiries.keys()}
        unknown = leases - known.keys()
        if self._exact:
            turn = asyncio.Semaphore(_ASK_AT_ONCE)

            async def ask(lease: int) -> None:
                async with turn:
                    # one that is gone takes its keys with it within the second
                    known[lease] = self._now() + (await self._client.time_to_live(lease) or 0.0)

            await asyncio.gather(*map(ask, unknown))
        else:
            known |= dict.fromkeys(unknown, self._now() + TTL)
        self._expiries = known if all_of_them else self._expiries | known
        return {
            (key := item.key.removeprefix(self._subnets)): Entry(
                key, item.value, known[item.lease] if item.lease else None, item.modified
            )
            for item in items
        }

    async def _grant(self, ttl: float | None) -> tuple[int, float | None]:
        """A new lease and when it expires; without `ttl` none, for a reservation."""
        if ttl is None:
            return 0, None
        lease, seconds = await self._client.grant(ttl)
        expires = self._now() + seconds
        self._expiries[lease] = expires
        return lease, expires

    async def create(self, subnet: Subnet, value: bytes, ttl: float) -> Entry | None:
        """See LeaseStore. etcd guards one key only, so whoever finds an older one in its way afterwards yields."""
        key = self._subnets + subnet.key
        with _translated():
            lease, expires = await self._grant(ttl)
            made = await self._client.create(key, value, lease=lease)
            if made.done:
                others = await self._client.prefix(self._subnets, keys_only=True)
                older = [
                    item.key.removeprefix(self._subnets)
                    for item in others.items
                    if item.created < made.revision and item.key != key
                ]
                if not in_the_way(subnet, older):
                    return Entry(subnet.key, value, expires, made.revision)
            # takes the key with it
            await self._client.revoke(lease)
        return None

    async def replace(self, entry: Entry, value: bytes, ttl: float | None) -> Entry | None:
        """See LeaseStore. The old lease is left to expire by itself, as the original does: it may hold other keys."""
        with _translated():
            lease, expires = await self._grant(ttl)
            made = await self._client.swap(self._subnets + entry.key, value, modified=entry.revision, lease=lease)
            if made.done:
                return Entry(entry.key, value, expires, made.revision)
            if lease:
                await self._client.revoke(lease)
            return None

    async def remove(self, entry: Entry) -> bool:
        """See LeaseStore."""
        with _translated():
            return (await self._client.delete(self._subnets + entry.key, modified=entry.revision)).done

    async def watch(self) -> AsyncGenerator[Entries, None]:
        """See LeaseStore. History that was compacted away is made up for by reading all anew."""
        while True:
            entries, revision = await self._read()
            yield dict(entries)
            stream = self._client.watch(self._subnets, revision=revision + 1)
            with _translated(), contextlib.suppress(Compacted):
                async with contextlib.aclosing(stream):
                    async for found in stream:
                        for change in found.changes:
                            if change.deleted:
                                entries.pop(change.item.key.removeprefix(self._subnets), None)
                            else:
                                entries |= await self._entries([change.item])
                        if found.changes:
                            yield dict(entries)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


class Etcd2Store:
    """The store (store.LeaseStore) in etcd, API v2. prefix: the original's --etcd-prefix."""

    def __init__(self, client: Etcd2Client, *, prefix: str = PREFIX, now: Now = time.time) -> None:
        self._client, self._now = client, now
        self._prefix = "/" + prefix.strip("/")
        self._subnets = f"{self._prefix}/subnets"

    @property
    def place(self) -> str:
        """etcd and the prefix."""
        return f"etcd (v2) {self._prefix}"

    async def config(self) -> bytes | None:
        """See LeaseStore."""
        with _translated():
            node, _ = await self._client.get(f"{self._prefix}/config")
        return node.value.encode() if node and not node.directory else None

    async def entries(self) -> Entries:
        """See LeaseStore."""
        return {key: self._entry(node) for key, node in (await self._read())[0].items()}

    async def entry(self, key: str) -> Entry | None:
        """See LeaseStore."""
        with _translated():
            node, _ = await self._client.get(f"{self._subnets}/{key}")
        return self._entry(node) if node and not node.directory else None

    async def _read(self) -> tuple[dict[str, Node], int]:
        """All keys, and the index that they are of."""
        with _translated():
            node, index = await self._client.get(self._subnets, recursive=True)
        leaves = node.leaves() if node and node.directory else ()
        return {self._key(leaf): leaf for leaf in leaves}, index

    def _key(self, node: Node) -> str:
        return node.key.removeprefix(self._subnets + "/")

    def _entry(self, node: Node) -> Entry:
        return Entry(self._key(node), node.value.encode(), node.expires, node.modified)

    def _granted(self, node: Node, ttl: float | None) -> Entry:
        """What was written: it expires by this node's clock, not by etcd's."""
        expires = None if ttl is None else self._now() + _whole(ttl)
        return Entry(self._key(node), node.value.encode(), expires, node.modified)

    async def create(self, subnet: Subnet, value: bytes, ttl: float) -> Entry | None:
        """See LeaseStore, and EtcdStore.create."""
        with _translated():
            key = f"{self._subnets}/{subnet.key}"
            made = await self._client.put(key, value.decode(), ttl=_whole(ttl), exists=False)
            if made is None:
                return None
            others = (await self._read())[0]
            older = [name for name, node in others.items() if node.created < made.created and name != subnet.key]
            if in_the_way(subnet, older):
                await self._client.delete(key, index=made.modified)
                return None
        return self._granted(made, ttl)

    async def replace(self, entry: Entry, value: bytes, ttl: float | None) -> Entry | None:
        """See LeaseStore."""
        seconds = None if ttl is None else _whole(ttl)
        with _translated():
            key = f"{self._subnets}/{entry.key}"
            made = await self._client.put(key, value.decode(), ttl=seconds, index=entry.revision)
        return self._granted(made, ttl) if made else None

    async def remove(self, entry: Entry) -> bool:
        """See LeaseStore."""
        with _translated():
            return await self._client.delete(f"{self._subnets}/{entry.key}", index=entry.revision)

    async def watch(self) -> AsyncGenerator[Entries, None]:
        """See LeaseStore. v2 keeps a thousand events of the whole store; beyond that all is read anew."""
        while True:
            nodes, index = await self._read()
            yield {key: self._entry(node) for key, node in nodes.items()}
            stream = self._client.watch(self._subnets, index=index + 1)
            with _translated(), contextlib.suppress(EventIndexCleared):
                async with contextlib.aclosing(stream):
                    async for event in stream:
                        if event.node.directory or event.node.key == self._subnets:
                            # a directory was deleted or made anew: what is in it is not told one by one
                            break
                        if event.gone:
                            nodes.pop(self._key(event.node), None)
                        else:
                            nodes[self._key(event.node)] = event.node
                        yield {key: self._entry(node) for key, node in nodes.items()}

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


def _whole(ttl: float) -> int:
    return max(1, round(ttl))
