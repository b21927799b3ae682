"""What tests of workloads have in common: a kubelet for all nodes that runs no containers, and Deployments."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from controlworld import PODS, World

from netlab.client.resources import Resource, key_of
from netlab.client.rest import ApiError, Object, RestClient

DEPLOYMENTS = Resource("apps/v1", "deployments")
SETS = Resource("apps/v1", "replicasets")
READY = {"type": "Ready", "status": "True"}


class Kubelet:
    """Sets pods Running and Ready as soon as they are seen, and ends those that are deleted.

    runs: what becomes of a pod: Running, Succeeded, Failed, or "" for one that stays as it is.
    """

    def __init__(self, client: RestClient, runs: Callable[[Object], str] = lambda pod: "Running") -> None:
        self._client, self.runs = client, runs

    async def run(self) -> None:
        listed = await self._client.list(PODS.path())
        for pod in listed["items"]:
            await self._see(pod)
        async for event in self._client.watch(PODS.path(), resource_version=listed["metadata"]["resourceVersion"]):
            if event.type in ("ADDED", "MODIFIED"):
                await self._see(event.object)

    async def _see(self, pod: Object) -> None:
        phase, wanted = (pod.get("status") or {}).get("phase", "Pending"), self.runs(pod)
        with contextlib.suppress(ApiError):  # it changed or went meanwhile: that is seen next
            if "deletionTimestamp" in pod["metadata"]:
                await self._client.delete(PODS.at(key_of(pod)), grace=0, uid=pod["metadata"]["uid"])
            elif wanted and phase in ("Pending", "Running") and phase != wanted:
                ready = {**READY, "status": "True" if wanted == "Running" else "False"}
                stamp = pod["metadata"]["creationTimestamp"]
                status = {"phase": wanted, "startTime": stamp, "conditions": [{**ready, "lastTransitionTime": stamp}]}
                await self._client.patch(PODS.at(key_of(pod), "status"), {"status": status})


@contextlib.asynccontextmanager
async def kubelet(w: World, runs: Callable[[Object], str] = lambda pod: "Running") -> AsyncIterator[Kubelet]:
    made = Kubelet(w.client, runs)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def template(image: str = "nginx:1", **labels: str) -> Object:
    return {"metadata": {"labels": labels or {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


async def deploy(w: World, name: str = "web", replicas: int = 3, image: str = "nginx:1", **spec: Any) -> Object:
    selector = {"matchLabels": {"app": name}}
    body = {"replicas": replicas, "selector": selector, "template": template(image, app=name), **spec}
    return await w.make(DEPLOYMENTS, name, spec=body)


async def pods_of(w: World, namespace: str = "default") -> list[Object]:
    listed = await w.client.list(PODS.path(namespace))
    return [pod for pod in listed["items"] if "deletionTimestamp" not in pod["metadata"]]
