"""The pod networks to choose from: what each node finds in /etc/cni/net.d, and what the network's agent is told.

Names of files and networks are those of the originals' manifests (flannel's kube-flannel.yml, Calico's calico.yaml).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from netlab.base.addresses import Network
from netlab.cluster.options import Options
from netlab.overlay.backends import udp, vxlan

#: all pods of a cluster, and a node's part of it; the second family's for --ipv6
PODS, PODS6 = IPv4Network("10.244.0.0/16"), IPv6Network("fd00:10:244::/48")
CNI_DIR, CNI_BIN = "/etc/cni/net.d", "/opt/cni/bin"
NET_CONF = "/etc/kube-flannel/net-conf.json"
#: where a node finds Calico's objects, a directory that all nodes of a cluster share
DATASTORE = "/etc/calico/objects"

_BACKENDS: dict[str, dict[str, Any]] = {
    "flannel-vxlan": {"Type": "vxlan"},
    "flannel-udp": {"Type": "udp"},
    "flannel-host-gw": {"Type": "host-gw"},
}
#: those that other machines can join
FLANNEL = tuple(_BACKENDS)


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """files: of each node, by path; flannel: whether its agent is flanneld; bridged: whether pods hang on a bridge."""

    files: dict[str, str]
    flannel: bool
    bridged: bool


def pods(asked: Options) -> tuple[IPv4Network | IPv6Network, ...]:
    """The prefixes of all pods."""
    return (PODS, PODS6) if asked.ipv6 else (PODS,)


def pod_mtu(asked: Options, wire: int = 1500) -> int:
    """Octets of the longest packet of a pod, on a wire that takes so many."""
    match asked.network:
        case "flannel-vxlan":
            return wire - vxlan.OVERHEAD[6 if asked.ipv6 else 4]
        case "flannel-udp":
            return wire - udp.OVERHEAD
        case _:
            return wire


def flannel_config(network: str, pods: Sequence[Network]) -> dict[str, Any]:
    """net-conf.json. pods: the prefixes of all pods. ValueError if the network is none of flannel's."""
    if network not in _BACKENDS:
        raise ValueError(f"{network} is not flannel's")
    of = {prefix.version: str(prefix) for prefix in pods}
    four = {"Network": of[4]} if 4 in of else {"EnableIPv4": False}
    six = {"EnableIPv6": True, "IPv6Network": of[6]} if 6 in of else {}
    return {**four, **six, "Backend": _BACKENDS[network]}


def flannel_files(network: str, pods: Sequence[Network]) -> dict[str, str]:
    """What each node of a flannel network finds, by path."""
    return {f"{CNI_DIR}/10-flannel.conflist": _text(_flannel()), NET_CONF: _text(flannel_config(network, pods))}


def pod_network(asked: Options, node: str) -> PodNetwork:
    """What the network is on a node."""
    if asked.network == "calico":
        return PodNetwork({f"{CNI_DIR}/10-calico.conflist": _text(_calico(node))}, flannel=False, bridged=False)
    return PodNetwork(flannel_files(asked.network, pods(asked)), flannel=True, bridged=True)


def _flannel() -> dict[str, Any]:
    delegate = {"hairpinMode": True, "isDefaultGateway": True}
    plugins = [{"type": "flannel", "delegate": delegate}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return {"name": "cbr0", "cniVersion": "1.0.0", "plugins": plugins}


def _calico(node: str) -> dict[str, Any]:
    calico = {
        "type": "calico", "nodename": node, "ipam": {"type": "calico-ipam"}, "datastore_type": "file",
        "datastore": DATASTORE,
    }  # fmt: skip
    plugins = [calico, {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}]
    return {"name": "k8s-pod-network", "cniVersion": "1.0.0", "plugins": plugins}


def calico_objects(asked: Options, addresses: dict[str, list[str]]) -> list[dict[str, Any]]:
    """What the datastore begins with. addresses: of each node, with their prefix lengths."""

    def obj(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    pools = [obj("IPPool", "default-ipv4-ippool", {"cidr": str(PODS), "ipipMode": "Never", "natOutgoing": True,
                                                   "blockSize": 26})]  # fmt: skip
    if asked.ipv6:
        pools.append(obj("IPPool", "default-ipv6-ippool", {"cidr": str(PODS6), "natOutgoing": True, "blockSize": 122}))
    nodes = [
        obj("Node", name, {"bgp": {f"ipv{6 if ':' in a else 4}Address": a for a in own}})
        for name, own in addresses.items()
    ]
    return [*pools, *nodes]


def _text(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
