"""Bytes to fields, by scapy: the only module that imports it, and it takes 0.2 s, so import this one late.

A packet is a list of levels, the outermost first: a tunnel (VXLAN, IPIP, flannel's UDP backend) starts a new one.
`scapy.all` would take three times as long; only the layers that the labs use are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from scapy.layers.dns import dnsqtypes
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import NoPayload, Raw

Value = int | str

#: flannel's UDP backend: bare IP packets in UDP (flannel Documentation/backends.md). scapy cannot know of it.
FLANNEL_UDP_PORT = 8285
#: link types of bare IP: LINKTYPE_RAW, DLT_RAW as old files have it (12, 14), IPv4, IPv6
_BARE_IP = frozenset({101, 12, 14, 228, 229})
_ETHERNET, _ETHERNET_HEADER = 1, 14
#: tunnels in tunnels beyond this are an attack on the reader, not a network
_DEPTH_MAX = 8
_HTTP_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"CONNECT ")
_BGP_PORT, _BGP_MARKER = 179, b"\xff" * 16
_BGP_TYPES = {1: "OPEN", 2: "UPDATE", 3: "NOTIFICATION", 4: "KEEPALIVE", 5: "ROUTE-REFRESH"}  # RFC 4271, RFC 2918


@dataclass(slots=True)
class Level:
    """One set of headers, from a link (or bare IP) header to what a tunnel or an application has in it.

    fields: as decode.KEYS, without a prefix; payload: the bytes behind the last header, which are an application's.
    """

    fields: dict[str, Value] = field(default_factory=dict)
    payload: bytes = b""


def levels(data: bytes, linktype: int) -> list[Level]:
    """The packet's levels, at least one. Never raises: what is not understood, or broken, has no fields."""
    found = [Level(payload=data)]
    try:
        layer = _first(data, linktype)
        while layer is not None:
            layer = _take(layer, found)
    except Exception:  # noqa: BLE001 - scapy's dissectors raise anything on hostile bytes; the fields so far stand
        pass
    return found


def _first(data: bytes, linktype: int) -> Any:
    if linktype == _ETHERNET:
        return Ether(data) if len(data) >= _ETHERNET_HEADER else None
    return _bare_ip(data) if linktype in _BARE_IP else None


def _bare_ip(data: bytes) -> Any:
    version = data[0] >> 4 if data else 0
    return IP(data) if version == 4 else IPv6(data) if version == 6 else None


def _take(layer: Any, found: list[Level]) -> Any:
    """Read one header into the last level; the next header, or None at the end."""
    name = type(layer).__name__
    if name in ("IP", "IPv6") and found[-1].fields.keys() & {"ip.src", "ip6.src"}:
        found.append(Level())  # IP in IP
    level = found[-1]
    if name in _READERS:
        level.fields.update(_plain(_READERS[name](_Seen(layer))))
    payload = layer.payload
    if name in _READERS and name != "DNS":
        level.payload = b"" if isinstance(payload, NoPayload) else bytes(payload.original)
    if isinstance(layer, VXLAN):  # the import also binds it to its ports, 4789 and Linux's 8472
        found.append(Level(payload=level.payload))
    elif name == "UDP" and FLANNEL_UDP_PORT in (layer.sport, layer.dport):
        inner = _bare_ip(level.payload)
        if inner is not None:
            found.append(Level(payload=level.payload))
        return inner
    elif name == "TCP":
        level.fields.update(_application(layer, level.payload))
    elif name in ("ICMP", "ICMPv6DestUnreach", "ICMPv6PacketTooBig", "ICMPv6TimeExceeded"):
        level.fields.update(_quoted(payload))
        return None
    return None if isinstance(payload, NoPayload | Raw) or len(found) > _DEPTH_MAX else payload


