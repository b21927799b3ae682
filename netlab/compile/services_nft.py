"""Services to nftables: one table per family, in which every packet finds its Service by one look into a map.

nat-prerouting, nat-output → services: `ip daddr . meta l4proto . th dport vmap @service-ips`, then node ports
    → service-… (Cluster policy), local-… (Local), external-… (from outside) → endpoint-…: dnat
      (where there are many Services: dnat in service-… and local-…, see ProxyConfig.choice)
filter chains before the DNAT: firewall-check (source ranges), service-endpoints-check (nobody serves: reject or drop)
cluster-ips-check: what goes to a cluster IP and to none of its ports is rejected

Facts: Kubernetes 1.30, pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import collapse_addresses, ip_address, ip_network
from typing import Literal

from netlab.compile.nft_base import base_items, empty_sets
from netlab.compile.proxier import Proxier
from netlab.compile.proxying import Family, Port, ProxyConfig, ip_of
from netlab.compile.services_iptables import base32
from netlab.model import Item, NftChain, NftElement, NftRule, NftSet

TABLE = "kube-proxy"
#: maps and sets that all Services have elements in
SHARED = (
    "cluster-ips", "service-ips", "service-nodeports", "no-endpoint-services", "no-endpoint-nodeports", "firewall-ips",
    "hairpin-connections",
)  # fmt: skip
CLUSTER_IPS, SERVICE_IPS, NODEPORTS, NO_ENDPOINT_SERVICES, NO_ENDPOINT_NODEPORTS, FIREWALL_IPS, HAIRPINS = range(7)
#: letters of a hash before a name that is else told in full
_HASH = 8
#: the longest prefix is `firewall-`, `endpoint-` or `affinity-`; the kernel takes 255 bytes
_NAME_MAX = 255 - len("firewall-")


def hashed(name: str) -> str:
    """`ULMVA6XW-ns1/svc1/tcp/p80`: a name with its hash before it, cut where it would be too long."""
    full = f"{base32(sha256(name.encode()).digest())[:_HASH]}-{name}"
    return full if len(full) <= _NAME_MAX else full[: _NAME_MAX - 3] + "..."


def port_name(port: Port) -> str:
    """`ns/svc/tcp/p80` of `ns/svc:p80`."""
    service, _, name = port.name.partition(":")
    return f"{service}/{port.protocol}/{name}"


def endpoint_name(port: Port, endpoint: str) -> str:
    """`ns/svc/tcp/p80__10.180.0.1/80`; colons are no part of a name, so that an IPv6 address has dots."""
    address, _, number = endpoint.rpartition(":")
    return f"{port_name(port)}__{address.strip('[]').replace(':', '.')}/{number}"


@dataclass(frozen=True, slots=True)
class NftPart:
    """One Service. own: its chains and affinity sets; shares: its elements in each of SHARED."""

    own: tuple[Item, ...]
    shares: tuple[tuple[NftElement, ...], ...]


_EMPTY: tuple[tuple[NftElement, ...], ...] = tuple(() for _ in SHARED)


class NftProxier(Proxier[NftPart]):
    """One node's Services in nftables, one family."""

    def __init__(self, config: ProxyConfig, family: Family) -> None:
        super().__init__(config, family)
        self._base = base_items(config, family, TABLE)
        self._sets: dict[str, NftSet] = {s.name: s for s in empty_sets(config, family, TABLE)}

    def part(self, ports: Sequence[Port]) -> NftPart:
        own: list[Item] = []
        shares: tuple[list[NftElement], ...] = tuple([] for _ in SHARED)
        for port in ports:
            _Compiling(port, self.config, self.family, own, shares).run()
        return NftPart(tuple(own), tuple(map(tuple, shares)))

    def touches(self, old: NftPart | None, new: NftPart | None) -> list[int]:
        before, after = old.shares if old else _EMPTY, new.shares if new else _EMPTY
        return [at for at in range(len(SHARED)) if before[at] != after[at]]

    def shared(self, parts: Sequence[NftPart], touched: frozenset[int] | None) -> tuple[Item, ...]:
        for at, name in enumerate(SHARED):
            if (touched is not None and at not in touched) or name not in self._sets:
                continue
            elements = {element.key: element for part in parts for element in part.shares[at]}
            known = self._sets[name]
            new = NftSet(
                family=known.family, table=TABLE, name=name, type=known.type, value=known.value, flags=known.flags,
                elements=tuple(elements.values()), owner=known.owner, why=known.why,
            )  # fmt: skip
            if new != known:
                self._sets[name] = new
        return (*self._base, *self._sets.values())


