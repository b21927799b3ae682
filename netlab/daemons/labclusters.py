"""Labs on clusters, where `lab` and `cluster` meet: a lab's definition, a cluster of its name, manifests in its API.

/run/netlab/NAME is the cluster's; the file LAB beside its journal says which lab it is of, and what exercise runs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_interface
from pathlib import Path
from typing import Any, NoReturn

import orjson

from netlab.base import manifests
from netlab.base.clusters import SWITCH
from netlab.base.errors import ConflictError, InputError, NetlabError, Problem
from netlab.base.manifests import Manifest
from netlab.cluster.engine import DISKS, IMAGES, Engine, NodeStatus
from netlab.cluster.machine import Machine, Progress
from netlab.cluster.options import Options, Outside, check_node, options
from netlab.cluster.plan import Places, plan
from netlab.compile.topology import Device, Place, Topology
from netlab.daemons import labobjects
from netlab.daemons.labcluster import LabCluster
from netlab.lab.checks.clusters import ClusterContext, Name
from netlab.lab.journal import LAB, RUN_DIR, Record, on_cluster
from netlab.lab.labfile import Lab, followed
from netlab.lab.machine import Spot
from netlab.lab.schema import ports


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is remembered of a lab that is up. source: its lab.yaml; digest: of its definition; exercise: what runs, as
    `lab.exercises.runner.Running` has it."""

    source: str
    digest: str
    exercise: dict[str, Any] | None = None

    def as_json(self) -> bytes:
        """For the file LAB."""
        return orjson.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `up` did. removed: what nobody had asked for, in words; seconds: of each step."""

    name: str
    fresh: bool
    nodes: tuple[str, ...]
    objects: int
    kubeconfig: Path
    removed: tuple[str, ...]
    seconds: dict[str, float]


def asked_for(lab: Lab) -> Options:
    """The cluster that a lab asks for. InputError."""
    spec = lab.file.cluster
    assert spec is not None, "somebody looked at the file"
    outside = {
        name: Outside(address=str(m.address), serve=tuple((port, what) for _, port, what in map(ports, m.serve)))
        for name, m in spec.outside.items()
    }
    return options(lab.name, count=spec.nodes, outside=outside, **spec.model_dump(exclude={"nodes", "outside"}))


def objects_of(lab: Lab) -> list[Manifest]:
    """The objects of its manifests, in the order of the files' names."""
    files = [file for file in lab.topology.files if followed(file.path)]
    return [one for file in files for one in manifests.parse(file.content, file.path)]


