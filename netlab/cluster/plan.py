"""What a cluster is, as a value: its underlay, what each node is made of, what runs there. Pure: the same options give
the same cluster.

    <cluster>.lan            the switch, 10.168.0.1: the world outside of the nodes
    <cluster>.control-plane  10.168.0.2   API server, controllers, scheduler, and an agent
    <cluster>.node1 …        10.168.0.3 … an agent: kubelet, proxy, policies, the pod network
    <cluster>.NAME           a machine outside, of a lab: on a cable of its own to the switch, which is its router
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Any

from netlab.base.addresses import Address, Interface, Network
from netlab.base.clusters import CONTROL_PLANE, SWITCH
from netlab.base.names import DEVICE_NAME_MAX
from netlab.cluster import networks
from netlab.cluster.options import Options, Outside
from netlab.compile.machines import compile_lab
from netlab.compile.topology import Device, Place, StaticRoute, Topology
from netlab.model import Bridge, HostState

#: the wire between the nodes; the switch has the first address, the control plane the second
LAN, LAN6 = IPv4Network("10.168.0.0/24"), IPv6Network("fd00:10:168::/64")
#: Services, and those of them that have an address by their place: the API server and the name server
SERVICES, SERVICES6 = IPv4Network("10.96.0.0/12"), IPv6Network("fd00:10:96::/112")
DNS_IP = SERVICES[10]
#: in a node: where it listens, and where its files are
API_PORT = 6443
ETCD_PORT = 2379
KUBERNETES = "/etc/kubernetes"
DATA = "/var/lib/netlab"
SERVER_DATA = f"{DATA}/server"
IMAGES = f"{DATA}/images"
#: directories of a node that are its own from the beginning, whatever the machine has there, on the real disk: overlays
#: cannot lie on overlays, and what is written much need not go through one
OWN = (networks.CNI_DIR, KUBERNETES, networks.CNI_BIN, "/var/lib/cni", "/var/lib/kubelet", DATA, "/var/log")


@dataclass(frozen=True, slots=True)
class Places:
    """Directories of the machine. run: of the cluster's state and logs; disk: a real file system's, for what nodes
    write; images: shared by all clusters; code: what must be visible in a node for netlab to run there."""

    run: Path
    disk: Path
    images: Path
    code: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine of the cluster. disk: its directory; own: by path in the node, the directory that is there."""

    name: str
    number: int
    netns: str
    addresses: tuple[Interface, ...]
    disk: Path
    own: dict[str, Path]
    cgroup: str

    @property
    def control_plane(self) -> bool:
        """Whether the API server runs on it."""
        return self.name == CONTROL_PLANE

    @property
    def ips(self) -> tuple[Address, ...]:
        """Its addresses."""
        return tuple(interface.ip for interface in self.addresses)

    @property
    def system(self) -> str:
        """The group of what is no pod."""
        return f"{self.cgroup}/system"

    @property
    def init(self) -> str:
        """The name of its first process."""
        return f"{self.name}/init"

    @property
    def agent(self) -> str:
        """The name of its agent's process."""
        return f"{self.name}/agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """options: what it was asked to be; port: of the machine's 127.0.0.1, where its API is."""

    options: Options
    places: Places
    port: int
    nodes: tuple[Node, ...]
    topology: Topology
    states: dict[str, HostState]

    @property
    def name(self) -> str:
        """Of the cluster."""
        return self.options.name

    def node(self, name: str) -> Node:
        """The node of that name. KeyError."""
        return next(node for node in self.nodes if node.name == name)

    @property
    def control_plane(self) -> Node:
        """Where the API server runs."""
        return self.node(CONTROL_PLANE)

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The addresses of the switch: who asks from there asks from outside."""
        return tuple(network[1] for network in families(self.options))

    @property
    def server(self) -> str:
        """The API server's URL, as nodes and pods know it."""
        return f"https://{self.control_plane.ips[0]}:{API_PORT}"

    @property
    def outer(self) -> str:
        """The API server's URL on this machine."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate of its authority."""
        return self.control_plane.own[DATA] / "server" / "pki" / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, for use on this machine."""
        return self.places.run / "admin.conf"


def plan(asked: Options, places: Places, *, port: int) -> Cluster:
    """The cluster of these options."""
    nodes = tuple(_node(asked, places, name, number) for name, number in asked.nodes.items())
    topology = _topology(asked, nodes)
    states = compile_lab(topology, owner=owner(asked.name))
    return Cluster(options=asked, places=places, port=port, nodes=nodes, topology=topology, states=states)


def owner(name: str) -> str:
    """The owner of what a cluster makes."""
    return f"cluster/{name}"


def cgroup(name: str) -> str:
    """The group below which all of a cluster's processes are."""
    return f"/netlab/{name}"


