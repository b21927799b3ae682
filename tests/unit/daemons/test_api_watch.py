"""An API server as a source: what agents are told of a real one, as whom they may ask, and while it is away."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from following import DEADLINE, Script, no_sleep, until
from serving import USERS, serving

from netlab.apiserver.call import User
from netlab.client.informer import Informers
from netlab.client.kubeconfig import ApiConfig
from netlab.client.resources import Resource
from netlab.client.rest import ApiUnavailable, Object, RestClient, WatchEvent
from netlab.compile.objects import LABEL_HEADLESS, LABEL_PROXY, Service
from netlab.daemons import dns
from netlab.daemons.api_watch import Followed
from netlab.daemons.policyd import agent as policyd
from netlab.daemons.proxy import feed as proxy
from netlab.daemons.sources import Change, Want
from netlab.dns.records import ZoneConfig

SERVICES, SLICES = Resource("v1", "services"), Resource("discovery.k8s.io/v1", "endpointslices")
NODES, POLICIES = Resource("v1", "nodes"), Resource("networking.k8s.io/v1", "networkpolicies")
AGENTS = ("system:kube-proxy", "system:netlab-policyd", "system:coredns")


class Line:
    """A client whose line to the server can be cut. Requests on their way break off."""

    def __init__(self, client: RestClient) -> None:
        self.client, self.cut = client, asyncio.Event()
        self.lists = 0

    async def list(self, path: str, **selected: str) -> Object:
        if self.cut.is_set():
            raise ApiUnavailable("the line is cut")
        self.lists += 1
        return await self.client.list(path, **selected)  # type: ignore[arg-type]

    async def watch(self, path: str, *, resource_version: str, **selected: str) -> AsyncGenerator[WatchEvent, None]:
        async with contextlib.aclosing(
            self.client.watch(path, resource_version=resource_version, **selected)
        ) as events:
            while True:
                coming = asyncio.ensure_future(anext(events))
                cutting = asyncio.ensure_future(self.cut.wait())
                try:
                    await asyncio.wait({coming, cutting}, return_when=asyncio.FIRST_COMPLETED)
                    if self.cut.is_set():
                        raise ApiUnavailable("the line is cut")
                    yield coming.result()
                finally:
                    for task in (coming, cutting):
                        task.cancel()
                    await asyncio.gather(coming, cutting, return_exceptions=True)


class World:
    """An administrator, and what somebody with a source has been told so far."""

    def __init__(self, admin: RestClient, line: Line) -> None:
        self.admin, self.line = admin, line
        self.told: list[Change] = []

    async def make(self, resource: Resource, name: str, *, namespace: str = "default", **more: Any) -> Object:
        metadata = {"name": name, **more.pop("metadata", {})}
        return await self.admin.create(resource.path(namespace), {"metadata": metadata, **more})

    @property
    def named(self) -> set[str]:
        return {str(at) for change in self.told for at in change.values}


@contextlib.asynccontextmanager
async def following(wants: Iterable[Want], user: str = "admin") -> AsyncIterator[World]:
    users = {**USERS, **{f"{name}-token": User(name, ("system:authenticated",)) for name in AGENTS}}
    async with asyncio.timeout(DEADLINE), serving(static=users) as server:
        admin, own = (
            RestClient(ApiConfig(place="test", server=server.url, token=f"{name}-token")) for name in ("admin", user)
        )
        line = Line(own)
        informers = Informers(line, sleep=no_sleep)
        world = World(admin, line)

        async def follow() -> None:
            async for change in Followed(informers, wants).watch():
                world.told.append(change)

        task = asyncio.create_task(follow())
        try:
            yield world
        finally:
            task.cancel()
            (failure,) = await asyncio.gather(task, return_exceptions=True)
            await informers.aclose()
            await admin.aclose()
            await own.aclose()
            if not isinstance(failure, asyncio.CancelledError):
                raise AssertionError("the source ended") from failure


PORTS: dict[str, Any] = {"spec": {"ports": [{"port": 80}]}}


def pods_of_node(cidr: str) -> dict[str, Any]:
    return {"podCIDR": cidr, "podCIDRs": [cidr]}


def a_slice(service: str, *ips: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4",
        "ports": [{"name": "", "port": 80}], "endpoints": [{"addresses": [ip]} for ip in ips],
    }  # fmt: skip


def test_everything_is_told_at_once_and_then_each_change() -> None:
    async def test() -> None:
        async with following(proxy.wants("n1")) as world:
            await until(lambda: bool(world.told))
            await world.make(SERVICES, "a", **PORTS)
            await until(lambda: "Service default/a" in world.named)
            await world.make(SLICES, "a-1", **a_slice("a", "10.244.1.2"))
            await until(lambda: "EndpointSlice default/a-1" in world.named)
            await world.admin.delete(SERVICES.path("default", "a"))
            await until(lambda: None in world.told[-1].values.values())
            assert [str(at) for at in world.told[-1].values] == ["Service default/a"]

    asyncio.run(test())


def test_a_burst_is_few_changes_and_what_nobody_compiles_is_none() -> None:
    async def test() -> None:
        async with following([Want("Service")]) as world:
            await until(lambda: bool(world.told))
            await asyncio.gather(*(world.make(SERVICES, f"s{n}", **PORTS) for n in range(40)))
            await until(lambda: len({name for name in world.named if "/s" in name}) == 40)
            before = len(world.told)
            note = {"metadata": {"annotations": {"note": "x"}}}
            await world.admin.patch(SERVICES.path("default", "s1"), note)
            await world.make(SERVICES, "last", **PORTS)
            await until(lambda: "Service default/last" in world.named)
            assert [str(at) for change in world.told[before:] for at in change.values] == ["Service default/last"]

    asyncio.run(test())


def test_a_proxy_hears_of_its_own_node_and_of_what_it_serves() -> None:
    async def test() -> None:
        async with following(proxy.wants("n1")) as world:
            await world.make(NODES, "n2", namespace="", spec=pods_of_node("10.244.2.0/24"))
            await world.make(SERVICES, "other", **PORTS, metadata={"labels": {LABEL_PROXY: "x"}})
            headless = {"metadata": {"labels": {LABEL_HEADLESS: ""}}}
            await world.make(SLICES, "h-1", **{**a_slice("h", "10.244.1.2"), **headless})
            await world.make(SERVICES, "a", **PORTS)
            await world.make(NODES, "n1", namespace="", spec=pods_of_node("10.244.1.0/24"))
            await until(lambda: {"Node n1", "Service default/a"} <= world.named)
            assert not world.named & {"Node n2", "Service default/other", "EndpointSlice default/h-1"}

    asyncio.run(test())


def test_a_server_that_is_away_takes_nothing_away_and_the_difference_is_told_when_it_is_back() -> None:
    async def test() -> None:
        async with following([Want("Service"), Want("Namespace")]) as world:
            await world.make(SERVICES, "a", **PORTS)
            await world.make(SERVICES, "b", **PORTS)
            await until(lambda: {"Service default/a", "Service default/b"} <= world.named)
            told = len(world.told)
            world.line.cut.set()
            await world.admin.delete(SERVICES.path("default", "a"))
            await world.make(SERVICES, "c", **PORTS)
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(world.told) == told
            world.line.cut.clear()
            await until(lambda: "Service default/c" in world.named)
            found = {str(at): one for change in world.told[told:] for at, one in change.values.items()}
            assert set(found) == {"Service default/a", "Service default/c"} and found["Service default/a"] is None

    asyncio.run(test())


@pytest.mark.parametrize(
    ("user", "wants"),
    [
        ("system:kube-proxy", proxy.wants("n1")),
        ("system:netlab-policyd", policyd.wants("n1")),
        ("system:coredns", dns.wants(ZoneConfig(pods="verified"))),
    ],
)
def test_each_agent_may_read_what_it_wants_and_not_write(user: str, wants: tuple[Want, ...]) -> None:
    async def test() -> None:
        async with following(wants, user) as world:
            await until(lambda: bool(world.told))
            assert world.line.lists == len(wants)
            with pytest.raises(Exception, match="forbidden"):
                await world.line.client.create(SERVICES.path("default"), {"metadata": {"name": "x"}, **PORTS})

    asyncio.run(test())


class Services(Script):
    """A source of Services whose events a test plays one by one."""

    def __init__(self, *listed: Object) -> None:
        super().__init__()
        self.lists.append((list(listed), "9"))
        self.events: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()

    async def list(self, path: str, **selected: str) -> Object:
        return {**await super().list(path, **selected), "kind": "ServiceList"}

    async def watch(self, path: str, **_: str) -> AsyncGenerator[WatchEvent, None]:
        while True:
            yield WatchEvent(*await self.events.get())


def service(version: int, port: object, name: str = "a") -> Object:
    metadata = {"name": name, "namespace": "x", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"kind": "Service", "metadata": metadata, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": port}]}}


def test_what_makes_no_sense_stays_what_it_was_and_is_told() -> None:
    """An API server would refuse it; an older or newer one may know better than we."""

    async def test() -> None:
        script = Services(service(1, 80), service(2, "many", "b"))
        informers, told = Informers(script, sleep=no_sleep), list[Change]()

        async def follow() -> None:
            async for change in Followed(informers, [Want("Service")]).watch():
                told.append(change)

        def wrong() -> list[str]:
            return [problem.place for problem in told[-1].problems]

        task = asyncio.create_task(follow())
        await until(lambda: bool(told) and wrong() == ["Service x/b"])
        assert [str(at) for at in told[-1].values] == ["Service x/a"]
        script.events.put_nowait(("MODIFIED", service(10, "many")))
        await until(lambda: wrong() == ["Service x/a", "Service x/b"])
        assert told[-1].values == {}
        script.events.put_nowait(("MODIFIED", service(11, 81)))
        await until(lambda: wrong() == ["Service x/b"])
        (mended,) = told[-1].values.values()
        assert isinstance(mended, Service) and mended.ports[0].port == 81
        script.events.put_nowait(("DELETED", service(12, "many", "b")))
        await until(lambda: wrong() == [])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await informers.aclose()

    asyncio.run(test())


def test_two_agents_of_one_process_share_their_informers() -> None:
    async def test() -> None:
        script = Services(service(1, 80))
        script.events.put_nowait(("ADDED", service(10, 80, "b")))
        informers = Informers(script, sleep=no_sleep)
        told: list[set[str]] = [set(), set()]

        async def follow(names: set[str]) -> None:
            async for change in Followed(informers, [Want("Service")]).watch():
                names |= {at.name for at in change.values}

        tasks = [asyncio.create_task(follow(names)) for names in told]
        await until(lambda: told == [{"a", "b"}, {"a", "b"}])
        assert script.asked.count("list") == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await informers.aclose()

    asyncio.run(test())
