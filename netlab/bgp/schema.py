"""The configuration file as pydantic models: the shape that a user writes, in YAML or JSON. `config` reads it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from netlab.base.names import device_name_problem
from netlab.bgp.attributes import parse_community, parse_extended, parse_large
from netlab.bgp.capabilities import RESTART_TIME_MAX
from netlab.bgp.codes import PORT
from netlab.bgp.policy import path_pattern


def _address(value: Any) -> Any:
    try:
        return ip_address(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 or IPv6 address") from None


def _network(value: Any) -> Any:
    try:
        return ip_network(str(value))
    except ValueError as e:
        raise ValueError(f"{value!r} is not a network: {str(e).removeprefix(repr(value)).strip()}") from None


def _id(value: Any) -> Any:
    try:
        return IPv4Address(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a router id (four numbers such as 10.0.0.1)") from None


def _asn(value: Any) -> Any:
    text = str(value)
    high, dot, low = text.partition(".")
    if dot and high.isdecimal() and low.isdecimal() and int(high) < 1 << 16 and int(low) < 1 << 16:
        return int(high) << 16 | int(low)  # RFC 5396 asdot
    if text.isdecimal() and 0 < int(text) < 1 << 32 and not isinstance(value, bool):
        return int(text)
    raise ValueError(f"{value!r} is not an AS number (1 to 4294967295)")


def _some(parse: Any) -> Any:
    """A single value or a list of them, each by `parse`."""

    def read(value: Any) -> Any:
        return tuple(parse(str(one)) for one in (value if isinstance(value, list) else [value]))

    return read


def _asns(value: Any) -> Any:
    return tuple(_asn(one) for one in (value if isinstance(value, list) else [value]))


def _names(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _pattern(value: str) -> str:
    try:
        path_pattern(value)
    except re.error as e:
        raise ValueError(f"{value!r} is not a regular expression: {e}") from None
    return value


def _device(value: str) -> str:
    problem = device_name_problem(value)
    if problem:
        raise ValueError(problem)
    return value


IpAddress = Annotated[Any, BeforeValidator(_address)]
IpNetwork = Annotated[Any, BeforeValidator(_network)]
RouterId = Annotated[Any, BeforeValidator(_id)]
Asn = Annotated[Any, BeforeValidator(_asn)]
Asns = Annotated[Any, BeforeValidator(_asns)]
Communities = Annotated[Any, BeforeValidator(_some(parse_community))]
Large = Annotated[Any, BeforeValidator(_some(parse_large))]
Extended = Annotated[Any, BeforeValidator(_some(parse_extended))]
Names = Annotated[list[str], BeforeValidator(_names)]
Device = Annotated[str, AfterValidator(_device)]
FamilyName = Literal["ipv4", "ipv6"]
OriginName = Literal["igp", "egp", "incomplete"]
U32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class KernelSection(Strict):
    """Where winning routes go. metric: keeps them behind routes of other origin, 32 is what BIRD gives its own."""

    install: bool = True
    protocol: Literal["bgp", "bird"] = "bgp"
    table: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] = 254
    metric: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] = 32


class RestartSection(Strict):
    """restart_time: seconds in which we will be back; stale_time: seconds that we wait for a peer's routes."""

    enabled: bool = True
    restart_time: Annotated[int, Field(ge=1, le=RESTART_TIME_MAX)] = 120
    stale_time: Annotated[int, Field(ge=1)] = 180


class ListenEntry(Strict):
    """An address to listen on; 0.0.0.0 and :: are all of a family."""

    address: IpAddress
    port: Annotated[int, Field(ge=1, le=65535)] = PORT


class RouterSection(Strict):
    """router: who we are."""

    as_: Asn = Field(alias="as")
    id: RouterId
    name: str = Field(default="bgpd", pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$")
    cluster_id: RouterId | None = None
    listen: list[ListenEntry] = Field(default_factory=lambda: [_any4(), _any6()])
    multipath: Annotated[int, Field(ge=1, le=64)] = 1
    multipath_relax: bool = False
    always_compare_med: bool = False
    compare_router_id: bool = False
    kernel: KernelSection = Field(default_factory=KernelSection)
    graceful_restart: RestartSection = Field(default_factory=RestartSection)


def _any4() -> ListenEntry:
    return ListenEntry(address="0.0.0.0")


def _any6() -> ListenEntry:
    return ListenEntry(address="::")


class NetworkEntry(Strict):
    """A prefix that we originate. blackhole: a route in the kernel that drops what no more specific route wants."""

    prefix: IpNetwork
    blackhole: bool = False
    med: U32 | None = None
    local_pref: U32 | None = None
    origin: OriginName = "igp"
    communities: Communities = ()
    large_communities: Large = ()
    extended_communities: Extended = ()
    next_hop: IpAddress | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"prefix": value}


