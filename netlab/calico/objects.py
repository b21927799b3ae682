"""The objects as small frozen values, and the door at which plain dicts become them.

Shapes: crd.projectcalico.org/v1 of Calico v3.2x; fields that decide nothing here are accepted and left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal

from netlab.base.addresses import Address, Interface, Network
from netlab.base.errors import InputError, Problem
from netlab.calico import selectors
from netlab.calico.fields import Fields, Given

GROUPS = ("crd.projectcalico.org/v1", "projectcalico.org/v3")
#: Calico's defaults
AS_NUMBER, BLOCK_SIZE, BLOCK_SIZE_V6 = 64512, 26, 122

Encapsulation = Literal["Never", "Always", "CrossSubnet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IPPool:
    """Addresses for pods. block_size: prefix length of blocks; selector: of the nodes that may use it."""

    name: str
    cidr: Network
    block_size: int
    ipip: Encapsulation = "Never"
    nat_outgoing: bool = False
    selector: str = "all()"
    disabled: bool = False
    exported: bool = True

    def serves(self, node: Node) -> bool:
        """Whether the node may take blocks of it."""
        return not self.disabled and selectors.parse(self.selector)(node.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """Communities that announcements within a prefix carry."""

    cidr: Network
    communities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BGPConfiguration:
    """What holds for all nodes. password: (secret, key) of the mesh."""

    asn: int = AS_NUMBER
    mesh: bool = True
    listen_port: int = 179
    password: tuple[str, str] | None = None
    advertisements: tuple[Advertisement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BGPPeer:
    """A session beside the mesh. node: of this one alone; selector: of those; neither: of all.

    address: the peer's, with port; or peers: the nodes that this selector means.
    """

    name: str
    node: str | None = None
    selector: str | None = None
    address: Address | None = None
    port: int = 179
    asn: int | None = None
    peers: str | None = None
    password: tuple[str, str] | None = None
    ttl_security: int | None = None
    keep_next_hop: bool = False
    allow_own_as: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as Calico knows it. cluster: it is a route reflector of that cluster; tunnel: its address on tunl0."""

    name: str
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    ipv4: IPv4Interface | None = None
    ipv6: IPv6Interface | None = None
    asn: int | None = None
    cluster: str | None = None
    tunnel: Address | None = None

    def address(self, version: int) -> Interface | None:
        """Its address of a family."""
        return self.ipv4 if version == 4 else self.ipv6


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAMConfig:
    """strict: nobody borrows from another node's block; max_blocks: of one node, 0 for any number."""

    strict: bool = False
    auto_blocks: bool = True
    max_blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """All that is known. blocks: IPAMBlock objects as they are, for `ipam`; secrets: by (name, key)."""

    pools: tuple[IPPool, ...] = ()
    bgp: BGPConfiguration = BGPConfiguration()
    peers: tuple[BGPPeer, ...] = ()
    nodes: tuple[Node, ...] = ()
    ipam: IPAMConfig = IPAMConfig()
    reservations: tuple[Network, ...] = ()
    blocks: tuple[Given, ...] = ()
    secrets: dict[tuple[str, str], str] = field(default_factory=dict, hash=False, repr=False)

    def pool_of(self, address: Address) -> IPPool | None:
        """The pool that has an address."""
        return next((p for p in self.pools if p.cidr.version == address.version and address in p.cidr), None)


