from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

from netlab.lab.capture.packet import LINKTYPE_ETHERNET, LINKTYPE_RAW, Packet, Place
from netlab.lab.capture.path import Expected, Result, check, follow, holds

C1, C2, GW, N1, N2 = (f"02:00:00:00:00:0{n}" for n in range(1, 6))
PING: dict[str, Any] = {"ip.src": "172.17.0.2", "ip.dst": "172.18.0.2", "icmp.type": 8}


def seen(micros: float, at: str, content: Any, outgoing: bool = False, linktype: int = LINKTYPE_ETHERNET) -> Packet:
    data = bytes(content)
    return Packet(10**18 + int(micros * 1000), Place.parse(at), outgoing, data, len(data), linktype)


def echo(ttl: int = 64, src: str = "172.17.0.2", dst: str = "172.18.0.2", number: int = 77, icmp_id: int = 9) -> Any:
    return IP(src=src, dst=dst, ttl=ttl, id=number, flags="DF") / ICMP(id=icmp_id, seq=1) / (b"x" * 48)


def ether(src: str, dst: str) -> Any:
    return Ether(src=src, dst=dst)


def vxlan(inner: Any) -> Any:
    outer = IP(src="10.0.0.1", dst="10.0.0.2", id=4242) / UDP(sport=5555, dport=8472)
    return ether(N1, N2) / outer / VXLAN(vni=1) / inner


OVERLAY = [
    seen(0, "c1:eth0", ether(C1, GW) / echo(), outgoing=True),
    seen(5, "n1:veth1", ether(C1, GW) / echo()),
    seen(5, "n1:docker0", ether(C1, GW) / echo()),
    seen(20, "n1:flannel.1", ether(N1, N2) / echo(63), outgoing=True),
    seen(30, "n1:eth0", vxlan(ether(N1, N2) / echo(63)), outgoing=True),
    # one time stamp for both: the packet rises through the tunnel device
    seen(70, "n2:flannel.1", ether(N1, N2) / echo(63)),
    seen(70, "n2:eth0", vxlan(ether(N1, N2) / echo(63))),
    seen(90, "c2:eth0", ether(GW, C2) / echo(62)),
]
NOISE = [
    seen(2, "n1:docker0", ether(C1, GW) / IP(src="172.17.0.2", dst="172.18.0.2", id=78) / TCP(dport=80)),
    seen(50, "n1:veth1", ether(C1, GW) / echo(src="172.17.0.9", number=99)),
    seen(60, "c1:eth0", ether(GW, C1) / IP(src="172.18.0.2", dst="172.17.0.2", id=1) / ICMP(type=0, id=9, seq=1)),
]


def names(result: Result) -> list[str]:
    return [str(hop.place) for hop in result.hops]


def test_a_packet_is_followed_through_routing_and_a_tunnel() -> None:
    result = check(reversed(OVERLAY + NOISE), PING, [Expected(str(p.place)) for p in OVERLAY[:5]])
    assert result.passed
    assert names(result) == [
        "c1:eth0", "n1:veth1", "n1:docker0", "n1:flannel.1", "n1:eth0", "n2:eth0", "n2:flannel.1", "c2:eth0",
    ]  # fmt: skip
    assert [hop.changes for hop in result.hops] == [
        (),
        (),
        (),
        (f"eth.src {C1} → {N1}", f"eth.dst {GW} → {N2}", "ttl 64 → 63"),
        ("encapsulated in VXLAN vni 1 10.0.0.1 → 10.0.0.2",),
        (),
        ("decapsulated from VXLAN vni 1 10.0.0.1 → 10.0.0.2",),
        (f"eth.src {N1} → {GW}", f"eth.dst {N2} → {C2}", "ttl 63 → 62"),
    ]
    assert result.hops[4].offset_us == 30 and "+30.0 µs n1:eth0 >" in str(result.hops[4])


def test_what_must_be_true_at_a_place_is_compared() -> None:
    good: dict[str, Any] = {
        "vxlan.vni": 1,
        "inner.ip.src": "172.17.0.0/16",
        "ip.dst": "10.0.0.2",
        "inner.ip.ttl": "63",
        "tcp.sport": None,
    }
    assert check(OVERLAY, PING, [Expected("n1:eth0", good), Expected("n2:eth?", {"udp.dport": 8472})]).passed
    bad: dict[str, Any] = {"vxlan.vni": 2, "inner.ip.ttl": None, "icmp.type": 8}
    assert check(OVERLAY, PING, [Expected("n1:eth0", bad)]).mismatches == (
        "n1:eth0: vxlan.vni: expected 2, saw 1",
        "n1:eth0: inner.ip.ttl: expected none, saw 63",
        "n1:eth0: icmp.type: expected 8, the packet has none",
    )


