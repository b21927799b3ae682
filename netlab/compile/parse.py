"""API objects in, small values out: the door of the compilers. Every problem of every object is told at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netlab.base.addresses import inside
from netlab.base.errors import InputError, Problem
from netlab.base.manifests import Manifest
from netlab.compile.fields import PROTOCOLS, Fields
from netlab.compile.objects import (
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE,
    TAINT_LEAVING,
    ContainerPort,
    Endpoint,
    EndpointSlice,
    Namespace,
    NetworkPolicy,
    Node,
    Objects,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Ref,
    Requirement,
    Selector,
    Service,
    ServicePort,
    SlicePort,
    Value,
)

#: seconds that ClientIP affinity lasts unless the Service says otherwise
AFFINITY_DEFAULT = 10800
_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_POLICIES = ("Cluster", "Local")
_IN_NO_NAMESPACE = ("Namespace", "Node")
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def objects(manifests: Iterable[Manifest | Mapping[str, Any]]) -> Objects:
    """Manifests as values; kinds that no compiler needs are passed over. InputError with every problem."""
    problems: list[Problem] = []
    found: dict[str, dict[tuple[str, str], Any]] = {kind: {} for kind in _PARSERS}
    endpoints: dict[tuple[str, str], EndpointSlice] = {}
    for manifest in manifests:
        manifest = manifest if isinstance(manifest, Manifest) else Manifest(manifest)
        data = manifest.data
        if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
            problems.append(_no_object(manifest))
            continue
        kind = data["kind"]
        if kind not in _PARSERS and kind != "Endpoints":
            continue
        fields = _fields(manifest, problems)
        if kind == "Endpoints":
            for mirrored in _endpoints(fields):
                endpoints[mirrored.namespace, mirrored.name] = mirrored
            continue
        value = _PARSERS[kind](fields)
        key = (getattr(value, "namespace", ""), value.name)
        if key in found[kind]:
            fields.complain("metadata.name", "is that of another object of the same kind", "remove one of the two")
        found[kind][key] = value
    if problems:
        raise InputError(sorted(set(problems)))
    # Endpoints stand for a Service's slices only where nobody else made some
    sliced = {(s.namespace, s.service) for s in found["EndpointSlice"].values()}
    for key, mirrored in endpoints.items():
        if (mirrored.namespace, mirrored.service) not in sliced:
            found["EndpointSlice"][key] = mirrored
    parts = {kind: tuple(values[key] for key in sorted(values)) for kind, values in found.items()}
    return Objects(
        parts["Service"], parts["EndpointSlice"], parts["Pod"], parts["Namespace"], parts["Node"],
        parts["NetworkPolicy"],
    )  # fmt: skip


def one(data: Mapping[str, Any]) -> Any:
    """One object. InputError if it is wrong, or of a kind that no compiler needs."""
    found = value(data)
    if found is None:
        known = ", ".join(_PARSERS)
        raise InputError([Problem(str(ref(data)), f"no compiler reads this kind; known are {known}")])
    return found


def value(manifest: Manifest | Mapping[str, Any]) -> Value | None:
    """One object, None of a kind that no compiler needs. InputError with every problem."""
    manifest = manifest if isinstance(manifest, Manifest) else Manifest(manifest)
    data, problems = manifest.data, list[Problem]()
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise InputError([_no_object(manifest)])
    kind = data["kind"]
    if kind not in _PARSERS and kind != "Endpoints":
        return None
    fields = _fields(manifest, problems)
    found: Value = tuple(_endpoints(fields)) if kind == "Endpoints" else _PARSERS[kind](fields)
    if problems:
        raise InputError(problems)
    return found


def ref(data: Any) -> Ref:
    """Which object it is, whatever else is wrong with it."""
    data = data if isinstance(data, dict) else {}
    meta = data.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    kind = str(data.get("kind"))
    return Ref(kind, "" if kind in _IN_NO_NAMESPACE else str(meta.get("namespace") or "default"), str(meta.get("name")))


def _no_object(manifest: Manifest) -> Problem:
    return Problem(manifest.place() or "an object", "expected an API object", "it needs apiVersion, kind, metadata")


def _fields(manifest: Manifest, problems: list[Problem]) -> Fields:
    meta = manifest.data.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    name = meta.get("name", "(no name)")
    space = meta.get("namespace")
    what = f"{manifest.data.get('kind')} {space}/{name}" if space else f"{manifest.data.get('kind')} {name}"
    return Fields(manifest.data, manifest, problems, what)


def _name(f: Fields) -> tuple[str, str]:
    return f.get("metadata.namespace", str, "default"), f.name("metadata.name")


def _service(f: Fields) -> Service:
    namespace, name = _name(f)
    kind = f.choice("spec.type", _TYPES, "ClusterIP")
    ips = f.texts("spec.clusterIPs") or tuple(filter(None, [f.get("spec.clusterIP", str, "")]))
    headless = "None" in ips
    cluster_ips = tuple(ip for ip in (f.addressed("spec.clusterIP", i) for i in ips if i != "None") if ip)
    affinity = 0
    if f.choice("spec.sessionAffinity", ("None", "ClientIP"), "None") == "ClientIP":
        affinity = f.get("spec.sessionAffinityConfig.clientIP.timeoutSeconds", int, AFFINITY_DEFAULT)
        if not 1 <= affinity <= 86400:
            f.complain("spec.sessionAffinityConfig.clientIP.timeoutSeconds", f"is {affinity}, expected 1 to 86400")
    families = tuple(6 if text == "IPv6" else 4 for text in f.texts("spec.ipFamilies"))
    if not families:
        families = tuple(ipaddress.ip_address(ip).version for ip in cluster_ips) or (4,)
    ports = tuple(_service_port(p) for p in f.within("spec.ports"))
    seen: set[tuple[str, int]] = set()
    for port in ports:
        if len(ports) > 1 and not port.name:
            f.complain(
                "spec.ports", f"has no name for port {port.port}", "every port needs one where there are several"
            )
        if (port.protocol, port.port) in seen:
            f.complain("spec.ports", f"has port {port.port}/{port.protocol} twice", "remove one of the two")
        seen.add((port.protocol, port.port))
    if kind == "ExternalName" and not f.get("spec.externalName", str, ""):
        f.complain("spec.externalName", "is missing", "an ExternalName Service needs the name that it stands for")
    elif kind == "ExternalName":
        f.domain("spec.externalName")
    balancers = [
        i.address("ip") for i in f.within("status.loadBalancer.ingress") if i.get("ipMode", str, "VIP") == "VIP"
    ]
    ranges = (f.network("spec.loadBalancerSourceRanges", r) for r in f.texts("spec.loadBalancerSourceRanges"))
    annotations = f.labels("metadata.annotations")
    hints = annotations.get("service.kubernetes.io/topology-mode", "").lower() == "auto"
    return Service(
        namespace=namespace,
        name=name,
        type=kind,
        ports=ports,
        cluster_ips=() if kind == "ExternalName" else cluster_ips,
        external_ips=tuple(i for i in (f.addressed("spec.externalIPs", t) for t in f.texts("spec.externalIPs")) if i),
        balancer_ips=tuple(filter(None, balancers)) if kind == "LoadBalancer" else (),
        source_ranges=tuple(r for r in ranges if r) if kind == "LoadBalancer" else (),
        affinity=affinity,
        internal_local=f.choice("spec.internalTrafficPolicy", _POLICIES, "Cluster") == "Local",
        external_local=f.choice("spec.externalTrafficPolicy", _POLICIES, "Cluster") == "Local",
        health_port=f.port("spec.healthCheckNodePort"),
        selector=f.labels("spec.selector") or None,
        publish_not_ready=f.get("spec.publishNotReadyAddresses", bool, False),
        headless=headless,
        external_name=f.get("spec.externalName", str, ""),
        families=families,
        labels=f.labels("metadata.labels"),
        hints=hints or bool(f.get("spec.trafficDistribution", str, "")),
        uid=f.get("metadata.uid", str, ""),
    )


def _service_port(f: Fields) -> ServicePort:
    port = f.port("port", zero=False)
    target = f.data.get("targetPort")
    if not isinstance(target, int | str) or isinstance(target, bool) or target in ("", 0):
        if target not in (None, "", 0):
            f.complain("targetPort", f"is {target!r}, expected a number or the name of a container's port")
        target = port
    return ServicePort(f.get("name", str, ""), f.protocol(), port, target, f.port("nodePort"))


def _slice(f: Fields) -> EndpointSlice:
    namespace, name = _name(f)
    labels = f.labels("metadata.labels")
    family = {"IPv4": 4, "IPv6": 6, "FQDN": 0}[f.choice("addressType", ("IPv4", "IPv6", "FQDN"), "IPv4")]
    ports = tuple(
        SlicePort(p.get("name", str, "") if p.data.get("name") is not None else None, p.protocol(), p.port("port"))
        for p in f.within("ports")
    )
    endpoints = []
    for item in f.get("endpoints", list, []):
        try:
            address = item["addresses"][0]
            conditions = item.get("conditions") or {}
            ready, serving = conditions.get("ready"), conditions.get("serving")
            hints = item.get("hints")
            node, host, target = item.get("nodeName"), item.get("hostname") or "", item.get("targetRef")
            name_of = (target.get("name") or "") if target else ""
            zones = tuple(zone["name"] for zone in hints.get("forZones") or ()) if hints else ()
            for text in (address, node or "", host, name_of, *zones):
                if not isinstance(text, str):
                    raise TypeError(f"{text!r} is no text")
        except (KeyError, IndexError, TypeError, AttributeError):
            f.complain("endpoints", f"holds {item!r}", "every endpoint needs addresses, with one address")
            continue
        endpoints.append(
            Endpoint(
                address if not family else f.addressed("endpoints", address) if ":" in address else address,
                ready is None or ready is True,
                serving is None or serving is True,
                conditions.get("terminating") is True,
                node,
                zones,
                host,
                name_of,
            )
        )
    return EndpointSlice(
        namespace, name, labels.get(LABEL_SERVICE, ""), family, ports, tuple(endpoints),
        labels.get(LABEL_MANAGED_BY, ""),
    )  # fmt: skip


def _endpoints(f: Fields) -> list[EndpointSlice]:
    """An Endpoints object as the slices that the mirroring controller would make of it."""
    namespace, name = _name(f)
    if f.labels("metadata.labels").get(LABEL_HEADLESS) is not None and not f.data.get("subsets"):
        return []
    found = []
    for number, subset in enumerate(f.within("subsets")):
        ports = tuple(
            SlicePort(p.get("name", str, ""), p.protocol(), p.port("port", zero=False)) for p in subset.within("ports")
        )
        listed: dict[int, list[Endpoint]] = {4: [], 6: []}
        for key, ready in (("addresses", True), ("notReadyAddresses", False)):
            for item in subset.within(key):
                address = item.address("ip")
                if address:
                    node = item.get("nodeName", str, "") or None
                    target = item.get("targetRef.name", str, "")
                    host = item.get("hostname", str, "")
                    listed[6 if ":" in address else 4].append(
                        Endpoint(address, ready, ready, False, node, (), host, target)
                    )
        mirror = "endpointslicemirroring-controller.k8s.io"
        for family, endpoints in listed.items():
            if endpoints:
                own = f"{name}-mirrored-{number}-{family}"
                found.append(EndpointSlice(namespace, own, name, family, ports, tuple(endpoints), mirror))
    return found


def _pod(f: Fields) -> Pod:
    namespace, name = _name(f)
    ips = [i.address("ip") for i in f.within("status.podIPs")] or [f.address("status.podIP")]
    conditions = {c.get("type", str, ""): c.get("status", str, "") for c in f.within("status.conditions")}
    phase = f.get("status.phase", str, "Running")
    ports = tuple(
        ContainerPort(p.get("name", str, ""), p.protocol(), p.port("containerPort", zero=False))
        for container in f.within("spec.containers")
        for p in container.within("ports")
    )
    return Pod(
        namespace=namespace,
        name=name,
        ips=tuple(filter(None, ips)),
        labels=f.labels("metadata.labels"),
        node=f.get("spec.nodeName", str, ""),
        host_network=f.get("spec.hostNetwork", bool, False),
        # a manifest of a lab needs no conditions: a pod that runs and says nothing of itself is ready
        ready=conditions.get("Ready", "True") == "True" and phase == "Running",
        finished=phase in ("Succeeded", "Failed"),
        terminating=f.get("metadata.deletionTimestamp", str, "") != "",
        ports=ports,
        hostname=f.get("spec.hostname", str, ""),
        subdomain=f.get("spec.subdomain", str, ""),
        uid=f.get("metadata.uid", str, ""),
    )


def _namespace(f: Fields) -> Namespace:
    return Namespace(f.name("metadata.name"), f.labels("metadata.labels"))


def _node(f: Fields) -> Node:
    addresses = [
        a.address("address")
        for a in f.within("status.addresses")
        if a.get("type", str, "InternalIP") in ("InternalIP", "ExternalIP")
    ]
    cidrs = f.texts("spec.podCIDRs") or tuple(filter(None, [f.get("spec.podCIDR", str, "")]))
    return Node(
        f.name("metadata.name"),
        tuple(filter(None, addresses)),
        f.labels("metadata.labels"),
        tuple(n for n in (f.network("spec.podCIDR", c) for c in cidrs) if n),
        f.get("metadata.deletionTimestamp", str, "") != ""
        or any(t.get("key", str, "") == TAINT_LEAVING for t in f.within("spec.taints")),
    )


def _selector(f: Fields | None) -> Selector:
    if f is None:
        return Selector()
    expressions = []
    for e in f.within("matchExpressions"):
        operator = e.choice("operator", _OPERATORS, "Exists")
        values = e.texts("values")
        if operator in ("In", "NotIn") and not values:
            e.complain("values", "is missing", f"{operator} needs at least one value")
        if operator in ("Exists", "DoesNotExist") and values:
            e.complain("values", f"is given, but {operator} takes none")
        expressions.append(Requirement(e.get("key", str, ""), operator, tuple(sorted(values))))
    return Selector(tuple(sorted(f.labels("matchLabels").items())), tuple(sorted(expressions)))


def _policy(f: Fields) -> NetworkPolicy:
    namespace, name = _name(f)
    types = f.texts("spec.policyTypes")
    for word in types:
        if word not in ("Ingress", "Egress"):
            f.complain("spec.policyTypes", f"holds {word!r}", "known are Ingress, Egress")
    if not types:
        types = ("Ingress", "Egress") if f.get("spec.egress", list, []) else ("Ingress",)
    ingress = tuple(_rule(r, "from") for r in f.within("spec.ingress"))
    egress = tuple(_rule(r, "to") for r in f.within("spec.egress"))
    return NetworkPolicy(
        namespace,
        name,
        _selector(f.sub("spec.podSelector")),
        ingress if "Ingress" in types else None,
        egress if "Egress" in types else None,
    )


def _rule(f: Fields, key: str) -> PolicyRule:
    peers = tuple(_peer(p) for p in f.within(key))
    ports = tuple(_policy_port(p) for p in f.within("ports"))
    return PolicyRule(peers or None, ports or None)


def _peer(f: Fields) -> Peer:
    block = f.sub("ipBlock")
    pods, spaces = f.sub("podSelector"), f.sub("namespaceSelector")
    if block is not None:
        if pods is not None or spaces is not None:
            f.complain("ipBlock", "stands beside a selector", "make them two items of the list: they are then OR-ed")
        cidr = block.network("cidr", block.get("cidr", str, ""))
        excepts = tuple(n for n in (block.network("except", e) for e in block.texts("except")) if n)
        for inner in excepts:
            if cidr and not _inside(inner, cidr):
                block.complain("except", f"holds {inner}, which is not inside {cidr}")
        return Peer(cidr=cidr, excepts=excepts)
    if pods is None and spaces is None:
        f.complain("", "selects nothing", "it needs a podSelector, a namespaceSelector or an ipBlock")
    return Peer(
        _selector(pods) if pods is not None else None,
        _selector(spaces) if spaces is not None else None,
    )


def _inside(inner: str, outer: str) -> bool:
    a, b = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    return a != b and inside(a, b)


def _policy_port(f: Fields) -> PolicyPort:
    port = f.data.get("port")
    if port is not None and (not isinstance(port, int | str) or isinstance(port, bool)):
        f.complain("port", f"is {port!r}, expected a number or the name of a port")
        port = None
    if isinstance(port, int) and not 1 <= port <= 65535:
        f.complain("port", f"is {port}, expected a port from 1 to 65535")
    end = f.port("endPort")
    if end and (not isinstance(port, int) or end < port):
        f.complain("endPort", f"is {end} with port {port!r}", "a range needs a numeric port that is not above its end")
    return PolicyPort(f.protocol(), port, end)


_PARSERS: dict[str, Callable[[Fields], Any]] = {
    "Service": _service,
    "EndpointSlice": _slice,
    "Pod": _pod,
    "Namespace": _namespace,
    "Node": _node,
    "NetworkPolicy": _policy,
}
__all__ = ["PROTOCOLS", "objects", "one", "ref", "value"]
