"""Leader election: decisions by a clock that a test moves, and candidates at a real server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from following import real, until

from netlab.client.election import LEASES, Candidate, LeadershipLost, Timing, lead
from netlab.client.rest import Object, RestClient


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def candidate(name: str, clock: Clock) -> Candidate:
    return Candidate(name, Timing(), clock=clock, now=lambda: 1_700_000_000.0 + clock.time)


def must(spec: Object | None) -> Object:
    assert spec is not None
    return spec


def test_times_that_make_no_sense() -> None:
    for wrong in ((10, 10, 2), (15, 2, 2), (15, 10, 0)):
        with pytest.raises(ValueError, match="lease > renew > retry"):
            Timing(*wrong)


def test_a_holder_keeps_it_as_long_as_it_speaks() -> None:
    clock = Clock()
    a, b = candidate("a", clock), candidate("b", clock)
    spec = must(a.wish(None))
    assert spec == {
        "holderIdentity": "a", "leaseDurationSeconds": 15, "acquireTime": "2023-11-14T22:15:00.000000Z",
        "renewTime": "2023-11-14T22:15:00.000000Z", "leaseTransitions": 0,
    }  # fmt: skip
    for _ in range(10):
        clock.time += 10
        assert b.wish(spec) is None
        renewed = must(a.wish(spec))
        assert (renewed["acquireTime"], renewed["leaseTransitions"]) == (spec["acquireTime"], 0)
        assert renewed["renewTime"] != spec["renewTime"]
        spec = renewed
    # what counts is when the other saw it last change, not what the Lease says of the time
    assert b.wish(spec) is None
    clock.time += 14
    assert b.wish(spec) is None
    clock.time += 1
    taken = must(b.wish(spec))
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("b", 1)
    assert a.wish(taken) is None


def test_what_is_given_back_is_taken_at_once() -> None:
    clock = Clock()
    a, b = candidate("a", clock), candidate("b", clock)
    spec = must(a.wish(None))
    assert b.wish(spec) is None and b.farewell(spec) is None
    left = must(a.farewell(spec))
    assert left["holderIdentity"] == ""
    assert must(b.wish(left))["leaseTransitions"] == 1


FAST = Timing(lease=0.6, renew=0.4, retry=0.02)


def test_one_leads_and_the_next_when_it_ends() -> None:
    async def test() -> None:
        async with real() as (_, client):
            leading: list[str] = []
            ends = {name: asyncio.Event() for name in "abc"}

            def work(name: str) -> None:
                async def forever() -> None:
                    leading.append(name)
                    assert len(leading) == 1
                    try:
                        await ends[name].wait()
                    finally:
                        leading.remove(name)

                tasks[name] = asyncio.create_task(lead(client, "kube-system", "l", name, forever, timing=FAST))

            tasks: dict[str, asyncio.Task[None]] = {}
            for name in "abc":
                work(name)
            order = []
            for _ in range(3):
                await until(lambda: bool(leading))
                order.append(leading[0])
                # one ends by itself, one is told to
                if len(order) == 2:
                    tasks[leading[0]].cancel()
                else:
                    ends[leading[0]].set()
                await asyncio.wait({tasks[order[-1]]})
            assert sorted(order) == ["a", "b", "c"] and tasks[order[1]].cancelled()
            spec = (await client.get(LEASES.path("kube-system", "l")))["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("", 2)

    asyncio.run(test())


def test_a_leader_that_cannot_renew_stops() -> None:
    async def test() -> None:
        async with real() as (_, client):
            began, stopped = asyncio.Event(), asyncio.Event()

            async def work() -> None:
                began.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    stopped.set()

            task = asyncio.create_task(lead(client, "default", "l", "a", work, timing=FAST))
            await began.wait()
            await _stolen(client)
            with pytest.raises(LeadershipLost, match="a could not renew default/l"):
                await task
            assert stopped.is_set()
            assert (await client.get(LEASES.path("default", "l")))["spec"]["holderIdentity"] == "thief"

    asyncio.run(test())


async def _stolen(client: RestClient) -> None:
    await client.patch(LEASES.path("default", "l"), {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 60}})


def test_work_that_fails_says_so() -> None:
    async def test() -> None:
        async with real() as (_, client):

            async def work() -> None:
                raise RuntimeError("a bug")

            with pytest.raises(RuntimeError, match="a bug"):
                await lead(client, "default", "l", "a", work, timing=FAST)

    asyncio.run(test())
