"""The configuration as values: what a speaker runs on. `load` reads the user's file, with every error at once.

Values compare by what they say, so that a reload knows which peers have changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from netlab.base.addresses import Address, Network
from netlab.base.errors import InputError, Problem
from netlab.base.yamlfile import Document, parse, validated
from netlab.base.yamlfile import load as load_yaml
from netlab.bgp.attributes import Attrs
from netlab.bgp.codes import ORIGINS, PORT
from netlab.bgp.nlri import Family
from netlab.bgp.policy import ALL, MISSING, NONE, Change, Match, Policy, PrefixList, PrefixRule, Rule, path_pattern
from netlab.bgp.schema import ConfigFile, MatchSection, PeerEntry, PolicySection, PrefixRuleEntry, SetSection

_BUILT_IN = {"all": ALL, "none": NONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """One peer. restart: whether we do graceful restart with it; shutdown: why it is off, None if it is on."""

    name: str
    address: Address
    asn: int
    port: int = PORT
    local_address: Address | None = None
    interface: str = ""
    passive: bool = False
    families: tuple[Family, ...] = (Family.IPV4,)
    hold_time: int = 90
    connect_retry: float = 10.0
    delay_open: float = 0.0
    password: str | None = field(default=None, repr=False)
    ttl_security: int | None = None
    multihop: int | None = None
    import_policy: Policy = ALL
    export_policy: Policy = ALL
    client: bool = False
    next_hop_self: bool = False
    next_hops: tuple[tuple[Family, Address], ...] = ()
    allow_own_as: int = 0
    enforce_first_as: bool = True
    max_prefixes: int | None = None
    restart: bool = True
    shutdown: str | None = None

    def session_part(self) -> tuple[Any, ...]:
        """What cannot change without a new session."""
        return (
            self.address, self.asn, self.port, self.local_address, self.interface, self.passive, self.families,
            self.hold_time, self.connect_retry, self.delay_open, self.password, self.ttl_security, self.multihop,
            self.client, self.restart,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfig:
    """install: whether routes go to the kernel at all; protocol: how they are marked there."""

    install: bool = True
    protocol: Literal["bgp", "bird"] = "bgp"
    table: int = 254
    metric: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNetwork:
    """A prefix that we originate, with its attributes."""

    prefix: Network
    attrs: Attrs
    blackhole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything. listen: (address, port); restart_time: seconds, 0 without graceful restart; stale_time: seconds."""

    name: str
    asn: int
    router_id: IPv4Address
    cluster: IPv4Address
    listen: tuple[tuple[Address, int], ...] = ()
    multipath: int = 1
    multipath_relax: bool = False
    always_compare_med: bool = False
    compare_router_id: bool = False
    kernel: KernelConfig = field(default_factory=KernelConfig)
    restart_time: int = 120
    stale_time: int = 180
    networks: tuple[LocalNetwork, ...] = ()
    peers: tuple[PeerConfig, ...] = ()


def load(path: Path) -> Config:
    """Read a file. InputError with every problem, each with its line."""
    return of(load_yaml(path))


def loads(text: str, name: str = "config") -> Config:
    """From text. InputError."""
    return of(parse(text, name))


def of(document: Document) -> Config:
    """From a parsed document. InputError."""
    return _Reading(document).config()


