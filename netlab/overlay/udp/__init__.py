"""The data path of flannel's udp backend: packets between a TUN and a socket, one bare inner packet per datagram.

    flannel0 ── read ── segment ── outbox ── UDP_SEGMENT ──▶ 8285
    flannel0 ◀─ writev ── coalesce ─────────── UDP_GRO ───── 8285

`path` is the object that daemons use; `plain` is the way without offloads, packet by packet: the reference, and the
fallback where the kernel refuses; `fast` is the way with them. `segment` and `coalesce` are the two halves of its
arithmetic, `sums`, `packets` and `icmp` what they stand on, all pure. `routes` and `counters` are its memory, `outbox`
its only queue, `wire` the socket with all that may befall it.

This package refuses to open anything: it is handed an open TUN and a bound socket, wherever they are from. On the wire
nothing tells it from an original flanneld.
"""

from netlab.overlay.udp.counters import Direction, Drop, PathCounters, PeerCounters
from netlab.overlay.udp.path import PORT, OpenTun, UdpPath

__all__ = ["PORT", "Direction", "Drop", "OpenTun", "PathCounters", "PeerCounters", "UdpPath"]
