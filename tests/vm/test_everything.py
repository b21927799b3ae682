"""What a small kernel lacks, on one that has it all: applied, read back, changed, removed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from contract import EXAMPLES, LO, PREFIX, relaxed
from hypothesis import given, settings
from strategies import ALL, host_states

from netlab.kernel import netns
from netlab.kernel.apply import Kernel, strangers
from netlab.kernel.commands import run_in
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import (
    Address,
    Bridge,
    BridgeVlan,
    Dummy,
    HostState,
    Ipip,
    IpvsDestination,
    IpvsService,
    Item,
    Link,
    Netem,
    Qdisc,
    Route,
    Veth,
    Wireguard,
    WireguardPeer,
)
from netlab.model.diff import Change, diff
from netlab.model.explain import commands, explain

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
]

NS = f"{PREFIX}.vm"
KEY = "2BjGZb0aXAnEIJ3M5BaVvkG7FvQ4kQvWz5Zq0yZVd2Y="
OTHER = "hnT0x1rCFDsm7BvN0X1vM4mqyXKx8vYfJ2mZk1vE1Wc="


@contextlib.contextmanager
def world() -> Iterator[Kernel]:
    try:
        yield Kernel(LinuxBackend(iptables="nft"), MemoryLedger())
    finally:
        for name in netns.names():
            if name.startswith(f"{PREFIX}."):
                netns.delete(name)


def goes_round(*states: list[Item]) -> None:
    """Each state is applied in turn, and read back the same; the last leaves nothing behind."""
    with world() as kernel:
        for items in (*states, *reversed(states[:-1])):
            state = HostState.of([LO, *items])
            assert kernel.apply(NS, "x", state)
            plans = kernel.plan_all("x", {NS: state})
            assert plans == {}, [str(op) for op in plans[NS]]
            assert kernel.drift("x", {NS: state}) == ({}, {})
        kernel.apply(NS, "x", HostState())
        everything = HostState.of({i.order: i for some in states for i in some}.values())
        left = kernel.backend.read({NS: everything}, everything=True)[NS]
        assert strangers(left, HostState()) == []


def tool(*argv: str) -> str:
    return run_in(NS, argv, check=True).stdout


DUMMY = Link(name="dummy0", kind=Dummy(), mac="02:00:00:00:00:01")


def test_dummy() -> None:
    address = Address(dev="dummy0", address=ip_interface("10.0.0.1/24"))
    goes_round([DUMMY], [DUMMY, address], [replace(DUMMY, mtu=1300)], [replace(DUMMY, up=False)])


def test_ipip() -> None:
    base = [DUMMY, Address(dev="dummy0", address=ip_interface("10.0.0.1/24"))]
    kind = Ipip(local=ip_address("10.0.0.1"), remote=ip_address("10.0.0.2"))
    tunnel = Link(name="tun1", kind=kind, mtu=1480)
    route = Route(dst=ip_network("10.9.0.0/16"), dev="tun1")
    goes_round(
        base,
        [*base, tunnel],
        [*base, replace(tunnel, kind=replace(kind, remote=ip_address("10.0.0.3"))), route],
        [*base, replace(tunnel, kind=replace(kind, ttl=32)), route],
    )


def test_the_tunnel_that_the_module_makes() -> None:
    tunl0 = Link(name="tunl0", kind=Ipip(pmtudisc=False), mtu=1480)
    goes_round([DUMMY], [DUMMY, tunl0], [DUMMY, tunl0, Address(dev="tunl0", address=ip_interface("10.244.0.0/32"))])


def test_wireguard() -> None:
    one = WireguardPeer(OTHER, (ip_network("10.1.0.0/24"), ip_network("fd01::/64")), (ip_address("192.0.2.1"), 51820))
    kind = Wireguard(private_key=KEY, listen_port=51820, peers=(one,))
    wg = Link(name="wg0", kind=kind, mtu=1420)
    address = Address(dev="wg0", address=ip_interface("10.0.0.1/24"))
    goes_round(
        [DUMMY],
        [wg, address],
        [replace(wg, kind=replace(kind, peers=(replace(one, keepalive=25),)))],
        [replace(wg, kind=replace(kind, listen_port=4500, peers=()))],
    )


@pytest.mark.parametrize(("vip", "real"), [("10.96.0.1", "10.1.0."), ("fd96::1", "fd01::")], ids=["ipv4", "ipv6"])
def test_ipvs(vip: str, real: str) -> None:
    hosts = tuple(IpvsDestination(ip_address(f"{real}{n}"), 8080, n) for n in (1, 2, 3))
    service = IpvsService(
        protocol="tcp", address=ip_address(vip), port=80, scheduler="rr", destinations=hosts
    )  # fmt: skip
    goes_round(
        [DUMMY],
        [service],
        *([replace(service, scheduler=other)] for other in ("wrr", "sh", "lc")),
        [replace(service, persistence=10800)],
        [replace(service, destinations=(replace(hosts[0], weight=0), hosts[2]))],
        [replace(service, destinations=()), replace(service, protocol="udp", port=53)],
    )


def test_ipvsadm_agrees() -> None:
    hosts = tuple(IpvsDestination(ip_address(f"10.1.0.{n}"), 8080, n) for n in (1, 2))
    service = IpvsService(
        protocol="tcp", address=ip_address("10.96.0.1"), port=80, scheduler="wrr", persistence=60, destinations=hosts
    )
    with world() as kernel:
        kernel.apply(NS, "x", HostState.of([LO, service]))
        assert tool("ipvsadm", "-Sn").splitlines() == [
            "-A -t 10.96.0.1:80 -s wrr -p 60",
            "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1",
            "-a -t 10.96.0.1:80 -r 10.1.0.2:8080 -m -w 2",
        ]


def test_netem() -> None:
    netem = Netem(delay=20_000, jitter=300, loss=12.5, duplicate=1.0, limit=50)
    goes_round(
        [DUMMY],
        [DUMMY, Qdisc(dev="dummy0", kind=netem, handle="1:")],
        [DUMMY, Qdisc(dev="dummy0", kind=replace(netem, delay=1, jitter=0, loss=0.0), handle="1:")],
    )


def test_vlan_aware_bridge() -> None:
    bridge = Link(name="br0", kind=Bridge(vlan_filtering=True))
    port = replace(DUMMY, master="br0")
    goes_round([DUMMY], [bridge, port], [Link(name="br0", kind=Bridge()), port])


BRIDGE = Link(name="br0", kind=Bridge(vlan_filtering=True), mac="02:00:00:00:00:02")
PORT = replace(DUMMY, master="br0")
ACCESS = BridgeVlan(dev="dummy0", vid=10, pvid=True, untagged=True)
#: as `bridge vlan` says it of a port that is a member of the kernel's default VLAN and of nothing else
AT_FIRST = [{"vlan": 1, "flags": ["PVID", "Egress Untagged"]}]


def shown_vlans(dev: str) -> list[dict[str, object]]:
    found = json.loads(tool("bridge", "-j", "vlan", "show", "dev", dev))
    return found[0]["vlans"] if found else []


def test_vlans() -> None:
    trunk = [BridgeVlan(dev="dummy0", vid=vid) for vid in (20, 4094)]
    host = BridgeVlan(dev="br0", vid=20, untagged=True, on_bridge=True)
    bare = replace(BRIDGE, kind=Bridge(vlan_filtering=True, default_pvid=0))
    own = BridgeVlan(dev="dummy0", vid=1, pvid=True, untagged=True)
    goes_round(
        [BRIDGE, PORT],
        [BRIDGE, PORT, ACCESS],
        [BRIDGE, PORT, replace(ACCESS, pvid=False), *trunk, host],
        [BRIDGE, PORT, own, host],
        [BRIDGE, PORT, replace(own, untagged=False), replace(host, pvid=True)],
        [bare, PORT, ACCESS, *trunk],
        [replace(BRIDGE, kind=Bridge(vlan_filtering=True, default_pvid=5)), PORT, *trunk],
        [BRIDGE, replace(PORT, name="dummy1"), replace(BRIDGE, name="br1"), replace(PORT, master="br1"), ACCESS],
    )


def test_bridge_vlan_agrees_and_the_kernels_own_comes_back() -> None:
    with world() as kernel:
        kernel.apply(NS, "x", HostState.of([BRIDGE, PORT]))
        assert shown_vlans("dummy0") == shown_vlans("br0") == AT_FIRST
        host = BridgeVlan(dev="br0", vid=10, on_bridge=True)
        kernel.apply(NS, "y", HostState.of([ACCESS, host]))
        robbed = {"vlan": 1, "flags": ["Egress Untagged"]}
        assert shown_vlans("dummy0") == [robbed, {"vlan": 10, "flags": AT_FIRST[0]["flags"]}]
        assert shown_vlans("br0") == [*AT_FIRST, {"vlan": 10}]
        assert kernel.plan_all("x", {NS: HostState.of([BRIDGE, PORT])}) == {}
        kernel.apply(NS, "y", HostState())
        assert shown_vlans("dummy0") == shown_vlans("br0") == AT_FIRST


def test_what_a_hand_changed_is_seen_and_repaired() -> None:
    state = HostState.of([BRIDGE, PORT, ACCESS])
    with world() as kernel:
        kernel.apply(NS, "x", state)
        tool("bridge", "vlan", "add", "dev", "dummy0", "vid", "10")
        tool("bridge", "vlan", "add", "dev", "dummy0", "vid", "30")
        plans, extra = kernel.drift("x", {NS: state})
        assert plans == {NS: [Change(replace(ACCESS, pvid=False, untagged=False), ACCESS)]}
        # and the port is without a PVID, which the kernel's own has not got back by itself
        assert BridgeVlan(dev="dummy0", vid=30) in extra[NS]
        kernel.apply(NS, "x", state)
        assert kernel.drift("x", {NS: state}) == ({}, {NS: [BridgeVlan(dev="dummy0", vid=30)]})


def test_frames_of_the_wrong_vlan_do_not_pass() -> None:
    """Three machines at one bridge, two of them in VLAN 10 and one in VLAN 20, in the same subnet."""
    ends = {f"{PREFIX}.{name}": vid for name, vid in (("a", 10), ("b", 10), ("c", 20))}
    lab: dict[str, list[Item]] = {NS: [LO, replace(BRIDGE, kind=Bridge(vlan_filtering=True, default_pvid=0))]}
    for n, (ns, vid) in enumerate(ends.items(), 1):
        lab[NS] += [Link(name=f"v{n}", kind=Veth("eth0", ns), master="br0")]
        lab[NS] += [BridgeVlan(dev=f"v{n}", vid=vid, pvid=True, untagged=True)]
        address = Address(dev="eth0", address=ip_interface(f"10.0.0.{n}/24"))
        lab[ns] = [LO, Link(name="eth0", kind=Veth(f"v{n}", NS)), address]
    one, two, three = ends

    def answers(who: str, whom: str) -> bool:
        return run_in(who, ["ping", "-c1", "-W3", whom]).returncode == 0

    with world() as kernel:
        states = {ns: HostState.of(items) for ns, items in lab.items()}
        kernel.apply_all("x", states)
        assert kernel.drift("x", states) == ({}, {})
        assert answers(one, "10.0.0.2") and answers(two, "10.0.0.1")
        assert not answers(one, "10.0.0.3") and not answers(three, "10.0.0.2")
        moved = BridgeVlan(dev="v3", vid=10, pvid=True, untagged=True)
        lab[NS] = [moved if i == replace(moved, vid=20) else i for i in lab[NS]]
        kernel.apply_all("x", states | {NS: HostState.of(lab[NS])})
        assert answers(one, "10.0.0.3")


def test_a_bridge_whose_last_port_has_left_takes_a_vlan() -> None:
    """Without a port it has no address, and the kernel refuses it a VLAN of its own."""
    bridge = Link(name="br0", kind=Bridge(vlan_filtering=True))
    port = Link(name="d0", kind=Dummy(), master="br0")
    loose = Link(name="d0", kind=Dummy())
    own = BridgeVlan(dev="br0", vid=10, on_bridge=True)
    states = (HostState.of([bridge, port]), HostState.of([bridge, loose, own]), HostState.of([bridge, loose]))
    with world() as kernel:
        for state in (*states, HostState.of([bridge, loose, own])):
            kernel.apply(NS, "x", state)
            assert kernel.plan_all("x", {NS: state}) == {}


def test_vlans_as_commands() -> None:
    state = HostState.of([BRIDGE, PORT, ACCESS, BridgeVlan(dev="br0", vid=20, untagged=True, on_bridge=True)])
    other = HostState.of([BRIDGE, PORT, replace(ACCESS, vid=20)])
    with world() as kernel:
        kernel.backend.create(NS)
        for lines in (explain(state), commands(diff(state, other)), commands(diff(other, state))):
            for line in lines:
                tool(*line.argv)
        assert kernel.drift("x", {NS: state}) == ({}, {})


#: bridges, what can be their port, and their VLANs; and everything together
@pytest.mark.parametrize("kinds", [frozenset({"bridge", "veth", "tun", "bridge-vlan"}), ALL], ids=["vlans", "all"])
def test_random_states(kinds: frozenset[str]) -> None:
    @settings(relaxed, max_examples=EXAMPLES)
    @given(a=host_states(kinds=kinds), b=host_states(kinds=kinds))
    def turn(a: HostState, b: HostState) -> None:
        with world() as kernel:
            for state in (a, b):
                kernel.apply(NS, "x", state)
                again = kernel.plan_all("x", {NS: state})
                assert again == {}, [str(op) for op in again[NS]]
            plans, strangers = kernel.drift("x", {NS: b})
            assert plans == {} and strangers.get(NS, []) == []
            kernel.apply(NS, "x", HostState())
            _, left = kernel.drift("x", {NS: HostState()})
            assert left.get(NS, []) == []

    turn()
