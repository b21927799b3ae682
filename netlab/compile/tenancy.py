"""Who has which address and port: two Services that want the same one cannot both be served there.

An API server gives each its own; manifests, and objects from before it did, may clash. Who came first keeps what he
has, the other is served without it and told whose it is. When it becomes free, whoever waits for it is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from netlab.compile.objects import Name, Service, ServicePort
from netlab.compile.proxying import joined, proxied


class Claim(NamedTuple):
    """An address and port of the cluster; of every node if there is no address."""

    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        if self.address:
            return f"{joined(self.address, self.port)}/{self.protocol}"
        return f"node port {self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Settled:
    """service: with what it can have, None if it is gone; problems: what it is served without; waiting: who is to be
    settled again, since something has become free."""

    service: Service | None
    problems: tuple[str, ...] = ()
    waiting: tuple[Name, ...] = ()


class Tenancy:
    """Addresses and ports by holder, for all Services of a cluster."""

    def __init__(self) -> None:
        self._holder: dict[Claim, Name] = {}
        self._held: dict[Name, tuple[Claim, ...]] = {}
        self._waiting: dict[Claim, list[Name]] = {}
        self._awaited: dict[Name, tuple[Claim, ...]] = {}

    def settle(self, key: Name, service: Service | None) -> Settled:
        """A Service as it is now; None if it is gone."""
        for claim in self._awaited.pop(key, ()):
            self._waiting[claim].remove(key)
            if not self._waiting[claim]:
                del self._waiting[claim]
        before = self._held.pop(key, ())
        asking = _Asking(key, self._holder)
        settled = asking.served(service) if service is not None and proxied(service) else service
        freed = [claim for claim in dict.fromkeys([*before, *asking.given_back]) if claim not in asking.held]
        for claim in freed:
            del self._holder[claim]
        if asking.held:
            self._held[key] = tuple(asking.held)
        if asking.missed:
            self._awaited[key] = tuple(asking.missed)
            for claim in asking.missed:
                self._waiting.setdefault(claim, []).append(key)
        again = dict.fromkeys(name for claim in freed for name in self._waiting.get(claim, ()) if name != key)
        return Settled(settled, tuple(asking.problems), tuple(again))


class _Asking:
    """One Service on its way to what it can have."""

    def __init__(self, key: Name, holder: dict[Claim, Name]) -> None:
        self.key, self.holder = key, holder
        self.problems: list[str] = []
        self.held: list[Claim] = []
        self.missed: list[Claim] = []
        self.given_back: list[Claim] = []

    def take(self, claim: Claim) -> bool:
        """Whether it is ours from here on."""
        holder = self.holder.setdefault(claim, self.key)
        if holder == self.key and claim not in self.held:
            self.held.append(claim)
            return True
        whose = "another port of its own" if holder == self.key else f"Service {holder[0]}/{holder[1]}"
        self.problems.append(f"Service {self.key[0]}/{self.key[1]}: {claim} is {whose}, and it is served without it")
        if holder != self.key:
            self.missed.append(claim)
        return False

    def served(self, service: Service) -> Service:
        """The Service with what it gets: a port is served at all of its addresses or at none."""
        addresses = dict.fromkeys([*service.cluster_ips, *service.external_ips, *service.balancer_ips])
        ports: list[ServicePort] = []
        for port in service.ports:
            claims = [Claim(port.protocol, address, port.port) for address in addresses]
            got = [claim for claim in claims if self.take(claim)]
            if len(got) < len(claims):
                self.held = [claim for claim in self.held if claim not in got]
                self.given_back += got
                continue
            open_to_nodes = port.node_port and service.type in ("NodePort", "LoadBalancer")
            if open_to_nodes and not self.take(Claim(port.protocol, "", port.node_port)):
                port = replace(port, node_port=0)
            ports.append(port)
        if service.health_port and not self.take(Claim("tcp", "", service.health_port)):
            service = replace(service, health_port=0)
        same = len(ports) == len(service.ports) and all(a is b for a, b in zip(ports, service.ports, strict=True))
        return service if same else replace(service, ports=tuple(ports))
