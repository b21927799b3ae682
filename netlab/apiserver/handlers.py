"""What the handlers of verbs share: the server they belong to."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.apiserver.registry import Registry
from netlab.store.protocol import Store

if TYPE_CHECKING:
    from netlab.apiserver.admission import Admission


@dataclass(slots=True)
class Context:
    """store, registry of kinds, admission; now: seconds since 1970; watching: watches under way, by resource."""

    store: Store
    registry: Registry
    admission: Admission
    now: Callable[[], float] = time.time
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    watching: Counter[str] = field(default_factory=Counter)
    #: encoded events by key, revision and verb, for all watchers that want them in the same form
    events: OrderedDict[tuple[str, int, bytes], bytes] = field(default_factory=OrderedDict)
    #: seconds between bookmarks
    bookmark_every: float = 60.0
