"""Services in a kernel, held against the simulator and, where it knows the mode, the oracle: every client, every target."""

from __future__ import annotations

from typing import Any

from oracle import worlds
from oracle.services import Client, Cluster
from podnet import OUTSIDE, SCTP, Net

from netlab.compile.parse import objects
from netlab.compile.proxying import ProxyConfig
from netlab.compile.rules import Mode, completed, proxy_config, service_rules, world
from netlab.compile.walk import Packet, Place
from netlab.model import HostState

CIDR = "10.244.0.0/16"
#: a connection to each of n endpoints misses one of three after so many with a chance of one in a million
TRIES = 36


def judge(where: tuple[Net, Mode], made: list[dict[str, Any]], *, config: ProxyConfig | None = None) -> None:
    """Apply, then hold every client's every target against the simulator and the oracle."""
    net, mode = where
    pods = worlds.nine()
    listed = [worlds.node(n) for n in worlds.NODES] + pods + made
    parsed = completed(objects(listed))
    given_config = config or ProxyConfig(node="", cluster_cidrs=(CIDR,))
    cidr = CIDR if CIDR in given_config.cluster_cidrs else None
    oracle = (
        None if mode == "ipvs" else Cluster(listed, cidr=cidr, mode=mode, masquerade_all=given_config.masquerade_all)
    )
    simulated = world(parsed, mode, given=given_config)
    try:
        for node in parsed.nodes:
            config_here = proxy_config(parsed, node, given_config)
            state = service_rules(parsed, config_here, mode, 4)
            net.kernel.apply(net.ns(node.name), "proxy", state)
            assert net.kernel.plan_all("proxy", {net.ns(node.name): state}) == {}
        net.forget()
        _compare(net, simulated, oracle, pods, made)
    finally:
        for node_name in worlds.NODES:
            net.kernel.apply(net.ns(node_name), "proxy", HostState())


def _compare(
    net: Net, simulated: Any, oracle: Cluster | None, pods: list[dict[str, Any]], made: list[dict[str, Any]]
) -> None:
    clients = [
        (
            f"x-{p['metadata']['name']}",
            Place("pod", f"x/{p['metadata']['name']}", p["spec"]["nodeName"]),
            p["status"]["podIP"],
        )
        for p in pods
        if p["metadata"]["namespace"] == "x"
    ]
    clients += [(n, Place("node", n, n), worlds.NODE_IPS[n]) for n in ("n1", "n2")]
    clients.append(("ext", Place("outside", OUTSIDE, "n2"), OUTSIDE))
    asked: list[tuple[str, str, str, int]] = []
    wanted: list[set[Any]] = []
    groups: list[int] = []
    for name, place, ip in clients:
        for dst, proto, port in targets(made):
            if dst == "127.0.0.1" and place.kind != "node":
                continue
            # the kernel gives a socket that talks to its own node the address it talks to
            source = dst if place.kind == "node" and dst in (ip, "127.0.0.1") else ip
            keys = {o.key for o in simulated.outcomes(place, Packet(source, dst, proto, port))}
            if oracle is not None:
                assert keys == oracle.outcomes(Client(place.kind, source, place.node), dst, proto, port)
            if any(k[0] == "delivered" and (k[1] == "outside" or k[1].startswith("node")) for k in keys):
                continue  # nobody answers there
            if not all(comes_back(place, dst, key) for key in keys):
                continue
            # masquerading gives a node's own packets an address of the same node, which the backend cannot tell
            told = place.kind != "node"
            seen = {
                (k[1].removeprefix("pod ").replace("/", "-"), k[3] and told) if k[0] == "delivered" else _word(k[0])
                for k in keys
            }
            tries = 1 if len(seen) == 1 else TRIES // 3 * len(seen)
            asked += [(name, dst, proto, port)] * tries
            groups += [len(wanted)] * tries
            wanted.append(seen)
    sources = {name: ip for name, _, ip in clients}
    results: list[set[Any]] = [set() for _ in wanted]
    for query, group, answer in zip(asked, groups, net.ask(asked), strict=True):
        rewritten = query[0] not in worlds.NODES and isinstance(answer, tuple) and answer[1] != sources[query[0]]
        results[group].add((answer[0], rewritten) if isinstance(answer, tuple) else answer)
    queries = dict(zip(groups, asked, strict=True))
    wrong = [(queries[g], results[g], wanted[g]) for g in range(len(wanted)) if results[g] != wanted[g]]
    assert not wrong, (wrong[:5], len(wrong), made)


def comes_back(place: Place, dst: str, key: Any) -> bool:
    """Whether answers pass the node that has rewritten the destination: else the client gets them from a stranger.

    That is so wherever nothing is masqueraded, and no fault of the rules: real clusters masquerade on the way to a
    node's address, which is the CNI's business.
    """
    owner = next((n for n, ip in worlds.NODE_IPS.items() if ip == dst), place.node)
    where = {f"pod x/{p['metadata']['name']}": p["spec"]["nodeName"] for p in worlds.nine()}.get(key[1])
    return key[0] != "delivered" or key[3] or where == owner or (place.kind != "outside" and owner == place.node)


def _word(verdict: str) -> str:
    return {"reject": "refused"}.get(verdict, verdict)


