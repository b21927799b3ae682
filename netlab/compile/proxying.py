"""What a node's proxy has to serve, in any mode: which endpoints stand behind each port of each Service, for whom.

The modes (`services_iptables`, `services_ipvs`, `services_nft`) spell the same `Port`s differently. Facts: Kubernetes
1.30, pkg/proxy/topology.go (CategorizeEndpoints), serviceport.go, endpointslicecache.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from netlab.compile.objects import LABEL_HEADLESS, LABEL_PROXY, Endpoint, EndpointSlice, Service, ServicePort

Family = Literal[4, 6]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """How a node's proxy is run.

    node_ips: the node's own addresses; cluster_cidrs: the pods' prefixes, by which local traffic is told from traffic
    that comes from outside (none: it is not told); node_port_addresses: prefixes of the local addresses that serve
    node ports (none: all of them); local_ips: all addresses of the node, which IPVS needs one by one.
    """

    node: str
    node_ips: tuple[str, ...] = ()
    zone: str = ""
    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True
    local_ips: tuple[str, ...] = ()
    random_fully: bool = True
    conntrack_be_liberal: bool = False
    scheduler: str = "rr"
    strict_arp: bool = False
    #: endpoints from which on rules carry no comments (kube-proxy's "large cluster")
    large: int = 1000
    #: nftables: a choice by `map` leads to a chain for each endpoint, which is easy to read; a `direct` one has the
    #: addresses in the map, as newer kube-proxies. The kernel walks all chains after a change of one: with 10,000
    #: Services of 10 endpoints 110,000 by map and 10,000 directly
    choice: Literal["map", "direct"] = "map"
    owner: str = "proxy"

    def cluster_cidr(self, family: Family) -> str | None:
        """The pods' prefix of a family, None where there is no way to tell local traffic."""
        return next((c for c in self.cluster_cidrs if (":" in c) == (family == 6)), None)

    def of_family(self, addresses: Iterable[str], family: Family) -> list[str]:
        """Those addresses or prefixes that are of the family."""
        return [a for a in addresses if (":" in a) == (family == 6)]

    def serving_ips(self, family: Family) -> list[str] | None:
        """The local addresses that serve node ports, None for every one."""
        chosen = [ipaddress.ip_network(n) for n in self.of_family(self.node_port_addresses, family)]
        if not self.node_port_addresses or any(n.prefixlen == 0 for n in chosen):
            return None
        local = dict.fromkeys([*self.node_ips, *self.local_ips])
        return [ip for ip in self.of_family(local, family) if any(ipaddress.ip_address(ip) in n for n in chosen)]


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a Service in one family. Endpoints are `address:port` texts in order; why: for every rule.

    cluster: for Cluster policy; local: for Local policy; any: whether anybody could serve, so that Local policy
    without a local endpoint drops rather than rejects; hairpins: addresses of endpoints that are on this node, for
    all that is known: those that may call themselves by the cluster IP.
    """

    name: str
    why: str
    protocol: str
    cluster_ip: str
    port: int
    node_port: int
    external_ips: tuple[str, ...]
    balancer_ips: tuple[str, ...]
    source_ranges: tuple[str, ...]
    affinity: int
    internal_local: bool
    external_local: bool
    health_port: int
    cluster: tuple[str, ...]
    local: tuple[str, ...]
    any: bool
    local_addresses: tuple[str, ...] = ()
    hairpins: tuple[str, ...] = ()

    @property
    def external(self) -> bool:
        """Whether it can be reached from outside the cluster at all."""
        return bool(self.node_port or self.external_ips or self.balancer_ips)

    @property
    def uses_cluster(self) -> bool:
        """Local external traffic needs the others too: for pods, who take the short way (S32)."""
        return not self.internal_local or self.external

    @property
    def uses_local(self) -> bool:
        return self.internal_local or (self.external_local and self.external)

    @property
    def internal(self) -> tuple[str, ...]:
        """Endpoints of the cluster IP."""
        return self.local if self.internal_local else self.cluster

    @property
    def outside(self) -> tuple[str, ...]:
        """Endpoints for clients outside."""
        return self.local if self.external_local else self.cluster

    @property
    def reachable(self) -> tuple[str, ...]:
        """All endpoints that some chain of this node leads to."""
        if not self.uses_local:
            return self.cluster
        if not self.uses_cluster:
            return self.local
        return tuple(sorted({*self.cluster, *self.local}))


def proxied(service: Service) -> bool:
    """Whether a proxy has anything to do with it (S64)."""
    if service.type == "ExternalName" or service.headless or not service.cluster_ips:
        return False
    return LABEL_PROXY not in service.labels and LABEL_HEADLESS not in service.labels


def joined(address: str, port: int) -> str:
    """`10.0.0.1:80`, `[fd00::1]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ip_of(endpoint: str) -> str:
    """The address of an `address:port` text, without brackets."""
    address = endpoint[: endpoint.rindex(":")]
    return address[1:-1] if address[0] == "[" else address


def ports_of(service: Service, slices: Sequence[EndpointSlice], config: ProxyConfig, family: Family) -> list[Port]:
    """Every port of a Service in one family, with its endpoints as this node sees them. Empty if it is not proxied."""
    if not proxied(service):
        return []
    cluster_ip = next((ip for ip in service.cluster_ips if (":" in ip) == (family == 6)), None)
    if cluster_ip is None:
        return []
    wanted = [s for s in slices if s.family == family]
    of = config.of_family
    return [
        _port(service, port, wanted, config, cluster_ip, (
            tuple(of(service.external_ips, family)), tuple(of(service.balancer_ips, family)),
            tuple(of(service.source_ranges, family)),
        ))
        for port in service.ports
    ]  # fmt: skip


def _port(
    service: Service,
    port: ServicePort,
    slices: Sequence[EndpointSlice],
    config: ProxyConfig,
    cluster_ip: str,
    outside: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
) -> Port:
    found = _endpoints(port, slices, config.node)
    cluster, local, exists = _categorized(found, service, config)
    base = f"{service.namespace}/{service.name}"
    reachable = service.type in ("NodePort", "LoadBalancer") or bool(service.external_ips)
    external_local = service.external_local and reachable
    return Port(
        f"{base}:{port.name}" if port.name else base,
        f"Service {base} port {port.port}" + ("" if port.protocol == "tcp" else f"/{port.protocol}"),
        port.protocol,
        cluster_ip,
        port.port,
        port.node_port if service.type in ("NodePort", "LoadBalancer") else 0,
        outside[0],
        outside[1],
        outside[2],
        service.affinity,
        service.internal_local,
        external_local,
        service.health_port if external_local and service.type == "LoadBalancer" else 0,
        cluster,
        local,
        exists,
        tuple(sorted({e.address for e in found.values() if e.node == config.node})) if config.node else (),
        tuple(sorted({e.address for e in found.values() if e.node is None or e.node == config.node})),
    )


def _endpoints(port: ServicePort, slices: Sequence[EndpointSlice], node: str) -> dict[str, Endpoint]:
    """`address:port` to endpoint, in the order of that text; of doubles, the local one (S57)."""
    found: dict[str, Endpoint] = {}
    if len(slices) == 1 and len(slices[0].ports) == 1 and slices[0].family == 4:
        # what most Services are, without a look at every other possibility for each endpoint
        ((name, protocol, number),) = slices[0].ports
        if name != port.name or protocol != port.protocol or not number:
            return found
        texts = {f"{endpoint[0]}:{number}": endpoint for endpoint in slices[0].endpoints}
        if len(texts) == len(slices[0].endpoints):
            return {text: texts[text] for text in sorted(texts)}
    for one in slices:
        for name, protocol, number in one.ports:
            if name != port.name or protocol != port.protocol or not number:
                continue
            for endpoint in one.endpoints:
                address = endpoint[0]
                text = f"[{address}]:{number}" if ":" in address else f"{address}:{number}"
                if text not in found or endpoint.node == node:
                    found[text] = endpoint
    return dict(sorted(found.items()))


def _categorized(
    found: dict[str, Endpoint], service: Service, config: ProxyConfig
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """(for Cluster policy, for Local policy, whether any is usable anywhere). S49 to S52, S61."""
    ready = [text for text, e in found.items() if e.ready]
    # the last resort while everything is being replaced: what still serves although it terminates
    leaving = [text for text, e in found.items() if not e.ready and e.serving and e.terminating]
    cluster = ready or leaving
    if ready and service.hints and _hinted(found, ready, config.zone):
        cluster = [text for text in ready if config.zone in found[text].zones]
    local = [text for text in ready if found[text].node == config.node] if config.node else []
    local = local or [text for text in leaving if found[text].node == config.node]
    return tuple(cluster), tuple(local), bool(ready or leaving)


def _hinted(found: dict[str, Endpoint], ready: list[str], zone: str) -> bool:
    if not zone or not all(found[text].zones for text in ready):
        return False
    return any(zone in found[text].zones for text in ready)
