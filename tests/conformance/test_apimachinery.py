"""apimachinery: discovery, lists, watches, field validation, namespaces, quotas, flow control."""

from __future__ import annotations

import asyncio
import json

from lifecycles import (
    CORE,
    LABEL,
    contains,
    definition,
    discovered,
    established,
    fine,
    lifecycle,
    made,
    object_,
    status_life,
)
from serving import DEPLOYMENTS, MAPS, Client, Json, deployment, with_server

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
QUOTAS = f"{CORE}/resourcequotas"
TEMPLATES = f"{CORE}/podtemplates"


def test_apf_flowschema_api() -> None:
    spec = {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
            "distinguisherMethod": {"type": "ByUser"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "e2e"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}  # fmt: skip
    lifecycle("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "flowschemas", {"spec": spec}, namespaced=False,
              status={"conditions": [{"type": "patched", "status": "False", "reason": "E2E"}]})  # fmt: skip


def test_apf_prioritylevelconfiguration_api() -> None:
    limited = {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}
    lifecycle("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", "prioritylevelconfigurations",
              {"spec": {"type": "Limited", "limited": limited}}, namespaced=False,
              status={"conditions": [{"type": "patched", "status": "False", "reason": "E2E"}]})  # fmt: skip


async def aggregated(c: Client, path: str) -> dict[tuple[str, str], set[str]]:
    """(group, version) → resources, as the aggregated document tells them."""
    answer = await c.get(path, accept=AGGREGATED)
    assert answer.status == 200
    assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
    return {
        (g["metadata"].get("name", ""), v["version"]): {r["resource"] for r in v["resources"]}
        for g in answer.body["items"] for v in g["versions"]
    }  # fmt: skip


def test_aggregated_discovery_raw_accept() -> None:
    async def test(c: Client) -> None:
        core, groups = await aggregated(c, "/api"), await aggregated(c, "/apis")
        assert {"pods", "namespaces", "services"} <= core["", "v1"]
        for group, version, plural in (
            ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
            ("apiextensions.k8s.io", "v1", "customresourcedefinitions"), ("apps", "v1", "deployments"),
            ("batch", "v1", "jobs"), ("rbac.authorization.k8s.io", "v1", "roles"), ("policy", "v1", "poddisruptionbudgets"),
        ):  # fmt: skip
            assert plural in groups[group, version]

    with_server(test)


def test_aggregated_discovery_raw_accept_crd() -> None:
    async def test(c: Client) -> None:
        await established(c, definition())
        assert (await aggregated(c, "/apis"))["e2e.example.com", "v1"] == {"foos"}

    with_server(test)


def test_aggregated_discovery_client_crd() -> None:
    async def test(c: Client) -> None:
        await established(c, definition())
        # a client falls back along its list: v2, v2beta1, the plain documents
        accept = f"{AGGREGATED},{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json"
        items = (await fine(c.get("/apis", accept=accept)))["items"]
        group = next(g for g in items if g["metadata"]["name"] == "e2e.example.com")
        (resource,) = group["versions"][0]["resources"]
        assert resource["responseKind"] == {"group": "e2e.example.com", "version": "v1", "kind": "Foo"}
        assert (resource["scope"], resource["singularResource"]) == ("Namespaced", "foo")

    with_server(test)


def test_discovery_resource_per_group() -> None:
    async def test(c: Client) -> None:
        groups = (await fine(c.get("/apis")))["groups"]
        assert groups
        for group in groups:
            for version in group["versions"]:
                document = await fine(c.get(f"/apis/{version['groupVersion']}"))
                assert document["groupVersion"] == version["groupVersion"]
                assert all(r["name"] and r["kind"] and r["verbs"] for r in document["resources"])
                assert document["resources"]

    with_server(test)


def test_discovery_preferredversion() -> None:
    async def test(c: Client) -> None:
        for group in (await fine(c.get("/apis")))["groups"]:
            one = await fine(c.get(f"/apis/{group['name']}"))
            assert group["preferredVersion"]["version"] in [v["version"] for v in group["versions"]]
            assert one["preferredVersion"] == group["preferredVersion"]

    with_server(test)


def test_crd_discovery() -> None:
    async def test(c: Client) -> None:
        await discovered(
            c, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
        )

    with_server(test)


def test_webhook_discovery() -> None:
    async def test(c: Client) -> None:
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            plural = f"{kind.lower()}s"
            await discovered(c, "admissionregistration.k8s.io/v1", kind, plural, namespaced=False)

    with_server(test)


def test_server_version() -> None:
    async def test(c: Client) -> None:
        version = await fine(c.get("/version"))
        assert version["major"].isdigit()
        assert version["minor"].isdigit()

    with_server(test)


def test_table_406_on_no_metadata_backend() -> None:
    async def test(c: Client) -> None:
        review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}
        answer = await c.post(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review,
            accept="application/json;as=Table;v=v1;g=meta.k8s.io",
        )  # fmt: skip
        assert (answer.status, answer.body["reason"]) == (406, "NotAcceptable")

    with_server(test)


