"""The client of etcd's v2 API: against a real etcd on loopback."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "overlay"))

from stores import DEADLINE, Etcd, running_etcd

from netlab.client.etcd2 import Etcd2Client, Etcd2Error, EventIndexCleared
from netlab.client.transport import Unavailable


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


def run(etcd: Etcd, test: Callable[[Etcd2Client], Awaitable[None]]) -> None:
    async def whole() -> None:
        client = Etcd2Client([etcd.url], timeout=3)
        try:
            async with asyncio.timeout(DEADLINE):
                await test(client)
        finally:
            await client.delete("/t", recursive=True)
            await client.aclose()

    asyncio.run(whole())


def test_keys_and_directories(etcd: Etcd) -> None:
    async def test(client: Etcd2Client) -> None:
        nothing, index = await client.get("/t")
        assert nothing is None
        key = "/t/100.96.1.0-24&fd00:10:0:1::-64"
        made = await client.put(key, "ä {}&=%", exists=False)
        assert made and made.key == key and made.value == "ä {}&=%" and made.modified > index
        assert await client.put(key, "x", exists=False) is None
        assert await client.put("/t/none", "x", exists=True) is None
        swapped = await client.put(key, "2", index=made.modified)
        assert swapped and swapped.created == made.created
        assert await client.put(key, "3", index=made.modified) is None
        assert await client.put("/t/none", "3", index=7) is None
        assert await client.put("/t/deep/er", "4")
        directory, now = await client.get("/t", recursive=True)
        assert directory and directory.directory and now >= swapped.modified
        assert {leaf.key: leaf.value for leaf in directory.leaves()} == {key: "2", "/t/deep/er": "4"}
        assert not await client.delete(key, index=made.modified)
        assert await client.delete(key, index=swapped.modified) and await client.delete(key)
        with pytest.raises(Etcd2Error, match="Not a file") as refused:
            await client.put("/t", "x")
        assert refused.value.code == 102

    run(etcd, test)


def test_ttl(etcd: Etcd) -> None:
    async def test(client: Etcd2Client) -> None:
        made = await client.put("/t/x", "1", ttl=100)
        assert made and made.expires == pytest.approx(time.time() + 100, abs=5)
        forever = await client.put("/t/x", "1", index=made.modified)
        assert forever and forever.expires is None

    run(etcd, test)


def test_watch(etcd: Etcd) -> None:
    async def test(client: Etcd2Client) -> None:
        restless = Etcd2Client([etcd.url], timeout=3, idle=0.02)
        made = await client.put("/t/a", "1")
        assert made
        stream = restless.watch("/t", index=made.modified)
        first = await anext(stream)
        assert (first.action, first.node.value, first.gone) == ("set", "1", False)
        for number in range(3):
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.wait([waiting], timeout=0.05)
            assert not waiting.done()
            await client.put("/other", "x")
            await client.put("/t/a", str(number))
            assert (await waiting).node.value == str(number)
        # two while nobody asks
        await client.put("/t/b", "1", ttl=1)
        await client.delete("/t/a")
        events = [await anext(stream) for _ in range(3)]
        assert [(e.action, e.node.key, e.gone) for e in events] == [
            ("set", "/t/b", False), ("delete", "/t/a", True), ("expire", "/t/b", True),
        ]  # fmt: skip
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.wait([waiting], timeout=0.05)
        await asyncio.to_thread(etcd.stop)
        with pytest.raises(Unavailable):
            await waiting
        await asyncio.to_thread(etcd.start)
        await restless.aclose()
        assert await client.delete("/other")

    run(etcd, test)


def test_history_is_short(etcd: Etcd) -> None:
    async def test(client: Etcd2Client) -> None:
        made = await client.put("/t/a", "1")
        assert made
        turn = asyncio.Semaphore(20)

        async def put(number: int) -> None:
            async with turn:
                await client.put("/t/b", str(number))

        await asyncio.gather(*(put(n) for n in range(1010)))
        with pytest.raises(EventIndexCleared, match="cleared"):
            await anext(client.watch("/t/a", index=made.modified))
        with pytest.raises(EventIndexCleared, match="was at"):
            await anext(client.watch("/t/a", index=made.modified + 100_000))

    run(etcd, test)


def test_an_etcd_without_v2() -> None:
    async def missing(request: web.Request) -> web.Response:
        return web.Response(status=404, text="404 page not found\n")

    async def test() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", missing)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = Etcd2Client([f"http://127.0.0.1:{runner.addresses[0][1]}"], user="root", password="x", timeout=3)
        with pytest.raises(Unavailable, match="--enable-v2"):
            await client.get("/x")
        with pytest.raises(Unavailable, match="--enable-v2"):
            await anext(client.watch("/x", index=1))
        await client.aclose()
        await runner.cleanup()

    asyncio.run(test())
