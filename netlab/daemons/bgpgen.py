"""A source of routes for `netlab bench bgp`: sessions that announce many prefixes, and take them back when told.

    python -m netlab.daemons.bgpgen --as 65002 --peer 10.0.0.1 --peer-as 65001 --address 10.0.0.2 --routes 100000

It keeps no routes: its UPDATEs are spelled before it connects, so that what is measured is the receiver. On
SIGUSR1 it withdraws them all, on SIGUSR2 it announces them again, on SIGTERM it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
from ipaddress import IPv4Address, ip_address

from netlab.bgp import session as s
from netlab.bgp.attributes import Attrs, Segment
from netlab.bgp.codes import AS_SEQUENCE, PORT
from netlab.bgp.message import Codec, end_of_rib
from netlab.bgp.nlri import Family, Nlri
from netlab.bgp.session import Outcome, Session, Terms


def prefixes(count: int, start: int = 0) -> list[Nlri]:
    """`count` IPv4 /24, from 1.0.0.0/24 on, without the blocks that no host may have."""
    found: list[Nlri] = []
    number = (1 << 16) + start
    while len(found) < count:
        head = number >> 16
        if head not in (10, 127, 169, 172, 192) and head < 224:
            found.append(b"\x18" + number.to_bytes(3, "big"))
        number += 1
    return found


def spelled(routes: list[Nlri], asn: int, hop: IPv4Address, *, share: int) -> bytes:
    """UPDATEs for the routes, of which `share` have the same attributes, as in a table of the Internet."""
    codec = Codec()
    out: list[bytes] = []
    for at in range(0, len(routes), share):
        path = (asn, 100 + at // share % 60_000, 200 + at // share // 60_000)
        attrs = Attrs(as_path=(Segment(AS_SEQUENCE, path),), next_hop=hop, communities=(asn << 16 | at // share % 9,))
        out += codec.announcements(Family.IPV4, attrs, routes[at : at + share])
    return b"".join(out)


class Feed(asyncio.Protocol):
    """One session."""

    def __init__(self, terms: Terms, announce: bytes, withdraw: bytes) -> None:
        self.session = Session(terms, retries=False, chance=random.random)
        self.announce, self.withdraw = announce, withdraw
        self.transport: asyncio.Transport | None = None
        self.session.start(0.0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.do(self.session.connected(self.now))

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def data_received(self, data: bytes) -> None:
        self.do(self.session.receive(data, self.now))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def do(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case s.Send(data):
                    self.send(data)
                case s.Up():
                    self.send(self.announce + end_of_rib(Family.IPV4))
                case s.Close() if self.transport:
                    self.transport.close()
                case _:
                    pass

    def send(self, data: bytes) -> None:
        if self.transport:
            self.transport.write(data)

    def tick(self) -> None:
        self.do(self.session.tick(self.now))


async def main(o: argparse.Namespace) -> None:
    """Until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    feeds = []
    for i in range(o.sessions):
        local = ip_address(int(ip_address(o.address)) + i)
        assert isinstance(local, IPv4Address)
        routes = prefixes(o.routes, i * o.routes)
        terms = Terms(asn=o.asn, router_id=local, peer_as=o.peer_as, hold_time=o.hold_time)
        withdraw = b"".join(Codec().withdrawals(Family.IPV4, routes))
        feed = Feed(terms, spelled(routes, o.asn, local, share=o.share), withdraw)
        await loop.create_connection(lambda f=feed: f, o.peer, PORT, local_addr=(str(local), 0))  # type: ignore[misc]
        feeds.append(feed)

    def all_send(withdraw: bool) -> None:
        for feed in feeds:
            feed.send(feed.withdraw if withdraw else feed.announce)

    loop.add_signal_handler(signal.SIGUSR1, all_send, True)
    loop.add_signal_handler(signal.SIGUSR2, all_send, False)
    while not ended.is_set():
        for feed in feeds:
            feed.tick()
        try:
            await asyncio.wait_for(ended.wait(), 0.5)
        except TimeoutError:
            pass


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as", dest="asn", type=int, required=True)
    parser.add_argument("--peer-as", type=int, required=True)
    for name in ("--peer", "--address"):
        parser.add_argument(name, required=True)
    for name, default in (("--routes", 0), ("--sessions", 1), ("--share", 4), ("--hold-time", 90)):
        parser.add_argument(name, type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
