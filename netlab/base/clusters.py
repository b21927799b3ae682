"""What clusters are asked to be, in words: those who describe one and those who make one know the same."""

from __future__ import annotations

import re
from typing import Literal, get_args

from netlab.base.names import label_problem

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
NAME_MAX = 24
#: seconds that a node may be silent: as with the original, and at least, since a busy machine is late at times
NODE_GRACE, NODE_GRACE_MIN = 50, 5
#: addresses of nodes are of one /24, after those of the switch and of the machines outside
NODES_MAX = 100


def node_name(number: int) -> str:
    """What the node of that number is called: the control plane, then node1, node2 …"""
    return f"node{number}" if number else CONTROL_PLANE


def outside_problem(name: str) -> str | None:
    """What is wrong with the name of a machine outside. Its namespace is named as those of nodes are, and its cable's
    end on the switch after it."""
    if name in (SWITCH, CONTROL_PLANE) or re.fullmatch(r"node[0-9]+", name):
        return f"{name!r} is a name of the cluster's own"
    return label_problem(name, what="name of a machine outside", limit=len(CONTROL_PLANE))
