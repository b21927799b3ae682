"""One peer: its connections, of which one survives, and what is remembered of it between sessions.

A configured peer has a session of its own that connects (unless it is passive), and one for a connection that comes in
meanwhile; RFC 4271 section 6.8 says which of the two goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from netlab.base.addresses import Address
from netlab.base.errors import NetlabError
from netlab.bgp import message as messages
from netlab.bgp import session as s
from netlab.bgp import sockets
from netlab.bgp.capabilities import Restart
from netlab.bgp.codes import Code, Notification
from netlab.bgp.config import PeerConfig
from netlab.bgp.decision import Source
from netlab.bgp.export import Neighbour
from netlab.bgp.fsm import State
from netlab.bgp.message import Message, RouteRefresh, Update
from netlab.bgp.nlri import Family
from netlab.bgp.outbox import Outbox
from netlab.bgp.session import Agreed, Outcome, Session, Terms

if TYPE_CHECKING:
    from netlab.bgp.speaker import Speaker


@dataclass(slots=True)
class Stats:
    """Since the speaker began. received, sent: messages by kind."""

    received: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    established: int = 0
    faults: int = 0
    last_error: str = ""
    last_change: float = 0.0


class Connection(asyncio.Protocol):
    """A session with a socket below it."""

    def __init__(self, peer: Peer, session: Session, *, incoming: bool) -> None:
        self.peer, self.session, self.incoming = peer, session, incoming
        self.transport: asyncio.Transport | None = None
        self.paused = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=1 << 20)
        self.do(self.session.connected(self.now, incoming=self.incoming))

    def data_received(self, data: bytes) -> None:
        self.do(self.session.receive(data, self.now))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None and exc is not None:
            words = self._last_words(self.transport)
            if words:
                self.do(self.session.receive(words, self.now))
        if self.transport is not None:
            self.transport = None
            self.do(self.session.lost(self.now, f"the connection broke: {exc}" if exc else "the peer closed"))

    def _last_words(self, transport: asyncio.Transport) -> bytes:
        """What arrived before the connection broke: a NOTIFICATION, perhaps, that we had not read when a write failed.

        A peer that closes with something of ours unread resets the connection, and asyncio gives up at the first of
        two errors. The kernel still has what came before.
        """
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as copy,
        ):
            copy.setblocking(False)
            return copy.recv(1 << 16)
        return b""

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.peer.speaker.schedule()

    # -- what the session wants

    @property
    def now(self) -> float:
        return self._loop.time()

    def do(self, outcomes: list[Outcome]) -> None:
        """Carry outcomes out, and look at the clock when there is something to look for."""
        for outcome in outcomes:
            match outcome:
                case s.Deliver(message):
                    self.peer.deliver(self, message)
                case s.Received(message, _):
                    self.peer.heard(message)
                case s.Send(data, message):
                    self.send(data, message)
                case s.Connect():
                    self._attempt = self._loop.create_task(self._connect())
                case s.Close():
                    self._close()
                case s.Opened():
                    self.peer.opened(self)
                case s.Up(agreed) if self.session.state is State.ESTABLISHED:
                    self.peer.up(self, agreed)
                case s.Up():
                    pass  # it has lost a collision in between
                case s.Down():
                    self.peer.down(self, outcome)
        self._watch()

    def send(self, data: bytes, message: Message | None = None) -> None:
        """Send, if there is a connection. message: for the log; without one it is read back if there is a log."""
        if self.transport is None:
            return
        self.transport.write(data)
        self.peer.said(self, data, message)

    def _close(self) -> None:
        if self._attempt is not None and self._attempt is not asyncio.current_task():
            self._attempt.cancel()
        self._attempt = None
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.close()  # after what is still to be sent

    def _watch(self) -> None:
        deadline = self.session.deadline
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return  # it looks again by itself
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.do(self.session.tick(self.now))

    async def _connect(self) -> None:
        peer = self.peer.config
        sock = None
        try:
            sock = sockets.connecting(peer, ebgp=self.session.terms.ebgp)
            await self._loop.sock_connect(sock, sockets.destination(peer))
            self._attempt = None
            await self._loop.create_connection(lambda: self, sock=sock)
        except asyncio.CancelledError:
            if sock is not None:
                sock.close()
            raise
        except (OSError, NetlabError) as e:
            if sock is not None:
                sock.close()
            self._attempt = None
            reason = e.strerror if isinstance(e, OSError) else str(e)
            self.peer.stats.last_error = f"cannot connect: {reason}"
            self.do(self.session.lost(self.now, f"cannot connect: {reason}"))

    def end(self) -> None:
        """No more timers, no more attempts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None

    def ends_of(self) -> tuple[Address | None, Address | None]:
        """(ours, theirs) of the TCP connection."""
        if self.transport is None:
            return None, None
        return _end(self.transport.get_extra_info("sockname")), _end(self.transport.get_extra_info("peername"))


def _end(name: tuple[str, int] | None) -> Address | None:
    return ip_address(name[0].partition("%")[0]) if name else None


