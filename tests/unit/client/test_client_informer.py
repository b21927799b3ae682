"""Reflector, delta FIFO, store and informer against a source that plays a script, and against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from following import DEADLINE, GONE, MAPS, Diary, Script, no_sleep, real, thing, until
from serving import Client

from netlab.client.deltas import DeltaFifo, DeltaType
from netlab.client.indexer import Indexer, by_namespace
from netlab.client.informer import METADATA, Informer, Informers, Interest
from netlab.client.reflector import AWAY
from netlab.client.resources import Resource, discover, distinct, key_of, split_key
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient
from netlab.store.protocol import Compacted


def play(script: Script, test: Callable[[Informer, Diary], Awaitable[None]], **given: Any) -> Diary:
    """Run an informer over a script beside a test."""

    async def whole() -> Diary:
        informer, diary = Informer(script, Interest(MAPS), sleep=no_sleep, **given), Diary()
        informer.add_handler(diary)
        task = asyncio.create_task(informer.run())
        try:
            async with asyncio.timeout(DEADLINE):
                await test(informer, diary)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return diary

    return asyncio.run(whole())


def test_keys() -> None:
    assert key_of(thing("a")) == "x/a" and key_of({"metadata": {"name": "a"}}) == "a"
    assert split_key("x/a") == ("x", "a") and split_key("a") == ("", "a")
    assert str(MAPS) == "configmaps" and str(Resource("apps/v1", "deployments")) == "deployments.apps"
    assert MAPS.path() == "/api/v1/configmaps" and MAPS.at("x/a") == "/api/v1/namespaces/x/configmaps/a"


def test_an_indexer_keeps_its_indices_in_step() -> None:
    store = Indexer()
    store.put("x/a", thing("a", colours=["red", "blue"]))
    store.add_index("colour", lambda o: o.get("colours", ()))
    store.add_index("namespace", by_namespace)
    store.put("x/b", thing("b", colours=["red"]))
    assert [key_of(o) for o in store.find("colour", "red")] == ["x/a", "x/b"]
    store.put("x/a", thing("a", colours=["green"]))
    assert [key_of(o) for o in store.find("colour", "red")] == ["x/b"]
    assert store.find("colour", "blue") == [] and len(store.find("namespace", "x")) == 2
    assert store.remove("x/b") is not None and store.remove("x/b") is None
    assert store.find("colour", "red") == [] and len(store) == 1 and "x/a" in store


def test_deltas_of_one_object_come_together_and_in_order() -> None:
    async def test() -> None:
        known = Indexer()
        fifo = DeltaFifo(known)
        fifo.add(thing("a", 1))
        fifo.add(thing("b", 2))
        fifo.update(thing("a", 3))
        fifo.delete(thing("a", 4))
        fifo.delete(thing("a", 5))
        fifo.delete(thing("nobody", 6))
        key, deltas = await fifo.pop()
        assert key == "x/a"
        assert [(d.type, d.object["metadata"]["resourceVersion"]) for d in deltas] == [
            (DeltaType.ADDED, "1"), (DeltaType.UPDATED, "3"), (DeltaType.DELETED, "4"),
        ]  # fmt: skip
        assert (await fifo.pop())[0] == "x/b" and len(fifo) == 0

    asyncio.run(test())


def test_a_list_ends_what_is_not_in_it() -> None:
    async def test() -> None:
        known = Indexer()
        known.put("x/old", thing("old", 1))
        fifo = DeltaFifo(known)
        fifo.add(thing("waiting", 2))
        fifo.replace([thing("new", 3)])
        found = dict([await fifo.pop() for _ in range(3)])
        assert [d.type for d in found["x/waiting"]] == [DeltaType.ADDED, DeltaType.DELETED]
        assert [d.type for d in found["x/old"]] == [DeltaType.DELETED]
        assert [d.type for d in found["x/new"]] == [DeltaType.REPLACED]
        assert not fifo.synced.is_set()
        fifo.taken("x/new")
        assert fifo.synced.is_set()

    asyncio.run(test())


def test_a_watch_that_breaks_off_goes_on_where_it_was() -> None:
    script = Script()
    script.lists.append(([thing("a", 1)], "5"))
    script.watches += [
        [("ADDED", thing("b", 6)), ("BOOKMARK", {"metadata": {"resourceVersion": "9"}}), ApiUnavailable("gone away")],
        [ApiUnavailable("still away")],
        [("MODIFIED", thing("a", 10)), ("NONSENSE", thing("a", 11)), ("DELETED", thing("b", 12)), None],
    ]

    async def test(informer: Informer, diary: Diary) -> None:
        await until(lambda: len(diary.entries) == 4)
        assert informer.synced and informer.reflector.version == "12"

    diary = play(script, test)
    assert script.asked == ["list", "5", "9", "9"]
    assert diary.entries == [("added", "x/a", 1), ("added", "x/b", 6), ("changed", "x/a", 10), ("deleted", "x/b", 6)]
    assert diary.now["x/a"]["kind"] == "ConfigMap" and diary.now["x/a"]["apiVersion"] == "v1"


@pytest.mark.parametrize("refusal", [GONE, ApiError("no such resource", code=404, reason="NotFound")])
def test_a_watch_that_is_refused_is_begun_with_a_list(refusal: ApiError) -> None:
    script = Script()
    again = thing("again", 7, uid="another")
    script.lists += [([thing("same", 1), thing("changed", 2), thing("lost", 3), thing("again", 4)], "5"),
                     ApiUnavailable("away"), ([thing("same", 1), thing("changed", 6), again], "8")]  # fmt: skip
    script.watches += [[refusal], [None]]

    async def test(informer: Informer, diary: Diary) -> None:
        await until(lambda: script.asked == ["list", "5", "list", "list", "8"] and len(diary.entries) == 8)

    told: dict[str, list[tuple[str, int]]] = {}
    for verb, key, version in play(script, test).entries:
        told.setdefault(key, []).append((verb, version))
    # what did not change is not told again; what was deleted and made anew has ended in between
    assert told == {
        "x/same": [("added", 1)], "x/changed": [("added", 2), ("changed", 6)],
        "x/lost": [("added", 3), ("deleted", 3)], "x/again": [("added", 4), ("deleted", 4), ("added", 7)],
    }  # fmt: skip


def test_a_resync_tells_everything_again() -> None:
    script = Script()
    script.lists.append(([thing("a", 1), thing("b", 2)], "5"))

    async def test(informer: Informer, diary: Diary) -> None:
        await until(lambda: len(diary.entries) >= 6)

    entries = play(script, test, resync=60).entries
    assert entries[:4] == [("added", "x/a", 1), ("added", "x/b", 2), ("changed", "x/a", 1), ("changed", "x/b", 2)]


def test_a_late_handler_is_told_what_is_there() -> None:
    script = Script()
    script.lists.append(([thing("a", 1)], "5"))

    async def test(informer: Informer, diary: Diary) -> None:
        await informer.wait()
        late = Diary()
        informer.add_handler(late)
        assert late.entries == [("added", "x/a", 1)]

    play(script, test)


def test_informers_are_shared_and_keep_what_they_are_told_to() -> None:
    async def test() -> None:
        script = Script()
        script.lists += [([thing("a", 1, data={"k": "v"})], "5")] * 2
        informers = Informers(script, sleep=no_sleep)
        whole = informers.of(MAPS)
        assert informers.of(Interest(MAPS)) is whole
        small = Interest(MAPS, metadata=True, keep=lambda o: {"metadata": o["metadata"]})
        assert informers.of(small) is not whole
        informers.start()
        informers.start()
        await informers.wait()
        assert [o.get("data") for o in whole.store] == [{"k": "v"}]
        assert [o.get("data") for o in informers.of(small).store] == [None]
        assert METADATA in script.accepts[1] and not script.accepts[0]
        await informers.forget(small)
        await informers.aclose()

    asyncio.run(test())


def test_a_handler_that_raises_ends_it_all() -> None:
    async def test() -> None:
        script = Script()
        script.lists.append(([thing("a", 1)], "5"))
        informers = Informers(script, sleep=no_sleep)

        def bad(old: Object | None, new: Object | None) -> None:
            raise RuntimeError("a bug")

        informers.of(MAPS).add_handler(bad)
        informers.start()
        with pytest.raises(RuntimeError, match="a bug"):
            async with asyncio.timeout(DEADLINE):
                await informers.wait()
                await informers.failure()
        await informers.aclose()

    asyncio.run(test())


# -- a real server

OPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "write", "write", "delete"]), st.sampled_from("abcdef")),
        st.sampled_from([("drop", ""), ("return", ""), ("compact", "")]),
    ),
    max_size=40,
)  # fmt: skip


async def _play(
    client: RestClient, ops: list[tuple[str, str]], server: Client, gate: asyncio.Event, log: list[tuple[str, str, int]]
) -> None:
    """Do what `ops` say. gate: what keeps the watcher, once it has been cut off, from coming back; log: what every
    watcher should be told."""
    there: dict[str, Object] = {}
    path = MAPS.path("default")
    for number, (op, name) in enumerate(ops):
        match op:
            case "write" if name in there:
                there[name] = await client.patch(f"{path}/{name}", {"data": {"n": str(number)}})
                log.append(("changed", name, int(there[name]["metadata"]["resourceVersion"])))
            case "write":
                there[name] = await client.create(path, {"metadata": {"name": name}})
                log.append(("added", name, int(there[name]["metadata"]["resourceVersion"])))
            case "delete" if name in there:
                await client.delete(f"{path}/{name}")
                log.append(("deleted", name, int(there.pop(name)["metadata"]["resourceVersion"])))
            case "drop":
                gate.clear()
                server.drop()
                await client.aclose()  # its idle connection, too: the next request is on a new one
            case "compact":
                with contextlib.suppress(Compacted):
                    await server.server.store.compact(await server.server.store.revision())
            case "return":
                gate.set()


@settings(max_examples=40)
@example(ops=[("write", "a"), ("drop", ""), ("delete", "a"), ("write", "b"), ("compact", ""), ("return", "")])
@example(ops=[("write", "a"), ("drop", ""), ("write", "b"), ("delete", "b")])
@given(ops=OPS)
def test_the_store_is_the_server_s_at_the_end(ops: list[tuple[str, str]]) -> None:
    async def test() -> None:
        async with real() as (server, writer):
            reader, gate = RestClient(writer.config), asyncio.Event()
            gate.set()

            async def patience(_: float) -> None:
                await gate.wait()

            informer, diary = Informer(reader, Interest(MAPS, namespace="default"), sleep=patience), Diary()
            informer.add_handler(diary)
            following = asyncio.create_task(informer.run())
            log: list[tuple[str, str, int]] = []
            try:
                await informer.wait()
                await _play(writer, ops, server, gate, log)
                gate.set()
                # the last of all writes: whoever has it has heard of those before, of what came and went as well
                await writer.create(MAPS.path("default"), {"metadata": {"name": "the-end"}})
                truth = {key_of(o): o["metadata"]["resourceVersion"]
                         for o in (await writer.list(MAPS.path("default")))["items"]}  # fmt: skip

                def now() -> dict[str, str]:
                    return {key_of(o): o["metadata"]["resourceVersion"] for o in informer.store}

                await until(lambda: now() == truth)
                assert {k: o["metadata"]["resourceVersion"] for k, o in diary.now.items()} == truth
            finally:
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
                await reader.aclose()
            if not any(op == "compact" for op, _ in ops):
                _nothing_missed(diary, log)

    asyncio.run(test())


def _nothing_missed(diary: Diary, log: list[tuple[str, str, int]]) -> None:
    """Without a 410 every single change was told, in the order of the object's own history."""
    for name in {n for _, n, _ in log}:
        wanted = [(verb, version) for verb, n, version in log if n == name]
        told = [(verb, version) for verb, key, version in diary.entries if key == f"default/{name}"]
        assert told == wanted


