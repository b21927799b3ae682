"""apimachinery: admission webhooks, against webhooks in this process."""

from __future__ import annotations

import asyncio
from typing import Any

from hooks import (
    MUTATING,
    VALIDATING,
    Answer,
    allowed,
    configuration,
    configured,
    denied,
    hanging,
    hooked,
    in_force,
    replaced,
    rule,
    webhook,
)
from lifecycles import CRDS, LABEL, definition, established, fine, made, object_, until
from serving import MAPS, PODS, Client, Json, with_server

NO = "this webhook denies all requests"
CONDITIONS = [
    {"name": "expression-1", "expression": "object.metadata.namespace == 'production'"},
    {"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"},
]


def add(path: str, value: str) -> Answer:
    """A webhook that adds something to every object."""
    return lambda review: allowed(review, [{"op": "add", "path": path, "value": value}])


def refuse(review: Json) -> Json:
    """A webhook that refuses everything."""
    return denied(review, NO)


def config_map(name: str = "m", **data: str) -> Json:
    """A ConfigMap."""
    return object_("v1", "ConfigMap", name, data=data or {"start": "yes"})


def test_webhook_list_mutating() -> None:
    async def test(c: Client) -> None:
        async with hooked(add("/data/mutated", "yes")) as hook:
            for i in range(10):
                one = webhook(hook.client(), rule("configmaps"), name=f"h{i}.e2e.example.com")
                await configured(c, MUTATING, configuration(one, name=f"e2e-{i}"))
            assert len((await fine(c.get(MUTATING, labelSelector=LABEL)))["items"]) == 10
            assert (await made(c, MAPS, config_map()))["data"]["mutated"] == "yes"
            await fine(c.delete(MUTATING, labelSelector=LABEL))
            for i in range(10):
                await in_force(c, f"e2e-{i}", wanted=False)
            assert "mutated" not in (await made(c, MAPS, config_map("n")))["data"]

    with_server(test)


def test_webhook_list_validating() -> None:
    async def test(c: Client) -> None:
        async with hooked(refuse) as hook:
            for i in range(10):
                one = webhook(hook.client(), rule("configmaps"), name=f"h{i}.e2e.example.com")
                await configured(c, VALIDATING, configuration(one, name=f"e2e-{i}"))
            assert len((await fine(c.get(VALIDATING, labelSelector=LABEL)))["items"]) == 10
            refused = await c.post(MAPS, config_map())
            assert refused.status == 403
            await fine(c.delete(VALIDATING, labelSelector=LABEL))
            for i in range(10):
                await in_force(c, f"e2e-{i}", wanted=False)
            await made(c, MAPS, config_map())

    with_server(test)


