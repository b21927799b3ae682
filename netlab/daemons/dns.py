"""`netlab dns serve`: the cluster's name server as a process, over whatever tells of objects. It changes no kernel."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from netlab.base.errors import InputError, Problem
from netlab.daemons import following
from netlab.daemons.health import Health
from netlab.daemons.sources import Origin, Source, Want, told
from netlab.dns.hosts import Hosts
from netlab.dns.records import Records, ZoneConfig
from netlab.dns.server import Handled, NameServer
from netlab.dns.upstream import Server, Upstreams

#: types that are counted by name; a stranger could else make as many counters as there are numbers
_KINDS = frozenset({"A", "AAAA", "ANY", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT"})
log = logging.getLogger("dns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a name server was asked to be. healthz_port: 0 for none."""

    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    port: int = 53
    zone: ZoneConfig = field(default_factory=ZoneConfig)
    upstreams: tuple[Server, ...] = ()
    hosts: Path | None = None
    healthz_ip: str = "0.0.0.0"
    healthz_port: int = 0


class Figures:
    """What is counted, as the metrics page has it."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "netlab_dns_requests", "Questions, by transport, type, status of the answer, and who knew it",
            ("proto", "type", "rcode", "source"), registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "netlab_dns_request_duration_seconds", "From the question to its answer", ("source",),
            buckets=(0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0), registry=self._registry,
        )  # fmt: skip
        failures = Gauge("netlab_dns_upstream_failures", "Questions that no upstream answered", registry=self._registry)
        failures.set_function(lambda: upstreams.failures)
        self.services = Gauge("netlab_dns_services", "Services that have a name", registry=self._registry)
        self.problems = Gauge("netlab_dns_problems", "Objects that make no sense", registry=self._registry)

    def __call__(self, handled: Handled) -> None:
        """One question."""
        kind = handled.kind if handled.kind in _KINDS else "other"
        self._requests.labels(handled.transport, kind, handled.status, handled.source).inc()
        self._seconds.labels(handled.source).observe(handled.seconds)

    def page(self, _names: Collection[str]) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


def wants(zone: ZoneConfig) -> tuple[Want, ...]:
    """What a name server asks an API server for; see the role system:coredns."""
    pods = (Want("Pod"),) if zone.pods == "verified" else ()
    return (Want("Service"), Want("EndpointSlice"), Want("Namespace"), *pods)


def run(options: Options, origin: Origin) -> None:
    """Be a process that is a name server, until a signal comes. MachineError if the port is not to be had."""
    following.run(partial(serve, options), origin, wants(options.zone), name="dns", last="stopping")


async def serve(options: Options, source: Source, *, ready: Callable[[], object] = lambda: None) -> None:
    """Answer from what `source` tells until cancelled, alone in a process or beside others.

    ready: called when there is something to answer from. MachineError if the port is taken or not ours to take.
    """
    upstreams = Upstreams(options.upstreams)
    figures = Figures(upstreams)
    server = NameServer(upstreams, figures, _hosts(options))

    def waiting() -> str | None:
        return None if server.records else "the objects have not been read yet"

    try:
        async with Health("dns", waiting, figures.page).meanwhile(options.healthz_ip, options.healthz_port):
            await server.listen(list(options.addresses), options.port)
            await _follow(options.zone, source, server, figures, ready)
    finally:
        server.close()


def _hosts(options: Options) -> Hosts | None:
    if options.hosts is None:
        return None
    try:
        text = options.hosts.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError([Problem(str(options.hosts), f"cannot be read: {e}")]) from e
    return Hosts.parse(text, str(options.hosts), options.zone.ttl)


async def _follow(
    config: ZoneConfig, source: Source, server: NameServer, figures: Figures, ready: Callable[[], object]
) -> None:
    own = tuple(address for address, _ in server.places if address not in ("0.0.0.0", "::"))
    config = replace(config, addresses=own)
    records = Records(config, implied=source.implied, serial=0)
    async with contextlib.aclosing(told(source, log)) as changes:
        async for change in changes:
            records.take(change.values)
            # as CoreDNS: the time of the last change, so that a restart does not count back
            records.serial = max(records.serial + 1, int(time.time()))
            figures.problems.set(len(change.problems))
            figures.services.set(records.services)
            if server.records is None:
                server.records = records
                places = ", ".join(f"{address} port {port}" for address, port in server.places)
                log.info("ready: %s for %s, %d Services", places, config.zone, records.services)
                ready()
