"""What a cluster is asked to be, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from netlab.base.clusters import (
    CONTROL_PLANE,
    NAME_MAX,
    NETWORKS,
    NODE_GRACE,
    NODE_GRACE_MIN,
    NODES_MAX,
    PROXIES,
    STORES,
    NetworkName,
    ProxyMode,
    StoreKind,
    node_name,
    outside_problem,
)
from netlab.base.errors import InputError, Problem
from netlab.base.names import label_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A machine beyond the wire between the nodes, which is none of them. serve: (port, protocol) of a small web
    server that runs there."""

    address: str
    serve: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """nodes: by name, the number from which its addresses follow; 0 is the control plane. It keeps its number as long
    as it is there, whoever else comes and goes. node_monitor_grace_period: seconds that a node may be silent before its
    pods are given up. outside: machines by name, those of a lab."""

    name: str
    nodes: dict[str, int] = field(default_factory=dict)
    network: NetworkName = "flannel-vxlan"
    proxy: ProxyMode = "iptables"
    store: StoreKind = "sqlite"
    ipv6: bool = False
    node_monitor_grace_period: int = NODE_GRACE
    outside: dict[str, Outside] = field(default_factory=dict)

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Options:
        """What the journal has kept."""
        outside = {
            name: Outside(address=machine["address"], serve=tuple((port, what) for port, what in machine["serve"]))
            for name, machine in data.get("outside", {}).items()
        }
        return cls(**{**data, "outside": outside})

    def as_json(self) -> dict[str, Any]:
        """What the journal keeps."""
        return asdict(self)


def options(name: str, *, count: int = 3, **given: Any) -> Options:
    """A cluster of so many nodes. InputError with all that is wrong."""
    problems: list[Problem] = []
    wrong = label_problem(name, what="cluster name", limit=NAME_MAX)
    if wrong:
        problems.append(Problem("NAME", wrong))
    if not 1 <= count <= NODES_MAX:
        problems.append(Problem("--nodes", f"{count} nodes: expected 1 to {NODES_MAX}"))
    for option, known in (("network", NETWORKS), ("proxy", PROXIES), ("store", STORES)):
        if option in given and given[option] not in known:
            problems.append(Problem(f"--{option}", f"{given[option]!r} is none of {', '.join(known)}"))
    grace = given.get("node_monitor_grace_period", NODE_GRACE)
    if grace < NODE_GRACE_MIN:
        wrong = f"{grace} s: expected at least {NODE_GRACE_MIN}"
        problems.append(Problem("--node-monitor-grace-period", wrong))
    if given.get("ipv6") and given.get("network") == "flannel-udp":
        hint = "flannel-vxlan, flannel-host-gw and calico carry both families"
        problems.append(Problem("--ipv6", "flannel-udp carries IPv4 only", hint))
    outside = given.get("outside", ())
    problems += [Problem(f"outside {each}", wrong) for each in outside if (wrong := outside_problem(each))]
    if problems:
        raise InputError(problems)
    return Options(name=name, nodes={node_name(i): i for i in range(count)}, **given)


def with_node(asked: Options) -> tuple[Options, str]:
    """One more node, with the first number that is free. InputError if there is none."""
    free = next((n for n in range(1, NODES_MAX) if n not in asked.nodes.values()), None)
    if free is None:
        raise InputError(f"cluster {asked.name} has {NODES_MAX} nodes already, which is the most")
    return _changed(asked, {**asked.nodes, node_name(free): free}), node_name(free)


def without_node(asked: Options, node: str) -> Options:
    """One node less. InputError for the control plane, and for one that is not there."""
    check_node(asked, node)
    if node == CONTROL_PLANE:
        raise InputError(
            "the control plane cannot be removed: the cluster would be gone", hint=f"netlab cluster down {asked.name}"
        )
    return _changed(asked, {name: n for name, n in asked.nodes.items() if name != node})


def check_node(asked: Options, node: str) -> None:
    """InputError unless the cluster has it."""
    if node not in asked.nodes:
        hint = f"it has {', '.join(asked.nodes)}"
        raise InputError([Problem(node, f"cluster {asked.name!r} has no node {node!r}", hint)])


def _changed(asked: Options, nodes: dict[str, int]) -> Options:
    return replace(asked, nodes=dict(sorted(nodes.items(), key=lambda pair: pair[1])))