def test_a_missing_hop_says_where_the_packet_was_last_seen() -> None:
    result = check(OVERLAY[:5], PING, [Expected("n1:eth0"), Expected("n2:eth0"), Expected("c2:eth0")])
    assert result.mismatches == (
        "n2:eth0: not seen there (expected behind n1:eth0); last seen at n1:eth0",
        "c2:eth0: not seen there (expected behind n1:eth0); last seen at n1:eth0",
    )


def test_a_wrong_order_is_named() -> None:
    result = check(OVERLAY, PING, [Expected("n1:eth0"), Expected("n1:docker0")])
    assert result.mismatches == ("n1:docker0: wrong order: seen 25.0 µs before n1:eth0, expected behind it",)


def test_equal_times_are_in_the_expected_order() -> None:
    for first, second in (("n1:veth1", "n1:docker0"), ("n1:docker0", "n1:veth1")):
        result = check(OVERLAY, PING, [Expected(first), Expected(second)])
        assert result.passed and names(result)[1:3] == [first, second]


def test_other_places_matter_only_if_exactly() -> None:
    short = [Expected("c1:eth0"), Expected("c2:eth0")]
    packets = [OVERLAY[0], OVERLAY[1], OVERLAY[-1]]
    assert check(packets, PING, short).passed
    assert check(packets, PING, short, exactly=True).mismatches == ("n1:veth1: seen there, not expected",)


def test_a_hairpin_passes_a_device_twice() -> None:
    packets = [
        seen(0, "n:veth1", ether(C1, GW) / echo(dst="10.96.0.1")),
        seen(9, "n:veth1", ether(GW, C1) / echo(63, src="172.17.0.1", dst="172.17.0.2"), outgoing=True),
    ]
    expected = [
        Expected("n:veth1", {"ip.dst": "10.96.0.1"}, outgoing=False),
        Expected("n:veth1", {"ip.dst": "172.17.0.2"}, outgoing=True),
    ]
    result = check(packets, {"ip.dst": "10.96.0.1"}, expected, exactly=True)
    assert result.passed
    assert result.hops[1].changes[2:] == (
        "ip.src 172.17.0.2 → 172.17.0.1 (SNAT)", "ip.dst 10.96.0.1 → 172.17.0.2 (DNAT)", "ttl 64 → 63",
    )  # fmt: skip
    assert check(packets, {"ip.dst": "10.96.0.1"}, expected[1:]).passed
    assert not check(packets, {"ip.dst": "10.96.0.1"}, list(reversed(expected))).passed


def test_nat_of_addresses_and_ports_does_not_hide_a_connection() -> None:
    def syn(src: str, sport: int, dst: str, dport: int, number: int = 5) -> Any:
        return ether(C1, C2) / IP(src=src, dst=dst, id=number) / TCP(sport=sport, dport=dport, flags="S", seq=1234)

    packets = [
        seen(0, "n:a", syn("10.0.0.1", 4000, "10.96.0.1", 80)),
        seen(1, "n:b", syn("192.168.0.1", 999, "10.0.0.2", 8080), outgoing=True),
        seen(2, "n:b", syn("192.168.0.1", 999, "10.0.0.2", 8080, number=6), outgoing=True),  # sent again
    ]
    (journey,), (again,) = follow(packets, {"tcp.dport": 80}), follow(packets, {"ip.id": 6})
    assert len(journey) == 2 and len(again) == 1
    assert check(packets, {"tcp.dport": 80}, []).hops[1].changes == (
        "ip.src 10.0.0.1 → 192.168.0.1 (SNAT)", "ip.dst 10.96.0.1 → 10.0.0.2 (DNAT)",
        "tcp.sport 4000 → 999 (SNAT)", "tcp.dport 80 → 8080 (DNAT)",
    )  # fmt: skip