class Peer:
    """See the module. Everything about routes is the speaker's."""

    def __init__(self, speaker: Speaker, config: PeerConfig) -> None:
        self.speaker, self.config = speaker, config
        external = config.asn != speaker.config.asn
        self.source = Source(
            config.name, kind="ebgp" if external else "ibgp", asn=config.asn, address=config.address,
            client=config.client, interface=config.interface,
        )  # fmt: skip
        self.neighbour = Neighbour(source=self.source)
        self.stats = Stats(last_change=speaker.now)
        self.outgoing: Connection | None = None
        self.incoming: Connection | None = None
        self.established: Connection | None = None
        self.agreed: Agreed | None = None
        self.outbox: Outbox | None = None
        self.ended: set[Family] = set()  # families whose initial routes are complete
        self.stale_timer: asyncio.TimerHandle | None = None
        self.helping = False  # its routes are kept while it restarts
        self.refreshing: set[Family] = set()
        self.adopt(config)

    def adopt(self, config: PeerConfig) -> None:
        """What may change while a session stands."""
        self.config = config
        n = self.neighbour
        n.import_policy, n.export_policy = config.import_policy, config.export_policy
        n.next_hop_self, n.allow_own_as = config.next_hop_self, config.allow_own_as
        n.enforce_first_as = config.enforce_first_as
        n.hops.update(dict(config.next_hops))
        n.forget()

    @property
    def terms(self) -> Terms:
        """What we offer now."""
        us, c = self.speaker.config, self.config
        restart = None
        if c.restart:
            kept = self.speaker.restarting
            restart = Restart(us.restart_time, tuple((f, kept) for f in c.families), restarting=kept)
        return Terms(
            asn=us.asn, router_id=us.router_id, peer_as=c.asn, hold_time=c.hold_time, connect_retry=c.connect_retry,
            delay_open=c.delay_open, families=c.families, restart=restart,
        )  # fmt: skip

    @property
    def state(self) -> State:
        """Of the connection that is farthest."""
        order = list(State)
        found = [c.session.state for c in (self.outgoing, self.incoming, self.established) if c]
        idle = State.ACTIVE if self.config.passive and self.config.shutdown is None else State.IDLE
        return max(found, key=order.index, default=idle)

    @property
    def restartable(self) -> bool:
        """Whether the peer keeps our routes while we restart."""
        return bool(self.config.restart and self.agreed and self.agreed.restart)

    # -- beginning and ending

    def start(self) -> None:
        """Begin to connect, or to wait."""
        if self.config.shutdown is not None or self.config.passive or self.outgoing:
            return
        session = Session(self.terms, chance=random.random)
        self.outgoing = Connection(self, session, incoming=False)
        self.outgoing.do(session.start(self.speaker.now))

    def stop(self, cease: Notification, *, quietly: bool = False) -> None:
        """End for good."""
        for connection in self.connections():
            connection.do(connection.session.stop(connection.now, cease, quietly=quietly))
            connection.end()
        self.outgoing = self.incoming = None
        self._cancel_stale()

    def reset(self, cease: Notification) -> None:
        """End, and begin again."""
        for connection in self.connections():
            connection.do(connection.session.reset(connection.now, cease))

    def connections(self) -> list[Connection]:
        """Those there are."""
        return [c for c in (self.outgoing, self.incoming) if c]

    def accept(self) -> Connection | None:
        """A connection came in: the protocol for it, None to refuse it."""
        if self.config.shutdown is not None:
            return None
        if self.incoming is not None:
            # a speaker begins one connection at a time: the peer has given up the last one, which we have not noticed
            self._replaced(self.incoming)
        session = Session(self.terms, passive=True, retries=False, chance=random.random)
        self.incoming = Connection(self, session, incoming=True)
        self.incoming.do(session.start(self.speaker.now))
        return self.incoming

    def _replaced(self, old: Connection) -> None:
        """RFC 4724 section 5: a new connection of a peer that restarts gracefully takes the place of the old one."""
        if self.restartable:
            old.do(old.session.lost(old.now, "the peer came back with a new connection"))
        else:
            old.do(old.session.dump(old.now))
        old.end()

    # -- what connections tell

    def heard(self, message: Message) -> None:
        """A message came in."""
        described = type(message).__name__
        self.stats.received[described] += 1
        if self.speaker.log.on:
            self.speaker.log.write(self.config.name, messages.as_json(message), "in")

    def said(self, connection: Connection, data: bytes, message: Message | None) -> None:
        """A message, or several in a row, went out."""
        if message is not None:
            self.stats.sent[type(message).__name__] += 1
            if self.speaker.log.on:
                self.speaker.log.write(self.config.name, messages.as_json(message), "out")
            return
        framer = messages.Framer()
        framer.extended = True
        framer.feed(data)
        codec = connection.session.codec
        reader = messages.Codec(ebgp=codec.ebgp, as4=codec.as4, extended=codec.extended)
        for kind, body in framer.frames():
            self.stats.sent["Update" if kind == 2 else "RouteRefresh"] += 1
            if self.speaker.log.on:
                self.speaker.log.write(self.config.name, messages.as_json(reader.decode(kind, body)), "out")

    def opened(self, connection: Connection) -> None:
        """Two connections in OpenConfirm: the one that the higher identifier began goes on (RFC 4271 section 6.8)."""
        other = self.incoming if connection is self.outgoing else self.outgoing
        if other is None or connection.session.agreed is None:
            return  # alone, or over already: what came with the OPEN has ended it
        if other.session.state is State.ESTABLISHED:
            if self.restartable:
                self._replaced(other)
                if other is self.outgoing:
                    self.outgoing = None
            else:
                connection.do(connection.session.dump(connection.now))
            return
        if other.session.state is not State.OPEN_CONFIRM:
            return
        theirs = connection.session.agreed
        ours_higher = (int(self.speaker.config.router_id), self.speaker.config.asn) > (
            int(theirs.router_id),
            self.config.asn,
        )
        loser = self.incoming if ours_higher else self.outgoing
        assert loser is not None
        self.speaker.log.write(self.config.name, {"event": "collision", "ours_goes_on": ours_higher})
        loser.do(loser.session.dump(loser.now))

    def up(self, connection: Connection, agreed: Agreed) -> None:
        """A session stands."""
        other = self.incoming if connection is self.outgoing else self.outgoing
        self.established, self.agreed = connection, agreed
        if other is not None:
            other.do(other.session.dump(other.now))
            other.end()
            if other is self.incoming:
                self.incoming = None
            else:
                self.outgoing = None
        self.source.router_id = int(agreed.router_id)
        self.stats.established += 1
        self.stats.last_change = self.speaker.now
        self.stats.last_error = ""
        self.ended, self.refreshing = set(), set()
        ours, _ = connection.ends_of()
        if ours is not None:
            self._find_hops(ours)
        self.neighbour.forget()
        self.speaker.peer_up(self)

    def _find_hops(self, ours: Address) -> None:
        hops: dict[Family, Address | None] = {Family.of(ours.version): ours}
        kernel = self.speaker.kernel
        for family in Family:
            if family not in hops and kernel is not None:
                hops[family] = kernel.other_address(ours, family.version)
        hops |= dict(self.config.next_hops)
        self.neighbour.hops = hops
        self.neighbour.link_local = ours if isinstance(ours, IPv6Address) and ours.is_link_local else None

    def down(self, connection: Connection, down: s.Down) -> None:
        """A connection is over; the session too, if it was the one that stood."""
        if down.established or down.sent or down.received:
            self.stats.last_error = down.why
            self.speaker.log.write(self.config.name, {"event": "down", "why": down.why})
        was_up = connection is self.established
        if was_up:
            self.established, self.outbox = None, None
            self.stats.last_change = self.speaker.now
            graceful = down.sent is None and down.received is None
            self.speaker.peer_down(self, graceful=graceful and self.restartable)
            self.agreed = None
        connection.session.terms = self.terms
        if connection is self.incoming:
            connection.end()
            self.incoming = None
        elif connection is self.outgoing and not connection.session.retries:
            connection.end()
            self.outgoing = None
        if not self.connections():
            # the survivor of a collision has ended, and nobody connects any more
            asyncio.get_running_loop().call_later(0.2 + random.random() / 2, self._restart)

    def _restart(self) -> None:
        ours = self.speaker.peers.get(self.config.name) is self
        if ours and not self.connections() and not self.speaker.stopping:
            self.start()

    def deliver(self, connection: Connection, message: Update | RouteRefresh) -> None:
        """Routes, or a wish for routes."""
        if connection is not self.established:
            return
        if isinstance(message, RouteRefresh):
            self.speaker.refresh_wanted(self, message)
            return
        self.speaker.update(self, message)

    def too_many(self) -> None:
        """The peer sent more prefixes than it may."""
        if self.established is None:
            return
        limit = self.config.max_prefixes or 0
        family = self.config.families[0]
        data = family.afi.to_bytes(2, "big") + bytes((family.safi,)) + limit.to_bytes(4, "big")
        connection = self.established
        why = f"more than {limit} prefixes"
        with contextlib.suppress(AssertionError):
            connection.do(connection.session.fail(connection.now, Notification(Code.CEASE, 1, data), why))

    # -- graceful restart of the peer (RFC 4724 section 4.2)

    def wait_for_return(self, seconds: float, give_up: str) -> None:
        """Keep its routes until then."""
        self._cancel_stale()
        self.helping = True
        loop = asyncio.get_running_loop()
        self.stale_timer = loop.call_later(seconds, self.speaker.stale_over, self, give_up)

    def _cancel_stale(self) -> None:
        if self.stale_timer is not None:
            self.stale_timer.cancel()
            self.stale_timer = None

    def returned(self) -> None:
        """Nothing is stale any more."""
        self._cancel_stale()
        self.helping = False
