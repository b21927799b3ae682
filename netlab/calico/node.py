"""The network of one node, and that of a pod on it, as HostStates.

A pod hangs on a cable without a bridge. Whatever it sends goes to 169.254.1.1, an address that nobody has: the node
answers for it (proxy ARP), as its end of the cable has a MAC that is the same everywhere. The node has a route to each
of its pods. Names and settings are Calico's (cni-plugin, felix).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network
from typing import Literal

from netlab.base.addresses import Address, Network, default_network
from netlab.calico.ipam import Ipam
from netlab.calico.objects import IPPool, Node, Objects
from netlab.model import Address as OnDevice
from netlab.model import Chain, HostState, Ipset, IptablesRule, Item, Link, Route, Sysctl, Veth
from netlab.model.links import TUNL0

#: of the node's end of every pod's cable; the same everywhere, so that a pod may move without asking anew
MAC = "ee:ee:ee:ee:ee:ee"
#: the pod's gateway, which no device has; for IPv6 it is the link-local address that follows from the MAC
GATEWAY, GATEWAY6 = IPv4Address("169.254.1.1"), IPv6Address("fe80::ecee:eeff:feee:eeee")
TUNNEL = "tunl0"
#: octets of the outer IPv4 header
IPIP_OVERHEAD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pod on a node. netns: of the pod, as the node's cable names it; mac: of its own end, None for any."""

    name: str
    namespace: str = "default"
    addresses: tuple[Address, ...]
    netns: str
    interface: str = "eth0"
    mac: str | None = None
    why: str = ""

    @property
    def device(self) -> str:
        """The node's end of its cable."""
        return device_name(self.namespace, self.name)

    @property
    def handle(self) -> str:
        """By which its addresses are known to IPAM."""
        return f"k8s-pod-network.{hashlib.sha256(f'{self.namespace}/{self.name}'.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Way:
    """How a node gets to another's pods."""

    dev: str
    via: Address
    onlink: bool


def device_name(namespace: str, pod: str) -> str:
    """`cali` and the first eleven characters of a hash, as libcalico-go VethNameForWorkload."""
    return "cali" + hashlib.sha1(f"{namespace}.{pod}".encode(), usedforsecurity=False).hexdigest()[:11]


def host_state(
    node: Node, objects: Objects, ipam: Ipam, workloads: Iterable[Workload], *, dev: str, mtu: int = 1500,
    blackholes: bool = True,
) -> HostState:  # fmt: skip
    """All that Calico has on the node. dev: to the other nodes; mtu: of it, octets.

    blackholes: whether the routes of its blocks are in it; not if its BGP speaker makes them, which announces them.
    """
    tunnelled = any(pool.ipip != "Never" for pool in objects.pools)
    pod_mtu = mtu - IPIP_OVERHEAD if tunnelled else mtu
    items: list[Item] = [*_forwarding(objects)]
    for workload in workloads:
        items += _workload(workload, pod_mtu)
    if blackholes:
        items += [
            Route(dst=block.cidr, type="blackhole", why=f"Calico block {block.cidr} of {node.name}")
            for block in ipam.affine(node.name)
        ]
    items += _outgoing(objects.pools)
    if tunnelled:
        items += _tunnel(node, objects, ipam, dev=dev, mtu=pod_mtu)
    return HostState.of(items)


def pod_state(workload: Workload, node_netns: str, *, mtu: int = 1500) -> HostState:
    """The pod's end of its cable."""
    dev, why = workload.interface, workload.why
    items: list[Item] = [Link(name=dev, kind=Veth(workload.device, node_netns), mac=workload.mac, mtu=mtu, why=why)]
    for address in workload.addresses:
        items.append(OnDevice(dev=dev, address=ip_interface(address), why=why))
        gateway: Address = GATEWAY if address.version == 4 else GATEWAY6
        if address.version == 4:
            items.append(Route(dst=ip_network(gateway), dev=dev, why=f"{why}: nobody has it, the node answers for it"))
        items.append(Route(dst=default_network(address.version), via=gateway, dev=dev, why=why))
    return HostState.of(items)


def workload_state(workload: Workload, mtu: int) -> HostState:
    """The node's end of one pod's cable, and what it takes to answer and to route for it. mtu: the pod's, octets."""
    return HostState.of(_workload(workload, mtu))


def pod_mtu(objects: Objects, mtu: int) -> int:
    """What a pod's packets may have, in octets, on a wire of `mtu`."""
    return mtu - IPIP_OVERHEAD if any(pool.ipip != "Never" for pool in objects.pools) else mtu


def way(node: Node, other: Node, pool: IPPool, *, dev: str) -> Way | None:
    """How packets for the other node's pods of a pool leave. None if the two share no family."""
    version = pool.cidr.version
    near, far = node.address(version), other.address(version)
    if near is None or far is None:
        return None
    if pool.ipip == "Always" or (pool.ipip == "CrossSubnet" and far.ip not in near.network):
        return Way(TUNNEL, far.ip, True)
    return Way(dev, far.ip, False)


