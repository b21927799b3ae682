from hypothesis import given
from hypothesis import strategies as st

from netlab.lab.capture.merge import TimeMerge
from netlab.lab.capture.packet import Packet, Place


def at(time_ns: int, name: str = "a") -> Packet:
    return Packet(time_ns, Place("n", name), True, b"", 0)


def test_packets_leave_sorted_when_their_time_has_come():
    merge = TimeMerge(hold_ns=50)
    for time_ns in (120, 100, 110):
        merge.push(at(time_ns))
    assert list(merge.ready(149)) == []
    assert [p.time_ns for p in merge.ready(160)] == [100, 110]
    merge.push(at(115))
    assert [p.time_ns for p in merge.rest()] == [115, 120]


def test_equal_times_keep_the_order_of_arrival():
    merge = TimeMerge()
    for name in ("c", "a", "b"):
        merge.push(at(5, name))
    assert [p.place.device for p in merge.rest()] == ["c", "a", "b"]


@given(st.lists(st.integers(0, 1000)))
def test_whatever_goes_in_comes_out_sorted(times: list[int]):
    merge = TimeMerge()
    for time_ns in times:
        merge.push(at(time_ns))
    assert [p.time_ns for p in merge.rest()] == sorted(times)
