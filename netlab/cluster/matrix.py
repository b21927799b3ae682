"""Who must reach whom in any cluster, as a value: the pods and Services that it takes, and every probe. Pure.

    pod-pod           each pod each other, on its own node and on others, and is seen by its own address
    pod-node          each pod each node, and back
    pod-Service       each pod the cluster IP, answered by every endpoint; the API server's; a port of each node
    node-Service      each node the cluster IP, and its own node port
    outside-NodePort  from the wire: each node, answered by every endpoint; with the Local policy by the node's own pod,
                      which sees who asks
    hairpin           a pod itself, by the Service that has no other endpoint
    DNS               each pod asks for Services, for the pods of a headless one, for what an address is called
    MTU               the longest packet of a pod arrives whole, a longer one is refused at once, long answers come

The network of the cluster is not asked for: what holds is the same for all of them, but for how long a packet may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple, get_args

from netlab.base.addresses import Address

Kind = Literal["pod-pod", "pod-node", "pod-Service", "node-Service", "outside-NodePort", "hairpin", "DNS", "MTU"]
KINDS: tuple[str, ...] = get_args(Kind)
Json = dict[str, Any]

#: what the matrix makes is here, and goes with it
NAMESPACE = "netlab-check"
ZONE = "cluster.local"
PORT, POD_PORT, KUBELET_PORT = 80, 8080, 10250
#: octets of the long answer: many packets of any size
LONG = 200_000
#: octets of the headers of an echo request, by family
_HEADERS = {4: 28, 6: 48}
#: the pod that is no endpoint but of the hairpin's Service
AGAIN = "again"
#: a script that tells who answers and who has asked (after an empty line, as HTTP has them), and the long answer
_SERVER = (
    "mkdir -p /tmp/www/cgi-bin && cd /tmp/www && "
    "printf '#!/bin/sh\\necho \\r\\nhostname\\necho $REMOTE_ADDR\\n' >cgi-bin/who && "
    f"chmod +x cgi-bin/who && head -c {LONG} /dev/zero >long && exec httpd -f -p {POD_PORT} -h /tmp/www"
)


class Place(NamedTuple):
    """Where probes begin and end. netns: its network namespace, by name or path; node: that it is or runs on."""

    name: str
    netns: str
    addresses: tuple[Address, ...]
    node: str


class Ports(NamedTuple):
    """A Service as it was given out. node: the port of each node."""

    addresses: tuple[Address, ...]
    node: int


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a cluster has when the objects are there. mtu: of a pod's device; services: by name."""

    outside: Place
    nodes: tuple[Place, ...]
    pods: tuple[Place, ...]
    services: Mapping[str, Ports]
    api: Address
    dns: Address
    mtu: int

    @property
    def servers(self) -> tuple[Place, ...]:
        """The endpoints of the Services that have several: one pod on each node."""
        return tuple(pod for pod in self.pods if pod.name != AGAIN)


@dataclass(frozen=True, slots=True)
class Echo:
    """An echo request. size: octets of its data; whole: not to be cut; fits: False if it must be refused."""

    to: Address
    size: int = 56
    whole: bool = False
    fits: bool = True


@dataclass(frozen=True, slots=True)
class Connect:
    """A TCP connection."""

    to: Address
    port: int


