"""CronJobs: a Job whenever the clock says so.

A Job is named after the minute for which it is made: however often that is tried, it is made once. Source: kubernetes
pkg/controller/cronjob (cronjob_controllerv2.go).
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterable, Mapping, Sequence

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.owning import controller_of, created, ending, owner_key, owner_reference, write_status
from netlab.controllers.schedules import MANY, ScheduleError, ZoneError, due, parse, zone_of
from netlab.controllers.shape import Tools, Watch

API, KIND = "batch/v1", "CronJob"
CRON_JOBS, JOBS = Resource(API, "cronjobs"), Resource(API, "jobs")
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
#: seconds that a Job is looked for too late rather than too early: clocks and timers differ
SLACK = 0.1


def end_of(job: Object) -> str:
    """Complete or Failed; "" while it goes on."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"])
    return ""


def job_name(cron: Object, at: float) -> str:
    """Of the Job for a time."""
    return f"{cron['metadata']['name']}-{int(at) // 60}"


def job_of(cron: Object, at: float, zone: datetime.tzinfo) -> Object:
    """The Job for a time."""
    template = copy.deepcopy(cron["spec"]["jobTemplate"])
    meta = template.get("metadata") or {}
    stamp = datetime.datetime.fromtimestamp(at, zone).isoformat(timespec="seconds").replace("+00:00", "Z")
    kept = {"labels": meta["labels"]} if meta.get("labels") else {}
    return {
        "apiVersion": API, "kind": "Job", "spec": template["spec"],
        "metadata": {
            **kept, "name": job_name(cron, at), "namespace": cron["metadata"]["namespace"],
            "annotations": {**(meta.get("annotations") or {}), SCHEDULED: stamp},
            "ownerReferences": [owner_reference(cron, API, KIND)],
        },
    }  # fmt: skip


