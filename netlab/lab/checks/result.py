"""What a check gives, and what it may look at."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any, Literal

from netlab.base.addresses import Address
from netlab.base.errors import NetlabError
from netlab.compile.topology import Device, Topology
from netlab.lab.journal import Record
from netlab.lab.machine import Machine
from netlab.model import HostState

Outcome = Literal["passed", "failed", "unprobed"]


class CannotProbe(NetlabError):
    """The check could not be carried out, so nothing is known."""


class NotYet(NetlabError):
    """The check does not hold now; it may within its time."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check's outcome. detail: what was seen; place: the line of the file that asks for it; hops: of a path."""

    name: str
    outcome: Outcome
    detail: str
    seconds: float
    place: str = ""
    hint: str | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """A lab that is up, and the machine it is on."""

    machine: Machine
    record: Record
    topology: Topology

    def netns(self, place: str) -> str:
        """The namespace of a place. CannotProbe with the nearest name."""
        if place not in self.record.places:
            close = difflib.get_close_matches(place, self.record.places, 1)
            raise CannotProbe(
                f"there is no node or container {place!r}" + (f" (did you mean {close[0]!r}?)" if close else "")
            )
        netns = self.record.places[place]
        if netns not in self.machine.namespaces():
            raise CannotProbe(f"the namespace {netns} of {place} is gone")
        return netns

    def state(self, place: str) -> HostState:
        """Everything in a place's namespace, as it is now."""
        netns = self.netns(place)
        return self.machine.read([netns], iptables=self.record.iptables)[netns]

    def devices(self, place: str) -> tuple[Device, ...]:
        """The devices that the lab's file gives a place, those of its host if it shares a namespace."""
        spec = self.topology.by_name[place]
        return self.devices(spec.shares) if spec.shares else spec.devices

    def addresses(self, place: str) -> list[Address]:
        """A place's addresses, the first of each family on its first device with any."""
        found: dict[int, Address] = {}
        for device in self.devices(place):
            for address in device.addresses:
                found.setdefault(address.version, address.ip)
        return [found[version] for version in sorted(found)]
