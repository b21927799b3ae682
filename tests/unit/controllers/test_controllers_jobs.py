"""Jobs: what is counted, what ends them, and that no end is lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import PODS, World, in_world, until
from workloads import kubelet

from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers import jobs
from netlab.controllers.garbage import GarbageCollector
from netlab.controllers.jobs import FINALIZER, Jobs, Tally, index_text, indexes, tally, verdict, wanted

JOBS = Resource("batch/v1", "jobs")
ONLY = (Jobs, GarbageCollector)


def test_indexes() -> None:
    assert indexes("1,3-5") == {1, 3, 4, 5} and indexes("") == set()
    assert index_text([5, 3, 4, 1]) == "1,3-5" and index_text([1, 2, 7]) == "1,2,7"


def a_pod(uid: str, phase: str, *, held: bool = True, ends: bool = False) -> Object:
    meta: Object = {"name": uid, "uid": uid, "finalizers": [FINALIZER] if held else []}
    if ends:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": meta, "status": {"phase": phase}}


def test_an_end_is_noted_then_counted_once() -> None:
    job: Object = {"spec": {"completions": 3}, "status": {}}
    pods = [a_pod("a", "Succeeded"), a_pod("b", "Failed"), a_pod("c", "Running"), a_pod("d", "Running", ends=True)]
    first = tally(job, pods)
    assert (first.succeeded, first.failed, first.uncounted) == (0, 0, {"succeeded": ["a"], "failed": ["b", "d"]})
    job["status"] = {"uncountedTerminatedPods": first.uncounted}
    assert tally(job, pods) == first
    let_go = [a_pod("a", "Succeeded", held=False), a_pod("c", "Running")]  # b and d are gone altogether
    second = tally(job, let_go)
    assert (second.succeeded, second.failed) == (1, 2) and not any(second.uncounted.values())
    job["status"] = {"succeeded": 1, "failed": 2}
    assert tally(job, let_go) == second


def test_when_it_ends_and_how_many_run() -> None:
    job: Object = {"spec": {"completions": 3, "parallelism": 2, "backoffLimit": 1}}
    assert wanted(job, Tally()) == 2 and wanted(job, Tally(succeeded=2)) == 1
    assert verdict(job, Tally(succeeded=2), 0, 0) is None
    assert (verdict(job, Tally(succeeded=3), 0, 0) or ("",))[0] == "Complete"
    assert (verdict(job, Tally(failed=2), 0, 0) or ("", ""))[1] == "BackoffLimitExceeded"
    any_: Object = {"spec": {"parallelism": 2}}
    assert wanted(any_, Tally(succeeded=1)) == 0 and verdict(any_, Tally(succeeded=1), 1, 0) is None
    late = {"spec": {"completions": 1, "activeDeadlineSeconds": 5}, "status": {"startTime": "1970-01-01T00:00:01Z"}}
    assert verdict(late, Tally(), 1, 5) is None and (verdict(late, Tally(), 1, 6) or ("", ""))[1] == "DeadlineExceeded"


async def job(w: World, **spec: Any) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    await w.make(JOBS, "work", spec={"template": template, **spec})


async def ended(w: World, kind: str) -> Object:
    async def there() -> Any:
        found = await w.get(JOBS, "work")
        conditions = ((found or {}).get("status") or {}).get("conditions") or ()
        return found if any(c["type"] == kind for c in conditions) else None

    found = dict(await until(there))
    assert found["status"].get("uncountedTerminatedPods") in (None, {}) and not found["status"].get("active")
    return found


def test_who_is_interrupted_has_not_failed() -> None:
    job: Object = {"spec": {"completions": 1, "suspend": True}, "status": {}}
    found = tally(job, [a_pod("a", "Running", ends=True), a_pod("b", "Failed", ends=True)])
    assert found.uncounted == {"succeeded": [], "failed": ["b"]}


async def let_go(w: World) -> None:
    async def free() -> bool:
        pods = (await w.client.list(PODS.path("default")))["items"]
        return not [p for p in pods if FINALIZER in p["metadata"].get("finalizers", ())]

    await until(free)


def test_a_job_is_done_and_goes_when_its_time_is_up() -> None:
    async def test(w: World) -> None:
        async with kubelet(w, lambda pod: "Succeeded"):
            await job(w, completions=5, parallelism=2)
            found = await ended(w, "Complete")
            assert found["status"]["succeeded"] == 5 and found["status"]["completionTime"]
            assert len(await w.names(PODS)) == 5
            await let_go(w)
            await w.client.patch(JOBS.path("default", "work"), {"spec": {"ttlSecondsAfterFinished": 0}})

            async def gone() -> bool:
                return await w.get(JOBS, "work") is None and not await w.names(PODS)

            await until(gone)

    in_world(test, ONLY)


def test_too_many_failures_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FIRST", 0.01)

    async def test(w: World) -> None:
        async with kubelet(w, lambda pod: "Failed"):
            await job(w, backoffLimit=2)
            found = await ended(w, "Failed")
            assert found["status"]["failed"] == 3 and "succeeded" not in found["status"]
            assert {c["reason"] for c in found["status"]["conditions"]} == {"BackoffLimitExceeded"}
            await let_go(w)

    in_world(test, ONLY)


def test_each_part_of_an_indexed_job_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FIRST", 0.01)
    failed: set[str] = set()

    def runs(pod: Object) -> str:
        index = pod["metadata"]["annotations"][jobs.INDEX]
        if index in ("1", "3") and index not in failed:
            failed.add(index)
            return "Failed"
        return "Succeeded" if pod["metadata"]["uid"] else ""

    async def test(w: World) -> None:
        async with kubelet(w, runs):
            await job(w, completions=4, parallelism=2, completionMode="Indexed")
            found = await ended(w, "Complete")
            state = found["status"]
            assert (state["completedIndexes"], state["succeeded"], state["failed"]) == ("0-3", 4, 2)
            pods = (await w.client.list(PODS.path("default")))["items"]
            assert all(p["spec"]["hostname"] == f"work-{p['metadata']['annotations'][jobs.INDEX]}" for p in pods)
            await let_go(w)

    in_world(test, ONLY)


def test_suspended_it_runs_nothing() -> None:
    async def test(w: World) -> None:
        async with kubelet(w):
            await job(w)

            async def active() -> Any:
                found = await w.get(JOBS, "work")
                return found is not None and found["status"].get("active")

            await until(active)
            await w.client.patch(JOBS.path("default", "work"), {"spec": {"suspend": True}})
            await ended(w, "Suspended")
            await until(lambda: _none(w))
            found = await w.get(JOBS, "work")
            assert found is not None and "failed" not in found["status"]

    in_world(test, ONLY)


async def _none(w: World) -> bool:
    return not await w.names(PODS)
