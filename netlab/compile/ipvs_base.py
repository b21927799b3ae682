"""What stands in every node that serves Services by IPVS: device, sysctls, and the rules over the sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from netlab.compile.iptables_base import MARK
from netlab.compile.proxying import Family, ProxyConfig
from netlab.model import Chain, Dummy, IptablesRule, Item, Link, Sysctl

DUMMY = "kube-ipvs0"


class _Add(Protocol):
    def __call__(self, table: str, chain: str, line: str, why: str) -> None: ...


class _Matching(Protocol):
    def __call__(self, name: str, where: str = "dst,dst") -> str: ...


SET_TYPES = {
    "KUBE-LOOP-BACK": "hash:ip,port,ip",
    "KUBE-CLUSTER-IP": "hash:ip,port",
    "KUBE-EXTERNAL-IP": "hash:ip,port",
    "KUBE-EXTERNAL-IP-LOCAL": "hash:ip,port",
    "KUBE-LOAD-BALANCER": "hash:ip,port",
    "KUBE-LOAD-BALANCER-LOCAL": "hash:ip,port",
    "KUBE-LOAD-BALANCER-FW": "hash:ip,port",
    "KUBE-LOAD-BALANCER-SOURCE-IP": "hash:ip,port,ip",
    "KUBE-LOAD-BALANCER-SOURCE-CIDR": "hash:ip,port,net",
    "KUBE-NODE-PORT-TCP": "bitmap:port",
    "KUBE-NODE-PORT-LOCAL-TCP": "bitmap:port",
    "KUBE-NODE-PORT-UDP": "bitmap:port",
    "KUBE-NODE-PORT-LOCAL-UDP": "bitmap:port",
    "KUBE-NODE-PORT-SCTP-HASH": "hash:ip,port",
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH": "hash:ip,port",
    "KUBE-HEALTH-CHECK-NODE-PORT": "bitmap:port",
    "KUBE-IPVS-IPS": "hash:ip",
}
_SET_NAME_MAX = 31


def set_name(name: str, family: Family) -> str:
    """The set's name in a family: KUBE-6-…, cut to what the kernel takes."""
    return name if family == 4 else name.replace("KUBE-", "KUBE-6-", 1)[:_SET_NAME_MAX]


def sysctls(config: ProxyConfig, family: Family) -> Iterable[Sysctl]:
    """What IPVS and its addresses need of the kernel."""
    wanted = {
        "net/ipv4/vs/conntrack": "1",
        "net/ipv4/vs/expire_nodest_conn": "1",
        "net/ipv4/vs/expire_quiescent_template": "1",
        "net/ipv4/ip_forward": "1",
    }
    if config.strict_arp:
        # else the node answers ARP for the addresses of kube-ipvs0
        wanted |= {"net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2"}
    if family == 6:
        wanted = {"net/ipv6/conf/all/forwarding": "1"}
    for name, value in wanted.items():
        yield Sysctl(name=name, value=value, owner=config.owner, why="the proxy: IPVS")


