"""API server, controllers and scheduler in one process, as k3s runs them.

Controllers and scheduler are clients like any other, over TLS on the loopback, each with a certificate of its own: they
could as well be other processes (`netlab controllers`, `netlab scheduler`). If one of them ends by a fault, so does the
process.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

from netlab.base.aio import first
from netlab.base.errors import InputError
from netlab.base.notify import notify
from netlab.client.kubeconfig import ApiConfig
from netlab.controllers.certificates import Authority
from netlab.daemons import controllers, scheduler
from netlab.daemons.apiserver import Options, Running, close, started
from netlab.daemons.apiserver import run as run_server
from netlab.daemons.controllers import Settings
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


def controllers_of(running: Running, settings: Settings = Settings()) -> controllers.Running:  # noqa: B008 - it is frozen
    """The controllers of a server in this process."""
    pair = running.authority.pair
    settings = replace(settings, authority=settings.authority or Authority(pair.cert, pair.key))
    return controllers.Running(_config(running, "controllers", USER, GROUPS), settings)


def scheduler_of(running: Running) -> scheduler.Running:
    """The scheduler of a server in this process."""
    return scheduler.running_of(_config(running, "scheduler", SCHEDULER))


async def _main(options: Options, *, schedule: bool, settings: Settings) -> None:
    ended = until_told()
    running = await started(replace(options, controllers=True), ended)
    if running is None:
        return
    log.info("the API server answers on %s", running.url)
    loops = controllers_of(running, settings)
    works = [loops.run()]
    if schedule:
        works.append(scheduler_of(running).run())

    async def told() -> None:
        await loops.runner.ready.wait()
        log.info("%d controllers run", len(settings.chosen))
        notify(f"READY=1\nSTATUS=answering on {running.url}")
        await asyncio.Event().wait()

    async def until_ended() -> None:
        await ended.wait()

    try:
        await first(until_ended(), told(), *works)
    finally:
        await close(running)


def run(options: Options, settings: Settings, *, schedule: bool = True) -> None:
    """Be all of them until a signal. schedule: whether the scheduler is one. MachineError, InputError, StoreError."""
    pairs = [(services, whole) for services in options.service_ranges for whole in settings.pod_ranges]
    for services, whole in pairs:
        if services.version == whole.network.version and services.overlaps(whole.network):
            raise InputError(
                f"--cluster-cidr {whole.network} overlaps --service-cluster-ip-range {services}",
                hint="a Service and a pod would have one address: choose another for one of them",
            )
    run_server(options, partial(_main, schedule=schedule, settings=settings))
