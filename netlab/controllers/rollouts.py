"""A Deployment with its ReplicaSets as a value, and what can be told of how its roll goes.

Pure: conditions are put into the copy of the Deployment that a `Roll` has. The hash in names is made as the original
makes it, over another text, so that it is not the same as on another cluster. Source: kubernetes
pkg/controller/deployment/util/deployment_util.go, progress.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from netlab.api import times
from netlab.client.rest import Object
from netlab.controllers.owning import ending, numbers, with_condition
from netlab.controllers.rolling import Size

HASH = "pod-template-hash"
_PREFIX = "deployment.kubernetes.io/"
REVISION, HISTORY = f"{_PREFIX}revision", f"{_PREFIX}revision-history"
DESIRED, MOST = f"{_PREFIX}desired-replicas", f"{_PREFIX}max-replicas"
#: annotations of a Deployment that its ReplicaSets do not get
OWN = ("kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MOST,
        "deprecated.deployment.rollback.to")  # fmt: skip
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
PROGRESSING, AVAILABLE, FAILURE = "Progressing", "Available", "ReplicaFailure"
TIMED_OUT, DONE = "ProgressDeadlineExceeded", "NewReplicaSetAvailable"
#: a deadline that stands for none
_NO_DEADLINE = 2**31 - 1


def template_hash(template: Object, collisions: int = 0) -> str:
    """FNV-1a (32 bits) in letters that make no words."""
    number = 0x811C9DC5
    text = orjson.dumps(template, option=orjson.OPT_SORT_KEYS) + (str(collisions).encode() if collisions else b"")
    for byte in text:
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in str(number).encode())


def same_template(one: Object, other: Object) -> bool:
    """Whether two templates make the same pods, but for the hash in their labels."""
    return _plain(one) == _plain(other)


def _plain(template: Object) -> Object:
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if k != "creationTimestamp" and v}
    labels = {k: v for k, v in (meta.pop("labels", None) or {}).items() if k != HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def revision(obj: Object) -> int:
    """0 if there is none."""
    try:
        return int((obj["metadata"].get("annotations") or {}).get(REVISION, "0"))
    except ValueError:
        return 0


def replicas_of(rs: Object) -> int:
    """How many replicas a ReplicaSet is to have."""
    return int(rs["spec"].get("replicas", 0))


def counted(sets: Iterable[Object], name: str) -> int:
    """The sum of a count in the statuses of ReplicaSets."""
    return sum(int((rs.get("status") or {}).get(name, 0)) for rs in sets)


def annotation(rs: Object, name: str) -> int:
    """A number in an annotation, 0 if there is none."""
    text = (rs["metadata"].get("annotations") or {}).get(name, "")
    return int(text) if text.isdecimal() else 0


def size_of(rs: Object) -> Size:
    """A ReplicaSet as `rolling` looks at it."""
    return Size(rs["metadata"]["name"], replicas_of(rs), counted([rs], "availableReplicas"), annotation(rs, MOST))


@dataclass(slots=True)
class Roll:
    """A Deployment (a copy that may be changed) with its ReplicaSets, the oldest first; new: that of its template."""

    deployment: Object
    new: Object | None
    old: list[Object]

    @property
    def all(self) -> list[Object]:
        """All of them, the new one last."""
        return [*self.old, *([self.new] if self.new is not None else [])]

    @property
    def spec(self) -> Object:
        """The Deployment's."""
        return dict(self.deployment["spec"])


def condition(d: Object, kind: str) -> Object | None:
    """The condition of a type."""
    return next((c for c in d["status"].get("conditions") or () if c["type"] == kind), None)


def put(d: Object, now: float, kind: str, status: str, reason: str, message: str) -> None:
    """Put a condition into the status. now: seconds since 1970."""
    new = {"type": kind, "status": status, "reason": reason, "message": message}
    stamp = times.seconds(now)
    d["status"]["conditions"] = with_condition(d["status"].get("conditions") or (), new, stamp, updated=True)