def base_items(config: ProxyConfig, family: Family) -> tuple[Item, ...]:
    """The device, the sysctls and all chains."""
    rules: dict[tuple[str, str], list[IptablesRule]] = {}

    def add(table: str, chain: str, line: str, why: str) -> None:
        rules.setdefault((table, chain), []).append(IptablesRule.of(line, why=f"the proxy: {why}"))

    def matching(name: str, where: str = "dst,dst") -> str:
        return f"-m set --match-set {set_name(name, family)} {where}"

    loopback = "127.0.0.0/8" if family == 4 else "::1/128"
    fully = " --random-fully" if config.random_fully else ""
    cidr = config.cluster_cidr(family)
    portals = '-m comment --comment "kubernetes service portals"'
    for builtin in ("PREROUTING", "OUTPUT"):
        add("nat", builtin, f"{portals} -j KUBE-SERVICES", "way into its chains")
    add(
        "nat", "POSTROUTING", '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        "way into its chains",
    )  # fmt: skip
    add("nat", "KUBE-MARK-MASQ", "-j MARK --or-mark 0x4000", "mark for masquerading")
    note = '-m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"'
    add("nat", "KUBE-POSTROUTING", f"{note} {matching('KUBE-LOOP-BACK', 'dst,dst,src')} -j MASQUERADE", "hairpin")
    add("nat", "KUBE-POSTROUTING", f"-m mark ! --mark {MARK} -j RETURN", "only what is marked")
    add("nat", "KUBE-POSTROUTING", "-j MARK --xor-mark 0x4000", "the mark has done its work")
    note = '-m comment --comment "kubernetes service traffic requiring SNAT"'
    add("nat", "KUBE-POSTROUTING", f"{note} -j MASQUERADE{fully}", "masquerade")

    add("nat", "KUBE-SERVICES", f"-s {loopback} -j RETURN", "node ports are not for localhost")
    note = '-m comment --comment "Kubernetes service lb portal"'
    add("nat", "KUBE-SERVICES", f"{note} {matching('KUBE-LOAD-BALANCER')} -j KUBE-LOAD-BALANCER", "balancers")
    note = '-m comment --comment "Kubernetes service cluster ip + port for masquerade purpose"'
    if config.masquerade_all:
        add("nat", "KUBE-SERVICES", f"{note} {matching('KUBE-CLUSTER-IP')} -j KUBE-MARK-MASQ", "masquerade all")
    elif cidr:
        line = f"! -s {cidr} {note} {matching('KUBE-CLUSTER-IP')} -j KUBE-MARK-MASQ"
        add("nat", "KUBE-SERVICES", line, "masquerade what comes from outside")
    else:
        # the source is then one of the cluster's addresses only if it is this node itself
        line = f"{note} {matching('KUBE-CLUSTER-IP', 'src,dst')} -j KUBE-MARK-MASQ"
        add("nat", "KUBE-SERVICES", line, "masquerade this node")
    note = '-m comment --comment "Kubernetes service external ip + port for masquerade and filter purpose"'
    add("nat", "KUBE-SERVICES", f"{note} {matching('KUBE-EXTERNAL-IP')} -j KUBE-MARK-MASQ", "external IPs")
    for name in ("KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"):
        outside = "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL"
        add("nat", "KUBE-SERVICES", f"{note} {matching(name)} {outside} -j ACCEPT", "external IPs")
        add("nat", "KUBE-SERVICES", f"{note} {matching(name)} -m addrtype --dst-type LOCAL -j ACCEPT", "external IPs")
    add("nat", "KUBE-SERVICES", "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT", "node ports")
    for name in ("KUBE-CLUSTER-IP", "KUBE-LOAD-BALANCER"):
        add("nat", "KUBE-SERVICES", f"{matching(name)} -j ACCEPT", "nobody else's DNAT")
    note = '-m comment --comment "Kubernetes service load balancer ip + port with externalTrafficPolicy=local"'
    add("nat", "KUBE-LOAD-BALANCER", f"{note} {matching('KUBE-LOAD-BALANCER-LOCAL')} -j RETURN", "Local policy")
    add("nat", "KUBE-LOAD-BALANCER", "-j KUBE-MARK-MASQ", "masquerade")
    for proto, suffix, where in (("tcp", "TCP", "dst"), ("udp", "UDP", "dst"), ("sctp", "SCTP-HASH", "dst,dst")):
        local, every = f"KUBE-NODE-PORT-LOCAL-{suffix}", f"KUBE-NODE-PORT-{suffix}"
        add("nat", "KUBE-NODE-PORT", f"-p {proto} {matching(local, where)} -j RETURN", "node ports, Local policy")
        add("nat", "KUBE-NODE-PORT", f"-p {proto} {matching(every, where)} -j KUBE-MARK-MASQ", "node ports")
    _filter(add, matching)
    chains: list[Item] = [
        Chain(family=family, table=table, name=name, rules=tuple(listed), owner=config.owner, why="the proxy")
        for (table, name), listed in rules.items()
    ]
    link = Link(name=DUMMY, kind=Dummy(), up=False, owner=config.owner, why="the proxy: carries Service addresses")
    return (*sysctls(config, family), link, *chains)


def _filter(add: _Add, matching: _Matching) -> None:
    """The table filter: what is for a Service's address and no port of it is refused; source ranges; health checks."""
    for builtin, target, comment in (
        ("INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
        ("INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
        ("INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
        ("FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
        ("FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    ):
        add("filter", builtin, f'-m comment --comment "{comment}" -j {target}', "way into its chains")
    health = matching("KUBE-HEALTH-CHECK-NODE-PORT", "dst")
    note = '-m comment --comment "Kubernetes health check node port"'
    add("filter", "KUBE-NODE-PORT", f"{note} {health} -j ACCEPT", "health checks")
    add("filter", "KUBE-FORWARD", f"-m mark --mark {MARK} -j ACCEPT", "Service traffic")
    add("filter", "KUBE-FORWARD", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "answers")
    for name in ("KUBE-LOAD-BALANCER", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"):
        add("filter", "KUBE-IPVS-FILTER", f"{matching(name)} -j RETURN", "ports that a Service has")
    add("filter", "KUBE-IPVS-FILTER", f"{health} -j RETURN", "health checks")
    # a daemon of the node that listens on all addresses must not answer on a Service's
    line = f"-m conntrack --ctstate NEW {matching('KUBE-IPVS-IPS', 'dst')} -j REJECT"
    add("filter", "KUBE-IPVS-FILTER", line, "ports that no Service has")
    line = f"{matching('KUBE-LOAD-BALANCER-FW')} -j KUBE-SOURCE-RANGES-FIREWALL"
    add("filter", "KUBE-PROXY-FIREWALL", line, "source ranges")
    for name in ("KUBE-LOAD-BALANCER-SOURCE-CIDR", "KUBE-LOAD-BALANCER-SOURCE-IP"):
        add("filter", "KUBE-SOURCE-RANGES-FIREWALL", f"{matching(name, 'dst,dst,src')} -j RETURN", "source ranges")
    add("filter", "KUBE-SOURCE-RANGES-FIREWALL", "-j DROP", "source ranges")
