"""Forgetting the past, now and then: every revision is kept for at least `every` seconds, and at most twice that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from netlab.store.protocol import Compacted, Store, StoreError

#: seconds, as kube-apiserver's --etcd-compaction-interval
EVERY = 300.0


async def keep_compacted(
    store: Store,
    *,
    every: float = EVERY,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    failed: Callable[[StoreError], None] = lambda _: None,
) -> None:
    """For ever. A store that cannot do it now is asked again after `every` seconds; failed: told why it could not."""
    before = 0
    while True:
        try:
            now = await store.revision()
            if before:
                await store.compact(before)
            before = now
        except Compacted:  # nothing was written, or somebody else was there first
            before = now
        except StoreError as e:
            failed(e)
        await sleep(every)
