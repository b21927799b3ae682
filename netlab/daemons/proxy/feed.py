"""Where a proxy's Services come from, as a protocol, and the first of its sources: manifests on disk."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from netlab.base.errors import Problem
from netlab.compile.objects import EndpointSlice, Name, Node, Objects, Service
from netlab.compile.rules import completed, guessed_cluster_cidrs
from netlab.daemons.manifest_watch import Folder

log = logging.getLogger("proxy")

#: a Service with its slices
Served = tuple[Service, tuple[EndpointSlice, ...]]


@dataclass(frozen=True, slots=True)
class Update:
    """What has changed. The first one is everything.

    services: None for one that is gone; node: this node, None if nothing is known of it; cluster_cidrs: the pods'
    prefixes, as far as the source knows.
    """

    services: Mapping[Name, Served | None] = field(default_factory=dict)
    node: Node | None = None
    cluster_cidrs: tuple[str, ...] = ()


class Feed(Protocol):
    """A source of Services."""

    def updates(self) -> AsyncGenerator[Update, None]:
        """Everything there is, then each change."""


class ManifestFeed:
    """Manifests. Slices that nobody wrote are made of the pods, as the controller of a cluster would make them."""

    def __init__(self, folder: Folder, node: str) -> None:
        self.folder, self.node = folder, node
        self._known: dict[Name, Served] = {}
        self._told: frozenset[Problem] = frozenset()

    async def updates(self) -> AsyncGenerator[Update, None]:
        """See Feed. InputError if a path is not there."""
        changes = self.folder.watch()
        try:
            async for seen in changes:
                for problem in seen.problems:
                    if problem not in self._told:
                        log.warning("%s; what it was before stays", problem)
                self._told = frozenset(seen.problems)
                yield self._update(completed(seen.objects))
        finally:
            await changes.aclose()

    def _update(self, objects: Objects) -> Update:
        slices: dict[Name, list[EndpointSlice]] = {}
        for one in objects.slices:
            slices.setdefault((one.namespace, one.service), []).append(one)
        found = {service.key: (service, tuple(slices.get(service.key, ()))) for service in objects.services}
        changed: dict[Name, Served | None] = {name: None for name in self._known if name not in found}
        changed |= {name: served for name, served in found.items() if self._known.get(name) != served}
        # what is equal stays the same object, by which the compiler knows it
        self._known = {name: changed.get(name) or self._known[name] for name in found}
        node = next((n for n in objects.nodes if n.name == self.node), None)
        return Update(changed, node, guessed_cluster_cidrs(objects))
