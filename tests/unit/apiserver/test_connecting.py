"""Subresources that reach a node, and what nodes use: against a kubelet that is a few lines of a test."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from serving import PODS, Client, Json, pod, with_server

from netlab.apiserver import connecting, usages

CA = trustme.CA()


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    CA.configure_trust(context)
    CA.issue_cert("server@test").configure_cert(context)
    return context


class Kubelet:
    """Answers over TLS, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[Any] = []
        self.cpu = 0.0
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start(self) -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        CA.issue_cert("127.0.0.1").configure_cert(context)
        CA.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        return int(self._runner.addresses[0][1])

    async def aclose(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        self.headers.append(request.headers)
        match request.path.strip("/").split("/"):
            case ["containerLogs", _, "waiting", _]:
                return web.Response(status=400, text='container "c" in pod "waiting" is waiting to start\n')
            case ["containerLogs", _, "gone", _]:
                return web.Response(status=404, text="pod does not exist\n")
            case ["containerLogs", *_]:
                return web.Response(text="a line\n")
            case ["exec", _, "refused", _]:
                return web.Response(status=500, text='container not found ("c")\n')
            case ["exec" | "attach" | "portForward", *_]:
                ws = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
                await ws.prepare(request)
                async for message in ws:
                    await ws.send_bytes(b"you said " + message.data)
                return ws
            case ["metrics", "resource"]:
                self.cpu += 0.5
                return web.Response(text=(
                    f"node_cpu_usage_seconds_total {self.cpu} {int(time.time() * 1000)}\n"
                    "node_memory_working_set_bytes 2048\n"
                    f'container_cpu_usage_seconds_total{{container="c",namespace="default",pod="p"}} {self.cpu}\n'
                    'container_memory_working_set_bytes{container="c",namespace="default",pod="p"} 1024\n'
                ))  # fmt: skip
            case ["away"]:
                return web.Response(status=302, headers={"Location": "/there"})
            case _:
                return web.Response(body=await request.read(), headers={"X-Answer": "yes"}, status=201)


@contextlib.asynccontextmanager
async def cluster(client: Client, *pods: str) -> AsyncIterator[Kubelet]:
    """A node n1 whose kubelet answers, and pods on it."""
    kubelet = Kubelet()
    port = await kubelet.start()
    try:
        await node(client, "n1", port)
        for name in pods:
            await client.post(PODS, pod(name, nodeName="n1"))
        yield kubelet
    finally:
        await kubelet.aclose()


async def node(client: Client, name: str, port: int) -> None:
    made = (await client.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).body
    made["status"] = {"addresses": [{"type": "Hostname", "address": "nowhere.invalid"},
                                    {"type": "InternalIP", "address": "127.0.0.1"}],
                      "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}  # fmt: skip
    assert (await client.put(f"/api/v1/nodes/{name}/status", made)).status == 200


def check(test: Callable[[Client], Awaitable[None]]) -> None:
    with_server(test, kubelet_tls=client_tls())


async def upgraded(client: Client, path: str) -> bytes | str:
    """What comes of a WebSocket: an echo, or the text of the refusal."""
    headers = {**client.headers(), "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    try:
        async with client.session.ws_connect(
            client.url + path, headers=client.headers(), protocols=["v4.channel.k8s.io"]
        ) as ws:
            assert ws.protocol == "v4.channel.k8s.io"
            await ws.send_bytes(b"hello")
            return (await ws.receive()).data  # type: ignore[no-any-return]
    except aiohttp.WSServerHandshakeError:
        async with client.session.get(client.url + path, headers=headers) as answer:
            return f"{answer.status} {await answer.text()}"


def test_logs_are_passed_on() -> None:
    async def test(client: Client) -> None:
        async with cluster(client, "p", "waiting", "gone") as kubelet:
            got = await client.get(f"{PODS}/p/log", tailLines=3, follow="true", timestamps="false")
            assert (got.status, got.data) == (200, b"a line\n")
            assert got.headers["Content-Type"] == "text/plain"
            assert kubelet.asked == ["GET /containerLogs/default/p/c?follow=true&tailLines=3"]
            assert "Authorization" not in kubelet.headers[0]
            got = await client.get(f"{PODS}/waiting/log")
            assert got.body["reason"] == "BadRequest" and got.message == (
                'container "c" in pod "waiting" is waiting to start'
            )
            assert (await client.get(f"{PODS}/gone/log")).status == 404
            for query, text in (
                ({"tailLines": -1}, "greater than or equal to 0"),
                ({"limitBytes": 0}, "greater than 0"),
                ({"sinceSeconds": 0}, "greater than 0"),
            ):
                got = await client.get(f"{PODS}/p/log", **query)
                assert got.status == 422 and text in got.message
            assert (await client.get(f"{PODS}/p/log", container="x")).message == "container x is not valid for pod p"

    check(test)


def test_what_is_said_without_a_node() -> None:
    async def test(client: Client) -> None:
        await client.post(PODS, pod("alone"))
        two = [{"name": n, "image": "i"} for n in ("a", "b")]
        await client.post(PODS, pod("two", containers=two, initContainers=[{"name": "i", "image": "i"}]))
        got = await client.get(f"{PODS}/alone/log")
        assert (got.status, got.data) == (200, b"")
        assert (await client.get(f"{PODS}/two/log")).message == (
            "a container name must be specified for pod two, choose one of: [a b] or one of the init containers: [i]"
        )
        assert (
            await client.get(f"{PODS}/alone/exec", command="ls")
        ).message == "pod alone does not have a host assigned"
        assert (await client.get(f"{PODS}/none/exec", command="ls")).status == 404
        await node(client, "n1", 1)
        await client.post(PODS, pod("p", nodeName="n1"))
        await client.post(PODS, pod("lost", nodeName="n9"))
        assert (await client.get(f"{PODS}/lost/log")).message == 'nodes "n9" not found'
        refused = "dial tcp 127.0.0.1:1: connect: connection refused"
        got = await client.get(f"{PODS}/p/log")
        assert got.status == 500
        assert got.message == f'Get "https://127.0.0.1:1/containerLogs/default/p/c": {refused}'
        said = await upgraded(client, f"{PODS}/p/exec?command=ls&stdout=true")
        assert isinstance(said, str) and f"error dialing backend: {refused}" in said

    check(test)


def test_other_protocols_are_carried_byte_for_byte() -> None:
    async def test(client: Client) -> None:
        async with cluster(client, "p", "refused") as kubelet:
            assert await upgraded(client, f"{PODS}/p/exec?command=a&command=b%20c&stdin=true&tty=false&stdout=1") == (
                b"you said hello"
            )
            assert await upgraded(client, f"{PODS}/p/attach?stdout=true&tty=true") == b"you said hello"
            assert await upgraded(client, f"{PODS}/p/portforward?ports=80") == b"you said hello"
            assert await upgraded(client, "/api/v1/nodes/n1/proxy/exec/default/p/c?command=d") == b"you said hello"
            assert kubelet.asked == [
                "GET /exec/default/p/c?input=1&output=1&command=a&command=b+c",
                "GET /attach/default/p/c?output=1&tty=1", "GET /portForward/default/p?port=80",
                "GET /exec/default/p/c?command=d",
            ]  # fmt: skip
            assert await upgraded(client, f"{PODS}/refused/exec?command=a&stdout=1") == (
                '500 container not found ("c")\n'
            )
            assert (await client.get(f"{PODS}/p/exec", command="ls")).message == "Upgrade request required"

    check(test)


def test_who_may_not_is_told_so() -> None:
    async def test(client: Client) -> None:
        async with cluster(client, "p") as kubelet:
            jane = client.as_("jane-token")
            for verb, what in (("get", "exec"), ("get", "log"), ("get", "proxy/x")):
                got = await jane.get(f"{PODS}/p/{what}")
                part = what.partition("/")[0]
                assert got.status == 403
                assert f'cannot {verb} resource "pods/{part}" in API group ""' in got.message
            assert 'cannot create resource "pods/exec"' in (await jane.post(f"{PODS}/p/exec", {})).message
            assert kubelet.asked == []

    check(test)


def test_pods_services_and_nodes_are_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: Client) -> None:
        async with cluster(client, "p") as kubelet:
            made = (await client.get(f"{PODS}/p")).body
            made["status"] = {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
            await client.put(f"{PODS}/p/status", made)
            port = (await client.get("/api/v1/nodes/n1")).body["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            # the server's own addresses are nobody's pods
            assert (await client.get(f"{PODS}/https:p:{port}/proxy/")).message == "address not allowed"
            async with client.session.get(
                f"{client.url}/api/v1/nodes/n1/proxy?a=b", headers=client.headers(), allow_redirects=False
            ) as answer:  # so that relative links lead where they should
                assert (answer.status, answer.headers["Location"]) == (301, "/api/v1/nodes/n1/proxy/?a=b")
            got = await client.post("/api/v1/nodes/n1/proxy/a%20b?x=1", b"body", type_="text/plain")
            assert (got.status, got.data, got.headers["X-Answer"]) == (201, b"body", "yes")
            assert kubelet.asked[-1] == "POST /a%20b?x=1" and kubelet.headers[-1]["Content-Type"] == "text/plain"
            assert "Authorization" not in kubelet.headers[-1]
            async with client.session.get(
                f"{client.url}/api/v1/nodes/n1/proxy/away", headers=client.headers(), allow_redirects=False
            ) as answer:
                assert (answer.status, answer.headers["Location"]) == (302, "/api/v1/nodes/n1/proxy/there")
            monkeypatch.setattr(connecting, "check_address", lambda _: None)
            monkeypatch.setattr(connecting, "_open_tls", client_tls)
            assert (await client.get(f"{PODS}/https:p:{port}/proxy/x")).status == 201
            service: Json = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                             "spec": {"ports": [{"name": "web", "port": 80}]}}  # fmt: skip
            await client.post("/api/v1/namespaces/default/services", service)
            services = "/api/v1/namespaces/default/services"
            got = await client.get(f"{services}/s:80/proxy/")
            assert (got.status, got.message) == (503, 'no endpoints available for service "s"')
            assert (await client.get(f"{services}/s:81/proxy/")).message == 'no service port 81 found for service "s"'
            await client.post("/api/v1/namespaces/default/endpoints", {
                "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "s"},
                "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "web", "port": port}]}],
            })  # fmt: skip
            for named in ("https:s:80", "https:s:web", "https:s:"):
                assert (await client.get(f"{services}/{named}/proxy/y")).status == 201
            assert kubelet.asked[-1] == "GET /y"

    check(test)


def test_what_nodes_and_pods_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usages, "WINDOW_MIN", 0.01)

    async def test(client: Client) -> None:
        async with cluster(client, "p", "q") as kubelet:
            await node(client, "silent", 1)
            top = "/apis/metrics.k8s.io/v1beta1"
            nodes = (await client.get(f"{top}/nodes")).body
            assert nodes["kind"] == "NodeMetricsList" and [n["metadata"]["name"] for n in nodes["items"]] == ["n1"]
            assert nodes["items"][0]["usage"]["memory"] == "2Ki" and nodes["items"][0]["usage"]["cpu"].endswith("n")
            pods = (await client.get(f"{top}/namespaces/default/pods")).body
            assert [(p["metadata"]["name"], [c["name"] for c in p["containers"]]) for p in pods["items"]] == [
                ("p", ["c"])
            ]
            assert (await client.get(f"{top}/namespaces/default/pods/p")).body["kind"] == "PodMetrics"
            assert (await client.get(f"{top}/namespaces/default/pods/q")).message == (
                'podmetrics.metrics.k8s.io "default/q" not found'
            )
            assert (await client.get(f"{top}/namespaces/default/pods", labelSelector="a=b")).body["items"] == []
            assert (await client.get(f"{top}/pods")).body["items"] != []
            assert len(kubelet.asked) >= 2
            assert (await client.delete(f"{top}/nodes/n1")).status == 405
            assert (await client.as_("jane-token").get(f"{top}/nodes")).status == 403

    check(test)


def test_a_rate_needs_two_samples_of_the_same() -> None:
    one, two = usages.Used(1.0, 2048), usages.Used(1.5, 4096)
    assert usages.usage(one, two, 2.0) == {"cpu": "250000000n", "memory": "4Ki"}
    assert usages.usage(None, two, 2.0) is None
    assert usages.usage(two, one, 2.0) is None  # begun anew since


def test_names_of_what_is_proxied() -> None:
    names = {
        "p": ("", "p", ""),
        "p:80": ("", "p", "80"),
        "https:p:443": ("https", "p", "443"),
        "http:p:": ("http", "p", ""),
    }
    assert {name: connecting.split_name(name) for name in names} == names
    for wrong in ("", ":", "a:b:c", "https::1", "x:y:z:0"):
        with pytest.raises(Exception, match="invalid request"):
            connecting.split_name(wrong)


def test_a_client_that_goes_ends_the_connection_behind() -> None:
    async def test(client: Client) -> None:
        async with cluster(client, "p") as kubelet:
            ws = await client.session.ws_connect(
                f"{client.url}{PODS}/p/exec?command=a&stdout=1",
                headers=client.headers(),
                protocols=["v4.channel.k8s.io"],
            )
            await ws.send_bytes(b"x")
            await ws.receive()
            server = kubelet._runner.server
            assert server is not None and server.connections
            client.drop()
            while server.connections:  # until the deadline of the whole test
                await asyncio.sleep(0.01)

    check(test)
