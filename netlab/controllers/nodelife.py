"""The life of nodes: one whose kubelet no longer renews its Lease is not Ready, and its pods do not wait for it.

    Lease and status too old ──▶ conditions Unknown ──▶ taints not-ready / unreachable ──▶ pods not ready
                                                              └──▶ pods that do not tolerate it any longer are deleted

A pod tolerates the NoExecute taints for tolerationSeconds (300 by default), counted from when the taint came. What
comes back has its taints taken off; its deleted pods do not come back. Not done: zones, and the slower pace that the
original takes when most of one fails. Source: kubernetes pkg/controller/nodelifecycle, pkg/controller/tainteviction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, Object
from netlab.controllers.owning import ENDED, ending, phase
from netlab.controllers.shape import LEAN_PODS, NODES, PODS, Tools, Watch

LEASES = Interest(Resource("coordination.k8s.io/v1", "leases"), namespace="kube-node-lease")
#: seconds without a sign of life after which a node is not known to live that has never given one
STARTUP_GRACE = 60.0
#: seconds between two looks at a node, and how many there are at least in the time that it is given
PERIOD, LOOKS = 5.0, 10
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
#: taints by condition: (type, status) and the taint that it brings
_TAINTS = {
    ("Ready", "False"): NOT_READY, ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}  # fmt: skip
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OURS = {*_TAINTS.values(), _UNSCHEDULABLE}
_WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def taints_of(node: Object, stamp: str) -> list[Object]:
    """The taints that a node is to have: those of others, and what its conditions bring. stamp: of new ones."""
    spec = node.get("spec") or {}
    there = list(spec.get("taints") or ())
    since = {t["key"]: t["timeAdded"] for t in there if t.get("effect") == "NoExecute" and t.get("timeAdded")}
    ours = []
    for condition in (node.get("status") or {}).get("conditions") or ():
        key = _TAINTS.get((condition.get("type", ""), condition.get("status", "")))
        if key is None:
            continue
        ours.append({"key": key, "effect": "NoSchedule"})
        if condition["type"] == "Ready":
            ours.append({"key": key, "effect": "NoExecute", "timeAdded": since.get(key, stamp)})
    if spec.get("unschedulable"):
        ours.append({"key": _UNSCHEDULABLE, "effect": "NoSchedule", "timeAdded": _added(there, stamp)})
    return [t for t in there if t.get("key") not in _OURS] + ours


def _added(there: Iterable[Object], stamp: str) -> str:
    return next((str(t["timeAdded"]) for t in there if t.get("key") == _UNSCHEDULABLE and t.get("timeAdded")), stamp)


def unknown(conditions: Iterable[Object], stamp: str, *, ever: bool) -> list[Object]:
    """The conditions of a node that gives no sign of life. ever: whether it once did."""
    reason = "NodeStatusUnknown" if ever else "NodeStatusNeverUpdated"
    message = "Kubelet stopped posting node status." if ever else "Kubelet never posted node status."
    there = {c["type"]: c for c in conditions}
    for kind in _WATCHED:
        old = there.get(kind)
        if old is None or old.get("status") != "Unknown":
            beat = (old or {}).get("lastHeartbeatTime")
            there[kind] = {"type": kind, "status": "Unknown", "reason": reason, "message": message,
                           "lastHeartbeatTime": beat, "lastTransitionTime": stamp}  # fmt: skip
    return list(there.values())


def added(taint: Mapping[str, str]) -> float:
    """When a taint came (seconds since 1970), 0 if it does not say."""
    return times.parse(taint["timeAdded"]).timestamp() if taint.get("timeAdded") else 0.0


def tolerated(
    pod: Object, taints: Iterable[Mapping[str, str]], came: Callable[[Mapping[str, str]], float] = added
) -> float | None:  # fmt: skip
    """Until when a pod may stay under NoExecute taints, by the clock that says when they came; None for ever."""
    until: float | None = None
    for taint in taints:
        if taint.get("effect") != "NoExecute":
            continue
        matching = [t for t in (pod.get("spec") or {}).get("tolerations") or () if _tolerates(t, taint)]
        if not matching:
            return 0.0
        seconds = [t["tolerationSeconds"] for t in matching if t.get("tolerationSeconds") is not None]
        if seconds:
            end = came(taint) + max(0, min(seconds))
            until = end if until is None else min(until, end)
    return until


def _tolerates(toleration: Object, taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


class NodeLifecycle:
    """Keys are names of nodes."""

    NAME = "node-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says = tools.client, tools.says
        self._now, self._clock = tools.now, tools.clock
        self._grace, self._period = tools.node_grace, min(PERIOD, tools.node_grace / LOOKS)
        self._nodes, self._leases = tools.store(Interest(NODES)), tools.store(LEASES)
        self._pods = tools.store(LEAN_PODS)
        #: by node: the newest sign of life, and when it was seen by a clock that nobody sets: theirs may be wrong
        self._seen: dict[str, tuple[str, float]] = {}
        #: by node: its NoExecute taints, by key and time, and when they came by the same clock
        self._came: dict[str, dict[tuple[str, str], float]] = {}
        self._pods_of: dict[str, set[str]] = {}
        #: by node: who it is, for what is said when it has gone
        self._known: dict[str, Object] = {}
        self.WATCHES = (Watch(Interest(NODES)), Watch(LEASES, _names), Watch(LEAN_PODS, self._of_pod))

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Keeps the pods of each node; the node is looked at when a pod comes to it that it may not keep."""
        before, after = _node_of(old), _node_of(new)
        obj = new if new is not None else old
        if obj is None or before == after:
            return
        if before:
            self._pods_of.get(before, set()).discard(key_of(obj))
        if after:
            self._pods_of.setdefault(after, set()).add(key_of(obj))
            node = self._nodes.get(after)
            if node is not None and (node.get("spec") or {}).get("taints"):
                yield after

    async def reconcile(self, key: str) -> float | None:
        """Judge the node by its signs of life, taint it, and delete the pods that it may not keep."""
        node = self._nodes.get(key)
        if node is None:
            self._seen.pop(key, None)
            self._came.pop(key, None)
            if (gone := self._known.pop(key, None)) is not None:
                self._says.normal(gone, "RemovingNode", f"Node {key} event: Removing Node {key} from Controller")
            return None
        if key not in self._known:
            self._known[key] = {"kind": "Node", "apiVersion": "v1",
                                "metadata": {"name": key, "uid": node["metadata"].get("uid", "")}}  # fmt: skip
            self._says.normal(node, "RegisteredNode", f"Node {key} event: Registered Node {key} in Controller")
        now = self._now()
        node = await self._judge(key, node, now)
        taints = taints_of(node, times.seconds(now))
        if taints != ((node.get("spec") or {}).get("taints") or []):
            version = node["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": taints or None}}
            node = await self._client.patch(NODES.at(key), patch)
        ready = _ready(node)
        if ready != "True":
            await self._pods_not_ready(key)
        again = await self._evict(key, taints, now)
        return self._period if again is None else min(self._period, again)

    async def _judge(self, key: str, node: Object, now: float) -> Object:
        state, lease = node.get("status") or {}, self._leases.get(f"kube-node-lease/{key}")
        beats = {c["type"]: str(c.get("lastHeartbeatTime") or "") for c in state.get("conditions") or ()}
        sign = f"{((lease or {}).get('spec') or {}).get('renewTime', '')} {beats.get('Ready', '')}"
        known = self._seen.get(key)
        if known is None or known[0] != sign:
            known = self._seen[key] = (sign, self._clock())
        ever = "Ready" in beats
        if self._clock() - known[1] <= (self._grace if ever else STARTUP_GRACE) or _ready(node) == "Unknown":
            return node
        conditions = unknown(state.get("conditions") or (), times.seconds(now), ever=ever)
        changed = {**node, "status": {**state, "conditions": conditions}}
        written = await self._client.replace(NODES.at(key, "status"), changed)
        self._says.normal(written, "NodeNotReady", f"Node {key} status is now: NodeNotReady")
        return written

    async def _pods_not_ready(self, node: str) -> None:
        """Endpoints must not send anybody there."""
        for pod in self._of(node):
            if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ()):
                condition = {"type": "Ready", "status": "False", "lastTransitionTime": times.seconds(self._now())}
                try:
                    await self._client.patch(
                        PODS.at(key_of(pod), "status"),
                        {"status": {"conditions": [condition]}},
                        kind=STRATEGIC_MERGE_PATCH,
                    )
                except ApiError as e:
                    if e.code not in (404, 409):
                        raise
                    continue
                self._says.warning(pod, "NodeNotReady", "Node is not ready")

    async def _evict(self, node: str, taints: list[Object], now: float) -> float | None:
        """Delete the pods whose time is up; seconds until that of the next."""
        soonest: float | None = None
        came, clock = self._times(node, taints, now), self._clock()
        for pod in self._of(node) if any(t.get("effect") == "NoExecute" for t in taints) else ():
            until = tolerated(pod, taints, came)
            if until is None or ending(pod) or phase(pod) in ENDED:
                continue
            if until > clock:
                soonest = until - clock if soonest is None else min(soonest, until - clock)
                continue
            self._says.normal(pod, "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}")
            condition = {
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": times.seconds(now),
            }  # fmt: skip
            try:
                await self._client.patch(
                    PODS.at(key_of(pod), "status"), {"status": {"conditions": [condition]}}, kind=STRATEGIC_MERGE_PATCH
                )
                await self._client.delete(PODS.at(key_of(pod)), uid=pod["metadata"]["uid"])
            except ApiError as e:
                if e.code not in (404, 409):
                    raise
        return soonest

    def _times(self, node: str, taints: list[Object], now: float) -> Callable[[Mapping[str, str]], float]:
        """When its taints came, by our clock: as long ago as they say when they are first seen, and then if they say
        nothing, as those that people give."""
        before, clock = self._came.get(node, {}), self._clock()
        its = {
            (t["key"], t.get("timeAdded") or ""): clock - (max(0.0, now - added(t)) if t.get("timeAdded") else 0.0)
            for t in taints if t.get("effect") == "NoExecute"
        }  # fmt: skip
        self._came[node] = {name: before.get(name, at) for name, at in its.items()}
        return lambda taint: self._came[node][taint["key"], taint.get("timeAdded") or ""]

    def _of(self, node: str) -> list[Object]:
        found = (self._pods.get(key) for key in sorted(self._pods_of.get(node, ())))
        return [pod for pod in found if pod is not None]


def _names(old: Object | None, new: Object | None) -> Iterable[str]:
    """The node of a Lease that is new or gone; a renewal is seen at the next look."""
    return [str(obj["metadata"]["name"]) for obj in (old, new) if obj is not None and (old is None or new is None)]


def _node_of(pod: Object | None) -> str:
    return "" if pod is None else str((pod.get("spec") or {}).get("nodeName", ""))


def _ready(node: Object) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((str(c.get("status", "")) for c in conditions if c.get("type") == "Ready"), "")
