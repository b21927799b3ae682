"""What a check may say in lab.yaml or exercise.yaml. `checks` evaluates them; this is only their shape."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from netlab.lab.schema import Device, Family, IpAddress, Label, Mac, Strict, Text, Whither, Whom

Port = int


class Reach(Strict):
    """Packets from one place to another, and their answer."""

    from_: str = Field(alias="from", description="the node or container that sends")
    to: str = Field(
        description="a node or container (all its addresses), or one address; of a cluster also pod/… or service/…"
    )
    icmp: bool = False
    tcp: Port | None = Field(None, ge=1, le=65535)
    udp: Port | None = Field(None, ge=1, le=65535)
    http: Port | None = Field(None, ge=1, le=65535)
    family: Family | None = Field(None, description="4 or 6; both where both ends have addresses")
    size: int = Field(56, ge=0, le=65000, description="octets of an echo request's payload")
    answers: str | None = Field(None, description="text that the HTTP page or UDP answer must contain")
    seen_as: Whom | None = Field(None, description="the client address that the built-in web server must have seen")

    @model_validator(mode="after")
    def _one_probe(self) -> Reach:
        chosen = [name for name in ("icmp", "tcp", "udp", "http") if getattr(self, name)]
        if len(chosen) != 1:
            raise ValueError("say exactly one of icmp: true, tcp: PORT, udp: PORT, http: PORT")
        return self


class MatrixCheck(Strict):
    """Who opens a connection to whom: every pair of the places is tried, and only those that are listed may."""

    among: list[str] = Field(min_length=2, description="nodes and containers")
    tcp: Port = Field(ge=1, le=65535)
    allowed: dict[str, list[str]] = Field(description="by who asks, whom he reaches; all others he does not")

    @model_validator(mode="after")
    def _known(self) -> MatrixCheck:
        strangers = sorted({n for a, bs in self.allowed.items() for n in (a, *bs)} - set(self.among))
        if strangers:
            raise ValueError(f"{', '.join(strangers)} in allowed: not listed in among")
        return self


class DnsCheck(Strict):
    """What a name server answers somebody."""

    from_: str = Field(alias="from", description="the node or container that asks, as its file resolv.conf says")
    name: str = Field(description="a name, to which its search list is applied; or an address")
    type: str = Field("A", description="A, AAAA, SRV, CNAME, TXT …; PTR for an address if left out")
    server: Whom | None = Field(None, description="whom it asks; that of its resolv.conf if left out")
    answers: list[Text] | None = Field(None, description="the data of all records of the answer, in any order")
    status: Literal["NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"] = "NOERROR"


class Balance(Strict):
    """Who answers at an address that stands for several, and whether each does so as often as the others."""

    from_: str = Field(alias="from", description="the node or container that asks")
    to: Whom
    http: Port = Field(ge=1, le=65535)
    among: list[str] = Field(
        min_length=1,
        description="who should answer, each equally often: the servers' names; pod/… for pods that answer with theirs",
    )
    connections: int = Field(1000, ge=20, le=10000)


class RouteCheck(Strict):
    """A route as it is in a node."""

    on: str
    to: Whither = Field(
        description="a network; in a cluster podcidr/NODE for that of a node's pods, pod/NAMESPACE/NAME for a pod's "
        "address, pod/NAMESPACE/NAME/26 for the block of that length that it is in"
    )
    via: Whom | None = None
    dev: Device | None = None
    table: int = 254
    absent: bool = False


class NeighbourCheck(Strict):
    """An ARP or NDP entry, learnt or permanent."""

    on: str
    address: Whom
    mac: Mac | None = None
    dev: Device | None = None


class FdbCheck(Strict):
    """Behind which port a bridge (or VXLAN device) has a MAC."""

    on: str
    mac: Mac
    dev: Device
    dst: Whom | None = None


class LinkCheck(Strict):
    """A device as it is."""

    on: str
    dev: Device
    up: bool | None = None
    kind: Text | None = Field(None, description="as `ip -d link` calls it: veth, bridge, vxlan, tun, dummy …")
    vni: int | None = Field(None, description="of a VXLAN device")
    mtu: int | None = None
    mac: Mac | None = None
    master: Device | None = None
    addresses: list[Text] | None = Field(None, description="addresses with prefix length that it must have")
    absent: bool = False


class SysctlCheck(Strict):
    """A setting as it is."""

    on: str
    name: str
    value: Text


class RuleCheck(Strict):
    """An iptables rule, and whether packets have met it."""

    on: str
    table: Literal["raw", "mangle", "nat", "filter"]
    chain: str = Field(description="its name; * for any letters of it, as in KUBE-SVC-*")
    contains: str
    family: Family = 4
    packets: int | None = Field(None, ge=0, description="at least so many packets must have met it")
    absent: bool = False


class BgpBest(Strict):
    """What the winning path to a prefix is like; only what is given is looked at."""

    from_: str | None = Field(None, alias="from", description="the peer that it is from, or local")
    next_hop: IpAddress | None = None
    as_path: list[int] | None = Field(None, description="the AS numbers, the nearest first; [] for our own AS")
    communities: list[Text] | None = Field(None, description="all of them, in any order")
    local_pref: int | None = None
    med: int | None = None
    originator: IpAddress | None = None
    ways: int | None = Field(None, ge=1, description="how many paths share the load")


class BgpCheck(Strict):
    """What a node's BGP speaker knows: the state of a session, or the winning path to a prefix."""

    on: str
    peer: IpAddress | None = None
    state: Literal["idle", "connect", "active", "opensent", "openconfirm", "established"] = "established"
    prefix: Whither | None = None
    best: BgpBest | None = None
    absent: bool = Field(False, description="it has no path to the prefix that it could use")

    @model_validator(mode="after")
    def _one_question(self) -> BgpCheck:
        if (self.peer is None) == (self.prefix is None):
            raise ValueError("say either peer (with state) or prefix (with best)")
        if self.peer is not None and (self.best or self.absent):
            raise ValueError("best and absent are about a prefix")
        if self.best and self.absent:
            raise ValueError("best and absent exclude each other")
        return self