def test_metadata_alone() -> None:
    async def test() -> None:
        async with real() as (_, client):
            await client.create(MAPS.path("default"), {"metadata": {"name": "a"}, "data": {"k": "v"}})
            informer = Informer(client, Interest(MAPS, metadata=True), sleep=no_sleep)
            following = asyncio.create_task(informer.run())
            await informer.wait()
            await client.create(MAPS.path("default"), {"metadata": {"name": "b"}, "data": {"k": "v"}})
            await until(lambda: "default/b" in informer.store)
            assert all("data" not in o for o in informer.store)
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    asyncio.run(test())


def test_discovery() -> None:
    async def test() -> None:
        async with real() as (_, client):
            served = await discover(client)
            found = {str(s.resource): s for s in distinct(served)}
            assert found["pods"].namespaced and not found["nodes"].namespaced
            assert found["deployments.apps"].kind == "Deployment"
            assert "watch" in found["configmaps"].verbs and "deletecollection" not in found["namespaces"].verbs
            assert "deployments.extensions" not in found and "events.events.k8s.io" not in found
            assert found["horizontalpodautoscalers.autoscaling"].resource.api_version == "autoscaling/v2"
            assert len(served) > len(found)

    asyncio.run(test())


def test_a_server_that_is_away_is_asked_every_few_seconds() -> None:
    """However long it was away: somebody waits for what happens when it is back."""
    script = Script()
    script.lists.extend([ApiUnavailable("no route to host")] * 12)
    script.lists.append(([thing("a", 1)], "5"))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    async def test() -> None:
        informer = Informer(script, Interest(MAPS), sleep=sleep)
        task = asyncio.create_task(informer.run())
        await until(lambda: informer.synced)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(test())
    assert max(slept) == AWAY and slept[0] < 1
