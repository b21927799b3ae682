"""The nouns: `HostState`, the desired network of one network namespace, and its parts.

Everything here is a frozen value without I/O. `compile` makes such values, `kernel` makes them true, `diff` tells what
separates two of them, `explain` prints one as the commands that a person would type. This package refuses to know
where a value came from and how it is applied.
"""

from netlab.model.iptables import Chain, IptablesRule
from netlab.model.ipvs import IpvsDestination, IpvsService
from netlab.model.item import Item
from netlab.model.l3 import Address, Fdb, Neighbour, NextHop, Route, Rule
from netlab.model.links import (
    Bridge,
    BridgePort,
    BridgeVlan,
    Dummy,
    Ipip,
    Kind,
    Link,
    Loopback,
    Macvlan,
    OtherKind,
    Tun,
    Veth,
    Vxlan,
    Wireguard,
    WireguardPeer,
)
from netlab.model.nft import NftChain, NftElement, NftRule, NftSet, NftTable
from netlab.model.qdisc import Netem, Qdisc, Tbf
from netlab.model.sets import Ipset
from netlab.model.state import HostState
from netlab.model.sysctl import Sysctl

__all__ = [
    "Address",
    "Bridge",
    "BridgePort",
    "BridgeVlan",
    "Chain",
    "Dummy",
    "Fdb",
    "HostState",
    "Ipip",
    "Ipset",
    "IptablesRule",
    "IpvsDestination",
    "IpvsService",
    "Item",
    "Kind",
    "Link",
    "Loopback",
    "Macvlan",
    "Neighbour",
    "Netem",
    "NextHop",
    "NftChain",
    "NftElement",
    "NftRule",
    "NftSet",
    "NftTable",
    "OtherKind",
    "Qdisc",
    "Route",
    "Rule",
    "Sysctl",
    "Tbf",
    "Tun",
    "Veth",
    "Vxlan",
    "Wireguard",
    "WireguardPeer",
]
