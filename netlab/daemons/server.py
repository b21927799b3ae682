"""API server, controllers and scheduler in one process, as k3s runs them.

Controllers and scheduler are clients like any other, over TLS on the loopback, each with a certificate of its own: they
could as well be other processes (`netlab controllers`, `netlab scheduler`). If one of them ends by a fault, so does the
process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from netlab.base.aio import first
from netlab.base.notify import notify
from netlab.client.kubeconfig import ApiConfig
from netlab.controllers.shape import Controller
from netlab.daemons import controllers, scheduler
from netlab.daemons.apiserver import Options, Running, close, serve
from netlab.daemons.apiserver import run as run_server
from netlab.daemons.signals import until_told

log = logging.getLogger("server")

#: as whom the controllers ask. They delete whatever has no owner, so they may do anything.
USER, GROUPS = "system:kube-controller-manager", ("system:masters",)
#: the scheduler may do what its default role says
SCHEDULER = "system:kube-scheduler"


def _config(running: Running, name: str, user: str, groups: tuple[str, ...] = ()) -> ApiConfig:
    own = running.authority.kept(name, user, groups)
    return ApiConfig(
        place="this process", server=running.url, ca=running.authority.pair.cert, cert=own.cert, key=own.key
    )


def controllers_of(
    running: Running, chosen: Sequence[type[Controller]] = controllers.CONTROLLERS
) -> controllers.Running:
    """The controllers of a server in this process."""
    return controllers.Running(_config(running, "controllers", USER, GROUPS), chosen)


def scheduler_of(running: Running) -> scheduler.Running:
    """The scheduler of a server in this process."""
    return scheduler.running_of(_config(running, "scheduler", SCHEDULER))


async def _main(options: Options, *, schedule: bool, chosen: Sequence[type[Controller]]) -> None:
    ended = until_told()
    running = await serve(replace(options, controllers=True))
    log.info("the API server answers on %s", running.url)
    loops = controllers_of(running, chosen)
    works = [loops.run()]
    if schedule:
        works.append(scheduler_of(running).run())

    async def told() -> None:
        await loops.runner.ready.wait()
        log.info("%d controllers run", len(chosen))
        notify(f"READY=1\nSTATUS=answering on {running.url}")
        await asyncio.Event().wait()

    async def until_ended() -> None:
        await ended.wait()

    try:
        await first(until_ended(), told(), *works)
    finally:
        await close(running)


def run(options: Options, *, schedule: bool = True, chosen: str = "*") -> None:
    """Be all of them until a signal. schedule: whether the scheduler is one; chosen: see `controllers.chosen`.

    MachineError, InputError, StoreError.
    """
    run_server(options, partial(_main, schedule=schedule, chosen=controllers.chosen(chosen)))