def reference(job: Object) -> Object:
    """As status.active has it."""
    meta = job["metadata"]
    return {"apiVersion": API, "kind": "Job", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"]}  # fmt: skip


def too_many(jobs: Iterable[Object], kept: int | None) -> list[Object]:
    """Of Jobs that ended alike, those beyond the number that is kept, the oldest first; None: all are kept."""
    if kept is None:
        return []
    order = sorted(jobs, key=lambda job: ((job.get("status") or {}).get("startTime") or "", key_of(job)))
    return order[: max(0, len(order) - kept)]


class CronJobs:
    """Keys are those of CronJobs."""

    NAME = "cronjob-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says, self._now = tools.client, tools.says, tools.now
        self._crons, self._jobs = tools.store(Interest(CRON_JOBS)), tools.store(Interest(JOBS))
        self.WATCHES = (Watch(Interest(CRON_JOBS)), Watch(Interest(JOBS), owner_key(KIND)))
        #: by key: the uid, and the last time for which a Job was made. The cache may not know it yet when that Job has
        #: ended and is forgotten, and it would be made again.
        self._made: dict[str, tuple[str, float]] = {}

    async def reconcile(self, key: str) -> float | None:
        """Note what ended, start what is due, and forget what is old; seconds until the next time."""
        cron = self._crons.get(key)
        if cron is None or ending(cron):
            self._made.pop(key, None)
            return None
        cron = copy.deepcopy(cron)
        status = cron.setdefault("status", {})
        before = copy.deepcopy(status)
        jobs = self._jobs.find("controller", cron["metadata"]["uid"])
        await self._look(cron, status, jobs)
        await self._forget(cron, jobs)
        again: float | None = None
        try:
            again = await self._start(cron, status)
        finally:
            if not status.get("active"):
                status.pop("active", None)
            if status != before:
                await write_status(self._client, CRON_JOBS, {**cron, "status": before}, status)
        return again

    async def _look(self, cron: Object, status: Object, jobs: Sequence[Object]) -> None:
        """Bring status.active up to date."""
        active = {ref["uid"]: ref for ref in status.get("active") or ()}
        known: Mapping[str, Object] = {job["metadata"]["uid"]: job for job in jobs}
        for job in jobs:
            uid, name, end = job["metadata"]["uid"], job["metadata"]["name"], end_of(job)
            if not end and uid not in active:
                if await self._ours(cron, name, uid):
                    active[uid] = reference(job)  # it was made, and then we could not say so
            elif end and uid in active:
                del active[uid]
                self._says.normal(cron, "SawCompletedJob", f"Saw completed job: {name}, condition: {end}")
            if end == "Complete":
                at = (job.get("status") or {}).get("completionTime")
                if at and at > (status.get("lastSuccessfulTime") or ""):
                    status["lastSuccessfulTime"] = at
        for uid, ref in list(active.items()):
            if uid not in known and await self._gone(ref):
                del active[uid]
                self._says.normal(cron, "MissingJob", f"Active job went missing: {ref['name']}")
        status["active"] = list(active.values())

    async def _ours(self, cron: Object, name: str, uid: str) -> bool:
        """Whether a Job that is not noted is one of ours, and goes on. Our own cache of the CronJob may be late."""
        fresh = await self._client.get(CRON_JOBS.at(key_of(cron)))
        if any(ref["uid"] == uid for ref in (fresh.get("status") or {}).get("active") or ()):
            return True
        if name.rpartition("-")[2].isdecimal() and name.startswith(f"{cron['metadata']['name']}-"):
            return True
        self._says.warning(cron, "UnexpectedJob", f"Saw a job that the controller did not create or forgot: {name}")
        return False

    async def _gone(self, ref: Object) -> bool:
        """Whether the server does not know it either."""
        try:
            job = await self._client.get(JOBS.path(ref["namespace"], ref["name"]))
        except ApiError as e:
            if e.code != 404:
                raise
            return True
        return bool(job["metadata"]["uid"] != ref["uid"])

    async def _start(self, cron: Object, status: Object) -> float | None:
        spec, now = cron["spec"], self._now()
        try:
            zone = zone_of(spec.get("timeZone"))
            schedule = parse(spec["schedule"], zone)
        except ZoneError as e:
            self._says.warning(cron, "UnknownTimeZone", f'invalid timeZone: "{spec.get("timeZone")}": {e}')
            return None
        except ScheduleError as e:
            self._says.warning(cron, "UnparseableSchedule", f'unparseable schedule: "{spec["schedule"]}" : {e}')
            return None
        if spec.get("suspend"):
            return None
        last = status.get("lastScheduleTime")
        since = times.parse(last).timestamp() if last else created(cron)
        uid, at = self._made.get(key_of(cron), ("", 0.0))
        if uid == cron["metadata"]["uid"] and at > since:
            since, status["lastScheduleTime"] = at, times.seconds(at)
        patience = spec.get("startingDeadlineSeconds")
        found = due(schedule, since=since, now=now, deadline=None if patience is None else float(patience))
        wait = max(0.0, found.next - now) + SLACK
        if found.missed >= MANY:
            text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self._says.warning(cron, "TooManyMissedTimes", text)
        if found.at is None:
            return wait
        if patience is not None and found.at + float(patience) < now:
            stamp = datetime.datetime.fromtimestamp(found.at, zone).strftime("%a, %d %b %Y %H:%M:%S %z")
            self._says.warning(cron, "MissSchedule", f"Missed scheduled time to start a job: {stamp}")
            return wait
        name, active = job_name(cron, found.at), status.get("active") or []
        if any(ref["name"] == name for ref in active):
            return wait
        if spec.get("concurrencyPolicy") == "Forbid" and active:
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._says.normal(cron, "JobAlreadyActive", text)
            return wait
        if spec.get("concurrencyPolicy") == "Replace":
            for ref in active:
                await self._delete(cron, f"{ref['namespace']}/{ref['name']}", ref["uid"])
            status["active"] = []
        if await self._make(cron, status, found.at, zone):
            self._made[key_of(cron)] = cron["metadata"]["uid"], found.at
            status["lastScheduleTime"] = times.seconds(found.at)
        return wait

    async def _make(self, cron: Object, status: Object, at: float, zone: datetime.tzinfo) -> bool:
        job = job_of(cron, at, zone)
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        try:
            made = await self._client.create(JOBS.path(namespace), job)
        except ApiError as e:
            if any(cause.get("reason") == "NamespaceTerminating" for cause in e.details.get("causes") or ()):
                return False
            if e.reason != "AlreadyExists":
                self._says.warning(cron, "FailedCreate", f"Error creating job: {e}")
                raise
            made = await self._client.get(JOBS.path(namespace, name))
            owner = controller_of(made)
            if owner is None or owner["uid"] != cron["metadata"]["uid"]:
                raise
        else:
            self._says.normal(cron, "SuccessfulCreate", f"Created job {name}")
        if not end_of(made):
            status["active"] = [*(status.get("active") or ()), reference(made)]
        return True

    async def _forget(self, cron: Object, jobs: Sequence[Object]) -> None:
        """Delete the oldest of the Jobs that ended."""
        spec = cron["spec"]
        for end, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
            ended = [job for job in jobs if end_of(job) == end and not ending(job)]
            for job in too_many(ended, spec.get(limit)):
                await self._delete(cron, key_of(job), job["metadata"]["uid"])

    async def _delete(self, cron: Object, key: str, uid: str) -> None:
        name = key.rpartition("/")[2]
        try:
            await self._client.delete(JOBS.at(key), uid=uid, propagation="Background")
        except ApiError as e:
            if e.code in (404, 409):
                return
            self._says.warning(cron, "FailedDelete", f"Deleted job: {e}")
            raise
        self._says.normal(cron, "SuccessfulDelete", f"Deleted job {name}")
