"""Which subnet a node gets: pure decisions over what the store holds.

The order of preference is flannel's (pkg/subnet/etcd/local_manager.go, v0.28): the lease that has the node's public
address, else the subnet that the node had before, else one of the first hundred free ones, chosen at random so that
nodes which ask at once seldom collide. What the store does about a collision is not decided here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from netlab.base.addresses import Network
from netlab.overlay.config import NetworkConfig, Range
from netlab.overlay.lease import Lease, LeaseAttrs, NoSubnetLeft, Subnet

#: among how many free subnets the choice is made, as the original
CANDIDATES = 100

#: picks one of a sequence that is not empty; tests hand in one without chance
Choose = Callable[[Sequence[int]], int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a node that asks for a subnet has to do: take over `adopt`, or make `create`; exactly one is there.

    drop: leases of this node that no longer fit the network's configuration, to be deleted first.
    """

    adopt: Lease | None
    create: Subnet | None
    drop: tuple[Lease, ...] = ()


def fits(config: NetworkConfig, subnet: Subnet) -> bool:
    """Whether a node may have this subnet under this configuration: families, length and range are right."""
    return all(
        (wanted is None) == (network is None) and (wanted is None or network in wanted)
        for wanted, network in ((config.ipv4, subnet.ipv4), (config.ipv6, subnet.ipv6))
    )


def overlaps(one: Subnet, other: Subnet) -> bool:
    """Whether they have an address in common, in either family; their lengths may differ."""
    return (one.ipv4 is not None and other.ipv4 is not None and one.ipv4.overlaps(other.ipv4)) or (
        one.ipv6 is not None and other.ipv6 is not None and one.ipv6.overlaps(other.ipv6)
    )


def plan(config: NetworkConfig, leases: Mapping[str, Lease], attrs: LeaseAttrs, *, previous: Subnet | None = None,
         taken: Collection[Subnet] = (), choose: Choose = random.choice) -> Plan:  # fmt: skip
    """What the node of `attrs` does. NoSubnetLeft.

    previous: what it had before it was restarted; taken: subnets whose keys are there although their values make no
    sense. A reservation of this node that does not fit is left alone: a person made it, and a person may mend it.
    """
    own = [lease for lease in leases.values() if lease.attrs.same_node(attrs)]
    good = [lease for lease in own if fits(config, lease.subnet)]
    drop = tuple(lease for lease in own if lease not in good and lease.expires is not None)
    if good:
        # of several: the one that its pods are on, else the one that was reserved for it, else always the same
        good.sort(key=lambda lease: (lease.subnet != previous, lease.expires is not None, lease.subnet.key))
        return Plan(good[0], None, drop)
    dropped = {lease.subnet for lease in drop}
    others = [*(lease.subnet for lease in leases.values() if lease.subnet not in dropped), *taken]
    if previous is not None and fits(config, previous) and not any(overlaps(previous, other) for other in others):
        return Plan(None, previous, drop)
    return Plan(None, free(config, others, choose=choose), drop)


def free(config: NetworkConfig, taken: Iterable[Subnet], *, choose: Choose = random.choice) -> Subnet:
    """A subnet that has nothing in common with any of `taken`. The families are chosen independently. NoSubnetLeft."""
    others = list(taken)
    ipv4 = _free(config.ipv4, [s.ipv4 for s in others if s.ipv4], choose) if config.ipv4 else None
    ipv6 = _free(config.ipv6, [s.ipv6 for s in others if s.ipv6], choose) if config.ipv6 else None
    assert ipv4 is None or isinstance(ipv4, IPv4Network)
    assert ipv6 is None or isinstance(ipv6, IPv6Network)
    return Subnet(ipv4, ipv6)


def _free(pool: Range, taken: Sequence[Network], choose: Choose) -> Network:
    spans = _spans(pool, taken)
    candidates: list[int] = []
    at = 0
    for low, high in [*spans, (pool.count, pool.count)]:
        candidates.extend(range(at, min(low, at + CANDIDATES - len(candidates))))
        if len(candidates) >= CANDIDATES:
            break
        at = max(at, high + 1)
    if not candidates:
        raise NoSubnetLeft(
            f"no subnet of length /{pool.length} is left in {pool.network}: all {pool.count} from {pool.first} to "
            f"{pool.last} are taken, by {len(taken)} leases and reservations",
            hint="give the network a larger range, or remove the leases of nodes that are gone",
        )
    return pool.nth(choose(candidates))


def _spans(pool: Range, taken: Sequence[Network]) -> list[tuple[int, int]]:
    """Which numbers of the pool are taken: (first, last), in order. A lease of another length may take several."""
    first, end = int(pool.first), int(pool.last) + pool.step - 1
    spans = []
    for network in taken:
        low, high = max(int(network.network_address), first), min(int(network.broadcast_address), end)
        if low <= high:
            spans.append(((low - first) // pool.step, (high - first) // pool.step))
    return sorted(spans)
