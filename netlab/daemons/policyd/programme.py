"""A node's policies in its kernel: from a cluster's objects to what is there, in steps, and whole for a repair.

Everything here waits for the kernel; the agent calls it beside its event loop, one call at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from netlab.base.errors import KernelError
from netlab.compile.frontends import LASTING
from netlab.compile.objects import Name, NetworkPolicy, Objects
from netlab.compile.policies_iptables import (
    EGRESS,
    ENTRY,
    INGRESS,
    PolicyCompiler,
    PolicyConfig,
    pod_chain,
    policy_chain,
)
from netlab.compile.policies_steps import Owners, in_order, left, moved, opened, owners
from netlab.compile.proxier import merged_steps
from netlab.compile.proxying import Family
from netlab.compile.rules import families_of
from netlab.model import Chain, HostState, Item
from netlab.model.diff import Op
from netlab.model.flows import Flow
from netlab.model.item import Key

_POLICY_CHAIN = re.compile(r"NETPOL-(?:IN|EG)-[A-Z2-7]{16}")
_NUMBER = re.compile(r"\[(\d+)\]$")


class Network(Protocol):
    """This node's kernel, in the name of the policy agent."""

    def claimed(self) -> HostState:
        """What was asked for last, by this process or the one before it."""

    def apply(self, wanted: HostState) -> list[Op]:
        """Make it so, whatever is there."""

    def step(self, gone: Collection[Item], new: Collection[Item]) -> list[Op]:
        """Make a change, knowing what was."""

    def flows(self, family: Family, protocol: str) -> list[Flow]:
        """The tracked connections."""

    def forget(self, flows: Iterable[Flow]) -> int:
        """Delete tracked connections; returns how many were still there."""

    def counts(self, family: Family) -> dict[str, list[int]]:
        """By chain of the filter table, the packets of its rules in their order."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One counter. what: allowed (a rule of a policy), dropped (at a pod's door), held (no pod is known)."""

    what: str
    family: int
    namespace: str = ""
    name: str = ""
    direction: str = ""
    rule: str = ""
    packets: int = 0


