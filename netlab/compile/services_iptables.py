"""Services to iptables, rule for rule as kube-proxy writes them: the same chains, hashes, comments, order, marks.

nat     PREROUTING, OUTPUT → KUBE-SERVICES → KUBE-SVC-… (Cluster policy), KUBE-SVL-… (Local), KUBE-EXT-… (from outside),
        KUBE-FW-… (source ranges) → KUBE-SEP-…, one per endpoint: DNAT. Last: KUBE-NODEPORTS.
        POSTROUTING → KUBE-POSTROUTING: masquerade what KUBE-MARK-MASQ has marked
filter  what has no endpoints is rejected or dropped, marked traffic may be forwarded, health check ports let in

Facts: Kubernetes 1.30, pkg/proxy/iptables/proxier.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from netlab.compile.iptables_base import base_chains
from netlab.compile.proxier import Proxier
from netlab.compile.proxying import Family, Port, ProxyConfig, ip_of
from netlab.model import Chain, IptablesRule, Item
from netlab.model.iptables import canonical

#: (table, chain) that all Services have rules in, in the order of iptables-save
SHARED = (
    ("nat", "KUBE-SERVICES"), ("nat", "KUBE-NODEPORTS"), ("filter", "KUBE-SERVICES"),
    ("filter", "KUBE-EXTERNAL-SERVICES"), ("filter", "KUBE-NODEPORTS"), ("filter", "KUBE-PROXY-FIREWALL"),
)  # fmt: skip
_rule = IptablesRule.trusted


def port_hash(name: str, protocol: str) -> str:
    """The 16 letters of a Service port's chains. `ns/name:port` and `tcp`, without anything between."""
    return base32(sha256((name + protocol).encode()).digest())


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#: two letters at a time: base64.b32encode takes three times as long, and a big cluster has 110,000 names
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def base32(digest: bytes) -> str:
    """The first 16 letters of the base32 form (RFC 4648) of at least ten bytes."""
    n, p = int.from_bytes(digest[:10], "big"), _PAIRS
    return (
        p[n >> 70] + p[n >> 60 & 1023] + p[n >> 50 & 1023] + p[n >> 40 & 1023]
        + p[n >> 30 & 1023] + p[n >> 20 & 1023] + p[n >> 10 & 1023] + p[n & 1023]
    )  # fmt: skip


def endpoint_hash(name: str, protocol: str, endpoint: str) -> str:
    """The 16 letters of an endpoint's chain; endpoint: `10.0.0.1:80`."""
    return port_hash(name, protocol + endpoint)


def probability(left: int) -> str:
    """The share of the first of `left` endpoints, as kube-proxy rounds it and the kernel keeps it (S86)."""
    text = _PROBABILITIES.get(left)
    if text is None:
        text = _PROBABILITIES[left] = canonical(("--probability", f"{1 / left:.10f}"))[1]
    return text


_PROBABILITIES: dict[int, str] = {}


@cache
def chances(count: int) -> tuple[str, ...]:
    """The match of each of `count` endpoints in turn, the last without one."""
    match = " -m statistic --mode random --probability "
    return (*(match + probability(left) for left in range(count, 1, -1)), "")


@dataclass(frozen=True, slots=True)
class IptablesPart:
    """One Service. own: its chains; shares: its rules in each of the SHARED chains."""

    own: tuple[Item, ...]
    shares: tuple[tuple[IptablesRule, ...], ...]
    endpoints: int = 0


class IptablesProxier(Proxier[IptablesPart]):
    """One node's Services in iptables, one family."""

    def __init__(self, config: ProxyConfig, family: Family) -> None:
        super().__init__(config, family)
        self._base = base_chains(config, family)
        self._last = _node_port_jumps(config, family)
        self._chains: dict[tuple[str, str], Chain] = {}
        self._comments = True

    def part(self, ports: Sequence[Port]) -> IptablesPart:
        own: list[Item] = []
        shares: tuple[list[IptablesRule], ...] = tuple([] for _ in SHARED)
        for port in ports:
            _Compiling(port, self.config, self.family, own, shares).run()
        return IptablesPart(tuple(own), tuple(map(tuple, shares)), sum(len(p.reachable) for p in ports))

    def touches(self, old: IptablesPart | None, new: IptablesPart | None) -> list[int]:
        before, after = old.shares if old else _EMPTY, new.shares if new else _EMPTY
        return [at for at in range(len(SHARED)) if before[at] != after[at]]

    def shared(self, parts: Sequence[IptablesPart], touched: frozenset[int] | None) -> tuple[Item, ...]:
        chains: list[Item] = list(self._base)
        for at, (table, name) in enumerate(SHARED):
            if touched is not None and at not in touched:
                chains.append(self._chains[table, name])
                continue
            rules = tuple(rule for part in parts for rule in part.shares[at])
            if (table, name) == ("nat", "KUBE-SERVICES"):
                rules += self._last
            known = self._chains.get((table, name))
            if known is None or known.rules != rules:
                known = Chain.trusted(self.family, table, name, rules, self.config.owner, "the Services of the cluster")
                self._chains[table, name] = known
            chains.append(known)
        return tuple(chains)


