"""A server in this process with its controllers, and a client: what a test writes is followed by what they make of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from serving import Client, serving

from netlab.client.kubeconfig import ApiConfig
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, Object, RestClient
from netlab.controllers.certificates import Authority
from netlab.controllers.podranges import ClusterRange
from netlab.controllers.runner import Runner
from netlab.controllers.serviceaccounts import ServiceAccounts
from netlab.controllers.shape import Controller
from netlab.daemons.controllers import CONTROLLERS

#: seconds after which a test that waits has failed
DEADLINE = 30.0
CA = b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"

NAMESPACES, PODS, MAPS = Resource("v1", "namespaces"), Resource("v1", "pods"), Resource("v1", "configmaps")
SECRETS, ACCOUNTS, EVENTS = Resource("v1", "secrets"), Resource("v1", "serviceaccounts"), Resource("v1", "events")
SERVICES, QUOTAS = Resource("v1", "services"), Resource("v1", "resourcequotas")
SETS = Resource("apps/v1", "replicasets")
CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions")


class World:
    """client: the administrator's; server: see serving.py."""

    def __init__(self, server: Client, client: RestClient, runner: Runner) -> None:
        self.server, self.client, self.runner = server, client, runner

    async def make(self, resource: Resource, name: str, namespace: str = "default", **more: Any) -> Object:
        """Create an object. metadata: more of it; everything else is the body."""
        metadata = {"name": name, **more.pop("metadata", {})}
        return await self.client.create(resource.path(namespace), {"metadata": metadata, **more})

    async def pod(self, name: str, namespace: str = "default", **metadata: Any) -> Object:
        spec = {"containers": [{"name": "c", "image": "nginx"}]}
        return await self.make(PODS, name, namespace, spec=spec, metadata=metadata)

    async def get(self, resource: Resource, name: str, namespace: str = "default") -> Object | None:
        """The object, None if it is not there."""
        try:
            return await self.client.get(resource.path(namespace, name))
        except ApiError as e:
            if e.code == 404:
                return None
            raise

    async def names(self, resource: Resource, namespace: str = "default") -> list[str]:
        listed = await self.client.list(resource.path(namespace))
        return [item["metadata"]["name"] for item in listed["items"]]

    async def delete(self, resource: Resource, name: str, namespace: str = "default", how: str = "") -> None:
        await self.client.delete(resource.path(namespace, name), propagation=how)

    @contextlib.asynccontextmanager
    async def more(
        self, controllers: Sequence[type[Controller]], *, pod_ranges: tuple[ClusterRange, ...] = (),
        authority: Authority | None = None, make: type[RestClient] = RestClient,
    ) -> AsyncIterator[Runner]:  # fmt: skip
        """Other controllers, with a client of their own, as long as the block lasts."""
        own = make(self.client.config)
        runner = Runner(own, controllers, ca=CA, pod_ranges=pod_ranges, authority=authority)
        running = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await own.aclose()


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for a condition, with a deadline; what it gave."""
    async with asyncio.timeout(DEADLINE):
        while not (found := await condition()):
            await asyncio.sleep(0.005)
        return found


@contextlib.asynccontextmanager
async def world(controllers: Sequence[type[Controller]] = CONTROLLERS) -> AsyncIterator[World]:
    async with asyncio.timeout(2 * DEADLINE), serving(accounts_required=ServiceAccounts in controllers) as server:
        config = ApiConfig(place="test", server=server.url, token="admin-token")
        client, own = RestClient(config), RestClient(config)
        runner = Runner(own, controllers, ca=CA)
        running = asyncio.create_task(runner.run())
        try:
            ready = asyncio.create_task(runner.ready.wait())
            await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            yield World(server, client, runner)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await client.aclose()
            await own.aclose()


def in_world(test: Callable[[World], Awaitable[None]], controllers: Sequence[type[Controller]] = CONTROLLERS) -> None:
    """Run a test in a world of its own. A controller that fails by a bug fails the test."""
    bugs: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                bugs.append(logging.Formatter().format(record))

    async def whole() -> None:
        async with world(controllers) as w:
            await test(w)

    handler = Catch()
    logging.getLogger("controllers").addHandler(handler)
    try:
        asyncio.run(whole())
    finally:
        logging.getLogger("controllers").removeHandler(handler)
    assert not bugs, "\n".join(bugs)
