"""What stands in the nftables table of every node, whatever the Services. Facts: as `services_nft`."""

from __future__ import annotations

from typing import Any, Literal

from netlab.compile.proxying import Family, ProxyConfig
from netlab.model import Item, NftChain, NftElement, NftRule, NftSet, NftTable

DSTNAT, SRCNAT = -100, 100

#: name, type, hook, priority: filters look at destinations before the DNAT, but for one that looks after it
BASE_CHAINS = (
    ("filter-prerouting", "filter", "prerouting", DSTNAT - 10),
    ("filter-input", "filter", "input", DSTNAT - 10),
    ("filter-forward", "filter", "forward", DSTNAT - 10),
    ("filter-output", "filter", "output", DSTNAT - 10),
    ("filter-output-post-dnat", "filter", "output", DSTNAT + 10),
    ("nat-prerouting", "nat", "prerouting", DSTNAT),
    ("nat-output", "nat", "output", DSTNAT),
    ("nat-postrouting", "nat", "postrouting", SRCNAT),
)
#: base chain to what it says
JUMPS = {
    "filter-prerouting": ("ct state new jump firewall-check",),
    "filter-input": ("ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"),
    "filter-forward": ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    "filter-output": ("ct state new jump firewall-check",),
    # behind the DNAT: what this node sends to a Service of Local policy takes the short way to any endpoint, and has
    # another destination by now (S33); what nobody serves has not
    "filter-output-post-dnat": ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    "nat-prerouting": ("jump services",),
    "nat-output": ("jump services",),
    "nat-postrouting": ("jump masquerading",),
}
_WHY = "the proxy: what stands in every node"


def base_items(config: ProxyConfig, family: Family, table: str) -> tuple[Item, ...]:
    """The table, its base chains, and the chains that they lead to."""
    ip: Literal["ip", "ip6"] = "ip" if family == 4 else "ip6"
    common: dict[str, Any] = {"family": ip, "table": table, "owner": config.owner, "why": _WHY}

    def chain(name: str, *texts: str, **more: Any) -> NftChain:
        return NftChain(name=name, rules=tuple(NftRule(text, _WHY) for text in texts), **common, **more)

    loopback = "127.0.0.0/8" if family == 4 else "::1"
    node_port = "meta l4proto . th dport vmap @"
    if config.serving_ips(family) is None:
        local = f"fib daddr type local {ip} daddr != {loopback} {node_port}"
    else:
        local = f"{ip} daddr @nodeport-ips {node_port}"
    services = f"{ip} daddr . meta l4proto . th dport vmap @"
    unallocated = [
        f'{ip} daddr {cidr} drop comment "Drop traffic to unallocated ClusterIPs"'
        for cidr in config.of_family(config.service_cidrs, family)
    ]
    fully = " fully-random" if config.random_fully else ""
    reject = 'reject comment "Reject traffic to invalid ports of ClusterIPs"'
    # who calls himself by way of a Service must not see his own address as the caller's (S12)
    calls_itself = (f"{ip} saddr . {ip} daddr @hairpin-connections jump mark-for-masquerade",)
    items: list[Item] = [NftTable(family=ip, name=table, owner=config.owner, why=_WHY)]
    for name, kind, hook, priority in BASE_CHAINS:
        items.append(chain(name, *JUMPS[name], type=kind, hook=hook, priority=priority))
    items += [
        chain("services", f"{services}service-ips", f"{local}service-nodeports"),
        chain("service-endpoints-check", f"{services}no-endpoint-services"),
        chain("nodeport-endpoints-check", f"{local}no-endpoint-nodeports"),
        chain("firewall-check", f"{services}firewall-ips"),
        chain("cluster-ips-check", f"{ip} daddr @cluster-ips {reject}", *unallocated),
        chain("mark-for-masquerade", "meta mark set meta mark | 0x00004000"),
        chain(
            "masquerading",
            *(calls_itself if config.choice == "direct" else ()),
            "meta mark & 0x00004000 == 0x00000000 return",
            "meta mark set meta mark ^ 0x00004000",
            f"masquerade{fully}",
        ),
        chain("reject-chain", "reject"),
    ]
    serving = config.serving_ips(family)
    if serving is not None:
        ips = tuple(NftElement(address, why="node port addresses") for address in serving)
        items.append(NftSet(name="nodeport-ips", type=_address(family), elements=ips, **common))
    return tuple(items)


def _address(family: Family) -> str:
    return "ipv4_addr" if family == 4 else "ipv6_addr"


def empty_sets(config: ProxyConfig, family: Family, table: str) -> tuple[NftSet, ...]:
    """The maps and the set that the Services fill."""
    ip: Literal["ip", "ip6"] = "ip" if family == 4 else "ip6"
    by_ip, by_port = f"{_address(family)} . inet_proto . inet_service", "inet_proto . inet_service"
    kinds: tuple[tuple[str, str, str], ...] = (
        ("cluster-ips", _address(family), ""),
        ("service-ips", by_ip, "verdict"),
        ("service-nodeports", by_port, "verdict"),
        ("no-endpoint-services", by_ip, "verdict"),
        ("no-endpoint-nodeports", by_port, "verdict"),
        ("firewall-ips", by_ip, "verdict"),
    )
    if config.choice == "direct":
        kinds += (("hairpin-connections", f"{_address(family)} . {_address(family)}", ""),)
    why = "the Services of the cluster"
    return tuple(
        NftSet(family=ip, table=table, name=name, type=kind, value=value, owner=config.owner, why=why)
        for name, kind, value in kinds
    )