@dataclass(frozen=True, slots=True)
class Get:
    """GETs until each of `answers` has answered. client: who must be seen to ask, but by `own`; long: a lot."""

    to: Address
    port: int
    answers: frozenset[str]
    client: Address | None = None
    own: str = ""
    long: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to a name server, and the records that must come."""

    server: Address
    name: str
    type: str
    answers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Probe:
    """One cell. to: what is asked, in words."""

    kind: Kind
    family: int
    source: Place
    to: str
    what: Echo | Connect | Get | Ask


def objects(nodes: Sequence[str]) -> list[Json]:
    """A pod on each node, one more on the last, and Services of all kinds before them."""
    pods = [_pod(f"web-{node}", node, {"app": "web"}) for node in nodes]
    pods.append(_pod(AGAIN, nodes[-1], {"app": AGAIN}))
    services = [
        _service("web", {"app": "web"}, type="NodePort"),
        _service("local", {"app": "web"}, type="NodePort", externalTrafficPolicy="Local"),
        _service("hairpin", {"app": AGAIN}, type="NodePort"),
        _service("headless", {"app": "web"}, clusterIP="None"),
    ]
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *services, *pods]


def _pod(name: str, node: str, labels: Mapping[str, str]) -> Json:
    # who is Ready answers: nothing is asked before
    ready = {"httpGet": {"path": "/cgi-bin/who", "port": POD_PORT}, "periodSeconds": 1}
    container = {"name": "web", "image": "busybox", "command": ["sh", "-c", _SERVER], "readinessProbe": ready}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}}  # fmt: skip


def _service(name: str, selector: Mapping[str, str], **spec: Any) -> Json:
    ports = [{"port": PORT, "targetPort": POD_PORT}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": dict(selector), "ipFamilyPolicy": "PreferDualStack", "ports": ports, **spec},
    }  # fmt: skip


def service(obj: Json) -> Ports:
    """What a Service object was given."""
    spec = obj["spec"]
    given = tuple(ip_address(ip) for ip in spec.get("clusterIPs") or () if ip != "None")
    return Ports(given, next((port["nodePort"] for port in spec["ports"] if port.get("nodePort")), 0))


def probes(world: World) -> list[Probe]:
    """Every cell, of the families that the nodes have."""
    found: list[Probe] = []
    for family in sorted({address.version for node in world.nodes for address in node.addresses}):
        found += _Family(world, family).probes()
    return found


class _Family:
    """The probes of one address family."""

    def __init__(self, world: World, family: int) -> None:
        self.world, self.family = world, family
        self.everyone = frozenset(pod.name for pod in world.servers)

    def probes(self) -> Iterator[Probe]:
        ways = (
            self._pods(), self._nodes(), self._services(), self._of_nodes(), self._outside(), self._hairpins(),
            self._names(), self._long(),
        )  # fmt: skip
        return itertools.chain.from_iterable(ways)

    def _ip(self, addresses: Iterable[Address]) -> Address:
        found = next((a for a in addresses if a.version == self.family), None)
        assert found is not None, f"no IPv{self.family} address"
        return found

    def _probe(self, kind: Kind, source: Place, to: str, what: Echo | Connect | Get | Ask) -> Probe:
        return Probe(kind, self.family, source, to, what)

    def _pods(self) -> Iterator[Probe]:
        for one, other in itertools.permutations(self.world.pods, 2):
            ip, asker = self._ip(other.addresses), self._ip(one.addresses)
            yield self._probe("pod-pod", one, other.name, Echo(ip))
            yield self._probe("pod-pod", one, other.name, Get(ip, POD_PORT, frozenset({other.name}), client=asker))

    def _nodes(self) -> Iterator[Probe]:
        for pod, node in itertools.product(self.world.pods, self.world.nodes):
            there, back = self._ip(node.addresses), self._ip(pod.addresses)
            yield self._probe("pod-node", pod, node.name, Echo(there))
            yield self._probe("pod-node", pod, f"kubelet of {node.name}", Connect(there, KUBELET_PORT))
            yield self._probe("pod-node", node, pod.name, Echo(back))
            yield self._probe("pod-node", node, pod.name, Get(back, POD_PORT, frozenset({pod.name})))

    def _services(self) -> Iterator[Probe]:
        web = self.world.services["web"]
        for pod in self.world.pods:
            get = Get(self._ip(web.addresses), PORT, self.everyone, client=self._ip(pod.addresses), own=pod.name)
            yield self._probe("pod-Service", pod, "Service web", get)
            for node in self.world.nodes:
                get = Get(self._ip(node.addresses), web.node, self.everyone)
                yield self._probe("pod-Service", pod, f"Service web by {node.name}", get)
            if self.world.api.version == self.family:
                yield self._probe("pod-Service", pod, "Service kubernetes", Connect(self.world.api, 443))

    def _of_nodes(self) -> Iterator[Probe]:
        web = self.world.services["web"]
        for node in self.world.nodes:
            get = Get(self._ip(web.addresses), PORT, self.everyone)
            yield self._probe("node-Service", node, "Service web", get)
            own = Get(self._ip(node.addresses), web.node, self.everyone)
            yield self._probe("node-Service", node, f"Service web by {node.name}", own)

    def _outside(self) -> Iterator[Probe]:
        world, here = self.world, self.world.outside
        own = {pod.node: pod.name for pod in world.servers}
        for node in world.nodes:
            ip = self._ip(node.addresses)
            get = Get(ip, world.services["web"].node, self.everyone)
            yield self._probe("outside-NodePort", here, f"Service web by {node.name}", get)
            asker, its = self._ip(here.addresses), frozenset({own[node.name]})
            get = Get(ip, world.services["local"].node, its, client=asker)
            yield self._probe("outside-NodePort", here, f"Service local by {node.name}", get)

    def _hairpins(self) -> Iterator[Probe]:
        again = next(pod for pod in self.world.pods if pod.name == AGAIN)
        hairpin, itself = self.world.services["hairpin"], frozenset({AGAIN})
        node = next(node for node in self.world.nodes if node.name == again.node)
        get = Get(self._ip(hairpin.addresses), PORT, itself)
        yield self._probe("hairpin", again, "itself, as Service hairpin", get)
        get = Get(self._ip(node.addresses), hairpin.node, itself)
        yield self._probe("hairpin", again, f"itself, as Service hairpin by {node.name}", get)

    def _names(self) -> Iterator[Probe]:
        world, kind = self.world, "A" if self.family == 4 else "AAAA"
        domain = f"{NAMESPACE}.svc.{ZONE}"
        pods = frozenset(str(self._ip(pod.addresses)) for pod in world.servers)
        web = str(self._ip(world.services["web"].addresses))
        asked = [
            (f"web.{domain}", kind, frozenset({web})), (f"headless.{domain}", kind, pods),
            (ip_address(web).reverse_pointer, "PTR", frozenset({f"web.{domain}."})),
        ]  # fmt: skip
        if world.api.version == self.family:
            asked.append((f"kubernetes.default.svc.{ZONE}", kind, frozenset({str(world.api)})))
        for pod in world.pods:
            for name, wanted, answers in asked:
                yield self._probe("DNS", pod, f"{name} {wanted}", Ask(world.dns, name, wanted, answers))
            if world.dns.version == self.family:
                yield self._probe("DNS", pod, "Service kube-dns by TCP", Connect(world.dns, 53))

    def _long(self) -> Iterator[Probe]:
        world = self.world
        size = world.mtu - _HEADERS[self.family]
        for one, other in itertools.permutations(world.pods, 2):
            ip = self._ip(other.addresses)
            yield self._probe("MTU", one, f"{other.name}, {world.mtu} octets", Echo(ip, size, whole=True))
            more = Echo(ip, size + 1, whole=True, fits=False)
            yield self._probe("MTU", one, f"{other.name}, {world.mtu + 1} octets", more)
        web = world.services["web"]
        for place in (*world.pods, *world.nodes):
            get = Get(self._ip(web.addresses), PORT, frozenset(), long=True)
            yield self._probe("MTU", place, "Service web, a long answer", get)
        for node in world.nodes:
            get = Get(self._ip(node.addresses), web.node, frozenset(), long=True)
            yield self._probe("MTU", world.outside, f"Service web by {node.name}, a long answer", get)
