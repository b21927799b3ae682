from hypothesis import given
from hypothesis import strategies as st

from netlab.lab.capture.merge import TimeMerge
from netlab.lab.capture.packet import Packet, Place


def at(time_ns: int, name: str = "a") -> Packet:
    return Packet(time_ns, Place("n", name), True, b"", 0)


def test_packets_leave_sorted_when_their_time_has_come() -> None:
    merge = TimeMerge(hold_ns=50)
    for time_ns in (120, 100, 110):
        merge.push(at(time_ns))
    assert list(merge.ready(149)) == []
    assert [p.time_ns for p in merge.ready(160)] == [100, 110]
    merge.push(at(115))
    assert [p.time_ns for p in merge.rest()] == [115, 120]


def test_equal_times_keep_the_order_of_arrival() -> None:
    merge = TimeMerge()
    for name in ("c", "a", "b"):
        merge.push(at(5, name))
    assert [p.place.device for p in merge.rest()] == ["c", "a", "b"]


def test_of_equal_times_the_outer_packet_comes_in_before_the_inner() -> None:
    merge = TimeMerge()
    inner, outer = (Packet(5, Place("n", name), False, b"", size) for name, size in (("flannel.1", 98), ("eth0", 148)))
    merge.push(inner)
    merge.push(outer)
    assert list(merge.rest()) == [outer, inner]


@given(st.lists(st.integers(0, 1000)))
def test_whatever_goes_in_comes_out_sorted(times: list[int]) -> None:
    merge = TimeMerge()
    for time_ns in times:
        merge.push(at(time_ns))
    assert [p.time_ns for p in merge.rest()] == sorted(times)
