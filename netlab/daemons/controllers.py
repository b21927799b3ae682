"""Composition root of the controllers: all of them against one API server; of several such processes one leads.

They ask as whoever the kubeconfig says, who has to be allowed to delete anything: that is what the garbage collector
and the end of a namespace are for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from netlab.base.aio import first
from netlab.base.notify import notify
from netlab.client.election import lead
from netlab.client.kubeconfig import ApiConfig, load
from netlab.client.rest import RestClient
from netlab.controllers.endpoints import Endpoints
from netlab.controllers.endpointslices import EndpointSlices
from netlab.controllers.garbage import GarbageCollector
from netlab.controllers.mirroring import EndpointSliceMirroring
from netlab.controllers.namespaces import NamespaceLifecycle
from netlab.controllers.quotas import ResourceQuotas
from netlab.controllers.rootca import RootCa
from netlab.controllers.runner import Runner
from netlab.controllers.serviceaccounts import ServiceAccounts
from netlab.controllers.shape import Controller
from netlab.controllers.tokens import TokenSecrets
from netlab.daemons.apiserver import until_told
from netlab.daemons.health import Health

log = logging.getLogger("controllers")

CONTROLLERS: tuple[type[Controller], ...] = (
    NamespaceLifecycle, GarbageCollector, ServiceAccounts, TokenSecrets, RootCa, ResourceQuotas, EndpointSlices,
    EndpointSliceMirroring, Endpoints,
)  # fmt: skip
#: namespace and name of the Lease that the leader holds, the original's
LEASE = ("kube-system", "kube-controller-manager")
USER_AGENT = "netlab-controllers"


@dataclass(frozen=True, slots=True)
class Options:
    """What `netlab controllers` is given. health_port: None for no answers about health."""

    kubeconfig: Path
    leader_elect: bool = True
    health_host: str = "127.0.0.1"
    health_port: int | None = None


class Running:
    """The controllers of one process, for those who run them in their own loop."""

    def __init__(self, config: ApiConfig) -> None:
        self.client = RestClient(config, user_agent=USER_AGENT)
        self.identity = f"{socket.gethostname()}_{os.getpid()}"
        self.runner = Runner(self.client, CONTROLLERS, ca=config.ca, identity=self.identity)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        try:
            await self.runner.run()
        finally:
            await self.client.aclose()

    async def run_elected(self) -> None:
        """Reconcile while holding the Lease. LeadershipLost."""
        try:
            await lead(self.client, *LEASE, self.identity, self.runner.run, report=log.info)
        finally:
            await self.client.aclose()


class _Figures(Collector):
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def collect(self) -> list[Metric]:
        done = CounterMetricFamily("netlab_reconciles", "Keys that a controller looked at", labels=["controller"])
        failed = CounterMetricFamily("netlab_reconcile_errors", "Of these, those that failed", labels=["controller"])
        for name, (all_, wrong) in self._runner.counts().items():
            done.add_metric([name], all_)
            failed.add_metric([name], wrong)
        return [done, failed]


def health(running: Running) -> Health:
    """Readiness and figures."""
    registry = CollectorRegistry()
    registry.register(_Figures(running.runner))

    def page(_: Collection[str]) -> bytes:
        return generate_latest(registry)

    return Health("controllers", running.runner.why_not_ready, page)


async def _main(options: Options) -> None:
    ended = until_told()
    running = Running(load(options.kubeconfig))
    server = None
    if options.health_port is not None:
        server = await health(running).serve(options.health_host, options.health_port)

    async def told() -> None:
        await ended.wait()
        notify("STOPPING=1")

    async def ready() -> None:
        await running.runner.ready.wait()
        log.info("%d controllers run against %s", len(CONTROLLERS), running.client.config.server)
        notify("READY=1")
        await asyncio.Event().wait()

    try:
        await first(told(), ready(), running.run_elected() if options.leader_elect else running.run())
    finally:
        if server is not None:
            server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await server.wait_closed()


def run(options: Options) -> None:
    """Be the controllers until a signal. InputError; LeadershipLost when another process took over."""
    import uvloop

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    uvloop.run(_main(options))
