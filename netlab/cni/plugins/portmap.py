"""portmap: ports of the host that lead to a container. It stands behind a plugin that has made the interface.

    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}

Who calls from the container's own subnet, or from the host by 127.0.0.1, is masqueraded, because the answer would not
come back the way that it has to; everybody else is seen as who he is. Each container has chains of its own.
conditionsV4, conditionsV6, externalSetMarkChain and other backends than iptables are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from netlab.base.addresses import Address, Network
from netlab.cni.errors import CniError, Code
from netlab.cni.machine import HOST, Machine
from netlab.cni.plugins.owned import Owned
from netlab.cni.protocol import Call
from netlab.cni.result import Result
from netlab.model import Address as OnDevice
from netlab.model import Chain, HostState, IptablesRule, Route, Sysctl

_PROTOCOLS = ("tcp", "udp", "sctp")
_REFUSED = ("conditionsV4", "conditionsV6", "externalSetMarkChain", "masqAll")


@dataclass(frozen=True, slots=True)
class Published:
    """host: the address of the host that is published, None for all."""

    host_port: int
    container_port: int
    protocol: str
    host: Address | None


class Portmap(Owned):
    """What the plugin before it has said goes through it as it is."""

    def add(self, call: Call, machine: Machine) -> Result:
        previous, mappings = call.expected(), read(call)
        if not mappings:
            return previous
        seen = machine.see(HOST) or HostState()
        chains, shared = decide(call, mappings, previous.inside(), seen)
        machine.share(call.network, call.plugin, shared)
        machine.apply(call.owner, {HOST: chains})
        return previous

    def check(self, call: Call, machine: Machine) -> None:
        if read(call):
            super().check(call, machine)


def read(call: Call) -> list[Published]:
    """What the runtime wants published. CniError for what is no mapping."""
    call.refuse(*_REFUSED)
    if call.config.text("backend", "iptables") != "iptables":
        call.refuse("backend")
    found = []
    for f in call.runtime.objects("portMappings"):
        protocol = f.text("protocol", "tcp").lower()
        if protocol not in _PROTOCOLS:
            raise f.wrong("protocol", f"one of {', '.join(_PROTOCOLS)}")
        host_port, container_port = f.number("hostPort", high=65535), f.number("containerPort", high=65535)
        if not host_port:
            continue  # a port that is only declared
        if not container_port:
            raise f.wrong("containerPort", "a port from 1 to 65535")
        host = f.address("hostIP")
        everywhere = host is None or host.is_unspecified
        found.append(Published(host_port, container_port, protocol, None if everywhere else host))
    keys = [(m.host_port, m.protocol, m.host) for m in found]
    if len(set(keys)) < len(keys):
        raise CniError(Code.CONFIG, "portMappings: one port of the host is asked for twice")
    return found


def decide(
    call: Call, mappings: Sequence[Published], addresses: Sequence[Address], seen: HostState
) -> tuple[HostState, HostState]:
    """The container's chains, and what the host needs once for all."""
    chains: list[Chain] = []
    shared: list[Sysctl] = []
    for version in (4, 6):
        to = next((a for a in addresses if a.version == version), None)
        fitting = [m for m in mappings if m.host is None or m.host.version == version]
        if to is None or not fitting:
            continue
        out = _way_to(to, seen)
        if call.config.flag("snat", True) and version == 4 and out.dev:
            shared.append(
                Sysctl(
                    name=f"net/ipv4/conf/{out.dev}/route_localnet", value="1",
                    why=f"network {call.network}: ports published on 127.0.0.1 lead out of the host's lo",
                )
            )  # fmt: skip
        chains += _chains(call, fitting, to, out)
    return HostState.of(chains), HostState.of(shared)


@dataclass(frozen=True, slots=True)
class Way:
    """Over which device the host reaches a container, and which prefix is there. No device: not known."""

    near: Network
    dev: str = ""


def _way_to(address: Address, seen: HostState) -> Way:
    """The longest prefix that has it, among the host's subnets and its routes."""
    ways = [Way(a.address.network, a.dev) for a in seen.all(OnDevice)]
    ways += [Way(r.dst, r.dev) for r in seen.all(Route) if r.dev and r.dst.prefixlen]
    fitting = [w for w in ways if w.near.version == address.version and address in w.near]
    return max(fitting, key=lambda w: w.near.prefixlen, default=Way(ip_network(address)))


def _chains(call: Call, mappings: Sequence[Published], to: Address, out: Way) -> Iterator[Chain]:
    family: Literal[4, 6] = 4 if to.version == 4 else 6
    digest = hashlib.sha256(f"{call.network}\0{call.container_id}\0{call.ifname}".encode()).hexdigest()[:20]
    dnat, snat, why = f"CNI-DN-{digest}", f"CNI-SN-{digest}", call.why

    def rule(text: str, because: str = "") -> IptablesRule:
        return IptablesRule.of(text, why=f"{why}: {because}" if because else why)

    shown = to if family == 4 else f"[{to}]"
    ports = tuple(
        rule(
            (f"-d {m.host} " if m.host else "")
            + f"-p {m.protocol} --dport {m.host_port} -j DNAT --to-destination {shown}:{m.container_port}",
            f"host port {m.host_port}/{m.protocol}",
        )
        for m in mappings
    )
    local = rule(f"-m addrtype --dst-type LOCAL -j {dnat}")
    for builtin in ("PREROUTING", "OUTPUT"):
        yield Chain(family=family, table="nat", name=builtin, rules=(local,), why=why)
    yield Chain(family=family, table="nat", name=dnat, rules=ports, why=why)
    if not call.config.flag("snat", True):
        return
    back = [rule(f"-s {out.near} -j MASQUERADE", "a neighbour or itself: the answer would take the short way")]
    if family == 4:
        back.append(rule("-s 127.0.0.0/8 -j MASQUERADE", "the host itself: nobody answers to 127.0.0.1"))
    jump = rule(f"-d {to} -m conntrack --ctstate DNAT -j {snat}")
    yield Chain(family=family, table="nat", name="POSTROUTING", rules=(jump,), why=why)
    yield Chain(family=family, table="nat", name=snat, rules=tuple(back), why=why)


PLUGIN = Portmap()
