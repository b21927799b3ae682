"""So many pods that a selector means, neither fewer nor more: ReplicaSets and ReplicationControllers are this.

Source: kubernetes pkg/controller/replicaset, which serves both as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

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
    numbers,
    owner_key,
    phase,
    ready_since,
    selector_of,
    slow_start,
    with_condition,
    write_status,
)
from netlab.controllers.shape import LEAN_PODS, PODS, Tools, Watch

COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}

_Rank = tuple[bool, int, bool, int, int, float, int, float]


def first_to_go(pods: Iterable[Object], crowds: Counter[str]) -> list[Object]:
    """Pods in the order in which they are deleted: those first that serve least, or that share a node with most.

    crowds: by node, how many pods of the same owner's owner are there. Of those alike the younger goes first.
    """

    def rank(pod: Object) -> _Rank:
        spec, since = pod.get("spec") or {}, ready_since(pod)
        cost = (pod["metadata"].get("annotations") or {}).get(COST, "0")
        restarts = sum(c.get("restartCount", 0) for c in (pod.get("status") or {}).get("containerStatuses") or ())
        node = spec.get("nodeName", "")
        return (
            bool(node), _PHASES.get(phase(pod), 1), since is not None, _number(cost), -crowds[node],
            -(since if since is not None else 0.0), -restarts, -created(pod),
        )  # fmt: skip

    return sorted(pods, key=rank)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def status_of(rs: Object, pods: Iterable[Object], now: float, error: str = "") -> Object:
    """The status of one that has these active pods. error: why pods could not be made or deleted."""
    spec = rs["spec"]
    wanted = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    minimum = int(spec.get("minReadySeconds") or 0)
    replicas = labelled = ready = usable = 0
    for pod in pods:
        replicas += 1
        labelled += wanted.items() <= (pod["metadata"].get("labels") or {}).items()
        since = ready_since(pod)
        if since is not None:
            ready += 1
            usable += not minimum or since + minimum <= now
    status: Object = {"replicas": replicas, **numbers(
        fullyLabeledReplicas=labelled, readyReplicas=ready, availableReplicas=usable,
    )}  # fmt: skip
    status["observedGeneration"] = rs["metadata"].get("generation", 0)
    conditions = [c for c in (rs.get("status") or {}).get("conditions") or () if c["type"] != "ReplicaFailure"]
    if error:
        reason = "FailedCreate" if status["replicas"] < spec["replicas"] else "FailedDelete"
        failure = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": error}
        conditions = with_condition((rs.get("status") or {}).get("conditions") or (), failure, times.seconds(now))
    if conditions:
        status["conditions"] = conditions
    return status


class Replicas:
    """One of the two. Keys are those of its objects."""

    NAME: str
    RESOURCE: Resource
    KIND: str

    def __init__(self, tools: Tools) -> None:
        self._client, self._now = tools.client, tools.now
        self._sets, self._pods = tools.store(Interest(self.RESOURCE)), tools.store(LEAN_PODS)
        self._expected = Expectations(self._pods)
        self._control = PodControl(tools.client, tools.says, self._expected, self.RESOURCE.api_version, self.KIND)
        self._owners = owner_key(self.KIND)
        self.WATCHES = (Watch(Interest(self.RESOURCE)), Watch(LEAN_PODS, self._of_pod))

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        if old is not None and new is None:
            self._expected.gone(old)
        yield from self._owners(old, new)
        if new is not None and not new["metadata"].get("ownerReferences"):
            for rs in self._sets.find("namespace", new["metadata"]["namespace"]):
                selector = selector_of(rs)
                if selector and selector.matches(new["metadata"].get("labels")):
                    yield key_of(rs)

    async def reconcile(self, key: str) -> float | None:
        """Adopt and release, make and delete, and write what there is."""
        rs = self._sets.get(key)
        if rs is None:
            self._expected.forget(key)
            return None
        met = self._expected.met(key)
        api = self.RESOURCE.api_version
        pods = [p for p in await claim(self._client, self._pods, PODS, rs, api, self.KIND) if active(p)]
        error: ApiError | None = None
        if met and not ending(rs):
            try:
                await self._manage(key, rs, pods)
            except ApiError as e:
                error = e
        now = self._now()
        status = status_of(rs, pods, now, "" if error is None else str(error))
        await write_status(self._client, self.RESOURCE, rs, status)
        if error is not None:
            raise error
        return self._again(rs, pods, now)

    def _again(self, rs: Object, pods: list[Object], now: float) -> float | None:
        """When the next ready pod becomes available."""
        minimum = int(rs["spec"].get("minReadySeconds") or 0)
        if not minimum:
            return None
        waits = [since + minimum - now for pod in pods if (since := ready_since(pod)) is not None]
        return min((seconds for seconds in waits if seconds > 0), default=None)

    async def _manage(self, key: str, rs: Object, pods: list[Object]) -> None:
        wanted = int(rs["spec"].get("replicas", 1))
        if len(pods) < wanted:
            template = rs["spec"]["template"]

            async def make(_: int) -> None:
                await self._control.create(key, rs, template)

            await slow_start(min(wanted - len(pods), BURST), make)
        elif len(pods) > wanted:
            going = first_to_go(pods, self._crowds(rs))[: min(len(pods) - wanted, BURST)]

            async def delete(number: int) -> None:
                await self._control.delete(key, rs, going[number])

            await slow_start(len(going), delete)

    def _crowds(self, rs: Object) -> Counter[str]:
        """Where the pods are of all sets of the same owner."""
        owner = next((o["uid"] for o in rs["metadata"].get("ownerReferences") or () if o.get("controller")), "")
        sets = self._sets.find("controller", owner) if owner else [rs]
        return Counter(
            (pod.get("spec") or {}).get("nodeName", "")
            for one in sets
            for pod in self._pods.find("controller", one["metadata"]["uid"])
            if active(pod)
        )
