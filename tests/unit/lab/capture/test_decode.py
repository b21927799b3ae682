import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

from netlab.lab.capture import decode
from netlab.lab.capture.packet import LINKTYPE_ETHERNET, LINKTYPE_RAW, Packet, Place

E = Ether(src="02:42:ac:11:00:02", dst="02:42:ac:11:00:03")
A = IP(src="172.17.0.2", dst="172.17.0.3", id=5)
A6 = IPv6(src="fd00::2", dst="fd00::3")
OUTER = IP(src="10.168.0.2", dst="10.168.0.3")
INNER = "[172.17.0.2 → 172.17.0.3 ICMP echo request id 7 seq 1 ttl 64]"
LEASES = OUTER / UDP(sport=8285, dport=8285)


def packet(content: object, linktype: int = LINKTYPE_ETHERNET, outgoing: bool | None = True) -> Packet:
    data = bytes(content)  # type: ignore[call-overload]
    return Packet(1_700_000_000_123_456_789, Place("nginx-1", "eth0"), outgoing, data, len(data), linktype)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            E / ARP(op=1, hwsrc="02:42:ac:11:00:02", psrc="172.17.0.2", pdst="172.17.0.3"),
            "ARP who has 172.17.0.3? tell 172.17.0.2",
        ),
        (
            E / ARP(op=2, hwsrc="02:42:ac:11:00:03", psrc="172.17.0.3", hwdst="02:42:ac:11:00:02", pdst="172.17.0.2"),
            "ARP 172.17.0.3 is at 02:42:ac:11:00:03",
        ),
        (E / A / ICMP(id=7, seq=1) / b"data", "172.17.0.2 → 172.17.0.3 ICMP echo request id 7 seq 1 ttl 64"),
        (E / A / ICMP(type=0, id=7, seq=1), "172.17.0.2 → 172.17.0.3 ICMP echo reply id 7 seq 1 ttl 64"),
        (
            E / A / ICMP(type=11) / IP(src="1.1.1.1", dst="2.2.2.2") / UDP(),
            "172.17.0.2 → 172.17.0.3 ICMP time exceeded (about 1.1.1.1 → 2.2.2.2) ttl 64",
        ),
        (
            E / A / ICMP(type=3, code=4, nexthopmtu=1450) / IP(src="1.1.1.1", dst="2.2.2.2"),
            "172.17.0.2 → 172.17.0.3 ICMP fragmentation needed mtu 1450 (about 1.1.1.1 → 2.2.2.2) ttl 64",
        ),
        (
            E / A / TCP(sport=4000, dport=80, flags="SA", seq=9, ack=10),
            "172.17.0.2:4000 → 172.17.0.3:80 TCP SYN ACK seq 9 ack 10 len 0 ttl 64",
        ),
        (
            E / A / TCP(sport=4000, dport=80, flags="PA") / b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
            "172.17.0.2:4000 → 172.17.0.3:80 TCP PSH ACK seq 0 ack 0 len 28 HTTP GET /x HTTP/1.1 ttl 64",
        ),
        (
            E / A / TCP(sport=80, dport=4000, flags="A") / b"HTTP/1.1 200 OK\r\n",
            "172.17.0.2:80 → 172.17.0.3:4000 TCP ACK seq 0 ack 0 len 17 HTTP HTTP/1.1 200 OK ttl 64",
        ),
        (
            E / A / TCP(sport=179, dport=4000, flags="A") / (b"\xff" * 16 + b"\0\x13\x04"),
            "172.17.0.2:179 → 172.17.0.3:4000 TCP ACK seq 0 ack 0 len 19 BGP KEEPALIVE ttl 64",
        ),
        (E / A / UDP(sport=1, dport=2) / b"abc", "172.17.0.2:1 → 172.17.0.3:2 UDP len 3 ttl 64"),
        (
            E / IP(src="1.1.1.1", dst="2.2.2.2", id=3, frag=185) / b"abc",
            "1.1.1.1 → 2.2.2.2 fragment id 3 offset 1480 ttl 64",
        ),
        (
            E / A / UDP(sport=5, dport=53) / DNS(qd=DNSQR(qname="a.svc")),
            "172.17.0.2:5 → 172.17.0.3:53 DNS A a.svc.? ttl 64",
        ),
        (
            E
            / A
            / UDP(sport=53, dport=5)
            / DNS(qr=1, qd=DNSQR(qname="a.svc"), an=DNSRR(rrname="a.svc", rdata="10.0.0.1")),
            "172.17.0.2:53 → 172.17.0.3:5 DNS A a.svc.: 10.0.0.1 ttl 64",
        ),
        (
            E / A / UDP(sport=53, dport=5) / DNS(qr=1, rcode=3, qd=DNSQR(qname="a.svc")),
            "172.17.0.2:53 → 172.17.0.3:5 DNS A a.svc.: no such name ttl 64",
        ),
        (
            E / A6 / ICMPv6ND_NS(tgt="fd00::3"),
            "fd00::2 → fd00::3 ICMPv6 neighbour solicitation who has fd00::3? hlim 255",
        ),
        (E / A6 / ICMPv6ND_NA(tgt="fd00::3"), "fd00::2 → fd00::3 ICMPv6 neighbour advertisement I am fd00::3 hlim 255"),
        (E / A6 / ICMPv6EchoRequest(id=7, seq=1), "fd00::2 → fd00::3 ICMPv6 echo request id 7 seq 1 hlim 64"),
        (
            E / A6 / ICMPv6PacketTooBig(mtu=1280) / A6 / UDP(),
            "fd00::2 → fd00::3 ICMPv6 packet too big mtu 1280 (about fd00::2 → fd00::3) hlim 64",
        ),
        (E / A6 / TCP(sport=4000, dport=80), "[fd00::2]:4000 → [fd00::3]:80 TCP SYN seq 0 ack 0 len 0 hlim 64"),
        (E / Dot1Q(vlan=10) / A / UDP(sport=1, dport=2), "vlan 10 172.17.0.2:1 → 172.17.0.3:2 UDP len 0 ttl 64"),
        (
            E / OUTER / UDP(sport=9, dport=8472) / VXLAN(vni=1) / E / A / ICMP(id=7, seq=1),
            "10.168.0.2:9 → 10.168.0.3:8472 VXLAN vni 1 ttl 64 " + INNER,
        ),
        (
            E / LEASES / A / ICMP(id=7, seq=1),
            "10.168.0.2:8285 → 10.168.0.3:8285 UDP tunnel len 28 ttl 64 " + INNER,
        ),
        (
            E / OUTER / A / ICMP(id=7, seq=1),
            "10.168.0.2 → 10.168.0.3 IP in IP ttl 64 " + INNER,
        ),
        (E / IP(src="1.1.1.1", dst="2.2.2.2", proto=89) / b"x", "1.1.1.1 → 2.2.2.2 protocol 89 ttl 64"),
        (
            Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / b"x",
            "02:00:00:00:00:01 → ff:ff:ff:ff:ff:ff Ethernet type 0x88b5",
        ),
        (b"\x01\x02", "not understood, 2 bytes"),
        (b"", "not understood, 0 bytes"),
    ],
)
def test_what_a_packet_is_in_words(content: object, text: str) -> None:
    found = packet(content)
    assert decode.words(decode.levels(found), found.wire_length) == text
    assert not [problem for key in decode.fields(found) if (problem := decode.key_problem(key))]


