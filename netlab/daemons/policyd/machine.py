"""The composition root: this Linux machine, health, and for a process of its own a source of objects and signals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from netlab.compile.proxying import Family
from netlab.daemons import following, node
from netlab.daemons.health import Health
from netlab.daemons.policyd.agent import Agent, wants
from netlab.daemons.policyd.options import Options
from netlab.daemons.sources import Origin, Source
from netlab.kernel import conntrack, netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.iptables import Iptables
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.kernel.probe import iptables_variant
from netlab.model import HostState, Item
from netlab.model.diff import Op
from netlab.model.flows import Flow

OWNER = "policy"


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

    def flows(self, family: Family, protocol: str) -> list[Flow]:
        return conntrack.read(netns.HERE, family, protocol)

    def forget(self, flows: Iterable[Flow]) -> int:
        return conntrack.forget(netns.HERE, flows)

    def counts(self, family: Family) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for count in self._iptables.counters(netns.HERE, family, "filter"):
            found.setdefault(count.chain, []).append(count.packets)
        return found


async def serve(options: Options, source: Source, *, ready: Callable[[], object] = lambda: None) -> None:
    """Be a policy agent until cancelled, alone in a process or beside others. Pods stay as isolated as they are then.

    ready: called when the kernel holds for the first time what the source says. MachineError, ConflictError.
    """
    node.enter("policyd", this_machine=options.this_machine)
    network = HereNetwork(options.claims, iptables=options.iptables)
    held = f"the policies of this node ({options.claims})"
    with node.alone("policyd", options.claims, held=held, hint="give this one --claims of its own"):
        agent = Agent(options, source, network, ready=ready)
        async with Health("policyd", lambda: agent.waiting, agent.page).meanwhile(*options.health):
            await agent.run()


def run(options: Options, origin: Origin) -> None:
    """Be a process that is a policy agent, until a signal comes. NetlabError when only a person can help."""
    last = "stopping; pods stay as isolated as they are"
    following.run(partial(serve, options), origin, wants(options.node), name="policyd", last=last)
