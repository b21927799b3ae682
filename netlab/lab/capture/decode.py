"""A packet in one line for people, or as a flat dict for `--json` and for checks.

    12:01:02.123456 nginx-1:eth0 > ARP who has 172.17.0.3? tell 172.17.0.2
    12:01:02.123512 nginx-1:eth0 > 172.17.0.2 → 172.17.0.3 ICMP echo request id 7 seq 1 ttl 64

`>` leaves the node through the device, `<` comes in, `-` is not known.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from netlab.lab.capture.packet import Packet

if TYPE_CHECKING:
    from netlab.lab.capture.dissect import Level, Value

#: every key of `fields` and what it holds. A packet has those that apply to it; what a tunnel carries has the same
#: keys behind `inner.` (`inner.ip.src`), and again `inner.inner.` for a tunnel in a tunnel.
KEYS = {
    "eth.src": "MAC address", "eth.dst": "MAC address", "eth.type": "number; of what is behind a VLAN tag",
    "vlan.id": "802.1Q tag, 0 to 4095", "vlan.priority": "0 to 7",
    "arp.op": "1 who-has, 2 is-at", "arp.hwsrc": "MAC address", "arp.psrc": "address",
    "arp.hwdst": "MAC address", "arp.pdst": "address",
    "ip.src": "address", "ip.dst": "address", "ip.ttl": "hops left", "ip.proto": "1 ICMP, 4 IPIP, 6 TCP, 17 UDP",
    "ip.id": "number", "ip.len": "bytes with the header", "ip.tos": "DSCP and ECN", "ip.df": "1: do not fragment",
    "ip.mf": "1: more fragments follow", "ip.frag": "offset of the fragment in bytes",
    "ip6.src": "address", "ip6.dst": "address", "ip6.hlim": "hops left", "ip6.nh": "first next header, as ip.proto",
    "ip6.flow": "flow label", "ip6.len": "bytes behind the header", "ip6.tc": "traffic class",
    "icmp.type": "8 echo request, 0 echo reply, 3 unreachable, 11 time exceeded", "icmp.code": "number",
    "icmp.id": "of echo", "icmp.seq": "of echo", "icmp.mtu": "of fragmentation needed", "icmp.gateway": "of redirect",
    "icmp6.type": "128 echo request, 129 echo reply, 135 NS, 136 NA", "icmp6.code": "number",
    "icmp6.id": "of echo", "icmp6.seq": "of echo", "icmp6.target": "address, of NS and NA",
    "icmp6.mtu": "of packet too big",
    "tcp.sport": "port", "tcp.dport": "port", "tcp.flags": "letters in the order FSRPAUEC", "tcp.seq": "number",
    "tcp.ack": "number", "tcp.window": "not scaled", "tcp.len": "bytes of payload",
    "udp.sport": "port", "udp.dport": "port", "udp.len": "bytes of payload",
    "vxlan.vni": "network identifier",
    "dns.id": "number", "dns.qr": "0 query, 1 answer", "dns.rcode": "0 well, 3 no such name", "dns.qname": "name",
    "dns.qtype": "A, AAAA, …", "dns.answers": "comma-separated",
    "http.line": "the request or status line", "bgp.type": "OPEN, UPDATE, KEEPALIVE, …",
    "bgp.as": "of an OPEN: the AS of its sender", "bgp.hold_time": "of an OPEN: seconds",
    "bgp.router_id": "of an OPEN: four numbers", "bgp.nlri": "of an UPDATE: prefixes, comma-separated",
    "bgp.withdrawn": "of an UPDATE: prefixes, comma-separated", "bgp.as_path": "of an UPDATE: AS numbers",
    "bgp.next_hop": "of an UPDATE: address", "bgp.local_pref": "of an UPDATE: number",
    "bgp.med": "of an UPDATE: number", "bgp.communities": "of an UPDATE: such as 64512:100",
    "quoted.ip.src": "of the packet that an ICMP error is about", "quoted.ip.dst": "likewise",
    "quoted.ip6.src": "likewise", "quoted.ip6.dst": "likewise",
}  # fmt: skip

_ICMP = {0: "echo reply", 8: "echo request", 5: "redirect", 11: "time exceeded"}
_ICMP_UNREACHABLE = {
    0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
    4: "fragmentation needed", 9: "network prohibited", 10: "host prohibited", 13: "administratively prohibited",
}  # fmt: skip
_ICMP6 = {
    1: "unreachable", 2: "packet too big", 3: "time exceeded", 128: "echo request", 129: "echo reply",
    133: "router solicitation", 134: "router advertisement", 143: "multicast listener report",
}  # fmt: skip
_FLAGS = {"F": "FIN", "S": "SYN", "R": "RST", "P": "PSH", "A": "ACK", "U": "URG", "E": "ECE", "C": "CWR"}


def fields(packet: Packet) -> dict[str, Value]:
    """The packet as KEYS has it: numbers as int, everything else as str. Empty if nothing is understood."""
    return flat(levels(packet))


def levels(packet: Packet) -> list[Level]:
    """The packet's headers, one Level for each depth of tunnelling, the outermost first."""
    from netlab.lab.capture import dissect

    return dissect.levels(packet.data, packet.linktype)


