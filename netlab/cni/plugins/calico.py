"""a cable without a bridge, a route to each container, and addresses out of the node's blocks of an IPPool.

    {"type": "calico", "nodename": "node1", "mtu": 1480, "ipam": {"type": "calico-ipam"},
     "datastore_type": "file", "datastore": "/etc/calico/objects"}

The datastore is a directory of manifests of crd.projectcalico.org (IPPool, Node, IPAMConfig, IPReservation), to which
the plugin adds `ipam.json`, the IPAMBlocks: written whole under a lock, so that nodes which share the directory get
blocks of their own. What decides is `netlab.calico`, as in labs. datastore_type etcdv3 and kubernetes are refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import orjson

from netlab.base import lockedfiles as files
from netlab.base.addresses import Address, derived_mac
from netlab.base.errors import InputError, NetlabError
from netlab.base.manifests import parse
from netlab.calico import node as nodes
from netlab.calico.block import Attribute
from netlab.calico.fields import Given
from netlab.calico.ipam import Ipam, NoAddress
from netlab.calico.objects import Node, Objects, read
from netlab.cni.errors import CniError, Code
from netlab.cni.machine import HOST, Machine
from netlab.cni.plugins.owned import Owned
from netlab.cni.protocol import Call
from netlab.cni.result import Interface, Ip, Result
from netlab.model import HostState, Sysctl

BLOCKS = "ipam.json"

DIRECTORY = Path("etc/calico/objects")
_SUFFIXES = (".yaml", ".yml", ".json")


class Store:
    """The directory. Whoever takes or gives back an address holds its lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def objects(self) -> Objects:
        """All of them, blocks included. CniError (7) with all that is wrong."""
        given: list[Given] = []
        try:
            for file in sorted(f for f in self.directory.iterdir() if f.suffix in _SUFFIXES):
                given += [Given(m.data, m.place) for m in parse(file.read_text(), str(file))]
            return read(given)
        except OSError as e:
            raise CniError(Code.CONFIG, f"datastore {self.directory}: {e.strerror}") from e
        except InputError as e:
            raise CniError(Code.CONFIG, f"{e.message}", e.hint or "") from e

    @contextlib.contextmanager
    def held(self) -> Iterator[Objects]:
        """The objects, which nobody changes meanwhile."""
        if not self.directory.is_dir():
            raise CniError(Code.CONFIG, f"there is no datastore {self.directory}")
        with files.locked(self.directory / ".lock"):
            yield self.objects()

    def write(self, after: Ipam) -> None:
        """The blocks as they are now."""
        items = [item for (kind, _), item in sorted(after.objects().items()) if kind == "IPAMBlock"]
        document = {"apiVersion": "v1", "kind": "List", "items": items}
        files.put(self.directory / BLOCKS, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


class Calico(Owned):
    """Addresses of other address plugins than calico-ipam are refused: nobody would announce them."""

    def add(self, call: Call, machine: Machine) -> Result:
        store, handle = _store(call, machine), _handle(call)
        with store.held() as objects:
            node, ipam = _node(call, objects), Ipam.of(objects)
            if any(owner.handle == handle for owner in ipam.used().values()):
                raise CniError(Code.CONFIG, f"{handle} has addresses already", "a second ADD needs a DEL first")
            pod = _workload(call)
            owner = Attribute(handle, (("namespace", pod.namespace), ("node", node.name), ("pod", pod.name)))
            addresses: list[Address] = []
            try:
                for version in sorted({p.cidr.version for p in objects.pools}):
                    ipam, address = ipam.assign(node, owner, version)
                    addresses.append(address)
            except NoAddress as e:
                raise CniError(Code.NO_ADDRESS, f"{e.message}", e.hint or "") from e
            store.write(ipam)
        pod = replace(pod, addresses=tuple(addresses))
        mtu = call.config.number("mtu", high=65535) or nodes.pod_mtu(objects, 1500)
        host = nodes.workload_state(pod, mtu)
        try:
            machine.share(call.network, call.plugin, _forwarding(call, addresses))
            machine.apply(call.owner, {HOST: host, call.netns: nodes.pod_state(pod, HOST, mtu=mtu)})
        except NetlabError:
            self._free(store, handle)
            raise
        interfaces = (
            Interface(name=pod.device, mac=nodes.MAC),
            Interface(name=call.ifname, mac=pod.mac or "", sandbox=call.netns, mtu=mtu),
        )
        ips = tuple(Ip(address=ip_interface(address), interface=1) for address in addresses)
        return Result(interfaces=interfaces, ips=ips)

    def delete(self, call: Call, machine: Machine) -> None:
        machine.release(call.owner)
        store = _store(call, machine)
        if store.directory.is_dir():
            self._free(store, _handle(call))

    def check(self, call: Call, machine: Machine) -> None:
        with _store(call, machine).held() as objects:
            used = Ipam.of(objects).used()
        if not any(owner.handle == _handle(call) for owner in used.values()):
            raise CniError(Code.CHECK, f"{call.container_id} has no address")
        super().check(call, machine)

    def status(self, call: Call, machine: Machine) -> None:
        try:
            with _store(call, machine).held() as objects:
                _node(call, objects)
        except CniError as e:
            raise CniError(Code.NOT_AVAILABLE, e.message, e.details) from e

    def gc(self, call: Call, machine: Machine) -> None:
        super().gc(call, machine)
        store = _store(call, machine)
        mine, keep = f"{call.network}.", {f"{call.network}.{container}" for container, _ in call.valid()}
        with store.held() as objects:
            node, ipam = _node(call, objects), Ipam.of(objects)
            handles = {o.handle for o in ipam.used().values() if o.node == node.name and o.handle.startswith(mine)}
            for handle in sorted(handles - keep):
                ipam = ipam.release_handle(handle)
            if handles - keep:
                store.write(ipam)

    def _free(self, store: Store, handle: str) -> None:
        with store.held() as objects:
            before = Ipam.of(objects)
            after = before.release_handle(handle)
            if after != before:
                store.write(after)


def _store(call: Call, machine: Machine) -> Store:
    kind, ipam = call.config.text("datastore_type", "file"), call.config.inner("ipam").text("type", "calico-ipam")
    if kind != "file":
        call.refuse("datastore_type")
    if ipam != "calico-ipam":
        raise CniError(Code.UNSUPPORTED_FIELD, f"ipam.type {ipam!r} is not supported", "expected calico-ipam")
    given = call.config.text("datastore")
    return Store(Path(given) if given else machine.root / DIRECTORY)


def _node(call: Call, objects: Objects) -> Node:
    name = call.config.text("nodename")
    if not name:
        raise call.config.wrong("nodename", "the name of this node's Node object")
    found = next((node for node in objects.nodes if node.name == name), None)
    if found is None:
        raise CniError(Code.CONFIG, f"the datastore has no Node {name}", "its objects are manifests there")
    return found


def _handle(call: Call) -> str:
    return f"{call.network}.{call.container_id}"


def _workload(call: Call) -> nodes.Workload:
    """The pod that the runtime speaks of; a container that is in no cluster goes by its id."""
    return nodes.Workload(
        name=call.args.get("K8S_POD_NAME") or call.container_id,
        namespace=call.args.get("K8S_POD_NAMESPACE") or "default",
        addresses=(), netns=call.netns, interface=call.ifname, why=call.why,
        mac=derived_mac("cni", call.network, call.container_id, call.ifname),
    )  # fmt: skip


def _forwarding(call: Call, addresses: list[Address]) -> HostState:
    why = f"network {call.network}: the node is its pods' router"
    names = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
    return HostState.of(Sysctl(name=names[v], value="1", why=why) for v in sorted({a.version for a in addresses}))


PLUGIN = Calico()
