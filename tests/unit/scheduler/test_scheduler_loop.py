"""The scheduler against a server in this process: bindings, events, conditions, preemption."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "apiserver"))

from making import Object, node, pod, taint
from serving import serving

from netlab.client.kubeconfig import ApiConfig
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, RestClient
from netlab.scheduler.loop import Scheduler

#: seconds after which a test that waits has failed
DEADLINE = 30.0
PODS, NODES, EVENTS = Resource("v1", "pods"), Resource("v1", "nodes"), Resource("v1", "events")


class Cluster:
    def __init__(self, client: RestClient, scheduler: Scheduler) -> None:
        self.client, self.scheduler = client, scheduler

    async def node(self, obj: Object) -> None:
        made = await self.client.create(NODES.path(), {k: obj[k] for k in ("metadata", "spec")})
        await self.client.replace(NODES.path("", made["metadata"]["name"], "status"), {**made, "status": obj["status"]})

    async def pod(self, obj: Object) -> None:
        meta = {k: v for k, v in obj["metadata"].items() if k in ("name", "labels")}
        await self.client.create(PODS.path("default"), {"metadata": meta, "spec": obj["spec"]})

    async def get(self, name: str) -> Object | None:
        try:
            return await self.client.get(PODS.path("default", name))
        except ApiError as e:
            if e.code == 404:
                return None
            raise

    async def placed(self, name: str) -> str:
        async def there() -> Any:
            found = await self.get(name)
            return found and found["spec"].get("nodeName")

        return str(await until(there))

    async def said(self, name: str, reason: str) -> str:
        """The last event of a reason about a pod."""

        async def there() -> Any:
            events = (await self.client.list(EVENTS.path("default")))["items"]
            chosen = [e for e in events if e["involvedObject"]["name"] == name and e["reason"] == reason]
            return chosen and chosen[-1]["message"]

        return str(await until(there))

    async def condition(self, name: str) -> Object:
        async def there() -> Any:
            found = await self.get(name)
            conditions = ((found or {}).get("status") or {}).get("conditions") or ()
            return next((c for c in conditions if c["type"] == "PodScheduled"), None)

        return dict(await until(there))


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(DEADLINE):
        while not (found := await condition()):
            await asyncio.sleep(0.005)
        return found


def in_cluster(test: Callable[[Cluster], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(2 * DEADLINE), serving(accounts_required=False) as server:
            config = ApiConfig(place="test", server=server.url, token="admin-token")
            client, own = RestClient(config), RestClient(config)
            scheduler = Scheduler(own, chance=random.Random(1))
            running = asyncio.create_task(scheduler.run())
            try:
                await test(Cluster(client, scheduler))
            finally:
                running.cancel()
                results = await asyncio.gather(running, return_exceptions=True)
                await client.aclose()
                await own.aclose()
            assert isinstance(results[0], asyncio.CancelledError), results

    asyncio.run(whole())


def test_a_pod_gets_a_node_when_there_is_one() -> None:
    async def test(c: Cluster) -> None:
        await c.pod(pod("early"))
        assert await c.said("early", "FailedScheduling") == "no nodes available to schedule pods"
        condition = await c.condition("early")
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        await c.node(node("c", taints=[taint("node-role.kubernetes.io/control-plane")]))
        await c.pod(pod("late"))
        why = (
            "0/1 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }. "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
        assert await c.said("late", "FailedScheduling") == why
        assert (await c.condition("late"))["message"] == why
        await c.node(node("a"))
        assert await c.placed("late") == "a" and await c.placed("early") == "a"
        assert await c.said("late", "Scheduled") == "Successfully assigned default/late to a"
        assert (await c.condition("late"))["status"] == "True"

    in_cluster(test)


def test_others_and_gated_pods_are_left_alone() -> None:
    async def test(c: Cluster) -> None:
        await c.node(node("a"))
        await c.pod(pod("theirs", schedulerName="theirs"))
        await c.pod(pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
        await c.pod(pod("mine"))
        assert await c.placed("mine") == "a"
        for name in ("theirs", "gated"):
            there = await c.get(name)
            assert there is not None and "nodeName" not in there["spec"]
        await c.client.patch(PODS.path("default", "gated"), {"spec": {"schedulingGates": None}})
        assert await c.placed("gated") == "a"

    in_cluster(test)


def test_room_comes_back_when_pods_end_or_go() -> None:
    async def test(c: Cluster) -> None:
        await c.node(node("a", cpu="1"))
        await c.pod(pod("first", requests={"cpu": "1"}))
        await c.placed("first")
        for name, end in (("second", "delete"), ("third", "succeed")):
            await c.pod(pod(name, requests={"cpu": "1"}))
            assert "1 Insufficient cpu" in await c.said(name, "FailedScheduling")
            before = "first" if name == "second" else "second"
            if end == "delete":
                await c.client.delete(PODS.path("default", before), grace=0)
            else:
                await c.client.patch(PODS.path("default", before, "status"), {"status": {"phase": "Succeeded"}})
            assert await c.placed(name) == "a"

    in_cluster(test)


def test_the_more_important_pod_makes_room() -> None:
    async def test(c: Cluster) -> None:
        path = Resource("scheduling.k8s.io/v1", "priorityclasses").path()
        await c.client.create(path, {"metadata": {"name": "high"}, "value": 1000})
        await c.node(node("a", cpu="1"))
        await c.pod(pod("low", requests={"cpu": "1"}))
        await c.placed("low")
        await c.pod(pod("high", requests={"cpu": "1"}, priorityClassName="high"))

        async def marked() -> Any:
            low, high = await c.get("low"), await c.get("high")
            if low is None or high is None or "deletionTimestamp" not in low["metadata"]:
                return None
            return [k["message"] for k in low["status"]["conditions"] if k["type"] == "DisruptionTarget"], high[
                "status"
            ]

        messages, status = await until(marked)
        assert messages == ["default-scheduler: preempting to accommodate a higher priority pod"]
        assert status["nominatedNodeName"] == "a"
        assert (await c.said("low", "Preempted")).endswith(" on node a")
        await c.client.delete(PODS.path("default", "low"), grace=0)  # what its kubelet would do
        assert await c.placed("high") == "a"

    in_cluster(test)


def test_many_pods_at_once_and_a_node_that_fills_up() -> None:
    async def test(c: Cluster) -> None:
        for name in "abc":
            await c.node(node(name, cpu="1"))
        await asyncio.gather(*(c.pod(pod(f"p{n}", requests={"cpu": "100m"})) for n in range(33)))

        async def settled() -> Any:
            return c.scheduler.placed == 30 and c.scheduler.queue.counts()["unschedulable"] == 3

        await until(settled)
        pods = (await c.client.list(PODS.path("default")))["items"]
        where = [p["spec"].get("nodeName", "") for p in pods]
        assert {name: where.count(name) for name in set(where)} == {"a": 10, "b": 10, "c": 10, "": 3}

    in_cluster(test)