def targets(made: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    found: set[tuple[str, str, int]] = {("10.244.2.11", "tcp", 80)}
    for service in made:
        if service["kind"] != "Service":
            continue
        spec = service["spec"]
        for port in spec["ports"]:
            proto = port.get("protocol", "TCP").lower()
            if proto == "sctp" and not SCTP:
                continue  # the rules are there, and nobody can connect
            ips = [spec["clusterIP"], *spec.get("externalIPs", ())]
            ips += [i["ip"] for i in service.get("status", {}).get("loadBalancer", {}).get("ingress", ())]
            found |= {(ip, proto, port["port"]) for ip in ips}
            if proto != "sctp":  # whose clients do not hear of a refusal by ICMP
                found.add((spec["clusterIP"], proto, 1))
            if "nodePort" in port:
                found |= {(ip, proto, port["nodePort"]) for ip in ("192.168.0.1", "192.168.0.2", "127.0.0.1")}
    return sorted(found)


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {})
    ports = [{"name": "p", "port": 80, "targetPort": 80}]
    whole = {"clusterIP": "10.96.0.20", "selector": {"app": "x"}, "ports": ports, **spec}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "x", "name": name},
        "spec": whole,
        "status": status,
    }


def endpoints(
    *letters: str, name: str = "web", port: str = "p", proto: str = "TCP", number: int = 80, **conditions: bool
) -> dict[str, Any]:
    pods = {p["metadata"]["name"]: p for p in worlds.nine() if p["metadata"]["namespace"] == "x"}
    listed = [
        {
            "addresses": [pods[one]["status"]["podIP"]],
            "nodeName": pods[one]["spec"]["nodeName"],
            "conditions": conditions,
        }
        for one in letters
    ]
    meta = {"namespace": "x", "name": f"{name}-{port}", "labels": {"kubernetes.io/service-name": name}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": meta,
        "ports": [{"name": port, "protocol": proto, "port": number}],
        "endpoints": listed,
    }


NODE_PORT = {"type": "NodePort", "ports": [{"name": "p", "port": 80, "nodePort": 30080}]}
BALANCER = {**NODE_PORT, "type": "LoadBalancer", "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}}
HAND: dict[str, list[dict[str, Any]]] = {
    "S1_S7_S8_S9_cluster_ip": [service(), endpoints("a", "b", "c")],
    "S2_udp": [service(ports=[{"name": "p", "port": 80, "protocol": "UDP"}]), endpoints("a", "b", "c", proto="UDP")],
    "S3_sctp_beside_tcp": [
        service(ports=[{"name": "p", "port": 80}, {"name": "s", "port": 80, "protocol": "SCTP"}]),
        endpoints("a"), endpoints("b", port="s", proto="SCTP"),
    ],
    "S4_tcp_and_udp_on_one_number": [
        service(ports=[{"name": "p", "port": 80}, {"name": "u", "port": 80, "protocol": "UDP"}]), endpoints("b"),
    ],
    "S5_two_ports": [
        service(ports=[{"name": "p", "port": 80}, {"name": "q", "port": 81}]),
        endpoints("a", "b"), endpoints("a", "b", port="q", number=81),
    ],
    "S12_hairpin": [service(), endpoints("a")],
    "S13_S14_S15_S19_node_port": [service(**NODE_PORT), endpoints("a", "b", "c")],
    "S20_external_ip": [service(externalIPs=["80.11.12.10"]), endpoints("a", "b")],
    "S21_balancer": [service(**BALANCER), endpoints("b", "c")],
    "S25_S26_S27_source_ranges": [service(**BALANCER, loadBalancerSourceRanges=["203.0.113.0/24", " 192.168.0.1/32"]), endpoints("b", "c")],
    "S25_other_ranges": [service(**BALANCER, loadBalancerSourceRanges=["8.8.8.0/24", "10.244.1.0/24"]), endpoints("b", "c")],
    "S28_no_endpoints": [service(**BALANCER, externalIPs=["80.11.12.10"])],
    "S30_S52_local_elsewhere": [service(**BALANCER, externalTrafficPolicy="Local"), endpoints("c")],
    "S52_local_elsewhere_and_about_to_end": [
        service(**BALANCER, externalTrafficPolicy="Local", internalTrafficPolicy="Local"),
        endpoints("c", ready=False, serving=True, terminating=True),
    ],
    "S31_S32_S33_S35_local": [service(**BALANCER, externalTrafficPolicy="Local"), endpoints("a", "b")],
    "S36_S37_internal_local": [service(internalTrafficPolicy="Local"), endpoints("a", "c")],
    "S38_both_local": [service(**BALANCER, internalTrafficPolicy="Local", externalTrafficPolicy="Local"), endpoints("a", "b")],
    "S49_all_terminating": [service(), endpoints("a", "b", ready=False, serving=True, terminating=True)],
    "S51_not_serving": [service(), endpoints("a", ready=False, serving=False, terminating=True)],
    "S64_other_proxy": [
        {**service(), "metadata": {"namespace": "x", "name": "web", "labels": {"service.kubernetes.io/service-proxy-name": "y"}}},
        endpoints("a"),
    ],
    "S121_two_services_one_port": [service(), endpoints("a"), service("web-2", clusterIP="10.96.0.21"), endpoints("b", name="web-2")],
}  # fmt: skip
