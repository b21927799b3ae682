"""What processes have in common that follow an API server: of several one leads, answers about health, ends by signal.

`netlab controllers` and `netlab scheduler` are such.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from netlab.base import garbage
from netlab.base.aio import first
from netlab.base.notify import notify
from netlab.client.election import lead
from netlab.client.kubeconfig import ApiConfig, load
from netlab.client.rest import RestClient
from netlab.daemons.health import Health
from netlab.daemons.signals import until_told


@dataclass(frozen=True, slots=True)
class Options:
    """What such a verb is given. health_port: None for no answers about health."""

    kubeconfig: Path
    leader_elect: bool = True
    health_host: str = "127.0.0.1"
    health_port: int | None = None


class Loop(Protocol):
    """What is run."""

    ready: asyncio.Event

    def why_not_ready(self) -> str | None: ...

    async def run(self) -> None: ...


L = TypeVar("L", bound=Loop)


class Running(Generic[L]):
    """A loop with a client of its own, for those who run it in their own event loop.

    make: of the client and the identity of this process; lease: namespace and name of the one that the leader holds.
    """

    def __init__(
        self, config: ApiConfig, *, agent: str, lease: tuple[str, str], make: Callable[[RestClient, str], L]
    ) -> None:
        self.client = RestClient(config, user_agent=agent)
        self.identity = f"{socket.gethostname()}_{os.getpid()}"
        self.runner = make(self.client, self.identity)
        self._lease, self._agent = lease, agent

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await self.runner.run()
        finally:
            await self.client.aclose()

    async def run_elected(self, report: Callable[[str], None]) -> None:
        """Work while holding the Lease. LeadershipLost."""
        # a client of its own: a renewal must not wait behind the work
        leading = RestClient(self.client.config, user_agent=self._agent)
        try:
            await lead(leading, *self._lease, self.identity, self.runner.run, report=report)
        finally:
            await leading.aclose()
            await self.client.aclose()


async def _main(
    options: Options, log: logging.Logger, what: str, make: Callable[[ApiConfig], Running[L]],
    health: Callable[[Running[L]], Health],
) -> None:  # fmt: skip
    ended = until_told()
    running = make(load(options.kubeconfig))
    server = None
    if options.health_port is not None:
        server = await health(running).serve(options.health_host, options.health_port)

    async def told() -> None:
        await ended.wait()
        notify("STOPPING=1")

    async def ready() -> None:
        await running.runner.ready.wait()
        log.info("%s against %s", what, running.client.config.server)
        notify("READY=1")
        await asyncio.Event().wait()

    try:
        await first(told(), ready(), running.run_elected(log.info) if options.leader_elect else running.run())
    finally:
        if server is not None:
            server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await server.wait_closed()


def run(
    options: Options, log: logging.Logger, what: str, make: Callable[[ApiConfig], Running[L]],
    health: Callable[[Running[L]], Health],
) -> None:  # fmt: skip
    """Be that process until a signal. InputError; LeadershipLost when another process took over."""
    import uvloop

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    with garbage.looked_for_rarely():
        uvloop.run(_main(options, log, what, make, health))
