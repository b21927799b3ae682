"""Where agents hear of a cluster's objects: manifests on disk, or an API server. They hear of what changes, and not of
everything again and again.

    manifest_watch.Folder ─┐
                           ├─▶ Change, Change … ─▶ told (problems to the log) ─▶ compile.gathered ─▶ an agent
    api_watch.Followed ────┘

What is wrong with an object is told, and what it was before stays: nobody's network is to go because somebody else
mistypes, nor because an API server is away.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from netlab.base.errors import Problem
from netlab.compile.objects import Ref, Value

if TYPE_CHECKING:
    from netlab.client.kubeconfig import ApiConfig


@dataclass(frozen=True, slots=True)
class Change:
    """values: what is another than it was, None for what is gone; problems: all that is wrong now."""

    values: Mapping[Ref, Value | None]
    problems: tuple[Problem, ...] = ()


class Source(Protocol):
    """Tells what there is, and then what changes."""

    @property
    def implied(self) -> bool:
        """Whether what controllers would write is not there, but implied (see `compile.gathered`)."""

    def watch(self) -> AsyncGenerator[Change, None]:
        """Everything at once, when it is known, and then each change."""


class Want(NamedTuple):
    """Objects that an agent asks an API server for. labels, fields: selectors, as kubectl takes them."""

    kind: str
    labels: str = ""
    fields: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a verb was told of where its objects are: manifests, or else the file that says which API server."""

    manifests: tuple[Path, ...] = ()
    kubeconfig: Path | None = None


@contextlib.asynccontextmanager
async def opened(origin: Origin, wants: Iterable[Want], *, agent: str) -> AsyncIterator[Source]:
    """The source of a process of its own. agent: who asks the API server. InputError if the file is no kubeconfig."""
    if origin.kubeconfig is None:
        from netlab.daemons.manifest_watch import Folder

        yield Folder(origin.manifests)
        return
    from netlab.client.kubeconfig import load

    async with followed(load(origin.kubeconfig), wants, agent=agent) as source:
        yield source


@contextlib.asynccontextmanager
async def followed(config: ApiConfig, wants: Iterable[Want], *, agent: str) -> AsyncIterator[Source]:
    """An API server as a source. agent: who asks it."""
    from netlab.client.informer import Informers
    from netlab.client.rest import RestClient
    from netlab.daemons.api_watch import Followed

    client = RestClient(config, user_agent=agent)
    informers = Informers(client)
    try:
        yield Followed(informers, wants)
    finally:
        await informers.aclose()
        await client.aclose()


async def told(source: Source, log: logging.Logger) -> AsyncGenerator[Change, None]:
    """What a source tells, with every problem in the log when it comes up, and a word when there is none left."""
    known: frozenset[Problem] = frozenset()
    async with contextlib.aclosing(source.watch()) as changes:
        async for change in changes:
            problems = frozenset(change.problems)
            for problem in sorted(problems - known):
                log.error("%s", problem)
            if known and not problems:
                log.info("all objects make sense again")
            known = problems
            yield change
