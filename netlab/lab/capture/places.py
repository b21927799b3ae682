"""Patterns such as `node1:veth*` to places, against what the lab really has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from netlab.base.errors import InputError, Problem
from netlab.lab.capture.packet import Place


def select(patterns: Iterable[str], devices: Mapping[str, Sequence[str]]) -> list[Place]:
    """The places that `patterns` name, each once, in the order of the patterns and then of `devices`.

    patterns: `node:device`, both with the wildcards of fnmatch; `node` alone means all of its devices.
    devices: node -> names of its devices. InputError with one Problem for each pattern that matches nothing.
    """
    chosen: dict[Place, None] = {}
    problems: list[Problem] = []
    for pattern in patterns:
        found = _matches(pattern, devices)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            chosen.update(dict.fromkeys(found))
    if problems:
        raise InputError(problems)
    return list(chosen)


def _matches(pattern: str, devices: Mapping[str, Sequence[str]]) -> list[Place] | Problem:
    node_pattern, colon, device_pattern = pattern.partition(":")
    if not colon:
        device_pattern = "*"
    nodes = [node for node in devices if fnmatchcase(node, node_pattern)]
    if not nodes:
        return Problem(
            pattern, f"there is no node {node_pattern!r}; {_listed('nodes', devices)}", _nearest(node_pattern, devices)
        )
    found = [Place(node, name) for node in nodes for name in devices[node] if fnmatchcase(name, device_pattern)]
    if found:
        return found
    there = sorted({name for node in nodes for name in devices[node]})
    where = nodes[0] if len(nodes) == 1 else f"{len(nodes)} nodes"
    return Problem(
        pattern,
        f"no device of {where} matches {device_pattern!r}; {_listed('devices', there)}",
        _nearest(device_pattern, there),
    )


def _listed(what: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"{what}: {listed}" if listed else f"there are no {what}"


def _nearest(name: str, names: Iterable[str]) -> str | None:
    near = get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else None
