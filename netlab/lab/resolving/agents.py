"""A lab's agents: daemons on its nodes that follow the Kubernetes objects in the lab's manifests.

The manifests are copied to the lab's directory of /run/netlab, where all of them watch: what a person changes there is
what `kubectl apply` would be in a cluster.
"""

from __future__ import annotations

from pathlib import Path

from netlab.base import manifests
from netlab.base.errors import InputError
from netlab.base.files import shown
from netlab.base.manifests import Manifest
from netlab.base.yamlfile import Location
from netlab.compile.objects import Objects
from netlab.compile.parse import objects
from netlab.compile.topology import File, Process, Topology
from netlab.lab import schema
from netlab.lab.resolving.desk import Desk

#: in the lab's folder, and in its directory of /run/netlab
FOLDER = "manifests"
PROXY, POLICYD = "proxy", "policyd"


def agents(desk: Desk, spec: schema.Agents, folder: Path) -> None:
    """Every agent on each of its nodes, and the manifests where they will find them."""
    _manifests(desk, folder)
    if spec.proxy:
        feature = "ipvs" if spec.proxy.mode == "ipvs" else None
        _agent(desk, PROXY, spec.proxy, _proxy_options(spec.proxy), feature=feature)
    if spec.policyd:
        _agent(desk, POLICYD, spec.policyd, ["--bridged"] if spec.policyd.bridged else [])


def _manifests(desk: Desk, folder: Path) -> None:
    read: list[Manifest] = []
    for file in sorted((folder / FOLDER).glob("*.y*ml")):
        try:
            text = file.read_text(encoding="utf-8")
            read += manifests.parse(text, shown(file))
        except InputError as e:
            desk.problems += e.problems
            continue
        desk.files.append(File(path=f"{FOLDER}/{file.name}", content=text, why=desk.why("agents")))
    try:
        objects(read)
    except InputError as e:
        desk.problems += e.problems


def _agent(desk: Desk, name: str, spec: schema.Agent, options: list[str], *, feature: str | None = None) -> None:
    for i, node in enumerate(spec.nodes):
        path: Location = ("agents", name, "nodes", i)
        draft = desk.drafts.get(node)
        if draft is None or draft.role != "node":
            desk.unknown(path, "node", node, desk.lab.nodes)
            continue
        claims = f"{name}/{node}.claims"
        argv = (
            "netlab", name, "--manifests", f"{{run}}/{FOLDER}", "--node-name", node, "--claims", f"{{run}}/{claims}",
            *options, *spec.options,
        )  # fmt: skip
        draft.add("processes", Process(
            name=name, argv=argv, notify=True, claims=claims, feature=feature, why=desk.why(*path),
        ))  # fmt: skip


def _proxy_options(spec: schema.Proxy) -> list[str]:
    listed = [("--cluster-cidr", spec.cluster_cidrs), ("--node-port-addresses", spec.node_port_addresses)]
    return ["--mode", spec.mode, *(word for option, cidrs in listed for cidr in cidrs for word in (option, str(cidr)))]


def lab_objects(topology: Topology) -> Objects:
    """The objects of a resolved lab."""
    files = [file for file in topology.files if file.path.startswith(f"{FOLDER}/")]
    return objects(manifest for file in files for manifest in manifests.parse(file.content, file.path))