def test_webhook_update_patch_validating() -> None:
    async def test(c: Client) -> None:
        async with hooked(refuse) as hook:
            await configured(c, VALIDATING, configuration(webhook(hook.client(), rule("configmaps"))))
            refused = await c.post(MAPS, config_map())
            assert (refused.status, refused.message) == (
                403, f'admission webhook "hook.e2e.example.com" denied the request: {NO}'
            )  # fmt: skip

            def no_create(obj: Json) -> None:
                obj["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]

            await replaced(c, VALIDATING, "e2e", no_create)
            while (await c.post(MAPS, config_map("a"))).status != 201:
                pass
            change = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
            await fine(c.patch(f"{VALIDATING}/e2e", change, "json"))
            while (await c.post(MAPS, config_map("b"))).status == 201:
                await fine(c.delete(f"{MAPS}/b"))

    with_server(test)


def stored(path: str) -> None:
    """matchConditions are kept on create and update."""

    async def test(c: Client) -> None:
        client = {"url": "https://127.0.0.1:1/"}
        one = webhook(client, rule("configmaps"), matchConditions=CONDITIONS[:1])
        obj = await made(c, path, configuration(one))
        assert obj["webhooks"][0]["matchConditions"] == CONDITIONS[:1]
        obj["webhooks"][0]["matchConditions"] = CONDITIONS
        assert (await fine(c.put(f"{path}/e2e", obj)))["webhooks"][0]["matchConditions"] == CONDITIONS
        assert (await fine(c.get(f"{path}/e2e")))["webhooks"][0]["matchConditions"] == CONDITIONS

    with_server(test)


def refused_conditions(path: str) -> None:
    """matchConditions that are no CEL are refused."""

    async def test(c: Client) -> None:
        wrong = [{"name": "invalid-expression-1", "expression": "... [] bad expression"},
                 {"name": "invalid-expression-2", "expression": "object.metadata.namespace == 'staging'"}]  # fmt: skip
        one = webhook({"url": "https://127.0.0.1:1/"}, rule("configmaps"), matchConditions=wrong)
        refused = await c.post(path, configuration(one))
        assert (refused.status, refused.body["reason"]) == (422, "Invalid")
        assert "compilation failed" in refused.message
        assert "webhooks[0].matchConditions[0].expression" in refused.message

    with_server(test)


def test_webhook_mutating_matchconditions_stored() -> None:
    stored(MUTATING)


def test_webhook_validating_matchconditions_stored() -> None:
    stored(VALIDATING)


def test_webhook_bad_mutating_matchconditions() -> None:
    refused_conditions(MUTATING)


def test_webhook_bad_validating_matchconditions() -> None:
    refused_conditions(VALIDATING)


def test_webhook_matchconditions_exclude_by_name() -> None:
    async def test(c: Client) -> None:
        async with hooked(add("/data/mutated", "yes")) as hook:
            conditions = [{"name": "e2e-skip", "expression": "object.metadata.name != 'skip-me'"}]
            one = webhook(hook.client(), rule("configmaps"), matchConditions=conditions)
            await configured(c, MUTATING, configuration(one))
            assert "mutated" not in (await made(c, MAPS, config_map("skip-me")))["data"]
            assert (await made(c, MAPS, config_map("other")))["data"]["mutated"] == "yes"

    with_server(test)


def test_webhook_deny_attach() -> None:
    async def test(c: Client) -> None:
        async with hooked(lambda r: denied(r, "attaching to pod 'to-be-attached-pod' is not allowed")) as hook:
            await configured(c, VALIDATING, configuration(webhook(hook.client(), rule("pods/attach", "CONNECT"))))
            pod = object_("v1", "Pod", "to-be-attached-pod", spec={"containers": [{"name": "c", "image": "x"}]})
            await made(c, PODS, pod)
            refused = await c.post(f"{PODS}/to-be-attached-pod/attach", None, container="c", stdout="true")
            assert (refused.status, "attaching to pod" in refused.message) == (403, True)
            asked = hook.reviews[-1]["request"]
            assert (asked["operation"], asked["subResource"], asked["object"]["kind"]) == (
                "CONNECT", "attach", "PodAttachOptions",
            )  # fmt: skip

    with_server(test)


def test_webhook_deny_pod_configmap() -> None:
    async def offence(review: Json) -> Json:
        obj = review["request"]["object"] or {}
        if obj["kind"] == "Pod":
            names = [x["name"] for x in obj["spec"]["containers"]]
            if "webhook-disallow" in obj["metadata"].get("labels", {}):
                return denied(review, "the pod contains unwanted label")
            return denied(review, "the pod contains unwanted container name") if "bad" in names else allowed(review)
        bad = "webhook-e2e-test" in obj.get("data", {})
        return denied(review, "the configmap contains unwanted key and value") if bad else allowed(review)

    async def test(c: Client) -> None:
        async with hooked(offence) as hook, hooked(hanging) as slow:
            exempt = {
                "namespaceSelector": {"matchExpressions": [{"key": "exempt", "operator": "NotIn", "values": ["true"]}]}
            }
            pods = webhook(hook.client("/pods"), rule("pods"), name="pods.e2e.example.com", **exempt)
            maps = webhook(hook.client("/configmaps"), rule("configmaps", "CREATE", "UPDATE"), **exempt)
            hang = webhook(slow.client(), rule("pods"), name="hang.e2e.example.com", timeoutSeconds=1,
                           objectSelector={"matchLabels": {"hang": "yes"}})  # fmt: skip
            await configured(c, VALIDATING, configuration(pods, maps, hang))
            bad = object_("v1", "Pod", "p", spec={"containers": [{"name": "bad", "image": "x"}]})
            refused = await c.post(PODS, bad)
            assert (refused.status, "the pod contains unwanted container name" in refused.message) == (403, True)
            hung = object_("v1", "Pod", "h", spec={"containers": [{"name": "c", "image": "x"}]})
            hung["metadata"]["labels"]["hang"] = "yes"
            late = await c.post(PODS, hung)
            assert late.status == 500
            assert 'failed calling webhook "hang.e2e.example.com"' in late.message
            assert "deadline" in late.message or "timeout" in late.message
            assert (await c.get(f"{PODS}/h")).status == 404
            unwanted = {"webhook-e2e-test": "webhook-disallow"}
            assert (await c.post(MAPS, config_map(**unwanted))).status == 403
            good = await made(c, MAPS, config_map())
            good["data"] = unwanted
            assert "unwanted key and value" in (await c.put(f"{MAPS}/m", good)).message
            assert "unwanted key and value" in (await c.patch(f"{MAPS}/m", {"data": unwanted})).message
            await made(c, "/api/v1/namespaces", {"metadata": {"name": "free", "labels": {"exempt": "true"}}})
            await until(c, "/api/v1/namespaces/free", lambda a: a.status == 200)
            await made(c, "/api/v1/namespaces/free/configmaps", config_map(**unwanted))

    with_server(test)


def test_webhook_deny_crd_create() -> None:
    async def test(c: Client) -> None:
        async with hooked(lambda r: denied(r, "the crd contains unwanted label")) as hook:
            crds = rule("customresourcedefinitions", group="apiextensions.k8s.io")
            only = {"objectSelector": {"matchLabels": {"webhook-e2e-test": "webhook-disallow"}}}
            await configured(c, VALIDATING, configuration(webhook(hook.client(), crds, **only)))
            crd = definition()
            crd["metadata"]["labels"] = {"webhook-e2e-test": "webhook-disallow"}
            refused = await c.post(CRDS, crd)
            assert (refused.status, "the crd contains unwanted label" in refused.message) == (403, True)
            crd["metadata"].pop("labels")
            await established(c, crd)

    with_server(test)


def test_webhook_honour_timeout() -> None:
    async def slow(review: Json) -> Json:
        await asyncio.sleep(1.5)
        return allowed(review)

    async def test(c: Client) -> None:
        async with hooked(slow) as hook:

            async def outcome(**more: Any) -> tuple[int, str]:
                name = "-".join(str(v) for v in more.values()).lower() or "default"
                path = "/api/v1/namespaces/default/podtemplates"
                one = webhook(hook.client(), rule("podtemplates"), **more)
                await configured(c, VALIDATING, configuration(one, name=name))
                template = {"spec": {"containers": [{"name": "c", "image": "x"}]}}
                answer = await c.post(path, object_("v1", "PodTemplate", name, template=template))
                await fine(c.delete(f"{VALIDATING}/{name}"))
                await in_force(c, name, wanted=False)
                return answer.status, answer.message if answer.status != 201 else ""

            status, text = await outcome(timeoutSeconds=1, failurePolicy="Fail")
            assert (status, "context deadline exceeded" in text) == (500, True)
            assert await outcome(timeoutSeconds=1, failurePolicy="Ignore") == (201, "")
            assert await outcome(timeoutSeconds=5, failurePolicy="Fail") == (201, "")
            assert await outcome() == (201, "")
            made_ = await made(c, VALIDATING, configuration(webhook(hook.client(), rule("podtemplates"))))
            assert made_["webhooks"][0]["timeoutSeconds"] == 10

    with_server(test)


def custom(name: str = "f", version: str = "v1", **data: Any) -> Json:
    """A custom object."""
    return object_(f"e2e.example.com/{version}", "Foo", name, data=data)


CUSTOM = rule("foos", "CREATE", "UPDATE", group="e2e.example.com", version="*")
DATA = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_webhook_mutate_cr() -> None:
    async def test(c: Client) -> None:
        stages = iter(range(100))

        def stage(review: Json) -> Json:
            key = f"mutation-stage-{1 + next(stages) % 2}"
            return allowed(review, [{"op": "add", "path": f"/data/{key}", "value": "yes"}])

        async with hooked(stage) as hook:
            path = await established(c, definition())
            first = webhook(hook.client(), CUSTOM, name="a.e2e.example.com")
            second = webhook(hook.client(), CUSTOM, name="b.e2e.example.com")
            await configured(c, MUTATING, configuration(first, second))
            obj = await made(c, path, custom(start="yes"))
            assert obj["data"] == {"start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}

    with_server(test)


def test_webhook_mutate_cr_storage_version_switched() -> None:
    async def test(c: Client) -> None:
        async with hooked(add("/data/mutated", "yes")) as hook:
            path = await established(c, definition(versions=("v1", "v2")))
            await made(c, path, custom(start="yes"))
            await configured(c, MUTATING, configuration(webhook(hook.client(), CUSTOM)))
            crd = await fine(c.get(f"{CRDS}/foos.e2e.example.com"))
            for version in crd["spec"]["versions"]:
                version["storage"] = version["name"] == "v2"
            await fine(c.put(f"{CRDS}/foos.e2e.example.com", crd))
            await until(
                c, f"{CRDS}/foos.e2e.example.com", lambda a: a.body["status"].get("storedVersions") == ["v1", "v2"]
            )
            for number, where in enumerate((path, path.replace("/v1/", "/v2/"))):
                now = await fine(c.patch(f"{where}/f", {"data": {"dummy": str(number)}}))
                assert now["data"] == {"start": "yes", "mutated": "yes", "dummy": str(number)}

    with_server(test)


def test_webhook_mutate_cr_with_pruning() -> None:
    def both(review: Json) -> Json:
        patch = [{"op": "add", "path": f"/data/{k}", "value": "yes"} for k in ("known", "unknown")]
        return allowed(review, patch)

    async def test(c: Client) -> None:
        texts = {k: {"type": "string"} for k in ("start", "known")}
        schema = {"type": "object", "properties": {"data": {"type": "object", "properties": texts}}}
        async with hooked(both) as hook:
            path = await established(c, definition(schema=schema))
            await configured(c, MUTATING, configuration(webhook(hook.client(), CUSTOM)))
            assert (await made(c, path, custom(start="yes")))["data"] == {"start": "yes", "known": "yes"}

    with_server(test)


def test_webhook_never_applied_to_webhook_configs() -> None:
    async def test(c: Client) -> None:
        def meddle(review: Json) -> Json:
            patch = [{"op": "add", "path": "/metadata/labels/mutated", "value": "yes"}]
            return allowed(review, patch) if "mutating" in review["request"]["name"] else denied(review, NO)

        everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"], "scope": "*"}
        configs = [rule(r, "CREATE", "UPDATE", "DELETE", group="admissionregistration.k8s.io")
                   for r in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")]  # fmt: skip
        async with hooked(meddle) as hook:
            only = {"objectSelector": {"matchLabels": {"dummy": "yes"}}}
            await configured(
                c, VALIDATING, configuration(webhook(hook.client(), *configs, everything, **only), name="v")
            )
            await configured(c, MUTATING, configuration(webhook(hook.client(), *configs, everything, **only), name="m"))
            for path in (VALIDATING, MUTATING):
                dummy = configuration(
                    webhook({"url": "https://127.0.0.1:1/"}, rule("pods"), failurePolicy="Ignore"), name="dummy"
                )
                dummy["metadata"]["labels"] = {"dummy": "yes"}
                assert (await made(c, path, dummy))["metadata"]["labels"] == {"dummy": "yes"}
                await fine(c.delete(f"{path}/dummy"))
            assert hook.reviews == []

    with_server(test)


def test_webhook_fail_closed() -> None:
    async def test(c: Client) -> None:
        unreachable = {"url": "https://127.0.0.1:1/"}
        one = webhook(unreachable, rule("configmaps"), failurePolicy="Fail", timeoutSeconds=1)
        await configured(c, VALIDATING, configuration(one))
        refused = await c.post(MAPS, config_map())
        assert (refused.status, refused.body["reason"]) == (500, "InternalError")
        assert refused.message.startswith(
            'Internal error occurred: failed calling webhook "hook.e2e.example.com": failed to call webhook: Post '
            '"https://127.0.0.1:1/?timeout=1s": '
        )

    with_server(test)