class Programme:
    """What is asked for, and the kernel that is to hold it. config: without what the objects say."""

    def __init__(self, network: Network, config: PolicyConfig) -> None:
        self.network, self._given = network, config
        self.objects = Objects()
        self._config = config
        self._compilers: dict[Family, PolicyCompiler] = {}
        self._owners: Owners = {}
        #: whether the kernel has taken all that was asked for
        self.obeyed = False
        #: policies that the kernel refuses, and why
        self.refused: dict[Name, str] = {}
        self._refused_as: dict[Name, NetworkPolicy] = {}

    @property
    def problems(self) -> list[str]:
        """What is not as its objects ask for, and whom that concerns."""
        found = [problem for compiler in self._compilers.values() for problem in compiler.problems]
        refused = (
            f"NetworkPolicy {n[0]}/{n[1]}: the kernel refuses its rules: {why}" for n, why in self.refused.items()
        )
        return sorted({*found, *refused})

    def follow(self, objects: Objects) -> list[Op]:
        """Have the kernel hold what these objects say. KernelError, and the next `mend` tries again."""
        self.objects = objects
        known = {policy.key: policy for policy in objects.policies}
        for name, as_it_was in list(self._refused_as.items()):
            if known.get(name) != as_it_was:  # it may be taken now
                del self._refused_as[name], self.refused[name]
        return self._patiently(self._step)

    def mend(self) -> list[Op]:
        """Have the kernel hold it, whatever it holds now."""
        if self.obeyed:
            return self.network.apply(self.state())
        return self._patiently(self._whole)

    def _patiently(self, work: Callable[[], list[Op]]) -> list[Op]:
        """Leave out what the kernel refuses, as long as it says what that is."""
        while True:
            try:
                return work()
            except KernelError as e:
                name = self._culprit(e)
                if name is None or name in self.refused:
                    raise
                self.refused[name] = e.message
                self._refused_as[name] = next(p for p in self.objects.policies if p.key == name)
                work = self._whole

    def _culprit(self, error: KernelError) -> Name | None:
        found = _POLICY_CHAIN.search(f"{error.item} {error.message}")
        chains = {policy_chain(p, d): p.key for p in self.objects.policies for d in (INGRESS, EGRESS)}
        return chains.get(found[0]) if found else None

    # -- compiling

    def _compile(self) -> None:
        """Into the compilers; after a change of what all of them depend on, into new ones, which begin from nothing."""
        objects, given = self.objects, self._given
        here = next((node for node in objects.nodes if node.name == given.node), None)
        hold = given.hold or (here.pod_cidrs if here and not given.devices else ())
        config = replace(given, hold=hold, blinded=frozenset(self.refused))
        ips = [ip for pod in objects.pods for ip in pod.ips]
        # devices hold pods of the families that the node has, from the first on
        own = here.ips if here and given.devices else ()
        wanted: set[Family] = {*self._compilers, *families_of([*ips, *hold, *own])}
        if config != self._config or wanted != set(self._compilers):
            self._config, self.obeyed = config, False
            self._compilers = {family: PolicyCompiler(config, family) for family in sorted(wanted)}
        for compiler in self._compilers.values():
            compiler.load(objects)

    def state(self) -> HostState:
        """Everything that was asked for last."""
        items: dict[Key, Item] = {}
        for compiler in self._compilers.values():
            items.update((item.order, item) for item in compiler.state())
        return HostState(tuple(items[order] for order in sorted(items)))

    # -- the kernel

    def _step(self) -> list[Op]:
        self._compile()
        if not self.obeyed:
            return self._whole()
        after = owners(self.objects, self._config.node)
        compilers = self._compilers.values()
        standing = [compiler.gate for compiler in compilers if compiler.gate is not None]
        steps = in_order(merged_steps(c.step() for c in compilers), moved(self._owners, after), standing)
        self.obeyed = False
        ops = [op for step in steps if step for op in self.network.step(step.gone, step.new)]
        self._settle(after)
        return ops

    def _whole(self) -> list[Op]:
        self._compile()
        after = owners(self.objects, self._config.node)
        for compiler in self._compilers.values():
            compiler.step()
        first, rest = opened(self.state(), self.network.claimed(), moved(self._owners, after))
        self.obeyed = False
        ops = self.network.apply(first)
        if rest:
            ops += self.network.step(rest.gone, rest.new)
        self._settle(after)
        return ops

    def _settle(self, after: Owners) -> None:
        """The kernel has taken it all. What a pod's clients and servers had with it ends with it: who gets its address
        would else be reached past his policies, by whoever has never stopped to send (N20)."""
        gone, self._owners, self.obeyed = left(self._owners, after), after, True
        for family in self._compilers if gone else ():
            for protocol in LASTING:
                flows = self.network.flows(family, protocol)
                self.network.forget(
                    f for f in flows if not gone.isdisjoint(map(str, (f.source, f.address, f.answerer)))
                )

    # -- counters

    def figures(self) -> Iterator[Figure]:
        """What the rules have counted since each was last changed."""
        policies = {policy_chain(p, d): (p.key, d) for p in self.objects.policies for d in (INGRESS, EGRESS)}
        local = {owner.pod for owner in self._owners.values()}
        pods = {pod_chain(*key, d): (key, d) for key in local for d in (INGRESS, EGRESS)}
        for family, compiler in self._compilers.items():
            counts = self.network.counts(family)
            for chain in compiler.state().all(Chain):
                packets = counts.get(chain.name, [])
                if len(packets) != len(chain.rules):
                    continue  # somebody has changed it, which is soon mended
                if chain.name in policies:
                    yield from _allowed(family, chain, packets, *policies[chain.name])
                elif chain.name in pods:
                    (namespace, name), direction = pods[chain.name]
                    yield Figure("dropped", family, namespace, name, direction, packets=packets[-1])
                elif chain.name == ENTRY:
                    held = sum(n for rule, n in zip(chain.rules, packets, strict=True) if "DROP" in rule.args)
                    yield Figure("held", family, packets=held)


def _allowed(family: int, chain: Chain, packets: Iterable[int], key: Name, direction: str) -> Iterator[Figure]:
    found: dict[str, int] = {}
    for rule, count in zip(chain.rules, packets, strict=True):
        number = _NUMBER.search(rule.why)
        if number and "MARK" in rule.args:
            found[number[1]] = found.get(number[1], 0) + count
    for rule_number, count in found.items():
        yield Figure("allowed", family, *key, direction, rule_number, count)
