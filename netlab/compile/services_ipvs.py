"""Services to IPVS: virtual servers on addresses of a dummy device, ipsets, and the few iptables rules that read them.

kube-ipvs0 carries every address of a Service, so that packets to it are for this node; IPVS takes them at INPUT and
sends them on to an endpoint. The rules only say what is masqueraded, rejected and forwarded, for all Services at once.
Facts: Kubernetes 1.30, pkg/proxy/ipvs/proxier.go and ipset.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Literal, cast

from netlab.compile.ipvs_base import DUMMY, SET_TYPES, base_items, set_name
from netlab.compile.proxier import Proxier
from netlab.compile.proxying import Family, Port, ProxyConfig, ip_of
from netlab.model import Address, Ipset, IpvsDestination, IpvsService, Item

#: schedulers of which the kernel has a module each (ip_vs_rr, …)
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh")
#: share 0 is the addresses of the dummy, the others are the sets
_SETS = tuple(SET_TYPES)
_ADDRESSES = "addresses"
_SHARES = (_ADDRESSES, *_SETS)


@dataclass(frozen=True, slots=True)
class IpvsPart:
    """One Service. own: its virtual servers; shares: its entries, in the order of _SHARES."""

    own: tuple[Item, ...]
    shares: tuple[tuple[str, ...], ...]


_EMPTY: tuple[tuple[str, ...], ...] = tuple(() for _ in _SHARES)


class IpvsProxier(Proxier[IpvsPart]):
    """One node's Services in IPVS, one family. ValueError for a scheduler that nobody knows."""

    def __init__(self, config: ProxyConfig, family: Family) -> None:
        super().__init__(config, family)
        if config.scheduler not in SCHEDULERS:
            raise ValueError(f"IPVS has no scheduler {config.scheduler!r}; known are {', '.join(SCHEDULERS)}")
        self._base = base_items(config, family)
        self._addresses: dict[str, Address] = {}
        self._sets: dict[str, Ipset] = {}

    def part(self, ports: Sequence[Port]) -> IpvsPart:
        servers: dict[object, Item] = {}
        shares: dict[str, list[str]] = {name: [] for name in _SHARES}
        for port in ports:
            for item in self._port(port, shares):
                servers.setdefault(item.order, item)
        return IpvsPart(tuple(servers.values()), tuple(tuple(dict.fromkeys(shares[name])) for name in _SHARES))

    def touches(self, old: IpvsPart | None, new: IpvsPart | None) -> list[int]:
        before, after = old.shares if old else _EMPTY, new.shares if new else _EMPTY
        return [at for at in range(len(_SHARES)) if before[at] != after[at]]

    def shared(self, parts: Sequence[IpvsPart], touched: frozenset[int] | None) -> tuple[Item, ...]:
        why = "the Services of the cluster"
        for at, name in enumerate(_SHARES):
            if touched is not None and at not in touched:
                continue
            entries = list(dict.fromkeys(entry for part in parts for entry in part.shares[at]))
            if name == _ADDRESSES:
                kept = self._addresses
                self._addresses = {
                    text: kept.get(text)
                    or Address(dev=DUMMY, address=ip_interface(text), owner=self.config.owner, why=why)
                    for text in entries
                }
                continue
            kind = SET_TYPES[name]
            # a bitmap of ports is of no family, which reads as IPv4
            new = Ipset(
                name=set_name(name, self.family), type=kind, family=4 if kind == "bitmap:port" else self.family,
                entries=tuple(entries),
                owner=self.config.owner, why=why,
            )  # fmt: skip
            if self._sets.get(name) != new:
                self._sets[name] = new
        return (*self._base, *self._addresses.values(), *self._sets.values())

    def _port(self, port: Port, shares: dict[str, list[str]]) -> Iterable[Item]:
        proto, config = port.protocol, self.config

        def dummy(address: str) -> None:
            if address not in config.node_ips and address not in config.local_ips:
                shares[_ADDRESSES].append(address)
                shares["KUBE-IPVS-IPS"].append(address)

        def entry(address: str) -> str:
            return f"{address},{proto}:{port.port}"

        dummy(port.cluster_ip)
        shares["KUBE-CLUSTER-IP"].append(entry(port.cluster_ip))
        # without a local endpoint IPVS serves the others, where iptables drops (S103)
        yield self._server(port, port.cluster_ip, port.port, port.internal or port.cluster)
        for address in port.external_ips:
            dummy(address)
            shares["KUBE-EXTERNAL-IP-LOCAL" if port.external_local else "KUBE-EXTERNAL-IP"].append(entry(address))
            yield self._server(port, address, port.port, port.outside or port.cluster)
        for address in port.balancer_ips:
            dummy(address)
            shares["KUBE-LOAD-BALANCER"].append(entry(address))
            if port.external_local:
                shares["KUBE-LOAD-BALANCER-LOCAL"].append(entry(address))
            if port.source_ranges:
                shares["KUBE-LOAD-BALANCER-FW"].append(entry(address))
                for text in port.source_ranges:
                    for half in _halves(text):
                        shares["KUBE-LOAD-BALANCER-SOURCE-CIDR"].append(f"{entry(address)},{half}")
                if self._node_inside(port):
                    shares["KUBE-LOAD-BALANCER-SOURCE-IP"].append(f"{entry(address)},{address}")
            yield self._server(port, address, port.port, port.outside or port.cluster)
        if port.node_port:
            yield from self._node_port(port, shares)
        if port.health_port:
            shares["KUBE-HEALTH-CHECK-NODE-PORT"].append(str(port.health_port))
        for endpoint in port.reachable:
            address, number = ip_of(endpoint), endpoint.rpartition(":")[2]
            if address in port.local_addresses:
                shares["KUBE-LOOP-BACK"].append(f"{address},{proto}:{number},{address}")

    def _node_port(self, port: Port, shares: dict[str, list[str]]) -> Iterable[Item]:
        serving = self.config.serving_ips(self.family)
        if serving is None:
            own = dict.fromkeys([*self.config.node_ips, *self.config.local_ips])
            serving = self.config.of_family(own, self.family)
        serving = [ip for ip in serving if not ip_address(ip).is_loopback]
        proto = port.protocol
        suffix = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP-HASH"}[proto]
        entries = [f"{ip},sctp:{port.node_port}" for ip in serving] if proto == "sctp" else [str(port.node_port)]
        shares[f"KUBE-NODE-PORT-{suffix}"] += entries
        if port.external_local:
            shares[f"KUBE-NODE-PORT-LOCAL-{suffix}"] += entries
        for ip in serving:
            yield self._server(port, ip, port.node_port, port.outside or port.cluster)

    def _server(self, port: Port, address: str, number: int, endpoints: Sequence[str]) -> IpvsService:
        destinations = tuple(IpvsDestination(ip_address(ip_of(e)), int(e.rpartition(":")[2])) for e in endpoints)
        return IpvsService(
            protocol=cast(Literal["tcp", "udp", "sctp"], port.protocol), address=ip_address(address), port=number,
            scheduler=self.config.scheduler, persistence=port.affinity, destinations=destinations,
            owner=self.config.owner, why=port.why,
        )  # fmt: skip

    def _node_inside(self, port: Port) -> bool:
        from ipaddress import ip_network

        nodes = [ip_address(ip) for ip in self.config.of_family(self.config.node_ips, self.family)]
        return any(ip in ip_network(text) for text in port.source_ranges for ip in nodes)


def _halves(text: str) -> list[str]:
    """A prefix as a set of networks has it: /0 is two halves, and one of full length the address alone."""
    whole = {"0.0.0.0/0": ["0.0.0.0/1", "128.0.0.0/1"], "::/0": ["::/1", "8000::/1"]}
    return whole.get(text) or [text.removesuffix("/128" if ":" in text else "/32")]
