"""Composition root of the kubelet: a runtime, a network, an API server, and the pods of one node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import netlab
from netlab.api import MAJOR, MINOR, PATCH, Json
from netlab.base.addresses import Address
from netlab.base.aio import first
from netlab.base.notify import notify
from netlab.client.kubeconfig import load
from netlab.client.resources import Resource
from netlab.client.rest import RestClient
from netlab.daemons.cni import runner
from netlab.daemons.health import Health
from netlab.daemons.node import enter, log_to_stderr
from netlab.daemons.ownaddress import own
from netlab.daemons.podnetwork import PodNetwork
from netlab.daemons.signals import until_told
from netlab.kernel import host, netns
from netlab.kubelet.evicting import DEFAULT, thresholds
from netlab.kubelet.kubelet import Kubelet
from netlab.kubelet.making import Making, NodeFacts
from netlab.kubelet.making.world import Tell
from netlab.kubelet.node import Machine, Moment
from netlab.kubelet.registering import LEASE
from netlab.kubelet.serving.access import Access, Who
from netlab.kubelet.serving.server import Server
from netlab.kubelet.world import ApiWorld
from netlab.runtime.containers import Runtime
from netlab.runtime.images.store import Store

log = logging.getLogger("kubelet")

AGENT = "netlab-kubelet"
REVIEWS = Resource("authorization.k8s.io/v1", "subjectaccessreviews")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """kubeconfig: as whom to ask which API server; root: of volumes and records; runtime: of containers; images: the
    store; manifests: a directory of static pods; cni: one of network configurations; cni_root: below which plugins keep
    their state; ips: of the node, found if none; cgroup: below which all containers' groups are; cert, key, client_ca:
    of the server that the API server asks at `port`, which there is with all three; pids: processes and threads that a
    pod may have, None for no limit; eviction_hard: see `evicting.thresholds`; lease: seconds that the node's Lease is
    good for; pull: whether images may be fetched; health: where /healthz answers, None for nowhere."""

    kubeconfig: Path
    node: str
    root: Path = Path("/var/lib/kubelet")
    runtime: Path = Path("/var/lib/netlab")
    images: Path = Path("/var/lib/netlab/images")
    logs: Path = Path("/var/log/pods")
    manifests: Path | None = None
    cni: Path = Path("/etc/cni/net.d")
    cni_root: Path = Path("/")
    ips: tuple[Address, ...] = ()
    dns: tuple[Address, ...] = ()
    domain: str = "cluster.local"
    cgroup: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Json] = ()
    max_pods: int = 110
    pids: int | None = None
    port: int = 10250
    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    eviction_hard: str = DEFAULT
    lease: int = LEASE
    pull: bool = False
    insecure: bool = False
    health: tuple[str, int] | None = None
    this_machine: bool = False


def machine_of(options: Options) -> Machine:
    """What this machine is and has."""
    options.root.mkdir(parents=True, exist_ok=True)
    info = {
        **host.info(), "kubeletVersion": f"v{MAJOR}.{MINOR}.{PATCH}+netlab", "kubeProxyVersion": "",
        "containerRuntimeVersion": f"netlab://{netlab.__version__}",
    }  # fmt: skip
    return Machine(
        name=options.node, ips=[str(ip) for ip in options.ips], cpus=host.cpus(), memory=host.memory().total,
        storage=host.storage(options.root).total, pods=options.max_pods, port=options.port, info=info,
        labels=options.labels, taints=options.taints,
    )  # fmt: skip


class Listed:
    """The images of a store, read again when another is named."""

    def __init__(self, store: Store) -> None:
        self._store, self._mark = store, 0
        self._found: list[tuple[tuple[str, str], int]] = []

    def now(self) -> list[tuple[tuple[str, str], int]]:
        """Names and sizes."""
        index = self._store.root / "index.json"
        mark = index.stat().st_mtime_ns if index.exists() else 0
        if mark != self._mark:
            self._mark = mark
            self._found = [
                ((image.name, f"{image.name.rpartition(':')[0]}@{image.digest}"), image.size)
                for image in self._store.all()
            ]
        return self._found


def kubelet_of(client: RestClient, options: Options) -> Kubelet:
    """The kubelet of a node, to be run in the caller's event loop. The calling thread is in the node's namespaces."""
    options = replace(options, ips=options.ips or own())
    machine, store = machine_of(options), Store(options.images)
    network = PodNetwork(options.root, runner(root=options.cni_root), options.cni)

    facts = NodeFacts(
        name=options.node, ips=options.ips, allocatable=machine.allocatable, memory=machine.memory, dns=options.dns,
        domain=options.domain, pids=options.pids,
    )  # fmt: skip

    def making(world: ApiWorld, tell: Tell) -> Making:
        return Making(options.root, world, facts, tell=tell)

    listed = Listed(store)

    def moment() -> Moment:
        available = {"memory.available": host.memory(), "nodefs.available": host.storage(options.root)}
        return Moment(network=network.problem(), images=listed.now(), available=available)

    cgroup = options.cgroup or f"/netlab.{options.node}"
    return Kubelet(
        client, Runtime(options.runtime, store, cgroup=cgroup), network, machine, making, ips=options.ips,
        logs=options.logs, manifests=options.manifests, moment=moment, hard=thresholds(options.eviction_hard),
        pulls=options.pull, insecure=options.insecure, lease=options.lease,
    )  # fmt: skip


def server_of(kubelet: Kubelet, client: RestClient, options: Options) -> Server | None:
    """What answers the API server on `options.port`; None without certificates."""
    if options.cert is None or options.key is None or options.client_ca is None:
        return None

    async def review(who: Who, verb: str, part: str) -> bool:
        attributes = {"verb": verb, "resource": "nodes", "subresource": part, "name": options.node}
        spec = {"user": who.name, "groups": list(who.groups), "resourceAttributes": attributes}
        answer = await client.create(REVIEWS.path(), {"spec": spec})
        return bool(answer["status"].get("allowed"))

    return Server(kubelet.doors, Access(review), cert=options.cert, key=options.key, client_ca=options.client_ca)


class _Figures(Collector):
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    def collect(self) -> list[Metric]:
        found = GaugeMetricFamily("kubelet_active_pods", "Pods that have a worker")
        found.add_metric([], len(self._kubelet.workers))
        return [found]


def health(kubelet: Kubelet) -> Health:
    """Readiness and figures."""
    registry = CollectorRegistry()
    registry.register(_Figures(kubelet))

    def page(_: Collection[str]) -> bytes:
        return generate_latest(registry)

    return Health("kubelet", kubelet.why_not_ready, page)


async def _main(options: Options) -> None:
    ended = until_told()
    client = RestClient(load(options.kubeconfig), user_agent=AGENT)
    kubelet = kubelet_of(client, options)
    server = None if options.health is None else await health(kubelet).serve(*options.health)
    streams = server_of(kubelet, client, options)
    if streams is not None:
        await streams.start(["0.0.0.0"], options.port)

    async def told() -> None:
        await ended.wait()
        notify("STOPPING=1")

    async def ready() -> None:
        await kubelet.ready.wait()
        notify("READY=1")
        await asyncio.Event().wait()

    try:
        await first(told(), ready(), kubelet.run())
    finally:
        if server is not None:
            server.close()
        if streams is not None:
            await streams.aclose()
        await client.aclose()


def run(options: Options) -> None:
    """Be the kubelet until a signal; pods go on. InputError, MachineError."""
    import uvloop

    enter("kubelet", this_machine=options.this_machine)
    netns.own()
    log_to_stderr()
    uvloop.run(_main(options))
