"""The reflector: list and watch, for ever, so that what is in the server is also in the delta FIFO.

    list ─▶ replace ─▶ watch from the list's version ─▶ add, update, delete … ─┬─ broken off: watch from the version of
      ▲                                                                       │  the last event or bookmark
      └───────────────────────────── 410 Gone ────────────────────────────────┘

Source: client-go tools/cache/reflector.go. It interprets nothing, and it never gives up: that a server is away or
refuses is told to `report`, and tried again with growing patience.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from netlab.client.backoff import LAST, Backoff
from netlab.client.deltas import DeltaFifo
from netlab.client.rest import ApiError, ApiUnavailable, Object, WatchEvent

log = logging.getLogger(__name__)

#: seconds between two tries while the kind is not served: its definition may come at any moment, and nobody tells
UNSERVED = 0.5
#: and while the server is not to be reached: whoever puts the cable back counts the seconds
AWAY = 5.0

Sleep = Callable[[float], Awaitable[None]]


class Source(Protocol):
    """What a reflector needs of a client (`netlab.client.rest.RestClient` has it)."""

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "", accept: str = "") -> Object:
        """All objects, with the resourceVersion at which a watch begins."""

    def watch(
        self, path: str, *, resource_version: str, label_selector: str = "", field_selector: str = "", accept: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        """What happens after that. ApiError that is `gone` if that is no longer known; ApiUnavailable if it breaks."""


class Reflector:
    """path: of the collection; accept: the form of objects; version: up to where the FIFO has been told."""

    def __init__(
        self, source: Source, path: str, fifo: DeltaFifo, *, label_selector: str = "", field_selector: str = "",
        accept: str = "", report: Callable[[str], None] = log.warning, sleep: Sleep = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._source, self.path, self._fifo = source, path, fifo
        self._selected = {"label_selector": label_selector, "field_selector": field_selector, "accept": accept}
        self._report, self._sleep = report, sleep
        self.version = ""

    async def run(self) -> None:
        """List and watch until cancelled."""
        backoff, reported = Backoff(), ""
        while True:
            began, trouble, patience = time.monotonic(), "", LAST
            try:
                if not self.version:
                    await self._list()
                async with aclosing(
                    self._source.watch(self.path, resource_version=self.version, **self._selected)
                ) as events:
                    async for event in events:
                        backoff.reset()
                        reported = ""
                        self._take(event)
            except ApiError as e:
                # gone, or something that a watch cannot be begun with again: a list says what is true
                self.version = ""
                if not e.gone:
                    trouble = str(e)
                if e.code == 404:
                    patience = UNSERVED
            except ApiUnavailable as e:
                trouble, patience = str(e), AWAY
            if trouble and trouble != reported:
                self._report(f"{self.path} is tried again: {trouble}")
                reported = trouble
            if time.monotonic() - began > LAST:
                backoff.reset()
            await self._sleep(min(backoff.next(), patience))

    async def _list(self) -> None:
        listed = await self._source.list(self.path, **self._selected)
        # items of a list lack what the list says for all of them
        kind, api_version = str(listed.get("kind", "")).removesuffix("List"), listed.get("apiVersion", "")
        items = listed.get("items") or []
        for item in items:
            item.setdefault("kind", kind)
            item.setdefault("apiVersion", api_version)
        self._fifo.replace(items)
        self.version = str((listed.get("metadata") or {}).get("resourceVersion", ""))

    def _take(self, event: WatchEvent) -> None:
        match event.type:
            case "ADDED":
                self._fifo.add(event.object)
            case "MODIFIED":
                self._fifo.update(event.object)
            case "DELETED":
                self._fifo.delete(event.object)
            case "BOOKMARK":
                pass
            case other:
                self._report(f"{self.path}: there is no event {other!r}, it is passed over")
        self.version = event.resource_version or self.version
