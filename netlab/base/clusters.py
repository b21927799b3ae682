"""What clusters are asked to be, in words: those who describe one and those who make one know the same."""

from __future__ import annotations

from typing import Literal, get_args

NetworkName = Literal["flannel-vxlan", "flannel-udp", "flannel-host-gw", "calico"]
ProxyMode = Literal["iptables", "ipvs", "nftables"]
StoreKind = Literal["sqlite", "etcd"]
NETWORKS: tuple[str, ...] = get_args(NetworkName)
PROXIES: tuple[str, ...] = get_args(ProxyMode)
STORES: tuple[str, ...] = get_args(StoreKind)

#: the node that the API server runs on
CONTROL_PLANE = "control-plane"
#: the wire between the nodes, and the world outside of them
SWITCH = "lan"
#: namespaces are `<cluster>.<node>`, and the longest name of a node is CONTROL_PLANE
NAME_MAX = 20
#: seconds that a node may be silent: as with the original, and at least, since a busy machine is late at times
NODE_GRACE, NODE_GRACE_MIN = 50, 5
#: addresses of nodes are of one /24, after those of the switch and of the machines outside
NODES_MAX = 100


def node_name(number: int) -> str:
    """What the node of that number is called: the control plane, then node1, node2 …"""
    return f"node{number}" if number else CONTROL_PLANE
