"""Random small clusters for hypothesis: three nodes, pods on them, Services or policies over them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NODES = ("n1", "n2", "n3")
NODE_IPS = {name: f"192.168.0.{i}" for i, name in enumerate(NODES, 1)}
SPACES = {"x": {"team": "x"}, "y": {"team": "y", "env": ""}, "z": {}}
OUTSIDE = "203.0.113.9"


def node(name: str) -> dict[str, Any]:
    number = NODES.index(name) + 1
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": f"10.244.{number}.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE_IPS[name]}]},
    }


def pod(space: str, name: str, where: str, ip: str, **more: Any) -> dict[str, Any]:
    ports = more.get("ports") or []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": space, "name": name, "labels": more.get("labels") or {"pod": name}},
        "spec": {
            "nodeName": where,
            "hostNetwork": more.get("host", False),
            "containers": [
                {"name": "c", "ports": [{"name": n, "containerPort": p, "protocol": q} for n, p, q in ports]}
            ],
        },
        "status": {"podIP": ip, "podIPs": [{"ip": ip}], "phase": more.get("phase", "Running")},
    }


def namespaces() -> list[dict[str, Any]]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": dict(labels)}}
        for n, labels in SPACES.items()
    ]


def nine(spread: bool = True) -> list[dict[str, Any]]:
    """Pods a, b, c in namespaces x, y, z; on one node, or each letter on another."""
    found = []
    for i, space in enumerate(SPACES):
        for j, name in enumerate("abc"):
            where = NODES[j] if spread else "n1"
            number = NODES.index(where) + 1
            ports = [("serve-80-tcp", 80, "TCP"), ("serve-81-tcp", 81, "TCP"), ("serve-80-udp", 80, "UDP")]
            found.append(pod(space, name, where, f"10.244.{number}.{10 + 3 * i + j}", ports=ports))
    return found


# -- policies

_LABELS = st.sampled_from([{}, {"pod": "a"}, {"pod": "b"}, {"pod": "nobody"}])
_TERMS = st.one_of(
    st.builds(
        lambda k, v: {"key": k, "operator": "In", "values": v},
        st.sampled_from(["pod", "team"]),
        st.lists(st.sampled_from("abcxy"), min_size=1, max_size=2),
    ),
    st.builds(
        lambda k, v: {"key": k, "operator": "NotIn", "values": v},
        st.sampled_from(["pod", "team", "none"]),
        st.lists(st.sampled_from("abcxy"), min_size=1, max_size=2),
    ),
    st.builds(
        lambda k, o: {"key": k, "operator": o},
        st.sampled_from(["pod", "team", "env"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)


def selectors(labels: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda a, b: {**({"matchLabels": a} if a else {}), **({"matchExpressions": b} if b else {})},
        labels,
        st.lists(_TERMS, max_size=1),
    )


_PODS = selectors(_LABELS)
_SPACES = selectors(
    st.sampled_from([{}, {"team": "x"}, {"team": "y"}, {"env": ""}, {"kubernetes.io/metadata.name": "z"}])
)
_BLOCKS = st.builds(
    lambda c, e: {"ipBlock": {"cidr": c, **({"except": e} if e else {})}},
    st.sampled_from(["0.0.0.0/0", "10.244.0.0/16", "192.168.0.0/24"]),
    st.just([]),
) | st.sampled_from([
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.1.0/24", "192.168.0.2/32"]}},
    {"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.2.0/24", "10.244.1.10/32"]}},
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["0.0.0.0/1"]}},
    {"ipBlock": {"cidr": "203.0.113.9/32"}},
    {"ipBlock": {"cidr": "fd00::/8"}},
])  # fmt: skip
_PEERS = st.one_of(
    st.builds(lambda p: {"podSelector": p}, _PODS),
    st.builds(lambda s: {"namespaceSelector": s}, _SPACES),
    st.builds(lambda p, s: {"podSelector": p, "namespaceSelector": s}, _PODS, _SPACES),
    _BLOCKS,
)
_PORTS = st.sampled_from([
    {}, {"protocol": "UDP"}, {"protocol": "TCP"}, {"port": 80}, {"port": 81}, {"port": 80, "protocol": "UDP"},
    {"port": "serve-80-tcp"}, {"port": "serve-80-udp", "protocol": "UDP"}, {"port": "serve-80-tcp", "protocol": "UDP"},
    {"port": "unknown"}, {"port": 79, "endPort": 80}, {"port": 81, "endPort": 90}, {"port": 80, "protocol": "SCTP"},
])  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for number in range(draw(st.integers(1, 3))):
        spec: dict[str, Any] = {"podSelector": draw(_PODS)}
        if draw(st.booleans()):
            spec["policyTypes"] = draw(st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
        for direction, key in (("ingress", "from"), ("egress", "to")):
            if draw(st.booleans()):
                spec[direction] = [
                    {
                        **({key: draw(st.lists(_PEERS, min_size=0, max_size=2))} if draw(st.booleans()) else {}),
                        **({"ports": draw(st.lists(_PORTS, min_size=0, max_size=2))} if draw(st.booleans()) else {}),
                    }
                    for _ in range(draw(st.integers(0, 2)))
                ]
        meta = {"namespace": draw(st.sampled_from(list(SPACES))), "name": f"p{number}"}
        found.append({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec})
    return found


# -- Services


@st.composite
def services(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One to three Services over the pods of namespace x, with slices made by hand."""
    found: list[dict[str, Any]] = []
    pods = [(p["status"]["podIP"], p["spec"]["nodeName"]) for p in nine() if p["metadata"]["namespace"] == "x"]
    for number in range(draw(st.integers(1, 3))):
        name = f"s{number}"
        kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
        ports = [{"name": "web", "port": 80, "protocol": "TCP"}]
        if draw(st.booleans()):
            ports.append({"name": "dns", "port": draw(st.sampled_from([80, 53])), "protocol": "UDP"})
        if kind != "ClusterIP":
            for at, port in enumerate(ports):
                port["nodePort"] = 30000 + 10 * number + at
        spec: dict[str, Any] = {
            "type": kind,
            "clusterIP": f"10.96.0.{10 + number}",
            "ports": ports,
            "internalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        }
        status: dict[str, Any] = {}
        if draw(st.booleans()):
            spec["externalIPs"] = [f"80.11.12.{10 + number}"]
        if kind == "LoadBalancer":
            status = {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{10 + number}"}]}}
            if draw(st.integers(0, 4)) == 0:
                status["loadBalancer"]["ingress"][0]["ipMode"] = "Proxy"
            if draw(st.booleans()):
                spec["loadBalancerSourceRanges"] = draw(
                    st.lists(
                        st.sampled_from(["203.0.113.0/24", " 192.168.0.1/32", "10.244.2.0/24", "8.8.8.0/24"]),
                        min_size=1,
                        max_size=2,
                        unique=True,
                    )
                )
        if kind != "ClusterIP" or "externalIPs" in spec:
            spec["externalTrafficPolicy"] = draw(st.sampled_from(["Cluster", "Local"]))
        labels = {"service.kubernetes.io/service-proxy-name": "other"} if draw(st.integers(0, 9)) == 0 else {}
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"namespace": "x", "name": name, "labels": labels},
                "spec": spec,
                "status": status,
            }
        )
        for part in range(draw(st.integers(0, 2))):
            endpoints = []
            for ip, where in pods:
                if draw(st.booleans()):
                    flag = st.sampled_from([True, True, False, None])
                    conditions = {k: draw(flag) for k in ("ready", "serving")}
                    conditions["terminating"] = draw(st.sampled_from([True, False, None]))
                    endpoints.append(
                        {
                            "addresses": [ip],
                            "nodeName": where,
                            "conditions": {k: v for k, v in conditions.items() if v is not None},
                        }
                    )
            named = [{"name": p["name"], "protocol": p["protocol"], "port": 8000 + part + p["port"]} for p in ports]
            if draw(st.integers(0, 9)) == 0:
                named[0].pop("port")
            found.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "addressType": "IPv4",
                    "metadata": {
                        "namespace": "x",
                        "name": f"{name}-{part}",
                        "labels": {"kubernetes.io/service-name": name},
                    },
                    "ports": named,
                    "endpoints": endpoints,
                }
            )
    return found
