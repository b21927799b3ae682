"""The few fields of API objects that compilers need, as small frozen values.

Objects are plain JSON everywhere else; they are parsed here, at the door. Defaults are the API's own, so that what an
informer delivers and what a person wrote mean the same. Facts: the Kubernetes API reference (v1.30), and
`pkg/proxy/endpointslicecache.go` for the conditions of an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: (namespace, name)
Name = tuple[str, str]


class Ref(NamedTuple):
    """An object. namespace: "" of what is in none."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


LABEL_SERVICE = "kubernetes.io/service-name"
LABEL_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
LABEL_HEADLESS = "service.kubernetes.io/headless"
LABEL_PROXY = "service.kubernetes.io/service-proxy-name"
LABEL_ZONE = "topology.kubernetes.io/zone"
#: a node that has it is about to be removed by the cluster autoscaler
TAINT_LEAVING = "ToBeDeletedByClusterAutoscaler"
LABEL_NAMESPACE = "kubernetes.io/metadata.name"


class Endpoint(NamedTuple):
    """One endpoint of a slice, by its first address. A tuple, because there are a hundred thousand of them.

    zones: those that topology hints are for; target: the pod's name.
    """

    address: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str | None = None
    zones: tuple[str, ...] = ()
    hostname: str = ""
    target: str = ""


class SlicePort(NamedTuple):
    """A port of a slice. name: None is not "" (the API sets the latter); port: 0 where there is none."""

    name: str | None
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """family: 4 or 6, 0 for FQDN; service: the name that its label says, in its own namespace."""

    namespace: str
    name: str
    service: str
    family: int
    ports: tuple[SlicePort, ...]
    endpoints: tuple[Endpoint, ...]
    managed_by: str = ""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service. name: "" for the only one; target: a number or the name of a container's port."""

    name: str
    protocol: str
    port: int
    target: int | str
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A Service. affinity: seconds of ClientIP affinity, 0 for none; *_local: the traffic policy is Local.

    balancer_ips: of status.loadBalancer with ipMode VIP; selector: None without one.
    """

    namespace: str
    name: str
    type: str
    ports: tuple[ServicePort, ...]
    cluster_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity: int = 0
    internal_local: bool = False
    external_local: bool = False
    health_port: int = 0
    selector: Mapping[str, str] | None = None
    publish_not_ready: bool = False
    headless: bool = False
    external_name: str = ""
    families: tuple[int, ...] = (4,)
    labels: Mapping[str, str] = field(default_factory=dict)
    hints: bool = False
    uid: str = ""

    @property
    def key(self) -> Name:
        return (self.namespace, self.name)

    def __str__(self) -> str:
        return f"Service {self.namespace}/{self.name}"


class ContainerPort(NamedTuple):
    """A port that a container declares."""

    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. ips: of any family, empty before it has one; finished: Succeeded or Failed: its IP may be reused."""

    namespace: str
    name: str
    ips: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    host_network: bool = False
    ready: bool = True
    finished: bool = False
    terminating: bool = False
    ports: tuple[ContainerPort, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    uid: str = ""

    @property
    def key(self) -> Name:
        return (self.namespace, self.name)

    def __str__(self) -> str:
        return f"Pod {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and its labels."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its addresses and the prefixes of its pods; leaving: it is to be taken away soon."""

    name: str
    ips: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    pod_cidrs: tuple[str, ...] = ()
    leaving: bool = False

    @property
    def zone(self) -> str:
        """The topology zone, "" without one."""
        return self.labels.get(LABEL_ZONE, "")


class Requirement(NamedTuple):
    """One of matchExpressions."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector; an empty one selects everything. labels: sorted pairs."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """NotIn and DoesNotExist hold for objects that lack the key (N6)."""
        for key, value in self.labels:
            if labels.get(key) != value:
                return False
        for key, operator, values in self.expressions:
            has = key in labels
            if operator == "In":
                fits = has and labels[key] in values
            elif operator == "NotIn":
                fits = not has or labels[key] not in values
            elif operator == "Exists":
                fits = has
            else:
                fits = not has
            if not fits:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer of a rule: either a prefix with exceptions, or pods by selectors.

    pods None: every pod of the namespaces; namespaces None: the policy's own.
    """

    pods: Selector | None = None
    namespaces: Selector | None = None
    cidr: str = ""
    excepts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyPort:
    """port: a number, a name, or None for all of the protocol; end: the last of a range, 0 for none."""

    protocol: str
    port: int | str | None = None
    end: int = 0


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """Peers and ports together; None stands for any, an empty tuple never occurs."""

    peers: tuple[Peer, ...] | None = None
    ports: tuple[PolicyPort, ...] | None = None


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """A policy. ingress, egress: its rules, None where it does not isolate that direction."""

    namespace: str
    name: str
    pods: Selector
    ingress: tuple[PolicyRule, ...] | None
    egress: tuple[PolicyRule, ...] | None

    @property
    def key(self) -> Name:
        return (self.namespace, self.name)

    def __str__(self) -> str:
        return f"NetworkPolicy {self.namespace}/{self.name}"


#: one object; Endpoints are the slices that stand for them
Value = Service | EndpointSlice | tuple[EndpointSlice, ...] | Pod | Namespace | Node | NetworkPolicy


@dataclass(frozen=True, slots=True)
class Objects:
    """A cluster's objects, each kind in the order of its names."""

    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    pods: tuple[Pod, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    nodes: tuple[Node, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()

    def values(self) -> dict[Ref, Value]:
        """Each of them by what it is."""
        kinds: dict[str, tuple[Any, ...]] = {
            "Service": self.services, "EndpointSlice": self.slices, "Pod": self.pods,
            "Namespace": self.namespaces, "Node": self.nodes, "NetworkPolicy": self.policies,
        }  # fmt: skip
        return {Ref(kind, getattr(one, "namespace", ""), one.name): one for kind, all_ in kinds.items() for one in all_}

    def namespace_labels(self) -> dict[str, Mapping[str, str]]:
        """Labels by namespace, those that only occur by name included; each has the label with its own name."""
        known = {n.name: n.labels for n in self.namespaces}
        named = {p.namespace for p in self.pods} | {p.namespace for p in self.policies} | set(known)
        return {name: {LABEL_NAMESPACE: name, **known.get(name, {})} for name in sorted(named)}
