"""The client of the Kubernetes API, against a small server in this process."""

import asyncio
import ssl
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "overlay"))

from fakeapi import FakeApi, running
from stores import DEADLINE, free_port

from netlab.client.kubeconfig import ApiConfig
from netlab.client.rest import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    ApiError,
    ApiUnavailable,
    RestClient,
    WatchEvent,
    path,
)

PODS = "/api/v1/namespaces/default/pods"


def run(test: Callable[[FakeApi, RestClient], Awaitable[None]], **config: object) -> None:
    async def whole() -> None:
        async with running() as api, asyncio.timeout(DEADLINE):
            client = RestClient(ApiConfig(place="test", server=api.url, **config), timeout=5)  # type: ignore[arg-type]
            try:
                await test(api, client)
            finally:
                await client.aclose()

    asyncio.run(whole())


def pod(name: str, **spec: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_paths() -> None:
    assert path("v1", "nodes") == "/api/v1/nodes"
    assert path("v1", "nodes", name="n1", subresource="status") == "/api/v1/nodes/n1/status"
    assert path("apps/v1", "deployments", namespace="x", name="a b/c") == (
        "/apis/apps/v1/namespaces/x/deployments/a%20b%2Fc"
    )
    roles = path("rbac.authorization.k8s.io/v1", "clusterroles", name="system:node")
    assert roles.endswith("/clusterroles/system:node")


def test_verbs() -> None:
    async def test(api: FakeApi, client: RestClient) -> None:
        made = await client.create(PODS, pod("a", image="x"))
        assert made["metadata"]["resourceVersion"] == "2"
        assert await client.get(f"{PODS}/a") == made
        changed = await client.replace(f"{PODS}/a", {**made, "spec": {"image": "y"}})
        assert changed["spec"] == {"image": "y"}
        with pytest.raises(ApiError, match="has been modified") as conflict:
            await client.replace(f"{PODS}/a", made)
        assert (conflict.value.code, conflict.value.reason) == (409, "Conflict")
        patched = await client.patch(f"{PODS}/a", {"spec": {"image": None, "node": "n1"}}, fieldManager="me")
        assert patched["spec"] == {"node": "n1"}
        assert api.requests[-1][1].endswith("?fieldManager=me")
        for kind in (STRATEGIC_MERGE_PATCH, MERGE_PATCH):
            await client.patch(f"{PODS}/a", {}, kind=kind)
            assert api.requests[-1][2]["Content-Type"] == kind
        with pytest.raises(ApiError):
            await client.patch(f"{PODS}/none", [], kind=JSON_PATCH)
        await client.delete(f"{PODS}/a", uid="u", resource_version="7", grace=0, propagation="Foreground")
        assert api.bodies[-1][2] == {
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Foreground",
            "preconditions": {"uid": "u", "resourceVersion": "7"},
        }  # fmt: skip
        with pytest.raises(ApiError, match=f"GET {PODS}/a: .* not found") as missing:
            await client.get(f"{PODS}/a")
        error = missing.value
        assert (error.code, error.reason, error.details, error.gone) == (404, "NotFound", {"name": "x"}, False)

    run(test)


def test_list_in_pages() -> None:
    async def test(api: FakeApi, client: RestClient) -> None:
        for n in range(25):
            api.put(f"{PODS}/p{n:02}", pod(f"p{n:02}"))
        found = await client.list(PODS, limit=10, label_selector="a=b", field_selector="c=d", resource_version="0")
        assert [item["metadata"]["name"] for item in found["items"]] == [f"p{n:02}" for n in range(25)]
        assert found["metadata"] == {"resourceVersion": "26"}
        first, *_, last = [query for _, query, _ in api.requests]
        assert "labelSelector=a%3Db" in first and "resourceVersion=0" in first
        assert "continue=20" in last and "resourceVersion" not in last
        assert (await client.list("/api/v1/nothings"))["items"] == []

    run(test)


def test_watch() -> None:
    async def test(api: FakeApi, client: RestClient) -> None:
        version = (await client.list(PODS))["metadata"]["resourceVersion"]
        stream = client.watch(PODS, resource_version=version, label_selector="a=b")
        api.put(f"{PODS}/a", pod("a", text="x" * 300_000))
        added = await anext(stream)
        assert (added.type, added.object["metadata"]["name"], added.resource_version) == ("ADDED", "a", "2")
        api.put(f"{PODS}/a", pod("a"))
        api.drop(f"{PODS}/a")
        assert [(await anext(stream)).type for _ in range(2)] == ["MODIFIED", "DELETED"]
        query = api.requests[-1][1]
        assert all(part in query for part in ("allowWatchBookmarks=true", "timeoutSeconds=300", "labelSelector=a%3Db"))
        await stream.aclose()

    run(test)


def test_bookmarks_move_on_and_an_end_in_good_order_is_not_seen() -> None:
    async def test(api: FakeApi, client: RestClient) -> None:
        api.hang_up_after = 2
        stream = client.watch(PODS, resource_version="1")
        for n in range(6):
            api.put(f"{PODS}/p{n}", pod(f"p{n}"))
        events = [await anext(stream) for _ in range(6)]
        assert [e.object["metadata"]["name"] for e in events] == [f"p{n}" for n in range(6)]
        assert api.watches == 3
        await stream.aclose()
        # what is told of the rest of the world
        api.hang_up_after = None
        api.say = b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}\n'
        stream = client.watch(PODS, resource_version="7")
        bookmark = await anext(stream)
        assert bookmark == WatchEvent("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "9"}})
        waiting = asyncio.ensure_future(anext(stream))
        while not any("resourceVersion=9" in query for _, query, _ in api.requests):
            await asyncio.sleep(0)
        api.revision = 9
        api.put(f"{PODS}/z", pod("z"))
        assert (await waiting).resource_version == "10"
        await stream.aclose()
        # a server that hangs up without a word is not asked for ever
        api.hang_up_after = 0
        api.put(f"{PODS}/z", pod("z"))
        with pytest.raises(ApiUnavailable, match="at once"):
            await anext(client.watch(PODS, resource_version="10"))

    run(test)


def test_gone() -> None:
    async def test(api: FakeApi, client: RestClient) -> None:
        api.put(f"{PODS}/a", pod("a"))
        api.compact()
        with pytest.raises(ApiError, match="too old resource version") as found:
            await anext(client.watch(PODS, resource_version="1"))
        assert found.value.gone and found.value.code == 410
        api.broken = 410
        with pytest.raises(ApiError) as found:
            await anext(client.watch(PODS, resource_version="1"))
        assert found.value.gone

    run(test)


async def _first(stream: AsyncGenerator[WatchEvent, None]) -> WatchEvent:
    return await anext(stream)


@pytest.mark.parametrize("said", [b"garbage\n", b"[]\n", b'{"type":"ADDED"}\n', b'{"type":"ADDED","object":7}\n', b"{"])
def test_a_watch_that_makes_no_sense(said: bytes) -> None:
    async def test(api: FakeApi, client: RestClient) -> None:
        api.say = said
        with pytest.raises((ApiUnavailable, ApiError)):
            await _first(client.watch(PODS, resource_version="1"))

    run(test)


def test_disconnects() -> None:
    async def test(api: FakeApi, client: RestClient) -> None:
        waiting = asyncio.ensure_future(_first(client.watch(PODS, resource_version="1")))
        while not api.watches:
            await asyncio.sleep(0)
        while not api._open:
            await asyncio.sleep(0)
        api.cut()
        with pytest.raises(ApiUnavailable):
            await waiting
        await api.stop()
        with pytest.raises(ApiUnavailable):
            await client.get(PODS)
        with pytest.raises(ApiUnavailable):
            await _first(client.watch(PODS, resource_version="1"))

    run(test)


def test_a_watch_that_went_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlab.client.rest._WATCH_GRACE", 0.02)

    async def test(api: FakeApi, client: RestClient) -> None:
        api.silent = True
        hasty = RestClient(client.config, timeout=5, watch_timeout=0)
        with pytest.raises(ApiUnavailable, match="went silent"):
            await _first(hasty.watch(PODS, resource_version="1"))
        await hasty.aclose()

    run(test)


def test_answers_that_are_none() -> None:
    async def test() -> None:
        answers = iter([web.Response(text="<html>"), web.Response(text="[]"), web.Response(status=502, text="<bad>"),
                        web.Response(status=403, text='"no"'), web.Response(status=302, headers={"Location": "/"})])  # fmt: skip

        async def answer(request: web.Request) -> web.Response:
            return next(answers)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = RestClient(ApiConfig(place="test", server=f"http://127.0.0.1:{runner.addresses[0][1]}"), timeout=5)
        for _ in range(2):
            with pytest.raises(ApiUnavailable):
                await client.get("/x")
        for code in (502, 403, 302):
            with pytest.raises(ApiError) as found:
                await client.get("/x")
            assert found.value.code == code
        await client.aclose()
        await runner.cleanup()

    asyncio.run(test())


def test_who_asks(tmp_path: Path) -> None:
    async def basic(api: FakeApi, client: RestClient) -> None:
        await client.list(PODS)
        assert api.requests[-1][2]["Authorization"] == "Basic dTpw"

    async def bearer(api: FakeApi, client: RestClient) -> None:
        await client.list(PODS)
        assert api.requests[-1][2]["Authorization"] == "Bearer t1"

    run(basic, username="u", password="p")
    run(bearer, token="t1")
    file = tmp_path / "token"
    file.write_text("t1\n")
    run(bearer, token_file=file)

    async def rotated(api: FakeApi, client: RestClient) -> None:
        await bearer(api, client)
        file.unlink()
        client._token_read = float("-inf")
        await bearer(api, client)
        file.write_text("t2")
        await client.list(PODS)
        assert api.requests[-1][2]["Authorization"] == "Bearer t2"

    run(rotated, token_file=file)

    async def missing(api: FakeApi, client: RestClient) -> None:
        with pytest.raises(ApiUnavailable, match="cannot be read"):
            await client.list(PODS)

    run(missing, token_file=tmp_path / "none")


def test_tls() -> None:
    ca = trustme.CA()
    issued, own = ca.issue_cert("api.example"), ca.issue_cert("client.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    async def test() -> None:
        async with running(tls=context) as api:
            pems = {"cert": own.cert_chain_pems[0].bytes(), "key": own.private_key_pem.bytes()}
            good = ApiConfig(place="t", server=api.url, ca=ca.cert_pem.bytes(), server_name="api.example", **pems)
            loose = ApiConfig(place="t", server=api.url, verify=False, **pems)
            for config in (good, loose):
                client = RestClient(config, timeout=5)
                assert (await client.list(PODS))["items"] == []
                await client.aclose()
            named_wrongly = ApiConfig(place="t", server=api.url, ca=ca.cert_pem.bytes(), **pems)
            stranger = ApiConfig(place="t", server=api.url, **pems)
            for config in (named_wrongly, stranger):
                client = RestClient(config, timeout=5)
                with pytest.raises(ApiUnavailable, match=r"(?i)certificate"):
                    await client.list(PODS)
                await client.aclose()

    asyncio.run(test())


def test_another_certificate() -> None:
    """Who has one asks by it, over new connections; what was under way ends as it began."""
    ca, begun, release = trustme.CA(), asyncio.Event(), asyncio.Event()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    open_connections: set[asyncio.Transport] = set()

    async def who(request: web.Request) -> web.Response:
        assert request.transport is not None
        open_connections.add(request.transport)
        if request.path == "/slow":
            begun.set()
            await release.wait()
        subject = dict(pair for part in request.transport.get_extra_info("peercert")["subject"] for pair in part)
        return web.json_response({"name": subject["commonName"]})

    async def test() -> None:
        app = web.Application()
        app.router.add_get("/{path}", who)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"

        def config(name: str) -> ApiConfig:
            own = ca.issue_cert("client.example", common_name=name)
            cert, key = own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes()
            return ApiConfig(place="t", server=url, ca=ca.cert_pem.bytes(), cert=cert, key=key)

        client = RestClient(config("one"), timeout=DEADLINE)
        assert await client.get("/now") == {"name": "one"}
        slow = asyncio.create_task(client.get("/slow"))
        await begun.wait()
        await client.renew(config("two"))
        assert await client.get("/now") == {"name": "two"}
        release.set()
        assert await slow == {"name": "one"}
        assert await client.get("/now") == {"name": "two"}
        await client.renew(config("three"))
        assert await client.get("/now") == {"name": "three"}
        # connections of those before are gone
        while sum(not transport.is_closing() for transport in open_connections) > 1:
            await asyncio.sleep(0)
        await client.aclose()
        await runner.cleanup()

    async def within() -> None:
        async with asyncio.timeout(DEADLINE):
            await test()

    asyncio.run(within())


def test_nobody_there() -> None:
    async def test() -> None:
        client = RestClient(ApiConfig(place="t", server=f"http://127.0.0.1:{free_port()}"), timeout=5)
        with pytest.raises(ApiUnavailable):
            await client.get("/version")
        await client.aclose()

    asyncio.run(test())
