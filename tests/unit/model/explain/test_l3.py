"""Addresses, routes, rules, neighbours, forwarding entries and settings as commands: made, changed, removed."""

from ipaddress import IPv4Address, ip_address, ip_interface, ip_network

import pytest

from netlab.model import Address, BridgeVlan, Fdb, Item, Neighbour, NextHop, Route, Rule, Sysctl
from netlab.model.diff import Change, Create, Delete
from netlab.model.explain import commands


def route(dst: str, **fields: object) -> Route:
    if "via" in fields:
        fields["via"] = ip_address(str(fields["via"]))
    return Route(dst=ip_network(dst), **fields)  # type: ignore[arg-type]


def address(text: str, **fields: object) -> Address:
    return Address(dev="eth0", address=ip_interface(text), **fields)  # type: ignore[arg-type]


HOPS = (NextHop("eth0", ip_address("10.0.0.1"), 2), NextHop("eth1", ip_address("10.1.0.1"), onlink=True))
HOPS6 = (NextHop("eth0", ip_address("fd00::1")), NextHop("eth1", ip_address("fd01::1")))
MAC = "02:00:00:00:00:01"


@pytest.mark.parametrize(
    ("item", "made", "removed"),
    [
        (
            address("172.17.0.1/16", broadcast=IPv4Address("172.17.255.255")),
            "ip addr add 172.17.0.1/16 brd 172.17.255.255 dev eth0",
            "ip addr del 172.17.0.1/16 dev eth0",
        ),
        (
            address("10.0.0.1/32", scope="link"),
            "ip addr add 10.0.0.1/32 dev eth0 scope link",
            "ip addr del 10.0.0.1/32 dev eth0",
        ),
        # ip gives addresses of 127/8 the scope host
        (
            address("127.0.0.2/8"),
            "ip addr add 127.0.0.2/8 dev eth0 scope global",
            "ip addr del 127.0.0.2/8 dev eth0",
        ),
        (address("fd00::1/64"), "ip addr add fd00::1/64 dev eth0 nodad", "ip addr del fd00::1/64 dev eth0"),
        (
            route("0.0.0.0/0", dev="eth0", via="172.17.0.1"),
            "ip route add default via 172.17.0.1 dev eth0",
            "ip route del default via 172.17.0.1 dev eth0",
        ),
        (route("10.1.0.0/16", dev="tun0"), "ip route add 10.1.0.0/16 dev tun0", "ip route del 10.1.0.0/16 dev tun0"),
        (
            route("10.1.0.0/16", dev="tun0", scope="global", metric=5, protocol="static", mtu=1300),
            "ip route add 10.1.0.0/16 dev tun0 metric 5 proto static scope global mtu 1300",
            "ip route del 10.1.0.0/16 dev tun0 metric 5",
        ),
        (
            route("10.1.0.0/16", dev="eth0", via="10.9.0.1", onlink=True, table=100, src=ip_address("10.0.0.2")),
            "ip route add 10.1.0.0/16 via 10.9.0.1 dev eth0 onlink table 100 src 10.0.0.2",
            "ip route del 10.1.0.0/16 via 10.9.0.1 dev eth0 table 100",
        ),
        (
            route("10.1.0.0/16", nexthops=HOPS, protocol="bgp"),
            "ip route add 10.1.0.0/16 proto bgp nexthop via 10.0.0.1 dev eth0 weight 2 "
            "nexthop via 10.1.0.1 dev eth1 onlink",
            "ip route del 10.1.0.0/16",
        ),
        (
            route("10.1.0.0/16", type="blackhole"),
            "ip route add blackhole 10.1.0.0/16",
            "ip route del blackhole 10.1.0.0/16",
        ),
        (
            route("10.1.0.0/16", type="local", dev="lo", table=255),
            "ip route add local 10.1.0.0/16 dev lo",
            "ip route del local 10.1.0.0/16 dev lo",
        ),
        (
            route("10.1.0.0/16", type="local", dev="lo"),
            "ip route add local 10.1.0.0/16 dev lo table main",
            "ip route del local 10.1.0.0/16 dev lo table main",
        ),
        (
            route("10.1.0.0/16", dev="eth0", via="fe80::1"),
            "ip route add 10.1.0.0/16 via inet6 fe80::1 dev eth0",
            "ip route del 10.1.0.0/16 via inet6 fe80::1 dev eth0",
        ),
        (
            route("::/0", dev="eth0", via="fd00::1"),
            "ip -6 route add default via fd00::1 dev eth0",
            "ip -6 route del default via fd00::1 dev eth0 metric 1024",
        ),
        (
            route("fd02::/64", nexthops=HOPS6, metric=20),
            "ip -6 route add fd02::/64 metric 20 nexthop via fd00::1 dev eth0 nexthop via fd01::1 dev eth1",
            "ip -6 route del fd02::/64 metric 20",
        ),
        (
            Rule(priority=100, src=ip_network("10.0.0.0/8"), fwmark=1, mask=0xFF, iif="eth0", table=100),
            "ip rule add priority 100 from 10.0.0.0/8 fwmark 0x1/0xff iif eth0 lookup 100",
            "ip rule del priority 100 from 10.0.0.0/8 fwmark 0x1/0xff iif eth0 lookup 100",
        ),
        (
            Rule(
                priority=7, family=6, invert=True, dst=ip_network("fd00::/8"), fwmark=4, oif="eth0", action="prohibit"
            ),
            "ip -6 rule add priority 7 not to fd00::/8 fwmark 0x4 oif eth0 prohibit",
            "ip -6 rule del priority 7 not to fd00::/8 fwmark 0x4 oif eth0 prohibit",
        ),
        (Rule(priority=9), "ip rule add priority 9 lookup main", "ip rule del priority 9 lookup main"),
        (
            Neighbour(dev="flannel.1", address=ip_address("10.244.1.0"), mac=MAC),
            f"ip neigh replace 10.244.1.0 lladdr {MAC} dev flannel.1 nud permanent",
            "ip neigh del 10.244.1.0 dev flannel.1",
        ),
        (
            Neighbour(dev="cali1", address=ip_address("169.254.1.1"), proxy=True),
            "ip neigh add proxy 169.254.1.1 dev cali1",
            "ip neigh del proxy 169.254.1.1 dev cali1",
        ),
        (
            Fdb(dev="flannel.1", mac=MAC, dst=ip_address("192.168.50.3")),
            f"bridge fdb replace {MAC} dev flannel.1 dst 192.168.50.3 self permanent",
            f"bridge fdb del {MAC} dev flannel.1 dst 192.168.50.3 self",
        ),
        (
            Fdb(dev="flannel.1", mac="00:00:00:00:00:00", dst=ip_address("192.168.50.3")),
            "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.168.50.3 self permanent",
            "bridge fdb del 00:00:00:00:00:00 dev flannel.1 dst 192.168.50.3 self",
        ),
        (
            Fdb(dev="veth1", mac=MAC),
            f"bridge fdb replace {MAC} dev veth1 master static",
            f"bridge fdb del {MAC} dev veth1 master",
        ),
        (
            BridgeVlan(dev="veth1", vid=10, pvid=True, untagged=True),
            "bridge vlan add dev veth1 vid 10 pvid untagged",
            "bridge vlan del dev veth1 vid 10",
        ),
        (
            BridgeVlan(dev="br0", vid=20, on_bridge=True),
            "bridge vlan add dev br0 vid 20 self",
            "bridge vlan del dev br0 vid 20 self",
        ),
        (Sysctl(name="net/ipv4/ip_forward", value="1"), "sysctl -q -w net.ipv4.ip_forward=1", None),
        (
            Sysctl(name="net/ipv4/conf/flannel.1/rp_filter", value="0"),
            "sysctl -q -w net/ipv4/conf/flannel.1/rp_filter=0",
            None,
        ),
        (
            Sysctl(name="net/ipv4/ping_group_range", value="0 100"),
            "sysctl -q -w 'net.ipv4.ping_group_range=0 100'",
            None,
        ),
    ],
)
def test_made_and_removed(item: Item, made: str, removed: str | None) -> None:
    assert [line.shell() for line in commands([Create(item)])] == [made]
    assert [line.shell() for line in commands([Delete(item)])] == ([removed] if removed else [])


