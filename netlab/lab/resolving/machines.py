"""What nodes and containers have in common: routes, rules, neighbours, settings, firewall, processes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from netlab.base.yamlfile import Location
from netlab.compile.topology import (
    ContainerBridge,
    File,
    FirewallRule,
    Process,
    Published,
    StaticFdb,
    StaticNeighbour,
    StaticRoute,
    StaticRule,
)
from netlab.lab import schema
from netlab.lab.resolving.desk import Desk, Draft
from netlab.model import IptablesRule

_FILE_NAME = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]*")


def machine(desk: Desk, path: Location, name: str, spec: schema.Machine) -> None:
    """What nodes and containers have in common: routes, rules, neighbours, settings, firewall, processes."""
    draft = desk.drafts.get(name)
    if draft is None:
        return
    if draft.shares and (spec.routes or spec.sysctls or spec.iptables or spec.rules):
        desk.problem(path, f"{name} shares the network of {draft.shares}", f"set its network up in {draft.shares}")
        return
    devices = {"lo": None, **draft.devices}
    for i, route in enumerate(spec.routes):
        draft.add("routes", *_route(desk, route, (*path, "routes", i), devices))
    for i, rule in enumerate(spec.rules):
        why = desk.why(*path, "rules", i)
        draft.add("rules", StaticRule(
            priority=rule.priority, family=rule.src.version if rule.src else rule.family, table=rule.table,
            src=rule.src, dst=rule.dst, fwmark=rule.fwmark, iif=rule.iif, why=why,
        ))  # fmt: skip
    for i, n in enumerate(spec.neighbours):
        _device_exists(desk, n.dev, devices, (*path, "neighbours", i), name)
        if bool(n.mac) == n.proxy:
            desk.problem((*path, "neighbours", i), "a neighbour has either a mac or proxy: true")
        why = desk.why(*path, "neighbours", i)
        draft.add("neighbours", StaticNeighbour(address=n.address, dev=n.dev, mac=n.mac, why=why))
    for i, f in enumerate(spec.fdb):
        _device_exists(desk, f.dev, devices, (*path, "fdb", i), name)
        draft.add("fdb", StaticFdb(mac=f.mac, dev=f.dev, dst=f.dst, why=desk.why(*path, "fdb", i)))
    for key, value in spec.sysctls.items():
        _sysctl(desk, draft, key, value, (*path, "sysctls", key))
    for i, line in enumerate(spec.iptables):
        _iptables(desk, draft, line, (*path, "iptables", i))
    _processes(desk, draft, spec, path)
    if isinstance(spec, schema.Node):
        _node(desk, draft, name, spec, path)


def _node(desk: Desk, draft: Draft, name: str, spec: schema.Node, path: Location) -> None:
    if spec.forward:
        why = desk.why(*path, "forward")
        draft.add("sysctls", ("net/ipv4/ip_forward", "1", why), ("net/ipv6/conf/all/forwarding", "1", why))
    if spec.forward_policy:
        why = desk.why(*path, "forward_policy")
        for family in (4, 6):
            draft.add("policies", (family, "filter", "FORWARD", spec.forward_policy, why))
    for dev, bridge in spec.bridges.items():
        published = [p for c, s in desk.lab.containers.items() for p in _published(desk, c, s, name, dev)]
        if bridge.masquerade or published:
            draft.add("bridges", ContainerBridge(
                name=dev, subnets=tuple(a.network for a in bridge.addresses), masquerade=bridge.masquerade,
                hairpin=bridge.hairpin, published=tuple(published), why=desk.why(*path, "bridges", dev),
            ))  # fmt: skip


def _published(desk: Desk, name: str, spec: schema.Container, host: str, bridge: str) -> list[Published]:
    draft = desk.drafts.get(name)
    device = draft.devices.get(spec.interface) if draft else None
    if draft is None or device is None or draft.on != host:
        return []
    outer = desk.drafts[host].devices.get(device.peer[1] if device.peer else "")
    if outer is None or outer.master != bridge:
        return []
    found = []
    for i, text in enumerate(spec.publish):
        host_port, port, protocol = schema.ports(text)
        path: Location = ("containers", name, "publish", i)
        if host_port is None:
            desk.problem(path, f"{text!r} does not say the host's port", f"write HOSTPORT:{text}")
            continue
        why = desk.why(*path)
        found += [
            Published(host_port=host_port, protocol=protocol, address=address.ip, port=port, why=why)
            for address in device.addresses
        ]
    return found


def _device_exists(desk: Desk, dev: str, devices: Iterable[str], path: Location, name: str) -> None:
    if dev not in devices:
        desk.unknown((*path, "dev"), f"device of {name}", dev, devices)


def _route(desk: Desk, route: schema.Route, path: Location, devices: dict[str, Any]) -> list[StaticRoute]:
    dev = route.dev
    name = str(path[1])
    if route.nexthops:
        hops = tuple((h.via, h.dev, h.weight) for h in route.nexthops)
        for i, hop in enumerate(route.nexthops):
            _device_exists(desk, hop.dev, devices, (*path, "nexthops", i), name)
        return [
            StaticRoute(
                to=route.to,
                table=route.table,
                metric=route.metric,
                onlink=route.onlink,
                nexthops=hops,
                why=desk.why(*path),
            )
        ]
    if dev is None and route.via is not None:
        dev = next(
            (
                d.name
                for d in devices.values()
                if d and any(route.via in a.network for a in d.addresses if a.version == route.via.version)
            ),
            None,
        )
        if dev is None:
            desk.problem(
                (*path, "via"),
                f"gateway {route.via} is in no subnet of {name}",
                "correct it, or name dev and onlink: true",
            )
            return []
    if dev is None and route.type == "unicast":
        desk.problem(path, f"route to {route.to} needs via or dev")
        return []
    if dev is not None:
        _device_exists(desk, dev, devices, path, name)
    return [StaticRoute(
        to=route.to, via=route.via, dev=dev, src=route.src, table=route.table, metric=route.metric,
        mtu=route.mtu, onlink=route.onlink, type=route.type, why=desk.why(*path),
    )]  # fmt: skip


def _sysctl(desk: Desk, draft: Draft, key: str, value: str, path: Location) -> None:
    name = key if "/" in key else key.replace(".", "/")
    if not name.startswith("net/") or ".." in name.split("/"):
        desk.problem(path, f"sysctl {key!r} is not below net.", "only network settings belong to a namespace")
        return
    draft.add("sysctls", (name, value, desk.why(*path)))


def _iptables(desk: Desk, draft: Draft, line: schema.FirewallSpec, path: Location) -> None:
    why = desk.why(*path)
    try:
        rule = IptablesRule.of(line.rule)
    except ValueError as e:
        desk.problem((*path, "rule"), f"rule {line.rule!r}: {e}")
        return
    family: Literal[4, 6] = line.family or (6 if any(":" in word and "::" in word for word in rule.args) else 4)
    draft.add("firewall", FirewallRule(family=family, table=line.table, chain=line.chain, rule=line.rule, why=why))


def _processes(desk: Desk, draft: Draft, spec: schema.Machine, path: Location) -> None:
    for name, content in spec.files.items():
        if not _FILE_NAME.fullmatch(name):
            desk.problem((*path, "files", name), f"{name!r} is no file name", "letters, digits, dots, dashes")
        desk.files.append(File(path=f"files/{path[1]}/{name}", content=content, why=desk.why(*path, "files", name)))
    if spec.serve:
        serve = tuple((port, protocol) for _, port, protocol in map(schema.ports, spec.serve))
        for i, (_, protocol) in enumerate(serve):
            if protocol == "sctp":
                desk.problem((*path, "serve", i), "the built-in server speaks tcp and udp", "use processes")
        draft.add("processes", Process(name="web", argv=None, serve=serve, why=desk.why(*path, "serve")))
    for name, process in spec.processes.items():
        if name == "web" and spec.serve:
            desk.problem((*path, "processes", name), "'web' is the name of the built-in server", "choose another")
        draft.add("processes", Process(
            name=name, argv=tuple(process.command), restart=process.restart, env=tuple(sorted(process.env.items())),
            notify=process.notify, package=process.package, program=process.program, routes=process.routes,
            claims=process.claims, why=desk.why(*path, "processes", name),
        ))  # fmt: skip
