"""What flanneld asks of iptables: leave pods' packets to pods alone, masquerade what leaves, let both be forwarded.

The rules, their order and comments are the original's (pkg/trafficmngr/iptables, v0.28), for the reasons given here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from netlab.base.addresses import Network
from netlab.model import Chain, IptablesRule
from netlab.overlay.config import NetworkConfig
from netlab.overlay.lease import Subnet

POSTROUTING, FORWARD = "FLANNEL-POSTRTG", "FLANNEL-FWD"
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}


def masquerade(network: Network, subnet: Network, *, why: str) -> list[Chain]:
    """nat POSTROUTING for one family. network: of all pods; subnet: of this node's."""

    def rule(match: str, target: str, because: str) -> IptablesRule:
        return IptablesRule.of(f'{match} -m comment --comment "flanneld masq" -j {target}', why=f"{why}: {because}")

    rules = (
        rule("-m mark --mark 0x4000/0x4000", "RETURN", "kube-proxy has marked it and masquerades it itself"),
        rule(f"-s {subnet} -d {network}", "RETURN", "pods see each other's own addresses"),
        rule(f"-s {network} -d {subnet}", "RETURN", "pods see each other's own addresses"),
        rule(f"! -s {network} -d {subnet}", "RETURN", "a pod sees who calls from outside"),
        rule(
            f"-s {network} ! -d {_MULTICAST[network.version]}",
            "MASQUERADE --random-fully",
            "a pod's packets leave with the node's address, for no one outside has a way back to a pod",
        ),
        rule(
            f"! -s {network} -d {network}",
            "MASQUERADE --random-fully",
            "from this node to another's pod: the answer has to come back through the overlay",
        ),
    )
    jump = IptablesRule.of(f'-m comment --comment "flanneld masq" -j {POSTROUTING}', why=why)
    return _chains(network, "nat", "POSTROUTING", jump, POSTROUTING, rules, why)


def forward(network: Network, *, why: str) -> list[Chain]:
    """filter FORWARD for one family: a host whose policy is DROP forwards pods' packets all the same."""
    rules = tuple(
        IptablesRule.of(f'{match} {network} -m comment --comment "flanneld forward" -j ACCEPT', why=why)
        for match in ("-s", "-d")
    )
    jump = IptablesRule.of(f'-m comment --comment "flanneld forward" -j {FORWARD}', why=why)
    return _chains(network, "filter", "FORWARD", jump, FORWARD, rules, why)


def _chains(
    network: Network, table: str, builtin: str, jump: IptablesRule, name: str, rules: Iterable[IptablesRule], why: str
) -> list[Chain]:
    family: Literal[4, 6] = 4 if network.version == 4 else 6
    return [
        Chain(family=family, table=table, name=builtin, rules=(jump,), why=why),
        Chain(family=family, table=table, name=name, rules=tuple(rules), why=why),
    ]


def chains(config: NetworkConfig, own: Subnet, *, masq: bool, forwarding: bool) -> Iterator[Chain]:
    """All chains of a node. masq: --ip-masq; forwarding: --iptables-forward-rules."""
    for wide, subnet in ((config.ipv4, own.ipv4), (config.ipv6, own.ipv6)):
        if wide is None or subnet is None:
            continue
        if masq:
            yield from masquerade(wide.network, subnet, why=f"flanneld --ip-masq, subnet {subnet}")
        if forwarding:
            yield from forward(wide.network, why=f"flanneld, network {wide.network}")
