"""Caches of what the server itself looks at in every request: roles, namespaces, service accounts, quotas, definitions.

A lister follows the store from its first list on. It is behind the store by what a watch takes: whoever cannot have
that asks the store when the cache has no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from netlab.api import Json
from netlab.apiserver import objects
from netlab.store.protocol import Compacted, KeyValue, Store, StoreError

log = logging.getLogger("apiserver")

#: seconds before a store that went away is asked again
RETRY = 0.2


class Lister:
    """The objects below a prefix by their key. on_change: told of each (object now or None, object before or None)."""

    def __init__(
        self, store: Store, prefix: str, *, on_change: Callable[[Json | None, Json | None], None] | None = None
    ) -> None:
        self.store, self.prefix = store, prefix
        #: set at every change; whoever waits for it clears it
        self.changed = asyncio.Event()
        self._on_change = on_change
        self._items: dict[str, Json] = {}
        self._task: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()
        self._revision = 0

    async def start(self) -> None:
        """Have the first list, then follow."""
        await self._list()
        self._task = asyncio.create_task(self._follow(), name=f"lister {self.prefix}")

    async def aclose(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def get(self, *names: str) -> Json | None:
        """The object of a namespace and name, or of a name. It must not be changed."""
        return self._items.get(self.prefix + "/".join(names))

    def all(self, namespace: str = "") -> Iterator[Json]:
        """The objects, or those of a namespace. They must not be changed."""
        if not namespace:
            yield from self._items.values()
            return
        start = f"{self.prefix}{namespace}/"
        yield from (o for k, o in self._items.items() if k.startswith(start))

    def __len__(self) -> int:
        return len(self._items)

    def put(self, kv: KeyValue) -> None:
        """Take over what a key is, if that is newer."""
        current = self._items.get(kv.key)
        if current is None or int(current["metadata"]["resourceVersion"]) < kv.revision:
            self.set(kv.key, objects.load(kv))

    def set(self, key: str, obj: Json | None) -> None:
        """Hold an object, or no longer: what was just written by ourselves, before the watch tells it."""
        old = self._items.get(key)
        if obj is None:
            self._items.pop(key, None)
        else:
            self._items[key] = obj
        self.changed.set()
        if self._on_change is not None:
            self._on_change(obj, old)

    async def _list(self) -> None:
        page = await self.store.list(self.prefix)
        fresh = {kv.key for kv in page.items}
        for key in [k for k in self._items if k not in fresh]:
            self.set(key, None)
        for kv in page.items:
            self.set(kv.key, objects.load(kv))
        self._revision = page.revision
        self._synced.set()

    async def _follow(self) -> None:
        while True:
            stream = self.store.watch(self.prefix, after=self._revision)
            try:
                async for batch in stream:
                    for event in batch.events:
                        self.set(event.kv.key, None if event.deleted else objects.load(event.kv))
                    self._revision = batch.revision
                return  # the store is closed
            except Compacted:
                pass
            except StoreError as e:
                log.warning("cannot follow %s: %s", self.prefix, e)
                await asyncio.sleep(RETRY)
            finally:
                await stream.aclose()
            with contextlib.suppress(StoreError):
                await self._list()
