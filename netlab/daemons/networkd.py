"""Composition root of the text's custom controller, in the order of its main function: a client from a kubeconfig, the
informers, the controller over them, and then it runs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from netlab.base.aio import first
from netlab.base.errors import MachineError
from netlab.base.notify import notify
from netlab.client.kubeconfig import load
from netlab.client.rest import RestClient
from netlab.controllers.networks import OWNER, Networks
from netlab.controllers.runner import Runner
from netlab.daemons.signals import until_told
from netlab.kernel import netns
from netlab.kernel.apply import DaemonKernel
from netlab.kernel.ledger import FileLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import HostState
from netlab.model.explain import commands

log = logging.getLogger("networkd")


@dataclass(frozen=True, slots=True)
class Options:
    """What `netlab networkd` is given. claims: where it remembers what of the node's network it has made."""

    kubeconfig: Path
    claims: Path
    this_machine: bool = False


class Here:
    """The namespace that this process runs in (see `controllers.networks.Node`)."""

    def __init__(self, claims: Path) -> None:
        self._kernel = DaemonKernel(LinuxBackend(), FileLedger(claims))

    def apply(self, wanted: HostState) -> None:
        for command in commands(self._kernel.apply(netns.HERE, OWNER, wanted)):
            log.info("%s", command.shell())


async def _main(options: Options) -> None:
    ended = until_told()
    client = RestClient(load(options.kubeconfig), user_agent="netlab-networkd")
    node = Here(options.claims)
    runner = Runner(client, ())
    runner.add(Networks.NAME, lambda tools: Networks(tools, node))

    async def told() -> None:
        await ended.wait()
        notify("STOPPING=1")

    async def reached() -> None:
        # there may be no such kind yet, which is no reason to hold a lab up
        await runner.kinds.wait()
        log.info("%s answers; Networks are made as they come", client.config.server)
        notify("READY=1")
        await asyncio.Event().wait()

    try:
        await first(told(), reached(), runner.run())
    finally:
        await client.aclose()


def run(options: Options) -> None:
    """Be the controller until a signal; what it has made stays. InputError, MachineError."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    netns.require_root()
    if netns.is_machines_own() and not options.this_machine:
        raise MachineError(
            "this is the machine's own network, not a namespace of a lab: nothing was changed",
            hint="run it in a namespace (ip netns exec NAME netlab networkd …), or mean it: --this-machine",
        )
    netns.own()
    asyncio.run(_main(options))
