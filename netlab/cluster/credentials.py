"""Who may speak to whom: the cluster's authority, a client certificate for each node and for the administrator, and the
certificates that kubelets serve with. Made before anything runs, so that everything can start at once.

What is in a node's /etc/kubernetes: ca.crt, kubelet.crt and kubelet.key (serving), kubelet.conf (its kubeconfig),
agent.json. The authority itself is in the API server's data directory, which makes nothing that is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from netlab.apiserver import certs
from netlab.apiserver.certs import Authority
from netlab.base.addresses import Address
from netlab.client.kubeconfig import kubeconfig
from netlab.cluster import plan
from netlab.cluster.plan import Cluster, Node

#: the group and the name by which the API server knows a node
NODES, NODE = "system:nodes", "system:node:"


def authority(cluster: Cluster) -> Authority:
    """The cluster's, made if there is none."""
    return Authority.open(_server(cluster) / "pki")


def token_key(cluster: Cluster) -> None:
    """The key that signs tokens. Making it takes longer than all the rest, so the caller may do it beside."""
    certs.token_key(_server(cluster) / "pki")


def _server(cluster: Cluster) -> Path:
    return cluster.control_plane.own[plan.DATA] / "server"


def administrator(cluster: Cluster, ca: Authority) -> dict[Path, bytes]:
    """The kubeconfigs of whoever may do anything: on this machine, and on the control plane."""
    admin = ca.kept("admin", "kubernetes-admin", ("system:masters",))
    files = {}
    for path, server in (
        (cluster.kubeconfig, cluster.outer),
        (cluster.control_plane.own[plan.KUBERNETES] / "admin.conf", cluster.server),
    ):
        files[path] = kubeconfig(server, ca.pair.cert, cert=admin.cert, key=admin.key, name=cluster.name)
    return files


def of_node(cluster: Cluster, node: Node, ca: Authority) -> dict[Path, bytes]:
    """The files of a node, by their path on this machine. Whoever reads them can act as the node."""
    directory = node.own[plan.KUBERNETES]
    files = signed(ca, cluster.server, node=node.name, ips=node.ips, name=cluster.name)
    files["agent.json"] = orjson.dumps(plan.agent(cluster, node), option=orjson.OPT_INDENT_2)
    return {directory / name: content for name, content in files.items()}


def signed(ca: Authority, server: str, *, node: str, ips: Sequence[Address], name: str = "netlab") -> dict[str, bytes]:
    """What makes a node of whoever has it, by name of the file. server: its URL; name: of the cluster."""
    client = ca.issue(f"{NODE}{node}", (NODES,))
    serving = ca.issue(f"{NODE}{node}", (NODES,), addresses=[node, *map(str, ips)], server=True)
    config = kubeconfig(server, ca.pair.cert, cert=client.cert, key=client.key, user=f"{NODE}{node}", name=name)
    return {"ca.crt": ca.pair.cert, "kubelet.crt": serving.cert, "kubelet.key": serving.key, "kubelet.conf": config}
