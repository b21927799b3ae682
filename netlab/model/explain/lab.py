"""Several namespaces at once: each one made, each cable drawn once, then what each node has for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netlab.model.diff import Create, Delete, Op, diff, stage_of
from netlab.model.explain.command import Command, Style, command
from netlab.model.explain.links import add
from netlab.model.explain.ops import commands
from netlab.model.links import Link, Veth
from netlab.model.state import HostState

#: where a command is run (a namespace's name, None for the namespace one is in), and the command
Step = tuple[str | None, Command]
#: namespace and device name
_End = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Section:
    """Steps that belong together, under a heading."""

    title: str
    steps: tuple[Step, ...]


def sections(states: Mapping[str, HostState], *, style: Style = "lines") -> list[Section]:
    """How to build all of `states`, by name of their namespaces. A section for each part; none is empty."""
    return plan_sections({netns: diff(HostState(), state) for netns, state in states.items()}, new=states, style=style)


def plan_sections(
    plans: Mapping[str, Sequence[Op]], *, new: Iterable[str] = (), style: Style = "lines"
) -> list[Section]:
    """How to carry out `plans`, by namespace. new: the namespaces that have to be made first."""
    cables, ends = _cables(plans)
    # an end that is plugged in elsewhere goes before its name is taken anew
    going = {netns: [op for op in ops if _goes(op)] for netns, ops in plans.items()}
    rest = {netns: [op for op in ops if not _goes(op)] for netns, ops in plans.items()}

    def node(netns: str, ops: Sequence[Op], title: str) -> Section:
        lines = commands(ops, style=style, made=ends[netns])
        return Section(f"{title} {netns}", tuple((netns, line) for line in lines))

    found = [
        Section("namespaces", _each(new, "add")),
        *(node(netns, ops, "what goes from node") for netns, ops in going.items()),
        Section("cables: veth pairs", cables),
        *(node(netns, ops, "node") for netns, ops in rest.items()),
    ]
    return [section for section in found if section.steps]


def explain_lab(states: Mapping[str, HostState], *, style: Style = "lines") -> list[Step]:
    """The same as one list."""
    return [step for section in sections(states, style=style) for step in section.steps]


def teardown(states: Iterable[str]) -> list[Step]:
    """How to remove them. A namespace takes all that is in it along."""
    return list(_each(states, "del"))


def _goes(op: Op) -> bool:
    return isinstance(op, Delete) and stage_of(op) == 0


def _each(names: Iterable[str], verb: str) -> tuple[Step, ...]:
    return tuple((None, command("ip", "netns", verb, name)) for name in names)


def _cables(plans: Mapping[str, Sequence[Op]]) -> tuple[tuple[Step, ...], dict[str, set[str]]]:
    """A command per new veth pair, and the names of the veth ends that they make, by namespace."""
    veths: dict[_End, Link] = {}
    far: dict[_End, _End] = {}
    for netns, ops in plans.items():
        for op in ops:
            link = op.item
            if isinstance(op, Create) and isinstance(link, Link) and isinstance(link.kind, Veth):
                veths[netns, link.name] = link
                far[netns, link.name] = (link.kind.peer_netns or netns, link.kind.peer)
    count = Counter(netns for netns, _ in veths)
    steps: list[Step] = []
    ends: dict[str, set[str]] = {netns: set() for netns in plans}
    # the bridge's side, where most cables end, is where a person would stand to draw them
    for near in sorted(veths, key=lambda end: (-count[end[0]], end)):
        netns, name = near
        if name in ends[netns]:
            continue
        there, peer = far[near]
        ends[netns].add(name)
        if there in ends:
            ends[there].add(peer)
        drawn = add(veths[near], peer=veths.get((there, peer)), peer_netns="" if there == netns else there)
        steps += [(netns, line) for line in drawn]
    return tuple(steps), ends
