"""Services, evaluated straight from the facts (points S1 to S64 of the specification): who may end up where.

An outcome is (verdict, where, port, masqueraded), as `Outcome.key` has it. Works on API objects as they are written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Obj = Mapping[str, Any]
Key = tuple[str, str, int, bool]
REJECT: Key = ("reject", "", 0, False)
DROP: Key = ("drop", "", 0, False)


@dataclass(frozen=True)
class Client:
    """kind: pod, node or outside; node: where its packets meet the first proxy."""

    kind: str
    ip: str
    node: str


class Cluster:
    def __init__(self, objects: Sequence[Obj], *, cidr: str | None, mode: str, masquerade_all: bool = False) -> None:
        self.objects, self.mode, self.all = objects, mode, masquerade_all
        self.cidr = ipaddress.ip_network(cidr) if cidr else None
        self.nodes = {
            o["metadata"]["name"]: o["status"]["addresses"][0]["address"] for o in objects if o["kind"] == "Node"
        }
        self.pods = {o["status"]["podIP"]: o for o in objects if o["kind"] == "Pod"}
        self.services = [o for o in objects if o["kind"] == "Service" and self.served(o)]

    @staticmethod
    def served(service: Obj) -> bool:
        labels = service["metadata"].get("labels") or {}
        if "service.kubernetes.io/service-proxy-name" in labels or "service.kubernetes.io/headless" in labels:
            return False  # S64
        return service["spec"].get("type") != "ExternalName" and service["spec"].get("clusterIP") not in (
            None,
            "",
            "None",
        )

    # -- endpoints

    def endpoints(self, service: Obj, port: Obj) -> list[tuple[str, int, str, dict[str, bool]]]:
        """(address, port, node, conditions), nil conditions at their defaults (S48)."""
        found: dict[tuple[str, int], tuple[str, int, str, dict[str, bool]]] = {}
        for one in self.objects:
            if one["kind"] != "EndpointSlice" or one["addressType"] != "IPv4":
                continue
            meta = one["metadata"]
            if meta["namespace"] != service["metadata"]["namespace"]:
                continue
            if (meta.get("labels") or {}).get("kubernetes.io/service-name") != service["metadata"]["name"]:
                continue  # S54
            for p in one.get("ports") or ():
                if p.get("name") is None or p["name"] != port.get("name", "") or not p.get("port"):
                    continue  # S55, S56
                if (p.get("protocol") or "TCP") != (port.get("protocol") or "TCP"):
                    continue
                for e in one["endpoints"]:
                    c = e.get("conditions") or {}
                    conditions = {
                        "ready": c.get("ready") is not False,
                        "serving": c.get("serving") is not False,
                        "terminating": c.get("terminating") is True,
                    }
                    found[e["addresses"][0], p["port"]] = (
                        e["addresses"][0],
                        p["port"],
                        e.get("nodeName", ""),
                        conditions,
                    )
        return list(found.values())

    @staticmethod
    def usable(endpoints: list[tuple[str, int, str, dict[str, bool]]]) -> list[tuple[str, int]]:
        ready = [(a, p) for a, p, _, c in endpoints if c["ready"]]
        return ready or [(a, p) for a, p, _, c in endpoints if c["serving"] and c["terminating"]]  # S49, S51

    # -- packets

    def outcomes(self, client: Client, dst: str, protocol: str, number: int) -> set[Key]:
        node = client.node
        local_client = client.kind == "node"
        owner = next((n for n, ip in self.nodes.items() if ip == dst), None)
        service = self.address_match(dst, protocol, number)
        if service is None and owner is not None and owner != node:
            node, local_client = owner, False  # the packet goes to that node first
        if service is None and (owner is not None or dst.startswith("127.")):
            loopback = dst.startswith("127.")
            for found in self.services:
                for port in found["spec"]["ports"]:
                    if port.get("nodePort") == number and self.protocol(port) == protocol:
                        if loopback and self.mode == "nftables":
                            continue  # S109
                        return self.external(found, port, client, node, local_client, "node", dst)
        if service is not None:
            found, port, kind = service
            if kind == "cluster":
                return self.internal(found, port, client, node)
            return self.external(found, port, client, node, local_client, kind, dst)
        if dst in self.pods:
            return {self.arrived(dst, number, False)}
        if owner is not None or dst.startswith("127."):
            return {("delivered", f"node {owner or node}", number, False)}
        if self.mode == "nftables" and any(dst == s["spec"]["clusterIP"] for s in self.services):
            return {REJECT}  # S106
        return {("delivered", "outside", number, False)}

    @staticmethod
    def protocol(port: Obj) -> str:
        return str(port.get("protocol") or "TCP").lower()

    def address_match(self, dst: str, protocol: str, number: int) -> tuple[Obj, Obj, str] | None:
        for service in self.services:
            spec = service["spec"]
            for port in spec["ports"]:
                if port["port"] != number or self.protocol(port) != protocol:
                    continue
                if dst == spec["clusterIP"]:
                    return service, port, "cluster"
                if dst in (spec.get("externalIPs") or ()):
                    return service, port, "external"
                if spec.get("type") == "LoadBalancer":
                    for ingress in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
                        if ingress.get("ip") == dst and ingress.get("ipMode", "VIP") == "VIP":  # S21 to S23
                            return service, port, "balancer"
        return None

    def arrived(self, ip: str, port: int, masqueraded: bool) -> Key:
        pod = self.pods.get(ip)
        where = f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}" if pod else "outside"
        return ("delivered", where, port, masqueraded)

    def inside(self, ip: str) -> bool:
        return self.cidr is not None and ipaddress.ip_address(ip) in self.cidr

    def internal(self, service: Obj, port: Obj, client: Client, node: str) -> set[Key]:
        every = self.endpoints(service, port)
        chosen = self.usable(every)
        if not chosen:
            return {REJECT}  # S28
        if service["spec"].get("internalTrafficPolicy") == "Local":
            chosen = self.usable([e for e in every if e[2] == node])
            if not chosen:
                return {DROP}  # S36
        outside = self.all or (self.cidr is not None and not self.inside(client.ip))  # S7 to S11
        return {self.arrived(ip, number, outside or ip == client.ip) for ip, number in chosen}  # S12

    def external(
        self, service: Obj, port: Obj, client: Client, node: str, local_client: bool, kind: str, dst: str
    ) -> set[Key]:
        spec = service["spec"]
        every = self.endpoints(service, port)
        chosen = self.usable(every)
        if not chosen:
            if local_client and kind != "node" and self.mode == "iptables":
                # the rule that rejects stands in INPUT and FORWARD, not in OUTPUT (S79)
                return {("delivered", "outside", port["port"], False)}
            return {REJECT}
        ranges = [ipaddress.ip_network(r.strip()) for r in spec.get("loadBalancerSourceRanges") or ()]
        if kind == "balancer" and ranges and not any(ipaddress.ip_address(client.ip) in r for r in ranges):
            return {DROP}  # S25, S26
        if spec.get("externalTrafficPolicy") != "Local":
            return {self.arrived(ip, number, True) for ip, number in chosen}  # S14, S19, S20
        if self.inside(client.ip):
            return {self.arrived(ip, number, ip == client.ip) for ip, number in chosen}  # S32
        if local_client:
            return {self.arrived(ip, number, True) for ip, number in chosen}  # S33
        chosen = self.usable([e for e in every if e[2] == node])
        if not chosen:
            return {DROP}  # S30
        return {self.arrived(ip, number, ip == client.ip) for ip, number in chosen}  # S31
