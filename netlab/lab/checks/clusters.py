"""Places of a lab on a cluster: besides its nodes, pods and Services, by what the API says of them now.

control-plane, node1 …, lan     nodes, and the wire between them: the world outside
pod/NAMESPACE/NAME              a pod; its device eth0, and `veth` for the node's end of its cable
pod/NAMESPACE/LABEL=VALUE       pods with a label: the first that runs where one is meant, all of them where packets
                                are looked for and where addresses are compared
node-of/NAMESPACE/…             the node that a pod (or the pods) is on
service/NAMESPACE/NAME          a Service's cluster addresses: it can be asked, and cannot ask
podcidr/NODE                    the network of a node's pods, where a network is meant
pod/NAMESPACE/NAME/LENGTH       there, too: the network of that prefix length that a pod's address is in
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, cast

from netlab.base.addresses import Address
from netlab.lab.checks.result import CannotProbe, Context
from netlab.lab.machine import Cluster, Spot

Json = dict[str, Any]

#: seconds for which what was seen of the API is believed
FRESH = 0.1
#: the device of a pod that is the other end of its cable
VETH = "veth"
_NAMED = re.compile(r"\b(?:pod|service|node-of|podcidr)/")
_PLACE = re.compile(r"^(pod|service|node-of)/([-a-z0-9]+)/(\S+)$")
_AROUND = re.compile(r"^(pod/[^/]+/[^/]+)(?:/([0-9]+))?$")
_IN_TEXT = re.compile(r"\{((?:pod|service|node-of|podcidr)/[^{}\s]+|control-plane|node[0-9]+|lan)\}")


@dataclass(frozen=True, slots=True)
class Name:
    """A place that is no node: `pod/default/web`."""

    sort: Literal["pod", "service", "node-of"]
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Name | None:
        """None if it is none."""
        found = _PLACE.match(text)
        return cls(cast(Any, found[1]), found[2], found[3]) if found else None

    def fits(self, obj: Json) -> bool:
        """Whether it stands for this object."""
        metadata = obj["metadata"]
        if metadata.get("namespace") != self.namespace:
            return False
        key, equals, value = self.name.partition("=")
        return bool((metadata.get("labels") or {}).get(key) == value if equals else metadata["name"] == self.name)


@dataclass(slots=True)
class Seen:
    """What the API had when it was last looked at."""

    at: float = float("-inf")
    pods: list[Json] = field(default_factory=list)
    services: list[Json] = field(default_factory=list)
    nodes: dict[str, Json] = field(default_factory=dict)
    looking: asyncio.Lock | None = None


@dataclass(frozen=True, slots=True)
class ClusterContext(Context):
    """A lab on a cluster that is up."""

    api: Cluster
    seen: Seen = field(default_factory=Seen)

    whoami = "/"
    #: each look is a request to a server that shares the processor with what is looked at
    pause = 0.25

    @property
    def cluster(self) -> Cluster:
        return self.api

    def opened(self) -> contextlib.AbstractAsyncContextManager[object]:
        self.seen.looking = asyncio.Lock()  # of this loop
        return self.api.opened()

    async def look(self, words: str) -> None:
        if not _NAMED.search(words) and self.seen.nodes:
            return
        assert self.seen.looking is not None, "checks run within opened()"
        async with self.seen.looking:
            if time.monotonic() - self.seen.at < FRESH:
                return
            pods, services, nodes = await asyncio.gather(*map(self.api.all, ("pods", "services", "nodes")))
            pods.sort(key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))
            self.seen.pods, self.seen.services = pods, services
            self.seen.nodes = {node["metadata"]["name"]: node for node in nodes}
            self.seen.at = time.monotonic()

    # -- what names stand for

    def _pods(self, name: Name) -> list[Json]:
        """The pods of that name or label that live, those that run first. CannotProbe if there is none."""
        living = [p for p in self.seen.pods if name.fits(p) and not p["metadata"].get("deletionTimestamp")]
        found = [p for p in living if (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
        if not found:
            raise CannotProbe(f"there is no pod {name.namespace}/{name.name} that lives")
        return sorted(found, key=lambda p: (p.get("status") or {}).get("phase") != "Running")

    def _spot(self, pod: Json) -> Spot:
        spot = self.api.spot(pod)
        if spot is None:
            phase = (pod.get("status") or {}).get("phase")
            raise CannotProbe(f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} has no network ({phase})")
        return spot

    def _nodes_of(self, name: Name) -> list[str]:
        on = dict.fromkeys((pod.get("spec") or {}).get("nodeName") for pod in self._pods(name))
        found = [node for node in on if node]
        if not found:
            raise CannotProbe(f"no pod {name.namespace}/{name.name} is on a node yet")
        return found

    def _service(self, name: Name) -> Json:
        found = next((service for service in self.seen.services if name.fits(service)), None)
        if found is None:
            raise CannotProbe(f"there is no Service {name.namespace}/{name.name}")
        return found

    # -- Context

    def bgp(self, node: str) -> Path | None:
        return self.api.bgp(node)

    def is_place(self, text: str) -> bool:
        name = Name.parse(text)
        return name.sort != "service" if name else text in self.topology.by_name

    def netns(self, place: str) -> str:
        name = Name.parse(place)
        if name is None:
            if place not in self.topology.by_name:
                names = ", ".join(self.topology.by_name)
                raise CannotProbe(f"there is no node {place!r}: there are {names}, pod/NAMESPACE/NAME and service/…")
            netns = self.api.netns(place)
            if netns not in self.machine.namespaces():
                raise CannotProbe(f"node {place} is off")
            return netns
        if name.sort == "service":
            raise CannotProbe(f"{place} can be asked, and is nowhere that could ask")
        if name.sort == "node-of":
            return self.netns(self._nodes_of(name)[0])
        return self._spot(self._pods(name)[0]).netns

    def taps(self, place: str, device: str) -> list[tuple[str, str]]:
        name = Name.parse(place)
        if name is None or name.sort == "service":
            return [(self.netns(place), device)]
        if name.sort == "node-of":
            return [(self.netns(node), device) for node in self._nodes_of(name)]
        spots = [self._spot(pod) for pod in self._pods(name)]
        if device != VETH:
            return [(spot.netns, device) for spot in spots]
        if not all(spot.veth for spot in spots):
            raise CannotProbe(f"{place} is on its node's network, and has no cable")
        return [(self.netns(spot.node), spot.veth) for spot in spots]

    def resolv_conf(self, place: str) -> str | None:
        name = Name.parse(place)
        if name is None or name.sort != "pod":
            return None
        file = self._spot(self._pods(name)[0]).files.get("resolv.conf")
        return file.read_text(encoding="utf-8") if file is not None else None

    def addresses(self, place: str) -> list[Address]:
        return self._addresses(place)[0]

    def _addresses(self, place: str) -> list[list[Address]]:
        """For each that the name stands for, its addresses by family. CannotProbe."""
        name = Name.parse(place)
        if name is None:
            self.netns(place)  # says what is wrong with the name
            return [self.api.addresses(place)]
        if name.sort == "service":
            spec = self._service(name).get("spec") or {}
            found = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]
            if not found:
                raise CannotProbe(f"{place} has no address of its own")
            return [_sorted(found)]
        if name.sort == "node-of":
            return [self.api.addresses(node) for node in self._nodes_of(name)]
        listed = [_sorted(ip["ip"] for ip in (p.get("status") or {}).get("podIPs") or ()) for p in self._pods(name)]
        if not any(listed):
            raise CannotProbe(f"{place} has no address yet")
        return [found for found in listed if found]

    def network(self, whither: Any) -> Any:
        if not isinstance(whither, str):
            return whither
        if found := _AROUND.match(whither):
            address = self.address(found[1])
            return ip_network((address, int(found[2] or address.max_prefixlen)), strict=False)
        node = whither.partition("/")[2]
        spec = self.seen.nodes.get(node, {}).get("spec") or {}
        if not spec.get("podCIDR"):
            raise CannotProbe(f"node {node!r} has no podCIDR")
        return ip_network(spec["podCIDR"])

    def among(self, names: list[str]) -> list[str]:
        found: list[str] = []
        for text in names:
            name = Name.parse(text)
            found += [pod["metadata"]["name"] for pod in self._pods(name)] if name else [text]
        return found

    def server(self, body: str, headers: Mapping[str, str]) -> str:
        return headers.get("x-server-name") or body.strip()

    def text(self, text: str) -> str:
        return _IN_TEXT.sub(lambda found: self._word(found[1]), text)

    def _word(self, place: str) -> str:
        return str(self.network(place) if place.startswith("podcidr/") else self.address(place))

    def where(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._value(key, value) for key, value in fields.items()}

    def _value(self, key: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.startswith("podcidr/"):
            return str(self.network(value))
        if Name.parse(value) is None and value not in self.topology.by_name:
            return value
        family = 6 if key.startswith(("ip6.", "inner.ip6.")) else 4
        found = [str(a) for listed in self._addresses(value) for a in listed if a.version == family]
        if not found:
            raise CannotProbe(f"{value} has no IPv{family} address")
        return found[0] if len(found) == 1 else found


def _sorted(texts: Any) -> list[Address]:
    """The first of each family, IPv4 ahead, as `Context.addresses` has them."""
    found: dict[int, Address] = {}
    for address in map(ip_address, texts):
        found.setdefault(address.version, address)
    return [found[version] for version in sorted(found)]
