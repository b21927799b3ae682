"""The composition root: this Linux machine, the source of objects, signals, health."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Collection
from pathlib import Path

from netlab.base.aio import first
from netlab.compile.proxying import Family
from netlab.daemons import node
from netlab.daemons.health import Health
from netlab.daemons.manifest_watch import Folder
from netlab.daemons.policyd.agent import Agent
from netlab.daemons.policyd.options import Options
from netlab.kernel import netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.iptables import Iptables
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.probe import iptables_variant
from netlab.model import HostState, Item
from netlab.model.diff import Op

OWNER = "policy"
log = logging.getLogger("policyd")


class HereNetwork:
    """The namespace that this process runs in, in the name of the policy agent. See `programme.Network`."""

    def __init__(self, claims: Path, *, iptables: str | None) -> None:
        self._ledger = FileLedger(claims)
        self._kernel = DaemonKernel(LinuxBackend(iptables=iptables), self._ledger)
        self._iptables = Iptables(iptables or iptables_variant())

    def claimed(self) -> HostState:
        return self._ledger.load(OWNER).states.get(netns.HERE, HostState())

    def apply(self, wanted: HostState) -> list[Op]:
        return self._kernel.apply(netns.HERE, OWNER, wanted)

    def step(self, gone: Collection[Item], new: Collection[Item]) -> list[Op]:
        return self._kernel.step(netns.HERE, OWNER, gone, new)

    def counts(self, family: Family) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for count in self._iptables.counters(netns.HERE, family, "filter"):
            found.setdefault(count.chain, []).append(count.packets)
        return found


def run(options: Options) -> None:
    """Be a policy agent until a signal comes. NetlabError when only a person can help."""
    node.log_to_stderr()
    node.enter("policyd", this_machine=options.this_machine)
    network = HereNetwork(options.claims, iptables=options.iptables)
    held = f"the policies of this node ({options.claims})"
    with node.alone("policyd", options.claims, held=held, hint="give this one --claims of its own"):
        asyncio.run(_run(options, network))


async def _run(options: Options, network: HereNetwork) -> None:
    agent = Agent(options, Folder(options.manifests), network)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def stopped() -> None:
        await stop.wait()
        log.info("stopping; pods stay as isolated as they are")

    server: asyncio.Server | None = None
    try:
        host, port = options.health
        if port:
            server = await Health("policyd", lambda: agent.waiting, agent.page).serve(host, port)
        await first(agent.run(), stopped())
    finally:
        if server:
            server.close()
