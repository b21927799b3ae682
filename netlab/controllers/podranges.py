"""The prefixes that nodes' pods get out of the cluster's: which are taken, and which is next. Pure.

A cluster has one prefix, or one of each family, and every node gets a part of each. A part that was given back is not
the next to be handed out: other nodes may still have routes to its last owner. Refused: two prefixes of one family, and
more than 65,536 parts, as of the original. Source: kubernetes pkg/controller/nodeipam/ipam/cidrset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from netlab.base.addresses import Network, networks_of_families
from netlab.base.errors import InputError, Problem

#: the part of a node, by family of the cluster's prefix
DEFAULT_LENGTHS = {4: 24, 6: 64}
#: bits by which a node's prefix may be longer than the cluster's
MAX_BITS = 16


@dataclass(frozen=True, slots=True)
class ClusterRange:
    """The cluster's prefix, and how long a node's is."""

    network: Network
    length: int

    @property
    def count(self) -> int:
        """How many nodes it is enough for."""
        return int(1 << (self.length - self.network.prefixlen))

    def part(self, number: int) -> Network:
        """The prefix of so many bits with this number, from 0."""
        network = self.network
        first = int(network.network_address) + (number << (network.max_prefixlen - self.length))
        return type(network)((first, self.length))

    def numbers(self, network: Network) -> range:
        """Of the parts that have an address in common with a prefix."""
        if network.version != self.network.version or not network.overlaps(self.network):
            return range(0)
        if network.prefixlen <= self.network.prefixlen:
            return range(self.count)
        shift = network.max_prefixlen - self.length
        start = int(self.network.network_address)
        first = (int(network.network_address) - start) >> shift
        return range(first, ((int(network.broadcast_address) - start) >> shift) + 1)


def cluster_ranges(prefixes: str, lengths: str = "") -> tuple[ClusterRange, ...]:
    """Of `10.244.0.0/16,fd00:10:244::/56`, and `24,64` in the same order if not the usual ones. InputError."""
    problems: list[Problem] = []
    given = [text.strip() for text in lengths.split(",") if text.strip()]
    networks: tuple[Network, ...] = ()
    try:
        networks = networks_of_families(prefixes)
    except ValueError as e:
        problems.append(Problem("--cluster-cidr", str(e), "such as 10.244.0.0/16,fd00:10:244::/56"))
    if given and len(given) != len([text for text in prefixes.split(",") if text.strip()]):
        problems.append(Problem("--node-cidr-mask-size", f"{lengths}: expected one for each of --cluster-cidr"))
    if problems:
        raise InputError(problems)
    found = []
    for number, network in enumerate(networks):
        text = given[number] if given else str(DEFAULT_LENGTHS[network.version])
        longest = min(network.prefixlen + MAX_BITS, network.max_prefixlen - 1)
        if text.isdecimal() and network.prefixlen <= int(text) <= longest:
            found.append(ClusterRange(network, int(text)))
        else:
            expected = f"{text} for {network}: expected {network.prefixlen} to {longest}"
            problems.append(Problem("--node-cidr-mask-size", expected))
    if problems:
        raise InputError(problems)
    return tuple(found)


class Pool:
    """The parts of one prefix. What is held may be no part, or held twice: nodes come with what others gave them."""

    def __init__(self, whole: ClusterRange) -> None:
        self.whole = whole
        self._held: Counter[int] = Counter()
        self._next = 0

    def hold(self, network: Network) -> None:
        """Nobody else is to get any of it."""
        self._held.update(self.whole.numbers(network))

    def release(self, network: Network) -> None:
        """What one `hold` took."""
        for number in self.whole.numbers(network):
            self._held[number] -= 1
            if self._held[number] <= 0:
                del self._held[number]

    def free(self) -> Network | None:
        """The next part that nobody holds, which this does not take; None if there is none."""
        for number in self._in_turn():
            if number not in self._held:
                self._next = (number + 1) % self.whole.count
                return self.whole.part(number)
        return None

    def _in_turn(self) -> Iterator[int]:
        yield from range(self._next, self.whole.count)
        yield from range(self._next)


class Pools:
    """Those of a cluster, and who holds what of them. Holders are named by keys."""

    def __init__(self, ranges: Iterable[ClusterRange]) -> None:
        self._pools = [Pool(whole) for whole in ranges]
        self._held: dict[str, tuple[Network, ...]] = {}

    def of(self, holder: str) -> tuple[Network, ...]:
        """What somebody holds."""
        return self._held.get(holder, ())

    def hold(self, holder: str, networks: Iterable[Network]) -> None:
        """He holds this, and what he held before no more."""
        self.release(holder)
        mine = self._held[holder] = tuple(networks)
        for pool in self._pools:
            for network in mine:
                pool.hold(network)

    def release(self, holder: str) -> None:
        """He holds nothing."""
        for network in self._held.pop(holder, ()):
            for pool in self._pools:
                pool.release(network)

    def take(self, holder: str) -> tuple[Network, ...]:
        """One part of each, which he holds from now on; () if one of them has none left."""
        found = [network for pool in self._pools if (network := pool.free()) is not None]
        if len(found) < len(self._pools):
            return ()
        self.hold(holder, found)
        return tuple(found)


def networks_of(spec: dict[str, object]) -> list[Network]:
    """The prefixes of a node's spec; what is none is left out: nobody can route it."""
    given = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    found: list[Network] = []
    for text in given if isinstance(given, list) else ():
        try:
            found.append(ip_network(str(text), strict=False))
        except ValueError:
            continue
    return found
