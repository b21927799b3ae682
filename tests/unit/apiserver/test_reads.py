"""Lists, watches, selectors, Tables: what readers rely on."""

import asyncio

import pytest
from serving import MAPS, PODS, Client, config_map, pod, with_server

from netlab.apiserver import watching

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def test_a_list_in_pages_over_one_revision() -> None:
    async def test(c: Client) -> None:
        for i in range(5):
            await c.post(MAPS, config_map(f"c{i}"))
        first = (await c.get(MAPS, limit=2)).body
        assert first["metadata"]["remainingItemCount"] == 3
        await c.delete(f"{MAPS}/c3")
        second = (await c.get(MAPS, limit=2, **{"continue": first["metadata"]["continue"]})).body
        third = (await c.get(MAPS, limit=2, **{"continue": second["metadata"]["continue"]})).body
        names = [i["metadata"]["name"] for p in (first, second, third) for i in p["items"]]
        assert names == ["c0", "c1", "c2", "c3", "c4"]
        assert len({p["metadata"]["resourceVersion"] for p in (first, second, third)}) == 1
        assert "continue" not in third["metadata"]
        await c.server.store.compact(await c.server.store.revision())
        old = await c.get(MAPS, limit=2, **{"continue": first["metadata"]["continue"]})
        assert (old.status, old.body["reason"]) == (410, "Expired")
        on = (await c.get(MAPS, limit=5, **{"continue": old.body["metadata"]["continue"]})).body
        assert [i["metadata"]["name"] for i in on["items"]] == ["c2", "c4"]

    with_server(test)


def test_lists_say_what_they_are() -> None:
    async def test(c: Client) -> None:
        empty = (await c.get(MAPS)).body
        assert (empty["kind"], empty["apiVersion"], empty["items"]) == ("ConfigMapList", "v1", [])
        assert int(empty["metadata"]["resourceVersion"]) > 0
        await c.post(MAPS, config_map())
        item = (await c.get(MAPS)).body["items"][0]
        assert "kind" not in item
        assert item["metadata"]["resourceVersion"]
        future = await c.get(MAPS, resourceVersion=10**6)
        assert (future.status, future.body["reason"]) == (504, "Timeout")
        assert future.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert (await c.get(MAPS, resourceVersionMatch="Exact")).status == 422

    with_server(test)


def test_selectors() -> None:
    async def test(c: Client) -> None:
        for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("d", {})):
            obj = pod(name)
            obj["metadata"]["labels"] = labels
            await c.post(PODS, obj)

        async def names(**query: str) -> list[str]:
            return [i["metadata"]["name"] for i in (await c.get(PODS, **query)).body["items"]]

        assert await names(labelSelector="x") == ["a", "b"]
        assert await names(labelSelector="!x") == ["d"]
        assert await names(labelSelector="x in (1,2),x!=2") == ["a"]
        assert await names(fieldSelector="metadata.name=b") == ["b"]
        assert await names(fieldSelector="status.phase=Pending,metadata.name!=b") == ["a", "d"]
        unknown = await c.get(PODS, fieldSelector="spec.foo=1")
        assert (unknown.status, unknown.message) == (400, "field label not supported: spec.foo")
        assert (await c.get(PODS, labelSelector="x in 1")).status == 400

    with_server(test)


def test_a_watch_begins_with_what_is_there() -> None:
    async def test(c: Client) -> None:
        await c.post(MAPS, config_map())
        async with c.watch(MAPS, fieldSelector="metadata.name=c", resourceVersion=0) as events:
            assert (await events.next())["type"] == "ADDED"
            await c.patch(f"{MAPS}/c", {"data": {"a": "1"}})
            changed = await events.next()
            assert (changed["type"], changed["object"]["data"]) == ("MODIFIED", {"a": "1"})
            await c.delete(f"{MAPS}/c")
            assert (await events.next())["type"] == "DELETED"

    with_server(test)


def test_leaving_a_selection_is_a_deletion() -> None:
    async def test(c: Client) -> None:
        made = (await c.post(MAPS, config_map())).body
        async with c.watch(MAPS, labelSelector="in=yes", resourceVersion=made["metadata"]["resourceVersion"]) as events:
            await c.patch(f"{MAPS}/c", {"metadata": {"labels": {"in": "yes"}}})
            assert (await events.next())["type"] == "ADDED"
            out = (await c.patch(f"{MAPS}/c", {"metadata": {"labels": {"in": "no"}}})).body
            left = await events.next()
            assert left["type"] == "DELETED"
            assert left["object"]["metadata"]["labels"] == {"in": "yes"}
            assert left["object"]["metadata"]["resourceVersion"] == out["metadata"]["resourceVersion"]

    with_server(test)


