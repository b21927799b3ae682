"""What a check gives, and what it may look at."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netlab.base.addresses import Address
from netlab.base.errors import NetlabError
from netlab.compile.topology import Device, Topology
from netlab.lab.journal import Record
from netlab.lab.machine import Machine

if TYPE_CHECKING:
    from netlab.lab.machine import Cluster
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
    """A lab that is up, and the machine it is on. `clusters.ClusterContext` is one of a lab on a cluster."""

    machine: Machine
    record: Record
    topology: Topology

    #: the page on which servers tell who they are
    whoami = "/whoami"
    #: seconds between two looks at what does not hold yet
    pause = 0.1

    def opened(self) -> contextlib.AbstractAsyncContextManager[object]:
        """What has to be open while checks run."""
        return contextlib.nullcontext()

    async def look(self, words: str) -> None:
        """See again what the names in a check stand for, ahead of each attempt. words: the check, as JSON."""

    @property
    def cluster(self) -> Cluster:
        """The cluster that the lab runs on. CannotProbe."""
        raise CannotProbe("this lab runs on no cluster")

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

    def is_place(self, text: str) -> bool:
        """Whether packets can be sent from there."""
        return text in self.record.places

    def taps(self, place: str, device: str) -> list[tuple[str, str]]:
        """Where to listen for what passes a device of a place: (namespace, device), one or several."""
        return [(self.netns(place), device)]

    def resolv_conf(self, place: str) -> str | None:
        """The content of a place's resolv.conf, if it has one of its own."""
        path = f"files/{place}/resolv.conf"
        return next((file.content for file in self.topology.files if file.path == path), None)

    def bgp(self, node: str) -> Path | None:
        """The control socket of a node's BGP speaker; None if it runs none of this lab."""
        for entry in self.record.processes:
            if entry.get("control") and entry["name"].partition("/")[0] == node:
                return Path(entry["control"])
        return None

    def address(self, whom: Address | str, version: int = 4) -> Address:
        """An address: that very one, or a place's. CannotProbe."""
        if not isinstance(whom, str):
            return whom
        found = self.addresses(whom)
        for address in found:
            if address.version == version:
                return address
        if not found:
            raise CannotProbe(f"{whom} has no address")
        return found[0]

    def network(self, whither: Any) -> Any:
        """A network: that very one, or what the name of one stands for. CannotProbe."""
        if isinstance(whither, str):
            raise CannotProbe(f"{whither}: this lab has no network by that name")
        return whither

    def among(self, names: list[str]) -> list[str]:
        """Servers by the names with which they answer."""
        return names

    def server(self, body: str, headers: Mapping[str, str]) -> str:
        """Who has answered."""
        return headers.get("x-server-name", "")

    def text(self, text: str) -> str:
        """A text, with the addresses of places where it has {place}."""
        return text

    def where(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What must be true of a packet, with addresses in the place of names."""
        return dict(fields)

    def addresses(self, place: str) -> list[Address]:
        """A place's addresses, the first of each family on its first device with any. CannotProbe for no place."""
        self.netns(place)
        found: dict[int, Address] = {}
        for device in self.devices(place):
            for address in device.addresses:
                found.setdefault(address.version, address.ip)
        return [found[version] for version in sorted(found)]
