"""DaemonSets: one pod on every node that will have it, and the old ones replaced a few at a time.

Pods are bound by the scheduler: each is made for one node by an affinity to its name. Whether a node will have it is
asked of the scheduler's filters, room aside, as the original does. Source: kubernetes pkg/controller/daemon. Not done:
updateStrategy.rollingUpdate.maxSurge (a new pod always takes the place of the old one).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netlab.client.informer import Interest
from netlab.client.resources import Resource, key_of
from netlab.client.rest import Object
from netlab.controllers.owning import (
    BURST,
    Expectations,
    PodControl,
    available,
    claim,
    created,
    ending,
    numbers,
    owner_key,
    phase,
    ready_since,
    slow_start,
    write_status,
)
from netlab.controllers.revisions import REVISIONS, note
from netlab.controllers.rolling import share
from netlab.controllers.rollouts import template_hash
from netlab.controllers.shape import LEAN_PODS, NODES, PODS, Tools, Watch
from netlab.scheduler.asks import Ask, Taint, ask_of, tolerates
from netlab.scheduler.filters import by_facts, chosen
from netlab.scheduler.nodes import Facts, facts

API, KIND = "apps/v1", "DaemonSet"
DAEMON_SETS = Resource(API, "daemonsets")
HASH = "controller-revision-hash"
_NODE = "node.kubernetes.io/"
#: what a daemon goes on through: (taint, effect)
_TOLERATED = (
    ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
)  # fmt: skip


def pod_spec(spec: Object) -> Object:
    """A template's pod spec with the tolerations that every daemon has."""
    taints = [*_TOLERATED, *([("network-unavailable", "NoSchedule")] if spec.get("hostNetwork") else [])]
    more = [{"key": _NODE + key, "operator": "Exists", "effect": effect} for key, effect in taints]
    return {**spec, "tolerations": [*(spec.get("tolerations") or ()), *more]}


def for_node(spec: Object, node: str) -> Object:
    """The same for one node: other required affinities were asked when it was chosen, and give way to its name."""
    spec = copy.deepcopy(spec)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    named = {"key": "metadata.name", "operator": "In", "values": [node]}
    required["nodeSelectorTerms"] = [{"matchFields": [named]}]
    return spec


