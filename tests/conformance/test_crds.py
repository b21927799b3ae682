"""CustomResourceDefinitions: served, published, defaulted, converted, selected."""

from __future__ import annotations

import copy
from typing import Any

from hooks import hooked
from lifecycles import CRDS, condition, definition, established, fine, made, object_, until
from serving import Client, Json, with_server

SCHEMA: Json = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string", "description": "Letter."}}}},
}


def foo(name: str = "f", version: str = "v1", **fields: Any) -> Json:
    """An object of the definitions here."""
    return object_(f"e2e.example.com/{version}", "Foo", name, **fields)


def test_crd_create_delete() -> None:
    async def test(c: Client) -> None:
        path = await established(c, definition())
        assert (await c.delete(f"{CRDS}/foos.e2e.example.com")).status == 200
        await until(c, path, lambda a: a.status == 404)

    with_server(test)


def test_crd_status() -> None:
    async def test(c: Client) -> None:
        await established(c, definition())
        one = f"{CRDS}/foos.e2e.example.com"
        now = await fine(c.get(f"{one}/status"))
        now["status"]["conditions"].append(condition())
        now = await fine(c.put(f"{one}/status", now))
        assert "StatusUpdate" in [x["type"] for x in now["status"]["conditions"]]
        operation = {"op": "add", "path": "/status/conditions/-", "value": condition("StatusPatched")}
        now = await fine(c.patch(f"{one}/status", [operation], "json"))
        assert "StatusPatched" in [x["type"] for x in (await fine(c.get(one)))["status"]["conditions"]]

    with_server(test)


def test_crd_watch_custom_objects() -> None:
    async def test(c: Client) -> None:
        path = await established(c, definition())
        async with c.watch(path) as events:
            await made(c, path, foo("name1"))
            assert (await events.next())["type"] == "ADDED"
            await made(c, path, foo("name2"))
            assert (await events.next())["object"]["metadata"]["name"] == "name2"
            await fine(c.patch(f"{path}/name1", {"dummy": "test"}))
            assert (await events.next())["type"] == "MODIFIED"
            await fine(c.delete(f"{path}/name1"))
            told = await events.next()
            assert (told["type"], told["object"]["dummy"]) == ("DELETED", "test")

    with_server(test)


def test_crd_defaulting() -> None:
    async def test(c: Client) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "string", "default": "A"}, "b": {"type": "string"}}}
        path = await established(c, definition(schema=schema))
        assert (await made(c, path, foo()))["a"] == "A"
        crd = await fine(c.get(f"{CRDS}/foos.e2e.example.com"))
        properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        properties["b"]["default"] = "B"
        properties["a"].pop("default")
        await fine(c.put(f"{CRDS}/foos.e2e.example.com", crd))
        await until(c, f"{path}/f", lambda a: a.body.get("b") == "B")
        assert (await fine(c.get(f"{path}/f")))["a"] == "A"  # it was stored
        fresh = await made(c, path, foo("g"))
        assert (fresh.get("a"), fresh["b"]) == (None, "B")

    with_server(test)


async def published(c: Client, version: str, kind: str = "Foo", group: str = "e2e.example.com") -> Json | None:
    """The schema of a kind in both OpenAPI documents, which agree; None if it is in none."""
    reverse = ".".join(reversed(group.split(".")))
    name = f"{reverse}.{version}.{kind}"
    old = (await fine(c.get("/openapi/v2")))["definitions"].get(name)
    index = (await fine(c.get("/openapi/v3")))["paths"]
    entry = index.get(f"apis/{group}/{version}")
    new = None
    if entry is not None:
        new = (await fine(c.get(entry["serverRelativeURL"].partition("?")[0])))["components"]["schemas"].get(name)
    assert (old is None) == (new is None)
    if new is not None and old is not None:
        assert old.get("properties", {}).get("spec") == new.get("properties", {}).get("spec")
    return new


async def published_as(
    c: Client, version: str, *, there: bool, kind: str = "Foo", group: str = "e2e.example.com"
) -> Json:
    """Wait until a kind is published, or is not."""
    while True:
        found = await published(c, version, kind, group)
        if (found is not None) == there:
            return found or {}


def test_crd_openapi_several_versions() -> None:
    async def test(c: Client) -> None:
        await established(c, definition(schema=SCHEMA, versions=("v1", "v2")))
        for version in ("v1", "v2"):
            schema = await published_as(c, version, there=True)
            assert schema["properties"]["spec"]["properties"]["a"]["description"] == "Letter."
            gvk = {"group": "e2e.example.com", "version": version, "kind": "Foo"}
            assert schema["x-kubernetes-group-version-kind"] == [gvk]

    with_server(test)


