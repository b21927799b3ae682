"""The network of a node and of a pod, as values."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from unit.calico.world import NODES, node, objects, pool

from netlab.calico.block import Attribute
from netlab.calico.ipam import Ipam
from netlab.calico.node import Workload, device_name, host_state, pod_mtu, pod_state, way
from netlab.calico.objects import Objects
from netlab.model import Address, Chain, Ipip, Ipset, Link, Route, Sysctl, Veth


def pods(o: Objects, ipam: Ipam, *wanted: tuple[str, str]) -> tuple[Ipam, list[Workload]]:
    found = []
    by_name = {n.name: n for n in o.nodes}
    for name, on in wanted:
        addresses = []
        for version in sorted({p.cidr.version for p in o.pools}):
            ipam, address = ipam.assign(by_name[on], Attribute(name, (("node", on),)), version)
            addresses.append(address)
        found.append(Workload(name=name, addresses=tuple(addresses), netns=name))
    return ipam, found


def world(*data: dict[str, Any]) -> tuple[Objects, Ipam, list[Workload]]:
    o = objects(*data, *NODES)
    ipam, workloads = pods(o, Ipam.of(o), ("a", "node1"), ("b", "node2"))
    return o, ipam, workloads


def test_the_name_of_a_cable_is_the_original_s() -> None:
    # echo -n default.nginx | sha1sum
    assert device_name("default", "nginx") == "calic440f455693"
    assert len(device_name("kube-system", "x" * 253)) == 15


def test_a_pod_on_a_node() -> None:
    o, ipam, (a, _) = world(pool("10.244.0.0/16"), pool("fd00:10:244::/48", "six"))
    state = host_state(o.nodes[0], o, ipam, [a], dev="eth0")
    dev = a.device
    link = state.link(dev)
    assert link and (link.mac, link.mtu, link.master, link.kind) == ("ee:ee:ee:ee:ee:ee", 1500, None, Veth("eth0", "a"))
    settings = {s.name: s.value for s in state.all(Sysctl)}
    assert settings[f"net/ipv4/conf/{dev}/proxy_arp"] == settings[f"net/ipv6/conf/{dev}/proxy_ndp"] == "1"
    assert settings[f"net/ipv4/conf/{dev}/rp_filter"] == settings["net/ipv4/ip_forward"] == "1"
    routes = {str(r.dst): r for r in state.all(Route)}
    assert (routes["10.244.0.0/32"].dev, routes["10.244.0.0/32"].scope) == (dev, "link")
    assert routes["fd00:10:244::/128"].dev == dev
    assert routes["10.244.0.0/26"].type == routes["fd00:10:244::/122"].type == "blackhole"
    assert not any(a.dev == dev for a in state.all(Address))
    assert not [r for r in host_state(o.nodes[0], o, ipam, [a], dev="eth0", blackholes=False).all(Route) if not r.dev]


def test_inside_the_pod() -> None:
    o, _, (a, _) = world(pool("10.244.0.0/16"), pool("fd00:10:244::/48", "six"))
    state = pod_state(a, "node1", mtu=pod_mtu(o, 1500))
    assert [str(x.address) for x in state.all(Address)] == ["10.244.0.0/32", "fd00:10:244::/128"]
    assert [(str(r.dst), str(r.via), r.dev) for r in state.all(Route)] == [
        ("169.254.1.1/32", "None", "eth0"),
        ("0.0.0.0/0", "169.254.1.1", "eth0"),
        ("::/0", "fe80::ecee:eeff:feee:eeee", "eth0"),
    ]
    assert state.problems() == []


def test_nat_outgoing_is_for_what_leaves_all_pools() -> None:
    o, ipam, (a, _) = world(pool("10.244.0.0/16", natOutgoing=True), pool("10.9.0.0/16", "plain"))
    state = host_state(o.nodes[0], o, ipam, [a], dev="eth0")
    assert {s.name: s.entries for s in state.all(Ipset)} == {
        "cali40all-ipam-pools": ("10.244.0.0/16", "10.9.0.0/16"),
        "cali40masq-ipam-pools": ("10.244.0.0/16",),
    }
    assert {c.name: [str(r) for r in c.rules] for c in state.all(Chain)} == {
        "POSTROUTING": ["-j cali-POSTROUTING"],
        "cali-POSTROUTING": ["-j cali-nat-outgoing"],
        "cali-nat-outgoing": [
            "-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst "
            "-j MASQUERADE --random-fully"
        ],
    }
    o, ipam, (a, _) = world(pool("10.244.0.0/16"))
    assert not host_state(o.nodes[0], o, ipam, [a], dev="eth0").all(Chain)


@pytest.mark.parametrize(
    ("mode", "far", "expected"),
    [
        ("Never", "10.168.0.3/24", ("eth0", False)),
        ("Always", "10.168.0.3/24", ("tunl0", True)),
        ("CrossSubnet", "10.168.0.3/24", ("eth0", False)),
        ("CrossSubnet", "10.168.1.3/24", ("tunl0", True)),
    ],
)
def test_which_way_to_another_node_s_pods(mode: str, far: str, expected: tuple[str, bool]) -> None:
    o = objects(pool("10.244.0.0/16", ipipMode=mode), node("near", "10.168.0.2/24"), node("far", far))
    found = way(o.nodes[0], o.nodes[1], o.pools[0], dev="eth0")
    assert found and (found.dev, found.onlink, str(found.via)) == (*expected, far.partition("/")[0])


def test_ipip_has_its_tunnel_its_routes_and_a_smaller_mtu() -> None:
    data = [
        node("node1", "10.168.0.2/24", ipv4IPIPTunnelAddr="10.244.0.0"),
        node("node2", "10.168.1.3/24"),
        node("node3", "10.168.0.4/24"),
    ]
    o = objects(pool("10.244.0.0/16", ipipMode="CrossSubnet"), *data)
    ipam, workloads = pods(o, Ipam.of(o), ("a", "node1"), ("b", "node2"), ("c", "node3"))
    state = host_state(o.nodes[0], o, ipam, workloads[:1], dev="eth0", mtu=1500)
    tunnel = state.link("tunl0")
    assert tunnel and isinstance(tunnel.kind, Ipip) and tunnel.mtu == 1480
    assert [str(a.address) for a in state.all(Address)] == ["10.244.0.0/32"]
    assert pod_mtu(o, 1500) == 1480
    cable = state.link(workloads[0].device)
    assert cable and cable.mtu == 1480
    routes = {str(r.dst): (r.dev, str(r.via), r.onlink) for r in state.all(Route) if r.via}
    assert routes == {
        "10.244.0.64/26": ("tunl0", "10.168.1.3", True),
        "10.244.0.128/26": ("eth0", "10.168.0.4", False),
    }
    assert [link.name for link in state.all(Link)] == sorted(["tunl0", workloads[0].device])


def test_a_borrowed_address_has_a_route_of_its_own() -> None:
    o = objects(pool("10.244.0.0/26", blockSize=26, ipipMode="Always"), *NODES)
    ipam, _ = pods(o, Ipam.of(o), ("b", "node2"))
    ipam, address = ipam.assign(o.nodes[0], Attribute("a", (("node", "node1"),)), 4)
    assert address == ip_address("10.244.0.1")
    state = host_state(o.nodes[2], o, ipam, [], dev="eth0")
    assert {r.dst: str(r.via) for r in state.all(Route)} == {
        ip_network("10.244.0.0/26"): "10.168.0.3",
        ip_network("10.244.0.1/32"): "10.168.0.2",
    }
