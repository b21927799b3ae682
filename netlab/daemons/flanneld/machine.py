"""The composition root: this Linux machine, the store that was asked for, signals, health."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.base.aio import first
from netlab.daemons import node
from netlab.daemons.flanneld import metrics
from netlab.daemons.flanneld.agent import Agent
from netlab.daemons.flanneld.needs import Carrier
from netlab.daemons.flanneld.options import Etcd, Kube, Options
from netlab.daemons.health import Health
from netlab.kernel import netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState
from netlab.model.diff import Op
from netlab.overlay.backends.udp import Udp
from netlab.overlay.backends.wireguard import Keys
from netlab.overlay.lease import Lease, StoreUnavailable
from netlab.overlay.managers import SubnetManager
from netlab.overlay.underlay import Underlay

if TYPE_CHECKING:  # each is imported by who needs it: a node with leases in a directory needs no HTTP
    from netlab.client.rest import RestClient
    from netlab.overlay.managers.kube import KubeManager
    from netlab.overlay.managers.store import LeaseStore
    from netlab.overlay.udp import PathCounters

OWNER = "flanneld"
log = logging.getLogger("flanneld")


class HereNetwork:
    """The namespace that this process runs in, in the name of flanneld."""

    def __init__(self, claims: Path, *, iptables: str | None) -> None:
        self._backend = LinuxBackend(iptables=iptables)
        self._kernel = DaemonKernel(self._backend, FileLedger(claims))

    def read(self) -> HostState:
        return self._backend.read({netns.HERE: HostState()})[netns.HERE]

    def apply(self, wanted: HostState) -> list[Op]:
        return self._kernel.apply(netns.HERE, OWNER, wanted)

    def transition(self, was: HostState, wanted: HostState) -> list[Op]:
        return self._kernel.transition(netns.HERE, OWNER, was, wanted)


class LinuxMachine:
    """See `needs.Machine`."""

    def __init__(self, options: Options) -> None:
        node.enter("flanneld", this_machine=options.this_machine)
        self.network = HereNetwork(options.claims, iptables=options.iptables)
        self._counters: PathCounters | None = None

    def changes(self) -> AsyncGenerator[None, None]:
        return node.network_changes()

    def carrier(self, backend: Udp, own: Lease, underlay: Underlay) -> Carrier:
        from netlab.daemons.flanneld.carrier import UdpCarrier
        from netlab.overlay.udp import PathCounters

        # one set of counters for the life of the process: they never go back
        self._counters = self._counters or PathCounters()
        return UdpCarrier(backend, own, underlay, self._counters)

    def wireguard_keys(self, path: Path) -> Keys:
        from netlab.daemons.flanneld.keys import kept

        return kept(path)


async def kube_manager(kube: Kube) -> KubeManager:
    """The Kubernetes API as a store. InputError if it is not told how to reach it, or which node this is."""
    from netlab.client import kubeconfig
    from netlab.client.rest import RestClient
    from netlab.overlay.managers.kube import KubeManager, node_name

    config = kubeconfig.find(kube.kubeconfig)
    if kube.api_url:
        config = replace(config, server=kube.api_url)
    client = RestClient(config)
    while True:
        try:
            node = await node_name(client)
            break
        except StoreUnavailable as e:
            log.warning("waiting for the Kubernetes API: %s", e.message)
            await asyncio.sleep(1)
    return KubeManager(client, node, net_conf=kube.net_config, prefix=kube.annotation_prefix)


async def serve_node(options: Options, client: RestClient, node_name: str, *, ready: Callable[[], object]) -> None:
    """Be the flanneld of a node of Kubernetes until cancelled, beside others in a process; the network stays as it is.

    ready: called when subnet.env is written. options: without `kube`, which would say as whom to ask.
    """
    from netlab.overlay.managers.kube import KubeManager

    manager = KubeManager(client, node_name)
    machine = LinuxMachine(options)
    held = f"the subnet file {options.subnet_file}"
    with node.alone("flanneld", options.claims, held=held, hint="give this one a --subnet-file of its own"):
        await Agent(options, manager, machine, node=manager, ready=ready).run()


def manager_of(options: Options) -> SubnetManager:
    """The store that was asked for, if it is not Kubernetes. InputError if what it needs makes no sense."""
    from netlab.overlay.managers.store import StoreManager

    if options.subnet_dir is not None:
        from netlab.overlay.managers.file import FileStore

        return StoreManager(FileStore(options.subnet_dir))
    assert options.etcd is not None
    return StoreManager(_etcd(options.etcd))


def _etcd(etcd: Etcd) -> LeaseStore:
    from netlab.client.etcd import EtcdClient
    from netlab.client.etcd2 import Etcd2Client
    from netlab.client.transport import tls_context
    from netlab.overlay.managers.etcd import Etcd2Store, EtcdStore

    secure = any(url.startswith("https:") for url in etcd.endpoints)
    tls = tls_context(ca=etcd.cafile, cert=etcd.certfile, key=etcd.keyfile) if secure else None
    user, password = etcd.username or "", etcd.password or ""
    if etcd.api == 2:
        return Etcd2Store(Etcd2Client(etcd.endpoints, tls=tls, user=user, password=password), prefix=etcd.prefix)
    return EtcdStore(EtcdClient(etcd.endpoints, tls=tls, user=user, password=password), prefix=etcd.prefix)


def run(options: Options) -> None:
    """Be a flanneld until a signal comes. NetlabError when only a person can help."""
    node.log_to_stderr()
    machine = LinuxMachine(options)
    held = f"the subnet file {options.subnet_file}"
    with node.alone("flanneld", options.claims, held=held, hint="give this one a --subnet-file of its own"):
        asyncio.run(_run(options, machine))


async def _run(options: Options, machine: LinuxMachine) -> None:
    kube = await kube_manager(options.kube) if options.kube else None
    manager = kube or manager_of(options)
    condition = kube if options.kube and options.kube.set_network_unavailable else None
    agent = Agent(options, manager, machine, node=condition)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server: asyncio.Server | None = None

    def page(names: Collection[str]) -> bytes:
        carried = not names or any(name.startswith("flannel_udp_") for name in names)
        return metrics.text(agent.figures, agent.round.carrier if agent.round and carried else None)

    async def stopped() -> None:
        await stop.wait()
        log.info("stopping; the network stays as it is")

    try:
        if options.healthz_port:
            health = Health("flanneld", lambda: agent.waiting, page)
            server = await health.serve(options.healthz_ip, options.healthz_port)
        await first(agent.run(), stopped())
    finally:
        if server:
            server.close()
        await manager.aclose()