class ClusterLabs:
    """Verbs on the labs of one machine that run on clusters.

    disks, images: see `cluster.engine.Engine.up`; say: how to tell the user something by the way.
    """

    def __init__(
        self, machine: Machine, *, run_dir: Path = RUN_DIR, disks: Path = DISKS, images: Path = IMAGES,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:  # fmt: skip
        self.machine, self.say = machine, say
        self.engine = Engine(machine, run_dir=run_dir, say=say)
        self._disks, self._images = disks, images

    # -- up and down

    def up(self, lab: Lab, *, progress: Progress = lambda _what, _count: None) -> Outcome:
        """Bring a lab up, or back to what its files say. ConflictError if it is up under another definition."""
        self.machine.require_root()
        wanted, asked = objects_of(lab), asked_for(lab)
        if on_cluster(lab.name, self.engine.run_dir):
            self._same(lab)
        remembered = Remembered(str(lab.path), lab.digest)
        done = self.engine.up(
            asked, disks=self._disks, images=self._images, of_lab=remembered.as_json(), progress=progress
        )
        began = time.monotonic()
        progress("objects", len(wanted))
        try:
            removed = self._lay(lab.name, wanted, fresh=done.fresh)
        except (NetlabError, KeyboardInterrupt):
            if done.fresh:
                self.say(f"taking lab {lab.name!r} down again, as it could not be brought up whole")
                self.engine.down(lab.name)
            raise
        seconds = {**done.seconds, "objects": round(time.monotonic() - began, 3)}
        return Outcome(lab.name, done.fresh, done.nodes, len(wanted), done.kubeconfig, tuple(removed), seconds)

    def _same(self, lab: Lab) -> None:
        """ConflictError unless it is up under this definition."""
        there = self.remembered(lab.name)
        if there.digest != lab.digest:
            raise ConflictError(
                f"lab {lab.name!r} is up under another definition (from {there.source})",
                hint=f"netlab lab restart {lab.path} takes it down and up; netlab lab down {lab.name} removes it",
            )

    def back(self, lab: Lab) -> tuple[str, ...]:
        """A lab as its files say, whatever was done to it: as `up`, and quicker where all nodes are on. What was
        removed, in words."""
        if not on_cluster(lab.name, self.engine.run_dir) or not all(node.on for node in self.engine.status(lab.name)):
            return self.up(lab).removed
        self._same(lab)
        removed = self._lay(lab.name, objects_of(lab), fresh=False)
        self.remember(lab.name, None)
        return tuple(removed)

    def _lay(self, name: str, wanted: list[Manifest], *, fresh: bool) -> list[str]:
        cluster = self.cluster(name)

        async def work() -> list[str]:
            async with cluster.opened():
                if not fresh:
                    return await labobjects.restore(cluster, wanted)
                await labobjects.apply(cluster, wanted)
                return []

        return asyncio.run(work())

    def down(self, name: str) -> int | None:
        """Remove a lab, its cluster and all that runs there; how many nodes were on, None if it was not up."""
        return self.engine.down(name)

    def restart(self, lab: Lab, *, progress: Progress = lambda _what, _count: None) -> Outcome:
        """Down and up again, whatever definition it was up under. The new files are checked before the old lab goes."""
        objects_of(lab), asked_for(lab)
        self.down(lab.name)
        return self.up(lab, progress=progress)

    # -- what is known of one

    def remembered(self, name: str) -> Remembered:
        """What is remembered of a lab that is up. InputError if it is not."""
        if not on_cluster(name, self.engine.run_dir):
            raise InputError(f"lab {name!r} is not up", hint=f"netlab lab up {name}")
        return Remembered(**orjson.loads((self.engine.journal(name).dir / LAB).read_bytes()))

    def remember(self, name: str, exercise: dict[str, Any] | None) -> None:
        """Have it remembered what exercise runs."""
        journal = self.engine.journal(name)
        with journal.locked(waiting=self.say):
            journal.store(LAB, replace(self.remembered(name), exercise=exercise).as_json())

    def cluster(self, name: str, *, agent: str = labobjects.LAB) -> LabCluster:
        """The cluster of a lab that is up. InputError if it is not."""
        return LabCluster(self.engine.cluster(name), self.machine, agent=agent)

    def context(self, lab: Lab) -> ClusterContext:
        """For the checks of a lab that is up. InputError if it is not."""
        self.remembered(lab.name)
        record = self.engine.journal(lab.name).read(names_only=True)
        assert record is not None, "it is remembered"
        return ClusterContext(self.machine, record, lab.topology, self.cluster(lab.name))

    def status(self, name: str) -> list[NodeStatus]:
        """Every node, as it is now."""
        self.remembered(name)
        return self.engine.status(name)

    def enter(self, name: str, place: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
        """Become a command in a node, or in the network of a pod. InputError if there is neither."""
        said = {**env, "NETLAB_LAB": name, "NETLAB_NODE": place}
        if Name.parse(place) is None:
            cluster = self.engine.cluster(name)
            if place in (SWITCH, *cluster.options.outside):
                self.machine.become(cluster.topology.netns(place), argv, said)
            check_node(cluster.options, place)
            os.environ.update(said)
            self.engine.enter(name, place, list(argv))
        spot = self._spot(name, place)
        files = {f"/etc/{file}": str(path) for file, path in spot.files.items()}
        self.machine.become(spot.netns, argv, said, files)

    def _spot(self, name: str, place: str) -> Spot:
        cluster, wanted = self.cluster(name), Name.parse(place)
        pods = [pod for pod in self.pods(name) if wanted is not None and wanted.sort == "pod" and wanted.fits(pod)]
        spots = [spot for pod in pods if (spot := cluster.spot(pod)) is not None]
        if not spots:
            known = ", ".join(_place(pod) for pod in self.pods(name)) or "none"
            raise InputError([Problem(place, f"lab {name!r} has no such pod with a network", f"there are: {known}")])
        return spots[0]

    def with_pods(self, name: str) -> Record:
        """The record of a cluster, with its pods and what is outside among the places. Needed to listen there."""
        record = self.engine.journal(name).read(names_only=True)
        assert record is not None, "it is remembered"
        cluster = self.cluster(name)
        others = (SWITCH, *cluster.cluster.options.outside)
        places = {**{place: cluster.netns(place) for place in others}, **record.places}
        there = self.machine.namespaces()
        places = {place: netns for place, netns in places.items() if netns in there}
        for pod in self.pods(name):
            spot = cluster.spot(pod)
            if spot is not None and spot.veth:
                places[_place(pod)] = spot.netns
        return replace(record, places=places)

    def topology(self, lab: Lab) -> Topology:
        """A lab as a picture shows it: its nodes, and if it is up, the pods on them."""
        if not on_cluster(lab.name, self.engine.run_dir):
            lab.topology  # noqa: B018 - it says what is wrong with the file
            places = Places(self.engine.run_dir / lab.name, self._disks / lab.name, self._images)
            return plan(asked_for(lab), places, port=0).topology
        topology, cluster = self.engine.cluster(lab.name).topology, self.cluster(lab.name)
        found = list(topology.places)
        for pod in self.pods(lab.name):
            spot = cluster.spot(pod)
            if spot is None or not spot.veth:
                continue
            addresses = tuple(ip_interface(ip["ip"]) for ip in pod["status"].get("podIPs") or ())
            at = next(i for i, place in enumerate(found) if place.name == spot.node)
            node, name = found[at], _place(pod)
            end = Device(name=spot.veth, kind=None, peer=(name, "eth0"), why=name)
            found[at] = replace(node, devices=(*node.devices, end))
            eth0 = Device(name="eth0", kind=None, peer=(spot.node, spot.veth), addresses=addresses, why=name)
            found.append(Place(name=name, role="container", on=spot.node, devices=(eth0,), why=name))
        return Topology(name=topology.name, title=lab.file.title, places=tuple(found), source=topology.source)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """The pods of all namespaces. CannotProbe if the API does not answer."""
        cluster = self.cluster(name)

        async def work() -> list[dict[str, Any]]:
            async with cluster.opened():
                return await cluster.all("pods")

        return asyncio.run(work())


def _place(pod: Mapping[str, Any]) -> str:
    return f"pod/{pod['metadata']['namespace']}/{pod['metadata']['name']}"
