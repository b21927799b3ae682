"""Nodes that give no sign of life, on a clock that the test turns."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import EVENTS, PODS, World, in_world, until

from netlab.api import times
from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers import nodelife
from netlab.controllers.nodelife import NOT_READY, UNREACHABLE, NodeLifecycle, taints_of, tolerated, unknown
from netlab.controllers.shape import NODE_GRACE, Tools

NODES = Resource("v1", "nodes")
STAMP = "2026-01-01T00:00:00Z"


def a_node(*conditions: tuple[str, str], taints: list[Object] | None = None, cordoned: bool = False) -> Object:
    spec: Object = {"taints": taints or [], **({"unschedulable": True} if cordoned else {})}
    return {"spec": spec, "status": {"conditions": [{"type": t, "status": s} for t, s in conditions]}}


def test_taints_follow_the_conditions() -> None:
    theirs = {"key": "dedicated", "effect": "NoSchedule"}
    assert taints_of(a_node(("Ready", "True"), taints=[theirs, {"key": NOT_READY, "effect": "NoSchedule"}]), STAMP) == [
        theirs
    ]
    wanted = [
        {"key": UNREACHABLE, "effect": "NoSchedule"},
        {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": STAMP},
    ]
    assert taints_of(a_node(("Ready", "Unknown")), STAMP) == wanted
    # when it came is not told anew
    assert taints_of(a_node(("Ready", "Unknown"), taints=wanted), "2027-01-01T00:00:00Z") == wanted
    keys = [t["key"] for t in taints_of(a_node(("Ready", "True"), ("DiskPressure", "True"), cordoned=True), STAMP)]
    assert keys == ["node.kubernetes.io/disk-pressure", "node.kubernetes.io/unschedulable"]


def test_what_is_not_known_is_said_once() -> None:
    first = unknown([{"type": "Ready", "status": "True", "lastHeartbeatTime": STAMP}], STAMP, ever=True)
    assert next((c["type"], c["status"], c["reason"]) for c in first) == ("Ready", "Unknown", "NodeStatusUnknown")
    assert len(first) == 4 and unknown(first, "2027-01-01T00:00:00Z", ever=True) == first


def test_how_long_a_pod_may_stay() -> None:
    taint = {"key": NOT_READY, "effect": "NoExecute", "timeAdded": STAMP}
    came = times.parse(STAMP).timestamp()

    def pod(*tolerations: Object) -> Object:
        return {"spec": {"tolerations": list(tolerations)}}

    patient = {"key": NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    assert tolerated(pod(), [taint]) == 0
    assert tolerated(pod(patient), [taint]) == came + 300
    assert tolerated(pod(patient, {"operator": "Exists"}), [taint]) == came + 300
    assert tolerated(pod({"operator": "Exists"}), [taint]) is None
    assert tolerated(pod(), [{"key": NOT_READY, "effect": "NoSchedule"}]) is None


class Turned(NodeLifecycle):
    """The same, an hour later at each turn of the test's."""

    ahead = 0.0

    def __init__(self, tools: Tools) -> None:
        now, clock = tools.now, tools.clock
        super().__init__(replace(tools, now=lambda: now() + Turned.ahead, clock=lambda: clock() + Turned.ahead))


async def ready(w: World, beat: str) -> None:
    """A sign of life of the node."""
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": beat,
                 "lastTransitionTime": STAMP}  # fmt: skip
    await w.client.patch(NODES.path("", "n", "status"), {"status": {"conditions": [condition]}})


class Hasty(Turned):
    """A node is lost after ten seconds."""

    def __init__(self, tools: Tools) -> None:
        super().__init__(replace(tools, node_grace=10.0))


def test_how_long_a_node_may_be_silent_can_be_said(monkeypatch: Any) -> None:
    monkeypatch.setattr(nodelife, "PERIOD", 0.05)
    Turned.ahead = 0.0

    async def test(w: World) -> None:
        await w.client.create(NODES.path(), {"metadata": {"name": "n"}})
        await ready(w, STAMP)
        # what is counted from is when its sign was seen, which its first taint shows: none, while it is Ready
        pause = {"spec": {"unschedulable": True}}
        await w.client.patch(NODES.path("", "n"), pause)

        async def keys() -> list[str]:
            node = await w.get(NODES, "n", "")
            return [t["key"] for t in (node or {}).get("spec", {}).get("taints", ())]

        async def seen() -> Any:
            return await keys() == ["node.kubernetes.io/unschedulable"]

        await until(seen)
        Turned.ahead = 20.0

        async def lost() -> Any:
            return UNREACHABLE in await keys()

        await until(lost)

    in_world(test, (Hasty,))


