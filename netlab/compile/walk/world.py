"""A cluster's nodes with their rules, and packets sent through them.

The network between nodes is taken as it should be: every pod and node is reached with its own address. Order of the
hooks: linux/netfilter_ipv4.h; nftables' base chains stand where their priorities say, IPVS takes packets for this node
behind the filter table (ip_vs_core.c).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from netlab.compile.objects import Node, Objects, Pod
from netlab.compile.walk.iptables import IptablesEngine
from netlab.compile.walk.nft import NftEngine
from netlab.compile.walk.packet import ACCEPT, Dice, Journey, Memory, Outcome, Packet, Step
from netlab.model import Address, HostState, IpvsService

#: iptables' tables at each hook with their priorities (NF_IP_PRI_*)
_TABLES = {
    "prerouting": (("raw", -300), ("mangle", -150), ("nat", -100)),
    "input": (("mangle", -150), ("filter", 0), ("nat", 100)),
    "forward": (("mangle", -150), ("filter", 0)),
    "output": (("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0)),
    "postrouting": (("mangle", -150), ("nat", 100)),
}
#: a chain of rewritings longer than this is a loop
_HOPS_MAX = 8
OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a packet starts or ends: a pod, a node's own processes, or outside. name: `ns/name`, `n1`, an address."""

    kind: Literal["pod", "node", "outside"]
    name: str
    node: str = ""

    def __str__(self) -> str:
        return OUTSIDE if self.kind == "outside" else f"{self.kind} {self.name}"


class _Node:
    def __init__(self, node: Node, state: HostState, family: int) -> None:
        self.name = node.name
        dummies = [str(a.address.ip) for a in state.all(Address)]
        self.ips = [ip for ip in node.ips if (":" in ip) == (family == 6)]
        self.local = frozenset([*self.ips, *dummies])
        self.iptables = IptablesEngine(state, family)
        self.nft = NftEngine(state, family)
        self.ipvs: dict[tuple[str, str, int], IpvsService] = {
            (s.protocol, str(s.address), s.port): s for s in state.all(IpvsService) if s.address.version == family
        }