_EMPTY: tuple[tuple[IptablesRule, ...], ...] = tuple(() for _ in SHARED)


def _node_port_jumps(config: ProxyConfig, family: Family) -> tuple[IptablesRule, ...]:
    note = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
    why = "node ports of all Services"
    serving = config.serving_ips(family)
    if serving is not None:
        length = 32 if family == 4 else 128
        return tuple(_rule(f"-d {ip}/{length} {note} -j KUBE-NODEPORTS", why) for ip in serving)
    guard = "! -d 127.0.0.0/8 " if family == 4 and not config.localhost_node_ports else ""
    return (_rule(f"{guard}{note} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS", why),)


class _Compiling:
    """One port of one Service on its way to rules. The order of chains and rules is kube-proxy's."""

    def __init__(
        self,
        port: Port,
        config: ProxyConfig,
        family: Family,
        own: list[Item],
        shares: tuple[list[IptablesRule], ...],
    ) -> None:
        self.port, self.config, self.family, self.own = port, config, family, own
        (
            self.services, self.nodeports, self.filter_services, self.external, self.health, self.firewall,
        ) = shares  # fmt: skip
        self.host = "/32" if family == 4 else "/128"
        self.hash = port_hash(port.name, port.protocol)
        self.cidr = config.cluster_cidr(family)
        digest = sha256((port.name + port.protocol).encode())
        self.seps: dict[str, str] = {}
        for endpoint in port.reachable:
            more = digest.copy()
            more.update(endpoint.encode())
            self.seps[endpoint] = "KUBE-SEP-" + base32(more.digest())

    def chain(self, name: str, rules: Sequence[tuple[str, str]]) -> None:
        """rules: lines, and why each is there."""
        lines, whys = zip(*rules, strict=True) if rules else ((), ())
        self.own.append(
            Chain.written(self.family, "nat", name, lines, whys, owner=self.config.owner, why=self.port.why)
        )

    def run(self) -> None:
        port, why = self.port, self.port.why
        has_internal, has_external = bool(port.internal), bool(port.outside)
        svc, svl, ext = f"KUBE-SVC-{self.hash}", f"KUBE-SVL-{self.hash}", f"KUBE-EXT-{self.hash}"
        firewalled = port.any and bool(port.balancer_ips) and bool(port.source_ranges)
        fw = f"KUBE-FW-{self.hash}"
        self.portals(svl if port.internal_local else svc, ext, fw if firewalled else ext, fw)
        if port.health_port:
            text = f'-p tcp -m comment --comment "{port.name} health check node port" -m tcp --dport {port.health_port}'
            self.health.append(_rule(f"{text} -j ACCEPT", f"{why}: health check"))
        # chains that lead nowhere are not made
        if port.uses_cluster and port.cluster:
            self.chain(svc, self.balance(port.cluster, internal=not port.internal_local and has_internal))
        if port.uses_local and port.local:
            self.chain(svl, self.balance(port.local, internal=port.internal_local and has_internal))
        if port.any and port.external:
            self.chain(ext, list(self.outside(svc, svl if port.external_local else svc, has_external)))
        if firewalled:
            self.chain(fw, list(self.ranges(ext)))
        self.endpoints()

    def portals(self, internal: str, ext: str, balancer: str, fw: str) -> None:
        """Where packets to the Service's addresses go, and what becomes of those that nobody serves."""
        port, why, host = self.port, self.port.why, self.host
        name, proto = port.name, port.protocol
        refused = ("has no endpoints", "REJECT") if not port.any else ("has no local endpoints", "DROP")
        match = f"-m {proto} --dport {port.port}"

        def portal(address: str, comment: str, target: str) -> IptablesRule:
            note = f'-m comment --comment "{name} {comment}"'
            return _rule(f"-d {address}{host} -p {proto} {note} {match} -j {target}", why)

        if port.internal:
            self.services.append(portal(port.cluster_ip, "cluster IP", internal))
        else:
            self.filter_services.append(portal(port.cluster_ip, *refused))
        for listed, comment, target in (
            (port.external_ips, "external IP", ext),
            (port.balancer_ips, "loadbalancer IP", balancer),
        ):
            for address in listed:
                if port.any:
                    self.services.append(portal(address, comment, target))
                if target == fw:
                    self.firewall.append(portal(address, f"traffic not accepted by {fw}", "DROP"))
                if not port.outside:
                    self.external.append(portal(address, *refused))
        if port.node_port:
            numbered = f"-m {proto} --dport {port.node_port}"
            if port.any:
                note = f'-m comment --comment "{name}"'
                self.nodeports.append(_rule(f"-p {proto} {note} {numbered} -j {ext}", why))
            if not port.outside:
                note = f'-m comment --comment "{name} {refused[0]}" -m addrtype --dst-type LOCAL'
                self.external.append(_rule(f"-p {proto} {note} {numbered} -j {refused[1]}", why))

    def balance(self, endpoints: Sequence[str], *, internal: bool) -> list[tuple[str, str]]:
        """KUBE-SVC, KUBE-SVL: who must be masqueraded, whom a client had last, and a fair choice."""
        port, why = self.port, self.port.why
        name, proto = port.name, port.protocol
        rules: list[tuple[str, str]] = []
        if internal and (self.config.masquerade_all or self.cidr):
            who = "" if self.config.masquerade_all else f"! -s {self.cidr} "
            note = f'-m comment --comment "{name} cluster IP" -m {proto} --dport {port.port}'
            rules.append(
                (f"{who}-d {port.cluster_ip}{self.host} -p {proto} {note} -j KUBE-MARK-MASQ", f"{why}: masquerade")
            )
        chains = [self.seps[endpoint] for endpoint in endpoints]
        if port.affinity:
            mask = "255.255.255.255" if self.family == 4 else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
            for endpoint, sep in zip(endpoints, chains, strict=True):
                note = f'-m comment --comment "{name} -> {endpoint}"'
                recent = f"-m recent --rcheck --seconds {port.affinity} --reap --name {sep} --mask {mask} --rsource"
                rules.append((f"{note} {recent} -j {sep}", f"{why}: session affinity"))
        for endpoint, sep, chance in zip(endpoints, chains, chances(len(endpoints)), strict=True):
            rules.append((f'-m comment --comment "{name} -> {endpoint}"{chance} -j {sep}', why))
        return rules

    def outside(self, cluster: str, target: str, served: bool) -> Iterator[tuple[str, str]]:
        """KUBE-EXT: what comes to an external address, an allotted balancer's or a node port."""
        port, why = self.port, self.port.why
        name = port.name
        if not port.external_local:
            note = f'-m comment --comment "masquerade traffic for {name} external destinations"'
            yield (f"{note} -j KUBE-MARK-MASQ", f"{why}: masquerade")
        else:
            # pods and this node take the short way to any endpoint, as if it were the cluster IP
            if self.cidr:
                note = f'-m comment --comment "pod traffic for {name} external destinations"'
                yield (f"-s {self.cidr} {note} -j {cluster}", why)
            local = "-m addrtype --src-type LOCAL"
            note = f'-m comment --comment "masquerade LOCAL traffic for {name} external destinations"'
            yield (f"{note} {local} -j KUBE-MARK-MASQ", f"{why}: masquerade")
            note = f'-m comment --comment "route LOCAL traffic for {name} external destinations"'
            yield (f"{note} {local} -j {cluster}", why)
        if served:
            yield (f"-j {target}", why)

    def ranges(self, ext: str) -> Iterator[tuple[str, str]]:
        """KUBE-FW: the balancer's source ranges; what passes none is not rewritten, and dropped in the filter table."""
        port, why = self.port, f"{self.port.why}: source ranges"
        note = f'-m comment --comment "{port.name} loadbalancer IP"'
        node_ips = [ipaddress.ip_address(ip) for ip in self.config.of_family(self.config.node_ips, self.family)]
        from_node = False
        for text in port.source_ranges:
            network = ipaddress.ip_network(text)
            who = "" if network.prefixlen == 0 else f"-s {text} "
            yield (f"{who}{note} -j {ext}", why)
            from_node = from_node or any(ip in network for ip in node_ips)
        if from_node:
            # a node that sends to the balancer's address may have it as its source, when it is on lo
            for address in port.balancer_ips:
                yield (f"-s {address}{self.host} {note} -j {ext}", why)
        yield (f'-m comment --comment "other traffic to {port.name} will be dropped by KUBE-PROXY-FIREWALL"', why)

    def endpoints(self) -> None:
        """KUBE-SEP, one per endpoint: masquerade what it sends to itself, and DNAT."""
        port, why, host, family = self.port, self.port.why, self.host, self.family
        name, proto, owner = port.name, port.protocol, self.config.owner
        note = f'-m comment --comment "{name}"'
        whys = (f"{why}: an endpoint that calls itself", why)
        written = Chain.written
        mask = "255.255.255.255" if family == 4 else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        marked, dnat = f"{host} {note} -j KUBE-MARK-MASQ", f"-p {proto} {note} -m {proto}"
        for endpoint, sep in self.seps.items():
            recent = f" -m recent --set --name {sep} --mask {mask} --rsource" if port.affinity else ""
            lines = (f"-s {ip_of(endpoint)}{marked}", f"{dnat}{recent} -j DNAT --to-destination {endpoint}")
            self.own.append(written(family, "nat", sep, lines, whys, owner=owner, why=why))
