"""What happened to a packet between two sightings, in words: `ip.src 172.17.0.2 → 10.168.0.2 (SNAT)`, `ttl 64 → 63`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netlab.lab.capture.dissect import FLANNEL_UDP_PORT

if TYPE_CHECKING:
    from netlab.lab.capture.dissect import Level, Value

#: fields that a hop may change -> what to call the field, and what to call the change
_WATCHED = {
    "eth.src": ("eth.src", ""),
    "eth.dst": ("eth.dst", ""),
    "ip.src": ("ip.src", "SNAT"),
    "ip.dst": ("ip.dst", "DNAT"),
    "ip6.src": ("ip6.src", "SNAT"),
    "ip6.dst": ("ip6.dst", "DNAT"),
    "tcp.sport": ("tcp.sport", "SNAT"),
    "tcp.dport": ("tcp.dport", "DNAT"),
    "udp.sport": ("udp.sport", "SNAT"),
    "udp.dport": ("udp.dport", "DNAT"),
    "icmp.id": ("icmp.id", "SNAT"),
    "icmp6.id": ("icmp6.id", "SNAT"),
    "ip.ttl": ("ttl", ""),
    "ip6.hlim": ("hlim", ""),
    "ip.tos": ("tos", ""),
    "vxlan.vni": ("vni", ""),
}


def between(before: Sequence[Level], after: Sequence[Level]) -> tuple[str, ...]:
    """The changes, in words; levels of tunnelling are compared from the innermost outwards."""
    found = [f"encapsulated in {_tunnel(level.fields)}" for level in after[: max(0, len(after) - len(before))]]
    found += [f"decapsulated from {_tunnel(level.fields)}" for level in before[: max(0, len(before) - len(after))]]
    for depth, (old, new) in enumerate(zip(reversed(before), reversed(after), strict=False)):
        found += ["outer " * depth + words for words in _changes(old.fields, new.fields)]
    return tuple(found)


def _changes(old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    found = []
    if "eth.src" in old and "eth.src" not in new:
        found.append("Ethernet header gone")
    elif "eth.src" in new and "eth.src" not in old:
        found.append(f"Ethernet header {new['eth.src']} → {new['eth.dst']}")
    match old.get("vlan.id"), new.get("vlan.id"):
        case None, int(tag):
            found.append(f"vlan {tag} added")
        case int(tag), None:
            found.append(f"vlan {tag} removed")
        case int(was), int(tag) if was != tag:
            found.append(f"vlan {was} → {tag}")
    for key, (name, kind) in _WATCHED.items():
        if key in old and key in new and old[key] != new[key]:
            found.append(f"{name} {old[key]} → {new[key]}" + (f" ({kind})" if kind else ""))
    return found


def _tunnel(f: Mapping[str, Value]) -> str:
    source, target = f.get("ip.src", f.get("ip6.src")), f.get("ip.dst", f.get("ip6.dst"))
    if "vxlan.vni" in f:
        kind = f"VXLAN vni {f['vxlan.vni']}"
    elif FLANNEL_UDP_PORT in (f.get("udp.sport"), f.get("udp.dport")):
        kind = f"UDP port {FLANNEL_UDP_PORT}"
    else:
        kind = "IP"
    return f"{kind} {source} → {target}"
