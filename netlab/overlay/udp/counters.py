"""What a path has carried and what it has dropped and why: plain ints that the daemon exposes as metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Drop(StrEnum):
    """Why a packet was not carried. The values are the label `reason` of the metrics."""

    MALFORMED = "malformed"  # shorter than a header, or lengths that contradict each other
    TRUNCATED = "truncated"  # the header promises more than came
    VERSION = "version"  # not IPv4
    CHECKSUM = "checksum"  # of the IPv4 header
    OVERSIZED = "oversized"  # larger than flannel0's MTU
    TTL = "ttl"  # would have become zero; silent, as the original
    UNKNOWN_PEER = "unknown_peer"  # the outer source is no node's PublicIP
    SPOOFED = "spoofed"  # the inner source is not in the sending node's subnet
    NO_ROUTE = "no_route"  # the destination is in no lease
    TOO_BIG = "too_big"  # the underlay's path MTU is smaller and DF is set
    SOCKET_FULL = "socket_full"  # ENOBUFS
    SEND_REFUSED = "send_refused"  # the underlay has no route, or a rule forbids it
    TUN_REFUSED = "tun_refused"  # flannel0 is down, or out of memory


def _no_drops() -> dict[Drop, int]:
    return dict.fromkeys(Drop, 0)


@dataclass(slots=True)
class Direction:
    """One direction of a path. packets and bytes: inner packets as they are on the wire, not super packets.

    calls: system calls that carried them (reads of the TUN and of the socket), so that packets / calls tells how well
    the batches work.
    """

    packets: int = 0
    bytes: int = 0
    calls: int = 0
    drops: dict[Drop, int] = field(default_factory=_no_drops)

    def drop(self, reason: Drop, count: int = 1) -> None:
        self.drops[reason] += count

    @property
    def dropped(self) -> int:
        """All drops, whatever the reason."""
        return sum(self.drops.values())


@dataclass(slots=True)
class PeerCounters:
    """What went to and came from one node. dropped: what was to go there and could not, or came and was refused."""

    tx_packets: int = 0
    tx_bytes: int = 0
    tx_dropped: int = 0
    rx_packets: int = 0
    rx_bytes: int = 0
    rx_dropped: int = 0


@dataclass(slots=True)
class PathCounters:
    """All of a path. peers: by PublicIP as text; a node that has left stays, so that a counter never goes back.

    fragmented: outer datagrams larger than the underlay's path MTU that were left to IP fragmentation; icmp: errors
    written back into the TUN; icmp_limited: errors that the rate limit swallowed; blocked: how often the TUN was left
    unread because the socket was full; errors: messages read from the socket's error queue.
    """

    tx: Direction = field(default_factory=Direction)
    rx: Direction = field(default_factory=Direction)
    peers: dict[str, PeerCounters] = field(default_factory=dict)
    fragmented: int = 0
    icmp: int = 0
    icmp_limited: int = 0
    blocked: int = 0
    errors: int = 0

    def peer(self, address: str) -> PeerCounters:
        """The counters of a node, made at the first question."""
        found = self.peers.get(address)
        if found is None:
            found = self.peers[address] = PeerCounters()
        return found