def test_flannels_udp_backend_and_devices_without_ethernet() -> None:
    lease = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=8285, dport=8285) / echo(62)
    packets = [
        seen(0, "n1:docker0", ether(C1, GW) / echo()),
        seen(1, "n1:flannel0", echo(63), True, LINKTYPE_RAW),
        seen(2, "n1:eth0", ether(N1, N2) / lease, True),
        seen(3, "n2:flannel0", echo(62), False, LINKTYPE_RAW),
        seen(4, "n2:docker0", Ether(src=GW, dst=C2) / echo(61), True),
    ]
    result = check(packets, PING, [Expected("n1:eth0", {"udp.dport": 8285, "inner.ip.dst": "172.18.0.2"})])
    assert result.passed
    assert [hop.changes for hop in result.hops] == [
        (),
        ("Ethernet header gone", "ttl 64 → 63"),
        ("encapsulated in UDP port 8285 10.0.0.1 → 10.0.0.2", "ttl 63 → 62"),
        ("decapsulated from UDP port 8285 10.0.0.1 → 10.0.0.2",),
        (f"Ethernet header {GW} → {C2}", "ttl 62 → 61"),
    ]


def test_ipv6_arp_and_vlan_are_followed_too() -> None:
    six = IPv6(src="fd00::1", dst="fd00::2", fl=7) / ICMPv6EchoRequest(id=1, seq=1, data=b"abc")
    packets = [
        seen(0, "a:eth0.10", ether(C1, C2) / six, True),
        seen(1, "a:eth0", Ether(src=C1, dst=C2) / Dot1Q(vlan=10) / six, True),
    ]
    assert check(packets, {"ip6.dst": "FD00:0::2"}, [Expected("a:eth0", {"vlan.id": 10})]).hops[1].changes == (
        "vlan 10 added",
    )
    ask = ether(C1, "ff:ff:ff:ff:ff:ff") / ARP(hwsrc=C1, psrc="10.0.0.1", pdst="10.0.0.2")
    again = [seen(t, at, ask) for t in (0, 1_000_000) for at in ("n:veth1", "n:br0")]
    assert [len(journey) for journey in follow(again, {"arp.op": 1})] == [2, 2]


def test_segments_cut_on_the_way_are_the_one_that_was_sent() -> None:
    def segment(content: bytes, number: int, seq: int, flags: str) -> Any:
        return ether(C1, C2) / IP(src="1.1.1.1", dst="2.2.2.2", id=number) / TCP(seq=seq, flags=flags) / content

    content = bytes(range(250)) * 8
    packets = [
        seen(0, "c:eth0", segment(content, 7, 100, "PA"), True),
        seen(1, "n:tun", segment(content[:1000], 7, 100, "A"), True),
        seen(2, "n:tun", segment(content[1000:], 8, 1100, "PA"), True),
    ]
    assert names(check(packets, {"tcp.len": 2000}, [])) == ["c:eth0", "n:tun"]


def test_the_best_of_several_packets_counts() -> None:
    lost = [seen(-900, "c1:eth0", ether(C1, GW) / echo(number=70), True)]
    assert check(lost + OVERLAY, PING, [Expected("c1:eth0"), Expected("c2:eth0")]).passed


def test_a_flow_that_was_never_seen() -> None:
    result = check(NOISE[:1], PING, [Expected("c2:eth0")])
    assert not result.passed and result.hops == ()
    assert result.mismatches[0].startswith(
        "no packet with ip.src=172.17.0.2 ip.dst=172.18.0.2 icmp.type=8 was seen; 1 other"
    )
    assert check([], PING, []).mismatches[0].endswith("0 other packets at no place")


@pytest.mark.parametrize(
    ("wanted", "saw", "yes"),
    [
        (8, 8, True), ("0x0800", 2048, True), ("abc", 8, False), (64, 63, False),
        ("02:00:00:00:00:0A", "02:00:00:00:00:0a", True), ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False), ("fd00:0:0::1", "fd00::1", True), ("GET *", "GET / HTTP/1.1", True),
        (None, None, True), (None, 0, False), (0, None, False), ("S", "SA", False), (7, "7", True),
    ],
)  # fmt: skip
def test_when_a_field_is_as_wanted(wanted: Any, saw: Any, yes: bool) -> None:
    assert holds(wanted, saw) is yes


def test_a_result_as_json() -> None:
    found = check(OVERLAY[:2], PING, [Expected("c1:eth0")]).as_json()
    assert found["passed"] is True
    hops: Any = found["hops"]
    assert hops[1]["place"] == "n1:veth1" and hops[1]["offset_us"] == 5.0 and hops[1]["fields"]["ip.ttl"] == 64
