"""What each node's speaker is to do."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from unit.calico.world import NODES, item, node, objects, pool

from netlab.base.errors import InputError
from netlab.bgp.config import Config, loads
from netlab.calico.bgp import config
from netlab.calico.block import Attribute
from netlab.calico.ipam import Ipam
from netlab.calico.objects import Objects


def speaker(o: Objects, name: str, ipam: Ipam | None = None) -> Config:
    """The node's configuration, as its bgpd reads it."""
    found = next(n for n in o.nodes if n.name == name)
    return loads(yaml.safe_dump(config(found, o, ipam or Ipam.of(o))), name)


def peers(c: Config) -> dict[str, tuple[str, int]]:
    return {p.name: (str(p.address), p.asn) for p in c.peers}


def used(o: Objects, *where: str) -> Ipam:
    ipam = Ipam.of(o)
    by_name = {n.name: n for n in o.nodes}
    for i, name in enumerate(where):
        ipam, _ = ipam.assign(by_name[name], Attribute(str(i), (("node", name),)), 4)
    return ipam


def test_a_mesh_of_all_with_a_session_for_each_family() -> None:
    c = speaker(objects(pool(), *NODES), "node1")
    assert (c.asn, str(c.router_id), c.kernel.protocol) == (64512, "10.168.0.2", "bird")
    assert peers(c) == {
        "Mesh_10_168_0_3": ("10.168.0.3", 64512),
        "Mesh_fd00_10_168__3": ("fd00:10:168::3", 64512),
        "Mesh_10_168_0_4": ("10.168.0.4", 64512),
        "Mesh_fd00_10_168__4": ("fd00:10:168::4", 64512),
    }


def test_blocks_are_announced_and_borrowed_addresses() -> None:
    o = objects(pool("10.244.0.0/26"), *NODES)
    ipam = used(o, "node2", "node1")
    assert [(str(n.prefix), n.blackhole) for n in speaker(o, "node2", ipam).networks] == [("10.244.0.0/26", True)]
    assert [(str(n.prefix), n.blackhole) for n in speaker(o, "node1", ipam).networks] == [("10.244.0.1/32", False)]
    silent = objects(pool("10.244.0.0/26", disableBGPExport=True), *NODES)
    assert speaker(silent, "node2", used(silent, "node2")).networks == ()


def test_communities_of_prefixes() -> None:
    said = item(
        "BGPConfiguration", "default", communities=[{"name": "pods", "value": "64512:244"}],
        prefixAdvertisements=[{"cidr": "10.244.0.0/16", "communities": ["pods", "64512:1:2"]}],
    )  # fmt: skip
    o = objects(pool("10.244.0.0/16"), said, *NODES)
    network = speaker(o, "node1", used(o, "node1")).networks[0]
    assert network.attrs.communities == (64512 << 16 | 244,)
    assert network.attrs.large == ((64512, 1, 2),)


def test_a_route_reflector_instead_of_a_mesh() -> None:
    o = objects(
        pool(),
        item("BGPConfiguration", "default", nodeToNodeMeshEnabled=False),
        item("BGPPeer", "to-reflectors", nodeSelector="all()", peerSelector="reflector == 'yes'"),
        node("rr", "10.168.0.10/24", labels={"reflector": "yes"}, routeReflectorClusterID="244.0.0.1"),
        node("a", "10.168.0.2/24"),
        node("b", "10.168.0.3/24"),
    )
    rr, a = speaker(o, "rr"), speaker(o, "a")
    assert str(rr.cluster) == "244.0.0.1"
    assert {p.name: p.client for p in rr.peers} == {"Node_10_168_0_2": True, "Node_10_168_0_3": True}
    assert {p.name: p.client for p in a.peers} == {"Node_10_168_0_10": False}


def test_reflectors_are_not_in_the_mesh() -> None:
    o = objects(
        pool(),
        node("rr", "10.0.0.1/24", routeReflectorClusterID="1.1.1.1"),
        node("a", "10.0.0.2/24"),
        node("b", "10.0.0.3/24"),
    )
    assert peers(speaker(o, "rr")) == {}
    assert peers(speaker(o, "a")) == {"Mesh_10_0_0_3": ("10.0.0.3", 64512)}


def test_peers_of_one_node_of_some_and_of_all() -> None:
    def peer(name: str, address: str, **more: Any) -> dict[str, Any]:
        return item("BGPPeer", name, peerIP=address, asNumber=65001, **more)

    o = objects(
        pool(), peer("one", "10.168.0.101", node="node1"), peer("some", "10.168.0.102", nodeSelector="rack == 'a'"),
        peer("all", "10.168.0.103", ttlSecurity=1, keepOriginalNextHop=True),
        item("BGPConfiguration", "default", nodeToNodeMeshEnabled=False),
        node("node1", "10.168.0.2/24"), node("node2", "10.168.0.3/24", labels={"rack": "a"}),
    )  # fmt: skip
    assert list(peers(speaker(o, "node1"))) == ["Node_10_168_0_101", "Global_10_168_0_103"]
    assert list(peers(speaker(o, "node2"))) == ["Node_10_168_0_102", "Global_10_168_0_103"]
    last = speaker(o, "node1").peers[-1]
    assert (last.ttl_security, last.export_policy.rules[0].change.next_hop) == (1, "unchanged")


def test_nodes_of_other_as_and_a_password_for_the_mesh() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bgp"}, "stringData": {"mesh": "word"}}
    said = item("BGPConfiguration", "default", nodeMeshPassword={"secretKeyRef": {"name": "bgp", "key": "mesh"}})
    o = objects(pool(), said, secret, node("a", "10.0.0.2/24", asNumber=65010), node("b", "10.0.0.3/24"))
    a, b = speaker(o, "a"), speaker(o, "b")
    assert (a.asn, b.peers[0].asn, a.peers[0].asn) == (65010, 65010, 64512)
    assert a.peers[0].password == b.peers[0].password == "word"


def test_a_node_without_an_address_cannot_speak() -> None:
    o = objects(pool(), node("a"))
    with pytest.raises(InputError, match="has no address"):
        config(o.nodes[0], o, Ipam.of(o))
    six = objects(pool("fd00::/64"), node("a", ipv6="fd00:1::1/64"), node("b", ipv6="fd00:1::2/64"))
    assert speaker(six, "a").router_id != speaker(six, "b").router_id
