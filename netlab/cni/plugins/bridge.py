"""a cable from the container to a bridge on the host, as docker0 has them.

    {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": true,
     "hairpinMode": true, "mtu": 1450, "portIsolation": false, "ipam": {"type": "host-local", …}}

The bridge, its addresses and forwarding are the network's and stay; cable and masquerading are the container's and go
with it. A bridge that is there already is used as it is. promiscMode, VLANs and macspoofchk are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from typing import Literal

from netlab.base.addresses import Interface as IpInterface
from netlab.base.addresses import default_network, derived_mac, parse_mac
from netlab.cni.errors import CniError, Code
from netlab.cni.machine import HOST, Machine
from netlab.cni.plugins import addressing
from netlab.cni.plugins.owned import Owned
from netlab.cni.protocol import Call
from netlab.cni.result import Dns, Interface, Ip, Result, Route
from netlab.model import Address, Bridge, BridgePort, Chain, HostState, IptablesRule, Item, Link, Sysctl, Veth
from netlab.model import Route as HostRoute

DEFAULT_BRIDGE = "cni0"
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_REFUSED = ("promiscMode", "vlan", "vlanTrunk", "macspoofchk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The fields, read."""

    bridge: str
    gateway: bool
    default_gateway: bool
    force_address: bool
    masquerade: bool
    mtu: int
    hairpin: bool
    isolated: bool
    mac: str | None

    @classmethod
    def of(cls, call: Call) -> Config:
        """CniError for a field that makes no sense, or that is not supported."""
        f = call.config
        call.refuse(*_REFUSED)
        default = f.flag("isDefaultGateway")
        mac = call.runtime.text("mac") or f.inner("args").inner("cni").text("mac") or call.args.get("MAC", "")
        try:
            parsed = parse_mac(mac) if mac else None
        except ValueError as e:
            raise CniError(Code.CONFIG, f"mac: {e}") from e
        return cls(
            bridge=f.text("bridge") or DEFAULT_BRIDGE, gateway=f.flag("isGateway") or default, default_gateway=default,
            force_address=f.flag("forceAddress"), masquerade=f.flag("ipMasq"), mtu=f.number("mtu", high=65535),
            hairpin=f.flag("hairpinMode"), isolated=f.flag("portIsolation"), mac=parsed,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """network: of all containers, on the host; host: this container's part of it; pod: in its own namespace."""

    network: HostState
    host: HostState
    pod: HostState
    result: Result


class BridgePlugin(Owned):
    """Addresses come from the plugin that `ipam` names; without one it is a switch and nothing else."""

    def add(self, call: Call, machine: Machine) -> Result:
        config = Config.of(call)
        seen = machine.see(HOST) or HostState()
        with addressing.addresses(call, machine) as given:
            wanted = decide(call, config, given, seen)
            machine.share(call.network, call.plugin, wanted.network)
            machine.apply(call.owner, {HOST: wanted.host, call.netns: wanted.pod})
        return wanted.result

    def delete(self, call: Call, machine: Machine) -> None:
        machine.release(call.owner)
        addressing.release(call, machine)

    def check(self, call: Call, machine: Machine) -> None:
        addressing.check(call, machine)
        super().check(call, machine)

    def status(self, call: Call, machine: Machine) -> None:
        Config.of(call)
        addressing.status(call, machine)

    def gc(self, call: Call, machine: Machine) -> None:
        super().gc(call, machine)
        addressing.collect(call, machine)


def device_name(container_id: str, ifname: str) -> str:
    """The host's end of a container's cable."""
    return "veth" + hashlib.sha256(f"{container_id}\0{ifname}".encode()).hexdigest()[:11]


def decide(call: Call, config: Config, given: Result, seen: HostState) -> Wanted:
    """The whole of an ADD. given: by the address plugin; seen: the host as it is. CniError if it cannot be."""
    why, cable = call.why, device_name(call.container_id, call.ifname)
    ips = tuple(_with_gateway(ip, config) for ip in given.ips)
    bridge = _bridge(call, config, seen)
    bridge_mac, mtu = bridge.mac or "", config.mtu or 1500
    mac = config.mac or derived_mac("cni", call.network, call.container_id, call.ifname)
    port = BridgePort(hairpin=config.hairpin, isolated=config.isolated)
    host: list[Item] = [
        Link(name=cable, kind=Veth(call.ifname, call.netns), mtu=mtu, master=config.bridge, port=port, why=why,
             mac=derived_mac("cni host", call.network, call.container_id, call.ifname)),
    ]  # fmt: skip
    if config.masquerade:
        host += [item for ip in ips for item in _masquerade(call, ip.address)]
    pod: list[Item] = [Link(name=call.ifname, kind=Veth(cable, HOST), mtu=mtu, mac=mac, why=why)]
    pod += [Address(dev=call.ifname, address=ip.address, why=why) for ip in ips]
    routes = _routes(config, given.routes, ips)
    pod += [HostRoute(dst=r.dst, via=r.via, dev=call.ifname, mtu=int(r.more.get("mtu", 0)), why=why) for r in routes]
    sandboxed = len((bridge, cable))
    result = Result(
        interfaces=(
            Interface(name=config.bridge, mac=bridge_mac),
            Interface(name=cable, mac=str(host[0].mac) if isinstance(host[0], Link) else ""),
            Interface(name=call.ifname, mac=mac, sandbox=call.netns, mtu=mtu),
        ),
        ips=tuple(replace(ip, interface=sandboxed) for ip in ips),
        routes=routes,
        dns=given.dns if given.dns != Dns() else Dns.of(call.config.inner("dns")),
    )
    network = HostState.of(_network(call, config, bridge, ips, seen))
    return Wanted(network, HostState.of(host), HostState.of(pod), result)


def _with_gateway(ip: Ip, config: Config) -> Ip:
    """A bridge that is the gateway has the subnet's first address, unless the address plugin says another."""
    if ip.gateway is None and config.gateway:
        return replace(ip, gateway=ip.address.network.network_address + 1)
    return ip


def _bridge(call: Call, config: Config, seen: HostState) -> Link:
    """The bridge as it is, or as it is to be made."""
    there = seen.link(config.bridge)
    if there is None:
        # a bridge without a MAC of its own takes the lowest of its ports', and changes it as they come and go
        mac = derived_mac("cni bridge", call.network, config.bridge)
        why = f"network {call.network}: the bridge of its containers"
        return Link(name=config.bridge, kind=Bridge(), mtu=config.mtu, mac=mac, why=why)
    if not isinstance(there.kind, Bridge):
        raise CniError(
            Code.CONFIG, f"{config.bridge} is there and is no bridge", "give `bridge` another name in the configuration"
        )
    return there


def _network(call: Call, config: Config, bridge: Link, ips: tuple[Ip, ...], seen: HostState) -> Iterator[Item]:
    why = f"network {call.network}"
    # a bridge that was there before anybody of ours is left as it is
    yield replace(bridge, up=True, why=bridge.why or why)
    if not config.gateway:
        return
    for ip in ips:
        if ip.gateway is None:
            continue
        version = ip.address.version
        wanted = ip_interface(f"{ip.gateway}/{ip.address.network.prefixlen}")
        others = [
            a for a in seen.all(Address)
            if a.dev == config.bridge and a.address != wanted and a.scope == "global"
            and a.address.network.overlaps(wanted.network) and a.address.version == version
        ]  # fmt: skip
        if others and not config.force_address:
            raise CniError(
                Code.CONFIG, f"{config.bridge} has {others[0].address}, expected the gateway's {wanted}",
                f"ip address del {others[0].address} dev {config.bridge}, or forceAddress",
            )  # fmt: skip
        yield Address(dev=config.bridge, address=wanted, why=f"{why}: the gateway of its containers")
        forwarding = "net/ipv4/ip_forward" if version == 4 else "net/ipv6/conf/all/forwarding"
        yield Sysctl(name=forwarding, value="1", why=f"{why}: the host is its containers' router")


def _routes(config: Config, given: tuple[Route, ...], ips: tuple[Ip, ...]) -> tuple[Route, ...]:
    """The container's routes, each with its way."""
    gateways = {ip.address.version: ip.gateway for ip in reversed(ips) if ip.gateway}
    routes = {r.dst: replace(r, via=r.via or gateways.get(r.dst.version)) for r in given}
    if config.default_gateway:
        for version, gateway in gateways.items():
            default = default_network(version)
            routes.setdefault(default, Route(dst=default, via=gateway))
    return tuple(routes.values())


def _masquerade(call: Call, address: IpInterface) -> Iterator[Chain]:
    """What the container sends beyond its subnet leaves with the host's address."""
    family: Literal[4, 6] = 4 if address.version == 4 else 6
    digest = hashlib.sha256(f"{call.network}\0{call.container_id}\0{call.ifname}\0{family}".encode()).hexdigest()
    chain, why = f"CNI-{digest[:24]}", call.why
    rules = (
        IptablesRule.of(f"-d {address.network} -j ACCEPT", why=f"{why}: neighbours see its own address"),
        IptablesRule.of(
            f"! -d {_MULTICAST[family]} -j MASQUERADE", why=f"{why}: nobody outside has a way back to a container"
        ),
    )
    jump = IptablesRule.of(f"-s {ip_network(address.ip)} -j {chain}", why=why)
    yield Chain(family=family, table="nat", name="POSTROUTING", rules=(jump,), why=why)
    yield Chain(family=family, table="nat", name=chain, rules=rules, why=why)


PLUGIN = BridgePlugin()
