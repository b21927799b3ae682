"""The objects that a cluster has from the beginning, beyond those of any API server: the name server, where the
cluster is, and for inspection the configurations that the parts run under, where kubeadm has them.
"""

from __future__ import annotations

import json
from typing import Any

from netlab.cluster import networks, plan
from netlab.cluster.plan import Cluster

Json = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


def objects(cluster: Cluster, *, ca: bytes) -> list[Json]:
    """All of them. ca: the authority's certificate, in PEM."""
    return [*_dns(cluster), *_configurations(cluster), *_cluster_info(cluster, ca)]


def _dns(cluster: Cluster) -> list[Json]:
    """The name server is no pod: its Service has no selector, and its endpoint is the control plane."""
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]  # fmt: skip
    ip = str(cluster.control_plane.ips[0])
    service = {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": str(plan.DNS_IP), "ports": ports},
    }  # fmt: skip
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kube-dns", "namespace": "kube-system",
                     "labels": {"kubernetes.io/service-name": "kube-dns",
                                "endpointslice.kubernetes.io/managed-by": "cluster.netlab"}},
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}, "nodeName": cluster.control_plane.name}],
        "ports": ports,
    }  # fmt: skip
    return [service, endpoints]


def _configurations(cluster: Cluster) -> list[Json]:
    asked = cluster.options
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": asked.proxy,
        "clusterCIDR": ",".join(map(str, networks.pods(asked))),
    }  # fmt: skip
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "clusterDNS": [str(plan.DNS_IP)], "nodeLeaseDurationSeconds": plan.lease(asked),
    }  # fmt: skip
    found = [
        _config_map("kube-system", "kube-proxy", {"config.conf": _text(proxy)}),
        _config_map("kube-system", "kubelet-config", {"kubelet": _text(kubelet)}),
    ]
    if asked.network != "calico":
        found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-flannel"}})
        files = networks.pod_network(asked, cluster.control_plane.name).files
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


def token(identity: str, secret: str, *, expires: str) -> Json:
    """A bootstrap token, by which a machine may ask to become a node. expires: a time as the API writes it."""
    data = {
        "token-id": identity, "token-secret": secret, "expiration": expires, "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true", "description": "netlab cluster token",
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "stringData": data,
        "metadata": {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"},
    }  # fmt: skip


def _cluster_info(cluster: Cluster, ca: bytes) -> list[Json]:
    """Where the cluster is and by whom its certificates are signed, for whoever knows nothing of it yet."""
    import base64

    config = {
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "users": [], "contexts": [],
        "clusters": [{"name": "", "cluster": {"server": cluster.server,
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
