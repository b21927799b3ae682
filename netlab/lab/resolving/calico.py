"""A lab's Calico: its objects, its pods' addresses, what each node has, and a BGP speaker on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from netlab.base.addresses import Address
from netlab.base.errors import InputError, NetlabError
from netlab.base.yamlfile import Document, Location, load
from netlab.calico import bgp as speakers
from netlab.calico import node as nodes
from netlab.calico.block import Attribute
from netlab.calico.fields import Given, Where
from netlab.calico.ipam import Ipam
from netlab.calico.node import Workload
from netlab.calico.objects import Node, Objects, read
from netlab.compile.topology import Device
from netlab.lab import schema
from netlab.lab.resolving import bgp
from netlab.lab.resolving.desk import Desk
from netlab.model import Address as OnDevice
from netlab.model import HostState, Link, Veth


def calico(desk: Desk, spec: schema.Calico, folder: Path) -> None:
    """Everything that Calico has in the lab."""
    try:
        objects = read(_given(desk, spec, folder))
        ipam = Ipam.of(objects)
    except InputError as e:
        desk.problems += e.problems
        return
    objects = _with_nodes(desk, spec, objects)
    if desk.problems:
        return
    by_name = {node.name: node for node in objects.nodes}
    ipam, pods = _addresses(desk, ipam, by_name)
    objects, ipam = _tunnels(objects, ipam)
    for i, name in enumerate(spec.nodes):
        draft, why = desk.drafts[name], desk.why("calico", "nodes", i)
        mtu = draft.devices[spec.iface].mtu or 1500
        of_node = [(pod, workload) for pod, (on, workload) in pods.items() if on == name]
        node = next(node for node in objects.nodes if node.name == name)
        state = nodes.host_state(
            node, objects, ipam, [workload for _, workload in of_node], dev=spec.iface, mtu=mtu, blackholes=False
        )
        _lay(desk, name, state, path=("calico", "nodes", i))
        for pod, workload in of_node:
            inside = nodes.pod_state(workload, name, mtu=nodes.pod_mtu(objects, mtu))
            _lay(desk, pod, inside, path=("containers", pod))
        bgp.daemon(desk, name, speakers.config(node, objects, ipam), why=why)


def _given(desk: Desk, spec: schema.Calico, folder: Path) -> Iterator[Given]:
    for i, data in enumerate(spec.objects):
        yield Given(data, _placed(desk.document, ("calico", "objects", i)))
    for i, name in enumerate(spec.manifests):
        parts = Path(name).parts
        if ".." in parts or parts[:1] != ("manifests",):
            desk.problem(("calico", "manifests", i), f"{name!r} is not below manifests/", "manifests/NAME.yaml")
            continue
        try:
            document = load(folder / name)
        except InputError as e:
            desk.problems += e.problems
            continue
        data = document.data if isinstance(document.data, dict) else {}
        if data.get("kind") == "List":
            for n, item in enumerate(data.get("items") or []):
                yield Given(item if isinstance(item, dict) else {}, _placed(document, ("items", n)))
        else:
            yield Given(data, _placed(document, ()))


def _placed(document: Document, prefix: Location) -> Callable[[tuple[Where, ...]], str]:
    return lambda where: document.place((*prefix, *where))


def _with_nodes(desk: Desk, spec: schema.Calico, objects: Objects) -> Objects:
    """Each node as an object: the one that is there, with addresses of the lab's device where it says none."""
    given = {node.name: node for node in objects.nodes}
    found = []
    for i, name in enumerate(spec.nodes):
        path: Location = ("calico", "nodes", i)
        draft = desk.drafts.get(name)
        if draft is None or draft.role != "node":
            desk.unknown(path, "node", name, desk.lab.nodes)
            continue
        device = draft.devices.get(spec.iface)
        if device is None:
            desk.unknown(("calico", "iface"), f"device of {name}", spec.iface, draft.devices)
            continue
        ipv4 = next((a for a in device.addresses if isinstance(a, IPv4Interface)), None)
        ipv6 = next((a for a in device.addresses if isinstance(a, IPv6Interface)), None)
        node = given.pop(name, None) or Node(name=name)
        found.append(replace(node, ipv4=node.ipv4 or ipv4, ipv6=node.ipv6 or ipv6))
    for name in given:
        desk.problem(("calico", "nodes"), f"there is an object for a node {name!r} that is not listed", "list it")
    return replace(objects, nodes=tuple(found))


def _addresses(desk: Desk, ipam: Ipam, by_name: dict[str, Node]) -> tuple[Ipam, dict[str, tuple[str, Workload]]]:
    """Pods, with their nodes, and the addresses that IPAM gives them in the order of the file; given ones first."""
    specs = {name: c for name, c in desk.lab.containers.items() if c.network == "calico"}
    found: dict[str, tuple[str, Workload]] = {}
    for name, spec in sorted(specs.items(), key=lambda item: item[1].addresses is None):
        path: Location = ("containers", name)
        node = by_name.get(spec.node or "")
        if node is None:
            desk.unknown((*path, "node"), "node that runs Calico", spec.node or "(none given)", by_name)
            continue
        pod = Workload(name=name, addresses=(), netns=name, interface=spec.interface, mac=spec.mac, why=desk.why(*path))
        owner = Attribute(pod.handle, (("namespace", "default"), ("node", node.name), ("pod", name)))
        try:
            ipam, addresses = _take(ipam, node, owner, spec)
        except NetlabError as e:
            desk.problem(path, e.message, e.hint)
            continue
        found[name] = node.name, replace(pod, addresses=addresses)
    return ipam, {name: found[name] for name in specs if name in found}


def _take(ipam: Ipam, node: Node, owner: Attribute, spec: schema.Container) -> tuple[Ipam, tuple[Address, ...]]:
    if spec.addresses is not None:
        given = tuple(a.ip for a in spec.addresses)
        for address in given:
            ipam = ipam.assign_given(node, owner, address)
        return ipam, given
    got: list[Address] = []
    for version in sorted({p.cidr.version for p in ipam.pools}):
        ipam, address = ipam.assign(node, owner, version)
        got.append(address)
    return ipam, tuple(got)


def _tunnels(objects: Objects, ipam: Ipam) -> tuple[Objects, Ipam]:
    """Where packets are tunnelled, a node has an address of a pool on tunl0: what it sends itself comes from there."""
    if not any(pool.ipip != "Never" for pool in objects.pools):
        return objects, ipam
    found = []
    for node in objects.nodes:
        tunnel = node.tunnel
        if tunnel is None:
            owner = Attribute(f"ipip-tunnel-addr-{node.name}", (("node", node.name), ("type", "ipipTunnelAddress")))
            ipam, tunnel = ipam.assign(node, owner, 4)
        found.append(replace(node, tunnel=tunnel))
    return replace(objects, nodes=tuple(found)), ipam


def _lay(desk: Desk, place: str, state: HostState, *, path: Location) -> None:
    """Put a computed value into a place: devices as the lab's devices, everything else as it is."""
    draft = desk.drafts[place]
    usual = [a for a in state.all(OnDevice) if a.scope == "global"]
    for link in state.all(Link):
        veth = link.kind if isinstance(link.kind, Veth) else None
        device = Device(
            name=link.name,
            kind=None if veth else link.kind,
            peer=(veth.peer_netns, veth.peer) if veth else None,
            addresses=tuple(a.address for a in usual if a.dev == link.name),
            mac=link.mac,
            mtu=link.mtu,
            why=link.why,
        )
        desk.put(place, device, path)
    known = {id(item) for item in [*usual, *state.all(Link)]}
    draft.add("items", *(item for item in state if id(item) not in known))
