import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest

from netlab.lab.capture.packet import Interface, Packet, Place
from netlab.lab.capture.pcapng import Writer
from netlab.lab.capture.reading import read_stream
from netlab.lab.capture.session import Count, run

A, B = Place("a", "eth0"), Place("b", "eth0")
INTERFACES = [Interface(A), Interface(B)]


class Seen(NamedTuple):
    tap: int
    time_ns: int
    outgoing: bool = True
    data: bytes = b"abcd"
    wire_length: int = 4


class Script:
    """A listener that hands out prepared rounds, and whose clock moves 10 ms with each poll."""

    def __init__(self, *rounds: Sequence[Seen]) -> None:
        self.rounds = list(rounds)
        self.ticks = 0

    def poll(self, timeout: float) -> Iterable[Seen]:
        assert 0 <= timeout <= 0.05
        self.ticks += 1
        return self.rounds.pop(0) if self.rounds else ()

    def statistics(self) -> Sequence[tuple[int, int]]:
        return [(3, 1), (0, 0)]

    def monotonic(self) -> float:
        return self.ticks / 100

    def now_ns(self) -> int:
        return self.ticks * 10_000_000


def capture(script: Script, **options: object) -> tuple[list[Packet], list[Count]]:
    shown: list[Packet] = []
    counts = run(
        script, INTERFACES, show=shown.append, monotonic=script.monotonic, now_ns=script.now_ns, **options  # type: ignore[arg-type]
    )  # fmt: skip
    return shown, counts


def test_packets_of_two_taps_come_out_in_time_order_with_their_places() -> None:
    shown, counts = capture(Script([Seen(0, 30), Seen(0, 40)], [Seen(1, 10), Seen(1, 35)]), duration=1)
    assert [(p.time_ns, p.place) for p in shown] == [(10, B), (30, A), (35, B), (40, A)]
    assert counts == [Count(A, 2, 3, 1), Count(B, 2, 0, 0)]


def test_a_packet_is_shown_when_it_was_held_long_enough_not_at_the_end() -> None:
    script = Script([Seen(0, 0)])
    seen_at: list[int] = []
    run(script, INTERFACES, show=lambda _: seen_at.append(script.ticks), duration=1,
        monotonic=script.monotonic, now_ns=script.now_ns)  # fmt: skip
    assert seen_at == [5]  # 50 ms


def test_the_limit_counts_packets_in_time_order() -> None:
    shown, counts = capture(Script([Seen(0, 30)], [Seen(1, 10)], [Seen(0, 40)]), limit=2)
    assert [p.time_ns for p in shown] == [10, 30]
    assert [count.packets for count in counts] == [1, 1]


def test_a_stop_empties_the_taps_first() -> None:
    shown, _ = capture(Script([Seen(0, 1)], [Seen(1, 2)], [], [Seen(0, 3)]), stop=lambda: True)
    assert [p.time_ns for p in shown] == [1, 2]


def test_a_flood_cannot_hold_up_the_stop() -> None:
    class Flood(Script):
        def poll(self, timeout: float) -> Iterable[Seen]:
            super().poll(timeout)
            return [Seen(0, self.ticks)]

    shown, _ = capture(Flood(), stop=lambda: True)
    assert 50 < len(shown) < 200


def test_the_file_has_packets_statistics_and_is_flushed_as_it_grows() -> None:
    class Flushed(io.BytesIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    stream = Flushed()
    capture(Script([Seen(0, 1)], *[[]] * 8, [Seen(1, 2)]), writer=Writer(stream, INTERFACES), duration=0.5)
    assert stream.flushes >= 4
    assert [p.place for p in read_stream(io.BytesIO(stream.getvalue()), "x")] == [A, B]
    assert stream.getvalue().count(b"\x04\x00\x08\x00\x03" + bytes(7)) == 1  # isb_ifrecv 3


def test_a_reader_that_goes_away_ends_the_capture() -> None:
    class Pipe(io.BytesIO):
        def flush(self) -> None:
            if self.tell() > 400:
                raise BrokenPipeError

    script = Script(*[[Seen(0, number)] for number in range(100)])
    _, counts = capture(script, writer=Writer(Pipe(), INTERFACES))
    assert script.rounds and counts[0].received == 3


def test_errors_of_the_callback_pass_through() -> None:
    def refuse(_: Packet) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Script([Seen(0, 1)]), INTERFACES, show=refuse, stop=lambda: True)
