"""Jobs: pods that run until enough of them have succeeded, or too many have failed.

No end of a pod is missed or counted twice: each pod has a finalizer, is noted in status.uncountedTerminatedPods when it
has ended, loses the finalizer, and then is counted, unless its podFailurePolicy says otherwise. Source: kubernetes
pkg/controller/job. Not done: backoffLimitPerIndex, successPolicy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.owning import (
    BURST,
    Expectations,
    PodControl,
    active,
    claim,
    created,
    ending,
    owner_key,
    phase,
    ready_since,
    slow_start,
    with_condition,
    write_status,
)
from netlab.controllers.podfailures import FAIL_JOB, IGNORE, judged
from netlab.controllers.shape import LEAN_PODS, PODS, Tools, Watch

API, KIND = "batch/v1", "Job"
JOBS = Resource(API, "jobs")
FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
#: seconds before a pod takes the place of one that failed, the first time and at most
FIRST, LAST = 10.0, 600.0
SUCCEEDED, FAILED = "succeeded", "failed"
_TERMINAL = ("Complete", "Failed")


def indexes(text: str) -> set[int]:
    """`1,3-5` as numbers."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def index_text(numbers: Iterable[int]) -> str:
    """Numbers as `1,3-5`: two in a row are written apart, as the original does."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]},{p[1]}" if len(p) == 2 else f"{p[0]}-{p[-1]}" for p in parts)


def index_of(pod: Object) -> int | None:
    """Which part of an indexed Job a pod is."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdecimal() else None


@dataclass(slots=True)
class Tally:
    """What has ended. succeeded, failed: counted; uncounted: uids that are noted; done: parts of an indexed Job."""

    succeeded: int = 0
    failed: int = 0
    uncounted: dict[str, list[str]] = field(default_factory=lambda: {SUCCEEDED: [], FAILED: []})
    done: set[int] = field(default_factory=set)

    @property
    def successes(self) -> int:
        """With those that are noted."""
        return self.succeeded + len(self.uncounted[SUCCEEDED])

    @property
    def failures(self) -> int:
        """The same."""
        return self.failed + len(self.uncounted[FAILED])


def tally(job: Object, pods: Sequence[Object]) -> Tally:
    """The next state of the count: pods that ended are noted, noted ones without their finalizer are counted."""
    state, indexed = job.get("status") or {}, job["spec"].get("completionMode") == "Indexed"
    noted = state.get("uncountedTerminatedPods") or {}
    found = Tally(int(state.get(SUCCEEDED) or 0), int(state.get(FAILED) or 0))
    if indexed:
        found.done = indexes(state.get("completedIndexes", ""))
    held = {pod["metadata"]["uid"] for pod in pods if FINALIZER in (pod["metadata"].get("finalizers") or ())}
    for how in (SUCCEEDED, FAILED):
        for uid in noted.get(how) or ():
            if uid in held:
                found.uncounted[how].append(uid)
            elif how == SUCCEEDED:
                found.succeeded += 1
            else:
                found.failed += 1
    known = {uid for uids in found.uncounted.values() for uid in uids}
    for pod in pods:
        uid, how = pod["metadata"]["uid"], "" if interrupted(job, pod) or ignored(job, pod) else _end(job, pod)
        if how and uid in held and uid not in known:
            number = index_of(pod)
            if indexed and how == SUCCEEDED and number in found.done:
                how = FAILED  # its part was done by another
            elif indexed and how == SUCCEEDED and number is not None:
                found.done.add(number)
            found.uncounted[how].append(uid)
    return found


def interrupted(job: Object, pod: Object) -> bool:
    """Whether a pod goes because its Job is suspended: that is nobody's failure."""
    return bool(job["spec"].get("suspend")) and ending(pod) and phase(pod) not in ("Succeeded", "Failed")


def ignored(job: Object, pod: Object) -> bool:
    """Whether the Job's policy has it that a failure is none."""
    return judged(job, pod).action == IGNORE


def _end(job: Object, pod: Object) -> str:
    """How a pod has ended: one that is deleted before it could has failed. With a policy how it ends is waited for."""
    if phase(pod) == "Succeeded":
        return SUCCEEDED
    return FAILED if phase(pod) == "Failed" or (ending(pod) and not job["spec"].get("podFailurePolicy")) else ""


