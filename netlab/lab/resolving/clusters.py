"""A lab on a cluster: the names of its nodes and its manifests. What nodes are made of is the cluster's to say, what
objects mean the API's."""

from __future__ import annotations

from pathlib import Path

from netlab.base import clusters, manifests
from netlab.base.errors import InputError, Problem
from netlab.base.files import shown
from netlab.base.manifests import Manifest
from netlab.base.names import label_problem
from netlab.compile.topology import File, Place, Topology
from netlab.lab import schema
from netlab.lab.checkspec import OF_CLUSTERS
from netlab.lab.resolving.agents import FOLDER
from netlab.lab.resolving.desk import Desk, by_line

#: what a lab on a cluster cannot have: the cluster brings it
_OTHERS = ("networks", "nodes", "containers", "flannel", "bgp", "calico", "agents")


def cluster(desk: Desk, spec: schema.Cluster, folder: Path) -> Topology:
    """Its nodes as places that the lab does not make. InputError lists every problem with its line."""
    lab = desk.lab
    wrong = label_problem(lab.name, what="name of a lab on a cluster", limit=clusters.NAME_MAX)
    if wrong:
        desk.problem(("name",), wrong)
    for section in _OTHERS:
        if getattr(lab, section):
            desk.problem((section,), f"a lab on a cluster has no {section}", f"take out cluster, or {section}")
    if spec.ipv6 and spec.network == "flannel-udp":
        hint = "flannel-vxlan, flannel-host-gw and calico carry both families"
        desk.problem(("cluster", "ipv6"), "flannel-udp carries IPv4 only", hint)
    _outside(desk, spec)
    read(desk, folder)
    if desk.problems:
        raise InputError(sorted(set(desk.problems), key=by_line))
    why = desk.why("cluster")
    outside = (Place(name=name, role="node", why=desk.why("cluster", "outside", name)) for name in spec.outside)
    switch = Place(name=clusters.SWITCH, role="network", why=why)
    nodes = (Place(name=clusters.node_name(number), role="node", why=why) for number in range(spec.nodes))
    return Topology(
        name=lab.name,
        title=lab.title,
        places=(switch, *nodes, *outside),
        files=tuple(desk.files),
        source=desk.document.name,
    )


def _outside(desk: Desk, spec: schema.Cluster) -> None:
    for name, machine in spec.outside.items():
        wrong = clusters.outside_problem(name)
        if wrong:
            desk.problem(("cluster", "outside", name), wrong, "choose another name")
        for i, text in enumerate(machine.serve):
            if schema.ports(text)[2] == "sctp":
                path = ("cluster", "outside", name, "serve", i)
                desk.problem(path, "the built-in server speaks tcp and udp", "80, or 53/udp")


def read(desk: Desk, folder: Path) -> list[Manifest]:
    """The lab's manifests, in the order of their names. Each object says what it is; the rest is the API's to judge."""
    found: list[Manifest] = []
    for file in sorted((folder / FOLDER).glob("*.y*ml")):
        try:
            text = file.read_text(encoding="utf-8")
            listed = manifests.parse(text, shown(file))
        except InputError as e:
            desk.problems += e.problems
            continue
        desk.files.append(File(path=f"{FOLDER}/{file.name}", content=text, why=desk.why("cluster")))
        desk.problems += [problem for manifest in listed if (problem := _nameless(manifest))]
        found += listed
    return found


def _nameless(manifest: Manifest) -> Problem | None:
    data = manifest.data
    metadata = data.get("metadata") if isinstance(data, dict) else None
    said = isinstance(metadata, dict) and metadata.get("name") and data.get("kind") and data.get("apiVersion")
    if said:
        return None
    return Problem(manifest.place(), "this is no API object: expected apiVersion, kind and metadata with a name")


def without(desk: Desk) -> None:
    """Checks that ask a cluster, in a lab that has none."""
    for i, check in enumerate(desk.lab.checks):
        for kind in check.kinds:
            if kind in OF_CLUSTERS:
                text = f"{kind} asks a cluster, and this lab has none"
                desk.problem(("checks", i, kind), text, "cluster: {nodes: 3} makes it a lab on a cluster")
