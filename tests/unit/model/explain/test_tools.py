"""Queues, sets and virtual services as commands."""

from ipaddress import ip_address

import pytest

from netlab.model import Ipset, IpvsDestination, IpvsService, Netem, Qdisc, Tbf
from netlab.model.diff import Change, Create, Delete
from netlab.model.explain import commands


def typed(*ops: Create | Change | Delete, style: str = "lines") -> list[str]:
    return [line.shell() for line in commands(ops, style=style)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Tbf(rate=8_000_000, burst=32768, limit=65536), "tbf rate 8mbit burst 32kb limit 64kb"),
        (Tbf(rate=10_123_456, burst=20_000, limit=2**21), "tbf rate 10123456bit burst 20000b limit 2mb"),
        (Netem(delay=20_000), "netem delay 20ms"),
        (Netem(delay=1500, jitter=300, loss=12.5), "netem delay 1500us 300us loss 12.5%"),
        (
            Netem(delay=1, loss=0.0001, duplicate=1, reorder=25.0, corrupt=0.1, rate=10**9, limit=50),
            "netem limit 50 delay 1us loss 0.0001% duplicate 1% reorder 25% corrupt 0.1% rate 1gbit",
        ),
    ],
)
def test_qdisc(kind: Tbf | Netem, words: str) -> None:
    assert typed(Create(Qdisc(dev="eth0", kind=kind))) == [f"tc qdisc replace dev eth0 root handle 1: {words}"]


def test_a_child_qdisc() -> None:
    child = Qdisc(dev="eth0", kind=Netem(loss=1), parent="1:1", handle="10:")
    assert typed(Create(child), Delete(child)) == [
        "tc qdisc replace dev eth0 parent 1:1 handle 10: netem loss 1%",
        "tc qdisc del dev eth0 parent 1:1",
    ]


NET = Ipset(name="pods", type="hash:net", entries=("10.0.0.0/8", "10.1.0.0/16 nomatch"), timeout=0)


def test_an_ipset() -> None:
    assert typed(Create(NET), Delete(NET)) == [
        "ipset create -exist pods hash:net timeout 0",
        "ipset add pods 10.0.0.0/8",
        "ipset add pods 10.1.0.0/16 nomatch",
        "ipset destroy pods",
    ]
    assert typed(Create(NET), style="restore") == [
        "ipset restore <<'EOF'\n"
        "create -exist pods hash:net timeout 0\nadd pods 10.0.0.0/8\nadd pods 10.1.0.0/16 nomatch\nEOF"
    ]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            Ipset(name="s", type="hash:ip", family=6, hashsize=64, maxelem=10),
            "hash:ip family inet6 hashsize 64 maxelem 10",
        ),
        (Ipset(name="s", type="bitmap:port"), "bitmap:port range 0-65535"),
        (Ipset(name="s", type="list:set"), "list:set"),
    ],
)
def test_ipset_headers(wanted: Ipset, words: str) -> None:
    assert typed(Create(wanted)) == [f"ipset create -exist s {words}"]


def test_an_ipset_changes() -> None:
    fewer = Ipset(name="pods", type="hash:net", entries=("10.0.0.0/8", "10.2.0.0/16"), timeout=0)
    assert typed(Change(NET, fewer)) == ["ipset del pods 10.1.0.0/16", "ipset add pods 10.2.0.0/16"]
    larger = Ipset(name="pods", type="hash:net", entries=("10.0.0.0/8",), maxelem=10)
    assert typed(Change(NET, larger)) == [
        "ipset create pods.new hash:net maxelem 10",
        "ipset add pods.new 10.0.0.0/8",
        "ipset swap pods pods.new",
        "ipset destroy pods.new",
    ]
    other = Ipset(name="pods", type="hash:ip")
    assert typed(Change(NET, other)) == ["ipset destroy pods", "ipset create -exist pods hash:ip"]


def test_ipvs() -> None:
    def service(*real: IpvsDestination, **fields: object) -> IpvsService:
        return IpvsService(protocol="tcp", address=ip_address("10.96.0.1"), port=80, destinations=real, **fields)  # type: ignore[arg-type]

    a, b = (IpvsDestination(ip_address(f"10.1.0.{i}"), 8080) for i in (1, 2))
    old = service(a, b)
    assert typed(Create(old), Delete(old)) == [
        "ipvsadm -A -t 10.96.0.1:80 -s rr",
        "ipvsadm -a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m",
        "ipvsadm -a -t 10.96.0.1:80 -r 10.1.0.2:8080 -m",
        "ipvsadm -D -t 10.96.0.1:80",
    ]
    drained = IpvsDestination(b.address, b.port, weight=0)
    third = IpvsDestination(ip_address("10.1.0.3"), 8080, weight=3, method="route")
    assert typed(Change(old, service(drained, third, scheduler="wrr", persistence=300))) == [
        "ipvsadm -E -t 10.96.0.1:80 -s wrr -p 300",
        "ipvsadm -a -t 10.96.0.1:80 -r 10.1.0.3:8080 -g -w 3",
        "ipvsadm -e -t 10.96.0.1:80 -r 10.1.0.2:8080 -m -w 0",
        "ipvsadm -d -t 10.96.0.1:80 -r 10.1.0.1:8080",
    ]
    six = IpvsService(protocol="sctp", address=ip_address("fd00::1"), port=80)
    assert typed(Create(six)) == ["ipvsadm -A --sctp-service '[fd00::1]:80' -s rr"]
