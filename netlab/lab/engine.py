"""Labs up and down: compile, remember, apply, start what runs in them; and the way back, by name alone.

Whatever is killed in the middle, the journal already names every namespace and every claim, so the next `up` repairs
and the next `down` removes.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.base.errors import ConflictError, InputError, MachineError, NetlabError, Problem
from netlab.base.patience import patience, rest
from netlab.lab import running
from netlab.lab.journal import RUN_DIR, Journal, JournalUnreadable, Record

if TYPE_CHECKING:  # `down` is quicker without them
    from netlab.compile.topology import Topology
    from netlab.lab.labfile import Lab
    from netlab.lab.machine import Machine, Network, States, Visitor
    from netlab.model import HostState, Item
    from netlab.model.claims import Claims
    from netlab.model.diff import Op


#: seconds that routing is given to come to rest; how long nothing must have moved when all sessions stand, and if not
SETTLE_LIMIT, SETTLED_STANDING, SETTLED_OTHERWISE = 5.0, 0.15, 2.0
#: seconds between two looks at whether they are
_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `up` did. operations: how many the kernel was asked for; fresh: whether the lab was not up before.

    network: seconds from the value to the network that is it, journal included; reading the lab's file is not in it.
    """

    name: str
    fresh: bool
    operations: int
    namespaces: int
    processes: int
    network: float = 0.0
    plans: dict[str, list[Op]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Removal:
    """What `down` did. expelled: processes that were still inside, such as a forgotten shell."""

    name: str
    namespaces: int
    expelled: tuple[Visitor, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """What is not as it should be, by namespace: `mend` would put it right, `strangers` nobody asked for."""

    mend: dict[str, list[Op]]
    strangers: dict[str, list[Item]]

    @property
    def clean(self) -> bool:
        """Whether the lab is exactly its value."""
        return not self.mend and not self.strangers


def owner(name: str) -> str:
    """The owner of what a lab makes."""
    return f"lab/{name}"


class _Known:
    """A ledger for a look at what others claim; nothing is ever saved."""

    def __init__(self, states: Mapping[str, HostState]) -> None:
        self._states = dict(states)

    def load(self, owner: str) -> Claims:
        from netlab.model.claims import Claims

        return Claims(self._states, {})

    def save(self, owner: str, claims: Claims) -> None:
        raise AssertionError(f"a look at {owner} saves nothing")


def missing_programs(topology: Topology) -> list[tuple[str, str]]:
    """The programs that the lab runs and this machine lacks, each with the package that brings it, in order."""
    wanted = {
        (process.program or process.argv[0], process.package)
        for place in topology.places
        for process in place.processes
        if process.argv and process.package
    }
    return sorted((program, package) for program, package in wanted if shutil.which(program) is None)


def _need_programs(topology: Topology) -> None:
    """MachineError if a program that a package brings is not there, with the command that brings all of them."""
    missing = missing_programs(topology)
    if missing:
        packages = " ".join(sorted({package for _, package in missing}))
        raise MachineError(
            f"lab {topology.name!r} runs {' and '.join(program for program, _ in missing)}, not installed here",
            hint=f"apt-get install {packages} (their services need not run: systemctl disable --now {packages})",
        )


def without_routes_of(record: Record, strangers: Mapping[str, list[Item]]) -> dict[str, list[Item]]:
    """Without the routes that programs of the lab make by themselves: nobody can say what they should be."""
    own = {(entry["netns"], entry["routes"]) for entry in record.processes if entry.get("routes")}
    left = {ns: [i for i in items if (ns, getattr(i, "protocol", None)) not in own] for ns, items in strangers.items()}
    return {ns: items for ns, items in left.items() if items}


def _placed(word: str, run_dir: Path) -> str:
    return word.replace("{run}", str(run_dir))


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


class Engine:
    """Verbs that change labs of one machine. say: how to tell the user something by the way (waiting, cleaning up)."""

    def __init__(
        self, machine: Machine, *, run_dir: Path = RUN_DIR, say: Callable[[str], None] = lambda _text: None
    ) -> None:
        self.machine = machine
        self.run_dir = run_dir
        self.say = say

    def journal(self, name: str) -> Journal:
        """The state directory of a lab, up or not."""
        return Journal(name, run_dir=self.run_dir)

    def record(self, name: str) -> Record:
        """The record of a lab that is up. InputError if it is not."""
        record = self.journal(name).read()
        if record is None:
            raise InputError(f"lab {name!r} is not up", hint=f"netlab lab up {name}")
        return record

    def network(self, journal: Journal, record: Record) -> Network:
        """The door to a lab's namespaces."""
        return self.machine.network(journal, iptables=record.iptables)

    # -- up

    def up(self, lab: Lab, *, progress: Callable[[str, int], None] | None = None) -> Outcome:
        """Bring a lab up, or back to what its file says. ConflictError if it is up under another definition."""
        self.machine.require_root()
        name = self._known_name(lab)
        with contextlib.ExitStack() as stack:
            if name is None:
                # while the file is read, the machine can already make namespaces
                stack.enter_context(self.machine.expecting(lab.likely_size))
            journal = self.journal(name or lab.name)
            stack.enter_context(journal.locked(waiting=self.say))
            old = journal.read()
            if old and old.digest != lab.digest:
                raise ConflictError(
                    f"lab {lab.name!r} is up under another definition (from {old.source})",
                    hint=f"netlab lab restart {lab.path} takes it down and up; netlab lab down {lab.name} removes it",
                )
            return self._up(lab, journal, old, progress)

    def _known_name(self, lab: Lab) -> str | None:
        """The lab's name if it is up as it is in the file, which then need not be parsed again."""
        guess = lab.likely_name
        if guess:
            with contextlib.suppress(NetlabError):
                record = self.journal(guess).read(names_only=True)
                if record and record.digest == lab.digest:
                    return guess
        return None

    def _up(
        self, lab: Lab, journal: Journal, old: Record | None, progress: Callable[[str, int], None] | None
    ) -> Outcome:
        settled = old is not None and old.settled and not old.exercise and not old.impairments
        states = old.claims if old and settled else lab.states
        if old is None:
            _need_programs(lab.topology)
            for feature in sorted({f for place in lab.topology.places for p in place.processes if (f := p.feature)}):
                self.machine.need(feature)
            self._refuse_foreign(lab)
        record = replace(old or self._new_record(lab), exercise=None, impairments={})
        journal.begin(record, goal=states)
        try:
            started = time.monotonic()
            plans = self.network(journal, record).apply_all(owner(record.name), states, progress=progress)
            network = time.monotonic() - started
            for file in lab.topology.files if old is None else ():
                journal.store(file.path, file.content.encode())
            running.follow(self.machine, journal, record.processes)
            running.ready(self.machine, journal, record.processes, progress)
        except (NetlabError, KeyboardInterrupt):
            if old is None:
                # nothing half-done stays behind; what the user sees is why it failed, not how it was swept up
                self.say(f"taking lab {record.name!r} down again, as it could not be brought up whole")
                self._remove(journal, record)
            raise
        if old and (old.exercise or old.impairments):
            journal.keep(record)
            self._put_back(lab, journal, record)
        operations = sum(len(ops) for ops in plans.values())
        return Outcome(record.name, old is None, operations, len(states), len(record.processes), network, plans)

    def _put_back(self, lab: Lab, journal: Journal, record: Record) -> None:
        """Configurations and manifests that an exercise has changed, as the lab's files say, and the daemons told."""
        from netlab.lab.labfile import followed

        for file in lab.topology.files:
            if followed(file.path) and _text(journal.dir / file.path) != file.content:
                journal.store(file.path, file.content.encode())
            for entry in record.processes:
                if entry.get("config") == file.path and _text(journal.dir / file.path) != file.content:
                    journal.store(file.path, file.content.encode())
                    self.machine.bgp(Path(entry["control"]), {"verb": "reload"})

    def _new_record(self, lab: Lab) -> Record:
        from netlab.model import Chain

        topology = lab.topology
        chains = any(isinstance(item, Chain) for state in lab.states.values() for item in state)
        return Record(
            name=lab.name,
            source=str(lab.path),
            digest=lab.digest,
            iptables=self.machine.iptables_variant() if chains else None,
            namespaces=tuple(topology.namespaces),
            places={place.name: topology.netns(place.name) for place in topology.places},
            processes=self._processes(topology),
            store=lab.store,
        )

    def _refuse_foreign(self, lab: Lab) -> None:
        taken = sorted(set(lab.topology.namespaces) & self.machine.namespaces())
        if taken:
            raise ConflictError(
                f"namespace {taken[0]} exists already and is not of a lab that netlab knows"
                + (f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""),
                hint=f"if nobody needs it: ip netns del {taken[0]}; or give the lab another name",
            )

    def _command(self, argv: Sequence[str], run_dir: Path) -> list[str]:
        words = [_placed(word, run_dir) for word in argv]
        return [*self.machine.netlab(), *words[1:]] if words[0] == "netlab" else words

    def _processes(self, topology: Topology) -> list[dict[str, Any]]:
        """What is to run in the lab, as the supervisor's table has it. claims: see `topology.Process`."""
        run_dir = self.journal(topology.name).dir
        return [
            {
                "name": f"{place.name}/{process.name}",
                "netns": topology.netns(place.name),
                "argv": self._command(process.argv, run_dir)
                if process.argv
                else self.machine.web_server(place.name, process.serve),
                "restart": process.restart,
                "env": {key: _placed(value, run_dir) for key, value in process.env},
                "notify": process.notify,
                **({"claims": process.claims} if process.claims else {}),
                **({"config": process.config} if process.config else {}),
                **({"routes": process.routes} if process.routes else {}),
                **({"control": str(run_dir / process.control)} if process.control else {}),
            }
            for place in topology.places
            for process in place.processes
        ]

    # -- down

    def down(self, name: str, *, definition: Lab | None = None) -> Removal | None:
        """Remove a lab and all that runs in it; None if it was not up. definition: names it when the journal cannot."""
        self.machine.require_root()
        journal = self.journal(name)
        with journal.locked(waiting=self.say):
            try:
                record = journal.read(names_only=True)
            except JournalUnreadable:
                if definition is None:
                    raise
                record = self._new_record(definition)
            if record is None:
                return None
            return self._remove(journal, record)

    def _remove(self, journal: Journal, record: Record) -> Removal:
        self.machine.stop_processes(journal.dir)
        expelled = self.machine.expel(record.namespaces)
        count = self.machine.delete_namespaces(record.namespaces)
        # last: as long as anything is left, the journal names it
        journal.path.unlink(missing_ok=True)
        return Removal(record.name, count, tuple(expelled))

    def restart(self, lab: Lab, *, progress: Callable[[str, int], None] | None = None) -> Outcome:
        """Down and up again, whatever definition it was up under. The new file is checked before the old lab goes."""
        self.machine.require_root()
        journal = self.journal(lab.name)
        _ = lab.states
        with journal.locked(waiting=self.say):
            record = journal.read(names_only=True)
            if record:
                self._remove(journal, record)
            return self._up(lab, journal, None, progress)

    # -- looking

    def drift(self, name: str) -> Drift:
        """What differs from what was asked for last, exercises and impairments included."""
        self.machine.require_root()
        journal = self.journal(name)
        record = journal.read()
        if record is None:
            raise InputError(f"lab {name!r} is not up", hint=f"netlab lab up {name}")
        missing = {ns for ns in record.namespaces if ns not in self.machine.namespaces()}
        # what a process that an exercise has stopped had asked for is not asked for now
        others = self.others(journal, record, without=(record.exercise or {}).get("stopped", ()))
        mend, strangers = self.network(journal, record).drift(owner(name), record.claims, others=others)
        if others:
            theirs = self.machine.network(_Known(others), iptables=record.iptables).plan_all("others", others)
            mend = {ns: [*mend.get(ns, []), *theirs.get(ns, [])] for ns in {*mend, *theirs}}
        strangers = without_routes_of(record, strangers)
        return Drift(mend, {ns: items for ns, items in strangers.items() if ns not in missing})

    def others(self, journal: Journal, record: Record, *, without: Collection[str] = ()) -> dict[str, HostState]:
        """What processes of the lab, but for some, have asked of the network of their nodes, by namespace."""
        from netlab.model.beside import beside

        found: dict[str, HostState] = {}
        for entry in record.processes:
            if "claims" in entry and entry["name"] not in without:
                state = self.machine.claims(journal.dir / entry["claims"])
                if len(state):
                    known = found.get(entry["netns"])
                    found[entry["netns"]] = beside(known, state) if known is not None else state
        return found

    def keep_running(self, name: str, *, without: Collection[str] = ()) -> None:
        """Have the lab's processes run, all but some of them, and wait until they are ready."""
        journal = self.journal(name)
        with journal.locked(waiting=self.say):
            record = self.record(name)
            table = [entry for entry in record.processes if entry["name"] not in without]
            if record.processes:
                running.follow(self.machine, journal, table, stopped=without)
                running.ready(self.machine, journal, table, None)

    def configure(self, name: str, files: Mapping[str, str]) -> list[str]:
        """Have daemons of the lab follow these configurations, by path; returns those that were others before.

        Each daemon that runs is told at once, and has some time for what follows. NetlabError if one does not take it.
        """
        journal = self.journal(name)
        with journal.locked(waiting=self.say):
            record = self.record(name)
            changed = [path for path, text in files.items() if _text(journal.dir / path) != text]
            for path in changed:
                journal.store(path, files[path].encode())
            running = self.machine.processes(journal.dir)
            for entry in record.processes:
                if entry.get("config") in changed and running.get(entry["name"], {}).get("state") == "running":
                    self.machine.bgp(Path(entry["control"]), {"verb": "reload"})
            sockets = [Path(entry["control"]) for entry in record.processes if entry.get("control")]
            if changed:
                self._shake(sockets)
            self._settle(sockets)
            return changed

    def _shake(self, sockets: Sequence[Path]) -> None:
        """End what hangs: a session whose other end is gone without a word that came through waits for its timers."""
        for socket in sockets:
            with contextlib.suppress(NetlabError):
                for peer in self.machine.bgp(socket, {"verb": "summary"})["peers"]:
                    if peer["state"] in ("OpenSent", "OpenConfirm"):
                        self.machine.bgp(socket, {"verb": "reset", "peer": peer["name"]})

    def _settle(self, sockets: Sequence[Path]) -> None:
        """Until BGP has come to rest: every session stands, or nothing has moved for a while."""
        last: list[Any] = []
        since = started = time.monotonic()
        while sockets and time.monotonic() - started < patience(SETTLE_LIMIT):
            now, standing, looked = [], True, time.monotonic()
            for socket in sockets:
                with contextlib.suppress(NetlabError):
                    told = self.machine.bgp(socket, {"verb": "summary"})
                    lines = [(peer["state"], peer["received"], peer["sent"]) for peer in told["peers"]]
                    now.append((told["routes"], told["kernel_routes"], lines))
                    standing = standing and all(str(state).startswith("Established") for state, *_ in lines)
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > (SETTLED_STANDING if standing else SETTLED_OTHERWISE):
                return
            time.sleep(rest(looked, _LOOK))

    def differing(self, name: str, files: Mapping[str, str]) -> list[tuple[str, str]]:
        """Of these configurations, those that are not so: path, and what would have to change, as a unified diff."""
        import difflib

        found = []
        for path, text in files.items():
            there = self.journal(name).dir / path
            have = _text(there) or ""
            if have != text:
                lines = difflib.unified_diff(have.splitlines(), text.splitlines(), lineterm="", n=1)
                found.append((str(there), "\n".join(list(lines)[2:])))
        return found

    def put(self, name: str, change: Callable[[Record], tuple[Record, States]]) -> dict[str, list[Op]]:
        """Apply a changed value to a lab that is up (an exercise's break, an impairment), under its lock.

        If the machine refuses it, the lab is put back to what it was before, and the error passes through.
        """
        self.machine.require_root()
        journal = self.journal(name)
        with journal.locked(waiting=self.say):
            record = journal.read()
            if record is None:
                raise InputError(f"lab {name!r} is not up", hint=f"netlab lab up {name}")
            new, states = change(record)
            journal.begin(new)
            network = self.network(journal, new)
            try:
                plans = network.apply_all(owner(name), states)
            except (NetlabError, KeyboardInterrupt):
                from netlab.model import HostState

                # a change that is refused is no change: back to what was asked for before
                journal.begin(record, goal=record.claims if record.settled else None)
                network.apply_all(owner(name), {ns: record.claims.get(ns, HostState()) for ns in states})
                journal.keep(record)
                raise
            journal.keep(new)
            return plans

    def netns_of(self, record: Record, place: str) -> str:
        """The namespace of a place. InputError with the nearest name."""
        import difflib

        if place not in record.places:
            close = difflib.get_close_matches(place, record.places, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(record.places)}"
            raise InputError([Problem(place, f"lab {record.name!r} has no node or container {place!r}", hint)])
        return record.places[place]
