"""What the server gives Services and takes back. Numbers are those of the points in the list of facts about Services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from serving import DEADLINE, Client, serving, with_server

from netlab.store.sqlite import SqliteStore

PATH = "/api/v1/namespaces/default/services"
LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}


def service(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def made(c: Client, name: str = "a", **spec: Any) -> dict[str, Any]:
    answer = await c.post(PATH, service(name, **spec))
    assert answer.status == 201, answer.message
    found: dict[str, Any] = answer.body["spec"]
    return found


async def changed(c: Client, name: str = "a", **spec: Any) -> dict[str, Any]:
    """As kubectl patch does."""
    answer = await c.patch(f"{PATH}/{name}", {"spec": spec})
    assert answer.status == 200, answer.message
    found: dict[str, Any] = answer.body["spec"]
    return found


async def refused(c: Client, name: str, words: str, **spec: Any) -> None:
    answer = await c.post(PATH, service(name, **spec))
    assert answer.status == 422 and words in answer.message, answer.body


def test_S24_a_balancer_without_node_ports() -> None:
    async def test(c: Client) -> None:
        spec = await made(c, type="LoadBalancer", allocateLoadBalancerNodePorts=False)
        assert "nodePort" not in spec["ports"][0] and spec["clusterIP"]
        assert (await changed(c, allocateLoadBalancerNodePorts=True))["ports"][0]["nodePort"]

    with_server(test)


def test_S65_cluster_addresses() -> None:
    async def test(c: Client) -> None:
        spec = await made(c)
        assert (await made(c, "b", clusterIP="10.96.7.7"))["clusterIP"] == "10.96.7.7"
        await refused(c, "c", "provided IP is already allocated", clusterIP="10.96.7.7")
        await refused(c, "c", "is not in the valid range", clusterIP="192.0.2.1")
        moved = await c.patch(f"{PATH}/a", {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}})
        assert moved.status == 422 and "may not change once set" in moved.message
        assert (await changed(c, ports=[{"port": 81}]))["clusterIP"] == spec["clusterIP"]

    with_server(test)


def test_S66_node_ports() -> None:
    async def test(c: Client) -> None:
        assert 30000 <= (await made(c, type="NodePort"))["ports"][0]["nodePort"] <= 32767
        wanted = [{"port": 80, "nodePort": 30080}]
        assert (await made(c, "b", type="NodePort", ports=wanted))["ports"][0]["nodePort"] == 30080
        await refused(c, "c", "provided port is already allocated", type="NodePort", ports=wanted)
        await refused(
            c, "c", "provided port is not in the valid range", type="NodePort", ports=[{"port": 80, "nodePort": 80}]
        )
        assert (await c.delete(f"{PATH}/b")).status == 200
        assert (await made(c, "c", type="NodePort", ports=wanted))["ports"][0]["nodePort"] == 30080

    with_server(test)


def test_S67_one_number_by_tcp_and_by_udp() -> None:
    ports = [{"name": p.lower(), "port": 53, "protocol": p, "nodePort": 30053} for p in ("TCP", "UDP")]

    async def test(c: Client) -> None:
        assert [p["nodePort"] for p in (await made(c, type="NodePort", ports=ports))["ports"]] == [30053, 30053]
        await refused(c, "b", "provided port is already allocated", type="NodePort", ports=ports[:1])
        twice = [ports[0], {**ports[0], "name": "x", "port": 54}]
        await refused(c, "b", "Duplicate value: 30053", type="NodePort", ports=twice)
        # one of both is given up, and the other stays
        assert [p["nodePort"] for p in (await changed(c, ports=ports[1:]))["ports"]] == [30053]

    with_server(test)


def test_S68_from_cluster_ip_to_node_port_and_back() -> None:
    async def test(c: Client) -> None:
        address = (await made(c))["clusterIP"]
        spec = await changed(c, type="NodePort")
        number = spec["ports"][0]["nodePort"]
        assert spec["clusterIP"] == address and number and spec["externalTrafficPolicy"] == "Cluster"
        spec = await changed(c, type="ClusterIP")
        assert (
            spec["clusterIP"] == address and "nodePort" not in spec["ports"][0] and "externalTrafficPolicy" not in spec
        )
        assert (await made(c, "b", type="NodePort", ports=[{"port": 80, "nodePort": number}]))["ports"]
        # whoever asks for one that its type cannot have is told
        await refused(c, "c", "may not be used when `type` is 'ClusterIP'", ports=[{"port": 80, "nodePort": 30080}])

    with_server(test)


def test_S69_S72_from_external_name_and_back() -> None:
    async def test(c: Client) -> None:
        spec = await made(c, type="ExternalName", externalName="my.database.example.com", ports=None)
        assert "clusterIP" not in spec
        spec = await changed(c, type="NodePort", externalName=None, ports=[{"port": 80}])
        assert spec["clusterIP"].startswith("10.") and spec["ports"][0]["nodePort"]
        answer = await c.patch(f"{PATH}/a", {"spec": {"type": "ExternalName"}})
        assert answer.status == 422 and "spec.externalName" in answer.message
        spec = await changed(c, type="ExternalName", externalName="x.example.com")
        assert "clusterIP" not in spec and "clusterIPs" not in spec and "nodePort" not in spec["ports"][0]

    with_server(test)


def test_S70_names_of_ports() -> None:
    async def test(c: Client) -> None:
        await refused(c, "a", "spec.ports[1].name: Required value", ports=[{"name": "x", "port": 80}, {"port": 81}])
        twice = [{"name": "x", "port": 80}, {"name": "x", "port": 81}]
        await refused(c, "a", 'spec.ports[1].name: Duplicate value: "x"', ports=twice)
        await made(c, ports=[{"port": 80}])

    with_server(test)


def test_S71_health_check_node_port() -> None:
    async def test(c: Client) -> None:
        number = (await made(c, **LOCAL))["healthCheckNodePort"]
        assert 30000 <= number <= 32767
        await refused(c, "b", "provided port is already allocated", **LOCAL, healthCheckNodePort=number)
        # who knows nothing of it leaves it as it is
        answer = await c.put(f"{PATH}/a", service(**LOCAL))
        assert answer.body["spec"]["healthCheckNodePort"] == number
        moved = await c.patch(f"{PATH}/a", {"spec": {"healthCheckNodePort": number + 1}})
        assert moved.status == 422 and "field is immutable" in moved.message
        assert "healthCheckNodePort" not in await changed(c, externalTrafficPolicy="Cluster")
        assert (await made(c, "b", **LOCAL, healthCheckNodePort=number))["healthCheckNodePort"] == number
        assert "healthCheckNodePort" not in await changed(c, "b", type="ClusterIP")
        words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        await refused(c, "c", words, type="NodePort", externalTrafficPolicy="Local", healthCheckNodePort=30001)

    with_server(test)


def test_S39_how_long_a_client_may_stick_to_an_endpoint() -> None:
    def sticky(seconds: int) -> dict[str, Any]:
        return {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}

    async def test(c: Client) -> None:
        assert (await made(c, sessionAffinity="ClientIP"))["sessionAffinityConfig"] == {
            "clientIP": {"timeoutSeconds": 10800}
        }
        for number, seconds in enumerate((1, 86400)):
            await made(c, f"b{number}", **sticky(seconds))
        for seconds in (0, -1, 86401):
            await refused(c, "c", "must be greater than 0 and less than 86400", **sticky(seconds))

    with_server(test)


def test_S76_a_successor_gives_nothing_twice(tmp_path: Path) -> None:
    async def life(test: Callable[[Client], Awaitable[None]]) -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        async with asyncio.timeout(DEADLINE), serving(store) as c:
            await test(c)

    async def first(c: Client) -> None:
        await made(c, type="NodePort", clusterIP="10.96.7.7", ports=[{"port": 80, "nodePort": 30080}])
        await made(c, "b", **LOCAL, healthCheckNodePort=32000)

    async def second(c: Client) -> None:
        await refused(c, "c", "provided IP is already allocated", clusterIP="10.96.7.7")
        for number in (30080, 32000):
            wanted = [{"port": 80, "nodePort": number}]
            await refused(c, "c", "provided port is already allocated", type="NodePort", ports=wanted)

    asyncio.run(life(first))
    asyncio.run(life(second))