def _forwarding(objects: Objects) -> Iterator[Item]:
    versions = {pool.cidr.version for pool in objects.pools}
    why = "Calico: a node is the router of its pods"
    if 4 in versions:
        yield Sysctl(name="net/ipv4/ip_forward", value="1", why=why)
    if 6 in versions:
        yield Sysctl(name="net/ipv6/conf/all/forwarding", value="1", why=why)


def _workload(workload: Workload, mtu: int) -> Iterator[Item]:
    dev, why = workload.device, workload.why
    yield Link(name=dev, kind=Veth(workload.interface, workload.netns), mac=MAC, mtu=mtu, why=why)
    settings = {
        f"net/ipv4/conf/{dev}/proxy_arp": ("1", "answers for 169.254.1.1, and for all that the node has a way to"),
        f"net/ipv4/neigh/{dev}/proxy_delay": ("0", "and at once"),
        f"net/ipv4/conf/{dev}/rp_filter": ("1", "a pod cannot send in another's name"),
        f"net/ipv4/conf/{dev}/forwarding": ("1", "its packets go on"),
    }
    if any(a.version == 6 for a in workload.addresses):
        settings |= {
            f"net/ipv6/conf/{dev}/proxy_ndp": ("1", "the same for IPv6"),
            f"net/ipv6/conf/{dev}/forwarding": ("1", "its packets go on"),
        }
        # the kernel makes the link-local address of the MAC, which is the pod's gateway; nobody else has it on a cable
        settings[f"net/ipv6/conf/{dev}/accept_dad"] = ("0", "the pod's gateway answers at once")
    for name, (value, because) in settings.items():
        yield Sysctl(name=name, value=value, why=f"{why}: {because}")
    for address in workload.addresses:
        yield Route(dst=ip_network(address), dev=dev, why=why)


def _outgoing(pools: Iterable[IPPool]) -> Iterator[Item]:
    """natOutgoing: what pods of such a pool send to no pool leaves with the node's address."""
    for version in (4, 6):
        family: Literal[4, 6] = 4 if version == 4 else 6
        of_family = [p for p in pools if p.cidr.version == version]
        masked = [p for p in of_family if p.nat_outgoing]
        if not masked:
            continue
        why = "natOutgoing of " + ", ".join(f"IPPool {p.name}" for p in masked)
        head = "cali40" if version == 4 else "cali60"
        every, some = f"{head}all-ipam-pools", f"{head}masq-ipam-pools"
        yield Ipset(name=every, type="hash:net", family=family, entries=_cidrs(of_family), why="all IPPools")
        yield Ipset(name=some, type="hash:net", family=family, entries=_cidrs(masked), why=why)
        rule = IptablesRule.of(
            f"-m set --match-set {some} src -m set ! --match-set {every} dst -j MASQUERADE --random-fully",
            why=f"{why}: nobody outside has a way back to a pod",
        )
        jumps = (("POSTROUTING", "cali-POSTROUTING"), ("cali-POSTROUTING", "cali-nat-outgoing"))
        for chain, target in jumps:
            jump = IptablesRule.of(f"-j {target}", why=why)
            yield Chain(family=family, table="nat", name=chain, rules=(jump,), why=why)
        yield Chain(family=family, table="nat", name="cali-nat-outgoing", rules=(rule,), why=why)


def _cidrs(pools: Iterable[IPPool]) -> tuple[str, ...]:
    return tuple(str(p.cidr) for p in pools)


def _tunnel(node: Node, objects: Objects, ipam: Ipam, *, dev: str, mtu: int) -> Iterator[Item]:
    """tunl0, and the routes to other nodes' blocks: by the tunnel, or straight to nodes of our own subnet."""
    why = "ipipMode of " + ", ".join(f"IPPool {p.name}" for p in objects.pools if p.ipip != "Never")
    yield Link(name=TUNNEL, kind=TUNL0, mtu=mtu, why=why)
    if node.tunnel is not None:
        yield OnDevice(dev=TUNNEL, address=ip_interface(node.tunnel), why=f"{why}: what the node itself sends by it")
    for other in objects.nodes:
        if other.name == node.name:
            continue
        for cidr in _prefixes(ipam, other.name):
            pool = objects.pool_of(cidr.network_address)
            found = way(node, other, pool, dev=dev) if pool and pool.ipip != "Never" else None
            if pool and found:
                yield Route(
                    dst=cidr, dev=found.dev, via=found.via, onlink=found.onlink,
                    why=f"{cidr} of {other.name}, ipipMode {pool.ipip} of IPPool {pool.name}",
                )  # fmt: skip


def _prefixes(ipam: Ipam, node: str) -> list[Network]:
    """What a node announces: its blocks, and one by one the addresses that it has borrowed."""
    return [*(b.cidr for b in ipam.affine(node)), *(ip_network(a) for a in ipam.borrowed(node))]
