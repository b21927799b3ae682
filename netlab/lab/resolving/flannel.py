"""A lab's flannel network: the daemons, the files that they find, and etcd if it is to keep the leases."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Network, ip_interface

from netlab.base.addresses import Network
from netlab.base.errors import InputError, Problem
from netlab.base.yamlfile import Location
from netlab.compile.topology import File, Process
from netlab.lab import schema
from netlab.lab.resolving.desk import Desk, Draft
from netlab.lab.schema_file import LabFile
from netlab.overlay.backends import backend_of
from netlab.overlay.config import NetworkConfig, Range
from netlab.overlay.lease import Subnet
from netlab.overlay.subnetenv import SubnetEnv

#: the node that `--store etcd` adds, and its port
ETCD, ETCD_PORT = "etcd", 2379
#: in the lab's directory
FOLDER = "flannel"
_PREFIX = "/coreos.com/network"


def with_etcd(desk: Desk) -> LabFile:
    """The lab with one more node, on which etcd runs. The desk goes on with it."""
    lab = desk.lab
    path: Location = ("flannel", "etcd")
    if lab.flannel is None or lab.flannel.etcd is None:
        where: Location = ("flannel",) if lab.flannel else ("name",)
        desk.problem(where, "this lab cannot keep leases in etcd", "it has no flannel.etcd section")
        return lab
    if ETCD in desk.drafts:
        desk.problem(path, f"--store etcd adds a node {ETCD!r}, and the lab has one already", "rename it")
        return lab
    etcd = lab.flannel.etcd
    if etcd.network not in lab.networks:
        desk.unknown((*path, "network"), "network", etcd.network, lab.networks)
        return lab
    interface = {"network": etcd.network, "addresses": [str(address) for address in etcd.addresses]}
    node = schema.Node.model_validate({"interfaces": {"eth0": interface}})
    desk.drafts[ETCD] = Draft("node", desk.why(*path))
    desk.lab = lab.model_copy(update={"nodes": {**lab.nodes, ETCD: node}})
    return desk.lab


def flannel(desk: Desk, spec: schema.Flannel, *, store: str | None) -> None:
    """flanneld on each node, and the configuration where each will find it."""
    path: Location = ("flannel",)
    text = json.dumps(spec.config, indent=2) + "\n"
    config = _config(desk, text, path)
    if config is None:
        return
    desk.files.append(File(path=f"{FOLDER}/config", content=text, why=desk.why(*path, "config")))
    for name, node in spec.nodes.items():
        _node(desk, spec, name, node or schema.FlannelNode.model_validate({}), config, store=store)
    if store == "etcd" and spec.etcd and ETCD in desk.drafts:
        _etcd(desk, spec.etcd)


def _config(desk: Desk, text: str, path: Location) -> NetworkConfig | None:
    place = desk.document.place((*path, "config"))
    try:
        config = NetworkConfig.parse(text, place=place)
        backend_of(config, place=place)
    except InputError as e:
        desk.problems += [Problem(place, f"flannel.config: {p.message}", p.hint) for p in e.problems]
        return None
    return config


def _node(
    desk: Desk, spec: schema.Flannel, name: str, node: schema.FlannelNode, config: NetworkConfig, *, store: str | None
) -> None:
    path: Location = ("flannel", "nodes", name)
    draft = desk.drafts.get(name)
    if draft is None or draft.role != "node":
        desk.unknown(path, "node", name, desk.lab.nodes)
        return
    if node.iface not in draft.devices:
        desk.unknown((*path, "iface"), f"device of {name}", node.iface, draft.devices)
    own = f"{FOLDER}/{name}"
    subnet = _subnet(desk, node, config, path)
    if subnet is not None:
        # as from a flanneld that ran before: the subnet that a node had is the one that it asks for first
        env = SubnetEnv.of(config, subnet, mtu=1500, masq=spec.ip_masq)
        desk.files.append(File(path=f"{own}/subnet.env", content=env.render(), why=desk.why(*path, "subnets")))
    if store == "etcd" and spec.etcd:
        hosts = [f"[{i.ip}]" if i.version == 6 else str(i.ip) for i in spec.etcd.addresses]
        urls = ",".join(f"http://{host}:{ETCD_PORT}" for host in hosts)
        where = ["--etcd-endpoints", urls, "--etcd-prefix", _PREFIX, "--etcd-api", str(spec.etcd.api)]
    else:
        where = ["--subnet-dir", f"{{run}}/{FOLDER}"]
    subnet_file = f"{own}/subnet.env"
    argv = [
        "netlab", "flanneld", "--iface", node.iface, *where, "--subnet-file", f"{{run}}/{subnet_file}",
        *(["--ip-masq"] if spec.ip_masq else []), *node.options,
    ]  # fmt: skip
    draft.add("processes", Process(
        name="flanneld", argv=tuple(argv), notify=True, claims=f"{subnet_file}.claims", why=desk.why(*path),
    ))  # fmt: skip


def _subnet(desk: Desk, node: schema.FlannelNode, config: NetworkConfig, path: Location) -> Subnet | None:
    """What the node had before, if the file says so."""
    chosen: dict[int, Network] = {}
    ranges: dict[int, Range] = {r.network.version: r for r in (config.ipv4, config.ipv6) if r}
    for i, subnet in enumerate(node.subnets):
        within = ranges.get(subnet.version)
        where: Location = (*path, "subnets", i)
        if within is None:
            desk.problem(where, f"{subnet}: the network has no IPv{subnet.version}")
        elif subnet not in within:
            bounds = f"{within.first} to {within.last}"
            text = f"{subnet} is no subnet of {within.network} with {within.length} bits, {bounds}"
            desk.problem(where, text, f"such as {within.nth(0)}")
        elif subnet.version in chosen:
            desk.problem(where, f"a second IPv{subnet.version} subnet", "a node has one of each family")
        else:
            chosen[subnet.version] = subnet
    if not chosen or chosen.keys() != ranges.keys():
        if chosen:
            desk.problem((*path, "subnets"), "a subnet for each family of the network, or none")
        return None
    ipv4, ipv6 = chosen.get(4), chosen.get(6)
    assert ipv4 is None or isinstance(ipv4, IPv4Network)
    assert ipv6 is None or isinstance(ipv6, IPv6Network)
    return Subnet(ipv4, ipv6)


def _etcd(desk: Desk, spec: schema.FlannelEtcd) -> None:
    why = desk.why("flannel", "etcd")
    hosts = [ip_interface(a) for a in spec.addresses]
    urls = [f"http://[{i.ip}]:{ETCD_PORT}" if i.version == 6 else f"http://{i.ip}:{ETCD_PORT}" for i in hosts]
    local = f"http://127.0.0.1:{ETCD_PORT}"
    etcd = (
        "etcd", "--name", "lab", "--data-dir", "{run}/etcd", "--enable-v2",
        "--listen-client-urls", ",".join([*urls, local]), "--advertise-client-urls", ",".join(urls),
        "--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
        "--initial-cluster", "lab=http://127.0.0.1:2380", "--log-level", "warn",
    )  # fmt: skip
    key = f"{_PREFIX}/config"
    put = f'etcdctl --endpoints {local} {"set" if spec.api == 2 else "put"} {key} "$(cat {{run}}/{FOLDER}/config)"'
    draft = desk.drafts[ETCD]
    # etcd itself knows sd_notify(3)
    draft.add("processes", Process(name="etcd", argv=etcd, notify=True, package="etcd-server", why=why))
    draft.add("processes", Process(
        name="config", argv=("sh", "-c", put), env=(("ETCDCTL_API", str(spec.api)),), restart="on-failure",
        package="etcd-client", program="etcdctl", why=f"{why}: the network's configuration, put into etcd",
    ))  # fmt: skip