def test_a_node_is_lost_its_pods_go_and_it_comes_back(monkeypatch: Any) -> None:
    monkeypatch.setattr(nodelife, "PERIOD", 0.05)
    Turned.ahead = 0.0

    async def test(w: World) -> None:
        await w.client.create(NODES.path(), {"metadata": {"name": "n"}})
        await ready(w, STAMP)
        spec = {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}
        await w.make(PODS, "usual", spec=spec)
        await w.make(PODS, "faithful", spec={**spec, "tolerations": [{"operator": "Exists"}]})
        for name in ("usual", "faithful"):
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": STAMP}
            status = {"phase": "Running", "conditions": [condition]}
            await w.client.patch(PODS.path("default", name, "status"), {"status": status})

        async def lost() -> Any:
            node, pod = await w.get(NODES, "n", ""), await w.get(PODS, "faithful")
            keys = [t["key"] for t in (node or {}).get("spec", {}).get("taints", ())]
            if not keys:
                Turned.ahead += 5.0  # what is counted from is when its sign was seen, and nobody knows when that is
            gone = pod is not None and [c for c in pod["status"]["conditions"] if c["status"] == "False"]
            return keys == [UNREACHABLE, UNREACHABLE] and gone

        await until(lost)
        usual = await w.get(PODS, "usual")
        assert usual is not None and "deletionTimestamp" not in usual["metadata"]

        async def evicted() -> Any:
            Turned.ahead += 60.0  # its time is counted from when the taint was seen
            pod = await w.get(PODS, "usual")
            return pod is None or "deletionTimestamp" in pod["metadata"]

        await until(evicted)
        faithful = await w.get(PODS, "faithful")
        assert faithful is not None and "deletionTimestamp" not in faithful["metadata"]
        events = (await w.client.list(EVENTS.path("default")))["items"]
        assert "Marking for deletion Pod default/usual" in {e["message"] for e in events}
        await ready(w, "2026-02-01T00:00:00Z")

        async def back() -> Any:
            node = await w.get(NODES, "n", "")
            return node is not None and not node["spec"].get("taints")

        await until(back)
        await w.client.delete(NODES.path("", "n"))

        async def said() -> Any:
            events = (await w.client.list(EVENTS.path("default")))["items"]
            found = {e["reason"]: e["message"] for e in events if e["involvedObject"]["kind"] == "Node"}
            return found if "RemovingNode" in found else None

        assert await until(said) == {
            "RegisteredNode": "Node n event: Registered Node n in Controller",
            "NodeNotReady": "Node n status is now: NodeNotReady",
            "RemovingNode": "Node n event: Removing Node n from Controller",
        }

    in_world(test, (Turned,))


class _Cache(dict[str, Object]):
    """One kind, as `Tools.store` has it."""


def test_a_clock_that_is_set_is_no_reason_to_lose_a_node_or_its_pods() -> None:
    """An hour ahead: the node is as silent as before, and the time of a pod under a taint is not up."""
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": STAMP, "lastTransitionTime": STAMP}
    node: Object = {"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {}, "status": {"conditions": [ready]}}
    patient = {"key": NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    pod: Object = {
        "metadata": {"namespace": "default", "name": "p", "uid": "u"},
        "spec": {"nodeName": "n", "tolerations": [patient]}, "status": {},
    }  # fmt: skip
    moved, passed = 0.0, 0.0
    written: list[str] = []

    class Client:
        async def patch(self, path: str, body: Any, **_: Any) -> Object:
            written.append(path)
            node["spec"] |= body.get("spec", {})
            return node

        async def replace(self, path: str, body: Any) -> Object:
            written.append(path)
            return node

        async def delete(self, path: str, **_: Any) -> None:
            written.append(f"delete {path}")

    stores = {"nodes": _Cache(n=node), "leases": _Cache(), "pods": _Cache({"default/p": pod})}
    begun = times.parse(STAMP).timestamp()
    life = NodeLifecycle(cast(Any, SimpleNamespace(
        client=Client(), says=SimpleNamespace(normal=lambda *_: None, warning=lambda *_: None),
        now=lambda: begun + moved + passed, clock=lambda: passed,
        store=lambda interest: stores[interest.resource.plural], node_grace=NODE_GRACE,
    )))  # fmt: skip
    list(life._of_pod(None, pod))

    def look() -> None:
        asyncio.run(life.reconcile("n"))

    look()
    moved = 3600.0
    look()
    assert written == [] and ready["status"] == "True"
    # it says by itself that it is not ready: its pod has five minutes, whatever the clock says
    ready["status"] = "False"
    look()
    written.clear()
    moved, passed, ready["lastHeartbeatTime"] = 7200.0, 299.0, "it lives"
    look()
    assert written == []
    passed = 301.0
    look()
    assert [path for path in written if path.startswith("delete")] == ["delete /api/v1/namespaces/default/pods/p"]


def test_a_taint_that_does_not_say_when_it_came_is_counted_from_now() -> None:
    """As a person gives it, by `kubectl taint`."""

    async def test(w: World) -> None:
        taint = {"key": "mine", "effect": "NoExecute"}
        await w.client.create(NODES.path(), {"metadata": {"name": "n"}, "spec": {"taints": [taint]}})
        spec = {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}
        patient = {"key": "mine", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600}
        await w.make(PODS, "patient", spec={**spec, "tolerations": [patient]})
        await w.make(PODS, "usual", spec=spec)

        async def evicted() -> Any:
            pod = await w.get(PODS, "usual")
            return pod is None or "deletionTimestamp" in pod["metadata"]

        await until(evicted)
        patient_pod = await w.get(PODS, "patient")
        assert patient_pod is not None and "deletionTimestamp" not in patient_pod["metadata"]

    in_world(test, (NodeLifecycle,))
