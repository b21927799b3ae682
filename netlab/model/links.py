"""Network devices: one `Link` per device, its kind as a small value of its own (ip-link(8))."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from netlab.base.addresses import Address, Network
from netlab.base.names import device_name_problem
from netlab.model.item import Item, Key


@dataclass(frozen=True, slots=True)
class Loopback:
    """`lo`, which every namespace has from birth; it is set up or down, never made or removed."""

    NAME: ClassVar[str] = "loopback"


@dataclass(frozen=True, slots=True)
class Veth:
    """One end of a veth pair. peer: the other end's device name; peer_netns: its namespace ("" for the same)."""

    NAME: ClassVar[str] = "veth"
    peer: str
    peer_netns: str = ""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge. ageing: seconds that a learnt address is kept; forward_delay: seconds of STP listening and learning.

    default_pvid: the VLAN that the kernel gives to the bridge and to each new port, as PVID and untagged; 0 for none.
    """

    NAME: ClassVar[str] = "bridge"
    stp: bool = False
    vlan_filtering: bool = False
    ageing: int = 300
    forward_delay: int = 15
    mcast_snooping: bool = True
    default_pvid: int = 1


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A VXLAN tunnel end (VTEP). port: UDP destination port; local: outer source; dev: underlay device.

    gbp: carries a packet's mark to the other side (Group Policy extension).
    """

    NAME: ClassVar[str] = "vxlan"
    vni: int
    port: int = 4789
    local: Address | None = None
    group: Address | None = None
    dev: str | None = None
    learning: bool = True
    ttl: int = 0
    gbp: bool = False


@dataclass(frozen=True, slots=True)
class Tun:
    """A persistent TUN (layer 3) or TAP (layer 2) device behind /dev/net/tun."""

    NAME: ClassVar[str] = "tun"
    mode: Literal["tun", "tap"] = "tun"
    packet_info: bool = False
    vnet_hdr: bool = False
    multi_queue: bool = False


@dataclass(frozen=True, slots=True)
class Ipip:
    """An IPv4-in-IPv4 tunnel."""

    NAME: ClassVar[str] = "ipip"
    local: Address | None = None
    remote: Address | None = None
    dev: str | None = None
    ttl: int = 0
    pmtudisc: bool = True


#: tunl0, which the ipip module puts into every namespace: it can be set up and down, its options cannot be changed
TUNL0 = Ipip(pmtudisc=False)


@dataclass(frozen=True, slots=True)
class WireguardPeer:
    """A WireGuard peer. Keys in base64; endpoint as (address, port); keepalive in seconds, 0 for off."""

    public_key: str
    allowed_ips: tuple[Network, ...] = ()
    endpoint: tuple[Address, int] | None = None
    keepalive: int = 0
    preshared_key: str | None = None

    def __post_init__(self) -> None:
        # the kernel keeps them in an order of its own
        ordered = sorted(self.allowed_ips, key=lambda n: (n.version, n.network_address.packed, n.prefixlen))
        object.__setattr__(self, "allowed_ips", tuple(ordered))


@dataclass(frozen=True, slots=True)
class Wireguard:
    """A WireGuard device. private_key in base64."""

    NAME: ClassVar[str] = "wireguard"
    private_key: str = field(repr=False)
    listen_port: int = 0
    fwmark: int = 0
    peers: tuple[WireguardPeer, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "peers", tuple(sorted(self.peers, key=lambda peer: peer.public_key)))


@dataclass(frozen=True, slots=True)
class Dummy:
    """A device that swallows what it is given."""

    NAME: ClassVar[str] = "dummy"


@dataclass(frozen=True, slots=True)
class Macvlan:
    """A device with its own MAC on top of `parent`."""

    NAME: ClassVar[str] = "macvlan"
    parent: str
    mode: Literal["bridge", "private", "vepa", "passthru"] = "bridge"


@dataclass(frozen=True, slots=True)
class OtherKind:
    """A kind that netlab reads but does not make."""

    NAME: ClassVar[str] = "other"
    name: str


Kind = Loopback | Veth | Bridge | Vxlan | Tun | Ipip | Wireguard | Dummy | Macvlan | OtherKind
KINDS: tuple[type, ...] = (Loopback, Veth, Bridge, Vxlan, Tun, Ipip, Wireguard, Dummy, Macvlan, OtherKind)

#: the MTU of a kind when nobody asks for another: 20 bytes less for outer IPv4, 50 for VXLAN, 80 for WireGuard
DEFAULT_MTU: dict[type, int] = {Loopback: 65536, Ipip: 1480, Vxlan: 1450, Wireguard: 1420}


#: devices that a loaded tunnel module puts into every new namespace, down (net.core.fb_tunnels_only_for_init_net)
FALLBACK_TUNNELS = frozenset(
    {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
)


@dataclass(frozen=True, slots=True)
class BridgePort:
    """What a device is as a port of its master bridge (bridge(8), `bridge link`)."""

    hairpin: bool = False
    learning: bool = True
    flood: bool = True
    isolated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Item):
    """A network device.

    mac: None leaves the choice to the kernel; mtu: bytes, 0 stands for the kind's usual one; master: the bridge whose
    port it is; port: only for a port; alias: free text of at most 255 bytes, shown by `ip link`.
    """

    RANK: ClassVar[int] = 10
    NOUN: ClassVar[str] = "link"

    name: str
    kind: Kind
    up: bool = True
    mtu: int = 0
    mac: str | None = None
    master: str | None = None
    port: BridgePort | None = None
    alias: str = ""

    def __post_init__(self) -> None:
        problem = device_name_problem(self.name)
        if problem:
            raise ValueError(problem)
        if not self.mtu:
            object.__setattr__(self, "mtu", DEFAULT_MTU.get(type(self.kind), 1500))
        if self.master and self.port is None:
            object.__setattr__(self, "port", BridgePort())
        if self.port and not self.master:
            raise ValueError(f"link {self.name} has port options but no master bridge")

    @property
    def key(self) -> Key:
        return (self.name,)

    @property
    def parent(self) -> str | None:
        """The device of the same namespace that must exist before this one."""
        match self.kind:
            case Macvlan(parent=parent):
                return parent
            case Vxlan(dev=dev) | Ipip(dev=dev):
                return dev
            case _:
                return None

    def met_by(self, actual: Item) -> bool:
        if not isinstance(actual, Link):
            return False
        return self == (actual if self.mac else replace(actual, mac=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeVlan(Item):
    """A VLAN whose frames a bridge with VLAN filtering lets in and out at `dev` (bridge(8), `bridge vlan`).

    vid: 1 to 4094; pvid: frames that come in without a tag belong to it; untagged: its frames leave without a tag;
    on_bridge: `dev` is the bridge itself, which is the way to the host, and not a port.

    The VLAN of a bridge's `default_pvid` is the kernel's own, and nobody's unless it is asked for: see `vlans`.
    """

    RANK: ClassVar[int] = 45
    NOUN: ClassVar[str] = "vlan"

    dev: str
    vid: int
    pvid: bool = False
    untagged: bool = False
    on_bridge: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.vid <= 4094:
            raise ValueError(f"vlan {self.vid} dev {self.dev}: a VLAN has a number from 1 to 4094")

    @property
    def key(self) -> Key:
        return (self.dev, self.vid)

    def __str__(self) -> str:
        return f"vlan {self.vid} dev {self.dev}"
