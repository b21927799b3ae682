"""The desk on which a lab is put together: the file, the places as they grow, the segments, and what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from netlab.base.errors import Problem
from netlab.base.yamlfile import Document, Location
from netlab.compile.topology import Device, File, Place
from netlab.lab.schema_file import LabFile
from netlab.lab.segments import Segment


@dataclass(slots=True)
class Draft:
    """A place while it grows. parts: what `Place` has in tuples, by field name."""

    role: Literal["node", "container", "network"]
    why: str
    on: str | None = None
    shares: str | None = None
    devices: dict[str, Device] = field(default_factory=dict)
    parts: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, part: str, *items: Any) -> None:
        """Put items to a part."""
        self.parts.setdefault(part, []).extend(items)

    def place(self, name: str) -> Place:
        """The place as it is now."""
        parts = {key: tuple(items) for key, items in self.parts.items()}
        devices = tuple(self.devices.values())
        if self.role == "network":
            devices = tuple(replace(d, mtu=d.mtu or 1500) for d in devices)
        return Place(name=name, role=self.role, on=self.on, shares=self.shares, devices=devices, why=self.why, **parts)


class Desk:
    """segments: by network name and "", or by node and bridge."""

    def __init__(self, lab: LabFile, document: Document) -> None:
        self.lab = lab
        self.document = document
        self.problems: list[Problem] = []
        self.drafts: dict[str, Draft] = {}
        self.segments: dict[tuple[str, str], Segment] = {}
        self.files: list[File] = []

    def why(self, *path: str | int) -> str:
        """Why something is there: the place in the file, and in brackets what stands there."""
        words = [str(part) for part in path if part not in ("interfaces", "containers", "nodes")]
        singular = {"networks": "network", "bridges": "bridge", "routes": "route", "sysctls": "sysctl"}
        said = " ".join(singular.get(word, word) for word in words)
        return f"{self.document.place(path)} ({'container ' if path[:1] == ('containers',) else ''}{said})"

    def problem(self, path: Location, message: str, hint: str | None = None) -> None:
        """Something is wrong at a place of the file."""
        self.problems.append(Problem(self.document.place(path), message, hint))

    def unknown(self, path: Location, what: str, name: str, known: Iterable[str]) -> None:
        """The file names something that is not there; the hint is the nearest name, or all of them."""
        names = sorted(known)
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names) or 'none'}"
        self.problem(path, f"there is no {what} {name!r}", hint)

    def put(self, place: str, device: Device, path: Location) -> None:
        """Give a place a device, unless it has one of that name."""
        draft = self.drafts.get(place)
        if draft is None:
            return
        if device.name in draft.devices or device.name == "lo":
            taken = f", at {draft.devices[device.name].why}" if device.name in draft.devices else ""
            self.problem(path, f"{place} has a device {device.name!r} already{taken}", "give one of them another name")
            return
        draft.devices[device.name] = device

    def names(self) -> None:
        """A draft for everything that the file names; no name may be used twice."""
        seen: dict[str, str] = {}
        for section, role in (("networks", "network"), ("nodes", "node"), ("containers", "container")):
            for name in getattr(self.lab, section):
                where = self.why(section, name)
                if name in seen:
                    self.problem(
                        (section, name), f"name {name!r} is taken already, at {seen[name]}", "rename one of them"
                    )
                    continue
                seen[name] = where
                self.drafts[name] = Draft(role, where)  # type: ignore[arg-type]

    def places(self) -> tuple[Place, ...]:
        """All places, in the order of the file."""
        return tuple(draft.place(name) for name, draft in self.drafts.items())


def by_line(problem: Problem) -> tuple[str, int, str]:
    """Problems in the order of their lines."""
    name, _, line = problem.place.rpartition(":")
    return name, int(line) if line.isdigit() else 0, problem.message
