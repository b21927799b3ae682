"""ReplicationControllers: what is theirs alone; the rest is what ReplicaSets do."""

from __future__ import annotations

from typing import Any

from controlworld import PODS, World, in_world, until

from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers.owning import selector_of

CONTROLLERS = Resource("v1", "replicationcontrollers")


def test_a_selector_that_is_a_map() -> None:
    selector = selector_of({"spec": {"selector": {"app": "web", "tier": "front"}}})
    assert selector is not None
    assert selector.matches({"app": "web", "tier": "front", "more": "x"}) and not selector.matches({"app": "web"})
    assert selector_of({"spec": {}}) is None


def test_pods_are_made_adopted_and_released() -> None:
    async def test(w: World) -> None:
        await w.pod("mine", labels={"app": "web"})
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
        await w.make(CONTROLLERS, "web", spec={"replicas": 3, "template": template})

        async def status() -> Object:
            return ((await w.get(CONTROLLERS, "web")) or {}).get("status") or {}

        async def three() -> bool:
            return (await status()).get("fullyLabeledReplicas") == 3

        await until(three)
        assert len(await w.names(PODS)) == 3
        mine: Any = await w.get(PODS, "mine")
        assert [(o["kind"], o["apiVersion"]) for o in mine["metadata"]["ownerReferences"]] == [
            ("ReplicationController", "v1")
        ]
        await w.client.patch(PODS.path("default", "mine"), {"metadata": {"labels": {"app": "other"}}})

        async def released() -> bool:
            pod: Any = await w.get(PODS, "mine")
            return "ownerReferences" not in pod["metadata"] and len(await w.names(PODS)) == 4

        await until(released)
        await w.client.patch(CONTROLLERS.path("default", "web", "scale"), {"spec": {"replicas": 0}})

        async def none() -> bool:
            return await w.names(PODS) == ["mine"] and (await status()).get("replicas") == 0

        await until(none)

    in_world(test)
