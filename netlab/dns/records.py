"""What the cluster's names mean: from objects and a question to records, without wire format, clock or chance.

A change of the objects costs what it touches, however many there are.

Facts: kubernetes/dns docs/specification.md, version 1.1.0; where it says nothing, CoreDNS's plugin kubernetes (the SOA,
NXDOMAIN or NODATA, SRV weights, names of endpoints without a hostname, pod names). Two answers are not CoreDNS's: a
name that only leads to others (`_tcp.web.default.svc…`) exists, and an ExternalName is an alias for every type. A
resolver that takes NXDOMAIN for the whole subtree (RFC 8020), or an alias for all types (RFC 1034), would be misled.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self, TypeVar

from netlab.compile.gathered import Gathered, Served
from netlab.compile.objects import Endpoint, Name, Objects, Pod, Ref, Service, Value

VERSION = "1.1.0"
#: seconds: of the record that tells the version
VERSION_TTL = 28800
#: of the SOA: refresh, retry, expire
_SOA_TIMES = "7200 1800 86400"
#: what all answers of one name share among them
_WEIGHTS = 100
#: aliases that follow one another within the zone; more are a circle
ALIASES_MAX = 8
#: the Service whose addresses are those of the zone's name server
DNS_SERVICE = ("kube-system", "kube-dns")
_T = TypeVar("_T")
PodNames = Literal["disabled", "insecure", "verified"]

#: labels of a name, the leftmost first, without the root
Labels = tuple[str, ...]
_REVERSE: tuple[tuple[Labels, int], ...] = ((("in-addr", "arpa"), 4), (("ip6", "arpa"), 6))
_FAMILY = {"A": 4, "AAAA": 6}
_TYPE = {4: "A", 6: "AAAA"}
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneConfig:
    """zone: the cluster's domain; ttl: seconds of every answer; pods: which of the names `10-1-2-3.ns.pod.ZONE` exist.

    endpoint_pod_names: an endpoint without a hostname goes by its pod's name, not by its address; fallthrough: reverse
    names that the cluster does not know are somebody else's; addresses: of this server, where no Service tells them.
    """

    zone: str = "cluster.local"
    ttl: int = 5
    pods: PodNames = "insecure"
    endpoint_pod_names: bool = False
    fallthrough: bool = False
    addresses: tuple[str, ...] = ()


class Record(NamedTuple):
    """A record, as a zone file would have it. name: absolute, without the last dot, as the asker has spelt it."""

    name: str
    type: str
    ttl: int
    data: str


@dataclass(frozen=True, slots=True)
class Answer:
    """status: NOERROR, NXDOMAIN, REFUSED or SERVFAIL; records: the answer; additional: what goes with it.

    authority: the zone's SOA where there is no answer; alias: the name outside the cluster at which the answer goes on.
    """

    status: str = "NOERROR"
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    alias: str = ""


_NODATA = Answer()


class Target(NamedTuple):
    """An address and port behind a name. owner: the name that has the address; port: 0 for none."""

    address: str
    owner: str
    port: int = 0


class Records:
    """A cluster's names, as its objects come and go. implied: see `compile.gathered`; serial: of its SOA."""

    def __init__(self, config: ZoneConfig, *, implied: bool = False, serial: int = 1) -> None:
        self.config, self.serial = config, serial
        self.zone: Labels = tuple(config.zone.lower().rstrip(".").split("."))
        self._origin = ".".join(self.zone)
        self._gathered = Gathered(implied=implied)
        self._served: dict[Name, Served] = {}
        #: by namespace, what is in it or is it: without any there is no such name
        self._users: dict[str, set[Ref]] = {}
        #: by address, the Services whose own it is, and the names of an endpoint in headless ones
        self._owned: dict[str, dict[Name, str]] = {}
        self._hosts: dict[str, dict[Name, tuple[str, ...]]] = {}
        self._pod_ips: dict[Name, tuple[str, ...]] = {}
        #: by namespace and address
        self._pods: dict[tuple[str, str], set[Name]] = {}

    @classmethod
    def of(cls, objects: Objects, config: ZoneConfig, serial: int = 1) -> Self:
        """The names of a cluster that is known as a whole."""
        records = cls(config, serial=serial)
        records.take(objects.values())
        return records

    def take(self, changes: Mapping[Ref, Value | None]) -> None:
        """Know these from now on, None for what is gone."""
        for ref, value in changes.items():
            if ref.kind == "Namespace":
                self._use(ref.name, ref, value is not None)
            elif ref.kind == "Pod":
                self._use(ref.namespace, ref, value is not None)
                if self.config.pods == "verified":
                    self._put_pod((ref.namespace, ref.name), value if isinstance(value, Pod) else None)
        for name, served in self._gathered.take(changes).items():
            # what is no label has no name here; the API allows no such Services
            if all(map(_LABEL.fullmatch, name)):
                self._put(name, served)

    @property
    def services(self) -> int:
        """How many Services have a name."""
        return len(self._served)

    def _use(self, namespace: str, ref: Ref, there: bool) -> None:
        if there:
            self._users.setdefault(namespace, set()).add(ref)
        elif (users := self._users.get(namespace)) is not None:
            users.discard(ref)
            if not users:
                del self._users[namespace]

    def _put(self, name: Name, served: Served | None) -> None:
        old = self._served.pop(name, None)
        if old is not None:
            self._lead(old, there=False)
        if served is not None:
            self._served[name] = served
            self._lead(served, there=True)
        self._use(name[0], Ref("Service", *name), served is not None)

    def _lead(self, served: Served, *, there: bool) -> None:
        """Have a Service's addresses lead to its names, or lead there no more."""
        service, owner = served[0], self._owner(served[0])
        for ip in service.cluster_ips:
            _lead(self._owned, ip, service.key, owner if there else None)
        if service.headless:
            names: dict[str, dict[str, None]] = {}
            for target in self._endpoints(served, owner):
                names.setdefault(target.address, {})[target.owner] = None
            for ip, owners in names.items():
                _lead(self._hosts, ip, service.key, tuple(owners) if there else None)

    def _put_pod(self, name: Name, pod: Pod | None) -> None:
        for ip in self._pod_ips.pop(name, ()):
            known = self._pods[name[0], ip]
            known.discard(name)
            if not known:
                del self._pods[name[0], ip]
        if pod is not None and not pod.finished:
            self._pod_ips[name] = pod.ips
            for ip in pod.ips:
                self._pods.setdefault((name[0], ip), set()).add(name)

    def look(self, asked: Labels, kind: str) -> Answer | None:
        """The answer to a question; None if the name is not the cluster's to know. kind: A, AAAA, SRV …"""
        labels = tuple(label.lower() for label in asked)
        name = ".".join(asked)
        reverse = next((entry for entry in _REVERSE if _below(labels, entry[0])), None)
        if not _below(labels, self.zone) and reverse is None:
            return None
        if kind in ("AXFR", "IXFR"):
            return Answer("REFUSED")
        if reverse is None:
            return self._closed(self._forward(name, labels, kind, ALIASES_MAX), self._origin, kind)
        zone, family = reverse
        found = self._reverse(name, labels[: -len(zone)], kind, family)
        if self.config.fallthrough and not (found and found.records):
            return None
        return self._closed(found, ".".join(zone), kind)

    def _closed(self, found: Answer | None, origin: str, kind: str) -> Answer:
        """With the SOA where it ends without an answer: it tells how long that holds. None: there is no such name."""
        found = found or Answer("NXDOMAIN")
        answered = found.records and (found.records[-1].type != "CNAME" or kind == "CNAME" or found.alias)
        if answered or found.status == "SERVFAIL":
            return found
        return replace(found, authority=(self._soa(origin),))

    def _soa(self, origin: str) -> Record:
        ttl = self.config.ttl
        data = f"ns.dns.{self._origin}. hostmaster.{self._origin}. {self.serial} {_SOA_TIMES} {ttl}"
        return Record(origin, "SOA", ttl, data)

    # -- names to addresses

    def _forward(self, name: str, labels: Labels, kind: str, aliases: int) -> Answer | None:
        """What a name in the zone means; None if it does not exist. aliases: how many more may follow."""
        match labels[: -len(self.zone)]:
            case ():
                return self._apex(name, kind)
            case ("dns-version",):
                record = Record(name, "TXT", VERSION_TTL, f'"{VERSION}"')
                return Answer(records=(record,)) if kind == "TXT" else _NODATA
            case ("dns",):
                return _NODATA
            case ("ns", "dns"):
                return self._answer(name, kind, self._server())
            case ("svc",) | ("pod",):
                return _NODATA
            case (namespace, "svc" | "pod"):
                return _NODATA if self._exists(namespace) else None
            case (pod, namespace, "pod"):
                return self._pod(name, pod, namespace, kind)
            case (*more, service, namespace, "svc"):
                found = self._served.get((namespace, service))
                return self._service(name, found, tuple(more), kind, aliases) if found else None
        return None

    def _exists(self, namespace: str) -> bool:
        return namespace == "default" or namespace in self._users

    def _owner(self, service: Service) -> str:
        return f"{service.name}.{service.namespace}.svc.{self._origin}"

    def _apex(self, name: str, kind: str) -> Answer:
        if kind == "SOA":
            return Answer(records=(self._soa(name),))
        if kind == "NS":
            server = self._server()
            record = Record(name, "NS", self.config.ttl, f"ns.dns.{self._origin}.")
            return Answer(records=(record,), additional=self._addresses(server))
        return _NODATA

    def _server(self) -> list[Target]:
        served = self._served.get(DNS_SERVICE)
        known = served[0].cluster_ips if served and served[0].cluster_ips else self.config.addresses
        return [Target(address, f"ns.dns.{self._origin}") for address in known]

    def _service(self, name: str, served: Served, more: Labels, kind: str, aliases: int) -> Answer | None:
        service = served[0]
        if service.type == "ExternalName":
            return None if more else self._alias(name, service.external_name, kind, aliases)
        owner = self._owner(service)
        match more:
            case ():
                if service.headless:
                    endpoints = list(self._endpoints(served, owner))
                    return self._answer(name, kind, endpoints) if endpoints else None
                ports = [port.port for port in service.ports] or [0]
                return self._answer(name, kind, [Target(ip, owner, p) for p in ports for ip in service.cluster_ips])
            case (label,):
                endpoints = [t for t in self._endpoints(served, owner) if t.owner.partition(".")[0] == label]
                if endpoints:
                    return self._answer(name, kind, endpoints)
                return _NODATA if any(p.name and f"_{p.protocol}" == label for p in service.ports) else None
            case (port, protocol):
                return self._port(name, served, owner, (port, protocol), kind)
        return None

    def _port(self, name: str, served: Served, owner: str, asked: tuple[str, str], kind: str) -> Answer | None:
        """`_http._tcp` of a Service: there for SRV alone, and only for ports that have a name."""
        service = served[0]
        ports = [p for p in service.ports if p.name and (f"_{p.name}", f"_{p.protocol}") == asked]
        if service.headless:
            targets = list(self._endpoints(served, owner, asked))
        else:
            targets = [Target(ip, owner, port.port) for port in ports for ip in service.cluster_ips]
        if not targets:
            return None
        return self._answer(name, kind, targets) if kind == "SRV" else _NODATA

    def _endpoints(self, served: Served, owner: str, port: tuple[str, str] | None = None) -> Iterator[Target]:
        """Ready endpoints, each with every port of its slice, or with the one that is asked for (`_name`, `_proto`)."""
        for part in served[1]:
            numbers = [p.port for p in part.ports if port in (None, (f"_{p.name}", f"_{p.protocol}"))]
            if not part.ports and port is None:
                numbers = [0]
            for endpoint in part.endpoints:
                if endpoint.ready and part.family and version(endpoint.address) == part.family:
                    host = self._host(endpoint)
                    for number in numbers:
                        yield Target(endpoint.address, f"{host}.{owner}", number)

    def _host(self, endpoint: Endpoint) -> str:
        named = endpoint.hostname or (endpoint.target if self.config.endpoint_pod_names else "")
        return named.lower() if _LABEL.fullmatch(named.lower()) else endpoint.address.translate(_DASHES)

    def _alias(self, name: str, target: str, kind: str, aliases: int) -> Answer | None:
        target = target.lower().rstrip(".")
        if version(target):
            return None  # an address is no name
        record = Record(name, "CNAME", self.config.ttl, f"{target}.")
        labels = tuple(target.split("."))
        if kind == "CNAME":
            return Answer(records=(record,))
        if not _below(labels, self.zone):
            return Answer(records=(record,), alias=target)
        if not aliases:
            return Answer("SERVFAIL")
        found = self._forward(target, labels, kind, aliases - 1) or Answer("NXDOMAIN")
        return found if found.status == "SERVFAIL" else replace(found, records=(record, *found.records))

    def _answer(self, name: str, kind: str, targets: list[Target]) -> Answer:
        """Targets as records of one type; none of another."""
        ttl = self.config.ttl
        if kind in _FAMILY:
            fits = dict.fromkeys(t.address for t in targets if version(t.address) == _FAMILY[kind])
            return Answer(records=tuple(Record(name, kind, ttl, address) for address in fits))
        if kind == "SRV":
            weight = max(1, _WEIGHTS // max(1, len(targets)))
            served = dict.fromkeys((t.port, t.owner) for t in targets if t.port)
            records = tuple(Record(name, "SRV", ttl, f"0 {weight} {port} {owner}.") for port, owner in served)
            return Answer(records=records, additional=self._addresses([t for t in targets if t.port]))
        return _NODATA

    def _addresses(self, targets: list[Target]) -> tuple[Record, ...]:
        pairs = dict.fromkeys((t.owner, t.address) for t in targets)
        return tuple(Record(owner, _TYPE[version(ip)], self.config.ttl, ip) for owner, ip in pairs if version(ip))

    # -- pods

    def _pod(self, name: str, pod: str, namespace: str, kind: str) -> Answer | None:
        plain = pod.count("-") == 3 and "--" not in pod
        address = pod.replace("-", "." if plain else ":")
        if not self._exists(namespace) or not version(address) or self.config.pods == "disabled":
            return None
        address = str(ipaddress.ip_address(address))
        if self.config.pods == "verified" and (namespace, address) not in self._pods:
            return None
        return self._answer(name, kind, [Target(address, name)])

    # -- addresses to names

    def _reverse(self, name: str, labels: Labels, kind: str, family: int) -> Answer | None:
        if not labels and kind == "SOA":
            return Answer(records=(self._soa(name),))
        text = "".join(reversed(labels)) if family == 6 else ".".join(reversed(labels))
        parts, whole = (4, r"(0|[1-9]\d{0,2})") if family == 4 else (32, r"[0-9a-f]")
        if len(labels) > parts or not all(re.fullmatch(whole, label, re.ASCII) for label in labels):
            return None
        if len(labels) < parts:
            return _NODATA  # it leads to others
        if family == 6:
            text = str(ipaddress.IPv6Address(int(text, 16)))
        found = self._names(text)
        if not found:
            return None
        records = tuple(Record(name, "PTR", self.config.ttl, f"{owner}.") for owner in found)
        return Answer(records=records) if kind == "PTR" else _NODATA

    def _names(self, address: str) -> list[str]:
        """Of the Service whose own it is, else every name of the endpoint in headless Services."""
        if own := self._owned.get(address):
            return [own[min(own)]]
        hosts = self._hosts.get(address, {})
        return list(dict.fromkeys(owner for name in sorted(hosts) for owner in hosts[name]))


_DASHES = str.maketrans(".:", "--")


def _below(labels: Labels, zone: Labels) -> bool:
    return labels[-len(zone) :] == zone


def version(text: str) -> int:
    """4 or 6, 0 for what is no address."""
    try:
        return 0 if "%" in text else ipaddress.ip_address(text).version
    except ValueError:
        return 0


def _lead(index: dict[str, dict[Name, _T]], address: str, name: Name, to: _T | None) -> None:
    """Note or forget where an address leads to by way of a Service."""
    if to is not None:
        index.setdefault(address, {})[name] = to
    elif (known := index.get(address)) is not None:
        known.pop(name, None)
        if not known:
            del index[address]
