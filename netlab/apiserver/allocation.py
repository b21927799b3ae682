"""What the server gives out itself: cluster addresses and node ports of Services.

What is given is known from the Services in the store; between the choice and the write it is held here. Source:
kubernetes pkg/registry/core/service (alloc.go).
"""

from __future__ import annotations

import ipaddress
import random

from netlab.api import Json, status
from netlab.api.fielderrors import invalid
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.exposed import give_back, needs_health_port, needs_node_ports
from netlab.apiserver.lister import Lister

#: node ports that are given out
PORT_FIRST, PORT_LAST = 30000, 32767
#: random tries before the range is walked through
TRIES = 64

_HEADLESS = "None"
_ADDRESSES = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


class ServiceAllocation(Plugin):
    """services: their cache; cidr: of cluster addresses."""

    def __init__(self, services: Lister, cidr: str) -> None:
        self.services = services
        self.network = ipaddress.ip_network(cidr)
        self._held: set[str | int] = set()
        self._random = random.Random()

    def _used(self) -> set[str | int]:
        used: set[str | int] = set(self._held)
        for service in self.services.all():
            used |= _given(service)
        return used

    async def mutate(self, a: Attributes) -> None:
        """An update that leaves out what was given keeps it."""
        if a.group_kind != ("", "Service") or a.obj is None or a.old is None or a.subresource:
            return
        spec, was = a.obj["spec"], a.old.get("spec") or {}
        give_back(spec, was)
        if "ExternalName" in (spec.get("type"), was.get("type")):
            if spec.get("type") == "ExternalName" and spec.get("clusterIP") == was.get("clusterIP"):
                for name in _ADDRESSES:  # what the server gave it takes back
                    spec.pop(name, None)
            return
        if not spec.get("clusterIP") and not spec.get("clusterIPs") and was.get("clusterIP"):
            spec["clusterIP"], spec["clusterIPs"] = was["clusterIP"], was.get("clusterIPs", [was["clusterIP"]])

    async def validate(self, a: Attributes) -> None:
        """Give addresses and ports to what was found good: nothing is held for what is refused."""
        if a.group_kind != ("", "Service") or a.obj is None or a.subresource:
            return
        spec = a.obj["spec"]
        was = (a.old or {}).get("spec") or {}
        if spec.get("type") == "ExternalName":
            for name in _ADDRESSES:
                spec.pop(name, None)
            return
        used = self._used()
        name = a.obj["metadata"]["name"]
        if not spec.get("clusterIP"):
            spec["clusterIP"] = self._address(used)
            self._hold(a, spec["clusterIP"])
        elif spec["clusterIP"] not in (_HEADLESS, was.get("clusterIP")):
            self._claim(a, spec["clusterIP"], used, name)
        spec["clusterIPs"] = spec.get("clusterIPs") or [spec["clusterIP"]]
        if spec["clusterIPs"][0] != spec["clusterIP"]:
            spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv6" if ":" in spec["clusterIP"] else "IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        self._ports(a, spec, was, used, name)

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

    def _claim(self, a: Attributes, ip: str, used: set[str | int], name: str) -> None:
        why = ""
        if ipaddress.ip_address(ip) not in self.network:
            why = (
                f"failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs "
            )
            why += f"is {self.network}"
        elif ip in used:
            why = f"failed to allocate IP {ip}: provided IP is already allocated"
        if why:
            raise status.invalid("Service", "", name, [invalid("spec.clusterIPs", [ip], why)])
        self._hold(a, ip)

    def _address(self, used: set[str | int]) -> str:
        size = self.network.num_addresses - 2
        for _ in range(TRIES):
            ip = str(self.network[1 + self._random.randrange(size)])
            if ip not in used:
                return ip
        for host in self.network.hosts():
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
        if a.group_kind == ("", "Service") and a.obj is not None and a.operation == "CREATE":
            self._held -= _given(a.obj)


def _given(obj: Json) -> set[str | int]:
    """The addresses and node ports that a Service has."""
    spec = obj.get("spec") or {}
    addresses: set[str | int] = {ip for ip in spec.get("clusterIPs") or () if ip != _HEADLESS}
    numbers = {p.get("nodePort") for p in spec.get("ports") or ()} | {spec.get("healthCheckNodePort")}
    return addresses | {number for number in numbers if number}