class _Reading:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.file = validated(ConfigFile, document)
        self.problems: list[Problem] = []
        self.lists: dict[str, PrefixList] = {}

    def problem(self, location: Iterable[str | int], message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(self.document.place(location), message, hint))

    def config(self) -> Config:
        router = self.file.router
        self.lists = {
            name: PrefixList(name, tuple(map(_prefix_rule, rules))) for name, rules in self.file.prefix_lists.items()
        }
        policies = {name: self._policy(name, section) for name, section in self.file.policies.items()}
        for name in _BUILT_IN.keys() & policies:
            self.problem(("policies", name), f"policy {name!r} is built in", "give yours another name")
        peers = [self._peer(i, entry, {**policies, **_BUILT_IN}) for i, entry in enumerate(self.file.peers)]
        self._unique("peers", [p.name for p in peers], "peer", "name")
        self._unique("peers", [(p.address, p.interface) for p in peers], "peer", "address")
        self._unique("networks", [n.prefix for n in self.file.networks], "network", "prefix")
        if self.problems:
            raise InputError(sorted(self.problems))
        restart = router.graceful_restart
        return Config(
            name=router.name,
            asn=router.as_,
            router_id=router.id,
            cluster=router.cluster_id or router.id,
            listen=tuple((entry.address, entry.port) for entry in router.listen),
            multipath=router.multipath,
            multipath_relax=router.multipath_relax,
            always_compare_med=router.always_compare_med,
            compare_router_id=router.compare_router_id,
            kernel=KernelConfig(**router.kernel.model_dump()),
            restart_time=restart.restart_time if restart.enabled else 0,
            stale_time=restart.stale_time,
            networks=tuple(map(_network, self.file.networks)),
            peers=tuple(peers),
        )

    def _unique(self, section: str, values: list[Any], what: str, key: str) -> None:
        seen: dict[Any, int] = {}
        for i, value in enumerate(values):
            if value in seen:
                shown = value[0] if isinstance(value, tuple) else value
                first = self.document.place((section, seen[value]))
                self.problem((section, i), f"{what} {shown} is there twice: its {key} is that of {first}")
            seen.setdefault(value, i)

    def _named(self, table: dict[str, Any], name: str, location: tuple[str | int, ...], what: str) -> Any:
        if name in table:
            return table[name]
        close = difflib.get_close_matches(name, table, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(table)) or 'none'}"
        self.problem(location, f"there is no {what} {name!r}", hint)
        return None

    def _policy(self, name: str, section: PolicySection) -> Policy:
        rules = []
        for i, entry in enumerate(section.rules):
            where = ("policies", name, "rules", i)
            match = self._match(entry.match, where)
            rules.append(Rule(entry.name or str(i + 1), match, _change(entry.set), entry.then))
        return Policy(name, tuple(rules), section.default == "accept")

    def _match(self, m: MatchSection, where: tuple[str | int, ...]) -> Match:
        lists = [self._named(self.lists, n, (*where, "match", "prefix_list"), "prefix list") for n in m.prefix_list]
        span = m.as_path_length
        return Match(
            prefixes=tuple(found for found in lists if found),
            networks=tuple(map(_prefix_rule, m.prefixes)),
            communities=frozenset(m.communities),
            any_community=frozenset(m.any_community),
            no_community=frozenset(m.no_community),
            large=frozenset(m.large_communities),
            extended=frozenset(m.extended_communities),
            path=path_pattern(m.as_path) if m.as_path is not None else None,
            path_contains=frozenset(m.as_path_contains),
            path_length=(span.get("ge", 0), span.get("le", 1 << 16)) if span is not None else None,
            origin_as=frozenset(m.origin_as),
            neighbour_as=frozenset(m.neighbour_as),
            origin=ORIGINS.index(m.origin) if m.origin else None,
            next_hop=tuple(m.next_hop),
            family=_family(m.family) if m.family else None,
            source=m.source,
        )

    def _peer(self, i: int, entry: PeerEntry, policies: dict[str, Policy]) -> PeerConfig:
        external = entry.as_ != self.file.router.as_
        usual = MISSING if external else ALL

        def policy(name: str | None, key: str) -> Policy:
            if name is None:
                return usual
            return self._named(policies, name, ("peers", i, key), "policy") or NONE

        if external and entry.route_reflector_client:
            self.problem(("peers", i), f"peer {entry.address} is external, so it cannot be a route reflector's client")
        families: set[str] = set(entry.families or ()) or {Family.of(entry.address.version).label}
        reason = entry.shutdown if isinstance(entry.shutdown, str) else ("" if entry.shutdown else None)
        return PeerConfig(
            name=entry.name or str(entry.address),
            address=entry.address,
            asn=entry.as_,
            port=entry.port,
            local_address=entry.local_address,
            interface=entry.interface or "",
            passive=entry.passive,
            families=tuple(f for f in Family if f.label in families),
            hold_time=entry.hold_time,
            connect_retry=entry.connect_retry,
            delay_open=entry.delay_open,
            password=entry.password,
            ttl_security=entry.ttl_security,
            multihop=entry.multihop,
            import_policy=policy(entry.import_, "import"),
            export_policy=policy(entry.export, "export"),
            client=entry.route_reflector_client,
            next_hop_self=entry.next_hop_self,
            next_hops=tuple(sorted(((_family(n), a) for n, a in entry.next_hop.items()), key=lambda x: x[0].afi)),
            allow_own_as=entry.allow_own_as,
            enforce_first_as=entry.enforce_first_as,
            max_prefixes=entry.max_prefixes,
            restart=entry.graceful_restart and self.file.router.graceful_restart.enabled,
            shutdown=reason,
        )


def _family(name: str) -> Family:
    return Family.IPV4 if name == "ipv4" else Family.IPV6


def _prefix_rule(entry: PrefixRuleEntry) -> PrefixRule:
    assert entry.ge is not None and entry.le is not None
    return PrefixRule(entry.prefix, entry.ge, entry.le, entry.permit)


def _network(entry: Any) -> LocalNetwork:
    attrs = Attrs().with_(
        origin=ORIGINS.index(entry.origin),
        med=entry.med,
        local_pref=entry.local_pref,
        communities=tuple(sorted(entry.communities)),
        large=tuple(sorted(entry.large_communities)),
        extended=tuple(sorted(entry.extended_communities)),
        next_hop=entry.next_hop,
    )
    return LocalNetwork(prefix=entry.prefix, attrs=attrs, blackhole=entry.blackhole)


def _change(s: SetSection) -> Change:
    return Change(
        local_pref=s.local_pref,
        med=-1 if s.med == "none" else s.med,
        origin=ORIGINS.index(s.origin) if s.origin else None,
        prepend=s.prepend,
        prepend_path=tuple(s.prepend_path),
        communities=s.communities,
        add_communities=tuple(s.add_communities),
        remove_communities=frozenset(s.remove_communities),
        large=s.large_communities,
        add_large=tuple(s.add_large_communities),
        remove_large=frozenset(s.remove_large_communities),
        extended=s.extended_communities,
        add_extended=tuple(s.add_extended_communities),
        remove_extended=frozenset(s.remove_extended_communities),
        next_hop=s.next_hop,
    )
