"""The composition root: this Linux machine, health, and for a process of its own a source of Services and signals."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from netlab.compile.proxying import Family
from netlab.compile.rules import Mode
from netlab.daemons import following, node
from netlab.daemons.health import Health
from netlab.daemons.proxy.agent import Agent
from netlab.daemons.proxy.feed import ServiceFeed, wants
from netlab.daemons.proxy.options import Options
from netlab.daemons.sources import Origin, Source
from netlab.kernel import conntrack, netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState, IpvsService, Item
from netlab.model.diff import Op
from netlab.model.flows import Flow

OWNER = "proxy"


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

    def servers(self) -> list[IpvsService]:
        from netlab.kernel import ipvs

        return ipvs.read(netns.HERE)

    def busy(self) -> list[IpvsService]:
        from netlab.kernel import ipvs

        return ipvs.busy(netns.HERE)

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


async def serve(options: Options, source: Source, *, ready: Callable[[], object] = lambda: None) -> None:
    """Be a proxy until cancelled, alone in a process or beside others. The network stays as it is then.

    ready: called when the kernel holds for the first time what the source says. MachineError, ConflictError.
    """
    machine = LinuxMachine(options)
    held = f"the Services of this node ({options.claims})"
    with node.alone("proxy", options.claims, held=held, hint="give this one --claims of its own"):
        agent = Agent(options, ServiceFeed(source, options.node), machine, ready=ready)
        pages = {"/healthz": agent.healthz, "/livez": agent.livez}
        health = Health("proxy", lambda: agent.waiting, lambda _names: agent.figures.page(), pages)
        async with health.meanwhile(*options.health):
            await agent.run()


def run(options: Options, origin: Origin) -> None:
    """Be a process that is a proxy, until a signal comes. NetlabError when only a person can help."""
    last = "stopping; the network stays as it is"
    following.run(partial(serve, options), origin, wants(options.node), name="proxy", last=last)