def test_a_watch_of_the_forgotten_past() -> None:
    async def test(c: Client) -> None:
        await c.post(MAPS, config_map())
        await c.post(MAPS, config_map("d"))
        await c.server.store.compact(await c.server.store.revision())
        async with c.watch(MAPS, resourceVersion=2) as events:
            assert events.response.status == 200
            event = await events.next()
            assert event["type"] == "ERROR"
            assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
            assert event["object"]["message"].startswith("too old resource version: 2 (")
            assert await events.next() == {}

    with_server(test)


def test_initial_events_and_bookmarks() -> None:
    async def test(c: Client) -> None:
        await c.post(MAPS, config_map())
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
        async with c.watch(MAPS, **query) as events:
            assert (await events.next())["type"] == "ADDED"
            mark = await events.next()
            assert mark["type"] == "BOOKMARK"
            assert mark["object"]["kind"] == "ConfigMap"
            assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert (await c.get(MAPS, watch="true", sendInitialEvents="true")).status == 422

    with_server(test)


def test_a_watch_ends_at_its_timeout_and_with_the_server() -> None:
    async def test(c: Client) -> None:
        async with c.watch(MAPS, timeoutSeconds=1, resourceVersion=1) as events:
            assert await events.next() == {}
        async with c.watch(MAPS) as events:
            await c.server.aclose()
            assert await events.next() == {}

    with_server(test)


def test_tables() -> None:
    async def test(c: Client) -> None:
        await c.post(PODS, pod())
        one = (await c.get(f"{PODS}/p", accept=TABLE)).body
        assert [d["name"] for d in one["columnDefinitions"]] == [
            "Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates",
        ]  # fmt: skip
        assert one["rows"][0]["cells"] == ["p", "0/1", "Pending", "0", "0s", *["<none>"] * 4]
        assert one["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        whole = (await c.get(PODS, accept=TABLE, includeObject="Object")).body
        assert whole["rows"][0]["object"]["kind"] == "Pod"
        async with c.watch(PODS, accept=TABLE) as events:
            first = (await events.next())["object"]
            await c.patch(f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}})
            second = (await events.next())["object"]
        assert (len(first["columnDefinitions"]), second["columnDefinitions"]) == (9, [])
        review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        refused = await c.post(review, {"spec": {}}, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
        assert refused.status == 406

    with_server(test)


def test_every_kind_has_a_table() -> None:
    async def test(c: Client) -> None:
        for resource in list(c.server.ctx.registry.resources()):
            if "list" in resource.verbs:
                base = f"/apis/{resource.group}" if resource.group else "/api"
                answer = await c.get(f"{base}/{resource.version}/{resource.plural}", accept=TABLE)
                assert answer.body["kind"] == "Table", resource

    with_server(test)


def test_metadata_alone() -> None:
    async def test(c: Client) -> None:
        await c.post(MAPS, config_map(a="1"))
        accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
        accept += "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        found = (await c.get(MAPS, accept=accept)).body
        assert found["kind"] == "PartialObjectMetadataList"
        assert found["items"][0].keys() == {"kind", "apiVersion", "metadata"}
        assert (await c.get(MAPS, accept="text/html")).status == 406

    with_server(test)


def test_many_watchers_are_told_the_same_in_the_same_order() -> None:
    async def test(c: Client) -> None:
        async def follow() -> list[tuple[str, str]]:
            found: list[tuple[str, str]] = []
            async with c.watch(MAPS, resourceVersion=1) as events:
                started.release()
                while len(found) < 60:
                    event = await events.next()
                    found.append((event["type"], event["object"]["metadata"]["resourceVersion"]))
            return found

        started = asyncio.Semaphore(0)
        watchers = [asyncio.create_task(follow()) for _ in range(5)]
        for _ in watchers:
            await started.acquire()

        async def write(i: int) -> None:
            await c.post(MAPS, config_map(f"w{i}"))
            await c.patch(f"{MAPS}/w{i}", {"data": {"a": "1"}})
            await c.delete(f"{MAPS}/w{i}")

        await asyncio.gather(*(write(i) for i in range(20)))
        told = await asyncio.gather(*watchers)
        assert all(t == told[0] for t in told)
        revisions = [int(r) for _, r in told[0]]
        assert revisions == sorted(set(revisions))

    with_server(test)


def test_a_watcher_among_many_hears_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told less often is told of as much: in order, and what came between two writes together."""
    monkeypatch.setattr(watching, "WRITE_SECONDS", 1.0)

    async def test(c: Client) -> None:
        async with c.watch(MAPS) as events:
            for i in range(20):
                assert (await c.post(MAPS, config_map(f"c{i}"))).status == 201
            names = [(await events.next())["object"]["metadata"]["name"] for _ in range(20)]
        assert names == [f"c{i}" for i in range(20)]

    with_server(test)
