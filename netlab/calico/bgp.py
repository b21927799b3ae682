"""What the nodes' BGP speakers are to do: a configuration for each, as `netlab bgpd --config` reads it.

A mesh of all nodes that are no route reflectors; reflectors and other peers as BGPPeer objects say. Each node announces
its blocks, and one by one the addresses that it has borrowed. Names of peers are those of Calico's templates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_network
from typing import Any

from netlab.base.addresses import Address, Network, inside
from netlab.base.errors import InputError
from netlab.calico import selectors
from netlab.calico.ipam import Ipam
from netlab.calico.objects import BGPPeer, Node, Objects

#: ways that share the load of a prefix: as many as there are, within reason
WAYS_MAX = 16
#: names of policies in a configuration
IMPORT, OUTWARD, KEEP = "calico-import", "calico-export-outward", "calico-export-keep-next-hop"


def config(node: Node, objects: Objects, ipam: Ipam) -> dict[str, Any]:
    """The configuration of one node. InputError if it has no address to be known by."""
    asn = node.asn or objects.bgp.asn
    router: dict[str, Any] = {
        "as": asn, "id": str(_router_id(node)), "name": node.name, "kernel": {"protocol": "bird"},
        "multipath": WAYS_MAX, "multipath_relax": True,
    }  # fmt: skip
    if objects.bgp.listen_port != 179:
        router["listen"] = [{"address": a, "port": objects.bgp.listen_port} for a in ("0.0.0.0", "::")]
    if node.cluster:
        router["cluster_id"] = node.cluster
    peers = _peers(node, asn, objects)
    own = [{"match": {"source": "local"}, "then": "accept", "name": "blocks of this node"}]
    return {
        "router": router,
        "networks": _networks(node, objects, ipam),
        "policies": {
            # a node that is about to leave marks its routes, and is used only where there is no other (RFC 8326)
            IMPORT: {
                "rules": [{"name": "graceful shutdown", "match": {"communities": "65535:0"}, "set": {"local_pref": 0}}],
                "default": "accept",
            },
            # what was heard from other nodes is theirs to tell
            OUTWARD: {"rules": own},
            KEEP: {"rules": [{**own[0], "set": {"next_hop": "unchanged"}}]},
        },
        "peers": peers,
    }


def _router_id(node: Node) -> IPv4Address:
    if node.ipv4 is not None:
        return node.ipv4.ip
    if node.ipv6 is None:
        raise InputError(f"Node {node.name} has no address: spec.bgp.ipv4Address or ipv6Address")
    # any number will do that no other node has; Calico hashes the name
    return IPv4Address(hashlib.sha256(node.name.encode()).digest()[:4])


def _networks(node: Node, objects: Objects, ipam: Ipam) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def add(prefix: Network, *, blackhole: bool) -> None:
        pool = objects.pool_of(prefix.network_address)
        if pool is None or not pool.exported:
            return
        said = [c for ad in objects.bgp.advertisements if inside(prefix, ad.cidr) for c in ad.communities]
        plain = [c for c in said if c.count(":") == 1]
        large = [c for c in said if c.count(":") == 2]
        found.append({
            "prefix": str(prefix), **({"blackhole": True} if blackhole else {}),
            **({"communities": plain} if plain else {}), **({"large_communities": large} if large else {}),
        })  # fmt: skip

    for block in ipam.affine(node.name):
        add(block.cidr, blackhole=True)
    for address in ipam.borrowed(node.name):
        add(ip_network(address), blackhole=False)
    return found


def _peers(node: Node, asn: int, objects: Objects) -> list[dict[str, Any]]:
    out: dict[tuple[str, int], dict[str, Any]] = {}

    def add(kind: str, address: Address, its: int, peer: BGPPeer | None, other: Node | None, password: Any) -> None:
        """The first to name an address has it: the mesh, then peers of this node, then those of all."""
        port = peer.port if peer and peer.address else objects.bgp.listen_port
        key = str(address), port
        if key in out:
            return
        entry: dict[str, Any] = {
            "name": f"{kind}_{re.sub('[.:]', '_', str(address))}", "address": str(address), "as": its,
            "families": [f"ipv{address.version}"], "connect_retry": 1, "import": IMPORT,
        }  # fmt: skip
        if port != 179:
            entry["port"] = port
        if its != asn:
            entry |= {"export": KEEP if peer and peer.keep_next_hop else OUTWARD}
        elif node.cluster and (other is None or other.cluster != node.cluster):
            entry["route_reflector_client"] = True
        if password:
            entry["password"] = objects.secrets[password]
        if peer and peer.ttl_security:
            entry["ttl_security"] = peer.ttl_security
        if peer and peer.allow_own_as:
            entry["allow_own_as"] = peer.allow_own_as
        out[key] = entry

    if objects.bgp.mesh and not node.cluster:
        for other in objects.nodes:
            if other.name != node.name and not other.cluster:
                for address in _shared(node, other):
                    add("Mesh", address, other.asn or objects.bgp.asn, None, other, objects.bgp.password)
    for kind, peer, far in _meant(node, objects):
        if far is not None:
            for address in _shared(node, far):
                add(kind, address, far.asn or objects.bgp.asn, peer, far, peer.password)
        elif peer.address is not None and node.address(peer.address.version) is not None:
            add(kind, peer.address, peer.asn or asn, peer, None, peer.password)
    return list(out.values())


def _meant(node: Node, objects: Objects) -> Iterable[tuple[str, BGPPeer, Node | None]]:
    """BGPPeers that concern a node, those for it alone first; a peer that selects nodes counts from both sides."""
    for kind, single in (("Node", True), ("Global", False)):
        for peer in objects.peers:
            if (peer.node is not None or peer.selector is not None) != single:
                continue
            mine = _from(peer, node)
            if peer.peers is None:
                if mine:
                    yield kind, peer, None
                continue
            far = selectors.parse(peer.peers)
            for other in objects.nodes:
                if other.name == node.name:
                    continue
                if (mine and far(other.labels)) or (far(node.labels) and _from(peer, other)):
                    yield kind, peer, other


def _from(peer: BGPPeer, node: Node) -> bool:
    if peer.node is not None:
        return peer.node == node.name
    return peer.selector is None or selectors.parse(peer.selector)(node.labels)


def _shared(node: Node, other: Node) -> list[Address]:
    """Addresses of the other node of families that both have."""
    pairs = ((node.ipv4, other.ipv4), (node.ipv6, other.ipv6))
    return [far.ip for near, far in pairs if near is not None and far is not None]