def flat(found: Sequence[Level]) -> dict[str, Value]:
    """Levels as one dict, `inner.` before the keys of every level but the first."""
    return {"inner." * depth + key: value for depth, level in enumerate(found) for key, value in level.fields.items()}


def key_problem(key: str) -> str | None:
    """Why `key` cannot be a key of `fields`, with the nearest that can; None if all is well."""
    bare = key
    while bare.startswith("inner."):
        bare = bare.removeprefix("inner.")
    if bare in KEYS:
        return None
    near = get_close_matches(bare, KEYS, n=1)
    return f"there is no packet field {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def line(packet: Packet) -> str:
    """The packet in one line: local time, place, direction, what it is. Never raises."""
    arrow = {True: ">", False: "<", None: "-"}[packet.outgoing]
    return f"{clock(packet.time_ns)} {packet.place} {arrow} {words(levels(packet), packet.wire_length)}"


def clock(time_ns: int) -> str:
    """`12:01:02.123456`, local time; seconds since 1970 where a calendar does not reach (broken files)."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    try:
        text = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        text = str(seconds)
    return f"{text}.{nanoseconds // 1000:06}"


def words(found: Sequence[Level], wire_length: int) -> str:
    """What the packet is, from its levels; the inner packet of a tunnel in brackets."""
    f = found[0].fields
    tag = f"vlan {f['vlan.id']} " if "vlan.id" in f else ""
    inner = f" [{words(found[1:], 0)}]" if len(found) > 1 else ""
    return tag + _headers(f, tunnel=bool(inner), wire_length=wire_length) + inner


def _headers(f: Mapping[str, Value], *, tunnel: bool, wire_length: int) -> str:
    if "arp.op" in f:
        return _arp(f)
    ip = "ip" if "ip.src" in f else "ip6" if "ip6.src" in f else None
    if ip is None:
        return _unknown(f, wire_length)
    source, target = str(f[f"{ip}.src"]), str(f[f"{ip}.dst"])
    ttl = f" ttl {f['ip.ttl']}" if ip == "ip" else f" hlim {f['ip6.hlim']}"
    for protocol in ("tcp", "udp"):
        if f"{protocol}.sport" in f:
            source, target = (
                f"[{a}]:{port}" if ip == "ip6" else f"{a}:{port}"
                for a, port in ((source, f[f"{protocol}.sport"]), (target, f[f"{protocol}.dport"]))
            )
    return f"{source} → {target} {_transport(f, tunnel=tunnel)}{ttl}"


def _transport(f: Mapping[str, Value], *, tunnel: bool) -> str:
    if f.get("ip.frag"):
        return f"fragment id {f['ip.id']} offset {f['ip.frag']}"
    if "vxlan.vni" in f:
        return f"VXLAN vni {f['vxlan.vni']}"
    if "icmp.type" in f:
        return _icmp(f)
    if "icmp6.type" in f:
        return _icmp6(f)
    if "tcp.flags" in f:
        flags = " ".join(_FLAGS[letter] for letter in str(f["tcp.flags"]) if letter in _FLAGS) or "no flags"
        text = f"TCP {flags} seq {f['tcp.seq']} ack {f['tcp.ack']} len {f.get('tcp.len', '?')}"
        return text + "".join(
            f" {name} {f[key]}" for name, key in (("HTTP", "http.line"), ("BGP", "bgp.type")) if key in f
        )
    if "dns.id" in f:
        return _dns(f)
    if "udp.len" in f:
        return f"UDP {'tunnel' if tunnel else ''}".rstrip() + f" len {f['udp.len']}"
    if tunnel:
        return "IP in IP"
    return f"protocol {f.get('ip.proto', f.get('ip6.nh'))}"


def _unknown(f: Mapping[str, Value], wire_length: int) -> str:
    if "eth.src" not in f:
        return f"not understood, {wire_length} bytes"
    kind = f"type {f['eth.type']:#06x}" if "eth.type" in f else "802.3"
    return f"{f['eth.src']} → {f['eth.dst']} Ethernet {kind}"


def _arp(f: Mapping[str, Value]) -> str:
    if f["arp.op"] == 1:
        if f["arp.psrc"] == f["arp.pdst"]:
            return f"ARP announcement {f['arp.psrc']} is at {f['arp.hwsrc']}"
        return f"ARP who has {f['arp.pdst']}? tell {f['arp.psrc']}"
    if f["arp.op"] == 2:
        return f"ARP {f['arp.psrc']} is at {f['arp.hwsrc']}"
    return f"ARP operation {f['arp.op']}"


def _icmp(f: Mapping[str, Value]) -> str:
    kind, code = int(f["icmp.type"]), int(f["icmp.code"])
    text = _ICMP_UNREACHABLE.get(code, f"unreachable code {code}") if kind == 3 else _ICMP.get(kind, f"type {kind}")
    parts = [f"ICMP {text}"]
    parts += [f"{name} {f[f'icmp.{name}']}" for name in ("id", "seq", "mtu", "gateway") if f"icmp.{name}" in f]
    return " ".join(parts) + _about(f)


def _icmp6(f: Mapping[str, Value]) -> str:
    kind = int(f["icmp6.type"])
    if kind == 135:
        return f"ICMPv6 neighbour solicitation who has {f.get('icmp6.target', '?')}?"
    if kind == 136:
        return f"ICMPv6 neighbour advertisement I am {f.get('icmp6.target', '?')}"
    parts = [f"ICMPv6 {_ICMP6.get(kind, f'type {kind}')}"]
    parts += [f"{name} {f[f'icmp6.{name}']}" for name in ("id", "seq", "mtu") if f"icmp6.{name}" in f]
    return " ".join(parts) + _about(f)


def _about(f: Mapping[str, Value]) -> str:
    for ip in ("ip", "ip6"):
        if f"quoted.{ip}.src" in f:
            return f" (about {f[f'quoted.{ip}.src']} → {f[f'quoted.{ip}.dst']})"
    return ""


def _dns(f: Mapping[str, Value]) -> str:
    question = f"{f.get('dns.qtype', '?')} {f.get('dns.qname', '?')}"
    if not f["dns.qr"]:
        return f"DNS {question}?"
    if f["dns.rcode"]:
        return f"DNS {question}: {'no such name' if f['dns.rcode'] == 3 else 'error ' + str(f['dns.rcode'])}"
    return f"DNS {question}: {f.get('dns.answers') or 'no answer'}"
