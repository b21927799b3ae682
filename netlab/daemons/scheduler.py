"""Composition root of the scheduler: against one API server; of several such processes one leads."""

from __future__ import annotations

import logging
from collections.abc import Collection

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from netlab.client.kubeconfig import ApiConfig
from netlab.client.rest import RestClient
from netlab.daemons import loops
from netlab.daemons.health import Health
from netlab.daemons.loops import Options
from netlab.scheduler.loop import Scheduler

log = logging.getLogger("scheduler")

#: namespace and name of the Lease that the leader holds, the original's
LEASE = ("kube-system", "kube-scheduler")
USER_AGENT = "netlab-scheduler"

Running = loops.Running[Scheduler]


def running_of(config: ApiConfig) -> Running:
    """The scheduler with its client."""

    def make(client: RestClient, identity: str) -> Scheduler:
        return Scheduler(client, identity=identity)

    return loops.Running(config, agent=USER_AGENT, lease=LEASE, make=make)


class _Figures(Collector):
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> list[Metric]:
        attempts = CounterMetricFamily(
            "netlab_scheduler_attempts", "Pods that were placed, and that were not", labels=["result"]
        )
        attempts.add_metric(["scheduled"], self._scheduler.placed)
        attempts.add_metric(["failed"], self._scheduler.failed)
        pending = GaugeMetricFamily("netlab_scheduler_pending_pods", "Pods that wait, by queue", labels=["queue"])
        for queue, count in self._scheduler.queue.counts().items():
            pending.add_metric([queue], count)
        return [attempts, pending]


def health(running: Running) -> Health:
    """Readiness and figures."""
    registry = CollectorRegistry()
    registry.register(_Figures(running.runner))

    def page(_: Collection[str]) -> bytes:
        return generate_latest(registry)

    return Health("scheduler", running.runner.why_not_ready, page)


def run(options: Options) -> None:
    """Be the scheduler until a signal. InputError; LeadershipLost when another process took over."""
    loops.run(options, log, "the scheduler runs", running_of, health)