def pause(d: Object, now: float, *, paused: bool) -> None:
    """Tell that it is paused, or is no longer."""
    there = condition(d, PROGRESSING)
    if deadline_of(d) is None or (there is not None and there.get("reason") == TIMED_OUT):
        return
    was = there is not None and there.get("reason") == "DeploymentPaused"
    if paused and not was:
        put(d, now, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused")
    elif not paused and was:
        put(d, now, PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed")


def counts_of(roll: Roll) -> Object:
    """The counts of its status."""
    sets, new = roll.all, [roll.new] if roll.new is not None else []
    total, ready = sum(replicas_of(rs) for rs in sets), counted(sets, "availableReplicas")
    return numbers(
        replicas=counted(sets, "replicas"), updatedReplicas=counted(new, "replicas"),
        readyReplicas=counted(sets, "readyReplicas"), availableReplicas=ready,
        unavailableReplicas=max(0, total - ready),
    )  # fmt: skip


def complete(roll: Roll) -> bool:
    """Whether all that is wanted is new and serves, and nothing else is there."""
    wanted, counts = int(roll.spec["replicas"]), counts_of(roll)
    seen = roll.deployment["status"].get("observedGeneration", 0) >= roll.deployment["metadata"].get("generation", 0)
    names = ("updatedReplicas", "replicas", "availableReplicas")
    return seen and all(counts.get(name, 0) == wanted for name in names)


def failure(roll: Roll, now: float) -> None:
    """Tell what keeps a ReplicaSet from making pods."""
    d = roll.deployment
    failures = [c for rs in reversed(roll.all) for c in (rs.get("status") or {}).get("conditions") or ()
                if c["type"] == FAILURE]  # fmt: skip
    if failures:
        put(d, now, FAILURE, failures[0]["status"], failures[0]["reason"], failures[0]["message"])
    elif condition(d, FAILURE) is not None:
        d["status"]["conditions"] = [c for c in d["status"]["conditions"] if c["type"] != FAILURE]


def progress(roll: Roll, before: Object, now: float) -> float | None:
    """The condition that `kubectl rollout status` waits by; seconds until the deadline has something to say."""
    d, deadline, there = roll.deployment, deadline_of(roll.deployment), condition(roll.deployment, PROGRESSING)
    if deadline is None or ending(d):
        return None
    name = (
        f'ReplicaSet "{roll.new["metadata"]["name"]}"'
        if roll.new is not None
        else f'Deployment "{d["metadata"]["name"]}"'
    )
    counts = counts_of(roll)
    finished = (
        there is not None
        and there["reason"] == DONE
        and (counts.get("replicas", 0) == counts.get("updatedReplicas", 0))
    )
    if finished:
        return None  # pods that fail later do not make it a roll that failed
    if complete(roll):
        put(d, now, PROGRESSING, "True", DONE, f"{name} has successfully progressed.")
        return None
    if d["spec"].get("paused"):
        return None
    if moved(counts, before):
        if there is None or there["reason"] != "ReplicaSetUpdated" or there["status"] != "True":
            put(d, now, PROGRESSING, "True", "ReplicaSetUpdated", f"{name} is progressing.")
        else:
            fresh = {**there, "lastUpdateTime": times.seconds(now)}
            d["status"]["conditions"] = [fresh if c is there else c for c in d["status"]["conditions"]]
        return float(deadline)
    if there is None or there["reason"] == TIMED_OUT:
        return None
    left = times.parse(there["lastUpdateTime"]).timestamp() + deadline - now
    if left > 0:
        return left + 1
    put(d, now, PROGRESSING, "False", TIMED_OUT, f"{name} has timed out progressing.")
    return None


def moved(after: Object, before: Object) -> bool:
    """Whether more is new, less is old, or more is ready or available than at the last look."""

    def old(counts: Object) -> int:
        return int(counts.get("replicas", 0)) - int(counts.get("updatedReplicas", 0))

    names = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return any(after.get(n, 0) > before.get(n, 0) for n in names) or old(after) < old(before)


def next_revision(roll: Roll) -> int:
    """The revision of the newest ReplicaSet."""
    return max((revision(rs) for rs in roll.old), default=0) + 1


def deadline_of(d: Object) -> int | None:
    """Seconds within which something has to move, None for no such."""
    seconds = d["spec"].get("progressDeadlineSeconds")
    return None if seconds is None or seconds == _NO_DEADLINE else int(seconds)
