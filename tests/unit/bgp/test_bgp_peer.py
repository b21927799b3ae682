"""A peer with two connections, of which one has to go, in what order the bytes may come."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

from netlab.bgp import config
from netlab.bgp.codes import Notification
from netlab.bgp.fsm import State
from netlab.bgp.message import Keepalive, encode
from netlab.bgp.peer import Connection, Peer
from netlab.bgp.session import Terms
from netlab.bgp.speaker import Speaker

CONFIG = """
router: {as: 64512, id: 10.0.0.1, name: ours}
peers: [{name: theirs, address: 10.0.0.2, as: 64512, passive: true}]
"""
THEIRS = Terms(asn=64512, router_id=IPv4Address("10.0.0.2"), peer_as=64512)
#: "connection collision resolution" (RFC 4486)
COLLISION = 7


class Wire(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def two() -> tuple[Peer, list[tuple[Connection, Wire]]]:
    """A peer with the connection that we have begun, and the one that they have."""
    speaker = Speaker(config.loads(CONFIG, "x.yaml"))
    peer = Peer(speaker, speaker.config.peers[0])
    found = []
    for incoming in (False, True):
        connection = peer.accept()
        assert connection is not None
        if not incoming:
            peer.outgoing, peer.incoming = connection, None
        connection.connection_made(wire := Wire())
        found.append((connection, wire))
    return peer, found


def test_an_open_and_the_end_of_its_connection_in_one_read() -> None:
    """Whoever has decided the collision before we have heard of it: both messages may wait in one buffer."""

    async def test() -> None:
        peer, ((ours, our_wire), (theirs, their_wire)) = two()
        ours.data_received(encode(THEIRS.open()))
        theirs.data_received(encode(THEIRS.open()) + encode(Notification.ceasing(COLLISION)))
        assert their_wire.closed and peer.incoming is None
        assert not our_wire.closed and ours.session.state is State.OPEN_CONFIRM
        ours.end()

    asyncio.run(test())


def test_what_has_lost_the_collision_does_not_stand() -> None:
    """Theirs goes on, for their identifier is the higher, although ours had all that it takes in one read."""

    async def test() -> None:
        peer, ((ours, our_wire), (theirs, their_wire)) = two()
        theirs.data_received(encode(THEIRS.open()))
        ours.data_received(encode(THEIRS.open()) + encode(Keepalive()))
        assert our_wire.closed and peer.established is None
        assert not their_wire.closed and theirs.session.state is State.OPEN_CONFIRM
        theirs.data_received(encode(Keepalive()))
        assert peer.established is theirs
        theirs.end()

    asyncio.run(test())
