"""What a proxy hears of: Services with their slices, this node, the pods' prefixes; only what changes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from netlab.compile.gathered import Gathered, Served
from netlab.compile.objects import LABEL_HEADLESS, LABEL_PROXY, Name, Node
from netlab.compile.rules import guessed_cluster_cidrs
from netlab.daemons.sources import Source, Want, told

log = logging.getLogger("proxy")


def wants(node: str) -> tuple[Want, ...]:
    """What a proxy asks an API server for: of what the role system:node-proxier reads, no more than it needs."""
    proxied = f"!{LABEL_HEADLESS},!{LABEL_PROXY}"
    return (
        Want("Service", labels=proxied),
        Want("EndpointSlice", labels=proxied),
        Want("Node", fields=f"metadata.name={node}"),
    )


@dataclass(frozen=True, slots=True)
class Update:
    """What has changed. The first one is everything.

    services: None for one that is gone; node: this node, None if nothing is known of it; cluster_cidrs: the pods'
    prefixes, as far as the source knows: of all nodes by manifests, of this node by an API server, since traffic of
    other nodes' pods to a Service never comes to this node.
    """

    services: Mapping[Name, Served | None] = field(default_factory=dict)
    node: Node | None = None
    cluster_cidrs: tuple[str, ...] = ()


class Feed(Protocol):
    """A source of Services."""

    def updates(self) -> AsyncGenerator[Update, None]:
        """Everything there is, then each change."""


class ServiceFeed:
    """Services out of a source of objects."""

    def __init__(self, source: Source, node: str) -> None:
        self.source, self.node = source, node

    async def updates(self) -> AsyncGenerator[Update, None]:
        """See Feed. InputError if the source cannot be."""
        gathered = Gathered(implied=self.source.implied)
        last: Update | None = None
        async with contextlib.aclosing(told(self.source, log)) as changes:
            async for change in changes:
                services = gathered.take(change.values)
                update = Update(services, gathered.node(self.node), guessed_cluster_cidrs(gathered.nodes))
                if last is None or services or (update.node, update.cluster_cidrs) != (last.node, last.cluster_cidrs):
                    last = update
                    yield update
