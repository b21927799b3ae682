"""The text's own kind: a Network (samplecrd.k8s.io/v1, spec.cidr and spec.gateway) as a bridge with its subnet.

Where two Networks overlap, the older one has the addresses; the other is not made, and told why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from typing import Any

from netlab.base.addresses import derived_mac
from netlab.model import Address, Bridge, HostState, Item, Link

_Cidr = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a Network. bridge: the device, "" if it is not made; reason, message: as conditions have them."""

    bridge: str
    reason: str
    message: str


def bridge_name(namespace: str, name: str) -> str:
    """`br-` and twelve digits, as docker names the bridges of its networks: a name of the API is too long for a device,
    and two namespaces may have the same."""
    return "br-" + hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:12]


def _read(spec: Mapping[str, Any]) -> tuple[_Cidr, IPv4Address | IPv6Address]:
    """cidr and gateway. ValueError says what is wrong with which."""
    try:
        cidr = ip_network(str(spec.get("cidr", "")))
    except ValueError as e:
        raise ValueError(f"spec.cidr: {e}") from e
    if cidr.num_addresses < 4:
        raise ValueError(f"spec.cidr: {cidr} has no room for a gateway and anybody else")
    if not spec.get("gateway"):
        return cidr, cidr[1]
    try:
        gateway = ip_address(str(spec["gateway"]))
    except ValueError as e:
        raise ValueError(f"spec.gateway: {e}") from e
    if gateway not in cidr or gateway in (cidr[0], cidr[-1]):
        raise ValueError(f"spec.gateway: {gateway} is no host of {cidr}")
    return cidr, gateway


def networks(objects: Iterable[Mapping[str, Any]], *, owner: str) -> tuple[HostState, dict[str, Verdict]]:
    """The network of a node for all Network objects, and what became of each by its `namespace/name`."""
    items: list[Item] = []
    verdicts: dict[str, Verdict] = {}
    taken: dict[_Cidr, str] = {}

    def age(obj: Mapping[str, Any]) -> tuple[str, str, str]:
        meta = obj["metadata"]
        return str(meta.get("creationTimestamp", "")), str(meta.get("namespace", "")), str(meta["name"])

    for obj in sorted(objects, key=age):
        meta = obj["metadata"]
        namespace, name = str(meta.get("namespace", "")), str(meta["name"])
        key = f"{namespace}/{name}"
        if meta.get("deletionTimestamp"):
            continue
        try:
            cidr, gateway = _read(obj.get("spec") or {})
        except ValueError as e:
            verdicts[key] = Verdict("", "Invalid", str(e))
            continue
        other = next((by for there, by in taken.items() if there.version == cidr.version and there.overlaps(cidr)), "")
        if other:
            verdicts[key] = Verdict("", "Overlap", f"spec.cidr: {cidr} overlaps with that of Network {other}")
            continue
        taken[cidr] = key
        bridge, why = bridge_name(namespace, name), f"Network {key}"
        items.append(Link(
            name=bridge, kind=Bridge(), up=True, mac=derived_mac(owner, bridge), why=why, owner=owner,
        ))  # fmt: skip
        address = ip_interface(f"{gateway}/{cidr.prefixlen}")
        broadcast = cidr.broadcast_address if isinstance(cidr, IPv4Network) else None
        items.append(Address(dev=bridge, address=address, broadcast=broadcast, why=why, owner=owner))
        verdicts[key] = Verdict(bridge, "Created", f"bridge {bridge} with {address}")
    return HostState.of(items), verdicts