def against_policy(job: Object, pods: Iterable[Object]) -> tuple[str, str, str] | None:
    """The end of a Job one of whose pods failed as its policy does not bear."""
    there = next((c for c in (job.get("status") or {}).get("conditions") or () if c["type"] == "FailureTarget"), None)
    if there is not None and there.get("reason") == "PodFailurePolicy":
        return "Failed", "PodFailurePolicy", str(there.get("message", ""))
    for pod in pods:
        found = judged(job, pod)
        if found.action == FAIL_JOB:
            return "Failed", "PodFailurePolicy", found.message
    return None


def verdict(job: Object, count: Tally, running: int, now: float) -> tuple[str, str, str] | None:
    """Type, reason and message of the condition that ends a Job, None while it goes on."""
    spec, state = job["spec"], job.get("status") or {}
    completions = spec.get("completions")
    if spec.get("completionMode") == "Indexed":
        complete = len(count.done) >= int(completions or 0)
    elif completions is None:
        complete = count.successes > 0 and not running
    else:
        complete = count.successes >= int(completions)
    if complete:
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    if count.failures > int(spec.get("backoffLimit", 6)):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    deadline, start = spec.get("activeDeadlineSeconds"), state.get("startTime")
    if deadline is not None and start and now - times.parse(start).timestamp() >= int(deadline):
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def wanted(job: Object, count: Tally) -> int:
    """How many pods are to run now."""
    spec = job["spec"]
    parallel, completions = int(spec.get("parallelism", 1)), spec.get("completions")
    if spec.get("completionMode") == "Indexed":
        return min(parallel, int(completions or 0) - len(count.done))
    if completions is None:
        return 0 if count.successes else parallel
    return max(0, min(parallel, int(completions) - count.successes))


