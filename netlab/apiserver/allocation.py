"""What the server gives out itself: cluster addresses and node ports of Services.

What is given is known from the Services in the store; between the choice and the write it is held here. Source:
kubernetes pkg/registry/core/service (alloc.go).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence

from netlab.api import Json, status
from netlab.api.fielderrors import invalid
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.exposed import give_back, needs_health_port, needs_node_ports
from netlab.apiserver.families import HEADLESS, family_of, settle
from netlab.apiserver.lister import Lister
from netlab.base.addresses import Network

#: node ports that are given out
PORT_FIRST, PORT_LAST = 30000, 32767
#: random tries before the range is walked through
TRIES = 64

_ADDRESSES = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


class ServiceAllocation(Plugin):
    """services: their cache; ranges: of cluster addresses, one of each family, that of most Services first."""

    def __init__(self, services: Lister, ranges: Sequence[Network]) -> None:
        self.services = services
        self.ranges = {f"IPv{network.version}": network for network in ranges}
        self._held: set[str | int] = set()
        self._random = random.Random()

    def _used(self) -> set[str | int]:
        used: set[str | int] = set(self._held)
        for service in self.services.all():
            used |= _given(service)
        return used

    async def mutate(self, a: Attributes) -> None:
        """clusterIP and the first of clusterIPs are one; an update that leaves out what was given keeps it."""
        if a.group_kind != ("", "Service") or a.obj is None or a.subresource:
            return
        spec, was = a.obj["spec"], (a.old or {}).get("spec") or {}
        if a.old is not None:
            give_back(spec, was)
        if "ExternalName" in (spec.get("type"), was.get("type")):
            if a.old and spec.get("type") == "ExternalName" and spec.get("clusterIP") == was.get("clusterIP"):
                for name in _ADDRESSES:  # what the server gave it takes back
                    spec.pop(name, None)
        elif not spec.get("clusterIP") and not spec.get("clusterIPs") and was.get("clusterIP"):
            spec["clusterIP"] = was["clusterIP"]
        address, before = spec.get("clusterIP"), was.get("clusterIPs")
        if address and not spec.get("clusterIPs"):
            spec["clusterIPs"] = list(before) if before and address == was.get("clusterIP") else [address]
        elif before and spec.get("clusterIPs") == before and address != was.get("clusterIP"):
            # of a client that knows the one field alone
            spec["clusterIPs"] = [address, *before[1:]] if address else []

    async def validate(self, a: Attributes) -> None:
        """Give addresses and ports to what was found good: nothing is held for what is refused."""
        if a.group_kind != ("", "Service") or a.obj is None or a.subresource:
            return
        held = set(self._held)
        try:
            self._give(a, a.obj["spec"], (a.old or {}).get("spec"), a.obj["metadata"]["name"])
        except status.ApiError:
            self._held = held
            raise

    def _give(self, a: Attributes, spec: Json, was: Json | None, name: str) -> None:
        if spec.get("type") == "ExternalName":
            for field in _ADDRESSES:
                spec.pop(field, None)
            return
        before = was if was and was.get("type") != "ExternalName" else None
        wrong = settle(spec, before, tuple(self.ranges))
        if wrong:
            raise status.invalid("Service", "", name, wrong)
        used = self._used()
        if spec.get("clusterIP") != HEADLESS:
            self._addresses(a, spec, (before or {}).get("clusterIPs") or (), used, name)
        self._ports(a, spec, before or {}, used, name)

    def _addresses(self, a: Attributes, spec: Json, before: Sequence[str], used: set[str | int], name: str) -> None:
        """One address of each family: those that it has, those that it asks for, others of our choice."""
        given = list(spec.get("clusterIPs") or ())
        for address in given:
            if address not in before:
                self._claim(a, address, given, used, name)
        for family in spec["ipFamilies"][len(given) :]:
            address = self._address(self.ranges[family], used)
            self._hold(a, address)
            given.append(address)
        spec["clusterIP"], spec["clusterIPs"] = given[0], given

    def _ports(self, a: Attributes, spec: Json, was: Json, used: set[str | int], name: str) -> None:
        before = {
            (p.get("protocol"), p.get("port")): p["nodePort"] for p in was.get("ports") or () if p.get("nodePort")
        }
        #: of one number a Service may have one port by TCP and one by UDP
        own = set(before.values())
        for i, port in enumerate(spec.get("ports") or ()):
            number = port.get("nodePort") or before.get((port.get("protocol"), port.get("port")))
            if number and (port.get("nodePort") or needs_node_ports(spec)):
                port["nodePort"] = number
                if number not in own:
                    self._claim_port(a, number, used, f"spec.ports[{i}].nodePort", name)
            elif needs_node_ports(spec):
                port["nodePort"] = self._free_port(a, used)
            own.add(port.get("nodePort"))
        if not needs_health_port(spec):
            return
        number = spec.get("healthCheckNodePort")
        if not number:
            spec["healthCheckNodePort"] = self._free_port(a, used)
        elif number != was.get("healthCheckNodePort"):
            self._claim_port(a, number, used, "spec.healthCheckNodePort", name)

    def _claim_port(self, a: Attributes, number: int, used: set[str | int], at: str, name: str) -> None:
        why = ""
        if not PORT_FIRST <= number <= PORT_LAST:
            why = f"provided port is not in the valid range. The range of valid ports is {PORT_FIRST}-{PORT_LAST}"
        elif number in used:
            why = "provided port is already allocated"
        if why:
            raise status.invalid("Service", "", name, [invalid(at, number, why)])
        self._hold(a, number)
        used.add(number)

    def _claim(self, a: Attributes, ip: str, given: Sequence[str], used: set[str | int], name: str) -> None:
        why, network = "", self.ranges[family_of(ip)]
        if ipaddress.ip_address(ip) not in network:
            why = (
                f"failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs "
            )
            why += f"is {network}"
        elif ip in used:
            why = f"failed to allocate IP {ip}: provided IP is already allocated"
        if why:
            raise status.invalid("Service", "", name, [invalid("spec.clusterIPs", list(given), why)])
        self._hold(a, ip)

    def _address(self, network: Network, used: set[str | int]) -> str:
        size = network.num_addresses - 2
        for _ in range(TRIES):
            ip = str(network[1 + self._random.randrange(size)])
            if ip not in used:
                return ip
        for host in network.hosts():
            if str(host) not in used:
                return str(host)
        raise status.internal("failed to allocate a serviceIP: range is full")

    def _free_port(self, a: Attributes, used: set[str | int]) -> int:
        tried = (self._random.randint(PORT_FIRST, PORT_LAST) for _ in range(TRIES))
        port: int | None = next((p for p in (*tried, *range(PORT_FIRST, PORT_LAST + 1)) if p not in used), None)
        if port is None:
            raise status.internal("failed to allocate a nodePort: range is full")
        self._hold(a, port)
        used.add(port)
        return port

    def _hold(self, a: Attributes, what: str | int) -> None:
        if not a.dry:
            self._held.add(what)

    async def done(self, a: Attributes) -> None:
        """What was held is in the store, and will be in the cache."""
        # it stays held until the cache has it: a Service that is gone frees it there
        if a.group_kind != ("", "Service") or a.old is None or a.subresource or a.dry:
            return
        freed = _given(a.old) - (_given(a.obj) if a.obj is not None else set())
        if freed:
            self._held -= freed
            if a.obj is not None:  # the cache must not hold what is free again
                kv, _ = await self.services.store.get(f"{self.services.prefix}{a.namespace}/{a.name}")
                if kv is not None:
                    self.services.put(kv)

    async def undo(self, a: Attributes) -> None:
        """The write was not made."""
        if a.group_kind == ("", "Service") and a.obj is not None and not a.subresource:
            self._held -= _given(a.obj) - _given(a.old or {})


def _given(obj: Json) -> set[str | int]:
    """The addresses and node ports that a Service has."""
    spec = obj.get("spec") or {}
    addresses: set[str | int] = {ip for ip in spec.get("clusterIPs") or () if ip != HEADLESS}
    numbers = {p.get("nodePort") for p in spec.get("ports") or ()} | {spec.get("healthCheckNodePort")}
    return addresses | {number for number in numbers if number}
