"""API server and controllers in one process, as k3s runs them.

The controllers are a client like any other, over TLS on the loopback, with a certificate of their own: they could as
well be another process (`netlab controllers`). If one of the two ends by a fault, so does the process.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from netlab.base.aio import first
from netlab.base.notify import notify
from netlab.client.kubeconfig import ApiConfig
from netlab.daemons import controllers
from netlab.daemons.apiserver import Options, Running, close, serve, until_told
from netlab.daemons.apiserver import run as run_server

log = logging.getLogger("server")

#: as whom the controllers ask. They delete whatever has no owner, so they may do anything.
USER, GROUPS = "system:kube-controller-manager", ("system:masters",)


def controllers_of(running: Running) -> controllers.Running:
    """The controllers of a server in this process."""
    ca = running.authority.pair.cert
    own = running.authority.kept("controllers", USER, GROUPS)
    config = ApiConfig(place="this process", server=running.url, ca=ca, cert=own.cert, key=own.key)
    return controllers.Running(config)


async def _main(options: Options) -> None:
    ended = until_told()
    running = await serve(replace(options, controllers=True))
    log.info("the API server answers on %s", running.url)
    loops = controllers_of(running)

    async def told() -> None:
        await loops.runner.ready.wait()
        log.info("%d controllers run", len(controllers.CONTROLLERS))
        notify(f"READY=1\nSTATUS=answering on {running.url}")
        await asyncio.Event().wait()

    async def until_ended() -> None:
        await ended.wait()

    try:
        await first(until_ended(), told(), loops.run())
    finally:
        await close(running)


def run(options: Options) -> None:
    """Be both until a signal. MachineError, InputError, StoreError."""
    run_server(options, _main)
