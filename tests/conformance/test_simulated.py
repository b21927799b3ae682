"""Behaviours of workloads and the scheduler for which pods have to run, but not their containers: on simulated nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from controlworld import PODS, SETS, World, in_world, until
from simkubelets import simulated

from netlab.client.resources import Resource
from netlab.client.rest import Object

NODES = Resource("v1", "nodes")
DAEMONS, DEPLOYMENTS = Resource("apps/v1", "daemonsets"), Resource("apps/v1", "deployments")
STATEFUL_SETS, REVISIONS = Resource("apps/v1", "statefulsets"), Resource("apps/v1", "controllerrevisions")
CLASSES = Resource("scheduling.k8s.io/v1", "priorityclasses")
LABELS = {"app": "web"}
REVISION = "deployment.kubernetes.io/revision"


def on_nodes(test: Callable[[World], Awaitable[None]], nodes: int = 2) -> None:
    async def whole(w: World) -> None:
        async with simulated(w, nodes):
            await test(w)

    in_world(whole)


def containers(image: str = "nginx:1.7.9", **more: Any) -> list[Object]:
    return [{"name": "c", "image": image, **more}]


def workload(image: str = "nginx:1.7.9", **spec: Any) -> Object:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": containers(image), **spec.pop("pod", {})}}
    return {"selector": {"matchLabels": LABELS}, "template": template, **spec}


async def pods(w: World) -> list[Object]:
    listed: list[Object] = (await w.client.list(PODS.path("default")))["items"]
    return sorted(listed, key=lambda pod: str(pod["metadata"]["name"]))


def is_ready(pod: Object) -> bool:
    state = pod.get("status") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in state.get("conditions") or ())
    return ready and "deletionTimestamp" not in pod["metadata"]


async def running(w: World, count: int, image: str = "") -> list[Object]:
    """The pods, when there are so many, all ready and of an image."""

    async def so() -> Any:
        found = await pods(w)
        rest = len(found) == count and all(map(is_ready, found))
        return [found] if rest and all(image in pod["spec"]["containers"][0]["image"] for pod in found) else None

    return list((await until(so))[0])


async def node_ready(w: World, count: int) -> list[Object]:
    async def so() -> Any:
        found = (await w.client.list(NODES.path()))["items"]
        good = [n for n in found if n["spec"].get("podCIDR") and not n["spec"].get("taints")]
        return good if len(good) == count else None

    return list(await until(so))


async def change(w: World, resource: Resource, spec: Object, name: str = "web") -> None:
    await w.client.patch(resource.path("default", name), {"spec": spec})


def new_image(image: str) -> Object:
    return {"template": {"spec": {"containers": containers(image)}}}


def where(found: list[Object]) -> list[str]:
    return sorted(str(pod["spec"]["nodeName"]) for pod in found)


# -- nodes and the scheduler


def test_at_least_two_untainted_nodes() -> None:
    async def test(w: World) -> None:
        assert len(await node_ready(w, 2)) == 2

    on_nodes(test)


async def phase(w: World, name: str) -> str:
    pod = await w.get(PODS, name)
    return "" if pod is None else str(pod["status"]["phase"])


async def is_running(w: World, name: str) -> Object:
    async def so() -> Any:
        pod = await w.get(PODS, name)
        return pod if pod is not None and is_ready(pod) else None

    found: Object = await until(so)
    return found


async def unplaced(w: World, name: str) -> str:
    """Why a pod has no node, once that is said."""

    async def so() -> Any:
        pod = await w.get(PODS, name)
        conditions = (pod or {"status": {}})["status"].get("conditions") or ()
        return next((c["message"] for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), None)

    return str(await until(so))


def test_nodeselector_match() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.client.patch(NODES.path("", "node1"), {"metadata": {"labels": {"disk": "ssd"}}})
        await w.make(PODS, "p", spec={"containers": containers(), "nodeSelector": {"disk": "ssd"}})
        assert (await is_running(w, "p"))["spec"]["nodeName"] == "node1"

    on_nodes(test)


def test_nodeselector_no_match() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(PODS, "p", spec={"containers": containers(), "nodeSelector": {"disk": "none"}})
        assert "2 node(s) didn't match Pod's node affinity/selector" in await unplaced(w, "p")
        assert await phase(w, "p") == "Pending"

    on_nodes(test)


def test_hostport_conflict() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 1)
        for name, address in (("all", ""), ("one", "127.0.0.1")):
            port = {
                "containerPort": 80,
                "hostPort": 54322,
                "protocol": "TCP",
                **({"hostIP": address} if address else {}),
            }
            await w.make(PODS, name, spec={"containers": containers(ports=[port])})
            if not address:
                await is_running(w, name)
        assert "didn't have free ports" in await unplaced(w, "one")

    on_nodes(test, 1)


async def crowded(w: World, **preemptor: Any) -> Object:
    """A node that one pod fills, and a pod that is worth more; the first one as it was last seen."""
    await node_ready(w, 1)
    fill = containers(resources={"requests": {"cpu": "14"}})
    for name, value in (("low", 1), ("high", 1000)):
        await w.client.create(CLASSES.path(), {"metadata": {"name": name}, "value": value})
    await w.make(PODS, "victim", spec={"containers": fill, "priorityClassName": "low"},
                 metadata={"finalizers": ["example.com/look"]})  # fmt: skip
    await is_running(w, "victim")
    await w.make(PODS, "worth", preemptor.pop("namespace", "default"), spec={"containers": fill, **preemptor})

    async def going() -> Any:
        pod = await w.get(PODS, "victim")
        return pod if pod is not None and "deletionTimestamp" in pod["metadata"] else None

    victim: Object = await until(going)
    await w.client.patch(PODS.path("default", "victim"), {"metadata": {"finalizers": None}})
    return victim


def test_basic_preemption() -> None:
    async def test(w: World) -> None:
        await crowded(w, priorityClassName="high")
        await is_running(w, "worth")
        assert await w.get(PODS, "victim") is None

    on_nodes(test, 1)


def test_critical_pod_preemption() -> None:
    async def test(w: World) -> None:
        await crowded(w, priorityClassName="system-cluster-critical", namespace="kube-system")

        async def placed() -> Any:
            pod = await w.get(PODS, "worth", "kube-system")
            return pod is not None and is_ready(pod)

        await until(placed)

    on_nodes(test, 1)


def test_disruptiontarget_on_preempted_pod() -> None:
    async def test(w: World) -> None:
        victim = await crowded(w, priorityClassName="high")
        assert [
            (c["status"], c["reason"]) for c in victim["status"]["conditions"] if c["type"] == "DisruptionTarget"
        ] == [("True", "PreemptionByScheduler")]

    on_nodes(test, 1)


# -- DaemonSets


def test_daemonset_simple() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(DAEMONS, "web", spec=workload())
        first = await running(w, 2)
        assert where(first) == ["node0", "node1"]
        gone = first[0]["metadata"]
        await w.delete(PODS, gone["name"])

        async def revived() -> bool:
            found = await pods(w)
            return (
                len(found) == 2
                and all(map(is_ready, found))
                and gone["uid"] not in {p["metadata"]["uid"] for p in found}
            )

        await until(revived)

    on_nodes(test)


def test_daemonset_node_selection() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        strategy = {"updateStrategy": {"type": "OnDelete"}}
        await w.make(DAEMONS, "web", spec=workload(pod={"nodeSelector": {"color": "blue"}}, **strategy))
        await w.client.patch(NODES.path("", "node0"), {"metadata": {"labels": {"color": "blue"}}})
        assert where(await running(w, 1)) == ["node0"]
        await w.client.patch(NODES.path("", "node0"), {"metadata": {"labels": {"color": "green"}}})

        async def none() -> bool:
            return not await pods(w)

        await until(none)
        rolling = {"type": "RollingUpdate"}
        await change(
            w, DAEMONS, {"updateStrategy": rolling, "template": {"spec": {"nodeSelector": {"color": "green"}}}}
        )
        assert where(await running(w, 1)) == ["node0"]

    on_nodes(test)


def test_daemonset_retry_failed_pod() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(DAEMONS, "web", spec=workload())
        failed = (await running(w, 2))[0]["metadata"]
        await w.client.patch(PODS.path("default", failed["name"], "status"), {"status": {"phase": "Failed"}})

        async def replaced() -> bool:
            found = await pods(w)
            uids = {p["metadata"]["uid"] for p in found}
            return len(found) == 2 and all(map(is_ready, found)) and failed["uid"] not in uids

        await until(replaced)

    on_nodes(test)


def test_daemonset_rollback_w_o_restarts() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(DAEMONS, "web", spec=workload())
        before = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await running(w, 2)}
        # the update gets stuck with its first pod: nobody has such a node
        stuck = {"template": {"spec": {"containers": containers("foo:none", resources={"requests": {"cpu": "1000"}})}}}
        await change(w, DAEMONS, stuck)

        async def half() -> Any:
            found = await pods(w)
            new = [p for p in found if p["spec"]["containers"][0]["image"] == "foo:none"]
            return [p["metadata"]["name"] for p in found if p not in new] if len(found) == 2 and len(new) == 1 else None

        (kept,) = await until(half)
        await change(w, DAEMONS, {"template": {"spec": {"containers": containers(resources=None)}}})
        after = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await running(w, 2, "nginx:1.7.9")}
        assert after[kept] == before[kept]

    on_nodes(test)


# -- Deployments


async def sets(w: World) -> dict[str, int]:
    """By image, how many replicas its ReplicaSet is to have."""
    listed = (await w.client.list(SETS.path("default")))["items"]
    return {s["spec"]["template"]["spec"]["containers"][0]["image"]: s["spec"]["replicas"] for s in listed}


def test_deployment_rollingupdate() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(
            SETS, "old", spec=workload(replicas=2), metadata={"labels": LABELS, "annotations": {REVISION: "41"}}
        )
        await running(w, 2)
        await w.make(DEPLOYMENTS, "web", spec=workload("nginx:1.9.1", replicas=2))
        await running(w, 2, "nginx:1.9.1")

        async def adopted() -> Any:
            found = {s["metadata"]["name"]: s for s in (await w.client.list(SETS.path("default")))["items"]}
            return found if len(found) == 2 and found["old"]["spec"]["replicas"] == 0 else None

        found = await until(adopted)
        assert found["old"]["metadata"]["ownerReferences"][0]["name"] == "web"
        revisions = {name: s["metadata"]["annotations"][REVISION] for name, s in found.items()}
        assert revisions.pop("old") == "41" and list(revisions.values()) == ["42"]

    on_nodes(test)


def test_deployment_recreate() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(DEPLOYMENTS, "web", spec=workload(replicas=3, strategy={"type": "Recreate"}))
        await running(w, 3)
        listed = await w.client.list(PODS.path("default"))
        alive: dict[str, str] = {p["metadata"]["name"]: "nginx:1.7.9" for p in listed["items"]}
        stream = w.client.watch(PODS.path("default"), resource_version=listed["metadata"]["resourceVersion"])
        await change(w, DEPLOYMENTS, new_image("nginx:1.9.1"))
        made = 0
        try:
            async for event in stream:
                name = event.object["metadata"].get("name", "")
                if event.type == "DELETED":
                    alive.pop(name, None)
                elif event.type == "ADDED":
                    alive[name] = event.object["spec"]["containers"][0]["image"]
                    made += 1
                assert len(set(alive.values())) <= 1, "old pods and new ones at once"
                if made == 3:
                    break
        finally:
            await stream.aclose()
        await running(w, 3, "nginx:1.9.1")

    on_nodes(test)


def test_deployment_rollover() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(DEPLOYMENTS, "web", spec=workload(replicas=4))
        await running(w, 4)
        stuck = {"template": {"spec": {"containers": containers("foo:none", resources={"requests": {"cpu": "1000"}})}}}
        await change(w, DEPLOYMENTS, stuck)

        async def begun() -> bool:
            return (await sets(w)).get("foo:none", 0) > 0

        await until(begun)
        good = {"template": {"spec": {"containers": containers("nginx:1.9.1", resources=None)}}}
        await change(w, DEPLOYMENTS, good)
        await running(w, 4, "nginx:1.9.1")

        async def settled() -> bool:
            return await sets(w) == {"nginx:1.7.9": 0, "foo:none": 0, "nginx:1.9.1": 4}

        await until(settled)

    on_nodes(test)


def test_deployment_proportional_scaling() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
        await w.make(DEPLOYMENTS, "web", spec=workload(replicas=10, strategy=rolling))
        await running(w, 10)
        stuck = {"template": {"spec": {"containers": containers("foo:none", resources={"requests": {"cpu": "1000"}})}}}
        await change(w, DEPLOYMENTS, stuck)

        async def so(old: int, new: int) -> bool:
            return await sets(w) == {"nginx:1.7.9": old, "foo:none": new}

        await until(lambda: so(8, 5))
        await change(w, DEPLOYMENTS, {"replicas": 30})
        await until(lambda: so(20, 13))

    on_nodes(test)


# -- StatefulSets


async def stateful(w: World, count: int) -> Object:
    async def so() -> Any:
        found = await w.get(STATEFUL_SETS, "web")
        state = (found or {}).get("status") or {}
        seen = found is not None and state.get("observedGeneration") == found["metadata"]["generation"]
        whole = state.get("replicas") == state.get("readyReplicas", 0) == count == len(await pods(w))
        return found if seen and whole and state["currentRevision"] == state["updateRevision"] else None

    found: Object = await until(so)
    return found


def test_statefulset_ordered_scaling() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        listed = await w.client.list(PODS.path("default"))
        stream = w.client.watch(PODS.path("default"), resource_version=listed["metadata"]["resourceVersion"])
        await w.make(STATEFUL_SETS, "web", spec={**workload(replicas=1), "serviceName": "web"})
        await stateful(w, 1)
        # one that is not ready halts it
        state = {"type": "Ready", "status": "False"}
        await w.client.patch(PODS.path("default", "web-0", "status"), {"status": {"conditions": [state]}})
        await change(w, STATEFUL_SETS, {"replicas": 3})

        async def seen() -> bool:
            found = await w.get(STATEFUL_SETS, "web")
            return found is not None and found["status"].get("observedGeneration") == found["metadata"]["generation"]

        await until(seen)
        assert [p["metadata"]["name"] for p in await pods(w)] == ["web-0"]
        state["status"] = "True"
        await w.client.patch(PODS.path("default", "web-0", "status"), {"status": {"conditions": [state]}})
        await stateful(w, 3)
        await change(w, STATEFUL_SETS, {"replicas": 0})
        await stateful(w, 0)
        told: list[str] = []
        try:
            async for event in stream:
                if event.type in ("ADDED", "DELETED"):
                    told.append(f"{event.type} {event.object['metadata']['name']}")
                if told[-1:] == ["DELETED web-0"]:
                    break
        finally:
            await stream.aclose()
        assert told == [*(f"ADDED web-{n}" for n in range(3)), *(f"DELETED web-{n}" for n in (2, 1, 0))]

    on_nodes(test)


def test_statefulset_recreate_evicted() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 1)
        await w.make(STATEFUL_SETS, "web", spec={**workload(replicas=1), "serviceName": "web"})
        await stateful(w, 1)
        first = (await pods(w))[0]["metadata"]["uid"]
        state = {"phase": "Failed", "reason": "NodePorts", "message": "Pod was rejected"}
        await w.client.patch(PODS.path("default", "web-0", "status"), {"status": state})

        async def made_anew() -> bool:
            found = await pods(w)
            return len(found) == 1 and found[0]["metadata"]["uid"] != first and is_ready(found[0])

        await until(made_anew)

    on_nodes(test, 1)


def test_statefulset_rolling_update_rollback() -> None:
    async def test(w: World) -> None:
        await node_ready(w, 2)
        await w.make(STATEFUL_SETS, "web", spec={**workload(replicas=3), "serviceName": "web"})
        first = (await stateful(w, 3))["status"]["currentRevision"]
        listed = await w.client.list(PODS.path("default"))
        stream = w.client.watch(PODS.path("default"), resource_version=listed["metadata"]["resourceVersion"])
        await change(w, STATEFUL_SETS, new_image("nginx:1.9.1"))
        second = (await stateful(w, 3))["status"]["currentRevision"]
        assert second != first
        await change(w, STATEFUL_SETS, new_image("nginx:1.7.9"))
        assert (await stateful(w, 3))["status"]["currentRevision"] == first
        revisions = {
            r["metadata"]["name"]: r["revision"] for r in (await w.client.list(REVISIONS.path("default")))["items"]
        }
        assert revisions == {first: 3, second: 2}
        made: list[str] = []
        try:
            async for event in stream:
                if event.type == "ADDED":
                    made.append(event.object["metadata"]["name"])
                if len(made) == 6:
                    break
        finally:
            await stream.aclose()
        assert made == ["web-2", "web-1", "web-0"] * 2

    on_nodes(test)