def node_of(pod: Object) -> str:
    """Where a daemon's pod is, or is made for."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    for term in (required or {}).get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


def wants(ask: Ask, node: Facts) -> tuple[bool, bool]:
    """Whether a daemon comes to a node, and whether one that is there may stay."""
    stays = chosen(ask, node) and all(
        tolerates(ask.tolerations, Taint(*t)) for t in node.taints if t.effect == "NoExecute"
    )
    return by_facts(ask, node) is None, stays


@dataclass(slots=True)
class Work:
    """What is to be done: nodes that get a pod, pods that go, and those of them that had failed."""

    make: list[str]
    delete: list[Object]
    failed: list[Object]


def work_for(ask: Ask, nodes: Iterable[Facts], pods: Mapping[str, list[Object]]) -> Work:
    """pods: those of the daemon by node."""
    work = Work([], [], [])
    known = set()
    for node in nodes:
        known.add(node.name)
        comes, stays = wants(ask, node)
        there = [pod for pod in pods.get(node.name, ()) if not ending(pod)]
        work.failed += [pod for pod in there if phase(pod) == "Failed"]
        running = [pod for pod in there if phase(pod) != "Failed"]
        if comes and not pods.get(node.name):
            work.make.append(node.name)
        elif not stays:
            work.delete += running
        elif len(running) > 1:
            running.sort(key=lambda pod: (ready_since(pod) is None, created(pod)))
            work.delete += running[1:]
    work.delete += [pod for name, there in pods.items() if name not in known for pod in there if not ending(pod)]
    return work


def outdated(pods: Mapping[str, list[Object]], wanted: Iterable[str], code: str, limit: int, now: float,
             minimum: int) -> list[Object]:  # fmt: skip
    """The old pods that may go now. wanted: nodes; limit: of nodes without an available pod."""
    missing = 0
    going: list[Object] = []
    later: list[Object] = []
    for name in wanted:
        there = [pod for pod in pods.get(name, ()) if not ending(pod)]
        serving = [pod for pod in there if available(pod, minimum, now)]
        missing += not serving
        for pod in there:
            if (pod["metadata"].get("labels") or {}).get(HASH) != code:
                (later if pod in serving else going).append(pod)
    return going + later[: max(0, limit - missing)]


class DaemonSets:
    """Keys are those of DaemonSets."""

    NAME = "daemonset-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._says, self._now = tools.client, tools.says, tools.now
        self._sets, self._nodes = tools.store(Interest(DAEMON_SETS)), tools.store(Interest(NODES))
        self._pods, self._revisions = tools.store(LEAN_PODS), tools.store(Interest(REVISIONS))
        self._expected = Expectations(self._pods)
        self._control = PodControl(tools.client, tools.says, self._expected, API, KIND)
        self._owners = owner_key(KIND)
        self.WATCHES = (
            Watch(Interest(DAEMON_SETS)), Watch(LEAN_PODS, self._of_pod), Watch(Interest(NODES), self._of_node),
            Watch(Interest(REVISIONS), self._owners),
        )  # fmt: skip

    def _of_pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        if old is not None and new is None:
            self._expected.gone(old)
        return self._owners(old, new)

    def _of_node(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """All of them, unless it was only a heartbeat."""
        if old is not None and new is not None and facts(old) == facts(new):
            return ()
        return [key_of(ds) for ds in self._sets]

    async def reconcile(self, key: str) -> float | None:
        """Make, delete and replace pods, and write what there is."""
        ds = self._sets.get(key)
        if ds is None:
            self._expected.forget(key)
            return None
        spec, now = ds["spec"], self._now()
        by_node: dict[str, list[Object]] = {}
        for pod in await claim(self._client, self._pods, PODS, ds, API, KIND):
            by_node.setdefault(node_of(pod), []).append(pod)
        nodes = [facts(node) for node in self._nodes]
        template = {**spec["template"], "spec": pod_spec(spec["template"]["spec"])}
        ask = ask_of(template["spec"])
        wanted = [node.name for node in nodes if wants(ask, node)[0]]
        code = template_hash(spec["template"])
        if not ending(ds):
            await self._note(ds, code)
            if self._expected.met(key):
                work = work_for(ask, nodes, by_node)
                await self._do(key, ds, template, work, code)
                if not work.make and not work.delete and not work.failed:
                    await self._roll(key, ds, by_node, wanted, code, now)
        await write_status(self._client, DAEMON_SETS, ds, self._status(ds, by_node, wanted, code, now))
        minimum = int(spec.get("minReadySeconds") or 0)
        return float(minimum) if minimum else None

    async def _do(self, key: str, ds: Object, template: Object, work: Work, code: str) -> None:
        for pod in work.failed:
            text = f"Found failed daemon pod {key_of(pod)} on node {node_of(pod)}, will try to kill it"
            self._says.warning(ds, "FailedDaemonPod", text)
        going = [*work.failed, *work.delete]

        async def delete(number: int) -> None:
            await self._control.delete(key, ds, going[number])

        async def make(number: int) -> None:
            meta = template.get("metadata") or {}
            spec = for_node(template["spec"], work.make[number])
            labels = {**(meta.get("labels") or {}), HASH: code}
            await self._control.create(key, ds, {**template, "metadata": {**meta, "labels": labels}, "spec": spec})

        await slow_start(min(len(going), BURST), delete)
        await slow_start(min(len(work.make), BURST), make)

    async def _roll(self, key: str, ds: Object, pods: Mapping[str, list[Object]], wanted: list[str], code: str,
                    now: float) -> None:  # fmt: skip
        strategy = ds["spec"].get("updateStrategy") or {}
        if strategy.get("type") != "RollingUpdate":
            return
        limit = share((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(wanted), up=True)
        minimum = int(ds["spec"].get("minReadySeconds") or 0)
        for pod in outdated(pods, wanted, code, max(1, limit), now, minimum):
            await self._control.delete(key, ds, pod)

    def _status(self, ds: Object, pods: Mapping[str, list[Object]], wanted: list[str], code: str, now: float) -> Object:
        minimum, counts = (
            int(ds["spec"].get("minReadySeconds") or 0),
            dict.fromkeys(("current", "ready", "available", "updated"), 0),
        )
        for name in wanted:
            there = pods.get(name, [])
            if there:
                first = min(there, key=created)
                counts["current"] += 1
                counts["ready"] += ready_since(first) is not None
                counts["available"] += available(first, minimum, now)
                counts["updated"] += (first["metadata"].get("labels") or {}).get(HASH) == code
        return {
            "currentNumberScheduled": counts["current"], "desiredNumberScheduled": len(wanted),
            "numberMisscheduled": sum(bool(there) for name, there in pods.items() if name not in wanted),
            "numberReady": counts["ready"], "observedGeneration": ds["metadata"].get("generation", 0),
            **numbers(updatedNumberScheduled=counts["updated"], numberAvailable=counts["available"],
                      numberUnavailable=len(wanted) - counts["available"]),
        }  # fmt: skip

    async def _note(self, ds: Object, code: str) -> None:
        """Keep the template as a ControllerRevision; the pods' labels have the hash alone."""
        meta, labels = ds["metadata"], (ds["spec"]["template"].get("metadata") or {}).get("labels") or {}
        pods = self._pods.find("controller", meta["uid"])
        used = {f"{meta['name']}-{(pod['metadata'].get('labels') or {}).get(HASH)}" for pod in pods}
        name = f"{meta['name']}-{code}"
        await note(self._client, self._revisions, ds, KIND, name, {**labels, HASH: code}, used)
