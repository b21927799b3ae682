"""Pods and a Service's selector to EndpointSlices and Endpoints: what controllers write and a lab's manifests imply.

Facts: staging/src/k8s.io/endpointslice (reconciler.go, utils.go: podToEndpoint, getEndpointPorts), Kubernetes 1.30;
pkg/controller/endpoint and pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netlab.compile.objects import (
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE,
    EndpointSlice,
    Node,
    Pod,
    Service,
    SlicePort,
)
from netlab.compile.parse import one

MANAGED_BY = "endpointslice-controller.k8s.io"
MIRRORED_BY = "endpointslicemirroring-controller.k8s.io"
#: what says of Endpoints that the controller made them
LABEL_ENDPOINTS_BY, ENDPOINTS_BY = "endpoints.kubernetes.io/managed-by", "endpoint-controller"
#: what an address of Endpoints says beside itself
_NAMED: tuple[str, ...] = ("hostname", "nodeName", "targetRef")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
#: the controller's default for --max-endpoints-per-slice
SLICE_MAX = 100


def selects(service: Service, pod: Pod) -> bool:
    """Whether the pod belongs to the Service: by its labels, and because it still runs somewhere with an address."""
    if service.selector is None or pod.namespace != service.namespace or pod.finished or not pod.ips:
        return False
    return all(pod.labels.get(key) == value for key, value in service.selector.items())


def endpoint_ports(service: Service, pod: Pod) -> tuple[SlicePort, ...] | None:
    """The ports at which this pod serves; a named target that it does not declare is left out.

    None if the Service has ports and the pod none of them: it is then no endpoint.
    """
    found = []
    for port in service.ports:
        if isinstance(port.target, int):
            found.append(SlicePort(port.name, port.protocol, port.target))
            continue
        for declared in pod.ports:
            if declared.name == port.target and declared.protocol == port.protocol:
                found.append(SlicePort(port.name, port.protocol, declared.port))
                break
    return None if service.ports and not found else tuple(found)


def _address(pod: Pod, family: int) -> str | None:
    return next((ip for ip in pod.ips if (":" in ip) == (family == 6)), None)


def slices(service: Service, pods: Iterable[Pod], nodes: Mapping[str, Node] | None = None) -> list[dict[str, Any]]:
    """The slices that a Service should have, as API objects without a name (`generateName` says how it begins).

    One slice per address family and set of port numbers, split at SLICE_MAX endpoints, in the order of the pods'
    names. Nothing for a Service without a selector: its slices are somebody else's.
    """
    if service.selector is None or service.type == "ExternalName":
        return []
    nodes = nodes or {}
    chosen = sorted((pod for pod in pods if selects(service, pod)), key=lambda pod: pod.key)
    out: list[dict[str, Any]] = []
    for family in service.families:
        groups: dict[tuple[SlicePort, ...], list[dict[str, Any]]] = {}
        for pod in chosen:
            address, ports = _address(pod, family), endpoint_ports(service, pod)
            if address is not None and ports is not None:
                groups.setdefault(ports, []).append(_endpoint(service, pod, address, nodes.get(pod.node)))
        # without any pod there is exactly one slice, with no endpoints and no ports, so that readers see "none"
        for ports, endpoints in groups.items() or [((), [])]:
            starts = range(0, max(1, len(endpoints)), SLICE_MAX)
            out += [_slice(service, family, ports, endpoints[at : at + SLICE_MAX]) for at in starts]
    return out


def _endpoint(service: Service, pod: Pod, address: str, node: Node | None) -> dict[str, Any]:
    serving = pod.ready
    endpoint: dict[str, Any] = {
        "addresses": [address],
        "conditions": {
            "ready": service.publish_not_ready or (serving and not pod.terminating),
            "serving": serving,
            "terminating": pod.terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            **({"uid": pod.uid} if pod.uid else {}),
        },
    }
    if pod.node:
        endpoint["nodeName"] = pod.node
    if node is not None and node.zone:
        endpoint["zone"] = node.zone
    if pod.hostname and pod.subdomain == service.name:
        endpoint["hostname"] = pod.hostname
    return endpoint


def _port(port: SlicePort) -> dict[str, Any]:
    return {"name": port.name, "protocol": port.protocol.upper(), "port": port.port}


def _slice(
    service: Service, family: int, ports: tuple[SlicePort, ...], endpoints: list[dict[str, Any]]
) -> dict[str, Any]:
    labels = {**service.labels, LABEL_SERVICE: service.name, LABEL_MANAGED_BY: MANAGED_BY}
    if service.headless:
        labels[LABEL_HEADLESS] = ""
    owner = {
        "apiVersion": "v1", "kind": "Service", "name": service.name, "uid": service.uid, "controller": True,
        "blockOwnerDeletion": True,
    }  # fmt: skip
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{service.name}-",
            "namespace": service.namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "addressType": f"IPv{family}",
        "ports": [_port(p) for p in ports],
        "endpoints": endpoints,
    }


def subsets(service: Service, pods: Iterable[Pod]) -> list[dict[str, Any]]:
    """The subsets of the Endpoints of a Service: its first family only, and no pod that is going.

    One subset for each set of port numbers, addresses in the order of the pods' names.
    """
    groups: dict[tuple[SlicePort, ...], dict[str, list[dict[str, Any]]]] = {}
    for pod in sorted((pod for pod in pods if selects(service, pod)), key=lambda pod: pod.key):
        address, ports = _address(pod, service.families[0]), endpoint_ports(service, pod)
        going = pod.terminating and not service.publish_not_ready
        if address is None or ports is None or going or not (ports or service.headless):
            continue
        endpoint = _endpoint(service, pod, address, None)
        named = {name: endpoint[name] for name in _NAMED if name in endpoint}
        ready = "addresses" if pod.ready or service.publish_not_ready else "notReadyAddresses"
        groups.setdefault(ports, {}).setdefault(ready, []).append({"ip": address, **named})
    return [
        {**addresses, **({"ports": [_port(p) for p in ports]} if ports else {})} for ports, addresses in groups.items()
    ]


def mirrored(endpoints: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The slices of Endpoints that a person made: one for each subset and family, split at SLICE_MAX endpoints."""
    meta = endpoints["metadata"]
    labels = {**(meta.get("labels") or {}), LABEL_SERVICE: meta["name"], LABEL_MANAGED_BY: MIRRORED_BY}
    notes = {name: value for name, value in (meta.get("annotations") or {}).items() if name != _LAST_APPLIED}
    owner = {
        "apiVersion": "v1", "kind": "Endpoints", "name": meta["name"], "uid": meta["uid"], "controller": True,
        "blockOwnerDeletion": True,
    }  # fmt: skip
    head: dict[str, Any] = {
        "generateName": f"{meta['name']}-", "namespace": meta["namespace"], "labels": labels,
        "ownerReferences": [owner], **({"annotations": notes} if notes else {}),
    }  # fmt: skip
    out: list[dict[str, Any]] = []
    for subset in endpoints.get("subsets") or ():
        families: dict[str, list[dict[str, Any]]] = {}
        for key, ready in (("addresses", True), ("notReadyAddresses", False)):
            for item in subset.get(key) or ():
                named = {name: item[name] for name in _NAMED if item.get(name)}
                endpoint = {"addresses": [item["ip"]], "conditions": {"ready": ready}, **named}
                families.setdefault("IPv6" if ":" in item["ip"] else "IPv4", []).append(endpoint)
        ports = [{"name": "", **port} for port in subset.get("ports") or ()]
        for family, listed in families.items():
            for at in range(0, len(listed), SLICE_MAX):
                piece = {"addressType": family, "ports": ports, "endpoints": listed[at : at + SLICE_MAX]}
                out.append({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": head, **piece})
    return out


def implied_slices(service: Service, pods: Iterable[Pod], nodes: Mapping[str, Node]) -> tuple[EndpointSlice, ...]:
    """The slices that a Service has once the controller has run, by names without chance."""
    made = []
    for number, data in enumerate(slices(service, pods, nodes)):
        meta = {**data["metadata"], "name": f"{service.name}-{number}"}
        made.append(one({**data, "metadata": meta}))
    return tuple(made)
