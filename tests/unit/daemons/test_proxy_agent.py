"""When a proxy does what: gathered changes, full syncs, refusals, health; and what its feed tells of manifests."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parent))
from proxy_world import Kernel, served

from netlab.base.errors import MachineError
from netlab.compile.objects import Endpoint, EndpointSlice, Node, Service, ServicePort, SlicePort
from netlab.compile.rules import Mode
from netlab.daemons.manifest_watch import Folder
from netlab.daemons.proxy.agent import Agent
from netlab.daemons.proxy.feed import ServiceFeed, Update
from netlab.daemons.proxy.healthcheck import Asked, HealthChecks, answer, asked
from netlab.daemons.proxy.options import Options
from netlab.model import HostState, NftSet

A, B = served("a", "10.244.1.2"), served("b", "10.244.1.3")


class World:
    """A machine and a feed. updates: what to tell; lacks: why the kernel cannot do it at all."""

    def __init__(self, **options: object) -> None:
        self.network = Kernel()
        self.lacks: str | None = None
        self.told: asyncio.Queue[Update] = asyncio.Queue()
        self.changed: asyncio.Queue[None] = asyncio.Queue()
        given = {"min_sync_period": 0.0, **options}
        self.agent = Agent(Options(node="n1", **given), self, self)  # type: ignore[arg-type]

    def need(self, mode: Mode) -> None:
        if self.lacks:
            raise MachineError(self.lacks)

    async def changes(self) -> AsyncGenerator[None, None]:
        while True:
            yield await self.changed.get()

    async def updates(self) -> AsyncGenerator[Update, None]:
        while True:
            yield await self.told.get()

    def running(self, body: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            task = asyncio.create_task(self.agent.run())
            try:
                await body()
            finally:
                task.cancel()
                await asyncio.wait([task])

        asyncio.run(run())

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0)


def test_nothing_is_done_before_the_feed_has_told_everything() -> None:
    world = World()

    async def body() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        assert world.network.log == [] and not world.agent.healthy
        assert world.agent.healthz().status.startswith("503")
        world.told.put_nowait(Update(dict([A])))
        await world.until(lambda: world.agent.waiting is None)
        assert world.network.log == ["apply"] and world.agent.healthy

    world.running(body)


def test_S93_changes_that_come_at_once_are_one() -> None:
    world = World(min_sync_period=0.05)

    async def body() -> None:
        world.told.put_nowait(Update(dict([A])))
        await world.until(lambda: world.agent.waiting is None)
        for name, one in (A, B, served("c", "10.244.1.4")):
            world.told.put_nowait(Update({name: one}))
        await world.until(lambda: len(world.agent.programme.known) == 3)
        assert world.network.log.count("step") <= 2

    world.running(body)


def test_when_services_become_many_they_are_put_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlab.daemons.proxy.agent.MANY", 1)
    world = World(mode="nftables")

    def direct() -> bool:
        names = {
            item.name for item in world.network.backend.read({"here": HostState()}, everything=True)["here"].all(NftSet)
        }
        return "hairpin-connections" in names

    async def body() -> None:
        world.told.put_nowait(Update(dict([A])))
        await world.until(lambda: world.agent.waiting is None)
        assert not direct()
        world.told.put_nowait(Update(dict([B])))
        await world.until(direct)
        world.told.put_nowait(Update({B[0]: None}))
        await world.until(lambda: len(world.agent.programme.known) == 1)
        assert direct()

    world.running(body)


def test_S93_a_refusal_is_told_and_tried_again_as_a_whole() -> None:
    world = World(sync_period=0.05)
    world.network.bad, world.network.broken = {"anything"}, True

    async def body() -> None:
        world.told.put_nowait(Update(dict([A])))
        await world.until(lambda: "no chain/target/match" in (world.agent.waiting or ""))
        assert world.agent.livez().status.startswith("503")
        world.network.bad, world.network.broken = set(), False
        await world.until(lambda: world.agent.waiting is None)
        assert world.agent.livez().status == "200 OK"

    world.running(body)
    page = {f.name: f for f in text_string_to_metric_families(world.agent.figures.page().decode())}
    assert page["kubeproxy_sync_proxy_rules_failures"].samples[0].value >= 1
    assert page["kubeproxy_services"].samples[0].value == 1


def test_a_kernel_that_cannot_do_it_at_all_ends_the_proxy() -> None:
    world = World()
    world.lacks = "this kernel has no IPVS"
    with pytest.raises(MachineError, match="no IPVS"):
        asyncio.run(world.agent.run())


def test_S120_a_node_that_is_about_to_leave_is_alive_and_not_healthy() -> None:
    world = World()

    async def body() -> None:
        world.told.put_nowait(Update(dict([A]), Node("n1", leaving=True)))
        await world.until(lambda: world.agent.waiting is None)
        assert world.agent.healthz().status.startswith("503") and world.agent.livez().status == "200 OK"
        assert json.loads(world.agent.healthz().body)["nodeEligible"] is False
        world.told.put_nowait(Update({}, Node("n1")))
        await world.until(lambda: world.agent.healthz().status == "200 OK")

    world.running(body)


# -- health checks of balancers


def balancer(*endpoints: Endpoint, **more: object) -> Service:
    values = {"external_local": True, "health_port": 32000, **more}
    return Service("x", "w", "LoadBalancer", (ServicePort("", "tcp", 80, 80),), ("10.96.0.1",), **values)  # type: ignore[arg-type]


def test_S117_S118_ready_local_endpoints_are_counted_once_each() -> None:
    listed = (
        Endpoint("10.244.1.2", node="n1"), Endpoint("10.244.1.3", ready=False, terminating=True, node="n1"),
        Endpoint("10.244.2.2", node="n2"),
    )  # fmt: skip
    slices = tuple(EndpointSlice("x", f"w-{p}", "w", 4, (SlicePort("", "tcp", p),), listed) for p in (80, 81))
    assert asked([(balancer(), slices)], "n1") == {32000: Asked(("x", "w"), 1)}
    assert asked([(balancer(external_local=False), slices)], "n1") == {}
    assert asked([(balancer(health_port=0), slices)], "n1") == {}


@pytest.mark.parametrize(("local", "healthy", "status"), [(2, True, "200 OK"), (0, True, "503"), (2, False, "503")])
def test_S117_what_a_balancer_is_told(local: int, healthy: bool, status: str) -> None:
    told = answer(Asked(("x", "w"), local), healthy)
    assert told.status.startswith(status) and ("X-Load-Balancing-Endpoint-Weight", str(local)) in told.headers
    assert json.loads(told.body)["serviceProxyHealthy"] is healthy


def test_S119_a_port_that_is_taken_is_told_and_the_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        taken = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        port = taken.sockets[0].getsockname()[1]
        checks = HealthChecks(lambda: True)
        free = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        other = free.sockets[0].getsockname()[1]
        free.close()
        await free.wait_closed()
        await checks.follow({port: Asked(("x", "w"), 1), other: Asked(("x", "v"), 1)})
        assert "health checks of Service x/w" in caplog.text
        reader, writer = await asyncio.open_connection("127.0.0.1", other)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b" 200 OK" in await reader.read()
        writer.close()
        checks.close()
        taken.close()

    asyncio.run(run())


# -- the feed


def test_manifests_become_services_with_slices_and_only_changes_are_told(tmp_path: Path) -> None:
    text = """
