"""Several namespaces at once: each one made, each cable drawn once, then what each node has for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netlab.model.diff import diff
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
    cables, ends = _cables(states)
    nodes = [
        Section(
            f"node {netns}",
            tuple((netns, line) for line in commands(diff(HostState(), state), style=style, made=ends[netns])),
        )
        for netns, state in states.items()
    ]
    made = (Section("namespaces", _each(states, "add")), Section("cables: veth pairs", cables))
    return [section for section in (*made, *nodes) if section.steps]


def explain_lab(states: Mapping[str, HostState], *, style: Style = "lines") -> list[Step]:
    """The same as one list."""
    return [step for section in sections(states, style=style) for step in section.steps]


def teardown(states: Iterable[str]) -> list[Step]:
    """How to remove them. A namespace takes all that is in it along."""
    return list(_each(states, "del"))


def _each(names: Iterable[str], verb: str) -> tuple[Step, ...]:
    return tuple((None, command("ip", "netns", verb, name)) for name in names)


def _cables(states: Mapping[str, HostState]) -> tuple[tuple[Step, ...], dict[str, set[str]]]:
    """A command per veth pair, and the names of the veth ends that they make, by namespace."""
    veths: dict[_End, Link] = {}
    far: dict[_End, _End] = {}
    for netns, state in states.items():
        for link in state.all(Link):
            if isinstance(link.kind, Veth):
                veths[netns, link.name] = link
                far[netns, link.name] = (link.kind.peer_netns or netns, link.kind.peer)
    count = Counter(netns for netns, _ in veths)
    steps: list[Step] = []
    ends: dict[str, set[str]] = {netns: set() for netns in states}
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
