"""From a lab file to a `Topology`: every name checked, every address given or allotted, every problem reported at once.

Order decides everything that the file leaves open, so the same file always gives the same lab.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from netlab.base.addresses import Address, Interface, Network, default_network, docker_mac
from netlab.base.errors import InputError, Problem
from netlab.base.names import DEVICE_NAME_MAX, device_name_problem
from netlab.compile.topology import (
    ContainerBridge,
    Device,
    FirewallRule,
    Impairment,
    Place,
    Process,
    Published,
    StaticFdb,
    StaticNeighbour,
    StaticRoute,
    StaticRule,
    Topology,
)
from netlab.lab import schema
from netlab.lab.impairments import qdiscs
from netlab.lab.schema_file import LabFile
from netlab.lab.segments import Segment
from netlab.lab.yamlfile import Document, Location
from netlab.model import Bridge, Dummy, Ipip, IptablesRule, Kind, Macvlan, Tun, Vxlan

#: a Linux bridge has 1,024 ports (BR_MAX_PORTS)
BRIDGE_PORTS_MAX = 1023
#: outer Ethernet, IP, UDP and VXLAN headers, by the version of the outer IP (RFC 7348)
VXLAN_OVERHEAD = {4: 50, 6: 70}


@dataclass(slots=True)
class _Draft:
    """A place while it grows."""

    role: Literal["node", "container", "network"]
    why: str
    on: str | None = None
    shares: str | None = None
    devices: dict[str, Device] = field(default_factory=dict)
    parts: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, part: str, *items: Any) -> None:
        self.parts.setdefault(part, []).extend(items)


def resolve(lab: LabFile, document: Document) -> Topology:
    """The lab with nothing left open. InputError lists every problem with its line."""
    return _Resolver(lab, document).run()


class _Resolver:
    def __init__(self, lab: LabFile, document: Document) -> None:
        self.lab = lab
        self.document = document
        self.problems: list[Problem] = []
        self.drafts: dict[str, _Draft] = {}
        self.segments: dict[tuple[str, str], Segment] = {}  # (network name or node, bridge or "")

    def run(self) -> Topology:
        self._names()
        self._networks()
        for name, node in self.lab.nodes.items():
            self._node_bridges(name, node)
        for name, node in self.lab.nodes.items():
            self._explicit(name, node)
        for name, node in self.lab.nodes.items():
            self._interfaces(name, node)
        for name, node in self.lab.nodes.items():
            self._parents(name, node)
        for name, container in self.lab.containers.items():
            self._container(name, container)
        for section, machines in (("nodes", self.lab.nodes), ("containers", self.lab.containers)):
            for name, machine in machines.items():
                self._machine((section, name), name, machine)
        self._overlaps()
        self._gateways()
        if self.problems:
            raise InputError(sorted(set(self.problems), key=_by_line))
        places = tuple(self._place(name, draft) for name, draft in self.drafts.items())
        return Topology(name=self.lab.name, title=self.lab.title, places=places, source=self.document.name)

    # -- reporting

    def _at(self, *path: str | int) -> str:
        """Why something is there: the place in the file, and in brackets what stands there."""
        words = [str(part) for part in path if part not in ("interfaces", "containers", "nodes")]
        singular = {"networks": "network", "bridges": "bridge", "routes": "route", "sysctls": "sysctl"}
        said = " ".join(singular.get(word, word) for word in words)
        return f"{self.document.place(path)} ({'container ' if path[:1] == ('containers',) else ''}{said})"

    def _problem(self, path: Location, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(self.document.place(path), message, hint))

    def _unknown(self, path: Location, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names) or 'none'}"
        self._problem(path, f"there is no {what} {name!r}", hint)

    # -- names

    def _names(self) -> None:
        seen: dict[str, str] = {}
        for section, role in (("networks", "network"), ("nodes", "node"), ("containers", "container")):
            for name in getattr(self.lab, section):
                where = self._at(section, name)
                if name in seen:
                    self._problem(
                        (section, name), f"name {name!r} is taken already, at {seen[name]}", "rename one of them"
                    )
                    continue
                seen[name] = where
                self.drafts[name] = _Draft(role, where)  # type: ignore[arg-type]

    def _put(self, place: str, device: Device, path: Location) -> None:
        draft = self.drafts.get(place)
        if draft is None:
            return
        if device.name in draft.devices or device.name == "lo":
            taken = f", at {draft.devices[device.name].why}" if device.name in draft.devices else ""
            self._problem(path, f"{place} has a device {device.name!r} already{taken}", "give one of them another name")
            return
        draft.devices[device.name] = device

    # -- switches

    def _networks(self) -> None:
        for name, network in self.lab.networks.items():
            segment = Segment(f"network {name}", list(network.subnets), network.mtu or 1500)
            self.segments[name, ""] = segment
            problem = device_name_problem(name)
            if problem:
                self._problem(("networks", name), f"{problem}: a network's bridge has its name")
                continue
            bridge = Device(name=name, kind=Bridge(), mtu=segment.mtu, why=self._at("networks", name))
            self._put(name, bridge, ("networks", name))

    def _node_bridges(self, name: str, node: schema.Node) -> None:
        for dev, bridge in node.bridges.items():
            path: Location = ("nodes", name, "bridges", dev)
            addresses = tuple(bridge.addresses)
            segment = Segment(f"bridge {dev} of {name}", [a.network for a in addresses], bridge.mtu or 1500)
            self.segments[name, dev] = segment
            self._take(segment, addresses, (*path, "addresses"))
            device = Device(
                name=dev, kind=Bridge(stp=bridge.stp), addresses=addresses, mac=bridge.mac, mtu=segment.mtu,
                why=self._at(*path),
            )  # fmt: skip
            self._put(name, device, path)

    def _take(self, segment: Segment, addresses: Sequence[Interface], path: Location) -> None:
        for i, address in enumerate(addresses):
            where = self.document.place((*path, i))
            holder = segment.take(address.ip, f"{where}#{i}")
            if holder:
                text = f"address {address.ip} is in use on {segment.name} already, at {holder.split('#')[0]}"
                self._problem((*path, i), text, "give each interface its own address")

    # -- interfaces of nodes

    def _explicit(self, name: str, node: schema.Node) -> None:
        """Given addresses first, so that none of them is allotted to another."""
        for dev, interface in node.interfaces.items():
            segment = self.segments.get((interface.network or "", ""))
            if segment and interface.addresses:
                self._take(segment, interface.addresses, ("nodes", name, "interfaces", dev, "addresses"))

    def _interfaces(self, name: str, node: schema.Node) -> None:
        for dev, interface in node.interfaces.items():
            path: Location = ("nodes", name, "interfaces", dev)
            kinds = [
                k for k in ("network", "cable", "vxlan", "macvlan", "ipip", "tun") if getattr(interface, k) is not None
            ]
            kinds += ["dummy"] if interface.dummy else []
            if len(kinds) != 1:
                hint = "one of network, cable, vxlan, macvlan, ipip, tun, dummy"
                self._problem(
                    path, f"interface {dev} must be exactly one kind, not {' and '.join(kinds) or 'none'}", hint
                )
                continue
            device = self._interface(name, dev, interface, path)
            if device:
                self._put(name, device, path)

    def _interface(self, name: str, dev: str, spec: schema.Interface, path: Location) -> Device | None:
        addresses = tuple(spec.addresses or ())
        mtu, peer = spec.mtu or 0, None
        kind: Kind | None = None
        if spec.network is not None:
            segment = self.segments.get((spec.network, ""))
            if segment is None:
                self._unknown((*path, "network"), "network", spec.network, self.lab.networks)
                return None
            if spec.addresses is None:
                addresses = self._allot(segment, path)
            mtu = spec.mtu or segment.mtu
            peer = self._plug(spec.network, name, dev, mtu, path)
        elif spec.cable is not None:
            peer = self._cable(name, dev, spec, path)
            if peer is None:
                return None
        else:
            kind = _kind(spec)
        if spec.bridge and spec.bridge not in self.lab.nodes[name].bridges:
            self._unknown((*path, "bridge"), f"bridge of {name}", spec.bridge, self.lab.nodes[name].bridges)
            return None
        return Device(
            name=dev, kind=kind, peer=peer, addresses=addresses, mac=spec.mac, mtu=mtu, up=spec.up,
            master=spec.bridge, impairment=self._impair(spec.impair, path), why=self._at(*path),
        )  # fmt: skip

    def _parents(self, name: str, node: schema.Node) -> None:
        """Devices on top of others: the one below must be there, and leaves them so much room."""
        devices = self.drafts[name].devices if name in self.drafts else {}
        for dev, spec in node.interfaces.items():
            below = spec.vxlan.dev if spec.vxlan else spec.macvlan.parent if spec.macvlan else None
            device = devices.get(dev)
            if below is None or device is None:
                continue
            path: Location = ("nodes", name, "interfaces", dev)
            if below not in devices or below == dev:
                self._unknown(path, f"device of {name} below {dev}:", below, set(devices) - {dev})
                continue
            local = spec.vxlan.local if spec.vxlan else None
            room = (devices[below].mtu or 1500) - (0 if spec.macvlan else VXLAN_OVERHEAD[local.version if local else 4])
            if device.mtu > room:
                why = f"mtu {device.mtu} does not fit into {below}, which leaves {room}"
                self._problem((*path, "mtu"), why, f"at most {room}, or leave it out")
            devices[dev] = replace(device, mtu=device.mtu or room)

    def _allot(self, segment: Segment, path: Location) -> tuple[Interface, ...]:
        try:
            return tuple(segment.allot(self.document.place(path)))
        except ValueError as e:
            self._problem(path, str(e), "use a larger subnet")
            return ()

    def _plug(self, network: str, name: str, dev: str, mtu: int, path: Location) -> tuple[str, str]:
        port = f"{name}-{dev}"
        if len(port) > DEVICE_NAME_MAX:
            port = f"p{hashlib.sha256(port.encode()).hexdigest()[:10]}"
        switch = Device(name=port, kind=None, peer=(name, dev), mtu=mtu, master=network, why=self._at(*path))
        self._put(network, switch, path)
        if len(self.drafts[network].devices) > BRIDGE_PORTS_MAX:
            self._problem(path, f"network {network} has more than {BRIDGE_PORTS_MAX - 1} ports", "use several networks")
        return network, port

    def _cable(self, name: str, dev: str, spec: schema.Interface, path: Location) -> tuple[str, str] | None:
        other, _, far = (spec.cable or "").partition(":")
        node = self.lab.nodes.get(other)
        if node is None:
            self._unknown((*path, "cable"), "node", other, self.lab.nodes)
            return None
        back = node.interfaces.get(far)
        if back is None or back.cable != f"{name}:{dev}":
            says = f"it says {back.cable!r}" if back and back.cable else "it says nothing of a cable"
            hint = f"give {other} an interface {far} with cable: {name}:{dev}"
            self._problem((*path, "cable"), f"{other}:{far or '?'} is not the other end of {name}:{dev}: {says}", hint)
            return None
        return other, far

    def _impair(self, spec: schema.Impair | None, path: Location) -> Impairment | None:
        if spec is None:
            return None
        try:
            return Impairment(qdiscs=qdiscs(spec), why=self._at(*path, "impair"))
        except ValueError as e:
            self._problem((*path, "impair"), str(e))
            return None

    # -- containers

    def _container(self, name: str, spec: schema.Container) -> None:
        path: Location = ("containers", name)
        draft = self.drafts.get(name)
        if draft is None:
            return
        draft.on = spec.node
        if spec.network.startswith("container:"):
            host = spec.network.removeprefix("container:")
            if host not in self.lab.containers or host == name:
                self._unknown((*path, "network"), "container", host, set(self.lab.containers) - {name})
            elif self.lab.containers[host].network.startswith("container:"):
                self._problem(
                    (*path, "network"), f"{host} is a guest itself", "name the container that owns the namespace"
                )
            else:
                draft.shares = host if self.lab.containers[host].network != "host" else self.lab.containers[host].node
                draft.on = self.lab.containers[host].node
            return
        node = self.lab.nodes.get(spec.node or "")
        if node is None or spec.node is None:
            self._unknown((*path, "node"), "node", spec.node or "(none given)", self.lab.nodes)
            return
        if spec.network == "host":
            draft.shares = spec.node
        elif spec.network == "bridge":
            self._on_bridge(name, spec, spec.node, node, path)
        elif spec.network != "none":
            self._problem(
                (*path, "network"), f"unknown network {spec.network!r}", "one of bridge, none, host, container:NAME"
            )

    def _on_bridge(self, name: str, spec: schema.Container, host: str, node: schema.Node, path: Location) -> None:
        bridge = spec.bridge or (next(iter(node.bridges)) if len(node.bridges) == 1 else None)
        if bridge is None or bridge not in node.bridges:
            self._unknown((*path, "bridge"), f"bridge of {host}", bridge or "(none given)", node.bridges)
            return
        segment = self.segments[host, bridge]
        addresses = tuple(spec.addresses) if spec.addresses is not None else self._allot(segment, path)
        if spec.addresses is not None:
            self._take(segment, addresses, (*path, "addresses"))
        veth = spec.veth or "veth" + hashlib.sha256(f"{self.lab.name}/{name}".encode()).hexdigest()[:7]
        v4 = [a.ip for a in addresses if a.version == 4]
        mtu = spec.mtu or segment.mtu
        why = self._at(*path)
        inner = Device(
            name=spec.interface, kind=None, peer=(host, veth), addresses=addresses,
            mac=spec.mac or (docker_mac(v4[0]) if v4 else None), mtu=mtu,
            impairment=self._impair(spec.impair, path), why=why,
        )  # fmt: skip
        self._put(name, inner, path)
        outer = Device(
            name=veth, kind=None, peer=(name, spec.interface), mtu=mtu, master=bridge,
            hairpin=node.bridges[bridge].hairpin, why=why,
        )  # fmt: skip
        self._put(host, outer, path)
        for via in self._gateway(spec, addresses, node.bridges[bridge]):
            to = default_network(via.version)
            self.drafts[name].add(
                "routes", StaticRoute(to=to, via=via, dev=spec.interface, why=self._at(*path, "gateway"))
            )

    def _gateway(self, spec: schema.Container, addresses: Sequence[Interface], bridge: schema.Bridge) -> list[Address]:
        if spec.gateway == "none":
            return []
        if spec.gateway == "auto":
            near = [i.ip for i in bridge.addresses]
            return [ip for ip in near if any(ip in a.network for a in addresses if a.version == ip.version)]
        return list(spec.gateway) if isinstance(spec.gateway, list) else [spec.gateway]

    # -- what nodes and containers have in common

    def _machine(self, path: Location, name: str, spec: schema.Machine) -> None:
        draft = self.drafts.get(name)
        if draft is None:
            return
        if draft.shares and (spec.routes or spec.sysctls or spec.iptables or spec.rules):
            self._problem(path, f"{name} shares the network of {draft.shares}", f"set its network up in {draft.shares}")
            return
        devices = {"lo": None, **draft.devices}
        for i, route in enumerate(spec.routes):
            draft.add("routes", *self._route(route, (*path, "routes", i), devices))
        for i, rule in enumerate(spec.rules):
            why = self._at(*path, "rules", i)
            draft.add("rules", StaticRule(
                priority=rule.priority, family=rule.src.version if rule.src else rule.family, table=rule.table,
                src=rule.src, dst=rule.dst, fwmark=rule.fwmark, iif=rule.iif, why=why,
            ))  # fmt: skip
        for i, n in enumerate(spec.neighbours):
            self._device_exists(n.dev, devices, (*path, "neighbours", i), name)
            if bool(n.mac) == n.proxy:
                self._problem((*path, "neighbours", i), "a neighbour has either a mac or proxy: true")
            why = self._at(*path, "neighbours", i)
            draft.add("neighbours", StaticNeighbour(address=n.address, dev=n.dev, mac=n.mac, why=why))
        for i, f in enumerate(spec.fdb):
            self._device_exists(f.dev, devices, (*path, "fdb", i), name)
            draft.add("fdb", StaticFdb(mac=f.mac, dev=f.dev, dst=f.dst, why=self._at(*path, "fdb", i)))
        for key, value in spec.sysctls.items():
            self._sysctl(draft, key, value, (*path, "sysctls", key))
        for i, line in enumerate(spec.iptables):
            self._iptables(draft, line, (*path, "iptables", i))
        self._processes(draft, spec, path)
        if isinstance(spec, schema.Node):
            self._node(draft, name, spec, path)

    def _node(self, draft: _Draft, name: str, spec: schema.Node, path: Location) -> None:
        if spec.forward:
            why = self._at(*path, "forward")
            draft.add("sysctls", ("net/ipv4/ip_forward", "1", why), ("net/ipv6/conf/all/forwarding", "1", why))
        if spec.forward_policy:
            why = self._at(*path, "forward_policy")
            for family in (4, 6):
                draft.add("policies", (family, "filter", "FORWARD", spec.forward_policy, why))
        for dev, bridge in spec.bridges.items():
            published = [p for c, s in self.lab.containers.items() for p in self._published(c, s, name, dev)]
            if bridge.masquerade or published:
                draft.add("bridges", ContainerBridge(
                    name=dev, subnets=tuple(a.network for a in bridge.addresses), masquerade=bridge.masquerade,
                    hairpin=bridge.hairpin, published=tuple(published), why=self._at(*path, "bridges", dev),
                ))  # fmt: skip

    def _published(self, name: str, spec: schema.Container, host: str, bridge: str) -> list[Published]:
        draft = self.drafts.get(name)
        device = draft.devices.get(spec.interface) if draft else None
        if draft is None or device is None or draft.on != host:
            return []
        outer = self.drafts[host].devices.get(device.peer[1] if device.peer else "")
        if outer is None or outer.master != bridge:
            return []
        found = []
        for i, text in enumerate(spec.publish):
            host_port, port, protocol = schema.ports(text)
            path: Location = ("containers", name, "publish", i)
            if host_port is None:
                self._problem(path, f"{text!r} does not say the host's port", f"write HOSTPORT:{text}")
                continue
            why = self._at(*path)
            found += [
                Published(host_port=host_port, protocol=protocol, address=address.ip, port=port, why=why)
                for address in device.addresses
            ]
        return found

    def _device_exists(self, dev: str, devices: Iterable[str], path: Location, name: str) -> None:
        if dev not in devices:
            self._unknown((*path, "dev"), f"device of {name}", dev, devices)

    def _route(self, route: schema.Route, path: Location, devices: dict[str, Any]) -> list[StaticRoute]:
        dev = route.dev
        name = str(path[1])
        if route.nexthops:
            hops = tuple((h.via, h.dev, h.weight) for h in route.nexthops)
            for i, hop in enumerate(route.nexthops):
                self._device_exists(hop.dev, devices, (*path, "nexthops", i), name)
            return [
                StaticRoute(
                    to=route.to,
                    table=route.table,
                    metric=route.metric,
                    onlink=route.onlink,
                    nexthops=hops,
                    why=self._at(*path),
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
                self._problem(
                    (*path, "via"),
                    f"gateway {route.via} is in no subnet of {name}",
                    "correct it, or name dev and onlink: true",
                )
                return []
        if dev is None and route.type == "unicast":
            self._problem(path, f"route to {route.to} needs via or dev")
            return []
        if dev is not None:
            self._device_exists(dev, devices, path, name)
        return [StaticRoute(
            to=route.to, via=route.via, dev=dev, src=route.src, table=route.table, metric=route.metric,
            mtu=route.mtu, onlink=route.onlink, type=route.type, why=self._at(*path),
        )]  # fmt: skip

    def _sysctl(self, draft: _Draft, key: str, value: str, path: Location) -> None:
        name = key if "/" in key else key.replace(".", "/")
        if not name.startswith("net/") or ".." in name.split("/"):
            self._problem(path, f"sysctl {key!r} is not below net.", "only network settings belong to a namespace")
            return
        draft.add("sysctls", (name, value, self._at(*path)))

    def _iptables(self, draft: _Draft, line: schema.FirewallSpec, path: Location) -> None:
        why = self._at(*path)
        try:
            rule = IptablesRule.of(line.rule)
        except ValueError as e:
            self._problem((*path, "rule"), f"rule {line.rule!r}: {e}")
            return
        family: Literal[4, 6] = line.family or (6 if any(":" in word and "::" in word for word in rule.args) else 4)
        draft.add("firewall", FirewallRule(family=family, table=line.table, chain=line.chain, rule=line.rule, why=why))

    def _processes(self, draft: _Draft, spec: schema.Machine, path: Location) -> None:
        if spec.serve:
            serve = tuple((port, protocol) for _, port, protocol in map(schema.ports, spec.serve))
            for i, (_, protocol) in enumerate(serve):
                if protocol == "sctp":
                    self._problem((*path, "serve", i), "the built-in server speaks tcp and udp", "use processes")
            draft.add("processes", Process(name="web", argv=None, serve=serve, why=self._at(*path, "serve")))
        for name, process in spec.processes.items():
            if name == "web" and spec.serve:
                self._problem((*path, "processes", name), "'web' is the name of the built-in server", "choose another")
            draft.add("processes", Process(
                name=name, argv=tuple(process.command), restart=process.restart, env=tuple(sorted(process.env.items())),
                why=self._at(*path, "processes", name),
            ))  # fmt: skip

    # -- what only the whole shows

    def _overlaps(self) -> None:
        seen: list[tuple[Network, str, Location]] = []
        for name, network in self.lab.networks.items():
            for i, subnet in enumerate(network.subnets):
                self._overlap(seen, subnet, f"network {name}", ("networks", name, "subnets", i))
        for name in self.lab.nodes:
            draft = self.drafts.get(name)
            here: list[tuple[Network, str, Location]] = []
            for device in draft.devices.values() if draft else ():
                if device.master or isinstance(device.kind, Vxlan):
                    continue
                kind = "bridges" if isinstance(device.kind, Bridge) else "interfaces"
                for i, address in enumerate(device.addresses):
                    path: Location = ("nodes", name, kind, device.name, "addresses", i)
                    self._overlap(here, address.network, f"{device.name} of {name}", path)

    def _overlap(self, seen: list[tuple[Network, str, Location]], subnet: Network, what: str, path: Location) -> None:
        for other, whose, where in seen:
            if other.version == subnet.version and other.overlaps(subnet) and whose != what:
                text = f"subnet {subnet} of {what} overlaps {other} of {whose}, at {self.document.place(where)}"
                self._problem(path, text, "one host cannot tell two networks with the same addresses apart")
                return
        seen.append((subnet, what, path))

    def _gateways(self) -> None:
        for name, draft in self.drafts.items():
            section = "containers" if draft.role == "container" else "nodes"
            for route in draft.parts.get("routes", []):
                device = draft.devices.get(route.dev or "")
                if route.via is None or route.onlink or device is None or route.via.version != route.to.version:
                    continue
                if route.via.version == 6 and route.via.is_link_local:
                    continue
                subnets = [a.network for a in device.addresses if a.version == route.via.version]
                if not any(route.via in s for s in subnets):
                    listed = ", ".join(map(str, subnets)) or "none of that family"
                    text = f"gateway {route.via} is outside the subnets of {device.name} ({listed})"
                    self.problems.append(
                        Problem(
                            route.why.rpartition(" (")[0], f"{section}.{name}: {text}", "a gateway must be a neighbour"
                        )
                    )

    def _place(self, name: str, draft: _Draft) -> Place:
        parts = {key: tuple(items) for key, items in draft.parts.items()}
        devices = tuple(draft.devices.values())
        if draft.role == "network":
            devices = tuple(replace(d, mtu=d.mtu or 1500) for d in devices)
        return Place(
            name=name, role=draft.role, on=draft.on, shares=draft.shares, devices=devices, why=draft.why, **parts
        )


def _kind(spec: schema.Interface) -> Kind:
    if spec.vxlan:
        v = spec.vxlan
        return Vxlan(vni=v.vni, port=v.port, local=v.local, dev=v.dev, learning=v.learning)
    if spec.macvlan:
        return Macvlan(spec.macvlan.parent, spec.macvlan.mode)
    if spec.ipip:
        return Ipip(local=spec.ipip.local, remote=spec.ipip.remote)
    if spec.tun:
        return Tun(mode=spec.tun)
    return Dummy()


def _by_line(problem: Problem) -> tuple[str, int, str]:
    name, _, line = problem.place.rpartition(":")
    return name, int(line) if line.isdigit() else 0, problem.message