kind: Service
metadata: {name: NAME}
spec: {clusterIP: 10.96.0.NUMBER, selector: {app: w}, ports: [{port: 80}]}
"""
    pod = "---\nkind: Pod\nmetadata: {name: p, labels: {app: w}}\nspec: {nodeName: n1}\nstatus: {podIP: 10.244.1.2}\n"
    file, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    file.write_text(text.replace("NAME", "a").replace("NUMBER", "1") + pod)
    other.write_text(text.replace("NAME", "b").replace("NUMBER", "2"))

    async def run() -> None:
        updates = ServiceFeed(Folder([tmp_path]), "n1").updates()
        async with asyncio.timeout(10):
            first = await anext(updates)
            assert sorted(first.services) == [("default", "a"), ("default", "b")]
            known = first.services["default", "a"]
            assert known is not None and known[1][0].endpoints[0].address == "10.244.1.2"
            assert first.node is not None and first.node.name == "n1"
            other.unlink()
            assert (await anext(updates)).services == {("default", "b"): None}
            beside = tmp_path / ".a"
            beside.write_text(file.read_text().replace("10.244.1.2", "10.244.1.9"))
            beside.replace(file)
            changed = await anext(updates)
            assert list(changed.services) == [("default", "a")]
        await updates.aclose()

    asyncio.run(run())
