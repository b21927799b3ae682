"""From a lab file to a `Topology`: every name checked, every address given or allotted, every problem reported at once.

Order decides everything that the file leaves open, so the same file always gives the same lab. The parts of a file
are worked through one after another on one `Desk`: names, wires, guests, what machines have in common, and at last what
only the whole shows.
"""

from __future__ import annotations

from pathlib import Path

from netlab.base.errors import InputError
from netlab.base.yamlfile import Document
from netlab.compile.topology import Topology
from netlab.lab.resolving import agents, bgp, calico, clusters, flannel, guests, machines, whole, wires
from netlab.lab.resolving.desk import Desk, by_line
from netlab.lab.schema_file import LabFile


def resolve(lab: LabFile, document: Document, *, store: str | None = None, folder: Path = Path()) -> Topology:
    """The lab with nothing left open. InputError lists every problem with its line.

    store: see `labfile.Lab`; folder: where the lab's manifests lie.
    """
    desk = Desk(lab, document)
    if lab.cluster:
        return clusters.cluster(desk, lab.cluster, folder)
    desk.names()
    clusters.without(desk)
    if store == "etcd":
        lab = flannel.with_etcd(desk)
    wires.networks(desk)
    # node after node, but each step for all of them: what is given is known before anything is allotted
    for step in (wires.node_bridges, wires.given_addresses, wires.interfaces, wires.parents):
        for name, node in lab.nodes.items():
            step(desk, name, node)
    for part in (guests.given_addresses, guests.container):
        for name, container in lab.containers.items():
            part(desk, name, container)
    if lab.calico:
        calico.calico(desk, lab.calico, folder)
    for name, node in lab.nodes.items():
        machines.machine(desk, ("nodes", name), name, node)
    for name, container in lab.containers.items():
        machines.machine(desk, ("containers", name), name, container)
    if lab.flannel:
        flannel.flannel(desk, lab.flannel, store=store)
    if lab.bgp:
        bgp.bgp(desk, lab.bgp)
    if lab.agents:
        agents.agents(desk, lab.agents, folder)
    whole.overlaps(desk)
    whole.gateways(desk)
    if desk.problems:
        raise InputError(sorted(set(desk.problems), key=by_line))
    return Topology(name=lab.name, title=lab.title, places=desk.places(), files=tuple(desk.files), source=document.name)