def lease(grace: float) -> int:
    """Seconds that the Lease of a node is good for: somewhat less than it may be silent, and some renewals of it."""
    return int(grace * 4 // 5)


def families(asked: Options) -> tuple[Network, ...]:
    """The networks of the wire."""
    return (LAN, LAN6) if asked.ipv6 else (LAN,)


def services(asked: Options) -> tuple[Network, ...]:
    """The ranges of cluster addresses."""
    return (SERVICES, SERVICES6) if asked.ipv6 else (SERVICES,)


def _node(asked: Options, places: Places, name: str, number: int) -> Node:
    disk = places.disk / name
    addresses = tuple(_interface(network, 2 + number) for network in families(asked))
    return Node(
        name=name, number=number, netns=f"{asked.name}.{name}", addresses=addresses, disk=disk,
        own={path: disk / "own" / path.lstrip("/") for path in OWN}, cgroup=f"{cgroup(asked.name)}/{name}",
    )  # fmt: skip


def _interface(network: Network, host: int) -> Interface:
    return ip_interface((network[host], network.prefixlen))


def _topology(asked: Options, nodes: Sequence[Node]) -> Topology:
    why = f"cluster {asked.name}"
    gateways = tuple(_interface(network, 1) for network in families(asked))
    bridge = Device(name=SWITCH, kind=Bridge(), addresses=gateways, why=f"{why}: the wire between the nodes")
    ports = [
        Device(name=_port(node), kind=None, peer=(node.name, "eth0"), master=SWITCH, why=f"{why}: {node.name}'s port")
        for node in nodes
    ]
    outside = asked.outside.items()
    cables = [Device(name=n, kind=None, peer=(n, "eth0"), why=f"{why}: {n}'s cable") for n, _ in outside]
    switch = Place(
        name=SWITCH, role="network", why=f"{why}: the wire between the nodes",
        devices=(bridge, *ports, *cables),
        routes=tuple(StaticRoute(to=ip_network(m.address), dev=n, why=f"{why}: {n} is outside") for n, m in outside),
        sysctls=(("net/ipv4/ip_forward", "1", f"{why}: the way to what is outside"),) if outside else (),
    )  # fmt: skip
    return Topology(
        name=asked.name, title=why, source=why,
        places=(
            switch, *(_place(asked, node, gateways, why) for node in nodes),
            *(_outside(name, machine, f"{why}: {name}, outside") for name, machine in outside),
        ),
    )  # fmt: skip


def _outside(name: str, machine: Outside, why: str) -> Place:
    """A machine whose only neighbour is the switch, whatever network its address is of."""
    eth0 = Device(name="eth0", kind=None, peer=(SWITCH, name), addresses=(ip_interface(machine.address),), why=why)
    router = LAN[1]
    routes = (
        StaticRoute(to=ip_network(router), dev="eth0", why=why),
        StaticRoute(to=IPv4Network("0.0.0.0/0"), via=router, dev="eth0", why=why),
    )
    return Place(name=name, role="node", devices=(eth0,), routes=routes, why=why)


def _port(node: Node) -> str:
    assert len(node.name) <= DEVICE_NAME_MAX, "names of nodes are short"
    return node.name


def _place(asked: Options, node: Node, gateways: Sequence[Interface], why: str) -> Place:
    its = f"{why}: {node.name}"
    eth0 = Device(name="eth0", kind=None, peer=(SWITCH, _port(node)), addresses=node.addresses, why=its)
    anywhere: dict[int, Network] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
    routes = tuple(StaticRoute(to=anywhere[g.version], via=g.ip, dev="eth0", why=its) for g in gateways)
    sysctls = [("net/ipv4/ip_forward", "1", f"{its} is its pods' router")]
    if asked.ipv6:
        sysctls.append(("net/ipv6/conf/all/forwarding", "1", f"{its} is its pods' router"))
    if networks.pod_network(asked, node.name).bridged:
        # an answer of a pod of this node to another goes back through the translation that it came by
        sysctls += [
            (f"net/bridge/bridge-nf-call-{tables}", "1", f"{its}: Services of pods on one bridge")
            for tables in (("iptables", "ip6tables") if asked.ipv6 else ("iptables",))
        ]
    return Place(name=node.name, role="node", devices=(eth0,), routes=routes, sysctls=tuple(sysctls), why=its)


def machine(cluster: Cluster, node: Node) -> dict[str, Any]:
    """What the node's first process makes of itself (`netlab.kernel.boot.Machine`)."""
    binds = [(str(source), target) for target, source in node.own.items()]
    binds.append((str(cluster.places.images), IMAGES))
    # where it tells that it is ready, and the program itself, should the node's own /tmp or /run cover it
    binds.append((str(cluster.places.run / "notify"), str(cluster.places.run / "notify")))
    binds += [(str(path), str(path)) for path in cluster.places.code]
    if cluster.options.network == "calico":
        binds.append((str(cluster.places.disk / "calico"), networks.DATASTORE))
    return {
        "hostname": node.name, "disk": str(node.disk), "cgroup": node.system, "binds": binds,
        "files": {
            "/etc/hostname": f"{node.name}\n", "/etc/hosts": hosts(cluster),
            **networks.pod_network(cluster.options, node.name).files,
        },
    }  # fmt: skip


def hosts(cluster: Cluster) -> str:
    """/etc/hosts of every node."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{ip} {node.name}" for node in cluster.nodes for ip in node.ips]
    return "\n".join(lines) + "\n"


def agent(cluster: Cluster, node: Node) -> dict[str, Any]:
    """What the node's agent is told (`netlab.daemons.agent.Options`)."""
    asked = cluster.options
    network = networks.pod_network(asked, node.name)
    taints = [["node-role.kubernetes.io/control-plane", "", "NoSchedule"]] if node.control_plane else []
    labels = {"node-role.kubernetes.io/control-plane": ""} if node.control_plane else {}
    return {
        "node": node.name, "ips": [str(ip) for ip in node.ips], "kubeconfig": f"{KUBERNETES}/kubelet.conf",
        "pki": KUBERNETES, "cgroup": node.cgroup, "images": IMAGES, "proxy": asked.proxy,
        "pods": [str(pods) for pods in networks.pods(asked)], "flannel": network.flannel,
        "calico": asked.network == "calico", "bridged": network.bridged, "dns": str(DNS_IP),
        "serve_dns": node.control_plane, "lease": lease(asked.node_monitor_grace_period),
        "taints": taints, "labels": labels,
    }  # fmt: skip


AGENT_CONFIG = f"{KUBERNETES}/agent.json"


def table(
    cluster: Cluster, running: Sequence[str], *, netlab: Sequence[str], boot: Sequence[str]
) -> list[dict[str, Any]]:
    """What is to run, as the supervisor's table has it. running: names of the nodes that are on; netlab, boot: the
    commands of netlab and of a node's first process, which gets the file that says what it is."""
    found: list[dict[str, Any]] = []
    for node in cluster.nodes:
        if node.name not in running:
            continue
        spec = str(cluster.places.run / "machines" / f"{node.name}.json")
        found.append({
            "name": node.init, "netns": node.netns, "init": True, "unplug": node.netns, "notify": True,
            "restart": "never", "argv": [*boot, spec],
        })  # fmt: skip
        if node.control_plane:
            found += _control_plane(cluster, node, netlab)
        found.append({
            "name": node.agent, "inside": node.init, "cgroup": node.system, "notify": True,
            "call": "netlab.daemons.agent:main", "argv": ["netlab-agent", AGENT_CONFIG],
        })  # fmt: skip
    return found


def _control_plane(cluster: Cluster, node: Node, netlab: Sequence[str]) -> list[dict[str, Any]]:
    asked = cluster.options
    ips = [str(ip) for ip in node.ips]
    pods, addresses = (",".join(map(str, found)) for found in (networks.pods(asked), services(asked)))
    argv = [
        *netlab, "server", "--data-dir", SERVER_DATA, "--bind", ips[0], "--port", str(API_PORT), "--store", asked.store,
        "--service-cluster-ip-range", addresses, "--cluster-cidr", pods, "--no-nodes", "--tls-san", node.name,
        "--node-monitor-grace-period", str(asked.node_monitor_grace_period),
        *(word for ip in ips for word in ("--tls-san", ip)),
    ]  # fmt: skip
    server = {
        "name": f"{node.name}/server", "inside": node.init, "cgroup": node.system, "argv": argv, "notify": True,
        "listen": [f"127.0.0.1:{cluster.port}"],
    }  # fmt: skip
    if asked.store != "etcd":
        return [server]
    local = f"http://127.0.0.1:{ETCD_PORT}"
    etcd = {
        "name": f"{node.name}/etcd", "inside": node.init, "cgroup": node.system, "notify": True,
        "argv": ["etcd", "--name", "cluster", "--data-dir", f"{DATA}/etcd", "--listen-client-urls", local,
                 "--advertise-client-urls", local, "--listen-peer-urls", "http://127.0.0.1:2380",
                 "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
                 "--initial-cluster", "cluster=http://127.0.0.1:2380", "--log-level", "warn"],
    }  # fmt: skip
    return [etcd, server]
