"""A lab's exercises: exercise.yaml read and checked against the lab, and each exercise as states and checks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from netlab.base.errors import InputError, NetlabError, Problem
from netlab.base.yamlfile import Document, Location, load, validated
from netlab.compile.topology import Process
from netlab.lab.capture.packet import Place
from netlab.lab.checks.clusters import Name
from netlab.lab.checks.run import title
from netlab.lab.checkspec import Check
from netlab.lab.exercises import edits
from netlab.lab.exercises.spec import (
    CLUSTER_EDITS,
    AnyEdit,
    CheckRef,
    ConfigEdit,
    Edit,
    Exercise,
    ExerciseFile,
    ManifestEdit,
    OnCluster,
    Plug,
    Power,
    Stop,
)
from netlab.lab.labfile import MANIFESTS, Lab, followed
from netlab.model import HostState

FILE, TEXT = "exercise.yaml", "exercise.md"


@dataclass(frozen=True)
class Book:
    """The exercises of one lab. InputError, from `load` on, with every problem of the file."""

    lab: Lab
    document: Document
    file: ExerciseFile

    @classmethod
    def of(cls, lab: Lab) -> Book:
        """Read the lab's exercise.yaml and check it against the lab."""
        path = lab.folder / FILE
        if not path.is_file():
            raise InputError(f"lab {lab.name!r} has no exercises: there is no {path}")
        document = load(path)
        book = cls(lab, document, validated(ExerciseFile, document))
        problems = sorted(book._problems())
        if problems:
            raise InputError(problems)
        return book

    @property
    def exercises(self) -> list[Exercise]:
        """All of them, in the order of the file."""
        return self.file.exercises

    def get(self, ident: str) -> Exercise:
        """The exercise of that id. InputError with the nearest."""
        found = next((e for e in self.exercises if e.id == ident), None)
        if found is None:
            known = [e.id for e in self.exercises]
            close = difflib.get_close_matches(ident, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise InputError([Problem(ident, f"lab {self.lab.name!r} has no exercise {ident!r}", hint)])
        return found

    def states(self, exercise: Exercise) -> dict[str, HostState]:
        """The lab as it is when the exercise starts. InputError if an edit finds nothing to change."""
        states: dict[str, HostState] = self.lab.states
        steps = list(self._edits(exercise))
        # first of all what a stopped process leaves behind: everything else may change that
        for what in (what for _, _, what in steps if isinstance(what, Stop)):
            netns = self.lab.topology.netns(what.on)
            if self._process(what).claims:
                states = {**states, netns: self.lab.whole[netns].stamped(f"lab/{self.lab.name}")}
        for location, kind, change in steps:
            if isinstance(change, Stop | ConfigEdit | ManifestEdit | OnCluster):
                continue
            place = self.document.place(location)
            try:
                states = edits.edit(
                    states, kind, change, self.lab.topology.netns, why=f"{place} (exercise {exercise.id})"
                )
            except (NetlabError, ValueError) as e:
                message, hint = (e.message, e.hint) if isinstance(e, NetlabError) else (str(e), None)
                raise InputError([Problem(place, message, hint)]) from e
        states = edits.whole_pairs(states)
        wrong = [f"{netns}: {problem}" for netns, state in states.items() for problem in state.problems()]
        if wrong:
            where = self.document.place(self._location(exercise))
            raise InputError([Problem(where, f"exercise {exercise.id} makes what no kernel could hold: {wrong[0]}")])
        return states

    def edits(self, exercise: Exercise) -> list[AnyEdit]:
        """What is done to the lab when the exercise starts, in order."""
        return [what for _, _, what in self._edits(exercise)]

    def stopped(self, exercise: Exercise) -> list[str]:
        """The processes that do not run during the exercise, as the supervisor's table calls them."""
        stops = (what for _, _, what in self._edits(exercise) if isinstance(what, Stop))
        return [f"{what.on}/{what.process}" for what in stops]

    def configs(self, exercise: Exercise | None) -> dict[str, str]:
        """What the lab's daemons follow during the exercise (None: as the lab's file says), by path: configurations and
        manifests."""
        read = {process.config for place in self.lab.topology.places for process in place.processes}
        files = self.lab.topology.files
        texts = {file.path: file.content for file in files if file.path in read or followed(file.path)}
        for _, _, what in self._edits(exercise) if exercise else ():
            if isinstance(what, ManifestEdit):
                path = f"{MANIFESTS}/{what.file}"
                texts[path] = texts[path].replace(what.replace, what.by, 1) if what.replace else what.content or ""
            if isinstance(what, ConfigEdit):
                path = self._process(what).config or ""
                texts[path] = texts[path].replace(what.replace, what.by, 1)
        return texts

    def _process(self, what: Stop | ConfigEdit) -> Process:
        place = self.lab.topology.by_name[what.on]
        return next(process for process in place.processes if process.name == what.process)

    def checks(self, refs: Iterable[CheckRef]) -> list[Check]:
        """The checks themselves, those of lab.yaml looked up by name."""
        return [self._lab_checks[ref] if isinstance(ref, str) else ref for ref in refs]

    def text(self) -> str:
        """The story: exercise.md. InputError if the lab has none."""
        path = self.lab.folder / TEXT
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(f"lab {self.lab.name!r} has no text to read: {path}: {e}") from e

    # -- what the schema cannot check

    @cached_property
    def _lab_checks(self) -> dict[str, Check]:
        return {title(check): check for check in self.lab.file.checks}

    def _location(self, exercise: Exercise) -> Location:
        # by identity: two that are equal word by word are two
        return ("exercises", next(i for i, known in enumerate(self.exercises) if known is exercise))

    def _edits(self, exercise: Exercise) -> Iterator[tuple[Location, str, AnyEdit]]:
        where = self._location(exercise)
        for i, gone in enumerate(exercise.build.objects if exercise.build else []):
            yield (*where, "build", "objects", i), "delete", gone
        for i, removal in enumerate(exercise.build.leave_out if exercise.build else []):
            yield (*where, "build", "leave_out", i), "remove", removal
        for i, each in enumerate(exercise.breaks):
            yield (*where, "breaks", i, each.kind), each.kind, each.edit

    def _refs(self, exercise: Exercise) -> Iterator[tuple[Location, CheckRef]]:
        where = self._location(exercise)
        for name in ("checks", "keeps"):
            yield from (((*where, name, i), ref) for i, ref in enumerate(getattr(exercise, name)))
        for n, stage in enumerate(exercise.stages):
            yield from (((*where, "stages", n, "checks", i), ref) for i, ref in enumerate(stage.checks))

    def _places(self, exercise: Exercise) -> Iterator[tuple[Location, str]]:
        """Every name of a node or container that the exercise itself says."""
        where = self._location(exercise)
        for location, _, what in self._edits(exercise):
            if isinstance(what, Power):
                yield (*location, "node"), what.node
            if not isinstance(what, Edit):
                continue
            yield (*location, "on"), what.on
            if isinstance(what, Plug):
                yield (*location, "far"), Place.parse(what.far).node
        for n, question in enumerate(exercise.questions):
            at = (*where, "questions", n)
            yield (*at, "probe", "from"), question.probe.from_
            yield (*at, "at"), Place.parse(question.at).node
            if question.forget:
                yield (*at, "forget", "on"), question.forget.on
        for n, finding in enumerate(exercise.pcap.findings if exercise.pcap else []):
            at = (*where, "pcap", "findings", n)
            yield from (((*at, "at", i), Place.parse(hop.at).node) for i, hop in enumerate(finding.at))
            for key in ("also_at", "not_at"):
                yield from (((*at, key, i), Place.parse(text).node) for i, text in enumerate(getattr(finding, key)))

    def _problems(self) -> Iterator[Problem]:
        seen: set[str] = set()
        for exercise in self.exercises:
            if exercise.id in seen:
                where = self.document.place((*self._location(exercise), "id"))
                yield Problem(where, f"exercise {exercise.id!r} is there twice", "give one of them another id")
            seen.add(exercise.id)
            for location, kind, what in self._edits(exercise):
                # a change of manifests goes with both
                if kind != "manifest" and (kind in CLUSTER_EDITS) != (self.lab.file.cluster is not None):
                    yield self._misplaced(location, kind)
                if isinstance(what, ManifestEdit):
                    yield from self._manifest_problems(location, what)
                if not isinstance(what, Edit):
                    continue
                place = self.lab.topology.by_name.get(what.on)
                if (
                    isinstance(what, Stop | ConfigEdit)
                    and place
                    and what.process not in {p.name for p in place.processes}
                ):
                    names = [process.name for process in place.processes]
                    yield self._unknown((*location, "process"), f"{what.on} has no such process", what.process, names)
                if isinstance(what, ConfigEdit) and place:
                    yield from self._config_problems(location, what)
            for location, ref in self._refs(exercise):
                if isinstance(ref, str) and ref not in self._lab_checks:
                    yield self._unknown(location, f"lab.yaml has no check named {ref!r}", ref, self._lab_checks)
            places = self.lab.topology.by_name
            for location, name in self._places(exercise):
                if name not in places and not (self.lab.file.cluster and Name.parse(name)):
                    yield self._unknown(location, f"the lab has no node or container {name!r}", name, places)

    def _misplaced(self, location: Location, kind: str) -> Problem:
        if self.lab.file.cluster is None:
            return Problem(self.document.place(location), f"{kind} is done to a cluster, and this lab has none")
        hint = f"on a cluster there are {', '.join(CLUSTER_EDITS)}"
        return Problem(self.document.place(location), f"{kind} changes a network that a lab lays itself", hint)

    def _config_problems(self, location: Location, what: ConfigEdit) -> Iterator[Problem]:
        place = self.lab.topology.by_name[what.on]
        process = next((p for p in place.processes if p.name == what.process), None)
        if process is None:
            return
        text = self.configs(None).get(process.config or "", "")
        if text.count(what.replace) != 1:
            where = self.document.place((*location, "replace"))
            count = f"is there {text.count(what.replace)} times" if what.replace in text else "is not there"
            yield Problem(where, f"in the configuration of {what.on}'s {what.process} the text {count}")

    def _manifest_problems(self, location: Location, what: ManifestEdit) -> Iterator[Problem]:
        texts = {path: text for path, text in self.configs(None).items() if followed(path)}
        text = texts.get(f"{MANIFESTS}/{what.file}")
        if text is None:
            known = [path.partition("/")[2] for path in texts]
            yield self._unknown((*location, "file"), f"the lab has no manifest {what.file!r}", what.file, known)
        elif what.replace and text.count(what.replace) != 1:
            count = f"is there {text.count(what.replace)} times" if what.replace in text else "is not there"
            yield Problem(self.document.place((*location, "replace")), f"in {what.file} the text {count}")

    def _unknown(self, location: Location, message: str, name: str, known: Iterable[str]) -> Problem:
        names = list(known)
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
        return Problem(self.document.place(location), message, hint)
