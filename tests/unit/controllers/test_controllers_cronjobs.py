"""CronJobs: when they are due (pure), and what becomes of their Jobs, on a clock that the test turns."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from controlworld import EVENTS, World, in_world, until
from hypothesis import given
from hypothesis import strategies as st

from netlab.api import times
from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers.cronjobs import SCHEDULED, CronJobs, job_name, job_of, too_many
from netlab.controllers.schedules import MANY, Due, ScheduleError, ZoneError, due, parse, zone_of
from netlab.controllers.shape import Tools

CRON_JOBS, JOBS = Resource("batch/v1", "cronjobs"), Resource("batch/v1", "jobs")
UTC = datetime.UTC
#: by the clock of the server of these tests
NOW = 1_700_000_000.0


def at(text: str, zone: datetime.tzinfo = UTC) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def test_times_of_schedules() -> None:
    noon = at("2026-01-01T12:00:00")
    assert parse("*/5 * * * *", UTC).after(noon) == noon + 300
    assert parse("@hourly", UTC).after(noon + 1) == noon + 3600
    assert parse("@every 1h30m", UTC).after(noon) == noon + 5400
    assert parse("@every 500ms", UTC).after(noon) == noon + 1
    berlin = zone_of("Europe/Berlin")
    assert parse("30 8 * * MON", berlin).after(noon) == at("2026-01-05T08:30:00", ZoneInfo("Europe/Berlin"))
    # the hour that clocks skip, and the one that they have twice
    assert parse("30 2 * * *", berlin).after(at("2026-03-28T12:00:00")) == at("2026-03-29T01:00:00")
    first = parse("30 2 * * *", berlin).after(at("2026-10-24T12:00:00"))
    assert first == at("2026-10-25T00:30:00")


@pytest.mark.parametrize(
    "text", ["* * * *", "61 * * * *", "@every", "@every 5", "@every x", "nonsense here for five f"]
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse(text, UTC)


def test_time_zones() -> None:
    assert zone_of(None) is UTC
    for name in ("Mars/Olympus", "../etc/passwd"):
        with pytest.raises(ZoneError, match="unknown time zone"):
            zone_of(name)


def test_what_is_due() -> None:
    noon, each = at("2026-01-01T12:00:00"), parse("*/10 * * * *", UTC)
    assert due(each, since=noon, now=noon + 599, deadline=None) == Due(None, noon + 600, 0)
    assert due(each, since=noon, now=noon + 600, deadline=None) == Due(noon + 600, noon + 1200, 1)
    assert due(each, since=noon, now=noon + 1900, deadline=None) == Due(noon + 1800, noon + 2400, 3)
    # what is longer ago than the deadline is forgotten
    assert due(each, since=noon, now=noon + 1900, deadline=50) == Due(None, noon + 2400, 0)
    late = due(each, since=noon, now=noon + 600 * 1000 + 1, deadline=None)
    assert late == Due(noon + 600 * 1000, noon + 600 * 1001, MANY)


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 */3 * * *", "15 10 * * 1-5", "0 0 1 * *", "@every 90s"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]), st.integers(0, 400 * 86400), st.integers(0, 9 * 86400),
)  # fmt: skip
def test_the_last_time_is_found_however_many_there_were(text: str, zone: str, start: int, passed: int) -> None:
    schedule = parse(text, zone_of(zone))
    since = at("2026-01-01T00:00:00") + start
    found = due(schedule, since=since, now=since + passed, deadline=None)
    assert found.next > since + passed
    if found.at is None:
        assert schedule.after(since) == found.next
    else:
        assert since < found.at <= since + passed
        if not text.startswith("@every"):  # which counts from whenever it is asked
            assert schedule.after(found.at) == found.next


def a_cron(**more: Any) -> Object:
    template = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "busybox"}],
                                               "restartPolicy": "OnFailure"}}}}  # fmt: skip
    return {"schedule": "*/1 * * * *", "jobTemplate": template, **more}


def test_a_job_is_named_after_its_minute() -> None:
    cron: Object = {"metadata": {"name": "hello", "namespace": "default", "uid": "u"}, "spec": a_cron()}
    noon = at("2026-01-01T12:00:00")
    assert job_name(cron, noon) == f"hello-{int(noon) // 60}"
    made = job_of(cron, noon, zone_of("Europe/Berlin"))
    assert made["metadata"]["annotations"] == {SCHEDULED: "2026-01-01T13:00:00+01:00"}
    assert made["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    assert job_of(cron, noon, UTC)["metadata"]["annotations"] == {SCHEDULED: "2026-01-01T12:00:00Z"}


def test_how_many_are_kept() -> None:
    jobs = [{"metadata": {"name": f"j{n}"}, "status": {"startTime": f"2026-01-01T00:0{n}:00Z"}} for n in (2, 0, 1)]
    assert [j["metadata"]["name"] for j in too_many(jobs, 1)] == ["j0", "j1"]
    assert too_many(jobs, 3) == [] == too_many(jobs, None) and len(too_many(jobs, 0)) == 3


class Turned(CronJobs):
    """The same on the test's clock."""

    ahead = 0.0

    def __init__(self, tools: Tools) -> None:
        super().__init__(replace(tools, now=lambda: NOW + Turned.ahead))