class PrefixRuleEntry(Strict):
    """A line of a prefix list: exactly the prefix, or with ge and le what lies within it."""

    prefix: IpNetwork
    ge: Annotated[int, Field(ge=0, le=128)] | None = None
    le: Annotated[int, Field(ge=0, le=128)] | None = None
    permit: bool = True

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"prefix": value}

    @model_validator(mode="after")
    def _bounds(self) -> PrefixRuleEntry:
        length, most = self.prefix.prefixlen, self.prefix.max_prefixlen
        low = length if self.ge is None else self.ge
        high = (length if self.ge is None else most) if self.le is None else self.le
        if not length <= low <= high <= most:
            raise ValueError(f"expected {length} <= ge <= le <= {most}")
        self.ge, self.le = low, high
        return self


class MatchSection(Strict):
    """All that is given must hold."""

    prefix_list: Names = Field(default_factory=list)
    prefixes: list[PrefixRuleEntry] = Field(default_factory=list)
    communities: Communities = ()
    any_community: Communities = ()
    no_community: Communities = ()
    large_communities: Large = ()
    extended_communities: Extended = ()
    as_path: Annotated[str, AfterValidator(_pattern)] | None = None
    as_path_contains: Asns = ()
    as_path_length: dict[Literal["ge", "le"], int] | None = None
    origin_as: Asns = ()
    neighbour_as: Asns = ()
    origin: OriginName | None = None
    next_hop: list[IpNetwork] = Field(default_factory=list)
    family: FamilyName | None = None
    source: Literal["local", "ebgp", "ibgp"] | None = None


class SetSection(Strict):
    """What becomes of a route that matches."""

    local_pref: U32 | None = None
    med: U32 | Literal["none"] | None = None
    origin: OriginName | None = None
    prepend: Annotated[int, Field(ge=0, le=64)] = 0
    prepend_path: Asns = ()
    communities: Communities | None = None
    add_communities: Communities = ()
    remove_communities: Communities = ()
    large_communities: Large | None = None
    add_large_communities: Large = ()
    remove_large_communities: Large = ()
    extended_communities: Extended | None = None
    add_extended_communities: Extended = ()
    remove_extended_communities: Extended = ()
    next_hop: Literal["self", "unchanged"] | IpAddress | None = None


class RuleEntry(Strict):
    """A rule of a policy."""

    name: str | None = None
    match: MatchSection = Field(default_factory=MatchSection)
    set: SetSection = Field(default_factory=SetSection)
    then: Literal["accept", "reject", "next"] = "accept"


class PolicySection(Strict):
    """A policy: its rules, and what becomes of the rest."""

    rules: list[RuleEntry] = Field(default_factory=list)
    default: Literal["accept", "reject"] = "reject"


class PeerEntry(Strict):
    """A peer. ttl_security: hops that it may be away, 1 for a peer on the link; multihop: likewise, without the check.

    hold_time, connect_retry: seconds; max_prefixes: more end the session.
    """

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.:]*$")
    address: IpAddress
    as_: Asn = Field(alias="as")
    port: Annotated[int, Field(ge=1, le=65535)] = PORT
    local_address: IpAddress | None = None
    interface: Device | None = None
    passive: bool = False
    families: list[FamilyName] | None = None
    hold_time: Annotated[int, Field(ge=0, le=65535)] = 90
    connect_retry: Annotated[float, Field(gt=0, le=3600)] = 10.0
    delay_open: Annotated[float, Field(ge=0, le=240)] = 0.0
    password: str | None = None
    ttl_security: Annotated[int, Field(ge=1, le=254)] | None = None
    multihop: Annotated[int, Field(ge=1, le=255)] | None = None
    import_: str | None = Field(default=None, alias="import")
    export: str | None = None
    route_reflector_client: bool = False
    next_hop_self: bool = False
    next_hop: dict[FamilyName, IpAddress] = Field(default_factory=dict)
    allow_own_as: Annotated[int, Field(ge=0, le=10)] = 0
    enforce_first_as: bool = True
    max_prefixes: Annotated[int, Field(ge=1)] | None = None
    graceful_restart: bool = True
    shutdown: bool | str = False

    @model_validator(mode="after")
    def _fits(self) -> PeerEntry:
        if self.hold_time in (1, 2):
            raise ValueError("hold_time is 0 or at least 3 seconds (RFC 4271 section 4.2)")
        if self.ttl_security and self.multihop:
            raise ValueError(
                "ttl_security and multihop exclude each other",
            )
        if self.password is not None and not 0 < len(self.password.encode()) <= 80:
            raise ValueError("a password has 1 to 80 octets (TCP_MD5SIG_MAXKEYLEN)")
        if self.address.is_link_local and self.address.version == 6 and not self.interface:
            raise ValueError(f"{self.address} is a link-local address: say which `interface` it is on")
        if self.local_address is not None and self.local_address.version != self.address.version:
            raise ValueError("local_address is of another family than the peer's address")
        return self


class ConfigFile(Strict):
    """The whole file."""

    router: RouterSection
    networks: list[NetworkEntry] = Field(default_factory=list)
    prefix_lists: dict[str, list[PrefixRuleEntry]] = Field(default_factory=dict)
    policies: dict[str, PolicySection] = Field(default_factory=dict)
    peers: list[PeerEntry] = Field(default_factory=list)