# -- lists and watches


def template(name: str) -> Json:
    """A PodTemplate."""
    return object_("v1", "PodTemplate", name, template={"spec": {"containers": [{"name": "c", "image": "x"}]}})


async def many(c: Client, number: int) -> None:
    """So many PodTemplates."""
    await asyncio.gather(*(made(c, TEMPLATES, template(f"template-{i:04d}")) for i in range(number)))


def test_chunked_list() -> None:
    async def test(c: Client) -> None:
        number, limit = 400, 40
        await many(c, number)
        seen: list[str] = []
        token = revision = ""
        while True:
            query = {"continue": token} if token else {}
            page = await fine(c.get(TEMPLATES, limit=limit, **query))
            assert len(page["items"]) <= limit
            revision = revision or page["metadata"]["resourceVersion"]
            assert page["metadata"]["resourceVersion"] == revision
            seen += [i["metadata"]["name"] for i in page["items"]]
            assert page["metadata"].get("remainingItemCount", 0) == number - len(seen)
            token = page["metadata"].get("continue", "")
            if not token:
                break
        assert seen == [f"template-{i:04d}" for i in range(number)]
        assert len((await fine(c.get(TEMPLATES)))["items"]) == number

    with_server(test)


def test_chunked_list_after_compaction() -> None:
    async def test(c: Client) -> None:
        await many(c, 30)
        first = await fine(c.get(TEMPLATES, limit=10))
        await made(c, MAPS, object_("v1", "ConfigMap", "later"))
        await c.server.store.compact(await c.server.store.revision())
        expired = await c.get(TEMPLATES, limit=10, **{"continue": first["metadata"]["continue"]})
        assert (expired.status, expired.body["reason"]) == (410, "Expired")
        token = expired.body["metadata"]["continue"]
        second = await fine(c.get(TEMPLATES, limit=10, **{"continue": token}))
        assert second["items"][0]["metadata"]["name"] == "template-0010"
        assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
        rest = await fine(c.get(TEMPLATES, **{"continue": second["metadata"]["continue"]}))
        assert [i["metadata"]["name"] for i in rest["items"]] == [f"template-{i:04d}" for i in range(20, 30)]

    with_server(test)


def watched(name: str) -> Json:
    """A ConfigMap to be watched."""
    return object_("v1", "ConfigMap", name)


def test_watch_resume() -> None:
    async def test(c: Client) -> None:
        one = f"{MAPS}/w"
        async with c.watch(MAPS, labelSelector=LABEL) as events:
            await made(c, MAPS, watched("w"))
            await events.next()
            await fine(c.patch(one, {"data": {"mutation": "1"}}))
            last = (await events.next())["object"]["metadata"]["resourceVersion"]
        await fine(c.patch(one, {"data": {"mutation": "2"}}))
        await fine(c.delete(one))
        async with c.watch(MAPS, labelSelector=LABEL, resourceVersion=last) as events:
            told = await events.next()
            assert (told["type"], told["object"]["data"]) == ("MODIFIED", {"mutation": "2"})
            assert (await events.next())["type"] == "DELETED"

    with_server(test)


def test_watch_from_rv() -> None:
    async def test(c: Client) -> None:
        one = f"{MAPS}/w"
        await made(c, MAPS, watched("w"))
        first = await fine(c.patch(one, {"data": {"mutation": "1"}}))
        await fine(c.patch(one, {"data": {"mutation": "2"}}))
        await fine(c.delete(one))
        async with c.watch(MAPS, resourceVersion=first["metadata"]["resourceVersion"]) as events:
            told = await events.next()
            assert (told["type"], told["object"]["data"]) == ("MODIFIED", {"mutation": "2"})
            assert (await events.next())["type"] == "DELETED"

    with_server(test)