class World:
    """The nodes of a cluster in one family, with what each has in its kernel. bridged: pods hang on a bridge."""

    def __init__(
        self, objects: Objects, states: Mapping[str, HostState], family: int = 4, *, bridged: bool = False
    ) -> None:
        self.family, self.bridged = family, bridged
        self.nodes = {n.name: _Node(n, states.get(n.name, HostState()), family) for n in objects.nodes}
        self.pods: dict[str, Pod] = {}
        for pod in objects.pods:
            for ip in pod.ips:
                if (":" in ip) == (family == 6) and not pod.host_network and not pod.finished:
                    self.pods[ip] = pod
        self._owners = {ip: node for node in self.nodes.values() for ip in node.ips}

    def ip_of(self, pod: Pod) -> str | None:
        """The pod's address in this family."""
        return next((ip for ip in pod.ips if (":" in ip) == (self.family == 6)), None)

    def outcomes(self, start: Place, packet: Packet, memory: Memory | None = None) -> Iterator[Outcome]:
        """Every way that chance can take, with its probability. The memory is not changed."""
        scripts: list[list[int]] = [[]]
        while scripts:
            script = scripts.pop()
            dice = Dice(script)
            copied = Memory({key: set(names) for key, names in memory.seen.items()}) if memory else Memory()
            outcome = self.walk(start, packet, dice=dice, memory=copied)
            for at in range(len(script), len(dice.thrown)):
                choice, count, _ = dice.thrown[at]
                head = [thrown[0] for thrown in dice.thrown[:at]]
                scripts += [[*head, other] for other in range(count) if other != choice]
            if dice.probability > 0:
                yield outcome

    def walk(self, start: Place, packet: Packet, *, dice: Dice | None = None, memory: Memory | None = None) -> Outcome:
        """Send one packet. From outside it enters the cluster at `start.node`."""
        dice, memory = dice or Dice(), memory or Memory()
        packet = replace(packet)
        steps: list[Step] = []
        if start.kind == "pod" and packet.src == packet.dst:
            return Outcome("delivered", str(start), packet, ())  # it never leaves the pod
        node = self.nodes[start.node]
        journey = Journey(node.name, packet, dice, memory, node.local, node.ips[0] if node.ips else "", steps)
        verdict, where = self._node(journey, node, own=start.kind == "node", pod=start.kind == "pod")
        for _ in range(_HOPS_MAX):
            if verdict != "on":
                break
            following = self.nodes.get(where)
            if following is None:
                verdict = "unroutable"
                break
            # a mark belongs to the node that made it
            packet.mark, packet.bridged = 0, False
            ip = following.ips[0] if following.ips else ""
            journey = Journey(following.name, packet, dice, memory, following.local, ip, steps)
            verdict, where = self._node(journey, following, own=False, pod=False)
        decided = journey.decided if verdict in ("drop", "reject") else ""
        return Outcome(verdict, where, packet, tuple(steps), dice.probability, decided)

    def _node(self, journey: Journey, node: _Node, *, own: bool, pod: bool) -> tuple[str, str]:
        """Pass one node: ("on", next node), or how it ends and where."""
        packet = journey.packet
        packet.bridged = pod and self.bridged
        packet.iif, packet.oif = "" if own else "pod" if pod else "wire", ""
        verdict = self._hook(journey, node, "output" if own else "prerouting")
        if verdict != ACCEPT:
            return verdict, node.name
        if journey.is_local(packet.dst):
            if own:
                verdict = self._hook(journey, node, "postrouting")
            if verdict == ACCEPT:
                verdict = self._hook(journey, node, "input")
            if verdict != ACCEPT:
                return verdict, node.name
            server = node.ipvs.get((packet.protocol, packet.dst, packet.dport))
            if server is None:
                return "delivered", f"node {node.name}"
            if not server.destinations:
                journey.decided = server.why
                journey.steps.append(Step(node.name, "ipvs", str(server), 0, "no destination", server.why, "reject"))
                return "reject", node.name
            count = len(server.destinations)
            chosen = server.destinations[journey.dice.choose([1 / count] * count)]
            host = f"[{chosen.address}]" if self.family == 6 else str(chosen.address)
            journey.rewrite(f"{host}:{chosen.port}")
            effect = f"destination {host}:{chosen.port}"
            journey.steps.append(Step(node.name, "ipvs", str(server), 0, server.scheduler, server.why, effect))
        elif not own:
            verdict = self._hook(journey, node, "forward")
            if verdict != ACCEPT:
                return verdict, node.name
        verdict = self._hook(journey, node, "postrouting")
        if verdict != ACCEPT:
            return verdict, node.name
        return self._leave(journey, node)

    def _leave(self, journey: Journey, node: _Node) -> tuple[str, str]:
        packet = journey.packet
        target = self.pods.get(packet.dst)
        if target is not None:
            if target.node == node.name:
                return "delivered", f"pod {target.namespace}/{target.name}"
            return "on", target.node
        owner = self._owners.get(packet.dst)
        if owner is not None:
            return ("delivered", f"node {node.name}") if owner is node else ("on", owner.name)
        return "delivered", OUTSIDE

    def _hook(self, journey: Journey, node: _Node, hook: str) -> str:
        # nat rules are asked for the first packet of a connection; connection tracking repeats their answer
        nat = journey.packet.state == "NEW"
        stations: list[tuple[int, int, object]] = [
            (priority, 0, table) for table, priority in _TABLES[hook] if nat or table != "nat"
        ]
        stations += [(c.priority, 1, c) for c in node.nft.hooks.get(hook, ()) if nat or c.type != "nat"]
        for _, kind, station in sorted(stations, key=lambda s: s[:2]):
            if kind == 0:
                verdict = node.iptables.hook(journey, str(station), hook.upper())
            else:
                verdict = node.nft.base(journey, station)  # type: ignore[arg-type]
            if verdict != ACCEPT:
                return verdict
        return ACCEPT