async def turn(w: World, seconds: float, name: str = "hello") -> None:
    """Let time pass, and have it looked at: timers go by another clock."""
    Turned.ahead += seconds
    stamp = {"metadata": {"annotations": {"ahead": str(Turned.ahead)}}}
    await w.client.patch(CRON_JOBS.path("default", name), stamp)


async def jobs(w: World) -> list[Object]:
    listed: list[Object] = (await w.client.list(JOBS.path("default")))["items"]
    return sorted(listed, key=lambda job: str(job["metadata"]["name"]))


async def end(w: World, job: Object, kind: str = "Complete") -> None:
    """Let a Job have ended."""
    now = times.seconds(times.parse(job["metadata"]["creationTimestamp"]).timestamp())
    first = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
    conditions = [{"type": t, "status": "True", "lastTransitionTime": now} for t in (first, kind)]
    status: Object = {"startTime": now, "conditions": conditions}
    if kind == "Complete":
        status["completionTime"] = now
    await w.client.patch(JOBS.at(f"default/{job['metadata']['name']}", "status"), {"status": status})


async def said(w: World, reason: str) -> bool:
    return any(e["reason"] == reason for e in (await w.client.list(EVENTS.path("default")))["items"])


def cron_world(test: Any) -> None:
    Turned.ahead = 0.0
    in_world(test, [Turned])


async def after_a_minute(w: World, count: int) -> list[Object]:
    """Once the next minute has come, the Jobs, when they are so many."""
    await turn(w, 60)

    async def so_many() -> Any:
        found = await jobs(w)
        return found if len(found) == count else None

    found: list[Object] = await until(so_many)
    return found


def test_jobs_come_and_go() -> None:
    async def test(w: World) -> None:
        await w.make(CRON_JOBS, "hello", spec=a_cron(successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0))
        (first,) = await after_a_minute(w, 1)
        cron = await w.get(CRON_JOBS, "hello")
        assert cron is not None

        async def noted() -> Any:
            found = await w.get(CRON_JOBS, "hello")
            return found if found and (found.get("status") or {}).get("active") else None

        cron = await until(noted)
        assert [ref["name"] for ref in cron["status"]["active"]] == [first["metadata"]["name"]]
        await end(w, first)

        async def done() -> bool:
            found = await w.get(CRON_JOBS, "hello")
            return found is not None and "active" not in found["status"] and "lastSuccessfulTime" in found["status"]

        await until(done)
        assert await said(w, "SuccessfulCreate") and await said(w, "SawCompletedJob")
        second = (await after_a_minute(w, 2))[1]
        await end(w, second)

        async def one_is_kept() -> bool:
            return [j["metadata"]["name"] for j in await jobs(w)] == [second["metadata"]["name"]]

        await until(one_is_kept)
        third = (await after_a_minute(w, 2))[1]
        await end(w, third, "Failed")
        await until(one_is_kept)

    cron_world(test)


def test_one_at_a_time() -> None:
    async def test(w: World) -> None:
        await w.make(CRON_JOBS, "hello", spec=a_cron(concurrencyPolicy="Forbid"))
        (first,) = await after_a_minute(w, 1)
        await turn(w, 60)
        await until(lambda: said(w, "JobAlreadyActive"))
        assert len(await jobs(w)) == 1
        await w.client.patch(CRON_JOBS.path("default", "hello"), {"spec": {"concurrencyPolicy": "Replace"}})

        async def replaced() -> bool:
            names = [j["metadata"]["name"] for j in await jobs(w) if "deletionTimestamp" not in j["metadata"]]
            return len(names) == 1 and names != [first["metadata"]["name"]]

        await until(replaced)

    cron_world(test)


def test_suspended_late_and_wrong_ones_make_nothing() -> None:
    async def test(w: World) -> None:
        await w.make(CRON_JOBS, "hello", spec=a_cron(suspend=True, startingDeadlineSeconds=100))
        await turn(w, 3600)
        await w.make(CRON_JOBS, "odd", spec=a_cron(schedule="99 * * * *"))
        await until(lambda: said(w, "UnparseableSchedule"))
        await w.make(CRON_JOBS, "mars", spec=a_cron(timeZone="Mars/Olympus"))
        await until(lambda: said(w, "UnknownTimeZone"))
        assert await jobs(w) == []
        await w.client.patch(CRON_JOBS.path("default", "hello"), {"spec": {"suspend": False}})

        async def one() -> bool:
            return len(await jobs(w)) == 1

        await until(one)

    cron_world(test)
