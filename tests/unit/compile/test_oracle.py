"""Oracle = simulator, for random Services and random policies. NETLAB_EXAMPLES says how many."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from oracle import worlds
from oracle.policies import Cluster as PolicyOracle
from oracle.services import Client
from oracle.services import Cluster as ServiceOracle

from netlab.compile.parse import objects
from netlab.compile.proxying import ProxyConfig
from netlab.compile.rules import Mode, completed, world
from netlab.compile.walk import Packet, Place

EXAMPLES = int(os.environ.get("NETLAB_EXAMPLES", "60"))
relaxed = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES)
CIDR = "10.244.0.0/16"


def places() -> list[tuple[Place, Client]]:
    found = [
        (Place("pod", f"{p['metadata']['namespace']}/{p['metadata']['name']}", p["spec"]["nodeName"]),
         Client("pod", p["status"]["podIP"], p["spec"]["nodeName"]))
        for p in worlds.nine() if p["metadata"]["namespace"] == "x"
    ]  # fmt: skip
    found += [(Place("node", n, n), Client("node", ip, n)) for n, ip in list(worlds.NODE_IPS.items())[:2]]
    found.append((Place("outside", worlds.OUTSIDE, "n2"), Client("outside", worlds.OUTSIDE, "n2")))
    return found


@pytest.mark.parametrize("cidr", [CIDR, None], ids=["cidr", "no-detector"])
@pytest.mark.parametrize(
    ("mode", "choice"), [("iptables", "map"), ("nftables", "map"), ("nftables", "direct")], ids="-".join
)
def test_services(mode: Mode, choice: Any, cidr: str | None) -> None:
    base: list[dict[str, Any]] = [worlds.node(n) for n in worlds.NODES] + worlds.nine()

    @settings(relaxed)
    @given(made=worlds.services())
    def holds(made: list[dict[str, Any]]) -> None:
        listed = base + made
        parsed = completed(objects(listed))
        # "none" is a detector of nothing: a prefix that nobody is in would be told as if it were one
        given_config = ProxyConfig(node="", cluster_cidrs=(cidr,) if cidr else ("fd77::/64",), choice=choice)
        simulated = world(parsed, mode, given=given_config)
        oracle = ServiceOracle(listed, cidr=cidr, mode=mode)
        targets: set[tuple[str, str, int]] = {("192.168.0.1", "tcp", 22), ("10.244.2.11", "tcp", 80)}
        for service in made:
            if service["kind"] != "Service":
                continue
            spec = service["spec"]
            for port in spec["ports"]:
                proto = port["protocol"].lower()
                ips = [spec["clusterIP"], *spec.get("externalIPs", ())]
                ips += [i["ip"] for i in service["status"].get("loadBalancer", {}).get("ingress", ())]
                targets |= {(ip, proto, port["port"]) for ip in ips} | {(spec["clusterIP"], proto, 1)}
                if "nodePort" in port:
                    targets |= {(ip, proto, port["nodePort"]) for ip in list(worlds.NODE_IPS.values())[:2]}
                    targets.add(("127.0.0.1", proto, port["nodePort"]))
        for place, client in places():
            for ip, proto, number in sorted(targets):
                if ip == "127.0.0.1" and place.kind != "node":
                    continue
                source = "127.0.0.1" if ip == "127.0.0.1" else client.ip
                if place.kind == "node" and ip == client.ip:
                    source = client.ip
                packet = Packet(source, ip, proto, number)
                asked = Client(client.kind, source, client.node)
                got = {o.key for o in simulated.outcomes(place, packet)}
                assert got == oracle.outcomes(asked, ip, proto, number), (str(place), str(packet))

    holds()


@pytest.mark.parametrize("spread", [True, False], ids=["three-nodes", "one-node"])
def test_policies(spread: bool) -> None:
    pods = worlds.nine(spread)
    base: list[dict[str, Any]] = [worlds.node(n) for n in worlds.NODES] + worlds.namespaces() + pods

    @settings(relaxed)
    @given(made=worlds.policies())
    def holds(made: list[dict[str, Any]]) -> None:
        listed = base + made
        parsed = completed(objects(listed))
        simulated = world(parsed, "iptables")
        oracle = PolicyOracle(listed)
        sources = [(Place("pod", p["metadata"]["name"], p["spec"]["nodeName"]), p["status"]["podIP"]) for p in pods]
        sources += [(Place("node", n, n), ip) for n, ip in worlds.NODE_IPS.items()]
        sources.append((Place("outside", worlds.OUTSIDE, "n1"), worlds.OUTSIDE))
        targets = [p["status"]["podIP"] for p in pods] + [worlds.OUTSIDE, worlds.NODE_IPS["n2"]]
        for place, source in sources:
            for target in targets:
                if place.kind != "pod" and target not in simulated.pods:
                    continue
                for proto, number in (("tcp", 80), ("udp", 80), ("tcp", 81), ("sctp", 80)):
                    outcome = simulated.walk(place, Packet(source, target, proto, number))
                    wanted = oracle.allowed(source, target, proto, number, worlds.NODE_IPS)
                    assert (outcome.verdict == "delivered") == wanted, (str(place), target, proto, number)

    holds()