@pytest.mark.parametrize(
    ("old", "new", "typed"),
    [
        (
            address("10.0.0.1/24"),
            address("10.0.0.1/24", scope="link"),
            ["ip addr del 10.0.0.1/24 dev eth0", "ip addr add 10.0.0.1/24 dev eth0 scope link"],
        ),
        (
            route("0.0.0.0/0", dev="eth0", via="10.0.0.1"),
            route("0.0.0.0/0", dev="eth0", via="10.0.0.2"),
            ["ip route replace default via 10.0.0.2 dev eth0"],
        ),
        (
            Neighbour(dev="a", address=ip_address("10.0.0.1"), mac="02:00:00:00:00:02"),
            Neighbour(dev="a", address=ip_address("10.0.0.1"), mac=MAC),
            [f"ip neigh replace 10.0.0.1 lladdr {MAC} dev a nud permanent"],
        ),
        (
            Fdb(dev="a", mac=MAC),
            Fdb(dev="a", mac=MAC, dst=ip_address("10.0.0.1")),
            [f"bridge fdb del {MAC} dev a master", f"bridge fdb replace {MAC} dev a dst 10.0.0.1 self permanent"],
        ),
        (
            Sysctl(name="net/ipv4/ip_forward", value="1"),
            Sysctl(name="net/ipv4/ip_forward", value="0"),
            ["sysctl -q -w net.ipv4.ip_forward=0"],
        ),
        (
            BridgeVlan(dev="veth1", vid=10, pvid=True, untagged=True),
            BridgeVlan(dev="veth1", vid=10),
            ["bridge vlan add dev veth1 vid 10"],
        ),
    ],
)
def test_changed(old: Item, new: Item, typed: list[str]) -> None:
    assert [line.shell() for line in commands([Change(old, new)])] == typed