def test_watch_selector_no_longer_met() -> None:
    async def test(c: Client) -> None:
        one = f"{MAPS}/w"
        async with c.watch(MAPS, labelSelector="watch=yes") as events:
            obj = watched("w")
            obj["metadata"]["labels"]["watch"] = "yes"
            await made(c, MAPS, obj)
            assert (await events.next())["type"] == "ADDED"
            await fine(c.patch(one, {"metadata": {"labels": {"watch": "no"}}}))
            assert (await events.next())["type"] == "DELETED"
            await fine(c.patch(one, {"data": {"mutation": "1"}}))
            await fine(c.patch(one, {"metadata": {"labels": {"watch": "yes"}}}))
            told = await events.next()
            assert (told["type"], told["object"]["data"]) == ("ADDED", {"mutation": "1"})
            await fine(c.patch(one, {"data": {"mutation": "2"}}))
            assert (await events.next())["type"] == "MODIFIED"
            await fine(c.delete(one))
            assert (await events.next())["type"] == "DELETED"

    with_server(test)


def test_watch_same_order() -> None:
    async def test(c: Client) -> None:
        rounds = 20

        async def write(name: str) -> None:
            await made(c, MAPS, watched(name))
            for i in range(rounds):
                await fine(c.patch(f"{MAPS}/{name}", {"data": {"i": str(i)}}))
            await fine(c.delete(f"{MAPS}/{name}"))

        async with c.watch(MAPS, resourceVersion=await c.server.store.revision()) as events:
            await asyncio.gather(*(write(n) for n in "abc"))
            order = [(await events.next())["object"]["metadata"]["resourceVersion"] for _ in range(3 * (rounds + 2))]
        assert order == sorted(order, key=int)
        for start in range(0, len(order), 7):
            async with c.watch(MAPS, resourceVersion=order[start]) as events:
                again = [(await events.next())["object"]["metadata"]["resourceVersion"] for _ in order[start + 1 :]]
            assert again == order[start + 1 :]

    with_server(test)


# -- field validation


def test_fieldvalidation_typed_object() -> None:
    async def test(c: Client) -> None:
        obj = deployment()
        obj["spec"]["unknownField"] = 1
        text = json.dumps(obj)
        twice = text.replace('"replicas": 1', '"replicas": 1, "replicas": 2').encode()
        assert twice != text.encode()
        refused = await c.post(DEPLOYMENTS, twice, fieldValidation="Strict")
        assert (refused.status, refused.message) == (
            400, 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field '
            '"spec.replicas", unknown field "spec.unknownField"',
        )  # fmt: skip
        refused = await c.patch(f"{DEPLOYMENTS}/web", obj, "apply", fieldValidation="Strict", fieldManager="e2e")
        assert refused.status in (400, 500)
        assert "unknownField" in refused.message
        warned = await c.post(DEPLOYMENTS, twice, fieldValidation="Warn")
        assert warned.status == 201
        assert len(warned.warnings) == 2
        await c.delete(f"{DEPLOYMENTS}/web")
        assert (await c.post(DEPLOYMENTS, twice, fieldValidation="Ignore")).warnings == []

    with_server(test)


SCHEMA: Json = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "cronSpec": {"type": "string"},
                "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort"],
                          "items": {"type": "object", "required": ["containerPort"],
                                    "properties": {"containerPort": {"type": "integer"}}}},
                "embedded": {"type": "object", "x-kubernetes-embedded-resource": True,
                             "properties": {"spec": {"type": "object", "properties": {"known": {"type": "string"}}}}},
            },
        },
    },
}  # fmt: skip


def foo(name: str = "f", **spec: object) -> Json:
    """An object of the definitions here."""
    return object_("e2e.example.com/v1", "Foo", name, spec=spec)


def test_fieldvalidation_cr_no_schema() -> None:
    async def test(c: Client) -> None:
        path = await established(c, definition())
        strict = {"fieldValidation": "Strict", "fieldManager": "e2e"}
        applied = await c.patch(f"{path}/f", foo(unknown={"a": 1}), "apply", **strict)
        assert (applied.status, applied.warnings) == (201, [])
        assert applied.body["spec"] == {"unknown": {"a": 1}}

    with_server(test)