class Jobs:
    """Keys are those of Jobs."""

    NAME = "job-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says, self._now = tools.client, tools.says, tools.now
        self._jobs, self._pods = tools.store(Interest(JOBS)), tools.store(LEAN_PODS)
        self._expected = Expectations(self._pods)
        self._control = PodControl(tools.client, tools.says, self._expected, API, KIND)
        self._owners = owner_key(KIND)
        #: by Job: how many failures it had when that was first seen, and when
        self._failures: dict[str, tuple[int, float]] = {}
        self.WATCHES = (Watch(Interest(JOBS)), Watch(LEAN_PODS, self._of_pod))

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        if old is not None and new is None:
            self._expected.gone(old)
        return self._owners(old, new)

    async def reconcile(self, key: str) -> float | None:
        """Count what ended, start what is missing, and tell."""
        job = self._jobs.get(key)
        if job is None:
            self._expected.forget(key)
            self._failures.pop(key, None)
            return None
        pods = await claim(self._client, self._pods, PODS, job, API, KIND)
        for condition in (job.get("status") or {}).get("conditions") or ():
            if condition["type"] in _TERMINAL and condition["status"] == "True":
                await self._let_go(pods)
                return await self._expire(key, job, condition["lastTransitionTime"])
        now, count = self._now(), tally(job, pods)
        running = [pod for pod in pods if active(pod)]
        end = against_policy(job, pods) or verdict(job, count, len(running), now)
        again: float | None = None
        if not ending(job) and self._expected.met(key):
            if end is not None or job["spec"].get("suspend"):
                await self._stop(key, job, running)
                running = []
            else:
                again = await self._manage(key, job, pods, running, count, now)
        await self._tell(job, pods, running, count, end, now)
        noted = {uid for uids in count.uncounted.values() for uid in uids}
        free = {pod["metadata"]["uid"] for pod in pods if interrupted(job, pod) or ignored(job, pod)}
        await self._let_go(pods, noted | free)
        deadline, start = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
        if deadline is not None and start and end is None:
            left = max(0.0, times.parse(start).timestamp() + int(deadline) - now)
            again = left if again is None else min(again, left)
        return again

    async def _manage(self, key: str, job: Object, pods: list[Object], running: list[Object], count: Tally,
                      now: float) -> float | None:  # fmt: skip
        """Start or end pods; seconds until that may be done for which it is too early."""
        number = wanted(job, count)
        if len(running) > number:
            running.sort(key=lambda pod: (ready_since(pod) is not None, -created(pod)))
            for pod in running[: len(running) - number]:
                await self._control.delete(key, job, pod)
            return None
        missing = number - len(running)
        if missing <= 0:
            return None
        failures, since = self._failures.get(key, (0, now))
        if count.failures != failures:
            failures, since = self._failures[key] = (count.failures, now)
        if failures:
            left = since + min(FIRST * 2.0 ** min(failures - 1, 16), LAST) - now
            if left > 0:
                return left
        taken = count.done | {n for pod in pods if active(pod) and (n := index_of(pod)) is not None}
        indexed = job["spec"].get("completionMode") == "Indexed"
        free = [n for n in range(int(job["spec"].get("completions") or 0)) if n not in taken] if indexed else []

        async def make(at: int) -> None:
            await self._make(key, job, free[at] if indexed else None)

        await slow_start(min(missing, BURST, len(free) if indexed else missing), make)
        return None

    async def _make(self, key: str, job: Object, number: int | None) -> None:
        template, more = job["spec"]["template"], {"finalizers": [FINALIZER]}
        if number is None:
            await self._control.create(key, job, template, **more)
            return
        meta, spec, text = template.get("metadata") or {}, template["spec"], str(number)
        source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
        variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
        spec = {**spec, "hostname": f"{job['metadata']['name']}-{text}"}
        for name in ("containers", "initContainers"):
            if spec.get(name):
                spec[name] = [{**c, "env": [*(c.get("env") or ()), variable]} for c in spec[name]]
        labels = {**(meta.get("labels") or {}), INDEX: text}
        notes = {**(meta.get("annotations") or {}), INDEX: text}
        name = f"{job['metadata']['name']}-{text}-"
        await self._control.create(
            key, job, {**template, "spec": spec}, labels=labels, annotations=notes, generateName=name, **more
        )

    async def _stop(self, key: str, job: Object, running: list[Object]) -> None:
        async def delete(number: int) -> None:
            await self._control.delete(key, job, running[number])

        await slow_start(len(running), delete)

    async def _let_go(self, pods: Iterable[Object], noted: set[str] | None = None) -> None:
        """Take the finalizer off pods with these uids; None: off all."""
        for pod in pods:
            meta = pod["metadata"]
            if FINALIZER not in (meta.get("finalizers") or ()) or (noted is not None and meta["uid"] not in noted):
                continue
            rest = [f for f in meta["finalizers"] if f != FINALIZER]
            patch = {"metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], "finalizers": rest}}
            try:
                await self._client.patch(PODS.at(key_of(pod)), patch)
            except ApiError as e:
                if e.code not in (404, 409):  # gone, or seen again as it is now
                    raise

    async def _tell(self, job: Object, pods: list[Object], running: list[Object], count: Tally,
                    end: tuple[str, str, str] | None, now: float) -> None:  # fmt: skip
        state, stamp, spec = job.get("status") or {}, times.seconds(now), job["spec"]
        conditions = list(state.get("conditions") or ())
        status: Object = {
            "ready": sum(ready_since(pod) is not None for pod in running),
            "terminating": sum(ending(pod) and phase(pod) not in ("Succeeded", "Failed") for pod in pods),
            "uncountedTerminatedPods": {how: uids for how, uids in count.uncounted.items() if uids},
        }
        for name, number in (("active", len(running)), (SUCCEEDED, count.succeeded), (FAILED, count.failed)):
            if number:
                status[name] = number
        if count.done:
            status["completedIndexes"] = index_text(count.done)
        suspended = bool(spec.get("suspend"))
        if not suspended:
            status["startTime"] = state.get("startTime") or stamp
        if suspended or any(c["type"] == "Suspended" for c in conditions):
            how = ("True", "JobSuspended", "Job suspended") if suspended else ("False", "JobResumed", "Job resumed")
            new = dict(zip(("status", "reason", "message"), how, strict=True))
            conditions = with_condition(conditions, {"type": "Suspended", **new}, stamp)
        if end is not None:
            kind, reason, message = end
            final = not any(count.uncounted.values()) and not running
            for one in ("SuccessCriteriaMet" if kind == "Complete" else "FailureTarget", *((kind,) if final else ())):
                new = {"type": one, "status": "True", "reason": reason, "message": message}
                conditions = with_condition(conditions, new, stamp)
            if final and kind == "Complete":
                status["completionTime"] = stamp
                self._says.normal(job, "Completed", "Job completed")
            elif final:
                self._says.warning(job, reason, message)
        if conditions:
            status["conditions"] = conditions
        await write_status(self._client, JOBS, job, status)

    async def _expire(self, key: str, job: Object, end: str) -> float | None:
        """Delete it when it has been finished for long enough; seconds until then."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None or ending(job):
            return None
        left = times.parse(end).timestamp() + int(ttl) - self._now()
        if left > 0:
            return left
        try:
            await self._client.delete(JOBS.at(key), uid=job["metadata"]["uid"], propagation="Foreground")
        except ApiError as e:
            if e.code != 404:
                raise
        return None