def test_a_line_has_time_place_and_direction() -> None:
    clock = time.strftime("%H:%M:%S", time.localtime(1_700_000_000)) + ".123456"
    for outgoing, arrow in ((True, ">"), (False, "<"), (None, "-")):
        line = decode.line(packet(A / ICMP(id=7, seq=1), LINKTYPE_RAW, outgoing))
        assert line == f"{clock} nginx-1:eth0 {arrow} 172.17.0.2 → 172.17.0.3 ICMP echo request id 7 seq 1 ttl 64"


def test_fields_of_a_tunnel_have_the_inner_packet_behind_inner() -> None:
    found = decode.fields(
        packet(E / OUTER / UDP(dport=8472) / VXLAN(vni=42) / E / A / TCP(sport=4, dport=80, flags="S"))
    )
    assert found["ip.src"] == "10.168.0.2" and found["vxlan.vni"] == 42 and found["udp.dport"] == 8472
    assert found["inner.ip.src"] == "172.17.0.2" and found["inner.tcp.flags"] == "S"
    assert found["inner.eth.dst"] == "02:42:ac:11:00:03" and "tcp.dport" not in found


def test_an_unknown_field_is_named_with_the_nearest() -> None:
    assert decode.key_problem("inner.ip.src") is None
    assert decode.key_problem("ip.tll") == "there is no packet field 'ip.tll'; did you mean 'ip.ttl'?"


def test_tunnels_in_tunnels_end_somewhere() -> None:
    data = bytes(IP(proto=4, len=20)) * 3000
    assert len(decode.levels(packet(data, LINKTYPE_RAW))) < 20
    assert decode.line(packet(data, LINKTYPE_RAW))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_break_the_decoder_nor_make_it_guess(data: st.DataObject) -> None:
    whole = [
        E / A / UDP(dport=53) / DNS(qd=DNSQR(qname="a")),
        E / ARP(),
        E / A6 / ICMPv6ND_NS(),
        E / LEASES / A / TCP(),
    ]
    content = bytearray(bytes(data.draw(st.sampled_from(whole))))
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = content[: data.draw(st.integers(0, len(content)))]
    found = packet(cut, data.draw(st.sampled_from([1, 101, 113])), None)
    assert "\n" not in decode.line(found)
    assert all(isinstance(value, int | str) for value in decode.fields(found).values())


def test_only_decoding_loads_scapy_and_never_all_of_it() -> None:
    code = (
        "import sys, netlab.lab.capture.decode, netlab.lab.capture.path, netlab.lab.capture.session\n"
        "assert not any(m.startswith('scapy') for m in sys.modules)\n"
        "import netlab.lab.capture.dissect\n"
        "assert 'scapy.all' not in sys.modules\n"
        "data = bytes.fromhex(sys.argv[1])\n"
        "print(*netlab.lab.capture.decode.flat(netlab.lab.capture.dissect.levels(data, 1)))"
    )
    tunnel = E / OUTER / UDP(sport=55555, dport=8472) / VXLAN(vni=1) / E / A / UDP(dport=53) / DNS(qd=DNSQR(qname="a"))
    command = [sys.executable, "-W", "error", "-c", code, bytes(tunnel).hex()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    # in a process that loaded nothing else, every layer is known all the same
    assert {"vxlan.vni", "inner.ip.src", "inner.dns.qname"} <= set(done.stdout.split())
