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
from netlab.controllers.podfailures import judged

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


def with_codes(**codes: int) -> Object:
    statuses = [{"name": name, "state": {"terminated": {"exitCode": code}}} for name, code in codes.items()]
    return {
        "metadata": {"name": "p", "namespace": "default"},
        "status": {"phase": "Failed", "containerStatuses": statuses},
    }


def policy(*rules: Object) -> Object:
    return {"spec": {"podFailurePolicy": {"rules": list(rules)}}}


def test_which_failures_count() -> None:
    fatal: Object = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42], "containerName": "main"}}
    moved: Object = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    job = policy(moved, fatal)
    assert judged(job, with_codes(main=1)).action == "Count" == judged(job, with_codes(other=42)).action
    found = judged(job, with_codes(other=0, main=42))
    assert found == (
        "FailJob",
        "Container main for pod default/p failed with exit code 42 matching FailJob rule at index 1",
    )
    pod = with_codes(main=42)
    pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert judged(job, pod).action == "Ignore", "the first rule that fits"
    pod["status"]["conditions"][0]["status"] = "False"
    assert judged(job, pod).action == "FailJob"
    others = policy({"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [42]}})
    assert (
        judged(others, with_codes(main=7)).action == "Ignore" and judged(others, with_codes(main=42)).action == "Count"
    )
    assert judged(others, with_codes(main=0)).action == "Count", "that one did not fail"
    assert judged(job, {**with_codes(main=42), "status": {"phase": "Running"}}).action == "Count"


def job_spec(*rules: Object) -> Object:
    spec = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never"}
    return {"template": {"spec": spec}, "backoffLimit": 0, **policy(*rules)["spec"]}


async def fail(w: World, pod: Object, code: int, *conditions: Object) -> None:
    """Let a pod have failed."""
    ended = {"name": "c", "image": "busybox", "imageID": "", "ready": False, "restartCount": 0,
             "state": {"terminated": {"exitCode": code}}}  # fmt: skip
    status = {"phase": "Failed", "containerStatuses": [ended], "conditions": list(conditions)}
    await w.client.patch(PODS.path("default", pod["metadata"]["name"], "status"), {"status": status})


async def one_pod(w: World, *before: str) -> Object:
    """The pod that runs now, and is none of these."""

    async def so() -> Any:
        found = (await w.client.list(PODS.path("default")))["items"]
        return next(
            (p for p in found if p["metadata"]["uid"] not in before and p["status"]["phase"] == "Pending"), None
        )

    found: Object = await until(so)
    return found


def test_a_disrupted_pod_is_made_again_and_a_fatal_end_ends_it() -> None:
    async def test(w: World) -> None:
        ignore = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        fatal = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
        await w.make(JOBS, "j", spec=job_spec(ignore, fatal))
        first = await one_pod(w)
        await fail(w, first, 137, {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"})
        second = await one_pod(w, first["metadata"]["uid"])

        async def let_go() -> bool:
            pod = await w.get(PODS, first["metadata"]["name"])
            return pod is None or not pod["metadata"].get("finalizers")

        await until(let_go)
        await fail(w, second, 42)

        async def ended() -> Any:
            job = await w.get(JOBS, "j")
            conditions = ((job or {}).get("status") or {}).get("conditions") or ()
            return next((c for c in conditions if c["type"] == "Failed"), None)

        found = await until(ended)
        assert found["reason"] == "PodFailurePolicy" and "failed with exit code 42" in found["message"]
        job = await w.get(JOBS, "j")
        assert job is not None and job["status"]["failed"] == 1, "what was ignored is not counted"

    in_world(test, ONLY)
