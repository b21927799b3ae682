"""API server, controllers and scheduler in one process, as k3s runs them; for machines that join it also the cluster's
name server, and what they have to be told.

Controllers and scheduler are clients like any other, over TLS on this machine, each with a certificate of its own: they
could as well be other processes (`netlab controllers`, `netlab scheduler`). If one of them ends by a fault, so does the
process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from netlab.api import times
from netlab.base.addresses import Address
from netlab.base.aio import first
from netlab.base.errors import InputError, MachineError
from netlab.base.notify import notify
from netlab.client.kubeconfig import ApiConfig, load
from netlab.client.rest import RestClient, path
from netlab.cluster import bootstrap, plan
from netlab.controllers.certificates import Authority
from netlab.daemons import controllers, dns, scheduler
from netlab.daemons.apiserver import ADMIN, Options, Running, close, started
from netlab.daemons.apiserver import run as run_server
from netlab.daemons.controllers import Settings
from netlab.daemons.creating import create
from netlab.daemons.joining import Invitation, fingerprint
from netlab.daemons.signals import until_told
from netlab.daemons.sources import followed
from netlab.dns.search import parse

log = logging.getLogger("server")

#: as whom the controllers ask. They delete whatever has no owner, so they may do anything.
USER, GROUPS = "system:kube-controller-manager", ("system:masters",)
#: the scheduler and the name server may do what their default roles say
SCHEDULER, RESOLVER = "system:kube-scheduler", "system:coredns"
#: among the addresses of Services, the name server's is this one, as kubeadm has it
DNS = 10
#: whom the name server asks about the rest of the world
RESOLV_CONF = Path("/etc/resolv.conf")
#: hours that a token is good for, as kubeadm's
HOURS = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """How machines become nodes of the cluster and what they are then told. network: one of flannel's; proxy: mode of
    the Service proxy; dns: whether the name server is here, on the address that the server is known by; invited: given
    the invitation to print, None for no token."""

    network: str = "flannel-vxlan"
    proxy: str = "iptables"
    dns: bool = True
    invited: Callable[[Invitation], None] | None = None


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


def _address(options: Options) -> Address:
    """By which nodes know the server."""
    return ip_address(options.advertise or options.bind)


async def _prepare(running: Running, options: Options, settings: Settings, nodes: Nodes) -> None:
    """What machines that join look for is in the API."""
    facts = bootstrap.Facts(
        server=running.url, resolver=_address(options), dns=options.service_ranges[0][DNS],
        network=nodes.network, proxy=nodes.proxy, pods=[whole.network for whole in settings.pod_ranges],
        lease=plan.lease(settings.node_grace),
    )  # fmt: skip
    client = RestClient(_config(running, "controllers", USER, GROUPS), user_agent="netlab-server")
    try:
        objects = bootstrap.objects(facts, ca=running.authority.pair.cert)
        await create(client, objects)
        for wanted in (obj for obj in objects if obj["kind"] == "ConfigMap"):
            named = wanted["metadata"]
            found = await client.get(path("v1", "configmaps", **named))
            if found["data"] != wanted["data"]:
                where = f"{named['namespace']}/{named['name']}"
                log.warning("ConfigMap %s stays as it is, which is not what the options now say", where)
    finally:
        await client.aclose()


async def _resolve(running: Running, options: Options, ready: Callable[[], object]) -> None:
    """Be the cluster's name server until cancelled. MachineError if the port is not to be had."""
    own = _address(options)
    upstreams = tuple((server, 53) for server in parse(_resolv_conf()).servers if server != str(own))
    # of this one address: on others of the machine another resolver may answer
    given = dns.Options(addresses=(str(own),), upstreams=upstreams)
    config = _config(running, "dns", RESOLVER)
    async with followed(config, dns.wants(given.zone), agent="netlab-dns") as source:
        try:
            await dns.serve(given, source, ready=ready)
        except MachineError as e:
            raise MachineError(e.message, hint="ss -lnup sport = :53 tells who has it; or do without: --no-dns") from e


def _resolv_conf() -> str:
    try:
        return RESOLV_CONF.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a machine without a resolver
        return ""


async def invitation(config: ApiConfig, *, hours: float = HOURS) -> Invitation:
    """A new token of a cluster, and what else a machine has to know that becomes its node. ApiError, ApiUnavailable."""
    token = bootstrap.new_token()
    client = RestClient(config, user_agent="netlab-token")
    try:
        await create(client, [bootstrap.token(token, expires=times.seconds(time.time() + hours * 3600))])
    finally:
        await client.aclose()
    return Invitation(config.server, token, fingerprint(config.ca))


def invite(data_dir: Path, *, hours: float = HOURS) -> Invitation:
    """The same, of the server of a data directory. InputError if there is none, ApiUnavailable if it does not run."""
    admin = data_dir / ADMIN
    if not admin.exists():
        raise InputError(f"{admin} is not there", hint=f"start a server: netlab server --data-dir {data_dir}")
    return asyncio.run(invitation(load(admin), hours=hours))


async def _main(options: Options, *, schedule: bool, settings: Settings, nodes: Nodes | None) -> None:
    ended = until_told()
    running = await started(replace(options, controllers=True), ended)
    if running is None:
        return
    log.info("the API server answers on %s", running.url)
    loops = controllers_of(running, settings)
    works, names = [loops.run()], asyncio.Event()
    if schedule:
        works.append(scheduler_of(running).run())
    if nodes is not None and nodes.dns:
        works.append(_resolve(running, options, names.set))
    else:
        names.set()

    async def told() -> None:
        if nodes is not None:
            await _prepare(running, options, settings, nodes)
        await loops.runner.ready.wait()
        await names.wait()
        log.info("%d controllers run", len(settings.chosen))
        notify(f"READY=1\nSTATUS=answering on {running.url}")
        if nodes is not None and nodes.invited is not None:
            nodes.invited(await invitation(load(options.data_dir / ADMIN)))
        await asyncio.Event().wait()

    async def until_ended() -> None:
        await ended.wait()

    try:
        await first(until_ended(), told(), *works)
    finally:
        await close(running)


def run(options: Options, settings: Settings, *, schedule: bool = True, nodes: Nodes | None = None) -> None:
    """Be all of them until a signal. schedule: whether the scheduler is one; nodes: None if no machine is to join.
    MachineError, InputError, StoreError."""
    pairs = [(services, whole) for services in options.service_ranges for whole in settings.pod_ranges]
    for services, whole in pairs:
        if services.version == whole.network.version and services.overlaps(whole.network):
            raise InputError(
                f"--cluster-cidr {whole.network} overlaps --service-cluster-ip-range {services}",
                hint="a Service and a pod would have one address: choose another for one of them",
            )
    run_server(options, partial(_main, schedule=schedule, settings=settings, nodes=nodes))
