"""Exercises on a lab that runs on a cluster: what is broken are objects, nodes, and now and then a network.

The way back is the lab's own files laid again (`labobjects.restore`), whatever a learner has done meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from netlab.base import manifests
from netlab.base.errors import ConflictError, NetlabError
from netlab.base.manifests import Manifest
from netlab.daemons import labobjects
from netlab.daemons.labcluster import LabCluster
from netlab.daemons.labclusters import ClusterLabs, objects_of
from netlab.kernel import commands
from netlab.lab.capture.packet import Packet, Place
from netlab.lab.checks.clusters import ClusterContext, Name
from netlab.lab.engine import Engine
from netlab.lab.exercises import questions
from netlab.lab.exercises.book import Book
from netlab.lab.exercises.runner import Exercises, Running, Solution, Started
from netlab.lab.exercises.spec import (
    AnyEdit,
    ApplyObjects,
    DeleteObject,
    Exercise,
    ManifestEdit,
    PatchObject,
    Pcap,
    Power,
    Question,
    RunCommand,
)
from netlab.lab.journal import on_cluster
from netlab.lab.labfile import MANIFESTS, followed


class ClusterExercises(Exercises):
    """The exercises of one lab on a cluster."""

    def __init__(
        self, engine: Engine, book: Book, labs: ClusterLabs, *, now: Callable[[], float] = time.time
    ) -> None:  # fmt: skip
        super().__init__(engine, book, now=now)
        self.labs = labs

    def running(self) -> Running | None:
        if not on_cluster(self.name, self.labs.engine.run_dir):
            return None
        found = self.labs.remembered(self.name).exercise
        return Running.from_json(found) if found else None

    def _remember(self, running: Running) -> None:
        self.labs.remember(self.name, running.as_json())

    def _context(self) -> ClusterContext:
        return self.labs.context(self.lab)

    def _truth(self, question: Question) -> str:
        return questions.answer(question, self._context())

    # -- start, reset, solve

    def start(self, ident: str, *, force: bool = False) -> Started:
        """See Exercises."""
        exercise = self.book.get(ident)
        running = self.running()
        if running and not running.solved and not force:
            raise ConflictError(
                f"exercise {running.id} is running on lab {self.name!r}",
                hint=f"go on with it (netlab exercise check {self.name}), end it (netlab exercise stop {self.name}), "
                "or start with --force",
            )
        brought_up = not on_cluster(self.name, self.labs.engine.run_dir)
        if brought_up:
            self.labs.say(f"lab {self.name} is not up: bringing it up")
        removed = self._back(running)
        self._break(exercise)
        self._remember(Running(exercise.id, self.now()))
        return Started(exercise, brought_up, removed)

    def reset(self) -> Started:
        """See Exercises."""
        running, exercise = self.current()
        removed = self._back(running)
        self._break(exercise)
        self._remember(Running(running.id, running.started, hints=running.hints))
        return Started(exercise, False, removed)

    def solve(self, *, dry_run: bool = False) -> Solution:
        """See Exercises."""
        running = self.running()
        if running is None:
            self.current()
        found = next((e for e in self.book.exercises if running and e.id == running.id), None)
        lines = tuple(line for what in (self.book.edits(found) if found else ()) for line in self._cure(what))
        removed = () if dry_run else self._back(running)
        return Solution(found, (), removed, commands=tuple(dict.fromkeys(lines)))

    def _back(self, running: Running | None) -> tuple[str, ...]:
        """The lab as its files say, and no exercise running."""
        found = next((e for e in self.book.exercises if running and e.id == running.id), None)
        for what in self.book.edits(found) if found else ():
            if isinstance(what, RunCommand):
                # it may be undone already, or its place be gone
                with contextlib.suppress(NetlabError):
                    self._do(what.on, what.undo)
        return self.labs.back(self.lab)

    def _break(self, exercise: Exercise) -> None:
        for what in self.book.edits(exercise):
            match what:
                case Power():
                    change = self.labs.engine.stop if what.how == "stop" else self.labs.engine.crash
                    change(self.name, what.node)
                case RunCommand():
                    self._do(what.on, what.command, check=True)
                case _:
                    self._ask(partial(self._change, what=what))

    async def _change(self, cluster: LabCluster, what: AnyEdit) -> None:
        match what:
            case ManifestEdit():
                await labobjects.change(cluster, self._edited(what))
            case ApplyObjects():
                await labobjects.change(cluster, [Manifest(obj, "exercise.yaml") for obj in what.objects])
            case PatchObject():
                await labobjects.patch(cluster, what.kind, what.name, what.namespace, what.patch)
            case DeleteObject():
                await labobjects.delete(cluster, what.kind, what.name, what.namespace)
            case _:
                raise AssertionError(f"{type(what).__name__} is not done to a cluster")

    def _edited(self, what: ManifestEdit) -> list[Manifest]:
        """The objects of a manifest that are others by an edit."""
        path = f"{MANIFESTS}/{what.file}"
        text = next(file.content for file in self.lab.topology.files if followed(file.path) and file.path == path)
        new = text.replace(what.replace, what.by, 1) if what.replace else what.content or ""
        known = [one.data for one in manifests.parse(text, path)]
        return [one for one in manifests.parse(new, path) if one.data not in known]

    def _ask(self, work: Callable[[LabCluster], Awaitable[None]]) -> None:
        cluster = self.labs.cluster(self.name, agent=labobjects.EXERCISE)

        async def within() -> None:
            async with cluster.opened():
                await work(cluster)

        asyncio.run(within())

    def _do(self, place: str, argv: list[str], *, check: bool = False) -> None:
        """A command as typed on a node, which has files of its own; elsewhere, in the network of the place."""
        context, words = self._typed(place, argv)
        netns = context.netns(place)
        if place in self.labs.engine.cluster(self.name).options.nodes:
            netlab = self.labs.machine.netlab()
            commands.run_in(
                None, [*netlab, "cluster", "exec", "--cluster", self.name, place, "--", *words], check=check
            )
        else:
            commands.run_in(netns, words, check=check)

    def _typed(self, place: str, argv: list[str]) -> tuple[ClusterContext, list[str]]:
        """A command with the addresses of pods where it names them."""
        context = self._looked(orjson.dumps([place, *argv]).decode())
        return context, [context.text(word) for word in argv]

    def _looked(self, words: str) -> ClusterContext:
        """The context, having seen what the names in it stand for."""
        context = self._context()

        async def look() -> None:
            async with context.opened():
                await context.look(words)

        asyncio.run(look())
        return context

    # -- what a person would type

    def _cure(self, what: AnyEdit) -> list[str]:
        match what:
            case Power():
                return [f"netlab cluster node start {what.node} --cluster {self.name}"]
            case RunCommand():
                return [f"netlab lab exec {self.name} {what.on} {shlex.join(self._typed(what.on, what.undo)[1])}"]
            case ManifestEdit():
                pods = any(one.data["kind"] == "Pod" for one in self._edited(what))
                return self._again(f"{MANIFESTS}/{what.file}", whole=pods)
            case ApplyObjects():
                return [line for obj in what.objects for line in self._cure_object(obj)]
            case DeleteObject():
                file = self._file_of(what.kind, what.namespace, what.name)
                return self._again(file) if file else []
            case _:
                return []

    def _cure_object(self, obj: Mapping[str, Any]) -> list[str]:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default")
        file = self._file_of(obj["kind"], namespace, metadata["name"])
        if file:
            return self._again(file, whole=obj["kind"] == "Pod")
        return [f"kubectl delete -n {namespace} {obj['kind'].lower()} {metadata['name']}"]

    def _again(self, file: str, *, whole: bool = False) -> list[str]:
        """whole: the API does not let what is in it be changed."""
        verb = "replace --force --grace-period=1" if whole else "apply --server-side --force-conflicts"
        return [f"kubectl {verb} -f {self.lab.folder / file}"]

    def _file_of(self, kind: str, namespace: str, name: str) -> str | None:
        """The manifest that has an object, by its path in the lab's folder."""
        for one in objects_of(self.lab):
            metadata = one.data["metadata"]
            named = (metadata.get("namespace") or "default", metadata["name"]) == (namespace, name)
            if named and one.data["kind"].lower() in (kind.lower(), kind.lower().removesuffix("s")):
                return one.file
        return None

    # -- captures

    def _named(self, pcap: Pcap, captured: list[Packet]) -> tuple[Pcap, list[Packet]]:
        """Findings with addresses, and packets at the places that the findings name: a capture has the pods' names."""
        context = self._looked(pcap.model_dump_json())
        names = {netns: place for place, netns in self.labs.with_pods(self.name).places.items()}
        places: dict[tuple[str, str], Place] = {}
        findings = []
        for finding in pcap.findings:
            for text in (*(hop.at for hop in finding.at), *finding.also_at, *finding.not_at):
                place = Place.parse(text)
                for netns, device in context.taps(place.node, place.device) if Name.parse(place.node) else ():
                    places[names.get(netns, ""), device] = place
            hops = [hop.model_copy(update={"where": context.where(hop.where)}) for hop in finding.at]
            findings.append(finding.model_copy(update={"where": context.where(finding.where), "at": hops}))
        moved = [replace(p, place=places.get((p.place.node, p.place.device), p.place)) for p in captured]
        return pcap.model_copy(update={"findings": findings}), moved
