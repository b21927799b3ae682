"""lab.yaml as pydantic models: the shape that a user writes. Unknown keys are refused; `resolving` does the rest."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from netlab.base.addresses import parse_mac
from netlab.base.clusters import NODE_GRACE, NODE_GRACE_MIN, NODES_MAX, NetworkName, ProxyMode, StoreKind
from netlab.base.names import device_name_problem, label_problem


class Written:
    """How a value is written, for the JSON schema. (To import pydantic's WithJsonSchema takes 10 ms of each `up`.)"""

    def __init__(self, *types: str) -> None:
        self.types = types

    def __get_pydantic_json_schema__(self, _schema: object, _handler: object) -> dict[str, Any]:
        return {"type": self.types[0] if len(self.types) == 1 else list(self.types)}


_TEXT = Written("string")


def _refuse(problem: str | None) -> None:
    if problem:
        raise ValueError(problem)


def _device(value: str) -> str:
    _refuse(device_name_problem(value))
    return value


def _label(value: str) -> str:
    _refuse(label_problem(value, what="name"))
    return value


def _address(value: Any) -> Any:
    try:
        return ip_address(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 or IPv6 address") from None


def _ipv4(value: Any) -> Any:
    try:
        return IPv4Address(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 address") from None


def _interface(value: Any) -> Any:
    text = str(value)
    try:
        interface = ip_interface(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address with prefix length (such as 172.17.0.2/16)") from None
    if "/" not in text:
        raise ValueError(f"{text!r} needs a prefix length (such as {text}/{24 if interface.version == 4 else 64})")
    return interface


def _address_or_place(value: Any) -> Any:
    text = str(value)
    try:
        return ip_address(text)
    except ValueError:
        if _PLACE.match(text):
            return text
    raise ValueError(f"{text!r} is neither an address nor a place (such as node1, or pod/default/web of a cluster)")


def _network_or_place(value: Any) -> Any:
    text = str(value)
    return text if text.startswith(("podcidr/", "pod/")) else _network(value)


def _network(value: Any) -> Any:
    text = str(value)
    if text == "default":
        raise ValueError("'default' needs a family: write 0.0.0.0/0 or ::/0")
    try:
        return ip_network(text)
    except ValueError as e:
        raise ValueError(f"{text!r} is not a network: {str(e).removeprefix(repr(text)).strip()}") from None


def _text(value: Any) -> Any:
    # YAML reads `1` as a number and `yes` as a truth; where a text is meant, they are the text
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if isinstance(value, int | float) else value


Device = Annotated[str, AfterValidator(_device)]
Label = Annotated[str, AfterValidator(_label)]
IpAddress = Annotated[Any, BeforeValidator(_address), _TEXT]
Ipv4Address = Annotated[Any, BeforeValidator(_ipv4), _TEXT]
Whom = Annotated[Any, BeforeValidator(_address_or_place), _TEXT]
Whither = Annotated[Any, BeforeValidator(_network_or_place), _TEXT]
IpInterface = Annotated[Any, BeforeValidator(_interface), _TEXT]
IpNetwork = Annotated[Any, BeforeValidator(_network), _TEXT]
Mac = Annotated[str, AfterValidator(parse_mac)]
Text = Annotated[str, BeforeValidator(_text)]
Mtu = Annotated[int, Field(ge=1280, le=65535, description="bytes; 1280 is the least that IPv6 allows")]
Family = Literal[4, 6]
Protocol = Literal["tcp", "udp", "sctp"]

#: node1; of a cluster also pod/NAMESPACE/NAME, pod/NAMESPACE/LABEL=VALUE, service/…, node-of/…
_PLACE = re.compile(r"^(?:[a-z0-9][-a-z0-9]*|(?:pod|service|node-of)/[-a-z0-9]+/\S+)$")
_PORTS = re.compile(r"^(?:(\d{1,5}):)?(\d{1,5})(?:/(tcp|udp|sctp))?$")
_QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)\s*([a-zA-Z%]*)$")
_RATES = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "bps": 8, "kbps": 8 * 10**3, "mbps": 8 * 10**6}
_TIMES = {"us": 1, "ms": 1000, "s": 1_000_000}


def ports(value: str) -> tuple[int | None, int, Protocol]:
    """`8080:80/tcp` as (8080, 80, 'tcp'); `53/udp` as (None, 53, 'udp')."""
    found = _PORTS.match(str(value))
    if not found:
        raise ValueError(f"{value!r} is not a port (such as 80, 53/udp or 8080:80/tcp)")
    host, port = found.group(1), found.group(2)
    protocol: Protocol = found.group(3) or "tcp"  # type: ignore[assignment]  # the pattern allows no other
    for number in (host, port):
        if number is not None and not 1 <= int(number) <= 65535:
            raise ValueError(f"{value!r}: port {number} is not between 1 and 65535")
    return (int(host) if host else None), int(port), protocol


def _quantity(value: str, units: dict[str, int], example: str) -> int:
    found = _QUANTITY.match(str(value).strip())
    unit = found.group(2).lower() if found else ""
    if not found or unit not in units:
        raise ValueError(f"{value!r} is not understood (such as {example}; units: {', '.join(units)})")
    return round(float(found.group(1)) * units[unit])


def rate(value: str) -> int:
    """`10mbit` as bit/s."""
    number = _quantity(value, _RATES, "10mbit")
    if number < 8000:
        raise ValueError(f"{value!r} is less than the 8kbit that a token bucket can keep")
    return number // 8 * 8


def duration(value: str) -> int:
    """`50ms` as µs."""
    return _quantity(value, _TIMES, "50ms")


def per_cent(value: str | float) -> float:
    """`1.5%` or 1.5 as 1.5."""
    try:
        number = float(str(value).strip().removesuffix("%"))
    except ValueError:
        raise ValueError(f"{value!r} is not a percentage (such as 1.5%)") from None
    if not 0 <= number <= 100:
        raise ValueError(f"{value!r} is not between 0% and 100%")
    return number


def _ports(value: Any) -> Any:
    ports(value)
    return str(value)


PortText = Annotated[str, BeforeValidator(_ports)]
Rate = Annotated[Any, BeforeValidator(rate), _TEXT]
Duration = Annotated[Any, BeforeValidator(duration), _TEXT]
PerCent = Annotated[Any, BeforeValidator(per_cent), Written("string", "number")]


class Strict(BaseModel):
    """Refuses what it does not know; field descriptions go into the JSON schema."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Impair(Strict):
    """What happens to packets that leave through an interface."""

    rate: Rate | None = Field(None, description="bit rate, by tbf: 10mbit")
    delay: Duration | None = Field(None, description="by netem: 50ms")
    jitter: Duration | None = Field(None, description="variation of the delay, by netem: 5ms")
    loss: PerCent | None = Field(None, description="share of packets lost, by netem: 1%")
    duplicate: PerCent | None = Field(None, description="share of packets sent twice, by netem")
    reorder: PerCent | None = Field(None, description="share of packets sent ahead of the delayed ones, by netem")
    corrupt: PerCent | None = Field(None, description="share of packets with a flipped bit, by netem")


class VxlanSpec(Strict):
    """A VXLAN device."""

    vni: int = Field(ge=1, le=0xFFFFFF)
    port: int = Field(4789, ge=1, le=65535)
    local: IpAddress | None = None
    dev: Device | None = None
    learning: bool = True


class MacvlanSpec(Strict):
    """A macvlan device."""

    parent: Device
    mode: Literal["bridge", "private", "vepa", "passthru"] = "bridge"


class IpipSpec(Strict):
    """An IP-in-IP tunnel."""

    local: IpAddress | None = None
    remote: IpAddress | None = None


class Interface(Strict):
    """A device of a node: on a network, at the end of a cable, or of a kind of its own."""

    network: str | None = Field(None, description="the network whose switch it is plugged into")
    cable: str | None = Field(None, description="the far end of a cable to another node: node2:eth1")
    vxlan: VxlanSpec | None = None
    macvlan: MacvlanSpec | None = None
    ipip: IpipSpec | None = None
    dummy: bool = False
    tun: Literal["tun", "tap"] | None = None
    addresses: list[IpInterface] | None = Field(None, description="allotted from the network's subnets if left out")
    mac: Mac | None = None
    mtu: Mtu | None = None
    up: bool = True
    bridge: Device | None = Field(None, description="the bridge of this node whose port it is")
    impair: Impair | None = None


class Bridge(Strict):
    """A bridge of a node, to which containers are plugged."""

    addresses: list[IpInterface] = Field(default_factory=list)
    mac: Mac | None = None
    mtu: Mtu | None = None
    stp: bool = False
    masquerade: bool = Field(False, description="containers' packets leave with the node's address")
    hairpin: bool = Field(False, description="a port may send a frame back to where it came from")


class Route(Strict):
    """A static route."""

    to: IpNetwork
    via: IpAddress | None = None
    dev: Device | None = None
    src: IpAddress | None = None
    table: int = Field(254, ge=1, le=0xFFFFFFFF)
    metric: int = Field(0, ge=0, le=0xFFFFFFFF)
    mtu: int = Field(0, ge=0, le=65535)
    onlink: bool = False
    type: Literal["unicast", "blackhole", "unreachable", "prohibit"] = "unicast"
    nexthops: list[NextHop] = Field(default_factory=list)


class NextHop(Strict):
    """One way of a multipath route."""

    dev: Device
    via: IpAddress | None = None
    weight: int = Field(1, ge=1, le=256)


class RuleSpec(Strict):
    """A policy routing rule."""

    priority: int = Field(ge=1, le=32765)
    table: int = Field(ge=1, le=0xFFFFFFFF)
    src: IpNetwork | None = Field(None, alias="from")
    dst: IpNetwork | None = Field(None, alias="to")
    fwmark: int = 0
    iif: Device | None = None
    family: Family = 4


class NeighbourSpec(Strict):
    """A permanent ARP or NDP entry, or with `proxy` an address to answer for."""

    address: IpAddress
    dev: Device
    mac: Mac | None = None
    proxy: bool = False


class FdbSpec(Strict):
    """A static forwarding entry."""

    mac: Mac
    dev: Device
    dst: IpAddress | None = None


class FirewallSpec(Strict):
    """One iptables rule, in the words of iptables-save."""

    table: Literal["raw", "mangle", "nat", "filter"] = "filter"
    chain: str
    rule: str
    family: Family | None = Field(None, description="by default that of the addresses in the rule, else 4")


class ProcessSpec(Strict):
    """A program that runs in the node's namespace as long as the lab is up."""

    command: list[Text] = Field(
        min_length=1, description="{run} stands for the lab's directory, a first word netlab for this netlab"
    )
    restart: Literal["always", "on-failure", "never"] = "always"
    env: dict[str, Text] = Field(default_factory=dict)
    notify: bool = Field(False, description="it tells when it is ready (sd_notify), and the lab is not up before")
    routes: Text | None = Field(None, description="the routes of this protocol (bird, bgp, …) are its own, not drift")
    claims: str | None = Field(
        None, description="the file in the lab's directory where it keeps what of the node's network is its own"
    )
    package: str | None = Field(None, description="the Debian package that brings it: the lab needs it to come up")
    program: str | None = Field(None, description="what the package brings, if not the command's first word")


class Machine(Strict):
    """What nodes and containers have in common."""

    routes: list[Route] = Field(default_factory=list)
    rules: list[RuleSpec] = Field(default_factory=list)
    neighbours: list[NeighbourSpec] = Field(default_factory=list)
    fdb: list[FdbSpec] = Field(default_factory=list)
    sysctls: dict[str, Text] = Field(default_factory=dict)
    iptables: list[FirewallSpec] = Field(default_factory=list)
    serve: list[PortText] = Field(default_factory=list, description="ports on which the built-in web server answers")
    processes: dict[Label, ProcessSpec] = Field(default_factory=dict)
    files: dict[str, str] = Field(
        default_factory=dict, description="files by name, for its processes: {run}/files/NODE/NAME"
    )


class Node(Machine):
    """A host: a network namespace of its own."""

    interfaces: dict[Device, Interface] = Field(default_factory=dict)
    bridges: dict[Device, Bridge] = Field(default_factory=dict)
    forward: bool = Field(False, description="route packets between interfaces, both families")
    forward_policy: Literal["ACCEPT", "DROP"] | None = Field(None, description="policy of filter FORWARD")


class Container(Machine):
    """A container: a network namespace on a veth pair, or a guest in somebody else's (`network`)."""

    node: str | None = Field(None, description="the host it runs on")
    bridge: Device | None = Field(None, description="the bridge of the node it is plugged into")
    network: Text = Field(
        "bridge", description="bridge, none, host, or container:NAME as for `docker run --net`; calico for a pod"
    )
    interface: Device = "eth0"
    veth: Device | None = Field(None, description="name of the host's end of the veth pair")
    addresses: list[IpInterface] | None = None
    mac: Mac | None = None
    mtu: Mtu | None = None
    gateway: IpAddress | list[IpAddress] | Literal["auto", "none"] = "auto"
    publish: list[PortText] = Field(default_factory=list, description="8080:80/tcp: port of the host to port here")
    impair: Impair | None = None


class Network(Strict):
    """An underlay network: a switch in a namespace of its own, to which nodes are plugged."""

    subnets: list[IpNetwork] = Field(default_factory=list)
    mtu: Mtu | None = None


class FlannelNode(Strict):
    """A node that runs flanneld."""

    subnets: list[IpNetwork] = Field(
        default_factory=list, description="what it had before, and asks for again; any free one if left out"
    )
    iface: Device = Field("eth0", description="the device to the other nodes")
    options: list[Text] = Field(default_factory=list, description="more options of netlab flanneld")


class FlannelEtcd(Strict):
    """Where etcd runs with `lab up --store etcd`: a node of its own on a network of the lab."""

    network: str
    addresses: list[IpInterface] = Field(min_length=1)
    api: Literal[2, 3] = Field(3, description="the API by which leases are kept; 2 for `etcdctl ls`")


class Flannel(Strict):
    """A flannel network over nodes of the lab: each runs flanneld, leases are kept in a directory or in etcd."""

    config: dict[str, Any] = Field(description="the network's configuration, as in flannel's net-conf.json")
    nodes: dict[str, FlannelNode | None] = Field(min_length=1)
    ip_masq: bool = Field(False, description="pods' packets leave the overlay with their node's address")
    etcd: FlannelEtcd | None = None


class Bgp(Strict):
    """Nodes that run netlab's BGP speaker, each with its configuration as `netlab bgpd --config` has it."""

    nodes: dict[str, dict[str, Any]] = Field(min_length=1)


class Calico(Strict):
    """A Calico network over nodes of the lab; containers with `network: calico` are its pods."""

    nodes: list[str] = Field(min_length=1)
    iface: Device = Field("eth0", description="the device to the other nodes")
    objects: list[dict[str, Any]] = Field(default_factory=list, description="as crd.projectcalico.org/v1 has them")
    manifests: list[str] = Field(default_factory=list, description="files with more of them, from the lab's folder")


class Agent(Strict):
    """A daemon that runs on nodes and follows the Kubernetes objects in the lab's manifests/."""

    nodes: list[str] = Field(min_length=1)
    options: list[Text] = Field(default_factory=list, description="more options of its command")


class Proxy(Agent):
    """netlab proxy: Services."""

    mode: Literal["iptables", "ipvs", "nftables"] = "iptables"
    cluster_cidrs: list[IpNetwork] = Field(default_factory=list, description="the pods' prefixes, one per family")
    node_port_addresses: list[IpNetwork] = Field(
        default_factory=list, description="node ports are served on local addresses in these; on all if left out"
    )


class Policyd(Agent):
    """netlab policyd: NetworkPolicies."""

    bridged: bool = Field(False, description="pods hang on a bridge, whose packets have to pass iptables")


class Outside(Strict):
    """A machine that is none of a cluster's: beyond the wire between the nodes, with an address of any network."""

    address: Ipv4Address
    serve: list[str] = Field(default_factory=list, description="ports of a small web server: 80, 53/udp")


class Cluster(Strict):
    """The lab runs on a Kubernetes cluster of its name; what it is made of is as `netlab cluster up` has it."""

    nodes: int = Field(3, ge=1, le=NODES_MAX, description="how many, the control plane included")
    network: NetworkName = Field("flannel-vxlan", description="how pods of different nodes reach each other")
    proxy: ProxyMode = Field("iptables", description="how Services are served")
    store: StoreKind = Field("sqlite", description="where the API server keeps its objects")
    ipv6: bool = Field(False, description="nodes and pods have IPv6 addresses, too")
    node_monitor_grace_period: int = Field(
        NODE_GRACE, ge=NODE_GRACE_MIN, description="seconds that a node may be silent before its pods are given up"
    )
    outside: dict[Label, Outside] = Field(default_factory=dict, description="machines that are none of its nodes")


class Agents(Strict):
    """Daemons that follow the lab's manifests."""

    proxy: Proxy | None = None
    policyd: Policyd | None = None


Route.model_rebuild()
