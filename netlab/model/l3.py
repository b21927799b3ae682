"""Layer 3 and its helpers: addresses, routes, rules, neighbours, forwarding database entries."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import ClassVar, Literal

from netlab.base.addresses import Address as IpAddress
from netlab.base.addresses import Interface, Network
from netlab.model.item import Item, Key, address_key, interface_key, network_key

Scope = Literal["global", "site", "link", "host", "nowhere"]
RouteType = Literal["unicast", "blackhole", "unreachable", "prohibit", "local", "throw"]

TABLE_MAIN, TABLE_LOCAL, TABLE_DEFAULT = 254, 255, 253
#: /etc/iproute2/rt_protos; `ip route add` without `proto` writes boot
PROTOCOLS: dict[str, int] = {
    "redirect": 1, "kernel": 2, "boot": 3, "static": 4, "ra": 9, "bird": 12, "dhcp": 16, "bgp": 186,
}  # fmt: skip
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
#: what the kernel gives an IPv6 route without a metric (include/net/ip6_route.h, IP6_RT_PRIO_USER)
METRIC6 = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Item):
    """An address of a device. `address` carries the prefix length; broadcast is IPv4's.

    IPv6 addresses are added with `nodad`: a lab's addresses are unique by construction, and duplicate address
    detection would hold traffic back for a second. Whether an address was made so is not compared.
    """

    RANK: ClassVar[int] = 20
    NOUN: ClassVar[str] = "address"

    dev: str
    address: Interface
    scope: Scope = "global"
    broadcast: IPv4Address | None = None

    @property
    def key(self) -> Key:
        return (self.dev, *interface_key(self.address))

    def __str__(self) -> str:
        return f"address {self.address} dev {self.dev}"


@dataclass(frozen=True, slots=True, order=True)
class NextHop:
    """One way of a multipath route. weight: 1 to 256."""

    dev: str
    via: IpAddress | None = None
    weight: int = 1
    onlink: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Item):
    """A route. Either `nexthops` or `dev` with an optional `via`; neither for blackhole and its like.

    protocol: a name of /etc/iproute2/rt_protos or a number as text; metric: lower wins; mtu: bytes, 0 for none.
    """

    RANK: ClassVar[int] = 60
    NOUN: ClassVar[str] = "route"

    dst: Network
    dev: str | None = None
    via: IpAddress | None = None
    src: IpAddress | None = None
    type: RouteType = "unicast"
    table: int = TABLE_MAIN
    metric: int = 0
    protocol: str = "boot"
    scope: Scope | None = None
    onlink: bool = False
    mtu: int = 0
    nexthops: tuple[NextHop, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.dst.version == 6:
            put(self, "metric", self.metric or METRIC6)
            put(self, "scope", "global")  # IPv6 routes have no scope of their own
        elif self.scope is None:
            direct = self.type == "unicast" and self.via is None and not self.nexthops
            put(self, "scope", "host" if self.type == "local" else "link" if direct else "global")
        if self.type == "unicast" and not self.dev and not self.nexthops:
            raise ValueError(f"route {self.dst} needs a device or next hops")
        if self.nexthops and (self.dev or self.via):
            raise ValueError(f"route {self.dst} has both next hops and a device or gateway")
        if len(self.nexthops) == 1:
            raise ValueError(f"route {self.dst} has a single next hop; give it as dev and via")
        put(self, "nexthops", tuple(sorted(self.nexthops, key=lambda n: (n.dev, address_key(n.via)))))

    @property
    def devices(self) -> frozenset[str]:
        """Devices without which the kernel drops the route."""
        return frozenset([n.dev for n in self.nexthops] + ([self.dev] if self.dev else []))

    @property
    def key(self) -> Key:
        # direct routes sort before those with a gateway, so that creation in order finds the gateway reachable
        indirect = int(bool(self.via) or any(n.via for n in self.nexthops))
        return (self.dst.version, self.table, indirect, *network_key(self.dst), self.metric)

    @property
    def identity(self) -> Key:
        """What the kernel tells routes apart by."""
        return (self.dst.version, self.table, *network_key(self.dst), self.metric)

    def __str__(self) -> str:
        name = "default" if self.dst.prefixlen == 0 else str(self.dst)
        return f"route {name}" + (f" table {self.table}" if self.table != TABLE_MAIN else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Item):
    """A policy routing rule (ip-rule(8)). mask applies to fwmark; action is a look-up in `table` or a refusal."""

    RANK: ClassVar[int] = 70
    NOUN: ClassVar[str] = "rule"

    priority: int
    family: Literal[4, 6] = 4
    src: Network | None = None
    dst: Network | None = None
    fwmark: int = 0
    mask: int = 0xFFFFFFFF
    iif: str | None = None
    oif: str | None = None
    invert: bool = False
    action: Literal["lookup", "blackhole", "unreachable", "prohibit"] = "lookup"
    table: int = TABLE_MAIN

    def __post_init__(self) -> None:
        if not self.fwmark:
            object.__setattr__(self, "mask", 0)
        if self.action != "lookup":
            object.__setattr__(self, "table", 0)

    @property
    def key(self) -> Key:
        def part(network: Network | None) -> Key:
            return network_key(network) if network else (0, 0, 0)

        matches: Key = (*part(self.src), *part(self.dst), self.fwmark, self.mask, self.iif or "", self.oif or "")
        return (self.family, self.priority, *matches, int(self.invert), self.action, self.table)

    def __str__(self) -> str:
        return f"rule {self.priority} (IPv{self.family})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour(Item):
    """A permanent ARP or NDP entry, or with `proxy` an address that `dev` answers for (then without a MAC)."""

    RANK: ClassVar[int] = 40
    NOUN: ClassVar[str] = "neighbour"

    dev: str
    address: IpAddress
    mac: str | None = None
    proxy: bool = False

    def __post_init__(self) -> None:
        if bool(self.mac) == self.proxy:
            raise ValueError(f"neighbour {self.address}: a MAC for an entry, none for a proxy")

    @property
    def key(self) -> Key:
        return (self.dev, *address_key(self.address), int(self.proxy))

    def __str__(self) -> str:
        return f"neighbour {'proxy ' if self.proxy else ''}{self.address} dev {self.dev}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fdb(Item):
    """A static forwarding entry: of a VXLAN device (`dst`: the VTEP behind which `mac` lives) or of a bridge port."""

    RANK: ClassVar[int] = 50
    NOUN: ClassVar[str] = "fdb"

    dev: str
    mac: str
    dst: IpAddress | None = None

    @property
    def key(self) -> Key:
        # the all-zero MAC is VXLAN's default entry and may have many destinations; any other MAC has one place
        flood = address_key(self.dst) if self.mac == "00:00:00:00:00:00" else ()
        return (self.dev, self.mac, *flood)

    def __str__(self) -> str:
        return f"fdb {self.mac} dev {self.dev}"
