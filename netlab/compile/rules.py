"""All rules of a node out of a cluster's objects: Services in one of three modes, and policies, in every family."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from netlab.compile.gathered import Gathered
from netlab.compile.ipvs_base import DUMMY
from netlab.compile.objects import Node, Objects
from netlab.compile.policies_iptables import PolicyCompiler, PolicyConfig
from netlab.compile.proxying import Family, ProxyConfig
from netlab.compile.services_iptables import IptablesProxier
from netlab.compile.services_ipvs import IpvsProxier
from netlab.compile.services_nft import NftProxier
from netlab.compile.walk.world import World
from netlab.model import Address, HostState
from netlab.model.beside import beside

Mode = Literal["iptables", "ipvs", "nftables"]
Proxiers = IptablesProxier | IpvsProxier | NftProxier
MODES: dict[str, type[IptablesProxier] | type[IpvsProxier] | type[NftProxier]] = {
    "iptables": IptablesProxier,
    "ipvs": IpvsProxier,
    "nftables": NftProxier,
}


def families(objects: Objects) -> list[Family]:
    """The families that the cluster's nodes, pods or Services have addresses of."""
    texts = [ip for n in objects.nodes for ip in n.ips] + [ip for p in objects.pods for ip in p.ips]
    texts += [ip for s in objects.services for ip in s.cluster_ips]
    return families_of(texts)


def local_ips(state: HostState) -> tuple[str, ...]:
    """The addresses of a node, but for those of Services that IPVS mode has put there."""
    return tuple(str(a.address.ip) for a in state.all(Address) if a.dev != DUMMY and a.scope == "global")


def families_of(ips: Iterable[str]) -> list[Family]:
    """The families of addresses: IPv4, if there are none."""
    found: set[Family] = {6 if ":" in ip else 4 for ip in ips}
    return sorted(found) or [4]


def guessed_cluster_cidrs(nodes: Iterable[Node]) -> tuple[str, ...]:
    """The smallest prefix of each family that holds every node's pods: what --cluster-cidr would say."""
    found, nodes = [], list(nodes)
    for version in (4, 6):
        networks = [ipaddress.ip_network(c) for n in nodes for c in n.pod_cidrs if (":" in c) == (version == 6)]
        if not networks:
            continue
        whole = networks[0]
        while not all(n.subnet_of(whole) for n in networks):  # type: ignore[arg-type]
            whole = whole.supernet()
        found.append(str(whole))
    return tuple(found)


def completed(objects: Objects) -> Objects:
    """`objects` with what a running cluster would add: slices, and a node for every name that pods are bound to."""
    gathered = Gathered(implied=True)
    gathered.take(objects.values())
    return gathered.objects()


def proxy_config(objects: Objects, node: Node, given: ProxyConfig | None = None) -> ProxyConfig:
    """A node's proxy, with the rest as in `given`. A node that names no address has all that are local."""
    base = given or ProxyConfig(node=node.name)
    cidrs = base.cluster_cidrs or guessed_cluster_cidrs(objects.nodes)
    return replace(base, node=node.name, node_ips=node.ips or base.local_ips, zone=node.zone, cluster_cidrs=cidrs)


def service_rules(objects: Objects, config: ProxyConfig, mode: Mode, family: Family) -> HostState:
    """One node's Services in one family."""
    proxier = MODES[mode](config, family)
    proxier.load(objects)
    return proxier.state()


def policy_rules(objects: Objects, config: PolicyConfig, family: Family) -> HostState:
    """One node's policies in one family."""
    compiler = PolicyCompiler(config, family)
    compiler.load(objects)
    return compiler.state()


def node_rules(
    objects: Objects,
    node: Node,
    mode: Mode,
    *,
    given: ProxyConfig | None = None,
    policies: bool = True,
    only: Iterable[Family] | None = None,
) -> HostState:
    """Everything that a node's proxy and policy agent would put into its kernel."""
    config = proxy_config(objects, node, given)
    state = HostState()
    for family in only if only is not None else families(objects):
        # the agents are two owners, each with its rules in the built-in chains
        state = beside(state, service_rules(objects, config, mode, family))
        if policies and objects.policies:
            state = beside(state, policy_rules(objects, PolicyConfig(node=node.name), family))
    return state


def world(objects: Objects, mode: Mode, family: Family = 4, *, given: ProxyConfig | None = None) -> World:
    """The whole cluster with every node's rules."""
    states = {node.name: node_rules(objects, node, mode, given=given, only=[family]) for node in objects.nodes}
    return World(objects, states, family)
