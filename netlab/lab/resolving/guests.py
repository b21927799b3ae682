"""Containers: on a bridge of their host, without a network, or in somebody else's namespace."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from netlab.base.addresses import Address, Interface, default_network, docker_mac
from netlab.base.yamlfile import Location
from netlab.compile.topology import Device, StaticRoute
from netlab.lab import schema
from netlab.lab.resolving import wires
from netlab.lab.resolving.desk import Desk


def container(desk: Desk, name: str, spec: schema.Container) -> None:
    """A container: its place, and its cable if it is on a bridge."""
    path: Location = ("containers", name)
    draft = desk.drafts.get(name)
    if draft is None:
        return
    draft.on = spec.node
    if spec.network.startswith("container:"):
        host = spec.network.removeprefix("container:")
        if host not in desk.lab.containers or host == name:
            desk.unknown((*path, "network"), "container", host, set(desk.lab.containers) - {name})
        elif desk.lab.containers[host].network.startswith("container:"):
            desk.problem((*path, "network"), f"{host} is a guest itself", "name the container that owns the namespace")
        else:
            draft.shares = host if desk.lab.containers[host].network != "host" else desk.lab.containers[host].node
            draft.on = desk.lab.containers[host].node
        return
    node = desk.lab.nodes.get(spec.node or "")
    if node is None or spec.node is None:
        desk.unknown((*path, "node"), "node", spec.node or "(none given)", desk.lab.nodes)
        return
    if spec.network == "host":
        draft.shares = spec.node
    elif spec.network == "bridge":
        _on_bridge(desk, name, spec, spec.node, node, path)
    elif spec.network != "none":
        desk.problem(
            (*path, "network"), f"unknown network {spec.network!r}", "one of bridge, none, host, container:NAME"
        )


def given_addresses(desk: Desk, name: str, spec: schema.Container) -> None:
    """Given addresses first, so that none of them is allotted to another."""
    node = desk.lab.nodes.get(spec.node or "")
    if node is None or not spec.addresses or spec.network != "bridge":
        return
    segment = desk.segments.get((spec.node or "", _bridge(spec, node) or ""))
    if segment:
        wires.take(desk, segment, spec.addresses, ("containers", name, "addresses"))


def _bridge(spec: schema.Container, node: schema.Node) -> str | None:
    """The bridge that a container is plugged into: the one that it names, or the only one there is."""
    return spec.bridge or (next(iter(node.bridges)) if len(node.bridges) == 1 else None)


def _on_bridge(desk: Desk, name: str, spec: schema.Container, host: str, node: schema.Node, path: Location) -> None:
    bridge = _bridge(spec, node)
    if bridge is None or bridge not in node.bridges:
        desk.unknown((*path, "bridge"), f"bridge of {host}", bridge or "(none given)", node.bridges)
        return
    segment = desk.segments[host, bridge]
    addresses = tuple(spec.addresses) if spec.addresses is not None else wires.allot(desk, segment, path)
    veth = spec.veth or "veth" + hashlib.sha256(f"{desk.lab.name}/{name}".encode()).hexdigest()[:7]
    v4 = [a.ip for a in addresses if a.version == 4]
    mtu = spec.mtu or segment.mtu
    why = desk.why(*path)
    inner = Device(
        name=spec.interface, kind=None, peer=(host, veth), addresses=addresses,
        mac=spec.mac or (docker_mac(v4[0]) if v4 else None), mtu=mtu,
        impairment=wires.impairment(desk, spec.impair, path), why=why,
    )  # fmt: skip
    desk.put(name, inner, path)
    outer = Device(
        name=veth, kind=None, peer=(name, spec.interface), mtu=mtu, master=bridge,
        hairpin=node.bridges[bridge].hairpin, why=why,
    )  # fmt: skip
    desk.put(host, outer, path)
    for via in _gateway(desk, spec, addresses, node.bridges[bridge]):
        to = default_network(via.version)
        desk.drafts[name].add("routes", StaticRoute(to=to, via=via, dev=spec.interface, why=desk.why(*path, "gateway")))


def _gateway(
    desk: Desk, spec: schema.Container, addresses: Sequence[Interface], bridge: schema.Bridge
) -> list[Address]:
    if spec.gateway == "none":
        return []
    if spec.gateway == "auto":
        near = [i.ip for i in bridge.addresses]
        return [ip for ip in near if any(ip in a.network for a in addresses if a.version == ip.version)]
    return list(spec.gateway) if isinstance(spec.gateway, list) else [spec.gateway]