class _Seen:
    """A layer with nothing but what was in the bytes.

    scapy fills what is absent from a cut header with its own guess, and for an address asks this machine's routes
    and neighbours for it.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __getattr__(self, name: str) -> Any:
        if name not in self._layer.fields:
            raise AttributeError(name)
        return getattr(self._layer, name)


def _plain(fields: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    """Numbers and text only: a header with odd lengths (ARP of some other link) makes scapy give bytes or None."""
    for key, value in fields.items():
        if value is not None:
            yield key, int(value) if isinstance(value, int) else _text(value)


def _ether(p: Any) -> dict[str, Value]:
    return {"eth.src": p.src, "eth.dst": p.dst, "eth.type": p.type}


def _dot1q(p: Any) -> dict[str, Value]:
    return {"vlan.id": p.vlan, "vlan.priority": p.prio, "eth.type": p.type}


def _arp(p: Any) -> dict[str, Value]:
    return {
        "arp.op": p.op,
        "arp.hwsrc": p.hwsrc,
        "arp.psrc": str(p.psrc),
        "arp.hwdst": p.hwdst,
        "arp.pdst": str(p.pdst),
    }


def _ip(p: Any) -> dict[str, Value]:
    return {
        "ip.src": p.src,
        "ip.dst": p.dst,
        "ip.ttl": p.ttl,
        "ip.proto": p.proto,
        "ip.id": p.id,
        "ip.len": p.len,
        "ip.tos": p.tos,
        "ip.df": int("DF" in p.flags),
        "ip.mf": int("MF" in p.flags),
        "ip.frag": p.frag * 8,
    }


def _ip6(p: Any) -> dict[str, Value]:
    return {
        "ip6.src": p.src,
        "ip6.dst": p.dst,
        "ip6.hlim": p.hlim,
        "ip6.nh": p.nh,
        "ip6.flow": p.fl,
        "ip6.len": p.plen,
        "ip6.tc": p.tc,
    }


def _icmp(p: Any) -> dict[str, Value]:
    found: dict[str, Value] = {"icmp.type": p.type, "icmp.code": p.code}
    if p.type in (0, 8):
        found |= {"icmp.id": p.id, "icmp.seq": p.seq}
    elif (p.type, p.code) == (3, 4):
        found["icmp.mtu"] = p.nexthopmtu
    elif p.type == 5:
        found["icmp.gateway"] = p.gw
    return found


def _icmp6(p: Any) -> dict[str, Value]:
    found: dict[str, Value] = {"icmp6.type": p.type, "icmp6.code": p.code}
    for attribute, key in (("id", "icmp6.id"), ("seq", "icmp6.seq"), ("tgt", "icmp6.target"), ("mtu", "icmp6.mtu")):
        if hasattr(p, attribute):
            found[key] = getattr(p, attribute)
    return found


def _tcp(p: Any) -> dict[str, Value]:
    return {
        "tcp.sport": p.sport,
        "tcp.dport": p.dport,
        "tcp.flags": str(p.flags),
        "tcp.seq": p.seq,
        "tcp.ack": p.ack,
        "tcp.window": p.window,
    }


def _udp(p: Any) -> dict[str, Value]:
    return {"udp.sport": p.sport, "udp.dport": p.dport, "udp.len": p.len - 8}


def _vxlan(p: Any) -> dict[str, Value]:
    return {"vxlan.vni": p.vni}


def _dns(p: Any) -> dict[str, Value]:
    found: dict[str, Value] = {"dns.id": p.id, "dns.qr": p.qr, "dns.rcode": p.rcode}
    if p.qd:
        found["dns.qname"] = _text(p.qd[0].qname)
        found["dns.qtype"] = str(dnsqtypes.get(p.qd[0].qtype, p.qd[0].qtype))
    if p.qr:
        found["dns.answers"] = ", ".join(_text(answer.rdata) for answer in p.an or [] if hasattr(answer, "rdata"))
    return found


def _text(value: Any) -> str:
    """Printable text, whatever bytes the packet has for it."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)


def _application(tcp: Any, payload: bytes) -> Iterator[tuple[str, Value]]:
    """What the first bytes of a TCP segment tell: its length, an HTTP start line, a BGP message."""
    yield "tcp.len", len(payload)
    start = payload[:512].split(b"\r\n", 1)[0]
    if payload.startswith(b"HTTP/1.") or (payload.startswith(_HTTP_METHODS) and b" HTTP/1." in start):
        yield "http.line", _text(start)
    if _BGP_PORT in (tcp.sport, tcp.dport) and payload.startswith(_BGP_MARKER) and len(payload) >= 19:
        yield "bgp.type", _BGP_TYPES.get(payload[18], str(payload[18]))
        from netlab.lab.capture.routing import fields  # a lab without BGP need not read a codec for it

        yield from fields(payload)


def _quoted(payload: Any) -> Iterator[tuple[str, Value]]:
    """The addresses of the packet that an ICMP error is about, which it carries behind its own header."""
    name = type(payload).__name__
    if name in ("IPerror", "IPerror6"):
        prefix = "ip" if name == "IPerror" else "ip6"
        yield f"quoted.{prefix}.src", payload.src
        yield f"quoted.{prefix}.dst", payload.dst


#: scapy's layer -> its fields
_READERS: dict[str, Callable[[Any], dict[str, Value]]] = {
    "Ether": _ether,
    "Dot3": lambda p: {"eth.src": p.src, "eth.dst": p.dst},
    "Dot1Q": _dot1q,
    "Dot1AD": _dot1q,
    "ARP": _arp,
    "IP": _ip,
    "IPv6": _ip6,
    "ICMP": _icmp,
    "ICMPv6EchoRequest": _icmp6,
    "ICMPv6EchoReply": _icmp6,
    "ICMPv6ND_NS": _icmp6,
    "ICMPv6ND_NA": _icmp6,
    "ICMPv6ND_RS": _icmp6,
    "ICMPv6ND_RA": _icmp6,
    "ICMPv6DestUnreach": _icmp6,
    "ICMPv6PacketTooBig": _icmp6,
    "ICMPv6TimeExceeded": _icmp6,
    "ICMPv6MLReport2": _icmp6,
    "TCP": _tcp,
    "UDP": _udp,
    "VXLAN": _vxlan,
    "DNS": _dns,
}
