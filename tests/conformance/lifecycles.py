"""What most behaviours of an API are made of: an object's whole life by every verb, and the life of its status."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

from serving import Client, Json, with_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CORE = "/api/v1/namespaces/default"
#: what tells the objects of a test from all others
LABEL = "e2e=yes"


def root(api_version: str) -> str:
    """Where a group's version is served."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def collection(api_version: str, plural: str, *, namespaced: bool = True) -> str:
    """The path of a resource, in the namespace `default`."""
    return f"{root(api_version)}/namespaces/default/{plural}" if namespaced else f"{root(api_version)}/{plural}"


def object_(api_version: str, kind: str, name: str, **fields: Any) -> Json:
    """An object with the label of these tests."""
    return {
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": {"e2e": "yes"}}, **fields,
    }  # fmt: skip


async def made(c: Client, path: str, obj: Json) -> Json:
    """Create an object."""
    answer = await c.post(path, obj)
    assert answer.status == 201, answer.data
    return answer.body


async def fine(asked: Awaitable[Any]) -> Json:
    """The object of an answer that has to be 200."""
    answer = await asked
    assert answer.status == 200, answer.data
    found: Json = answer.body
    return found


def lifecycle(
    api_version: str, kind: str, plural: str, body: Json | Callable[[str], Json], *, namespaced: bool = True,
    status: Json | None = None, spare: str = "",
) -> None:  # fmt: skip
    """Discovery, create, get, list, watch, patch, update, status, delete, deletecollection. body: the object without
    its head, or made of a name; status: something that its /status takes; spare: the start of the objects' names."""

    def named(name: str) -> Json:
        return object_(api_version, kind, name, **(body(name) if callable(body) else copy.deepcopy(body)))

    async def test(c: Client) -> None:
        await discovered(c, api_version, kind, plural, namespaced=namespaced, status=status is not None)
        path = collection(api_version, plural, namespaced=namespaced)
        names = [f"{spare or 'e2e-'}{n}" for n in "abc"]
        rev = (await fine(c.get(path)))["metadata"]["resourceVersion"]
        async with c.watch(path, labelSelector=LABEL, resourceVersion=rev) as events:
            for name in names:
                obj = await made(c, path, named(name))
                assert (await events.next())["type"] == "ADDED"
            one = f"{path}/{names[2]}"
            assert (await fine(c.get(one)))["metadata"]["uid"] == obj["metadata"]["uid"]
            everywhere = f"{root(api_version)}/{plural}"
            assert len((await fine(c.get(everywhere, labelSelector=LABEL)))["items"]) == len(names)
            patched = await fine(c.patch(one, {"metadata": {"annotations": {"patched": "true"}}}))
            assert patched["metadata"]["annotations"]["patched"] == "true"
            told = await events.next()
            assert (told["type"], told["object"]["metadata"]["annotations"]["patched"]) == ("MODIFIED", "true")
            patched["metadata"]["annotations"]["updated"] = "true"
            updated = await fine(c.put(one, patched))
            assert updated["metadata"]["annotations"]["updated"] == "true"
            assert (await events.next())["type"] == "MODIFIED"
            if status is not None:
                await status_life(c, one, status)
                for _ in range(2):
                    assert (await events.next())["type"] == "MODIFIED"
            assert (await c.delete(one)).status == 200
            told = await events.next()
            while told["type"] == "MODIFIED":  # it had finalizers
                assert told["object"]["metadata"]["deletionTimestamp"]
                await c.patch(one, {"metadata": {"finalizers": None}})
                told = await events.next()
            assert told["type"] == "DELETED"
            assert (await c.get(one)).status == 404
        assert (await c.delete(path, labelSelector=LABEL)).status == 200
        for left in (await fine(c.get(path, labelSelector=LABEL)))["items"]:
            assert left["metadata"].get("finalizers"), left
            await c.patch(f"{path}/{left['metadata']['name']}", {"metadata": {"finalizers": None}})
        assert (await fine(c.get(path, labelSelector=LABEL)))["items"] == []

    with_server(test)


async def discovered(
    c: Client, api_version: str, kind: str, plural: str, *, namespaced: bool, status: bool = False
) -> None:
    """The kind is in the documents of all groups, of its group and of its version."""
    group, _, version = api_version.rpartition("/")
    if group:
        groups = {g["name"]: g for g in (await fine(c.get("/apis")))["groups"]}
        assert version in [v["version"] for v in groups[group]["versions"]]
        assert version in [v["version"] for v in (await fine(c.get(f"/apis/{group}")))["versions"]]
    resources = {r["name"]: r for r in (await fine(c.get(root(api_version))))["resources"]}
    assert (resources[plural]["kind"], resources[plural]["namespaced"]) == (kind, namespaced)
    assert not status or f"{plural}/status" in resources


async def status_life(c: Client, one: str, status: Json) -> None:
    """get, patch and update of /status: kept, and nothing else changed."""
    before = await fine(c.get(f"{one}/status"))
    annotated = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": status}
    patched = await fine(c.patch(f"{one}/status", annotated))
    assert contains(patched.get("status"), status), patched.get("status")
    assert patched["metadata"]["annotations"]["patchedstatus"] == "true"
    patched["metadata"]["annotations"]["updatedstatus"] = "true"
    updated = await fine(c.put(f"{one}/status", patched))
    assert contains(updated.get("status"), status)
    now = await fine(c.get(one))
    assert contains(now.get("status"), status)
    assert now.get("spec") == before.get("spec")


def contains(whole: Any, part: Any) -> bool:
    """Whether a value has all that a part has."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and contains(whole[k], v) for k, v in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


def condition(kind: str = "StatusUpdate", **more: Any) -> Json:
    """A condition as tests of /status write it."""
    return {"type": kind, "status": "True", "reason": "E2E", "message": "Set from e2e test", **more}


def definition(
    plural: str = "foos", kind: str = "Foo", group: str = "e2e.example.com", schema: Json | None = None, *,
    versions: tuple[str, ...] = ("v1",), **version: Any,
) -> Json:  # fmt: skip
    """A CustomResourceDefinition; the first version is stored. version: more of every version."""
    whole = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {"name": v, "served": True, "storage": i == 0, "schema": {"openAPIV3Schema": copy.deepcopy(whole)},
                 **copy.deepcopy(version)}
                for i, v in enumerate(versions)
            ],
        },
    }  # fmt: skip


async def established(c: Client, crd: Json) -> str:
    """Make a definition and wait until its kind is served: the path of its objects, at the first version."""
    name, spec = crd["metadata"]["name"], crd["spec"]
    await made(c, CRDS, crd)
    async with c.watch(CRDS, fieldSelector=f"metadata.name={name}") as events:
        while True:
            conditions = ((await events.next())["object"].get("status") or {}).get("conditions") or []
            if any(x["type"] == "Established" and x["status"] == "True" for x in conditions):
                break
    version = spec["versions"][0]["name"]
    path = collection(f"{spec['group']}/{version}", spec["names"]["plural"], namespaced=spec["scope"] == "Namespaced")
    while (await c.get(path)).status == 404:  # the registry follows the store
        pass
    return path


async def until(c: Client, path: str, fits: Callable[[Any], bool]) -> Any:
    """The answer to a GET once it fits. The test's deadline ends it."""
    while True:
        answer = await c.get(path)
        if fits(answer):
            return answer
