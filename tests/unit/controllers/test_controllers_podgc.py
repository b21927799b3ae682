"""Pods that nobody else takes away."""

from __future__ import annotations

from typing import Any

import pytest
from controlworld import PODS, World, in_world, until

from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers import podgc
from netlab.controllers.podgc import OUT_OF_SERVICE, PodGarbageCollector, out_of_service

NODES = Resource("v1", "nodes")


def a_node(status: str, *taints: str) -> Object:
    return {
        "spec": {"taints": [{"key": key, "effect": "NoExecute"} for key in taints]},
        "status": {"conditions": [{"type": "Ready", "status": status}]},
    }


def test_who_is_out_of_service() -> None:
    assert out_of_service(a_node("Unknown", OUT_OF_SERVICE))
    assert not out_of_service(a_node("True", OUT_OF_SERVICE)) and not out_of_service(a_node("False", "other"))


async def on_node(w: World, name: str, node: str, phase: str = "Running") -> None:
    await w.make(PODS, name, spec={"nodeName": node, "containers": [{"name": "c", "image": "x"}]})
    await w.client.patch(PODS.path("default", name, "status"), {"status": {"phase": phase}})


def run(test: Any) -> None:
    in_world(test, [PodGarbageCollector])


async def left(w: World, *names: str) -> bool:
    return sorted(await w.names(PODS)) == sorted(names)


def test_pods_of_a_node_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podgc, "QUARANTINE", 0.2)

    async def test(w: World) -> None:
        for name in ("stays", "goes"):
            await w.client.create(NODES.path(), {"metadata": {"name": name}})
            await on_node(w, f"on-{name}", name)
        await w.pod("waits")
        await w.client.patch(PODS.path("default", "on-goes"), {"metadata": {"finalizers": ["example.com/look"]}})
        await w.delete(NODES, "goes", "")

        async def failed() -> Any:
            pod = await w.get(PODS, "on-goes")
            return pod if pod is not None and pod["status"]["phase"] == "Failed" else None

        pod = await until(failed)
        assert [(c["type"], c["reason"]) for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"] == [
            ("DisruptionTarget", "DeletionByPodGC")
        ]
        await w.client.patch(PODS.path("default", "on-goes"), {"metadata": {"finalizers": None}})
        await until(lambda: left(w, "on-stays", "waits"))

    run(test)


def test_what_ends_on_a_node_that_is_out_of_service() -> None:
    async def test(w: World) -> None:
        await w.client.create(NODES.path(), {"metadata": {"name": "n"}})
        for name in ("ending", "running"):
            await on_node(w, name, "n")
        await w.delete(PODS, "ending")
        assert await left(w, "ending", "running"), "its node has to confirm it"
        taint = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
        await w.client.patch(NODES.path("", "n"), {"spec": {"taints": [taint]}})
        await until(lambda: left(w, "running"))

    run(test)


def test_more_ended_pods_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podgc, "KEPT", 2)

    async def test(w: World) -> None:
        await w.client.create(NODES.path(), {"metadata": {"name": "n"}})
        await on_node(w, "running", "n")
        for number in range(4):
            await on_node(w, f"ended-{number}", "n", "Succeeded" if number % 2 else "Failed")
        await until(lambda: left(w, "running", "ended-2", "ended-3"))

    run(test)