def test_fieldvalidation_cr_with_extra_props() -> None:
    async def test(c: Client) -> None:
        path = await established(c, definition(schema=SCHEMA))
        strict = {"fieldValidation": "Strict", "fieldManager": "e2e"}
        extra = foo(extraProperty="arbitrary-value", ports=[{"containerPort": 80, "extra": 1}])
        for answer in (await c.patch(f"{path}/f", extra, "apply", **strict), await c.post(path, extra, **strict)):
            assert 400 <= answer.status <= 500
            assert 'unknown field "spec.extraProperty"' in answer.message or ".spec.extraProperty" in answer.message
        good = await c.patch(f"{path}/f", foo(cronSpec="* * * * */5"), "apply", **strict)
        assert good.status == 201

    with_server(test)


def test_fieldvalidation_cr_duplicates() -> None:
    async def test(c: Client) -> None:
        path = await established(c, definition())
        text = json.dumps(foo(unknown="uk1", cronSpec="*")).replace(
            '"unknown": "uk1"', '"unknown": "uk1", "unknown": "uk2"'
        )
        refused = await c.post(path, text.encode(), fieldValidation="Strict")
        assert (refused.status, 'duplicate field "spec.unknown"' in refused.message) == (400, True)
        applied = await c.ask(
            "PATCH", f"{path}/f", text.encode(), type_="application/apply-patch+yaml", fieldValidation="Strict",
            fieldManager="e2e",
        )  # fmt: skip
        assert 400 <= applied.status <= 500
        assert "unknown" in applied.message

    with_server(test)


def test_fieldvalidation_unknown_metadata_cr() -> None:
    async def test(c: Client) -> None:
        path = await established(c, definition(schema=SCHEMA))
        meta = {"name": "in", "unknownSubMeta": "x"}
        inner = {"apiVersion": "v1", "kind": "K", "metadata": meta, "spec": {"known": "a", "unknownInner": 1}}
        obj = foo(embedded=inner)
        obj["metadata"]["unknownMeta"] = "foo"
        refused = await c.post(path, obj, fieldValidation="Strict")
        assert refused.status == 400
        for field in (
            "metadata.unknownMeta",
            "spec.embedded.metadata.unknownSubMeta",
            "spec.embedded.spec.unknownInner",
        ):
            assert f'unknown field "{field}"' in refused.message, (field, refused.message)

    with_server(test)


# -- namespaces and quotas


def test_namespace_finalizer() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, "/api/v1/namespaces", object_("v1", "Namespace", "e2e"))
        obj["spec"]["finalizers"] = ["e2e.example.com/fakeFinalizer", *obj["spec"]["finalizers"]]
        now = await fine(c.put("/api/v1/namespaces/e2e/finalize", obj))
        assert now["spec"]["finalizers"] == ["e2e.example.com/fakeFinalizer", "kubernetes"]
        now["spec"]["finalizers"] = ["kubernetes"]
        assert (await fine(c.put("/api/v1/namespaces/e2e/finalize", now)))["spec"]["finalizers"] == ["kubernetes"]

    with_server(test)


def test_namespace_update() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, "/api/v1/namespaces", object_("v1", "Namespace", "e2e"))
        obj["metadata"]["labels"]["e2e-label"] = "value"
        assert (await fine(c.put("/api/v1/namespaces/e2e", obj)))["metadata"]["labels"]["e2e-label"] == "value"

    with_server(test)


def test_namespace_patch() -> None:
    async def test(c: Client) -> None:
        await made(c, "/api/v1/namespaces", object_("v1", "Namespace", "e2e"))
        change = {"metadata": {"labels": {"testLabel": "testValue"}}}
        assert contains(await fine(c.patch("/api/v1/namespaces/e2e", change, "strategic")), change)
        assert contains(await fine(c.get("/api/v1/namespaces/e2e")), change)

    with_server(test)


def test_resourcequota_status_edits() -> None:
    async def test(c: Client) -> None:
        hard = {"cpu": "500m", "memory": "500Mi"}
        await made(c, QUOTAS, object_("v1", "ResourceQuota", "q", spec={"hard": hard}))
        await status_life(c, f"{QUOTAS}/q", {"hard": {"memory": "750Mi"}})
        now = await fine(c.get(f"{QUOTAS}/q"))
        assert (now["spec"]["hard"], now["status"]["hard"]["memory"]) == (hard, "750Mi")

    with_server(test)


def test_resourcequota_lifecycle() -> None:
    lifecycle("v1", "ResourceQuota", "resourcequotas", {"spec": {"hard": {"pods": "5", "services": "4"}}})
