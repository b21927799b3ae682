"""The composition root: this Linux machine, the source of Services, signals, health."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Collection, Iterable
from pathlib import Path

from netlab.base.aio import first
from netlab.compile.proxying import Family
from netlab.compile.rules import Mode
from netlab.daemons import node
from netlab.daemons.health import Health
from netlab.daemons.manifest_watch import Folder
from netlab.daemons.proxy.agent import Agent
from netlab.daemons.proxy.feed import ManifestFeed
from netlab.daemons.proxy.options import Options
from netlab.kernel import conntrack, netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState, Item
from netlab.model.diff import Op
from netlab.model.flows import Flow

OWNER = "proxy"
log = logging.getLogger("proxy")


class HereNetwork:
    """The namespace that this process runs in, in the name of the proxy. See `needs.Network`."""

    def __init__(self, claims: Path, *, iptables: str | None) -> None:
        self._backend = LinuxBackend(iptables=iptables)
        self._kernel = DaemonKernel(self._backend, FileLedger(claims))

    def read(self) -> HostState:
        return self._backend.read({netns.HERE: HostState()})[netns.HERE]

    def apply(self, wanted: HostState) -> list[Op]:
        return self._kernel.apply(netns.HERE, OWNER, wanted)

    def step(self, gone: Collection[Item], new: Collection[Item]) -> list[Op]:
        return self._kernel.step(netns.HERE, OWNER, gone, new)

    def flows(self, family: Family, protocol: str) -> list[Flow]:
        return conntrack.read(netns.HERE, family, protocol)

    def forget(self, flows: Iterable[Flow]) -> int:
        return conntrack.forget(netns.HERE, flows)


class LinuxMachine:
    """See `needs.Machine`."""

    def __init__(self, options: Options) -> None:
        node.enter("proxy", this_machine=options.this_machine)
        self._iptables = options.iptables
        self.network = HereNetwork(options.claims, iptables=options.iptables)

    def need(self, mode: Mode) -> None:
        if mode == "ipvs":
            from netlab.kernel import ipvs

            ipvs.read(netns.HERE)
        elif mode == "nftables":
            from netlab.kernel import nft

            nft.read(netns.HERE)
        if mode != "nftables" and self._iptables is None:
            from netlab.kernel.probe import iptables_variant

            iptables_variant()

    def changes(self) -> AsyncGenerator[None, None]:
        return node.network_changes()


def run(options: Options) -> None:
    """Be a proxy until a signal comes. NetlabError when only a person can help."""
    node.log_to_stderr()
    machine = LinuxMachine(options)
    held = f"the Services of this node ({options.claims})"
    with node.alone("proxy", options.claims, held=held, hint="give this one --claims of its own"):
        asyncio.run(_run(options, machine))


async def _run(options: Options, machine: LinuxMachine) -> None:
    agent = Agent(options, ManifestFeed(Folder(options.manifests), options.node), machine)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def stopped() -> None:
        await stop.wait()
        log.info("stopping; the network stays as it is")

    def page(_names: Collection[str]) -> bytes:
        return agent.figures.page()

    server: asyncio.Server | None = None
    try:
        host, port = options.health
        if port:
            pages = {"/healthz": agent.healthz, "/livez": agent.livez}
            server = await Health("proxy", lambda: agent.waiting, page, pages).serve(host, port)
        await first(agent.run(), stopped())
    finally:
        if server:
            server.close()
