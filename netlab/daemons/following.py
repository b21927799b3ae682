"""An agent that follows objects, as a process of its own: its source, its log, that it is ready, its end by signal.

`netlab proxy`, `netlab policyd` and `netlab dns serve` are such. Agents that share a process share what they ask the
API server, and end otherwise: see `daemons.agent`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from netlab.base.aio import first
from netlab.base.notify import notify
from netlab.daemons import node, signals
from netlab.daemons.sources import Origin, Source, Want, opened


class Serve(Protocol):
    """The agent's work, until cancelled."""

    def __call__(self, source: Source, /, *, ready: Callable[[], object]) -> Coroutine[Any, Any, None]: ...


def run(serve: Serve, origin: Origin, wants: Iterable[Want], *, name: str, last: str) -> None:
    """Be that process, until a signal comes. last: what is said then. NetlabError when only a person can help."""
    node.log_to_stderr()
    asyncio.run(_run(serve, origin, wants, name, last))


async def _run(serve: Serve, origin: Origin, wants: Iterable[Want], name: str, last: str) -> None:
    ended = signals.until_told()
    async with opened(origin, wants, agent=f"netlab-{name}") as source:
        await first(serve(source, ready=notify), signals.told(ended, logging.getLogger(name), last))
