"""A lab with every name and address decided: what `machines.compile_lab` turns into HostStates.

`why` fields are places such as `labs/docker0/lab.yaml:14`; they travel into every item that comes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from netlab.base.addresses import Address, Interface, Network
from netlab.model import Item, Kind, Netem, Tbf
from netlab.model.l3 import RouteType


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """What a link does to the packets that leave through one of its ends. root first, then the qdisc below it."""

    qdiscs: tuple[Tbf | Netem, ...]
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """A route as asked for. `to` holds one network; via and dev as in `ip route`."""

    to: Network
    via: Address | None = None
    dev: str | None = None
    src: Address | None = None
    table: int = 254
    metric: int = 0
    mtu: int = 0
    onlink: bool = False
    type: RouteType = "unicast"
    nexthops: tuple[tuple[Address | None, str, int], ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticNeighbour:
    """A permanent ARP or NDP entry, or a proxied address if mac is None."""

    address: Address
    dev: str
    mac: str | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFdb:
    """A forwarding entry of a bridge port or (with dst) of a VXLAN device."""

    mac: str
    dev: str
    dst: Address | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRule:
    """A policy routing rule."""

    priority: int
    family: Literal[4, 6]
    table: int
    src: Network | None = None
    dst: Network | None = None
    fwmark: int = 0
    iif: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallRule:
    """One iptables rule in the words of iptables-save."""

    family: Literal[4, 6]
    table: str
    chain: str
    rule: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A network device of a node or container. peer: (namespace's node, device) for a veth end."""

    name: str
    kind: Kind | None  # None: a veth end, see peer
    peer: tuple[str, str] | None = None
    addresses: tuple[Interface, ...] = ()
    mac: str | None = None
    mtu: int = 0
    up: bool = True
    master: str | None = None
    hairpin: bool = False
    impairment: Impairment | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A container's port on its host: host_port to address:port."""

    host_port: int
    protocol: Literal["tcp", "udp", "sctp"]
    address: Address
    port: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerBridge:
    """What a container engine does for one bridge: masquerade, published ports, rules in FORWARD."""

    name: str
    subnets: tuple[Network, ...]
    masquerade: bool = True
    hairpin: bool = False
    published: tuple[Published, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A program that runs in a node. argv None: the small built-in web server on `serve` (port, protocol) pairs.

    In argv and env, `{run}` stands for the lab's directory, and a first word `netlab` for this netlab.
    notify: it tells when it is ready (sd_notify(3)), and the lab is not up before. claims: the file, in the lab's
    directory, in which it keeps what of its node's network is its own. config, control: of a bgpd, the file in the
    lab's directory that it reads again when told to, and the socket at which it answers. package: what brings
    the program (argv's first word if it is None). routes: the protocol of routes that it makes without telling anybody.
    feature: of the kernel, without which it can do nothing, as `netlab doctor` calls it.
    """

    name: str
    argv: tuple[str, ...] | None
    serve: tuple[tuple[int, str], ...] = ()
    restart: Literal["always", "on-failure", "never"] = "always"
    env: tuple[tuple[str, str], ...] = ()
    notify: bool = False
    claims: str | None = None
    config: str | None = None
    control: str | None = None
    package: str | None = None
    program: str | None = None
    routes: str | None = None
    feature: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file in the lab's directory of /run/netlab, there before the first process starts. path: relative to it."""

    path: str
    content: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node, container or switch: one network namespace, or for a container that shares, the name of its host.

    role: node, container or network. shares: the place whose namespace it lives in (`--net=host`, `--net=container:`).
    """

    name: str
    role: Literal["node", "container", "network"]
    on: str | None = None
    shares: str | None = None
    devices: tuple[Device, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    rules: tuple[StaticRule, ...] = ()
    neighbours: tuple[StaticNeighbour, ...] = ()
    fdb: tuple[StaticFdb, ...] = ()
    sysctls: tuple[tuple[str, str, str], ...] = ()  # name, value, why
    firewall: tuple[FirewallRule, ...] = ()
    policies: tuple[tuple[Literal[4, 6], str, str, Literal["ACCEPT", "DROP"], str], ...] = ()
    bridges: tuple[ContainerBridge, ...] = ()
    processes: tuple[Process, ...] = ()
    items: tuple[Item, ...] = ()  # what other pure code has decided about this namespace
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole lab: its name, and its places in the order of the file."""

    name: str
    title: str = ""
    places: tuple[Place, ...] = ()
    files: tuple[File, ...] = ()
    source: str = ""
    by_name: dict[str, Place] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {place.name: place for place in self.places})

    def netns(self, place: str) -> str:
        """The namespace in which a place lives: `<lab>.<node>`, that of its host for one that shares."""
        shares = self.by_name[place].shares
        return self.netns(shares) if shares else f"{self.name}.{place}"

    @property
    def namespaces(self) -> list[str]:
        """Names of all namespaces of the lab, in order."""
        return [self.netns(place.name) for place in self.places if not place.shares]
