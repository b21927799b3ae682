"""How fast connections are made by way of a node's rules: a client, the node, and one who answers for every endpoint.

    client ── node (the rules) ── server: all endpoints' addresses are its own

Connections are made one after the other and reset at once: what is measured is what the rules cost the first packet of
each, for the others of a connection are known to connection tracking. The server's kernel takes them; nobody accepts
them, and no second process competes for the processor.
"""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from netlab.kernel import netns
from netlab.kernel.apply import Kernel
from netlab.kernel.ledger import MemoryLedger
from netlab.kernel.linux import LinuxBackend
from netlab.model import Address, HostState, Item, Link, Loopback, Route, Sysctl, Veth

#: connections of one measurement: the server keeps so many that nobody accepts
COUNT = 3000
#: seconds until a connection counts as one that cannot be made
_PATIENCE = 5.0
_BACKLOG = 65535
_NOW = struct.pack("ii", 1, 0)  # SO_LINGER: a reset in place of an end, which would leave TIME_WAIT behind

#: address and port
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Speed:
    """rate: connections a second; first: seconds until one stands, median; tail: the same of the slowest hundredth."""

    rate: float
    first: float
    tail: float


class Road:
    """client, server: namespaces at both ends of a node's; endpoints: the prefix that is all the server's."""

    def __init__(self, node: str, endpoints: str) -> None:
        self._node, self._endpoints = node, endpoints
        self.client, self.server = f"{node}-client", f"{node}-server"

    @contextlib.contextmanager
    def built(self) -> Iterator[Road]:
        """With both ends, which are removed afterwards; of the node, nothing but the namespace has to be there."""
        kernel = Kernel(LinuxBackend(), MemoryLedger())
        try:
            kernel.apply_all("road", {name: HostState.of(items) for name, items in self._states().items()})
            yield self
        finally:
            for name in (self.client, self.server):
                netns.delete(name)

    def _states(self) -> dict[str, list[Item]]:
        lo, every = Link(name="lo", kind=Loopback()), ip_network("0.0.0.0/0")
        pods = ip_network(self._endpoints)

        def end(name: str, address: str, gateway: str) -> list[Item]:
            return [
                lo, Link(name="eth0", kind=Veth(name, self._node)),
                Address(dev="eth0", address=ip_interface(address)),
                Route(dst=every, via=ip_address(gateway), dev="eth0"),
            ]  # fmt: skip

        return {
            self._node: [
                lo, Sysctl(name="net/ipv4/ip_forward", value="1"),
                Link(name="client", kind=Veth("eth0", self.client)),
                Link(name="server", kind=Veth("eth0", self.server)),
                # a client that is no pod would be masqueraded: its address is one of a pod
                Address(dev="client", address=ip_interface("10.255.255.1/30")),
                Address(dev="server", address=ip_interface("10.255.254.1/30")),
                Route(dst=pods, via=ip_address("10.255.254.2"), dev="server"),
            ],
            self.client: end("client", "10.255.255.2/30", "10.255.255.1"),
            self.server: [
                *end("server", "10.255.254.2/30", "10.255.254.1"),
                Route(dst=pods, dev="lo", type="local"),
                # all but the client's, which is in the same prefix
                Route(dst=ip_network("10.255.255.0/30"), via=ip_address("10.255.254.1"), dev="eth0"),
                Sysctl(name="net/core/somaxconn", value=str(_BACKLOG)),
            ],
        }  # fmt: skip

    def measure(self, places: Sequence[Place], port: int) -> Speed:
        """Connect to places by chance. port: at which endpoints answer. OSError if a connection cannot be made."""
        chosen = random.Random(COUNT).choices(places, k=COUNT)
        with netns.entered(self.server):
            listener = socket.create_server(("", port), backlog=_BACKLOG)
        took = []
        with listener, netns.entered(self.client):
            started = time.perf_counter()
            for place in chosen:
                with socket.socket() as sock:
                    sock.settimeout(_PATIENCE)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
                    at = time.perf_counter()
                    sock.connect(place)
                    took.append(time.perf_counter() - at)
            whole = time.perf_counter() - started
        return Speed(COUNT / whole, statistics.median(took), statistics.quantiles(took, n=100)[-1])
