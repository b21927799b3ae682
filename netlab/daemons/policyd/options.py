"""What a policy agent was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLAIMS = Path("/run/netlab/policyd/claims")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """node: its name, by which its pods are known; pod_cidrs: prefixes of the node's pods, in which nobody passes whose
    pod is not known yet (none: what the node's podCIDRs say); devices: pods' at the node, by which
    they are held instead; bridged: pods hang on a bridge; resync: seconds between
    two looks at whether the kernel still has it all; min_sync_period: seconds that two changes of the kernel are apart
    at least; set_size: entries that a set has room for; health: address and
    port, port 0 for none; this_machine: may it be the machine's own network namespace that is changed.
    """

    node: str
    pod_cidrs: tuple[str, ...] = ()
    devices: str = ""
    bridged: bool = False
    resync: float = 5.0
    min_sync_period: float = 0.1
    set_size: int = 65536
    health: tuple[str, int] = ("0.0.0.0", 0)
    claims: Path = CLAIMS
    iptables: str | None = None
    this_machine: bool = False