def read(given: Iterable[Given]) -> Objects:
    """Everything at once. InputError with every problem, each with its place, object and field."""
    reader = _Reader()
    for one in given:
        reader.take(one)
    reader.together()
    if reader.problems:
        raise InputError(sorted(set(reader.problems)))
    return Objects(
        pools=tuple(reader.pools), bgp=reader.bgp, peers=tuple(reader.peers), nodes=tuple(reader.nodes),
        ipam=reader.ipam, reservations=tuple(reader.reservations), blocks=tuple(reader.blocks),
        secrets=reader.secrets,
    )  # fmt: skip


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.pools: list[IPPool] = []
        self.bgp = BGPConfiguration()
        self.peers: list[BGPPeer] = []
        self.nodes: list[Node] = []
        self.ipam = IPAMConfig()
        self.reservations: list[Network] = []
        self.blocks: list[Given] = []
        self.secrets: dict[tuple[str, str], str] = {}
        self._places: dict[tuple[str, str], str] = {}
        self._fields: dict[str, Fields] = {}

    def take(self, given: Given) -> None:
        f = Fields(given, self.problems)
        wanted = "v1" if f.kind == "Secret" else GROUPS
        if f.kind not in _KINDS:
            f.problem(("kind",), f"kind {f.kind!r} is not known here", f"one of {', '.join(sorted(_KINDS))}")
            return
        if f.data.get("apiVersion") not in wanted:
            f.problem(("apiVersion",), f"apiVersion {f.data.get('apiVersion')!r}", f"{GROUPS[0]} is meant")
            return
        known = self._places.setdefault((f.kind, f.name), f.place())
        if known != f.place():
            f.problem(("metadata", "name"), f"it is there twice, also at {known}")
            return
        _KINDS[f.kind](self, f)

    def together(self) -> None:
        """What only all of them show."""
        for i, pool in enumerate(self.pools):
            for other in self.pools[:i]:
                if pool.cidr.version == other.cidr.version and pool.cidr.overlaps(other.cidr):
                    self._fields[f"pool {pool.name}"].problem(
                        ("spec", "cidr"), f"{pool.cidr} overlaps {other.cidr} of IPPool {other.name}"
                    )
        known = {node.name for node in self.nodes}
        for peer in self.peers:
            fields = self._fields[f"peer {peer.name}"]
            if peer.node is not None and known and peer.node not in known:
                fields.problem(("spec", "node"), f"there is no node {peer.node!r}", f"there are: {', '.join(known)}")
            if peer.password and peer.password not in self.secrets:
                fields.problem(
                    ("spec", "password"), f"there is no key {peer.password[1]!r} in Secret {peer.password[0]!r}"
                )
        if self.bgp.password and self.bgp.password not in self.secrets:
            secret, key = self.bgp.password
            self._fields["bgp"].problem(("spec", "nodeMeshPassword"), f"there is no key {key!r} in Secret {secret!r}")

    # -- by kind

    def pool(self, f: Fields) -> None:
        f.known("spec", "cidr", "blockSize", "ipipMode", "vxlanMode", "natOutgoing", "nodeSelector", "disabled",
                "disableBGPExport", "allowedUses", "assignmentMode", "namespaceSelector")  # fmt: skip
        cidr = f.network("spec", "cidr", required=True)
        if cidr is None:
            return
        least, most, usual = (20, 32, BLOCK_SIZE) if cidr.version == 4 else (116, 128, BLOCK_SIZE_V6)
        size = f.number("spec", "blockSize", default=usual, low=least, high=most)
        if size < cidr.prefixlen:
            f.problem(("spec", "blockSize"), f"a block of /{size} does not fit into {cidr}")
        ipip = f.choice("spec", "ipipMode", ("Never", "Always", "CrossSubnet"), "Never")
        if f.choice("spec", "vxlanMode", ("Never", "Always", "CrossSubnet"), "Never") != "Never":
            f.problem(("spec", "vxlanMode"), "VXLAN is not made by this netlab", "Never, or ipipMode; or a flannel lab")
        if ipip != "Never" and cidr.version == 6:
            f.problem(("spec", "ipipMode"), "IPIP carries IPv4 alone", "Never")
        self._fields[f"pool {f.name}"] = f
        self.pools.append(IPPool(
            name=f.name, cidr=cidr, block_size=size, ipip=ipip,  # type: ignore[arg-type]  # one of the choices
            nat_outgoing=f.flag("spec", "natOutgoing"), selector=f.selector("spec", "nodeSelector") or "all()",
            disabled=f.flag("spec", "disabled"), exported=not f.flag("spec", "disableBGPExport"),
        ))  # fmt: skip

    def configuration(self, f: Fields) -> None:
        f.known("spec", "asNumber", "nodeToNodeMeshEnabled", "listenPort", "nodeMeshPassword", "communities",
                "prefixAdvertisements", "logSeverityScreen", "serviceClusterIPs", "serviceExternalIPs",
                "serviceLoadBalancerIPs", "nodeMeshMaxRestartTime", "bindMode", "ignoredInterfaces")  # fmt: skip
        if f.name != "default":
            f.problem(("metadata", "name"), "only the BGPConfiguration of the name default counts")
            return
        named = {}
        for i in range(len(f.items("spec", "communities"))):
            name, value = f.text("spec", "communities", i, "name"), f.community("spec", "communities", i, "value")
            if name and value:
                named[name] = value
        advertisements = []
        for i, entry in enumerate(f.items("spec", "prefixAdvertisements")):
            where = ("spec", "prefixAdvertisements", i)
            cidr = f.network(*where, "cidr", required=True)
            given = entry.get("communities", []) if isinstance(entry, dict) else []
            said = [named.get(c) or f.community(*where, "communities", n) for n, c in enumerate(given)]
            if cidr is not None:
                advertisements.append(Advertisement(cidr=cidr, communities=tuple(c for c in said if c)))
        self._fields["bgp"] = f
        self.bgp = BGPConfiguration(
            asn=f.asn("spec", "asNumber") or AS_NUMBER, mesh=f.flag("spec", "nodeToNodeMeshEnabled", default=True),
            listen_port=f.number("spec", "listenPort", default=179, low=1, high=65535),
            password=f.secret("spec", "nodeMeshPassword"), advertisements=tuple(advertisements),
        )  # fmt: skip

    def peer(self, f: Fields) -> None:
        f.known("spec", "node", "nodeSelector", "peerIP", "asNumber", "peerSelector", "password", "ttlSecurity",
                "keepOriginalNextHop", "numAllowedLocalASNumbers", "sourceAddress", "maxRestartTime", "filters",
                "reachableBy", "failureDetectionMode")  # fmt: skip
        address, port = f.endpoint("spec", "peerIP")
        asn, peers = f.asn("spec", "asNumber"), f.selector("spec", "peerSelector")
        if (address is None) == (peers is None):
            f.problem(("spec",), "says either peerIP with asNumber, or peerSelector")
            return
        if address is not None and asn is None:
            f.problem(("spec", "asNumber"), f"the AS of {address} is missing")
            return
        self._fields[f"peer {f.name}"] = f
        self.peers.append(BGPPeer(
            name=f.name, node=f.text("spec", "node"), selector=f.selector("spec", "nodeSelector"), address=address,
            port=port, asn=asn, peers=peers, password=f.secret("spec", "password"),
            ttl_security=f.number("spec", "ttlSecurity", default=0, low=0, high=254) or None,
            keep_next_hop=f.flag("spec", "keepOriginalNextHop"),
            allow_own_as=f.number("spec", "numAllowedLocalASNumbers", default=0, low=0, high=10),
        ))  # fmt: skip

    def node(self, f: Fields) -> None:
        labels = f.get("metadata", "labels") or {}
        ipv4, ipv6 = f.interface("spec", "bgp", "ipv4Address"), f.interface("spec", "bgp", "ipv6Address")
        for key, found, kind in (("ipv4Address", ipv4, IPv4Interface), ("ipv6Address", ipv6, IPv6Interface)):
            if found is not None and not isinstance(found, kind):
                f.problem(("spec", "bgp", key), f"{found} is of the other family")
        self.nodes.append(Node(
            name=f.name, labels={str(k): str(v) for k, v in labels.items()},
            ipv4=ipv4 if isinstance(ipv4, IPv4Interface) else None,
            ipv6=ipv6 if isinstance(ipv6, IPv6Interface) else None,
            asn=f.asn("spec", "bgp", "asNumber"), cluster=f.text("spec", "bgp", "routeReflectorClusterID"),
            tunnel=f.address("spec", "bgp", "ipv4IPIPTunnelAddr"),
        ))  # fmt: skip

    def config(self, f: Fields) -> None:
        self.ipam = IPAMConfig(
            strict=f.flag("spec", "strictAffinity"), auto_blocks=f.flag("spec", "autoAllocateBlocks", default=True),
            max_blocks=f.number("spec", "maxBlocksPerHost", default=0, low=0, high=1 << 16),
        )  # fmt: skip

    def reservation(self, f: Fields) -> None:
        for i in range(len(f.items("spec", "reservedCIDRs"))):
            cidr = f.network("spec", "reservedCIDRs", i, required=True)
            if cidr is not None:
                self.reservations.append(cidr)

    def block(self, f: Fields) -> None:
        self.blocks.append(f.given)

    def derived(self, _f: Fields) -> None:
        """Affinities and handles say again what the blocks say."""

    def secret(self, f: Fields) -> None:
        self.secrets |= {(f.name, key): value for key, value in f.secrets().items()}


_KINDS = {
    "IPPool": _Reader.pool, "BGPConfiguration": _Reader.configuration, "BGPPeer": _Reader.peer, "Node": _Reader.node,
    "IPAMConfig": _Reader.config, "IPReservation": _Reader.reservation, "IPAMBlock": _Reader.block,
    "BlockAffinity": _Reader.derived, "IPAMHandle": _Reader.derived, "Secret": _Reader.secret,
}  # fmt: skip