def test_crd_openapi_several_groups() -> None:
    async def test(c: Client) -> None:
        for group in ("one.example.com", "two.example.com"):
            await established(c, definition(group=group, schema=SCHEMA))
        for group in ("one.example.com", "two.example.com"):
            assert (await published_as(c, "v1", there=True, group=group))["properties"]["spec"]

    with_server(test)


def test_crd_openapi_version_unserved() -> None:
    async def test(c: Client) -> None:
        await established(c, definition(schema=SCHEMA, versions=("v1", "v2")))
        await published_as(c, "v2", there=True)
        change = [{"op": "replace", "path": "/spec/versions/1/served", "value": False}]
        await fine(c.patch(f"{CRDS}/foos.e2e.example.com", change, "json"))
        await published_as(c, "v2", there=False)
        await published_as(c, "v1", there=True)

    with_server(test)


def test_crd_openapi_version_renamed() -> None:
    async def test(c: Client) -> None:
        await established(c, definition(schema=SCHEMA, versions=("v1", "v2")))
        change = [{"op": "test", "path": "/spec/versions/1/name", "value": "v2"},
                  {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]  # fmt: skip
        await fine(c.patch(f"{CRDS}/foos.e2e.example.com", change, "json"))
        await published_as(c, "v4", there=True)
        await published_as(c, "v2", there=False)
        await published_as(c, "v1", there=True)

    with_server(test)


def converted(review: Json) -> Json:
    """v1 has spec.hostPort, v2 has spec.host and spec.port; and /convert as the original asks it."""
    wanted = review["request"]["desiredAPIVersion"]
    out = []
    for obj in review["request"]["objects"]:
        new = copy.deepcopy(obj)
        spec = new.get("spec", {})
        if wanted.endswith("/v2") and "hostPort" in spec:
            spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
        elif wanted.endswith("/v1") and "host" in spec:
            spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
        new["apiVersion"] = wanted
        out.append(new)
    response = {"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": out}
    return {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response}


def convertible(client: Json, **version: Any) -> Json:
    """A definition with two versions and a webhook between them."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    crd = definition(schema=schema, versions=("v1", "v2"), **version)
    webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
    crd["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    return crd


def test_crd_conversion_webhook_v1_v2_read() -> None:
    async def test(c: Client) -> None:
        async with hooked(converted) as hook:
            path = await established(c, convertible(hook.client("/convert")))
            await made(c, path, foo(spec={"hostPort": "localhost:8080"}))
            second = path.replace("/v1/", "/v2/")
            got = await fine(c.get(f"{second}/f"))
            assert (got["apiVersion"], got["spec"]) == ("e2e.example.com/v2", {"host": "localhost", "port": "8080"})
            await made(c, second, foo("g", "v2", spec={"host": "h", "port": "1"}))
            listed = await fine(c.get(path))
            assert [i["spec"]["hostPort"] for i in listed["items"]] == ["localhost:8080", "h:1"]
            listed = await fine(c.get(second))
            assert [i["spec"]["host"] for i in listed["items"]] == ["localhost", "h"]
            stored = await c.server.store.get("/registry/e2e.example.com/foos/default/g")
            assert stored[0] is not None
            assert b"hostPort" in stored[0].value

    with_server(test)


def test_crd_selectablefields() -> None:
    async def test(c: Client) -> None:
        async with hooked(converted) as hook:
            crd = convertible(hook.client("/convert"))
            for version, names in zip(crd["spec"]["versions"], (("hostPort",), ("host", "port")), strict=True):
                texts = {n: {"type": "string"} for n in names}
                version["schema"]["openAPIV3Schema"] = {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": texts}},
                }  # fmt: skip
                version["selectableFields"] = [{"jsonPath": f".spec.{n}"} for n in names]
            path = await established(c, crd)
            second = path.replace("/v1/", "/v2/")
            async with c.watch(second, fieldSelector="spec.host=host1") as events:
                for name, where in (("a", "host1:80"), ("b", "host2:80"), ("d", "host1:8080")):
                    await made(c, path, foo(name, spec={"hostPort": where}))
                for name in ("a", "d"):
                    told = await events.next()
                    assert (told["type"], told["object"]["metadata"]["name"]) == ("ADDED", name)
                assert told["object"]["spec"] == {"host": "host1", "port": "8080"}
                await fine(c.delete(f"{path}/a"))
                assert (await events.next())["type"] == "DELETED"

            async def names(where: str, selector: str) -> list[str]:
                return [i["metadata"]["name"] for i in (await fine(c.get(where, fieldSelector=selector)))["items"]]

            assert await names(path, "spec.hostPort=host2:80") == ["b"]
            assert await names(second, "spec.host=host1") == ["d"]
            assert await names(second, "spec.host=host1,spec.port=80") == []
            assert (await c.get(path, fieldSelector="spec.host=host1")).status == 400

    with_server(test)
