"""Behaviours of ReplicationControllers and CronJobs that need no node. CronJobs are on a clock that the test turns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "controllers"))

from controlworld import PODS, QUOTAS, World, in_world, until
from test_controllers_cronjobs import CRON_JOBS, a_cron, after_a_minute, cron_world, jobs, said, turn

from netlab.client.resources import Resource
from netlab.client.rest import Object

CONTROLLERS = Resource("v1", "replicationcontrollers")


def an_rc(replicas: int, name: str) -> Object:
    template = {"metadata": {"labels": {"name": name}}, "spec": {"containers": [{"name": name, "image": "nginx"}]}}
    return {"replicas": replicas, "selector": {"name": name}, "template": template}


async def owned(w: World, name: str) -> bool:
    pod: Any = await w.get(PODS, name)
    return any(o["kind"] == "ReplicationController" for o in pod["metadata"].get("ownerReferences") or ())


def test_rc_adopt() -> None:
    async def test(w: World) -> None:
        await w.pod("pod-adoption", labels={"name": "pod-adoption"})
        await w.make(CONTROLLERS, "pod-adoption", spec=an_rc(1, "pod-adoption"))
        await until(lambda: owned(w, "pod-adoption"))
        assert await w.names(PODS) == ["pod-adoption"]

    in_world(test)


def test_rc_release() -> None:
    async def test(w: World) -> None:
        await w.make(CONTROLLERS, "pod-release", spec=an_rc(1, "pod-release"))

        async def one() -> Any:
            names = await w.names(PODS)
            return names[0] if len(names) == 1 else None

        name = await until(one)
        await w.client.patch(PODS.path("default", name), {"metadata": {"labels": {"name": "not-matching-name"}}})

        async def released() -> bool:
            return not await owned(w, name) and len(await w.names(PODS)) == 2

        await until(released)

    in_world(test)


def test_rc_quota_failure() -> None:
    async def test(w: World) -> None:
        await w.make(QUOTAS, "condition-test", spec={"hard": {"pods": "2"}})

        async def counted() -> bool:
            quota = await w.get(QUOTAS, "condition-test")
            return bool(((quota or {}).get("status") or {}).get("hard"))

        await until(counted)
        await w.make(CONTROLLERS, "condition-test", spec=an_rc(3, "condition-test"))

        async def conditions() -> list[Object]:
            found = ((await w.get(CONTROLLERS, "condition-test")) or {}).get("status") or {}
            return list(found.get("conditions") or ())

        async def failing() -> bool:
            return [(c["type"], c["reason"]) for c in await conditions()] == [("ReplicaFailure", "FailedCreate")]

        await until(failing)
        await w.client.patch(CONTROLLERS.path("default", "condition-test"), {"spec": {"replicas": 2}})

        async def well() -> bool:
            return not await conditions()

        await until(well)

    in_world(test)


def test_cronjob_allow() -> None:
    async def test(w: World) -> None:
        await w.make(CRON_JOBS, "hello", spec=a_cron(concurrencyPolicy="Allow"))
        await after_a_minute(w, 1)
        await after_a_minute(w, 2)

        async def both_active() -> bool:
            cron: Any = await w.get(CRON_JOBS, "hello")
            return len((cron.get("status") or {}).get("active") or ()) == 2

        await until(both_active)

    cron_world(test)


def test_cronjob_forbid() -> None:
    async def test(w: World) -> None:
        await w.make(CRON_JOBS, "hello", spec=a_cron(concurrencyPolicy="Forbid"))
        (first,) = await after_a_minute(w, 1)
        await turn(w, 60)
        await until(lambda: said(w, "JobAlreadyActive"))
        assert [j["metadata"]["name"] for j in await jobs(w)] == [first["metadata"]["name"]]

    cron_world(test)


def test_cronjob_replace() -> None:
    async def test(w: World) -> None:
        await w.make(CRON_JOBS, "hello", spec=a_cron(concurrencyPolicy="Replace"))
        (first,) = await after_a_minute(w, 1)
        await turn(w, 60)

        async def another() -> bool:
            names = [j["metadata"]["name"] for j in await jobs(w) if "deletionTimestamp" not in j["metadata"]]
            return len(names) == 1 and names != [first["metadata"]["name"]]

        await until(another)

    cron_world(test)
