"""Admission webhooks beyond what the conformance suite asks: how they are reached, matched, asked again, and refused."""

from __future__ import annotations

from typing import Any

import pytest
from hooks import (
    MUTATING,
    VALIDATING,
    allowed,
    configuration,
    configured,
    denied,
    hooked,
    rule,
    webhook,
)
from serving import MAPS, PODS, Client, Json, config_map, deployment, pod, with_server

from netlab.apiserver.webhooks.caller import NoEndpoint, ServiceResolver
from netlab.store.memory import MemoryStore

OLD = "/apis/extensions/v1beta1/namespaces/default/deployments"
NAME = "hook.e2e.example.com"


def test_what_a_review_says() -> None:
    async def test(c: Client) -> None:
        async with hooked(allowed) as hook:
            await configured(c, VALIDATING, configuration(webhook(hook.client("/x"), rule("configmaps", "*"))))
            await c.post(MAPS, config_map(a="1"), fieldManager="me", dryRun="All")
            asked = hook.reviews[-1]["request"]
            assert hook.reviews[-1]["apiVersion"] == "admission.k8s.io/v1"
            assert asked["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
            assert asked["requestResource"] == {"group": "", "version": "v1", "resource": "configmaps"}
            assert (asked["name"], asked["namespace"], asked["operation"], asked["dryRun"]) == (
                "c",
                "default",
                "CREATE",
                True,
            )
            assert asked["userInfo"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
            assert (asked["object"]["data"], asked["oldObject"]) == ({"a": "1"}, None)
            assert asked["options"] == {
                "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "dryRun": ["All"],
            }  # fmt: skip
            await c.post(MAPS, config_map(a="1"))
            await c.delete(f"{MAPS}/c")
            asked = hook.reviews[-1]["request"]
            assert (asked["operation"], asked["object"], asked["oldObject"]["data"]) == ("DELETE", None, {"a": "1"})

    with_server(test)


def test_refusals_and_warnings() -> None:
    async def test(c: Client) -> None:
        def answer(review: Json) -> Json:
            name = review["request"]["name"]
            if name == "warned":
                return allowed(review, warnings=["mind the gap"])
            found = denied(review, "no")
            found["response"]["status"] = {"coded": {"code": 418, "message": "tea"}, "bare": {}}.get(
                name, {"reason": "Because"}
            )
            return found

        async with hooked(answer) as hook:
            await configured(c, VALIDATING, configuration(webhook(hook.client(), rule("configmaps"))))
            by = f'admission webhook "{NAME}" denied the request'
            cases = {
                "coded": (418, f"{by}: tea"),
                "bare": (400, f"{by} without explanation"),
                "x": (400, f"{by}: Because"),
            }
            for name, expected in cases.items():
                refused = await c.post(MAPS, config_map(name))
                assert (refused.status, refused.message) == expected
            warned = await c.post(MAPS, config_map("warned"))
            assert (warned.status, warned.warnings) == (201, ["mind the gap"])

    with_server(test)


def test_wrong_answers_are_failures() -> None:
    async def test(c: Client) -> None:
        def answer(review: Json) -> Json:
            found = allowed(review)
            match review["request"]["name"]:
                case "uid":
                    found["response"]["uid"] = "x"
                case "kind":
                    found["kind"] = "Other"
                case "patch":
                    return allowed(review, [{"op": "add", "path": "/data/x", "value": "1"}])
                case _:
                    del found["response"]
            return found

        async with hooked(answer) as hook:
            await configured(c, VALIDATING, configuration(webhook(hook.client(), rule("configmaps"))))
            failed = f'Internal error occurred: failed calling webhook "{NAME}": failed to call webhook: '
            cases = {
                "kind": "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1, Kind=Other",
                "patch": "validating webhook may not return response.patch", "none": "webhook response was absent",
            }  # fmt: skip
            for name, text in cases.items():
                assert (await c.post(MAPS, config_map(name))).message == failed + text
            assert "expected response.uid=" in (await c.post(MAPS, config_map("uid"))).message

    with_server(test)


def test_a_certificate_of_another_authority() -> None:
    async def test(c: Client) -> None:
        async with hooked(allowed) as hook, hooked(allowed) as other:
            client = {**hook.client(), "caBundle": other.client()["caBundle"]}
            strict = webhook(client, rule("configmaps"))
            lax = webhook(client, rule("secrets"), name="lax.e2e.example.com", failurePolicy="Ignore")
            await configured(c, VALIDATING, configuration(strict, lax))
            refused = await c.post(MAPS, config_map())
            assert refused.status == 500
            assert "tls: failed to verify certificate: x509: " in refused.message
            secret = {"metadata": {"name": "s"}, "stringData": {"a": "b"}}
            assert (await c.post("/api/v1/namespaces/default/secrets", secret)).status == 201

    with_server(test)


def test_dry_run_needs_webhooks_without_effects() -> None:
    """v1 admits only webhooks without effects: what an old configuration has in the store is asked all the same."""

    async def test(c: Client) -> None:
        async with hooked(allowed) as hook:
            wrong = webhook(hook.client(), rule("configmaps"), sideEffects="Some")
            refused = await c.post(VALIDATING, configuration(wrong))
            assert 'webhooks[0].sideEffects: Unsupported value: "Some"' in refused.message
            harmless = webhook(hook.client(), rule("configmaps"), sideEffects="NoneOnDryRun")
            await configured(c, VALIDATING, configuration(harmless))
            assert (await c.post(MAPS, config_map(), dryRun="All")).status == 201

    with_server(test)


@pytest.mark.parametrize("policy", ["Equivalent", "Exact"])
def test_equivalent_versions(policy: str) -> None:
    """A rule for apps/v1 means Deployments of extensions/v1beta1, too, and is asked in its own version."""

    async def test(c: Client) -> None:
        def label(review: Json) -> Json:
            assert review["request"]["object"]["apiVersion"] == "apps/v1"
            return allowed(review, [{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}])

        async with hooked(label) as hook:
            apps = rule("deployments", group="apps")
            await configured(c, MUTATING, configuration(webhook(hook.client(), apps, matchPolicy=policy)))
            made = await c.post(OLD, {**deployment(), "apiVersion": "extensions/v1beta1"})
            assert (made.status, made.body["apiVersion"]) == (201, "extensions/v1beta1")
            assert made.body["metadata"].get("labels") == ({"seen": "yes"} if policy == "Equivalent" else None)
            if policy == "Equivalent":
                request = hook.reviews[-1]["request"]
                assert (request["resource"]["version"], request["requestResource"]["version"]) == ("v1", "v1beta1")

    with_server(test)


def test_a_webhook_is_asked_again() -> None:
    """IfNeeded: once more, with what a later one changed; and the built-in plugins see new containers, too."""

    async def test(c: Client) -> None:
        def first(review: Json) -> Json:
            return allowed(review, [{"op": "add", "path": "/metadata/annotations", "value": {
                "containers": str(len(review["request"]["object"]["spec"]["containers"]))}}])  # fmt: skip

        def second(review: Json) -> Json:
            sidecar = {"name": "sidecar", "image": "envoy"}
            there = review["request"]["object"]["spec"]["containers"]
            patch = [] if len(there) > 1 else [{"op": "add", "path": "/spec/containers/-", "value": sidecar}]
            return allowed(review, patch)

        async with hooked(first) as a, hooked(second) as b:
            hooks = (
                webhook(a.client(), rule("pods"), name="a.e2e.example.com", reinvocationPolicy="IfNeeded"),
                webhook(b.client(), rule("pods"), name="b.e2e.example.com"),
            )
            await configured(c, MUTATING, configuration(*hooks))
            await c.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
            got = (await c.post(PODS, pod())).body
            assert got["metadata"]["annotations"] == {"containers": "2"}
            assert (len(a.reviews), len(b.reviews)) == (2, 1)
            mounts = [x["volumeMounts"][0]["name"] for x in got["spec"]["containers"]]
            assert len(mounts) == 2
            assert mounts[0] == mounts[1]
            assert got["spec"]["containers"][1]["imagePullPolicy"] == "Always"

    with_server(test, accounts_required=True)


def test_what_configurations_may_not_say() -> None:
    async def test(c: Client) -> None:
        client = {"url": "https://h/"}
        cases: list[tuple[Json, str]] = [
            (webhook({}, rule("pods")), "webhooks[0].clientConfig: Required value: exactly one of url or service is required"),
            (webhook({"url": "http://h/"}, rule("pods")), "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the "
             "only allowed URL scheme; desired format: https://host[/path]"),
            (webhook(client, rule("pods"), name="short"), 'webhooks[0].name: Invalid value: "short": should be a domain with at '
             "least three segments separated by dots"),
            (webhook(client, rule("pods"), timeoutSeconds=31), "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value "
             "must be between 1 and 30 seconds"),
            (webhook(client, rule("pods", "LIST")), 'webhooks[0].rules[0].operations[0]: Unsupported value: "LIST": supported '
             'values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"'),
            (webhook(client, rule("pods"), admissionReviewVersions=["v9"]), 'webhooks[0].admissionReviewVersions: Invalid value: '
             '[]string{"v9"}: must include at least one of v1, v1beta1'),
            (webhook(client, rule("pods"), matchConditions=[{"name": "a", "expression": "1"}]), "webhooks[0].matchConditions[0]."
             'expression: Invalid value: "1": must evaluate to bool'),
        ]  # fmt: skip
        for wrong, text in cases:
            refused = await c.post(VALIDATING, configuration(wrong))
            assert (refused.status, refused.message) == (
                422, f'ValidatingWebhookConfiguration.admissionregistration.k8s.io "e2e" is invalid: {text}'
            )  # fmt: skip

    with_server(test)


async def _resolver(*objects: tuple[str, Json]) -> ServiceResolver:
    import orjson

    store = MemoryStore()
    for key, obj in objects:
        await store.create(key, orjson.dumps({"kind": "", "apiVersion": "", "metadata": {}, **obj}))
    return ServiceResolver(store)


def test_services_are_their_endpoints() -> None:
    import asyncio

    spec: dict[str, Any] = {"clusterIP": "10.96.0.9", "ports": [{"name": "https", "port": 443}]}
    service = ("/registry/services/specs/ns/hook", {"spec": spec})
    subsets = [
        {"addresses": [{"ip": "10.244.1.2"}], "ports": [{"name": "https", "port": 8443}, {"name": "x", "port": 1}]}
    ]
    endpoints = ("/registry/services/endpoints/ns/hook", {"subsets": subsets})

    async def run() -> None:
        both, alone, none = await _resolver(service, endpoints), await _resolver(service), await _resolver()
        (found,) = await both.resolve("hook.ns.svc", 443)
        assert (found["host"], found["port"], found["hostname"]) == ("10.244.1.2", 8443, "hook.ns.svc")
        (found,) = await alone.resolve("hook.ns.svc", 443)
        assert (found["host"], found["port"]) == ("10.96.0.9", 443)
        for resolver, port, text in (
            (none, 443, 'service "hook" not found'), (alone, 80, 'no service port 80 found for service "hook"'),
        ):  # fmt: skip
            with pytest.raises(NoEndpoint, match=text):
                await resolver.resolve("hook.ns.svc", port)

    asyncio.run(run())


def test_a_service_that_leads_nowhere() -> None:
    async def test(c: Client) -> None:
        client = {"service": {"name": "hook", "namespace": "default", "path": "/v"}}
        await configured(c, VALIDATING, configuration(webhook(client, rule("configmaps"))))
        refused = await c.post(MAPS, config_map())
        assert refused.message == (
            f'Internal error occurred: failed calling webhook "{NAME}": failed to call webhook: Post '
            '"https://hook.default.svc:443/v?timeout=10s": service "hook" not found'
        )

    with_server(test)
