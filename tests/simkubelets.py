"""Simulated kubelets beside a test's controllers: pods that are assigned to their nodes run, as far as the API can tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from controlworld import World

from netlab.client.rest import RestClient
from netlab.controllers.nodeipam import NodeIpam
from netlab.controllers.podranges import cluster_ranges
from netlab.daemons.simnodes import Counts, SimNode
from netlab.scheduler.loop import Scheduler


@contextlib.asynccontextmanager
async def simulated(w: World, nodes: int = 2) -> AsyncIterator[Counts]:
    """Nodes, what gives them podCIDRs, and a scheduler, as long as the block lasts."""
    counts, clients = Counts(), [RestClient(w.client.config) for _ in range(nodes + 1)]
    works = [
        asyncio.create_task(SimNode(f"node{n}", f"172.16.0.{n + 1}", clients[n], counts).run()) for n in range(nodes)
    ]
    works.append(asyncio.create_task(Scheduler(clients[nodes]).run()))
    try:
        async with w.more([NodeIpam], pod_ranges=cluster_ranges("10.244.0.0/16")):
            yield counts
    finally:
        for work in works:
            work.cancel()
        results = await asyncio.gather(*works, return_exceptions=True)
        for client in clients:
            await client.aclose()
    # not in `finally`: a failed test has said more already
    for result in results:
        if isinstance(result, Exception):
            raise result