class _Compiling:
    """One port of one Service on its way to chains and elements."""

    def __init__(
        self, port: Port, config: ProxyConfig, family: Family, own: list[Item], shares: tuple[list[NftElement], ...]
    ) -> None:
        self.port, self.config, self.own, self.shares = port, config, own, shares
        self.version = family
        self.family: Literal["ip", "ip6"] = "ip" if family == 4 else "ip6"
        self.cidr = config.cluster_cidr(family)
        self.name = hashed(port_name(port))
        # a Service with affinity has sets of clients, and with them chains, in any case
        self.direct = config.choice == "direct" and not port.affinity
        self.endpoints = {} if self.direct else {e: hashed(endpoint_name(port, e)) for e in port.reachable}

    def chain(self, name: str, texts: Iterable[tuple[str, str]]) -> None:
        why = self.port.why
        rules = tuple(NftRule(text, f"{why}: {more}" if more else why) for text, more in texts)
        self.own.append(NftChain.trusted(self.family, TABLE, name, rules, self.config.owner, why))

    def share(self, where: int, key: str, value: str = "") -> None:
        self.shares[where].append(NftElement(key, value, self.port.why))

    def run(self) -> None:
        port, proto = self.port, self.port.protocol
        svc, local = f"service-{self.name}", f"local-{self.name}"
        external, firewall = f"external-{self.name}", f"firewall-{self.name}"
        refused = "drop" if port.any else "goto reject-chain"
        self.share(CLUSTER_IPS, port.cluster_ip)
        key = f"{port.cluster_ip} . {proto} . {port.port}"
        if port.internal:
            self.share(SERVICE_IPS, key, f"goto {local if port.internal_local else svc}")
        else:
            self.share(NO_ENDPOINT_SERVICES, key, refused)
        for address in (*port.external_ips, *port.balancer_ips):
            key = f"{address} . {proto} . {port.port}"
            if port.any:
                self.share(SERVICE_IPS, key, f"goto {external}")
            if not port.outside:
                self.share(NO_ENDPOINT_SERVICES, key, refused)
            if port.any and port.source_ranges and address in port.balancer_ips:
                self.share(FIREWALL_IPS, key, f"goto {firewall}")
        if port.node_port:
            key = f"{proto} . {port.node_port}"
            if port.any:
                self.share(NODEPORTS, key, f"goto {external}")
            if not port.outside:
                self.share(NO_ENDPOINT_NODEPORTS, key, refused)
        if port.uses_cluster and port.cluster:
            self.chain(svc, self.balance(port.cluster, internal=not port.internal_local))
        if port.uses_local and port.local:
            self.chain(local, self.balance(port.local, internal=port.internal_local))
        if port.any and port.external:
            self.chain(external, self.outside(svc, local))
        if port.any and port.balancer_ips and port.source_ranges:
            self.chain(firewall, self.ranges())
        for endpoint, name in self.endpoints.items():
            self.endpoint(endpoint, name)
        if self.direct:
            # from a node port, even what is on another node may come back to itself
            for address in sorted({*map(ip_of, port.reachable)}) if port.external else port.hairpins:
                self.share(HAIRPINS, f"{address} . {address}")

    def balance(self, endpoints: Sequence[str], *, internal: bool) -> Iterable[tuple[str, str]]:
        """service-, local-: who must be masqueraded, whom a client had last, and a fair choice."""
        port, ip = self.port, self.family
        if internal and (self.config.masquerade_all or self.cidr):
            who = "" if self.config.masquerade_all else f"{ip} saddr != {self.cidr} "
            text = f"{ip} daddr {port.cluster_ip} {port.protocol} dport {port.port} {who}jump mark-for-masquerade"
            yield text, "masquerade"
        if port.affinity:
            for endpoint in endpoints:
                name = self.endpoints[endpoint]
                yield f"{ip} saddr @affinity-{name} goto endpoint-{name}", "session affinity"
        if self.direct:
            yield f"meta l4proto {port.protocol} {self.destination(endpoints)}", ""
            return
        choices = ", ".join(f"{at} : goto endpoint-{self.endpoints[e]}" for at, e in enumerate(endpoints))
        yield f"numgen random mod {len(endpoints)} vmap {{ {choices} }}", ""

    def destination(self, endpoints: Sequence[str]) -> str:
        """One of them, chosen by the rule itself."""
        if len(endpoints) == 1:
            return f"dnat to {endpoints[0]}"
        targets = (endpoint.rpartition(":") for endpoint in endpoints)
        listed = ", ".join(f"{at} : {ip.strip('[]')} . {number}" for at, (ip, _, number) in enumerate(targets))
        return f"dnat {self.family} to numgen random mod {len(endpoints)} map {{ {listed} }}"

    def outside(self, svc: str, local: str) -> Iterable[tuple[str, str]]:
        """external-: what comes to an external address, an allotted balancer's or a node port."""
        port = self.port
        if not port.external_local:
            yield "jump mark-for-masquerade", "masquerade"
            yield f"goto {svc}", ""
            return
        if self.cidr:
            yield f'{self.family} saddr {self.cidr} goto {svc} comment "short-circuit pod traffic"', "pods"
        yield 'fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"', "masquerade"
        yield f'fib saddr type local goto {svc} comment "short-circuit local traffic"', "this node"
        if port.local:
            yield f"goto {local}", ""

    def ranges(self) -> Iterable[tuple[str, str]]:
        listed = [*map(ip_network, self.port.source_ranges)]
        if any(network.prefixlen == 0 for network in listed):
            return
        if self._node_inside():
            listed += map(ip_network, self.port.balancer_ips)
        # nft takes no prefixes that overlap, sorts them, and spells one of full length as the address alone
        bits = "/32" if self.version == 4 else "/128"
        texts = [str(network).removesuffix(bits) for network in collapse_addresses(listed)]  # type: ignore[type-var]
        for text in [f"{{ {', '.join(texts)} }}"] if len(texts) > 1 else texts:
            yield f"{self.family} saddr != {text} drop", "source ranges"

    def _node_inside(self) -> bool:
        nodes = [ip_address(ip) for ip in self.config.of_family(self.config.node_ips, self.version)]
        return any(ip in ip_network(text) for text in self.port.source_ranges for ip in nodes)

    def endpoint(self, endpoint: str, name: str) -> None:
        """endpoint-: masquerade what it sends to itself, remember the client, DNAT."""
        port, ip = self.port, self.family
        address = endpoint.rpartition(":")[0].strip("[]")
        rules = [
            NftRule(f"{ip} saddr {address} jump mark-for-masquerade", f"{port.why}: an endpoint that calls itself")
        ]
        if port.affinity:
            self.own.append(
                NftSet(
                    family=ip, table=TABLE, name=f"affinity-{name}", type="ipv4_addr" if ip == "ip" else "ipv6_addr",
                    flags=("dynamic", "timeout"), timeout=port.affinity, owner=self.config.owner,
                    why=f"{port.why}: session affinity",
                )
            )  # fmt: skip
            rules.append(NftRule(f"update @affinity-{name} {{ {ip} saddr }}", f"{port.why}: session affinity"))
        rules.append(NftRule(f"meta l4proto {port.protocol} dnat to {endpoint}", port.why))
        self.own.append(NftChain.trusted(ip, TABLE, f"endpoint-{name}", tuple(rules), self.config.owner, port.why))
