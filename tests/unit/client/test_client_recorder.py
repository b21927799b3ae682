"""Events: counted, put together, and cut off, as the original's recorder does."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from following import real

from netlab.client.recorder import BURST, REFILL_SECONDS, SIMILAR_MAX, SIMILAR_SECONDS, Correlator, Recorder, reference
from netlab.client.rest import Object

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "x", "uid": "u", "resourceVersion": "7"},
}


class Clock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


def correlator() -> tuple[Correlator, Clock]:
    clock = Clock()
    return Correlator("tester", "me", now=clock, clock=clock), clock


def test_a_reference_has_what_there_is() -> None:
    assert reference(POD) == {
        "apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "x", "uid": "u", "resourceVersion": "7",
    }  # fmt: skip
    assert reference({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}) == {
        "apiVersion": "v1", "kind": "Node", "name": "n",
    }  # fmt: skip


def test_what_is_said_again_is_counted() -> None:
    correlate, clock = correlator()
    first = correlate.event(reference(POD), "Normal", "Pulled", "done")
    assert first is not None and first.patch is None
    assert first.event["metadata"] == {"name": f"p.{int(clock.time * 1e9):x}", "namespace": "x"}
    assert (first.event["count"], first.event["source"]) == (1, {"component": "tester"})
    clock.time += 5
    second = correlate.event(reference(POD), "Normal", "Pulled", "done")
    assert second is not None and second.patch == {
        "count": 2, "lastTimestamp": "2023-11-14T22:13:25Z", "message": "done",
    }  # fmt: skip
    assert second.event["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert second.event["metadata"] == first.event["metadata"]
    other = correlate.event(reference(POD), "Warning", "Pulled", "done")
    assert other is not None and other.patch is None


def test_ever_new_words_are_one_event_after_ten() -> None:
    correlate, clock = correlator()
    writes = []
    for number in range(SIMILAR_MAX + 2):
        clock.time += 1
        writes.append(correlate.event(reference(POD), "Warning", "BackOff", f"try {number}"))
    texts = [w.event["message"] for w in writes if w is not None]
    assert texts[: SIMILAR_MAX - 1] == [f"try {n}" for n in range(SIMILAR_MAX - 1)]
    assert texts[SIMILAR_MAX - 1 :] == [f"(combined from similar events): try {n}" for n in (9, 10, 11)]
    assert [w.patch is None for w in writes if w is not None][SIMILAR_MAX - 1 :] == [True, False, False]
    clock.time += SIMILAR_SECONDS + 1
    last = correlate.event(reference(POD), "Warning", "BackOff", "try 100")
    assert last is not None and last.event["message"] == "try 100"


def test_who_talks_without_an_end_is_cut_off() -> None:
    correlate, clock = correlator()
    said = [correlate.event(reference(POD), "Normal", "Same", "thing") for _ in range(BURST + 5)]
    assert said.count(None) == 5 and None not in said[:BURST]
    clock.time += REFILL_SECONDS
    assert correlate.event(reference(POD), "Normal", "Same", "thing") is not None
    assert correlate.event(reference(POD), "Normal", "Same", "thing") is None
    other = {**POD, "metadata": {"name": "q", "namespace": "x"}}
    assert correlate.event(reference(other), "Normal", "Same", "thing") is not None


def test_a_real_server_keeps_them() -> None:
    async def test() -> None:
        async with real() as (_, client):
            recorder = Recorder(client, Correlator("tester", "me"))
            task = asyncio.create_task(recorder.run())
            here: Object = {**POD, "metadata": {**POD["metadata"], "namespace": "default"}}
            node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
            nowhere: Object = {**POD, "metadata": {**POD["metadata"], "namespace": "nowhere"}}
            for obj in (here, here, nowhere, node):
                recorder.normal(obj, "Tested", "it works")
            recorder.warning(here, "Tested", "it works")
            await recorder.written()
            found = (await client.list("/api/v1/namespaces/default/events"))["items"]
            told = [(e["involvedObject"]["name"], e["type"], e["reason"], e["message"], e["count"]) for e in found]
            assert sorted(told) == [
                ("n", "Normal", "Tested", "it works", 1), ("p", "Normal", "Tested", "it works", 2),
                ("p", "Warning", "Tested", "it works", 1),
            ]  # fmt: skip
            # an Event lives an hour: what is said after that is a new one, under the old name
            name = next(e["metadata"]["name"] for e in found if e["count"] == 2)
            await client.delete(f"/api/v1/namespaces/default/events/{name}")
            recorder.normal(here, "Tested", "it works")
            await recorder.written()
            assert (await client.get(f"/api/v1/namespaces/default/events/{name}"))["count"] == 3
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(test())


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    wall, passed = Clock(), Clock()
    correlate = Correlator("tester", "me", now=wall, clock=passed)
    assert correlate.event(reference(POD), "Normal", "Pulled", "done") is not None
    wall.time -= 3600
    assert correlate.event(reference(POD), "Normal", "Started", "done") is not None