class Hop(Strict):
    """Where a packet must be seen, and what must be true of it there (field names: see `netlab lab capture --help`)."""

    at: str = Field(description="node:device")
    where: dict[str, Any] = Field(default_factory=dict)
    outgoing: bool | None = None


class PathCheck(Strict):
    """The journey of one packet: the devices at which it must be seen, in order."""

    probe: Reach
    reply: bool = Field(False, description="follow the answer instead of the request")
    family: Family = 4
    hops: list[Hop] = Field(min_length=1)
    exactly: bool = Field(False, description="it may be seen nowhere else among the devices that are watched")
    watch: list[str] = Field(default_factory=list, description="more devices to watch: node:device")


_COMPARED = {"matches", "not", "least", "most"}


class ObjectCheck(Strict):
    """Objects of a cluster's API: one by its name, or those of a selector.

    has: by JSONPath, what is there: a value; null for nothing; {matches: REGEX}, {not: VALUE}, {least: N} or {most: N};
    where a path leads to several values, all of them as a list. Without count and least, all of the selector's objects
    have to be so, and there has to be one.
    """

    kind: str = Field(description="Deployment; the plural will do, and `kind.group` where there are two")
    name: Text | None = None
    namespace: Label = "default"
    selector: str | None = Field(None, description="labels, as for kubectl -l")
    has: dict[str, Any] = Field(default_factory=dict, description="by JSONPath: {.status.readyReplicas: 3}")
    count: int | None = Field(None, ge=0, description="so many of the selector's objects are like that")
    least: int | None = Field(None, ge=1, description="at least so many are")
    absent: bool = False

    @model_validator(mode="after")
    def _one_question(self) -> ObjectCheck:
        if self.name is not None and (self.selector is not None or self.count is not None or self.least is not None):
            raise ValueError("selector, count and least are for objects without a name")
        if self.absent and (self.count is not None or self.least is not None or (self.has and self.name)):
            raise ValueError("what is absent has no fields and no count")
        for path in self.has:
            if not path.startswith((".", "[", "{")):
                raise ValueError(f"{path!r} is no JSONPath (such as .status.readyReplicas)")
        for wanted in self.has.values():
            if isinstance(wanted, dict) and (len(wanted) != 1 or not set(wanted) <= _COMPARED):
                raise ValueError(f"{wanted!r}: expected a value, or one of matches, not, least, most")
        return self


class KubectlCheck(Strict):
    """What the person's kubectl prints. lines: regular expressions, found in lines of the output in this order."""

    run: str = Field(description="its words, as typed behind kubectl")
    lines: list[str] = Field(default_factory=list)
    absent: list[str] = Field(default_factory=list, description="regular expressions that no line may match")
    status: int = Field(0, ge=0, le=255)

    @model_validator(mode="after")
    def _expressions(self) -> KubectlCheck:
        for expression in (*self.lines, *self.absent):
            try:
                re.compile(expression)
            except re.error as e:
                raise ValueError(f"{expression!r} is no regular expression: {e}") from None
        return self


KINDS = (
    "reach", "deny", "route", "neighbour", "fdb", "link", "sysctl", "rule", "bgp", "path", "balance", "dns", "matrix",
    "object", "kubectl",
)  # fmt: skip
#: of them, those that only a cluster can be asked
OF_CLUSTERS = ("object", "kubectl")


class Check(Strict):
    """One check: its name, exactly one kind, and how long it may take to become true."""

    name: str | None = None
    reach: Reach | None = None
    deny: Reach | None = None
    route: RouteCheck | None = None
    neighbour: NeighbourCheck | None = None
    fdb: FdbCheck | None = None
    link: LinkCheck | None = None
    sysctl: SysctlCheck | None = None
    rule: RuleCheck | None = None
    bgp: BgpCheck | None = None
    path: PathCheck | None = None
    dns: DnsCheck | None = None
    matrix: MatrixCheck | None = None
    balance: Balance | None = None
    object: ObjectCheck | None = None
    kubectl: KubectlCheck | None = None
    within: float = Field(3.0, gt=0, le=120, description="seconds in which it must become true")
    hint: str | None = Field(None, description="what to look at when it fails")

    @model_validator(mode="after")
    def _one_kind(self) -> Check:
        if len(self.kinds) != 1:
            raise ValueError(f"a check has exactly one of {', '.join(KINDS)}")
        return self

    @property
    def kinds(self) -> list[str]:
        """Which kinds are given; one, in a valid check."""
        return [kind for kind in KINDS if getattr(self, kind) is not None]
