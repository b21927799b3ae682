"""What a proxy was asked to do. Names and defaults are kube-proxy's where it has the option."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netlab.compile.rules import Mode

CLAIMS = Path("/run/netlab/proxy/claims")
HEALTH_PORT = 10256


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """node: its name, by which endpoints are known as local; cluster_cidrs: the pods' prefixes (none: what the nodes'
    podCIDRs say); sync_period: seconds between two looks at whether the kernel still has it all; min_sync_period:
    seconds that two changes of the kernel are apart at least; health: address and port, port 0 for none; this_machine:
    may it be the machine's own network namespace that is changed.
    """

    node: str
    mode: Mode = "iptables"
    cluster_cidrs: tuple[str, ...] = ()
    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True
    scheduler: str = "rr"
    strict_arp: bool = False
    sync_period: float = 30.0
    min_sync_period: float = 1.0
    health: tuple[str, int] = ("0.0.0.0", HEALTH_PORT)
    claims: Path = CLAIMS
    iptables: str | None = None
    this_machine: bool = False
