"""One connection with a peer: state machine, codec and timers together, without a socket and without a clock.

The owner tells it what has happened and what time it is, and gets a list of outcomes to carry out in order. It asks
`deadline` when to call `tick`. Times are seconds of any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Address

from netlab.bgp import message as messages
from netlab.bgp.capabilities import Capabilities, Restart
from netlab.bgp.codes import (
    BAD_CAPABILITY,
    BAD_ID,
    BAD_PEER_AS,
    BAD_VERSION,
    COLLISION,
    Code,
    Kind,
    Notification,
    ProtocolError,
)
from netlab.bgp.fsm import Action, Event, State, step
from netlab.bgp.message import Codec, Framer, Ignored, Keepalive, Message, Open, RouteRefresh, Update
from netlab.bgp.nlri import Family

#: seconds until an OPEN has to come (RFC 4271 section 8.2.2 suggests four minutes)
HOLD_LARGE = 240.0
#: the longest pause between two attempts, in seconds
IDLE_HOLD_MAX = 120.0


class Timer(Enum):
    """RFC 4271 section 10, and the pause after a failure."""

    RETRY = Event.CONNECT_RETRY_EXPIRES
    HOLD = Event.HOLD_EXPIRES
    KEEPALIVE = Event.KEEPALIVE_EXPIRES
    DELAY_OPEN = Event.DELAY_OPEN_EXPIRES
    IDLE_HOLD = Event.IDLE_HOLD_EXPIRES


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a session is to be. peer_as: the one that the peer must have; hold_time and others: seconds.

    restart: how we announce graceful restart, None for not at all; idle_hold: the pause after a first failure, which
    doubles with each further one.
    """

    asn: int
    router_id: IPv4Address
    peer_as: int
    hold_time: int = 90
    connect_retry: float = 30.0
    delay_open: float = 0.0
    idle_hold: float = 1.0
    families: tuple[Family, ...] = (Family.IPV4,)
    restart: Restart | None = None
    route_refresh: bool = True
    extended_message: bool = True
    as4: bool = True

    @property
    def ebgp(self) -> bool:
        """Whether the peer is external."""
        return self.asn != self.peer_as

    def open(self) -> Open:
        """The OPEN that we send."""
        caps = Capabilities(
            families=self.families,
            as4=self.asn if self.as4 else None,
            route_refresh=self.route_refresh,
            enhanced_refresh=self.route_refresh,
            extended_message=self.extended_message,
            restart=self.restart,
        )
        return Open(self.asn, self.hold_time, self.router_id, caps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What two OPENs make of a session. hold_time: seconds, 0 for no keepalives; restart: the peer's announcement."""

    router_id: IPv4Address
    hold_time: int
    families: tuple[Family, ...]
    as4: bool
    route_refresh: bool
    enhanced_refresh: bool
    extended_message: bool
    restart: Restart | None


@dataclass(frozen=True, slots=True)
class Connect:
    """Begin a TCP connection; tell TCP_ACKED or TCP_FAILS."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, after what is to be sent."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes, which spell `message`."""

    data: bytes
    message: Message = field(compare=False)


@dataclass(frozen=True, slots=True)
class Received:
    """For the log: a message has come, whatever becomes of it."""

    message: Message
    size: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer's OPEN is accepted: the moment to look for a collision (RFC 4271 section 6.8)."""


@dataclass(frozen=True, slots=True)
class Up:
    """The session is established."""

    agreed: Agreed


@dataclass(frozen=True, slots=True)
class Down:
    """The connection is over. sent, received: the NOTIFICATION, if one ended it; established: whether it ever stood."""

    why: str
    sent: Notification | None
    received: Notification | None
    established: bool


@dataclass(frozen=True, slots=True)
class Deliver:
    """Routes, or a wish for routes."""

    message: Update | RouteRefresh


Outcome = Connect | Close | Send | Received | Opened | Up | Down | Deliver


class Session:
    """See the module. passive: wait for the peer; retries: begin again after a failure (an incoming one does not).

    chance: numbers from 0 to 1, for jitter (RFC 4271 section 10).
    """

    def __init__(
        self, terms: Terms, *, passive: bool = False, retries: bool = True, chance: Callable[[], float] = lambda: 0.5
    ) -> None:
        self.terms, self.passive, self.retries = terms, passive, retries
        self.state = State.IDLE
        self.agreed: Agreed | None = None
        self.peer_open: Open | None = None
        self.attempts = 0
        self.timers: dict[Timer, float] = {}
        self.cease = Notification.ceasing(2)
        self.codec = Codec(ebgp=terms.ebgp)
        self._framer = Framer()
        self._chance = chance
        self._error: Notification | None = None
        self._why = ""

    # -- what has happened

    def start(self, now: float) -> list[Outcome]:
        """Begin."""
        return self.handle(Event.AUTOMATIC_START_PASSIVE if self.passive else Event.AUTOMATIC_START, now)

    def stop(self, now: float, cease: Notification, *, quietly: bool = False) -> list[Outcome]:
        """End for good, with this NOTIFICATION; quietly: without any, as one does who restarts gracefully."""
        self.cease = cease
        self.retries = False
        if quietly:
            return self.handle(Event.TCP_FAILS, now, why="left for a restart")
        return self.handle(Event.MANUAL_STOP, now, why=str(cease))

    def reset(self, now: float, cease: Notification) -> list[Outcome]:
        """End with this NOTIFICATION and begin again."""
        self.cease = cease
        return self.handle(Event.AUTOMATIC_STOP, now, why=str(cease))

    def dump(self, now: float) -> list[Outcome]:
        """Lose a collision. Whoever won goes on, so this one does not come back by itself."""
        self.cease = Notification(Code.CEASE, COLLISION)
        self.retries = False
        return self.handle(Event.COLLISION_DUMP, now, why="lost a collision")

    def fail(self, now: float, error: Notification, why: str) -> list[Outcome]:
        """End for an error that was found in what has been delivered."""
        self._error = error
        return self.handle(Event.UPDATE_ERROR, now, why=why)

    def connected(self, now: float, *, incoming: bool = False) -> list[Outcome]:
        """The TCP connection stands."""
        self._framer = Framer()
        return self.handle(Event.TCP_CONFIRMED if incoming else Event.TCP_ACKED, now)

    def lost(self, now: float, why: str) -> list[Outcome]:
        """The TCP connection broke, or could not be made."""
        return self.handle(Event.TCP_FAILS, now, why=why)

    def receive(self, data: bytes, now: float) -> list[Outcome]:
        """Bytes have come."""
        out: list[Outcome] = []
        self._framer.feed(data)
        try:
            for kind, body in self._framer.frames():
                try:
                    found = self.codec.decode(kind, body)
                except ProtocolError as e:
                    event = Event.OPEN_ERROR if kind == Kind.OPEN else Event.UPDATE_ERROR
                    return out + self._failed(event, e, now)
                out.append(Received(found, len(body) + 19))
                out += self._message(found, now)
                if self.state in (State.IDLE, State.ACTIVE, State.CONNECT) and Timer.DELAY_OPEN not in self.timers:
                    break  # it ended the connection: the rest is nobody's
        except ProtocolError as e:
            out += self._failed(Event.HEADER_ERROR, e, now)
        return out

    def tick(self, now: float) -> list[Outcome]:
        """Timers that have run out, the earliest first."""
        out: list[Outcome] = []
        while self.timers:
            timer = min(self.timers, key=lambda t: self.timers[t])
            if self.timers[timer] > now:
                break
            del self.timers[timer]
            event: Event = timer.value
            if timer is Timer.IDLE_HOLD and self.passive:
                event = Event.AUTOMATIC_START_DAMPED_PASSIVE
            out += self.handle(event, now, why="the hold timer expired" if timer is Timer.HOLD else "")
        return out

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return min(self.timers.values(), default=None)

    # -- what it does

    def _failed(self, event: Event, error: ProtocolError, now: float) -> list[Outcome]:
        self._error = error.notification
        return self.handle(event, now, why=str(error))

    def _message(self, found: Message, now: float) -> list[Outcome]:
        match found:
            case Open():
                try:
                    agreed = self._agree(found)
                except ProtocolError as e:
                    return self._failed(Event.OPEN_ERROR, e, now)
                delayed = Timer.DELAY_OPEN in self.timers
                if self.state is State.OPEN_SENT or delayed:
                    self._adopt(found, agreed)
                out = self.handle(Event.OPEN_DELAYED if delayed else Event.OPEN, now, why="an unexpected OPEN")
                return [*out, Opened()] if self.state is State.OPEN_CONFIRM else out
            case Notification():
                version = (found.code, found.subcode) == (Code.OPEN, BAD_VERSION)
                event = Event.NOTIFICATION_VERSION if version else Event.NOTIFICATION
                return self.handle(event, now, why=f"the peer says: {found}", received=found)
            case Keepalive():
                return self.handle(Event.KEEPALIVE, now, why="an unexpected KEEPALIVE")
            case Update():
                return self.handle(Event.UPDATE, now, why="an unexpected UPDATE", message=found)
            case RouteRefresh():
                if self.agreed is None or found.family not in self.agreed.families:
                    return []
                return self.handle(Event.ROUTE_REFRESH, now, why="an unexpected ROUTE-REFRESH", message=found)
            case Ignored():
                return []

    def _agree(self, theirs: Open) -> Agreed:
        ours, caps = self.terms.open(), theirs.capabilities
        if theirs.real_asn != self.terms.peer_as:
            data = min(theirs.real_asn, 0xFFFF).to_bytes(2, "big")
            why = f"AS {theirs.real_asn}, expected {self.terms.peer_as}"
            raise ProtocolError(Code.OPEN, BAD_PEER_AS, data, why=why)
        if theirs.router_id == self.terms.router_id and not self.terms.ebgp:
            raise ProtocolError(Code.OPEN, BAD_ID, theirs.router_id.packed, why=f"{theirs.router_id} is ours")
        offered = caps.families if caps.families is not None else (Family.IPV4,)
        families = tuple(f for f in self.terms.families if f in offered)
        if not families:
            wanted = Capabilities(families=self.terms.families).encode()
            raise ProtocolError(Code.OPEN, BAD_CAPABILITY, wanted, why="no address family in common")
        return Agreed(
            router_id=theirs.router_id,
            hold_time=min(theirs.hold_time, self.terms.hold_time),
            families=families,
            as4=ours.capabilities.as4 is not None and caps.as4 is not None,
            route_refresh=self.terms.route_refresh and caps.route_refresh,
            enhanced_refresh=self.terms.route_refresh and caps.enhanced_refresh,
            extended_message=self.terms.extended_message and caps.extended_message,
            restart=caps.restart,
        )

    def _adopt(self, theirs: Open, agreed: Agreed) -> None:
        self.peer_open, self.agreed = theirs, agreed
        self.codec = Codec(
            ebgp=self.terms.ebgp, as4=agreed.as4, extended=agreed.extended_message, families=agreed.families
        )
        self._framer.extended = agreed.extended_message

    def handle(
        self,
        event: Event,
        now: float,
        *,
        why: str = "",
        received: Notification | None = None,
        message: Update | RouteRefresh | None = None,
    ) -> list[Outcome]:
        """One step of the state machine. why: for people, if it ends the connection; message: what came with it."""
        before = self.state
        if event in (Event.TCP_ACKED, Event.TCP_CONFIRMED):
            delayed = self.terms.delay_open > 0
        else:
            delayed = Timer.DELAY_OPEN in self.timers
        row = step(before, event, delayed=delayed)
        self.state = row.to
        out: list[Outcome] = []
        sent: Notification | None = None
        for action in row.actions:
            done = self._do(action, before, now, message)
            if isinstance(done, Send) and isinstance(done.message, Notification):
                sent = done.message
            out += [done] if done else []
        ended = Action.DROP in row.actions and before is not State.IDLE
        if ended and row.to in (State.IDLE, State.ACTIVE):
            self._finish(now)
            reason = why or (f"we say: {sent}" if sent else event.name.lower().replace("_", " "))
            out.append(Down(reason, sent, received, before is State.ESTABLISHED))
        if row.to is State.IDLE and before is not State.IDLE and self.retries:
            pause = min(self.terms.idle_hold * 2 ** min(max(self.attempts - 1, 0), 10), IDLE_HOLD_MAX)
            self.timers[Timer.IDLE_HOLD] = now + self._jittered(pause)
        return out

    def _finish(self, now: float) -> None:
        for timer in (Timer.HOLD, Timer.KEEPALIVE, Timer.DELAY_OPEN):
            self.timers.pop(timer, None)
        self.agreed = self.peer_open = self._error = None
        self.codec = Codec(ebgp=self.terms.ebgp)

    def _jittered(self, seconds: float) -> float:
        return seconds * (0.75 + 0.25 * self._chance())

    def _notify(self, notification: Notification) -> Send:
        return Send(messages.encode(notification), notification)

    def _do(self, action: Action, before: State, now: float, message: Update | RouteRefresh | None) -> Outcome | None:
        timers, agreed = self.timers, self.agreed
        match action:
            case Action.CONNECT:
                return Connect()
            case Action.DROP:
                return Close()
            case Action.SEND_OPEN:
                opening = self.terms.open()
                return Send(messages.encode(opening), opening)
            case Action.SEND_KEEPALIVE:
                return Send(messages.encode(Keepalive()), Keepalive())
            case Action.SEND_ERROR:
                return self._notify(self._error or Notification(Code.CEASE))
            case Action.SEND_CEASE:
                return self._notify(self.cease)
            case Action.SEND_FSM_ERROR:
                states = (State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED)
                return self._notify(Notification(Code.FSM, states.index(before) + 1 if before in states else 0))
            case Action.SEND_HOLD_EXPIRED:
                return self._notify(Notification(Code.HOLD_TIMER))
            case Action.START_RETRY if self.passive:
                pass  # nothing to try: it waits
            case Action.START_RETRY:
                timers[Timer.RETRY] = now + self._jittered(self.terms.connect_retry)
            case Action.STOP_RETRY:
                timers.pop(Timer.RETRY, None)
            case Action.START_DELAY:
                timers[Timer.DELAY_OPEN] = now + self.terms.delay_open
            case Action.STOP_DELAY:
                timers.pop(Timer.DELAY_OPEN, None)
            case Action.HOLD_LARGE:
                timers[Timer.HOLD] = now + HOLD_LARGE
            case Action.HOLD:
                timers.pop(Timer.HOLD, None)
                if agreed and agreed.hold_time:
                    timers[Timer.HOLD] = now + agreed.hold_time
            case Action.START_KEEPALIVE:
                if agreed and agreed.hold_time:
                    timers[Timer.KEEPALIVE] = now + self._jittered(agreed.hold_time / 3)
            case Action.ZERO_COUNTER:
                self.attempts = 0
            case Action.COUNT:
                self.attempts += 1
            case Action.UP:
                assert agreed
                return Up(agreed)
            case Action.DELIVER:
                assert message is not None
                return Deliver(message)
        return None


def with_restarting(terms: Terms, restarting: bool) -> Terms:
    """The terms with the R bit of graceful restart set or cleared."""
    if terms.restart is None or terms.restart.restarting == restarting:
        return terms
    return replace(terms, restart=replace(terms.restart, restarting=restarting))
