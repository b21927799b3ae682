"""The state machine's table is whole, and two sessions in virtual time do what RFC 4271 says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

import pytest

from netlab.bgp import session as s
from netlab.bgp.capabilities import Restart
from netlab.bgp.codes import Notification
from netlab.bgp.fsm import TABLE, Action, Event, State, step
from netlab.bgp.message import encode, end_of_rib
from netlab.bgp.nlri import Family
from netlab.bgp.session import Session, Terms, Timer

A = Terms(asn=65001, router_id=IPv4Address("10.0.0.1"), peer_as=65002)
B = Terms(asn=65002, router_id=IPv4Address("10.0.0.2"), peer_as=65001, hold_time=30)


def test_every_state_has_every_event() -> None:
    assert set(TABLE) == {(state, event, d) for state in State for event in Event for d in (False, True)}


def test_where_a_row_leads() -> None:
    for (state, event, _), row in TABLE.items():
        if row.to is State.IDLE and state is not State.IDLE:
            assert Action.DROP in row.actions, (state, event)
        if row.to is State.ESTABLISHED and state is not State.ESTABLISHED:
            assert (state, event) == (State.OPEN_CONFIRM, Event.KEEPALIVE)
            assert Action.UP in row.actions
        sends = {Action.SEND_ERROR, Action.SEND_CEASE, Action.SEND_FSM_ERROR, Action.SEND_HOLD_EXPIRED}
        if sends & set(row.actions):
            assert state in (State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED)
            assert row.actions.index(Action.DROP) > 0, "the NOTIFICATION goes before the connection does"
    assert step(State.IDLE, Event.TCP_CONFIRMED).to is State.IDLE


class Pair:
    """Two sessions and a cable; time goes on when told."""

    def __init__(self, a: Terms = A, b: Terms = B) -> None:
        self.now = 0.0
        self.ends = {"a": Session(a), "b": Session(b, passive=True)}
        self.seen: dict[str, list[s.Outcome]] = {"a": [], "b": []}
        self.cut = False
        self.wire: deque[Callable[[], None]] = deque()
        for name in ("b", "a"):
            self.do(name, self.ends[name].start(self.now))

    def do(self, name: str, outcomes: list[s.Outcome]) -> None:
        """Carry outcomes out; what goes over the cable arrives after all that went before."""
        idle = not self.wire
        for outcome in outcomes:
            self.seen[name].append(outcome)
            self.wire.append(partial(self.carry, name, outcome))
        while idle and self.wire:
            self.wire[0]()
            self.wire.popleft()

    def carry(self, name: str, outcome: s.Outcome) -> None:
        other = "b" if name == "a" else "a"
        here, there = self.ends[name], self.ends[other]
        match outcome:
            case s.Connect():
                if there.state is State.IDLE and there.retries:
                    self.do(other, there.start(self.now))
                if there.state is State.IDLE:
                    self.do(name, here.lost(self.now, "refused"))
                    return
                self.do(other, there.connected(self.now, incoming=True))
                self.do(name, here.connected(self.now))
            case s.Send(data) if not self.cut:
                self.do(other, there.receive(data, self.now))
            case s.Close() if not self.cut:
                self.do(other, there.lost(self.now, "closed"))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [(t.deadline, n) for n, t in self.ends.items() if t.deadline is not None and t.deadline <= end]
            if not due:
                break
            self.now, name = min(due)
            self.do(name, self.ends[name].tick(self.now))
        self.now = end

    @property
    def states(self) -> tuple[State, State]:
        return self.ends["a"].state, self.ends["b"].state

    def last_down(self, name: str) -> s.Down:
        return [o for o in self.seen[name] if isinstance(o, s.Down)][-1]


def test_up_and_alive_for_a_day() -> None:
    pair = Pair()
    assert pair.states == (State.ESTABLISHED, State.ESTABLISHED)
    agreed = pair.ends["a"].agreed
    assert agreed is not None and agreed.hold_time == 30 and agreed.as4
    pair.run(86400)
    assert pair.states == (State.ESTABLISHED, State.ESTABLISHED)
    sent = sum(isinstance(o, s.Send) for o in pair.seen["a"])
    assert 86400 / 10 <= sent <= 86400 / 7


def test_silence_ends_it_after_the_hold_time() -> None:
    pair = Pair()
    pair.cut = True
    pair.run(29)
    assert pair.states == (State.ESTABLISHED, State.ESTABLISHED)
    pair.run(2)
    assert State.ESTABLISHED not in pair.states
    down = pair.last_down("a")
    assert (down.sent, down.established) == (Notification(4), True)


def test_no_hold_time_means_no_keepalives() -> None:
    pair = Pair(replace(A, hold_time=0))
    assert pair.ends["b"].timers == {}
    pair.cut = True
    pair.run(10_000)
    assert pair.states == (State.ESTABLISHED, State.ESTABLISHED)


@pytest.mark.parametrize(
    ("b", "sent"),
    [
        (replace(B, asn=65009), Notification(2, 2, (65009).to_bytes(2, "big"))),
        (replace(B, families=(Family.IPV6,)), Notification(2, 7, bytes.fromhex("010400010001"))),
    ],
)
def test_opens_that_do_not_fit(b: Terms, sent: Notification) -> None:
    pair = Pair(A, b)
    assert (
        pair.last_down("a").sent == sent
        or pair.last_down("b").received == sent
        or (
            pair.last_down("b").sent is not None and pair.last_down("b").sent.code == 2  # type: ignore[union-attr]
        )
    )
    assert State.ESTABLISHED not in pair.states


def test_the_same_identifier_within_an_as_is_refused() -> None:
    a = replace(A, peer_as=65001)
    pair = Pair(a, replace(a, router_id=A.router_id))
    assert State.ESTABLISHED not in pair.states


def test_it_tries_again_with_longer_pauses() -> None:
    pair = Pair(A, replace(B, asn=65009))
    attempts = []
    for _ in range(200):
        count = sum(isinstance(o, s.Connect) for o in pair.seen["a"])
        attempts.append(count)
        pair.run(1)
    assert attempts[5] > 1
    early, late = attempts[20] - attempts[0], attempts[199] - attempts[179]
    assert early > late, "the pauses grow"


def test_a_reset_says_why_and_comes_back() -> None:
    pair = Pair()
    pair.do("a", pair.ends["a"].reset(pair.now, Notification.ceasing(4, "new cable")))
    received = pair.last_down("b").received
    assert received is not None and received.text == "new cable"
    pair.run(5)
    assert pair.states == (State.ESTABLISHED, State.ESTABLISHED)


def test_a_stop_is_for_good() -> None:
    pair = Pair()
    pair.do("a", pair.ends["a"].stop(pair.now, Notification.ceasing(2)))
    pair.run(1000)
    assert pair.ends["a"].state is State.IDLE


def test_an_update_before_its_time_is_an_fsm_error() -> None:
    session = Session(A)
    session.start(0)
    session.connected(0)
    out = session.receive(end_of_rib(Family.IPV4), 0)
    sent = [o.message for o in out if isinstance(o, s.Send)]
    assert sent == [Notification(5, 1)]


def test_a_notification_is_never_answered() -> None:
    session = Session(A)
    session.start(0)
    session.connected(0)
    out = session.receive(encode(Notification(6, 5)), 0)
    assert not [o for o in out if isinstance(o, s.Send)]
    assert session.state is State.IDLE


def test_no_open_comes() -> None:
    session = Session(A, retries=False)
    session.start(0)
    session.connected(0)
    assert session.tick(239) == []
    out = session.tick(241)
    assert [o.message for o in out if isinstance(o, s.Send)] == [Notification(4)]


def test_the_open_can_be_held_back() -> None:
    session = Session(replace(A, delay_open=5))
    session.start(0)
    assert session.connected(0) == []
    assert Timer.DELAY_OPEN in session.timers
    out = session.receive(encode(B.open()), 1)
    kinds = [type(o.message).__name__ for o in out if isinstance(o, s.Send)]
    assert kinds == ["Open", "Keepalive"]
    assert session.state is State.OPEN_CONFIRM


def test_restart_is_told() -> None:
    restart = Restart(77, ((Family.IPV4, True),), restarting=True)
    pair = Pair(replace(A, restart=restart), B)
    agreed = pair.ends["b"].agreed
    assert agreed is not None and agreed.restart == restart


def test_garbage_in_an_established_session() -> None:
    pair = Pair()
    out = pair.ends["a"].receive(b"x" * 19, pair.now)
    assert [o.message for o in out if isinstance(o, s.Send)] == [Notification(1, 1)]
    assert pair.ends["a"].state is State.IDLE
