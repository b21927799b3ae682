"""Budgets: how many may be evicted now, and that an eviction hears it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import World, in_world, until
from workloads import DEPLOYMENTS, deploy, kubelet, pods_of

from netlab.client.resources import Resource
from netlab.client.rest import ApiError
from netlab.controllers.deployments import Deployments
from netlab.controllers.disruptions import Disruptions
from netlab.controllers.replicasets import ReplicaSets
from netlab.controllers.shape import Tools

BUDGETS = Resource("policy/v1", "poddisruptionbudgets")


class InStep(Disruptions):
    """Its clock is the server's, which stands still: who is let go now is let go for a while."""

    def __init__(self, tools: Tools) -> None:
        super().__init__(replace(tools, now=lambda: 1_700_000_000.0))


ONLY = (InStep, ReplicaSets, Deployments)


async def counts(w: World, name: str, allowed: int, healthy: int, desired: int, expected: int) -> None:
    async def there() -> Any:
        budget = await w.get(BUDGETS, name)
        state = (budget or {}).get("status") or {}
        names = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
        return [state.get(n) for n in names] == [allowed, healthy, desired, expected]

    await until(there)


async def evict(w: World, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    await w.client.create(f"/api/v1/namespaces/default/pods/{name}/eviction", body)


def test_a_budget_lets_go_what_it_can_spare() -> None:
    async def test(w: World) -> None:
        selector = {"matchLabels": {"app": "web"}}
        await w.make(BUDGETS, "b", spec={"minAvailable": 2, "selector": selector})
        await counts(w, "b", 0, 0, 2, 0)
        async with kubelet(w):
            await deploy(w)
            await counts(w, "b", 1, 3, 2, 3)
        # nobody ends or starts pods now: one more eviction would be one too many
        first, second, *_ = [p["metadata"]["name"] for p in await pods_of(w)]
        await evict(w, first)
        with pytest.raises(ApiError, match="Cannot evict pod as it would violate the pod's disruption budget"):
            await evict(w, second)
        async with kubelet(w):
            await counts(w, "b", 1, 3, 2, 3)

    in_world(test, ONLY)


def test_shares_are_of_what_the_owner_wants() -> None:
    async def test(w: World) -> None:
        selector = {"matchLabels": {"app": "web"}}
        await w.make(BUDGETS, "least", spec={"minAvailable": "50%", "selector": selector})
        await w.make(BUDGETS, "most", spec={"maxUnavailable": "30%", "selector": selector})
        async with kubelet(w):
            await deploy(w, replicas=5)
            await counts(w, "least", 2, 5, 3, 5)
            await counts(w, "most", 2, 5, 3, 5)
            await w.client.patch(DEPLOYMENTS.path("default", "web"), {"spec": {"replicas": 1}})
            await counts(w, "least", 0, 1, 1, 1)
            await counts(w, "most", 1, 1, 0, 1)

    in_world(test, ONLY)
