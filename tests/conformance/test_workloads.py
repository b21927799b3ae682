"""Behaviours of workloads that need no node: what the controllers make and leave, with a kubelet that runs no containers."""

from __future__ import annotations

from typing import Any

from controlworld import PODS, World, in_world, until
from workloads import DEPLOYMENTS, SETS, deploy, kubelet, pods_of, template

from netlab.client.resources import Resource
from netlab.client.rest import Object

BUDGETS = Resource("policy/v1", "poddisruptionbudgets")
DAEMONS = Resource("apps/v1", "daemonsets")
REVISIONS = Resource("apps/v1", "controllerrevisions")
NODES = Resource("v1", "nodes")


async def deployed(w: World) -> None:
    await deploy(w, replicas=2)

    async def so() -> bool:
        return len(await pods_of(w)) == 2

    await until(so)


async def gone(w: World, resource: Resource, name: str) -> None:
    async def so() -> bool:
        return await w.get(resource, name) is None

    await until(so)


def test_gc_deployment_background() -> None:
    async def test(w: World) -> None:
        await deployed(w)
        await w.delete(DEPLOYMENTS, "web", how="Background")
        await gone(w, DEPLOYMENTS, "web")

        async def nothing_left() -> bool:
            return not await w.names(SETS) and not await w.names(PODS)

        await until(nothing_left)

    in_world(test)


def test_gc_deployment_orphan() -> None:
    async def test(w: World) -> None:
        await deployed(w)
        await w.delete(DEPLOYMENTS, "web", how="Orphan")
        await gone(w, DEPLOYMENTS, "web")
        (left,) = (await w.client.list(SETS.path("default")))["items"]
        assert "ownerReferences" not in left["metadata"]
        owners = [p["metadata"]["ownerReferences"][0]["uid"] for p in await pods_of(w)]
        assert owners == [left["metadata"]["uid"]] * 2

    in_world(test)


def test_pdb_status_observed() -> None:
    async def test(w: World) -> None:
        budget = await w.make(
            BUDGETS, "web", spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        )  # fmt: skip

        async def state() -> Object:
            return ((await w.get(BUDGETS, "web")) or {}).get("status") or {}

        async def observed() -> bool:
            return bool((await state()).get("observedGeneration") == budget["metadata"]["generation"])

        await until(observed)
        async with kubelet(w):
            await deploy(w, replicas=3)

            async def counted() -> bool:
                found = await state()
                return (found.get("currentHealthy"), found.get("disruptionsAllowed")) == (3, 2)

            await until(counted)

    in_world(test)


def test_controllerrevision_lifecycle() -> None:
    async def test(w: World) -> None:
        await w.make(NODES, "n1", "")
        labels = {"app": "agent"}
        await w.make(DAEMONS, "agent", spec={"selector": {"matchLabels": labels}, "template": template(**labels)})

        async def revisions() -> list[Object]:
            found = (await w.client.list(REVISIONS.path("default")))["items"]
            return sorted(found, key=lambda r: r["revision"])

        async def one() -> Any:
            found = await revisions()
            return found[0] if len(found) == 1 else None

        first = await until(one)
        assert first["revision"] == 1 and first["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet"
        # a copy of one's own: created, patched, replaced, deleted, and deleted as one of several
        own = {"app": "mine"}
        await w.make(REVISIONS, "mine", revision=2, data=first["data"], metadata={"labels": own})
        patched = await w.client.patch(REVISIONS.path("default", "mine"), {"metadata": {"labels": {"more": "1"}}})
        assert patched["metadata"]["labels"] == {**own, "more": "1"}
        await w.delete(REVISIONS, "mine")
        await gone(w, REVISIONS, "mine")
        change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
        await w.client.patch(DAEMONS.path("default", "agent"), change)

        async def next_one() -> bool:
            return [r["revision"] for r in await revisions()] == [1, 2]

        await until(next_one)
        await w.make(REVISIONS, "mine", revision=9, data=first["data"], metadata={"labels": own})
        await w.client.delete(REVISIONS.path("default") + "?labelSelector=app%3Dmine")
        await gone(w, REVISIONS, "mine")
        change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 9}}}}
        await w.client.patch(DAEMONS.path("default", "agent"), change)

        async def third() -> bool:
            return [r["revision"] for r in await revisions()][-1] == 3

        await until(third)

    in_world(test)
