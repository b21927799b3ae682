"""The udp backend's data path, opened: flannel0 by the kernel room, the socket on 8285, and what both have counted."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import fields
from ipaddress import IPv4Address, IPv4Network

from netlab.base.errors import MachineError
from netlab.kernel import tun
from netlab.overlay.backends.udp import DEVICE, Udp
from netlab.overlay.lease import Lease
from netlab.overlay.udp import Direction, PathCounters, PeerCounters, UdpPath
from netlab.overlay.underlay import Underlay

#: bytes that wait in the kernel while the process does not run: some 3 ms at 10 Gbit/s
BUFFER = 4 << 20
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
#: each counter of a peer: its field, the direction, what it counts; asdict() of a thousand peers would hold up packets
_OF_PEER = [
    (field.name, field.name.partition("_")[0], field.name.partition("_")[2].replace("dropped", "drops"))
    for field in fields(PeerCounters)
]


class UdpCarrier:
    """See `needs.Carrier`."""

    def __init__(self, backend: Udp, own: Lease, underlay: Underlay, counters: PathCounters) -> None:
        """MachineError if the kernel has no offloads and `backend` counts on them, or the port is taken."""
        assert own.subnet.ipv4 is not None and underlay.ip is not None
        self.counters = counters
        with contextlib.ExitStack() as undo:
            opened = tun.open_device(DEVICE, offload=backend.offload)
            undo.callback(os.close, opened.fd)
            if backend.offload and not opened.vnet_hdr:
                raise MachineError(f"{DEVICE} gives no super packets on this kernel")
            sock = undo.enter_context(_bound(underlay.ip, backend.port))
            self._path = UdpPath(
                opened,
                sock,
                own=own.subnet.ipv4,
                address=backend.address(own).ip,
                mtu=backend.mtu(underlay),
                counters=counters,
                offload=backend.offload,
            )
            self._undo = undo.pop_all()

    def set_routes(self, routes: Mapping[IPv4Network, tuple[IPv4Address, int]]) -> None:
        self._path.set_routes(routes)

    async def run(self) -> None:
        await self._path.run()

    def close(self) -> None:
        self._path.close()
        self._undo.close()

    def samples(self) -> Iterator[tuple[str, dict[str, str], int]]:
        """See `metrics.DataPath`."""
        c = self.counters
        for name, way in (("tx", c.tx), ("rx", c.rx)):
            yield from _way(name, way)
        for peer, counts in c.peers.items():
            for field, direction, what in _OF_PEER:
                yield what, {"peer": peer, "direction": direction}, getattr(counts, field)
        for what in ("fragmented", "icmp", "icmp_limited", "blocked", "errors"):
            yield what, {}, getattr(c, what)


def _way(name: str, way: Direction) -> Iterator[tuple[str, dict[str, str], int]]:
    for what in ("packets", "bytes", "calls"):
        yield what, {"direction": name}, getattr(way, what)
    for reason, count in way.drops.items():
        yield "drops", {"direction": name, "reason": str(reason)}, count


@contextlib.contextmanager
def _bound(address: IPv4Address, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for option in (_SO_RCVBUFFORCE, _SO_SNDBUFFORCE):
            with contextlib.suppress(OSError):  # the limit of everybody is good enough
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        try:
            sock.bind((str(address), port))
        except OSError as e:
            hint = f"ss -ulnp 'sport = {port}' shows who has it"
            raise MachineError(f"UDP {address}:{port} cannot be bound: {e.strerror}", hint=hint) from e
        yield sock
