"""The delta FIFO between a reflector and its informer: what happened to each object, in order, one object at a time.

    reflector ── add, update, delete, replace ──▶ DeltaFifo ── pop: all that happened to one object ──▶ informer

An object stands in the queue once, however much happens to it before its turn. Nothing is left out of its deltas but a
deletion right after a deletion. Source: client-go tools/cache/delta_fifo.go. It does no I/O and keeps no objects: what
is known already is asked of the informer's store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from netlab.client.indexer import Indexer
from netlab.client.resources import key_of
from netlab.client.rest import Object


class DeltaType(StrEnum):
    """REPLACED: it is in a list that takes the place of all before; SYNC: nothing happened, but look again."""

    ADDED = "Added"
    UPDATED = "Updated"
    DELETED = "Deleted"
    REPLACED = "Replaced"
    SYNC = "Sync"


class Delta(NamedTuple):
    """What happened, and the object after it. Of a deletion that nobody saw it is the last state that was known."""

    type: DeltaType
    object: Object


class DeltaFifo:
    """known: the store that `pop` is to bring up to date."""

    def __init__(self, known: Indexer) -> None:
        self._known = known
        #: in the order of the first delta of each
        self._items: dict[str, list[Delta]] = {}
        self._waiting = asyncio.Event()
        self._initial: set[str] | None = None
        self._synced = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def synced(self) -> asyncio.Event:
        """Set once all of the first list has been taken out."""
        return self._synced

    def add(self, obj: Object) -> None:
        """It was created."""
        self._put(key_of(obj), Delta(DeltaType.ADDED, obj))

    def update(self, obj: Object) -> None:
        """It was changed."""
        self._put(key_of(obj), Delta(DeltaType.UPDATED, obj))

    def delete(self, obj: Object) -> None:
        """It was deleted. Of what nobody has heard of, nothing is told."""
        key = key_of(obj)
        if key in self._items or key in self._known:
            self._put(key, Delta(DeltaType.DELETED, obj))

    def replace(self, objects: Iterable[Object]) -> None:
        """This is all there is now: what is known and not among it has been deleted while nobody looked."""
        listed = {key_of(obj): obj for obj in objects}
        for key, obj in listed.items():
            self._put(key, Delta(DeltaType.REPLACED, obj))
        for key in [*self._known.keys(), *self._items]:
            if key in listed:
                continue
            # what waits in the queue is newer than what is known
            last = self._items[key][-1].object if key in self._items else self._known.get(key)
            if last is not None:
                self._put(key, Delta(DeltaType.DELETED, last))
        if self._initial is None:
            self._initial = set(listed)
            if not listed:
                self._synced.set()

    def resync(self) -> None:
        """Have everything looked at again; what waits in the queue will be anyway."""
        for obj in self._known:
            key = key_of(obj)
            if key not in self._items:
                self._put(key, Delta(DeltaType.SYNC, obj))

    async def pop(self) -> tuple[str, list[Delta]]:
        """The key that waits longest, and all that has happened to it. Waits until there is one.

        The caller must bring the store up to date before it waits for anything else.
        """
        while not self._items:
            self._waiting.clear()
            await self._waiting.wait()
        key = next(iter(self._items))
        return key, self._items.pop(key)

    def taken(self, key: str) -> None:
        """The store has what `pop` gave for this key."""
        if self._initial is not None and not self._synced.is_set():
            self._initial.discard(key)
            if not self._initial:
                self._synced.set()

    def _put(self, key: str, delta: Delta) -> None:
        deltas = self._items.setdefault(key, [])
        if deltas and deltas[-1].type is DeltaType.DELETED and delta.type is DeltaType.DELETED:
            # two who say the same: the server's word, which comes with the object's last state, is the better one
            return
        deltas.append(delta)
        self._waiting.set()
