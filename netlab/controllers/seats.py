"""What a StatefulSet does next: which of its numbered pods are made, which go. Pure.

    lowest first:  missing ─▶ made       ended ─▶ deleted, to be made again     not available ─▶ wait (if in order)
    highest first: beyond the number ─▶ deleted                                  another goes  ─▶ wait (if in order)
    highest first: of an old revision, from the partition on ─▶ deleted, one at a time

Source: kubernetes pkg/controller/statefulset (stateful_set_control.go, stateful_set_utils.go). Not done:
updateStrategy.rollingUpdate.maxUnavailable, which a cluster of the original has off.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from netlab.client.rest import Object
from netlab.controllers.owning import ENDED, available, ending, numbers, phase, ready_since

REVISION = "controller-revision-hash"
_NAME = re.compile(r"(.*)-(0|[1-9][0-9]*)")


def ordinal_of(name: str, pod: str) -> int | None:
    """Which number a pod has in the set of a name; None if it is none of it."""
    found = _NAME.fullmatch(pod)
    return int(found[2]) if found is not None and found[1] == name else None


def revision_of(pod: Object) -> str:
    """The name of the ControllerRevision that a pod was made of."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION, ""))


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a set: its numbers, and how it goes about them."""

    name: str
    numbers: range
    ordered: bool
    rolling: bool
    partition: int
    minimum: int

    @classmethod
    def of(cls, obj: Object) -> Shape:
        """As the object says."""
        spec = obj["spec"]
        start = int((spec.get("ordinals") or {}).get("start") or 0)
        strategy = spec.get("updateStrategy") or {}
        return cls(
            obj["metadata"]["name"], range(start, start + int(spec.get("replicas", 1))),
            spec.get("podManagementPolicy") != "Parallel", strategy.get("type", "RollingUpdate") == "RollingUpdate",
            int((strategy.get("rollingUpdate") or {}).get("partition") or 0), int(spec.get("minReadySeconds") or 0),
        )  # fmt: skip

    def healthy(self, pod: Object, now: float) -> bool:
        """Whether it runs, has been ready for long enough, and stays."""
        return phase(pod) == "Running" and available(pod, self.minimum, now) and not ending(pod)

    def old_below(self) -> int:
        """Numbers below this one keep the old revision."""
        return self.numbers.start + self.partition if self.rolling else self.numbers.start


@dataclass(slots=True)
class Step:
    """make: numbers and the revisions that they get; delete; again: those of the deleted that ended by themselves."""

    make: list[tuple[int, str]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    again: list[Object] = field(default_factory=list)


def step(shape: Shape, pods: Iterable[Object], *, current: str, update: str, now: float) -> Step:
    """What is to be done now. pods: those of the set; current, update: names of revisions; now: since 1970."""
    by = {n: pod for pod in pods if (n := ordinal_of(shape.name, pod["metadata"]["name"])) is not None}
    found = Step()
    for number in shape.numbers:
        pod = by.get(number)
        if pod is None:
            found.make.append((number, current if number < shape.old_below() else update))
        elif phase(pod) in ENDED:
            if not ending(pod):
                found.delete.append(pod)
                found.again.append(pod)
        elif shape.healthy(pod, now):
            continue
        if shape.ordered:
            return found
    beyond = [by[number] for number in sorted(by, reverse=True) if number not in shape.numbers]
    sick = next((pod for pod in beyond if not shape.healthy(pod, now)), None)
    for pod in beyond:
        if not ending(pod) and (not shape.ordered or pod is sick or shape.healthy(pod, now)):
            found.delete.append(pod)
        if shape.ordered:
            return found
    if shape.rolling:
        _roll(shape, by, found, update, now)
    return found


def _roll(shape: Shape, by: dict[int, Object], found: Step, update: str, now: float) -> None:
    """The highest pod of an old revision goes, if all above it are well."""
    for number in reversed(shape.numbers):
        if number < shape.old_below():
            return
        pod = by.get(number)
        if pod is not None and revision_of(pod) != update and not ending(pod):
            if pod not in found.delete:
                found.delete.append(pod)
            return
        if pod is None or not shape.healthy(pod, now):
            return


def status_of(obj: Object, pods: Iterable[Object], *, current: str, update: str, now: float) -> Object:
    """The status of a set with these pods. When all are of the new revision, it is the current one."""
    shape, count = Shape.of(obj), Counter[str]()
    for pod in pods:
        count["replicas"] += 1
        if phase(pod) == "Running" and ready_since(pod) is not None:
            count["readyReplicas"] += 1
            count["availableReplicas"] += available(pod, shape.minimum, now)
        if not ending(pod):
            count["currentReplicas"] += revision_of(pod) == current
            count["updatedReplicas"] += revision_of(pod) == update
    wanted = len(shape.numbers)
    if shape.rolling and count["updatedReplicas"] == count["readyReplicas"] == count["replicas"] == wanted:
        count["currentReplicas"], current = count["updatedReplicas"], update
    there = obj.get("status") or {}
    status: Object = {
        "replicas": count["replicas"], "availableReplicas": count["availableReplicas"], "currentRevision": current,
        "updateRevision": update, "observedGeneration": obj["metadata"].get("generation", 0),
        "collisionCount": there.get("collisionCount", 0),
        **numbers(readyReplicas=count["readyReplicas"], currentReplicas=count["currentReplicas"],
                  updatedReplicas=count["updatedReplicas"]),
    }  # fmt: skip
    if there.get("conditions"):
        status["conditions"] = there["conditions"]
    return status


def claim_name(template: Object, pod: str) -> str:
    """Of the claim of a pod."""
    return f"{template['metadata']['name']}-{pod}"


def claim_owners(obj: Object, claim: Object, pod: Object | None, *, leaving: bool) -> list[Object]:
    """The owners that a claim is to have, so that it goes as the set's retention policy says.

    pod: whose claim it is; leaving: whether it goes because the set gets smaller.
    """
    policy, meta = obj["spec"].get("persistentVolumeClaimRetentionPolicy") or {}, obj["metadata"]
    mine = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": meta["name"], "uid": meta["uid"]}
    owners = [o for o in claim["metadata"].get("ownerReferences") or () if o.get("kind") not in ("StatefulSet", "Pod")]
    if leaving and policy.get("whenScaled") == "Delete":
        if pod is not None:
            owners.append({"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"],
                           "uid": pod["metadata"]["uid"]})  # fmt: skip
    elif policy.get("whenDeleted") == "Delete":
        owners.append(mine)
    return owners
