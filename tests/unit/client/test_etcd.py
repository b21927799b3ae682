"""The client of etcd's v3 API: against a real etcd on loopback, and against servers that misbehave."""

import asyncio
import ssl
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "overlay"))

from stores import DEADLINE, Etcd, free_port, running_etcd

from netlab.base.errors import InputError
from netlab.client.etcd import TIMEOUT, Changes, Compacted, Denied, EtcdClient, EtcdError, prefix_end
from netlab.client.transport import Unavailable, tls_context


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


def run(etcd: Etcd, test: Callable[[EtcdClient], Awaitable[None]]) -> None:
    async def whole() -> None:
        client = EtcdClient([etcd.url], timeout=3)
        try:
            async with asyncio.timeout(DEADLINE):
                await test(client)
        finally:
            await client.delete_prefix("")
            await client.aclose()

    asyncio.run(whole())


@asynccontextmanager
async def server(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_prefix_end() -> None:
    assert prefix_end("a") == b"b"
    assert prefix_end("a\udcff\udcff") == b"b"
    assert prefix_end("") == b"\0"


def test_keys(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        assert await client.get("/a") is None
        first = await client.put("/a/1", b"\x00\xff")
        second = await client.put("/a/2", b"two")
        await client.put("/b\udcfe", b"")
        found = await client.get("/a/1")
        assert found and (found.value, found.created, found.modified, found.version) == (b"\x00\xff", first, first, 1)
        everything = await client.prefix("/a/")
        assert [item.key for item in everything.items] == ["/a/1", "/a/2"]
        assert (everything.count, everything.more, everything.revision) == (2, False, second + 1)
        assert [item.key for item in (await client.prefix("")).items] == ["/a/1", "/a/2", "/b\udcfe"]
        # pages, as an API server reads them: of one revision, on from the last key
        await client.put("/a/3", b"three")
        page = await client.prefix("/a/", limit=1, revision=second)
        assert page.more and page.count == 2
        rest = await client.range(page.items[-1].key + "\0", end=prefix_end("/a/"), limit=9, revision=second)
        assert [item.key for item in rest.items] == ["/a/2"]
        keys = await client.prefix("/a/", keys_only=True)
        assert [item.value for item in keys.items] == [b"", b"", b""]
        counted = await client.range("/a/", end=prefix_end("/a/"), count_only=True)
        assert counted.count == 3 and counted.items == ()
        assert await client.delete_prefix("/a/") == 3
        assert (await client.status())["version"].startswith("3.")

    run(etcd, test)


def test_conditional_writes(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        made = await client.create("/k", b"1")
        assert made.done
        again = await client.create("/k", b"2")
        assert not again.done and again.current and again.current.value == b"1"
        swapped = await client.swap("/k", b"3", modified=made.revision)
        assert swapped.done and swapped.revision > made.revision
        late = await client.swap("/k", b"4", modified=made.revision)
        assert not late.done and late.current and late.current.modified == swapped.revision
        assert not (await client.delete("/k", modified=made.revision)).done
        assert (await client.delete("/k", modified=swapped.revision)).done
        assert (await client.delete("/k", modified=swapped.revision)).done
        gone = await client.swap("/k", b"5", modified=swapped.revision)
        assert not gone.done and gone.current is None
        # fifty at once: one
        results = await asyncio.gather(*(client.create("/race", b"%d" % n) for n in range(50)))
        assert sum(result.done for result in results) == 1

    run(etcd, test)


def test_leases(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        lease, ttl = await client.grant(600)
        assert ttl == 600
        await client.put("/leased", b"x", lease=lease)
        found = await client.get("/leased")
        assert found and found.lease == lease
        left = await client.time_to_live(lease)
        assert left is not None and 590 <= left <= 600
        assert await client.keepalive(lease) == 600
        assert await client.revoke(lease) and not await client.revoke(lease)
        assert await client.get("/leased") is None
        assert await client.time_to_live(lease) is None and await client.keepalive(lease) is None
        with pytest.raises(EtcdError, match="lease not found") as refused:
            await client.put("/leased", b"x", lease=lease)
        assert refused.value.code == 5

    run(etcd, test)


def test_watch(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        start = await client.put("/w/1", b"old")
        stream = client.watch("/w/", revision=start, previous=True)
        first = await anext(stream)
        assert [(c.item.key, c.item.value, c.deleted) for c in first.changes] == [("/w/1", b"old", False)]
        await client.put("/other", b"")
        await client.put("/w/1", b"new")
        second = await anext(stream)
        assert second.changes[0].previous and second.changes[0].previous.value == b"old"
        assert second.revision == second.changes[0].item.modified
        await client.delete("/w/1")
        third = await anext(stream)
        assert third.changes[0].deleted and third.changes[0].item.key == "/w/1"
        # larger than any line that aiohttp would read by itself
        await client.put("/w/big", b"x" * 1_100_000)
        assert len((await anext(stream)).changes[0].item.value) == 1_100_000
        await stream.aclose()
        one = client.watch("/w/1", revision=start, prefix=False)
        seen = 0
        while seen < 3:
            seen += len((await anext(one)).changes)
        await one.aclose()

    run(etcd, test)


def test_compaction(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        start = await client.put("/c", b"1")
        last = await client.put("/c", b"2")
        await client.compact(last)
        with pytest.raises(Compacted):
            await client.compact(last)
        with pytest.raises(Compacted):
            await client.get("/c", revision=start)
        with pytest.raises(Compacted) as found:
            await anext(client.watch("/c", revision=start))
        assert found.value.revision == last
        # a store that is younger than what it is asked for was set back
        with pytest.raises(Compacted, match="went back"):
            await anext(client.watch("/c", revision=last + 1000))

    run(etcd, test)


def test_a_watch_is_resumed_after_silence_and_after_a_restart(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        restless = EtcdClient([etcd.url], timeout=3, idle=0.02)
        start = await client.put("/i", b"0")
        stream = restless.watch("/i", revision=start + 1)
        for number in range(5):
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.wait([waiting], timeout=0.05)
            assert not waiting.done()
            revision = await client.put("/i", b"%d" % number)
            found: Changes = await waiting
            assert [c.item.modified for c in found.changes] == [revision]
        # the restart is for the caller to see; from the revision after the last nothing is missed
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.wait([waiting], timeout=0.05)
        await asyncio.to_thread(etcd.stop)
        with pytest.raises(Unavailable):
            await waiting
        await asyncio.to_thread(etcd.start)
        await client.put("/i", b"a")
        await client.put("/i", b"b")
        stream = restless.watch("/i", revision=found.revision + 1)
        values: list[bytes] = []
        while len(values) < 2:
            values += [change.item.value for change in (await anext(stream)).changes]
        assert values == [b"a", b"b"]
        await stream.aclose()
        await restless.aclose()

    run(etcd, test)


def test_the_endpoint_that_works_is_remembered(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        asked = 0

        async def broken(request: web.Request) -> web.Response:
            nonlocal asked
            asked += 1
            return web.json_response({"error": "etcdserver: no leader", "code": 14}, status=503)

        async with server(broken) as url:
            several = EtcdClient([f"http://127.0.0.1:{free_port()}", url, etcd.url], timeout=3)
            assert await several.get("/x") is None
            await several.put("/x", b"1")
            assert (await several.create("/y", b"1")).done
            stream = several.watch("/x", revision=1 + (await several.prefix("/")).revision)
            waiting = asyncio.ensure_future(anext(stream))
            await several.put("/x", b"2")
            assert (await waiting).changes[0].item.value == b"2"
            await stream.aclose()
            assert asked == 1
            await several.aclose()

    run(etcd, test)


def test_a_write_of_unknown_outcome_is_not_repeated() -> None:
    asked: list[str] = []

    async def cut(request: web.Request) -> web.Response:
        asked.append(request.path)
        assert request.transport
        request.transport.abort()
        return web.Response()

    async def test() -> None:
        async with server(cut) as one, server(cut) as two:
            client = EtcdClient([one, two], timeout=3)
            with pytest.raises(Unavailable):
                await client.create("/x", b"")
            assert asked == ["/v3/kv/txn"]
            with pytest.raises(Unavailable):
                await client.get("/x")
            assert len(asked) == 4
            await client.aclose()

    asyncio.run(test())


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'"x"', b'{"result": 1}'], ids=["nothing", "html", "list", "text", "odd"]
)
def test_servers_that_are_no_etcd(body: bytes) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body + b"\n")

    async def test() -> None:
        async with server(answer) as url:
            client = EtcdClient([url], timeout=3)
            if body != b'{"result": 1}':
                with pytest.raises(Unavailable):
                    await client.get("/x")
            with pytest.raises((Unavailable, EtcdError)):
                await anext(client.watch("/x", revision=1))
            await client.aclose()

    asyncio.run(test())


def test_a_server_that_never_answers() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def test() -> None:
        async with server(silent) as url:
            client = EtcdClient([url], timeout=0.05)
            with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
                await client.get("/x")
            with pytest.raises(Unavailable, match="no answer within"):
                await anext(client.watch("/x", revision=1))
            await client.aclose()

    asyncio.run(test())


def test_a_slow_machine_has_more_time_unless_somebody_said_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETLAB_PATIENCE", "6")
    url = f"http://127.0.0.1:{free_port()}"
    assert EtcdClient([url])._http.timeout == 6 * TIMEOUT
    assert EtcdClient([url], timeout=2)._http.timeout == 2


def test_user_and_password() -> None:
    """Against a server that forgets its tokens, as etcd does when it restarts."""
    valid: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        if request.path == "/v3/auth/authenticate":
            if body != {"name": "root", "password": "secret"}:
                text = "etcdserver: authentication failed, invalid user ID or password"
                return web.json_response({"error": text, "message": text, "code": 3}, status=400)
            valid.clear()
            valid.add(f"token{len(body)}")
            return web.json_response({"header": {}, "token": next(iter(valid))})
        if request.headers.get("Authorization") not in valid:
            text = "etcdserver: invalid auth token"
            return web.json_response({"error": text, "message": text, "code": 16}, status=401)
        kv = {"key": b64encode(b"/x").decode(), "value": b64encode(b"1").decode(), "mod_revision": "7"}
        return web.json_response({"header": {"revision": "7"}, "kvs": [kv], "count": "1"})

    async def test() -> None:
        async with server(answer) as url:
            client = EtcdClient([url], user="root", password="secret", timeout=3)
            for _ in range(2):
                found = await client.get("/x")
                assert found and found.value == b"1"
                valid.clear()
            await client.aclose()
            stranger = EtcdClient([url], user="root", password="wrong", timeout=3)
            with pytest.raises(Denied, match="authentication failed"):
                await stranger.get("/x")
            await stranger.aclose()

    asyncio.run(test())


def test_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    issued, own = ca.issue_cert("127.0.0.1"), ca.issue_cert("client.example")
    files = {"ca": tmp_path / "ca.pem", "cert": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
    ca.cert_pem.write_to_path(str(files["ca"]))
    own.cert_chain_pems[0].write_to_path(str(files["cert"]))
    own.private_key_pem.write_to_path(str(files["key"]))

    async def answer(request: web.Request) -> web.Response:
        assert request.transport and request.transport.get_extra_info("peercert")
        return web.json_response({"header": {"revision": "1"}})

    async def test() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued.configure_cert(context)
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        client = EtcdClient([url], tls=tls_context(**files), timeout=3)
        assert await client.get("/x") is None
        await client.aclose()
        stranger = EtcdClient([url], timeout=3)
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await stranger.get("/x")
        await stranger.aclose()
        await runner.cleanup()

    asyncio.run(test())


def test_what_is_wrong_with_files_and_endpoints(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="go together"):
        tls_context(cert="x")
    with pytest.raises(InputError, match="nowhere"):
        tls_context(ca=tmp_path / "nowhere")
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(InputError, match=r"junk, .*junk"):
        tls_context(cert=tmp_path / "junk", key=tmp_path / "junk")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:2379"):
        EtcdClient(["127.0.0.1:2379"])
    with pytest.raises(InputError, match="no endpoint"):
        EtcdClient([])


def test_taking_a_key_says_what_it_was(etcd: Etcd) -> None:
    async def test(client: EtcdClient) -> None:
        gone = await client.take("/a")
        assert (gone.done, gone.current) == (False, None)
        revision = await client.put("/a", b"x")
        other = await client.take("/a", modified=revision + 1)
        assert other.current and (other.done, other.current.modified) == (False, revision)
        taken = await client.take("/a", modified=revision)
        assert taken.current and (taken.done, taken.current.value, taken.revision) == (True, b"x", revision + 1)
        await client.put("/a", b"y")
        assert (await client.take("/a")).done

    run(etcd, test)
