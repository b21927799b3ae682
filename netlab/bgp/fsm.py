"""The finite state machine of one connection: every state and event of RFC 4271 section 8, in one table.

The table says what the state becomes and what is to be done; `session` knows how. Two rows of some events differ by
`delayed`: whether the OPEN is held back for a while (the session attribute DelayOpen, when a connection stands; the
DelayOpenTimer that runs, when it breaks).

Where this differs from the letter of the RFC: a NOTIFICATION is never answered by another one (OpenSent, event 25,
would; section 6.4 and every implementation forbid it), and a message of a kind that does not belong into a state is
told with the subcode of RFC 6608. ROUTE-REFRESH came later (RFC 2918); it is event 29 here.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import NamedTuple


class State(Enum):
    """RFC 4271 section 8.2.2."""

    IDLE = "Idle"
    CONNECT = "Connect"
    ACTIVE = "Active"
    OPEN_SENT = "OpenSent"
    OPEN_CONFIRM = "OpenConfirm"
    ESTABLISHED = "Established"


class Event(IntEnum):
    """RFC 4271 section 8.1, with its numbers."""

    MANUAL_START = 1
    MANUAL_STOP = 2
    AUTOMATIC_START = 3
    MANUAL_START_PASSIVE = 4
    AUTOMATIC_START_PASSIVE = 5
    AUTOMATIC_START_DAMPED = 6
    AUTOMATIC_START_DAMPED_PASSIVE = 7
    AUTOMATIC_STOP = 8
    CONNECT_RETRY_EXPIRES = 9
    HOLD_EXPIRES = 10
    KEEPALIVE_EXPIRES = 11
    DELAY_OPEN_EXPIRES = 12
    IDLE_HOLD_EXPIRES = 13
    TCP_VALID = 14
    TCP_INVALID = 15
    TCP_ACKED = 16
    TCP_CONFIRMED = 17
    TCP_FAILS = 18
    OPEN = 19
    OPEN_DELAYED = 20
    HEADER_ERROR = 21
    OPEN_ERROR = 22
    COLLISION_DUMP = 23
    NOTIFICATION_VERSION = 24
    NOTIFICATION = 25
    KEEPALIVE = 26
    UPDATE = 27
    UPDATE_ERROR = 28
    ROUTE_REFRESH = 29


class Action(Enum):
    """What a transition asks for, in the order of its row."""

    CONNECT = auto()  # begin a TCP connection
    DROP = auto()  # close it, if there is one
    SEND_OPEN = auto()
    SEND_KEEPALIVE = auto()
    SEND_ERROR = auto()  # the NOTIFICATION that belongs to the error at hand
    SEND_CEASE = auto()  # the NOTIFICATION that says why we stop
    SEND_FSM_ERROR = auto()
    SEND_HOLD_EXPIRED = auto()
    START_RETRY = auto()
    STOP_RETRY = auto()
    START_DELAY = auto()
    STOP_DELAY = auto()
    HOLD_LARGE = auto()  # four minutes, until the OPENs are exchanged
    HOLD = auto()  # the negotiated time from now on; none if that is zero
    START_KEEPALIVE = auto()
    ZERO_COUNTER = auto()  # of failed attempts
    COUNT = auto()
    UP = auto()  # the session is established
    DELIVER = auto()  # hand the message to whoever keeps the routes


class Row(NamedTuple):
    """One transition."""

    to: State
    actions: tuple[Action, ...] = ()


_A, _E, _S = Action, Event, State
_STARTS = (
    _E.MANUAL_START,
    _E.AUTOMATIC_START,
    _E.MANUAL_START_PASSIVE,
    _E.AUTOMATIC_START_PASSIVE,
    _E.AUTOMATIC_START_DAMPED,
    _E.AUTOMATIC_START_DAMPED_PASSIVE,
)
_ALL = tuple(Event)

_END = (_A.STOP_RETRY, _A.STOP_DELAY, _A.DROP)
_FAIL = Row(_S.IDLE, (*_END, _A.COUNT))
_STOP = Row(_S.IDLE, (*_END, _A.ZERO_COUNTER))
_QUIET = Row(_S.IDLE, _END)
_ERROR = Row(_S.IDLE, (_A.SEND_ERROR, *_FAIL.actions))
_CEASE = Row(_S.IDLE, (_A.SEND_CEASE, *_FAIL.actions))
_CEASE_STOP = Row(_S.IDLE, (_A.SEND_CEASE, *_STOP.actions))
_UNEXPECTED = Row(_S.IDLE, (_A.SEND_FSM_ERROR, *_FAIL.actions))
_EXPIRED = Row(_S.IDLE, (_A.SEND_HOLD_EXPIRED, *_FAIL.actions))
_GREET = Row(_S.OPEN_SENT, (_A.STOP_RETRY, _A.STOP_DELAY, _A.SEND_OPEN, _A.HOLD_LARGE))
_ANSWER = Row(
    _S.OPEN_CONFIRM,
    (_A.STOP_RETRY, _A.STOP_DELAY, _A.SEND_OPEN, _A.SEND_KEEPALIVE, _A.START_KEEPALIVE, _A.HOLD),
)
_ACTIVELY = Row(_S.CONNECT, (_A.ZERO_COUNTER, _A.START_RETRY, _A.CONNECT))
_PASSIVELY = Row(_S.ACTIVE, (_A.ZERO_COUNTER, _A.START_RETRY))
#: a start after a failure: the counter goes on, for it is what makes the pauses longer
_AGAIN = Row(_S.CONNECT, (_A.START_RETRY, _A.CONNECT))
_AGAIN_PASSIVELY = Row(_S.ACTIVE, (_A.START_RETRY,))

#: (state, event, delayed) to what happens; every combination is there
TABLE: dict[tuple[State, Event, bool], Row] = {}


def _rows(state: State, rest: Row, rows: dict[Event | tuple[Event, ...], Row | tuple[Row, Row]]) -> None:
    """rest: for events that are not named; a pair: with `delayed` false and true."""
    for event in _ALL:
        TABLE[state, event, False] = TABLE[state, event, True] = rest
    for events, row in rows.items():
        plain, delayed = (row, row) if isinstance(row, Row) else row
        for event in events if isinstance(events, tuple) else (events,):
            TABLE[state, event, False], TABLE[state, event, True] = plain, delayed


_rows(
    _S.IDLE,
    Row(_S.IDLE),
    {
        (_E.MANUAL_START, _E.AUTOMATIC_START): _ACTIVELY,
        (_E.MANUAL_START_PASSIVE, _E.AUTOMATIC_START_PASSIVE): _PASSIVELY,
        (_E.AUTOMATIC_START_DAMPED, _E.IDLE_HOLD_EXPIRES): _AGAIN,
        _E.AUTOMATIC_START_DAMPED_PASSIVE: _AGAIN_PASSIVELY,
    },
)
_rows(
    _S.CONNECT,
    _FAIL,
    {
        _STARTS: Row(_S.CONNECT),
        _E.MANUAL_STOP: _STOP,
        _E.CONNECT_RETRY_EXPIRES: Row(_S.CONNECT, (_A.DROP, _A.STOP_DELAY, _A.START_RETRY, _A.CONNECT)),
        _E.DELAY_OPEN_EXPIRES: _GREET,
        (_E.TCP_VALID, _E.TCP_INVALID): Row(_S.CONNECT),
        (_E.TCP_ACKED, _E.TCP_CONFIRMED): (_GREET, Row(_S.CONNECT, (_A.STOP_RETRY, _A.START_DELAY))),
        _E.TCP_FAILS: (_FAIL, Row(_S.ACTIVE, (_A.STOP_DELAY, _A.DROP, _A.START_RETRY))),
        _E.OPEN_DELAYED: _ANSWER,
        (_E.HEADER_ERROR, _E.OPEN_ERROR): _FAIL,
        _E.NOTIFICATION_VERSION: (_FAIL, _QUIET),
    },
)
_rows(
    _S.ACTIVE,
    _FAIL,
    {
        _STARTS: Row(_S.ACTIVE),
        _E.MANUAL_STOP: _STOP,
        _E.CONNECT_RETRY_EXPIRES: Row(_S.CONNECT, (_A.DROP, _A.STOP_DELAY, _A.START_RETRY, _A.CONNECT)),
        _E.DELAY_OPEN_EXPIRES: _GREET,
        (_E.TCP_VALID, _E.TCP_INVALID): Row(_S.ACTIVE),
        (_E.TCP_ACKED, _E.TCP_CONFIRMED): (_GREET, Row(_S.ACTIVE, (_A.STOP_RETRY, _A.START_DELAY))),
        _E.OPEN_DELAYED: _ANSWER,
        _E.NOTIFICATION_VERSION: (_FAIL, _QUIET),
    },
)
_rows(
    _S.OPEN_SENT,
    _UNEXPECTED,
    {
        _STARTS: Row(_S.OPEN_SENT),
        _E.MANUAL_STOP: _CEASE_STOP,
        (_E.AUTOMATIC_STOP, _E.COLLISION_DUMP): _CEASE,
        _E.HOLD_EXPIRES: _EXPIRED,
        (_E.TCP_VALID, _E.TCP_INVALID, _E.TCP_ACKED, _E.TCP_CONFIRMED): Row(_S.OPEN_SENT),
        _E.TCP_FAILS: Row(_S.ACTIVE, (_A.DROP, _A.START_RETRY)),
        _E.OPEN: Row(_S.OPEN_CONFIRM, (_A.STOP_RETRY, _A.STOP_DELAY, _A.SEND_KEEPALIVE, _A.START_KEEPALIVE, _A.HOLD)),
        (_E.HEADER_ERROR, _E.OPEN_ERROR): _ERROR,
        _E.NOTIFICATION_VERSION: _QUIET,
        _E.NOTIFICATION: _FAIL,
    },
)
_rows(
    _S.OPEN_CONFIRM,
    _UNEXPECTED,
    {
        _STARTS: Row(_S.OPEN_CONFIRM),
        _E.MANUAL_STOP: _CEASE_STOP,
        (_E.AUTOMATIC_STOP, _E.COLLISION_DUMP): _CEASE,
        _E.HOLD_EXPIRES: _EXPIRED,
        _E.KEEPALIVE_EXPIRES: Row(_S.OPEN_CONFIRM, (_A.SEND_KEEPALIVE, _A.START_KEEPALIVE)),
        (_E.TCP_VALID, _E.TCP_INVALID, _E.TCP_ACKED, _E.TCP_CONFIRMED): Row(_S.OPEN_CONFIRM),
        (_E.TCP_FAILS, _E.NOTIFICATION): _FAIL,
        _E.NOTIFICATION_VERSION: _QUIET,
        (_E.HEADER_ERROR, _E.OPEN_ERROR): _ERROR,
        _E.KEEPALIVE: Row(_S.ESTABLISHED, (_A.HOLD, _A.ZERO_COUNTER, _A.UP)),
    },
)
_rows(
    _S.ESTABLISHED,
    _UNEXPECTED,
    {
        _STARTS: Row(_S.ESTABLISHED),
        _E.MANUAL_STOP: _CEASE_STOP,
        (_E.AUTOMATIC_STOP, _E.COLLISION_DUMP): _CEASE,
        _E.HOLD_EXPIRES: _EXPIRED,
        _E.KEEPALIVE_EXPIRES: Row(_S.ESTABLISHED, (_A.SEND_KEEPALIVE, _A.START_KEEPALIVE)),
        (_E.TCP_VALID, _E.TCP_INVALID, _E.TCP_ACKED, _E.TCP_CONFIRMED): Row(_S.ESTABLISHED),
        (_E.TCP_FAILS, _E.NOTIFICATION, _E.NOTIFICATION_VERSION): _FAIL,
        (_E.HEADER_ERROR, _E.UPDATE_ERROR): _ERROR,
        _E.KEEPALIVE: Row(_S.ESTABLISHED, (_A.HOLD,)),
        (_E.UPDATE, _E.ROUTE_REFRESH): Row(_S.ESTABLISHED, (_A.HOLD, _A.DELIVER)),
    },
)


def step(state: State, event: Event, *, delayed: bool = False) -> Row:
    """What `event` does in `state`."""
    return TABLE[state, event, delayed]
