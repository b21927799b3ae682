"""NetworkPolicies to iptables and ipsets, for the pods of one node.

filter FORWARD → NETPOL-FORWARD: answers pass; a packet from or to an isolated pod of this node goes through that pod's
chain, NETPOL-TX-… (egress) or NETPOL-RX-… (ingress), which asks the chain of each policy, NETPOL-EG-… or NETPOL-IN-…,
and drops what none of them has marked. A policy is judged after DNAT and before SNAT (N17). Pods are matched by address
and not by device, so the same rules hold for pods on a bridge (with net.bridge.bridge-nf-call-iptables) and for routed
ones. Only where a node has no prefix of its own are pods that nobody knows yet held back by their devices.

What a node sends to its own pods and they to it passes INPUT and OUTPUT, which have no rules here (N14). Selected pods
are in sets named by their selector, which policies share: a pod that comes or goes changes sets and its own chains.
Facts: networking.k8s.io/v1 NetworkPolicy, the API reference of 1.30.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from netlab.compile.objects import (
    LABEL_NAMESPACE,
    Name,
    NetworkPolicy,
    Objects,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Selector,
)
from netlab.compile.proxier import Step
from netlab.compile.proxying import Family
from netlab.compile.services_iptables import base32
from netlab.model import Chain, HostState, Ipset, IptablesRule, Item, Sysctl
from netlab.model.item import Key

ENTRY = "NETPOL-FORWARD"
#: bit 17: a policy allows the packet that is looked at. Bits 14 and 15 are the proxy's
ALLOWED = "0x20000/0x20000"
_CLEAR = "0x0/0x20000"
_rule = IptablesRule.trusted

INGRESS, EGRESS = "ingress", "egress"
_POLICY_CHAIN = {INGRESS: "NETPOL-IN-", EGRESS: "NETPOL-EG-"}
_POD_CHAIN = {INGRESS: "NETPOL-RX-", EGRESS: "NETPOL-TX-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """How a node's policies are kept.

    hold: prefixes of the node's pods: an address in them that no pod is known to have is cut off, so that a new pod is
    isolated before its first packet (N19). devices: hold pods by the node's ends of their cables (`cali+`): with
    Calico's IPAM addresses do not tell on which node a pod is. bridged: pods hang on a bridge, whose packets must pass
    iptables. set_size: entries that a set has room for. blinded: policies whose rules the kernel refuses: they isolate,
    and allow nobody.
    """

    node: str
    hold: tuple[str, ...] = ()
    devices: str = ""
    bridged: bool = False
    owner: str = "policy"
    set_size: int = 65536
    blinded: frozenset[Name] = frozenset()


def digest(*parts: str) -> str:
    """16 letters that stand for a name; parts are told apart."""
    return base32(sha256("\0".join(parts).encode()).digest())


class PolicyCompiler:
    """One node's policies in one family. `load` takes the cluster as it is; `step` says what has changed."""

    def __init__(self, config: PolicyConfig, family: Family) -> None:
        self.config, self.family = config, family
        self._items: dict[Key, Item] = {}
        self._told: dict[Key, Item] = {}
        #: compiled chains by policy object and direction: policies stay the same objects while they do not change
        self._cache: dict[tuple[int, str], tuple[NetworkPolicy, Chain, tuple[Wanted, ...]]] = {}
        #: what could not be done as asked for; whoever is concerned is not let through
        self.problems: tuple[str, ...] = ()
        #: the set of known addresses, if something is held
        self.gate: Ipset | None = None

    def load(self, objects: Objects) -> None:
        """Compile a cluster. Chains of policies that are the same objects as before are not compiled again."""
        compilation = _Compilation(self.config, self.family, objects, self._cache)
        made = compilation.items()
        self.problems = tuple(sorted(compilation.problems))
        kept = self._items
        self._items = {}
        self.gate = None
        for item in made:
            old = kept.get(item.order)
            item = old if old is not None and old == item else item
            self._items[item.order] = item
            if isinstance(item, Ipset) and item.name == known_set(self.family):
                self.gate = item
        alive = {id(policy) for policy in objects.policies}
        self._cache = {key: value for key, value in self._cache.items() if key[0] in alive}

    def step(self) -> Step:
        """What has changed since the last step; the first brings everything."""
        gone = [item for order, item in self._told.items() if self._items.get(order) is not item]
        new = [item for order, item in self._items.items() if self._told.get(order) is not item]
        self._told = dict(self._items)
        return Step(tuple(gone), tuple(new))

    def state(self) -> HostState:
        """Everything as a value."""
        return HostState(tuple(self._items[order] for order in sorted(self._items)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A set that a chain refers to. kind: pods (of `selector`), port (of the name and protocol), block."""

    name: str
    kind: str
    selector: Peer | None = None
    namespace: str = ""
    port: tuple[str, str] = ("", "")


class _Compilation:
    """One look at the whole cluster."""

    def __init__(
        self,
        config: PolicyConfig,
        family: Family,
        objects: Objects,
        cache: dict[tuple[int, str], tuple[NetworkPolicy, Chain, tuple[Wanted, ...]]],
    ) -> None:
        self.config, self.family, self.objects, self.cache = config, family, objects, cache
        self.labels = objects.namespace_labels()
        #: (pod, its address in this family) of those that are peers: not the node's own, not finished (N15, N18)
        self.pods = [(p, ip) for p in objects.pods if not p.host_network and not p.finished and (ip := self._ip(p))]
        self.by_namespace: dict[str, list[tuple[Pod, str]]] = {}
        for pod, ip in self.pods:
            self.by_namespace.setdefault(pod.namespace, []).append((pod, ip))
        self.host = "/32" if family == 4 else "/128"
        self.problems: set[str] = set()

    def _ip(self, pod: Pod) -> str | None:
        return next((ip for ip in pod.ips if (":" in ip) == (self.family == 6)), None)

    def items(self) -> list[Item]:
        config = self.config
        local = [(pod, ip) for pod, ip in self.pods if pod.node == config.node]
        selecting = self._policies_of(local)
        entry: list[IptablesRule] = [
            _rule("-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", "policies: answers pass")
        ]
        if self.family == 6:
            # neighbours on a bridge find each other by packets that pass its filter, too; IPv4's ARP does not
            for kind in ("133", "134", "135", "136"):
                line = f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN"
                entry.append(_rule(line, "policies: neighbour discovery is no traffic"))
        chains: dict[str, Chain] = {}
        sets: dict[str, Wanted] = {}
        users: dict[str, NetworkPolicy] = {}
        jumps: dict[str, list[IptablesRule]] = {EGRESS: [], INGRESS: []}
        for pod, ip in local:
            for direction in (EGRESS, INGRESS):
                policies = [p for p in selecting[pod.key] if getattr(p, direction) is not None]
                if not policies:
                    continue
                for policy in policies:
                    chain, wanted = self._policy(policy, direction)
                    chains[chain.name] = chain
                    for one in wanted:
                        sets[one.name] = one
                        users.setdefault(one.name, policy)
                own = self._pod(pod, ip, direction, policies)
                chains[own.name] = own
                side = "-s" if direction == EGRESS else "-d"
                jumps[direction].append(
                    _rule(f"{side} {ip}{self.host} -j {own.name}", f"{pod}: isolated for {direction}")
                )
        out: list[Item] = []
        if config.hold or config.devices:
            known = known_set(self.family)
            out.append(self._set(known, "hash:ip", [ip for _, ip in local], "policies: pods that are known here"))
            for out_of, into in self._held():
                for match, word in ((out_of, "src"), (into, "dst")):
                    line = f"{match} -m set ! --match-set {known} {word} -j DROP"
                    entry.append(_rule(line, "policies: a pod that is not known yet is held back"))
        entry += jumps[EGRESS] + jumps[INGRESS]
        out += [self._fitting(self._filled(wanted), users[wanted.name]) for wanted in sets.values()]
        out += chains.values()
        out.append(self._chain(ENTRY, entry, "policies: what passes through this node"))
        out.append(self._chain("FORWARD", [_rule(f"-j {ENTRY}", "policies: way into their chains")], "policies"))
        if config.bridged:
            name = f"net/bridge/bridge-nf-call-ip{'6' if self.family == 6 else ''}tables"
            out.append(Sysctl(name=name, value="1", owner=config.owner, why="policies hold between pods of one bridge"))
        return out

    def _held(self) -> list[tuple[str, str]]:
        """Matches of what comes from a pod of this node, and of what goes to one."""
        if self.config.devices:
            return [(f"-i {self.config.devices}", f"-o {self.config.devices}")]
        return [(f"-s {c}", f"-d {c}") for c in self.config.hold if (":" in c) == (self.family == 6)]

    def _chain(self, name: str, rules: Iterable[IptablesRule], why: str) -> Chain:
        return Chain.trusted(self.family, "filter", name, tuple(rules), self.config.owner, why)

    def _policies_of(self, local: list[tuple[Pod, str]]) -> dict[tuple[str, str], list[NetworkPolicy]]:
        by_namespace: dict[str, list[NetworkPolicy]] = {}
        for policy in self.objects.policies:
            by_namespace.setdefault(policy.namespace, []).append(policy)
        return {
            pod.key: [p for p in by_namespace.get(pod.namespace, ()) if p.pods.matches(pod.labels)] for pod, _ in local
        }

    def _pod(self, pod: Pod, ip: str, direction: str, policies: list[NetworkPolicy]) -> Chain:
        why = f"{pod}: isolated for {direction}"
        other = "-d" if direction == EGRESS else "-s"
        rules = [
            _rule(f"{other} {ip}{self.host} -j RETURN", f"{pod}: a pod may always talk to itself"),
            _rule(f"-j MARK --set-xmark {_CLEAR}", f"{why}: nobody has allowed it yet"),
        ]
        for policy in policies:
            rules.append(_rule(f"-j {policy_chain(policy, direction)}", f"{policy} {direction}"))
            rules.append(_rule(f"-m mark --mark {ALLOWED} -j RETURN", f"{policy} {direction}: allowed"))
        names = ", ".join(str(policy) for policy in policies)
        rules.append(_rule("-j DROP", f"{why} by {names}, none of which allows it"))
        return self._chain(pod_chain(pod.namespace, pod.name, direction), rules, why)

    def _policy(self, policy: NetworkPolicy, direction: str) -> tuple[Chain, tuple[Wanted, ...]]:
        known = self.cache.get((id(policy), direction))
        if known is not None:
            return known[1], known[2]
        sets: dict[str, Wanted] = {}
        rules: list[IptablesRule] = []
        listed: tuple[PolicyRule, ...] = getattr(policy, direction) if policy.key not in self.config.blinded else ()
        for number, rule in enumerate(listed):
            why = f"{policy} {direction}[{number}]"
            for text in self._matches(policy, rule, direction, sets):
                line = f"{text} " if text else ""
                rules.append(_rule(f"{line}-j MARK --set-xmark {ALLOWED}", why))
                rules.append(_rule(f"-m mark --mark {ALLOWED} -j RETURN", why))
        chain = self._chain(policy_chain(policy, direction), rules, f"{policy} {direction}")
        self.cache[id(policy), direction] = (policy, chain, tuple(sets.values()))
        return chain, tuple(sets.values())

    def _matches(
        self, policy: NetworkPolicy, rule: PolicyRule, direction: str, sets: dict[str, Wanted]
    ) -> Iterator[str]:
        """Every pair of a peer and a port of one rule, as a match (N10)."""
        side, word = ("-s", "src") if direction == INGRESS else ("-d", "dst")
        peers: Iterable[tuple[str, str]] = [("", "")]
        if rule.peers is not None:
            peers = [found for peer in rule.peers if (found := self._peer(policy, peer, side, word, sets)) is not None]
        for base, match in peers:
            for proto, more in [("", "")] if rule.ports is None else [self._port(p, sets) for p in rule.ports]:
                yield " ".join(part for part in (base, proto, match, more) if part)

    def _peer(
        self, policy: NetworkPolicy, peer: Peer, side: str, word: str, sets: dict[str, Wanted]
    ) -> tuple[str, str] | None:
        """(options of the packet itself, matches) for one peer; None if it is of the other family."""
        if peer.cidr:
            if (":" in peer.cidr) != (self.family == 6):
                return None
            if not peer.excepts:
                network = ipaddress.ip_network(peer.cidr)
                return ("", "") if network.prefixlen == 0 else (f"{side} {network}", "")
            name = f"NETPOL-{self.family}-" + digest("block", peer.cidr, *peer.excepts)
            sets[name] = Wanted(name, "block", peer)
        else:
            space = "" if peer.namespaces is not None else policy.namespace
            name = f"NETPOL-{self.family}-" + digest("pods", space, repr(peer.namespaces), repr(peer.pods))
            sets[name] = Wanted(name, "pods", peer, space)
        return "", f"-m set --match-set {name} {word}"

    def _port(self, port: PolicyPort, sets: dict[str, Wanted]) -> tuple[str, str]:
        """(-p protocol, matches) for one port; a named one is the destination's, by name and protocol (N8)."""
        proto = f"-p {port.protocol}"
        if port.port is None:
            return proto, ""
        if isinstance(port.port, int):
            last = f":{port.end}" if port.end and port.end != port.port else ""
            return proto, f"-m {port.protocol} --dport {port.port}{last}"
        name = f"NETPOL-{self.family}-" + digest("port", port.port, port.protocol)
        sets[name] = Wanted(name, "port", port=(port.port, port.protocol))
        return proto, f"-m set --match-set {name} dst,dst"

    # -- sets

    def _set(self, name: str, kind: str, entries: Iterable[str], why: str) -> Ipset:
        return Ipset(
            name=name, type=kind, family=self.family, maxelem=self.config.set_size, entries=tuple(entries),
            owner=self.config.owner, why=why,
        )  # fmt: skip

    def _fitting(self, found: Ipset, user: NetworkPolicy) -> Ipset:
        """The set, and nothing in it if it has no room for all: what a policy does not allow for sure, it does not."""
        if len(found.entries) <= self.config.set_size:
            return found
        what = found.why.removeprefix("policies: ")
        self.problems.add(
            f"{user}: {what}: {len(found.entries)} entries, and a set has room for {self.config.set_size}: "
            "it allows none of them"
        )
        return replace(found, entries=())

    def _filled(self, wanted: Wanted) -> Ipset:
        peer = wanted.selector
        if wanted.kind == "port":
            name, protocol = wanted.port
            entries = [
                f"{ip},{protocol}:{p.port}"
                for pod, ip in self.pods
                for p in pod.ports
                if p.name == name and p.protocol == protocol
            ]
            return self._set(wanted.name, "hash:ip,port", entries, f"policies: port {name}/{protocol} of every pod")
        assert peer is not None
        if wanted.kind == "block":
            why = f"policies: {peer.cidr} except {', '.join(peer.excepts)}"
            return self._set(wanted.name, "hash:net", block(peer.cidr, peer.excepts), why)
        spaces: Iterable[str] = [wanted.namespace]
        if peer.namespaces is not None:
            spaces = [name for name, labels in self.labels.items() if peer.namespaces.matches(labels)]
        pods = peer.pods or Selector()
        ips = [ip for space in spaces for pod, ip in self.by_namespace.get(space, ()) if pods.matches(pod.labels)]
        return self._set(wanted.name, "hash:ip", ips, f"policies: pods {told(peer, wanted.namespace)}")


def known_set(family: Family) -> str:
    """The name of the set of addresses whose pods are known here, and isolated as far as policies say (N19)."""
    return f"NETPOL-{family}-KNOWN"


def pod_chain(namespace: str, name: str, direction: str) -> str:
    """The name of a pod's chain in one direction."""
    return _POD_CHAIN[direction] + digest(namespace, name)


def policy_chain(policy: NetworkPolicy, direction: str) -> str:
    """The name of a policy's chain in one direction; `a/b-c` and `a-b/c` are two (N16)."""
    return _POLICY_CHAIN[direction] + digest(policy.namespace, policy.name)


def block(cidr: str, excepts: Iterable[str]) -> list[str]:
    """A prefix without others inside it, as entries of a hash:net, in which the longest prefix decides."""
    bits = "/128" if ":" in cidr else "/32"
    network = ipaddress.ip_network(cidr)
    # the set type knows no prefix of length 0
    parts = list(network.subnets(1)) if network.prefixlen == 0 else [network]
    entries = {str(part).removesuffix(bits): "" for part in parts}
    for inner in excepts:
        entries[inner.removesuffix(bits)] = " nomatch"
    return [key + flag for key, flag in entries.items()]


def told(peer: Peer, namespace: str) -> str:
    """A selector in words."""
    spaces = f"of namespace {namespace}" if peer.namespaces is None else f"of namespaces {_words(peer.namespaces)}"
    return f"{_words(peer.pods or Selector())} {spaces}"


def _words(selector: Selector) -> str:
    parts = [f"{k}={v}" for k, v in selector.labels if k != LABEL_NAMESPACE]
    parts += [v for k, v in selector.labels if k == LABEL_NAMESPACE]
    parts += [f"{e.key} {e.operator} {','.join(e.values)}".strip() for e in selector.expressions]
    return ", ".join(parts) or "all"
