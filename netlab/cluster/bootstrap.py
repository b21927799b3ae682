"""The objects that a cluster has from the beginning, beyond those of any API server: the name server, where the
cluster is, and for inspection the configurations that the parts run under, where kubeadm has them.
"""

from __future__ import annotations

import base64
import json
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netlab.base.addresses import Address, Network
from netlab.cluster import networks, plan
from netlab.cluster.plan import Cluster

Json = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What nodes have to know of their cluster. server: the API server's URL; resolver: where the name server is, node:
    which Node that is, if it is one; dns: the address of its Service; pods: the prefixes of all pods; lease: seconds
    that a node's Lease is good for."""

    server: str
    resolver: Address
    node: str = ""
    dns: Address = plan.DNS_IP
    network: str
    proxy: str
    pods: Sequence[Network]
    lease: int


def facts(cluster: Cluster) -> Facts:
    """Those of a cluster on this machine."""
    asked, control_plane = cluster.options, cluster.control_plane
    return Facts(
        server=cluster.server, resolver=control_plane.ips[0], node=control_plane.name, network=asked.network,
        proxy=asked.proxy, pods=networks.pods(asked), lease=plan.lease(asked.node_monitor_grace_period),
    )  # fmt: skip


def objects(of: Facts, *, ca: bytes) -> list[Json]:
    """All of them. ca: the authority's certificate, in PEM."""
    return [*_dns(of), *_configurations(of), *_cluster_info(of, ca), *_joining()]


def _dns(of: Facts) -> list[Json]:
    """The name server is no pod: its Service has no selector, and its endpoint is the control plane."""
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]  # fmt: skip
    endpoint: Json = {"addresses": [str(of.resolver)], "conditions": {"ready": True}}
    if of.node:
        endpoint["nodeName"] = of.node
    service = {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": str(of.dns), "ports": ports},
    }  # fmt: skip
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f"IPv{of.resolver.version}",
        "metadata": {"name": "kube-dns", "namespace": "kube-system",
                     "labels": {"kubernetes.io/service-name": "kube-dns",
                                "endpointslice.kubernetes.io/managed-by": "cluster.netlab"}},
        "endpoints": [endpoint], "ports": ports,
    }  # fmt: skip
    return [service, endpoints]


def _configurations(of: Facts) -> list[Json]:
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": of.proxy,
        "clusterCIDR": ",".join(map(str, of.pods)),
    }  # fmt: skip
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "clusterDNS": [str(of.dns)], "nodeLeaseDurationSeconds": of.lease,
    }  # fmt: skip
    found = [
        _config_map("kube-system", "kube-proxy", {"config.conf": _text(proxy)}),
        _config_map("kube-system", "kubelet-config", {"kubelet": _text(kubelet)}),
    ]
    if of.network in networks.FLANNEL:
        found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-flannel"}})
        files = networks.flannel_files(of.network, of.pods)
        data = {path.rpartition("/")[2]: text for path, text in files.items()}
        found.append(_config_map("kube-flannel", "kube-flannel-cfg", data))
        found += _readable("kube-flannel", "kube-flannel-cfg")
    return [*found, *_readable("kube-system", "kube-proxy"), *_readable("kube-system", "kubelet-config")]


def _readable(namespace: str, name: str) -> list[Json]:
    """Whoever has become a node reads there what nodes of this cluster have in common."""
    where = {"name": f"netlab:{name}", "namespace": namespace}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": ["get"]}
    nodes = {"apiGroup": _RBAC, "kind": "Group", "name": "system:nodes"}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": where, "rules": [rule]},
        {"apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding", "metadata": where, "subjects": [nodes],
         "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": where["name"]}},
    ]  # fmt: skip


def new_token() -> str:
    """Six letters that name it, and sixteen that are secret."""
    letters = string.ascii_lowercase + string.digits
    return ".".join("".join(secrets.choice(letters) for _ in range(count)) for count in (6, 16))


def token(text: str, *, expires: str) -> Json:
    """A bootstrap token, by which a machine may ask to become a node. expires: a time as the API writes it."""
    identity, _, secret = text.partition(".")
    data = {
        "token-id": identity, "token-secret": secret, "expiration": expires, "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true", "description": "made by netlab",
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "stringData": data,
        "metadata": {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"},
    }  # fmt: skip


def _joining() -> list[Json]:
    """Whoever has a bootstrap token may see whether the name of its node is taken, as kubeadm has it."""
    name = "kubeadm:get-nodes"
    group = {"apiGroup": _RBAC, "kind": "Group", "name": "system:bootstrappers"}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name},
         "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]},
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}, "subjects": [group],
         "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}},
    ]  # fmt: skip


def _cluster_info(of: Facts, ca: bytes) -> list[Json]:
    """Where the cluster is and by whom its certificates are signed, for whoever knows nothing of it yet."""
    config = {
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "users": [], "contexts": [],
        "clusters": [{"name": "", "cluster": {"server": of.server,
                                              "certificate-authority-data": base64.b64encode(ca).decode()}}],
    }  # fmt: skip
    name = "kubeadm:bootstrap-signer-clusterinfo"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cluster-info"], "verbs": ["get"]}
    where = {"name": name, "namespace": "kube-public"}
    anybody = {"apiGroup": _RBAC, "kind": "User", "name": "system:anonymous"}
    return [
        _config_map("kube-public", "cluster-info", {"kubeconfig": _text(config)}),
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": where, "rules": [rule]},
        {"apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding", "metadata": where, "subjects": [anybody],
         "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name}},
    ]  # fmt: skip


def _config_map(namespace: str, name: str, data: dict[str, str]) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _text(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
