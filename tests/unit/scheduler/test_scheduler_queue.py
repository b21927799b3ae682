"""The queue, on a clock that the test turns."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from making import parsed, pod

from netlab.scheduler.queue import SchedulingQueue

ROOM = frozenset({"NodeResourcesFit"})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def popped(queue: SchedulingQueue) -> str:
    found = queue.pop()
    return "" if found is None else found.key.removeprefix("default/")


def test_the_more_important_first_then_the_older() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    for name, priority in (("a", 0), ("b", 0), ("c", 9), ("d", -1)):
        queue.set(parsed(pod(name, priority=priority)))
        clock.now += 1
    assert [popped(queue) for _ in range(5)] == ["c", "a", "b", "d", ""]


def test_patience_grows_and_only_what_helps_wakes() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    queue.set(parsed(pod("a")))
    waits = []
    for _ in range(6):
        assert popped(queue) == "a"
        queue.unschedulable("default/a", ROOM)
        queue.moved(frozenset({"VolumeBinding"}))
        assert queue.due() is None and queue.counts()["unschedulable"] == 1
        queue.moved(ROOM)
        due = queue.due()
        assert due is not None and popped(queue) == ""
        waits.append(due)
        clock.now += due
    assert waits == [1, 2, 4, 8, 10, 10]
    assert popped(queue) == "a"
    queue.unschedulable("default/a", ROOM)
    clock.now += 20
    queue.moved(None)  # it has waited long enough already
    assert popped(queue) == "a"


def test_who_waits_long_is_tried_again_and_a_fault_is_no_want_of_room() -> None:
    clock = Clock()
    queue = SchedulingQueue(clock)
    queue.set(parsed(pod("a")))
    popped(queue)
    queue.unschedulable("default/a", ROOM)
    clock.now += 299
    queue.left_over()
    assert popped(queue) == ""
    clock.now += 1
    queue.left_over()
    assert popped(queue) == "a"
    queue.fault("default/a")
    assert queue.due() == 2 and queue.counts()["backoff"] == 1
    queue.remove("default/a")
    clock.now += 5
    assert popped(queue) == "" and len(queue) == 0


def test_a_pod_that_changes_is_tried_at_once_and_a_gated_one_when_it_may() -> None:
    queue = SchedulingQueue(Clock())
    queue.set(parsed(pod("a")))
    popped(queue)
    queue.unschedulable("default/a", ROOM)
    same = pod("a")
    same["status"] = {"conditions": [{"type": "PodScheduled", "status": "False"}]}
    queue.set(parsed(same))
    assert popped(queue) == ""
    queue.set(parsed(pod("a", tolerations=[{"operator": "Exists"}])))
    assert popped(queue) == "a"
    queue.set(parsed(pod("b", schedulingGates=[{"name": "wait"}])))
    assert popped(queue) == ""
    queue.set(parsed(pod("b")))
    assert popped(queue) == "b"
