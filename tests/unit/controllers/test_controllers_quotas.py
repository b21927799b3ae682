"""status.used of quotas: what admission counted, less what went."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import MAPS, PODS, QUOTAS, SERVICES, SETS, World, in_world, until
from test_controllers_garbage import a_set

from netlab.client.rest import ApiError
from netlab.controllers.quotas import ResourceQuotas, counted

ONLY = (ResourceQuotas,)


def test_what_a_name_counts() -> None:
    assert counted(["pods", "requests.cpu", "limits.memory", "cpu"]) == {("", "pods")}
    assert counted(["services", "services.nodeports"]) == {("", "services")}
    assert counted(["count/replicasets.apps", "count/widgets.example.com", "count/secrets", "configmaps"]) == {
        ("apps", "replicasets"), ("example.com", "widgets"), ("", "secrets"), ("", "configmaps"),
    }  # fmt: skip
    gold = "gold.storageclass.storage.k8s.io/requests.storage"
    assert counted(["requests.storage", gold]) == {("", "persistentvolumeclaims")}


async def used(w: World, wanted: dict[str, str]) -> None:
    """Wait until the quota says so."""

    async def says() -> bool:
        quota = await w.get(QUOTAS, "q")
        return quota is not None and (quota.get("status") or {}).get("used") == wanted

    await until(says)


def test_what_is_there_is_counted_and_what_goes_is_freed() -> None:
    async def test(w: World) -> None:
        await w.make(MAPS, "before")
        hard = {"configmaps": "3", "services": "5", "services.nodeports": "2", "count/replicasets.apps": "1"}
        await w.make(QUOTAS, "q", spec={"hard": hard})
        services = len(await w.names(SERVICES))
        base = {"configmaps": "1", "services": str(services), "services.nodeports": "0", "count/replicasets.apps": "0"}
        await used(w, base)
        await w.make(MAPS, "more")
        await w.make(SERVICES, "door", spec={"type": "NodePort", "ports": [{"port": 80}]})
        await a_set(w)
        await used(w, {"configmaps": "2", "services": str(services + 1), "services.nodeports": "1",
                           "count/replicasets.apps": "1"})  # fmt: skip
        with pytest.raises(ApiError, match=r"exceeded quota: q, requested: count/replicasets\.apps=1, used: "):
            await a_set(w, "another")
        await w.delete(SETS, "rs")
        await w.delete(SERVICES, "door")
        await w.delete(MAPS, "more")
        await used(w, base)
        await a_set(w, "another")

    in_world(test, ONLY)


def test_pods_count_by_what_they_ask_for_until_they_end() -> None:
    async def test(w: World) -> None:
        hard = {"pods": "2", "requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "2"}
        await w.make(QUOTAS, "q", spec={"hard": hard})
        resources = {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
        for name in ("a", "b"):
            spec = {"containers": [{"name": "c", "image": "x", "resources": resources}]}
            await w.make(PODS, name, spec=spec)
        await used(w, {"pods": "2", "requests.cpu": "500m", "requests.memory": "128Mi", "limits.cpu": "1"})
        half = {"pods": "1", "requests.cpu": "250m", "requests.memory": "64Mi", "limits.cpu": "500m"}
        await w.client.patch(PODS.path("default", "a", "status"), {"status": {"phase": "Succeeded"}})
        await used(w, half)
        await w.delete(PODS, "a")
        await w.delete(PODS, "b")
        await used(w, dict.fromkeys(hard, "0"))

    in_world(test, ONLY)


def test_scopes_take_in_what_is_theirs() -> None:
    async def test(w: World) -> None:
        await w.make(QUOTAS, "q", spec={"hard": {"pods": "5"}, "scopes": ["BestEffort"]})
        await w.make(QUOTAS, "other", spec={"hard": {"pods": "5"}, "scopes": ["NotBestEffort"]})
        await used(w, {"pods": "0"})
        await w.pod("poor")
        await used(w, {"pods": "1"})
        await w.delete(PODS, "poor")
        await used(w, {"pods": "0"})

    in_world(test, ONLY)


def test_a_wrong_count_and_a_new_limit_are_put_right() -> None:
    async def test(w: World) -> None:
        await w.make(QUOTAS, "q", spec={"hard": {"configmaps": "10"}})
        await used(w, {"configmaps": "0"})
        await w.client.patch(QUOTAS.path("default", "q", "status"), {"status": {"used": {"configmaps": "7"}}})
        await used(w, {"configmaps": "0"})
        await w.client.patch(QUOTAS.path("default", "q"), {"spec": {"hard": {"configmaps": None, "secrets": "1000m"}}})

        async def hard() -> Any:
            quota = await w.get(QUOTAS, "q")
            return quota is not None and quota["status"] == {"hard": {"secrets": "1"}, "used": {"secrets": "0"}}

        await until(hard)

    in_world(test, ONLY)
