"""healthCheckNodePort: where a load balancer asks a node whether it has endpoints of a Service with Local policy.

Facts: Kubernetes 1.30, pkg/proxy/healthcheck/service_health.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import orjson

from netlab.base.errors import MachineError
from netlab.compile.gathered import Served
from netlab.compile.objects import Name
from netlab.daemons.health import Answer, serve

log = logging.getLogger("proxy")
JSON = "application/json"


class Asked(NamedTuple):
    """Whom a health check is about, and how many of its ready endpoints are on this node."""

    service: Name
    local: int


def asked(services: Iterable[Served], node: str) -> dict[int, Asked]:
    """Every health check by its port. Pods on their way out do not count, though they may still serve (S118)."""
    found: dict[int, Asked] = {}
    for service, slices in services:
        if service.health_port and service.external_local and service.type == "LoadBalancer":
            local = {e.address for one in slices for e in one.endpoints if e.ready and e.node == node}
            found.setdefault(service.health_port, Asked(service.key, len(local)))
    return found


def answer(about: Asked, healthy: bool) -> Answer:
    """What a load balancer is told, whatever the path."""
    body = {
        "service": {"namespace": about.service[0], "name": about.service[1]},
        "localEndpoints": about.local,
        "serviceProxyHealthy": healthy,
    }
    headers = (("X-Content-Type-Options", "nosniff"), ("X-Load-Balancing-Endpoint-Weight", str(about.local)))
    status = "200 OK" if about.local and healthy else "503 Service Unavailable"
    return Answer(status, JSON, orjson.dumps(body), headers)


class HealthChecks:
    """The servers, one per port, on every address of the node. healthy: whether the proxy is."""

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy
        self._asked: dict[int, Asked] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._refused: dict[int, str] = {}

    async def follow(self, wanted: Mapping[int, Asked]) -> None:
        """Serve these ports, and no others. A port that somebody else has is told, and tried again the next time."""
        self._asked = dict(wanted)
        for port in [port for port in self._servers if port not in wanted]:
            self._servers.pop(port).close()
        for port, about in wanted.items():
            if port in self._servers:
                continue
            try:
                self._servers[port] = await serve("proxy", self._answering(port), "", port)
                self._refused.pop(port, None)
            except MachineError as e:
                if self._refused.get(port) != e.message:
                    log.warning("health checks of Service %s/%s: %s", *about.service, e.message)
                self._refused[port] = e.message

    def _answering(self, port: int) -> Callable[[str, str], Answer]:
        return lambda _method, _path: answer(self._asked[port], self._healthy())

    def close(self) -> None:
        """Answer no longer."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()
