"""Composition root of the controllers: all of them against one API server; of several such processes one leads.

They ask as whoever the kubeconfig says, who has to be allowed to delete anything: that is what the garbage collector
and the end of a namespace are for.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from netlab.base.errors import InputError
from netlab.client.kubeconfig import ApiConfig
from netlab.client.rest import RestClient
from netlab.controllers.bootstraptokens import TokenCleaner
from netlab.controllers.certificates import Authority
from netlab.controllers.cronjobs import CronJobs
from netlab.controllers.csrapproving import CertificateApproval
from netlab.controllers.csrcleaning import CertificateCleaner
from netlab.controllers.csrsigning import CertificateSigning
from netlab.controllers.daemonsets import DaemonSets
from netlab.controllers.deployments import Deployments
from netlab.controllers.disruptions import Disruptions
from netlab.controllers.endpoints import Endpoints
from netlab.controllers.endpointslices import EndpointSlices
from netlab.controllers.garbage import GarbageCollector
from netlab.controllers.jobs import Jobs
from netlab.controllers.mirroring import EndpointSliceMirroring
from netlab.controllers.namespaces import NamespaceLifecycle
from netlab.controllers.nodeipam import NodeIpam
from netlab.controllers.nodelife import NodeLifecycle
from netlab.controllers.podgc import PodGarbageCollector
from netlab.controllers.podranges import ClusterRange
from netlab.controllers.quotas import ResourceQuotas
from netlab.controllers.replicasets import ReplicaSets
from netlab.controllers.replicationcontrollers import ReplicationControllers
from netlab.controllers.rootca import RootCa
from netlab.controllers.runner import Runner
from netlab.controllers.serviceaccounts import ServiceAccounts
from netlab.controllers.shape import NODE_GRACE, Controller
from netlab.controllers.statefulsets import StatefulSets
from netlab.controllers.tokens import TokenSecrets
from netlab.controllers.volumebinding import VolumeBinder
from netlab.controllers.volumeprotection import VolumeProtection
from netlab.daemons import loops
from netlab.daemons.health import Health
from netlab.daemons.loops import Options

log = logging.getLogger("controllers")

CONTROLLERS: tuple[type[Controller], ...] = (
    NamespaceLifecycle, GarbageCollector, ServiceAccounts, TokenSecrets, RootCa, ResourceQuotas, EndpointSlices,
    EndpointSliceMirroring, Endpoints, ReplicaSets, ReplicationControllers, Deployments, StatefulSets, Disruptions,
    NodeIpam, NodeLifecycle, PodGarbageCollector, DaemonSets, Jobs, CronJobs, VolumeBinder,
    VolumeProtection, CertificateApproval, CertificateSigning, CertificateCleaner, TokenCleaner,
)  # fmt: skip
#: namespace and name of the Lease that the leader holds, the original's
LEASE = ("kube-system", "kube-controller-manager")
USER_AGENT = "netlab-controllers"


@dataclass(frozen=True, slots=True)
class Settings:
    """What controllers are told. chosen: those that run; pod_ranges: of what nodes get their podCIDRs; authority: who
    signs certificates; node_grace: seconds that a node may be silent."""

    chosen: tuple[type[Controller], ...] = CONTROLLERS
    pod_ranges: tuple[ClusterRange, ...] = ()
    authority: Authority | None = None
    node_grace: float = NODE_GRACE


class Running(loops.Running[Runner]):
    """The controllers of one process, for those who run them in their own loop."""

    def __init__(self, config: ApiConfig, settings: Settings = Settings()) -> None:
        def make(client: RestClient, identity: str) -> Runner:
            return Runner(
                client,
                settings.chosen,
                ca=config.ca,
                identity=identity,
                pod_ranges=settings.pod_ranges,
                authority=settings.authority,
                node_grace=settings.node_grace,
            )

        super().__init__(config, agent=USER_AGENT, lease=LEASE, make=make)


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


def health(running: loops.Running[Runner]) -> Health:
    """Readiness and figures."""
    registry = CollectorRegistry()
    registry.register(_Figures(running.runner))

    def page(_: Collection[str]) -> bytes:
        return generate_latest(registry)

    return Health("controllers", running.runner.why_not_ready, page)


def chosen(text: str) -> tuple[type[Controller], ...]:
    """The controllers that `*,-job-controller` means: `*` for all, names, and names with a dash for those that are
    left out. InputError."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    named = {str(make.NAME): make for make in CONTROLLERS}
    strange = sorted({word.removeprefix("-") for word in words} - named.keys() - {"*"})
    if strange:
        raise InputError(f"there is no controller {', '.join(strange)}", hint=f"there are {', '.join(sorted(named))}")
    return tuple(m for name, m in named.items() if f"-{name}" not in words and ("*" in words or name in words))


def run(options: Options, settings: Settings) -> None:
    """Be the controllers until a signal. InputError; LeadershipLost when another process took over."""
    make = partial(Running, settings=settings)
    loops.run(options, log, f"{len(settings.chosen)} controllers run", make, health)
