"""Which node has an inner address: a table that is built whole, swapped whole, and asked one by one or by the array.

The subnets are flattened to intervals with the longest prefix painted last, so a question is one bisection: leases of
any lengths, overlapping or not, cost the same. (A dict per prefix length was as fast for one packet, but it has no
answer for an array.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

import numpy as np
import numpy.typing as npt

from netlab.overlay.udp.counters import PathCounters, PeerCounters


class Peer:
    """A node to which packets go. sockaddr: as sendto takes it; address: its PublicIP as recvfrom names it."""

    __slots__ = ("address", "counters", "sockaddr")

    def __init__(self, sockaddr: tuple[str, int], counters: PeerCounters) -> None:
        self.sockaddr = sockaddr
        self.address = sockaddr[0]
        self.counters = counters


class RouteTable:
    """Subnet to node, immutable. `addresses`: the PublicIPs of all nodes."""

    __slots__ = ("_owners", "_owners_array", "_starts", "_starts_array", "addresses", "peers")

    def __init__(
        self, routes: Mapping[IPv4Network, tuple[IPv4Address, int]], counters: PathCounters, *, own: IPv4Network
    ) -> None:
        """own: left out if it is among the routes: a packet for it that comes back here would turn for ever."""
        self.peers: list[Peer] = []
        indices: dict[tuple[str, int], int] = {}
        begins: list[tuple[int, int, int, int]] = []
        for network, (address, port) in routes.items():
            if network == own:
                continue
            sockaddr = (str(address), port)
            index = indices.get(sockaddr)
            if index is None:
                index = indices[sockaddr] = len(self.peers)
                self.peers.append(Peer(sockaddr, counters.peer(sockaddr[0])))
            first = int(network.network_address)
            begins.append((first, network.prefixlen, first + network.num_addresses, index))
        self.addresses = frozenset(peer.address for peer in self.peers)
        self._starts, self._owners = _flatten(sorted(begins))
        self._starts_array = np.array(self._starts, dtype=np.int64)
        self._owners_array = np.array(self._owners, dtype=np.int64)

    def lookup(self, address: int) -> Peer | None:
        """The node that has the address (host order), None if no lease covers it."""
        owner = self._owners[bisect_right(self._starts, address) - 1]
        return None if owner < 0 else self.peers[owner]

    def lookup_many(self, addresses: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Indices into `peers`, -1 where no lease covers the address (host order), in the shape of the question."""
        found: npt.NDArray[np.int64] = self._owners_array[np.searchsorted(self._starts_array, addresses, "right") - 1]
        return found


def _flatten(networks: list[tuple[int, int, int, int]]) -> tuple[list[int], list[int]]:
    """Sorted (first, prefix length, end, owner) as starts of intervals and their owners; a network may hold others."""
    starts, owners = [0], [-1]

    def mark(start: int, owner: int) -> None:
        if starts[-1] == start:
            owners[-1] = owner
        elif owners[-1] != owner:
            starts.append(start)
            owners.append(owner)

    open_: list[tuple[int, int]] = []  # (end, owner) of the networks around the place, the narrowest last
    for first, _, end, owner in networks:
        while open_ and open_[-1][0] <= first:
            closed, _ = open_.pop()
            mark(closed, open_[-1][1] if open_ else -1)
        mark(first, owner)
        open_.append((end, owner))
    while open_:
        closed, _ = open_.pop()
        mark(closed, open_[-1][1] if open_ else -1)
    return starts, owners
