"""The server itself: discovery in its three forms, OpenAPI, health, what a new cluster has, old versions."""

import contextlib
from typing import Any

import pytest
from serving import DEPLOYMENTS, MAPS, PODS, Client, deployment, pod, with_server

from netlab.apiserver import server

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
V2BETA1 = V2.replace("v=v2;", "v=v2beta1;")


def test_discovery_in_three_forms() -> None:
    async def test(c: Client) -> None:
        for accept, version in ((f"{V2},{V2BETA1},application/json", "v2"), (f"{V2BETA1},application/json", "v2beta1")):
            for path in ("/api", "/apis"):
                answer = await c.get(path, accept=accept)
                assert answer.body["kind"] == "APIGroupDiscoveryList"
                assert answer.body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
                assert f"v={version};as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
        apps = next(i for i in (await c.get("/apis", accept=V2)).body["items"] if i["metadata"]["name"] == "apps")
        assert [v["version"] for v in apps["versions"]] == ["v1", "v1beta2", "v1beta1"]
        deploy = next(r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments")
        assert (deploy["shortNames"], deploy["categories"], deploy["scope"]) == (["deploy"], ["all"], "Namespaced")
        assert all(i["versions"] for i in (await c.get("/apis", accept=V2)).body["items"])
        groups = (await c.get("/apis")).body["groups"]
        for group in groups:
            assert group["preferredVersion"] in group["versions"]
            for version in group["versions"]:
                body = (await c.get(f"/apis/{version['groupVersion']}")).body
                assert (body["kind"], body["groupVersion"]) == ("APIResourceList", version["groupVersion"])
                assert body["resources"]
        core = {r["name"]: r for r in (await c.get("/api/v1")).body["resources"]}
        eviction = core["pods/eviction"]
        assert (eviction["group"], eviction["version"], eviction["kind"]) == ("policy", "v1", "Eviction")
        assert core["namespaces"]["verbs"] == ["create", "delete", "get", "list", "patch", "update", "watch"]
        version = (await c.get("/version")).body
        assert version["major"].isdigit()
        assert version["minor"].isdigit()

    with_server(test)


def test_openapi() -> None:
    async def test(c: Client) -> None:
        index = (await c.get("/openapi/v3")).body["paths"]
        assert set(index) >= {"api/v1", "apis/apps/v1", "apis/extensions/v1beta1"}
        for path in index:
            document = (await c.get(f"/openapi/v3/{path}")).body
            text = str(document)
            schemas = document["components"]["schemas"]
            for ref in {p.split("'")[0] for p in text.split("#/components/schemas/")[1:]}:
                assert ref in schemas, (path, ref)
        core = (await c.get("/openapi/v3/api/v1")).body
        operation = core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
        assert operation["x-kubernetes-group-version-kind"] == {"group": "", "kind": "Pod", "version": "v1"}
        assert "fieldValidation" in [p["name"] for p in operation["parameters"]]
        containers = core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
        assert containers["x-kubernetes-patch-merge-key"] == "name"
        old = await c.get("/openapi/v2", accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
        assert (old.status, old.data) == (200, b"")
        assert old.headers["Content-Type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        swagger = (await c.get("/openapi/v2")).body
        assert swagger["swagger"] == "2.0"
        assert "io.k8s.api.core.v1.Pod" in swagger["definitions"]

    with_server(test)


def test_health_and_figures() -> None:
    async def test(c: Client) -> None:
        for path in ("/healthz", "/livez", "/readyz"):
            assert (await c.as_("").get(path)).data == b"ok"
        verbose = (await c.get("/readyz", verbose="")).data.decode()
        assert verbose.endswith("readyz check passed\n")
        assert "[+]etcd ok" in verbose
        assert (await c.get("/livez/ping")).data == b"ok"
        assert (await c.get("/livez/nothing")).status == 404
        await c.get(PODS)
        page = (await c.get("/metrics")).data.decode()
        assert (
            'apiserver_request_total{code="200",group="",resource="pods",subresource="",verb="list",version="v1"} 1.0'
            in page
        )

    with_server(test)


def test_what_a_new_cluster_has() -> None:
    async def test(c: Client) -> None:
        names = [n["metadata"]["name"] for n in (await c.get("/api/v1/namespaces")).body["items"]]
        assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
        service = (await c.get("/api/v1/namespaces/default/services/kubernetes")).body
        assert service["spec"]["clusterIP"] == "10.96.0.1"
        slices = await c.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        assert slices.body["endpoints"][0]["addresses"] == ["127.0.0.1"]
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        async with c.watch(roles, fieldSelector="metadata.name=admin") as events:
            while not (await events.next())["object"].get("rules"):
                pass
        admin = (await c.get(f"{roles}/admin")).body
        assert any("rolebindings" in r["resources"] for r in admin["rules"])
        assert any("pods/exec" in r["resources"] for r in admin["rules"])

    with_server(test)


def test_old_versions_are_served_with_a_warning() -> None:
    async def test(c: Client) -> None:
        old: Any = {**deployment(), "apiVersion": "extensions/v1beta1"}
        del old["spec"]["selector"]
        made = await c.post("/apis/extensions/v1beta1/namespaces/default/deployments", old)
        assert made.warnings == [
            "extensions/v1beta1 Deployment is deprecated in v1.9+, unavailable in v1.16+; use apps/v1 Deployment"
        ]
        assert made.body["apiVersion"] == "extensions/v1beta1"
        now = (await c.get(f"{DEPLOYMENTS}/web")).body
        assert (now["apiVersion"], now["spec"]["selector"]) == ("apps/v1", {"matchLabels": {"app": "web"}})
        scaler = {"metadata": {"name": "s"}, "spec": {
            "maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        }}  # fmt: skip
        base = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
        first = (await c.post(base.format("v1"), scaler)).body
        assert (first["apiVersion"], first["spec"]["targetCPUUtilizationPercentage"]) == ("autoscaling/v1", 50)
        second = (await c.get(f"{base.format('v2')}/s")).body
        assert second["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
        events = "/api/v1/namespaces/default/events"
        event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
                 "reason": "R", "message": "m", "type": "Normal"}  # fmt: skip
        assert (await c.post(events, event)).status == 201
        other = (await c.get("/apis/events.k8s.io/v1/namespaces/default/events/e")).body
        assert (other["apiVersion"], other["note"], other["regarding"]["name"]) == ("events.k8s.io/v1", "m", "p")

    with_server(test)


def test_evictions_ask_the_budget() -> None:
    async def test(c: Client) -> None:
        obj = pod()
        obj["metadata"]["labels"] = {"app": "x"}
        await c.post(PODS, obj)
        await c.patch(f"{PODS}/p/status", {"status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        }})  # fmt: skip
        budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
        await c.post(budgets, {"metadata": {"name": "b"}, "spec": spec})
        await c.patch(f"{budgets}/b/status", {"status": {
            "observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 1, "currentHealthy": 1, "expectedPods": 1,
        }})  # fmt: skip
        eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p"}}
        refused = await c.post(f"{PODS}/p/eviction", eviction)
        assert (refused.status, refused.message) == (
            429, "Cannot evict pod as it would violate the pod's disruption budget."
        )  # fmt: skip
        assert refused.body["details"]["causes"] == [{
            "reason": "DisruptionBudget", "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
        }]  # fmt: skip
        assert "Retry-After" not in refused.headers
        await c.patch(f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}})
        assert (await c.post(f"{PODS}/p/eviction", eviction)).status == 201
        assert (await c.get(f"{PODS}/p")).status == 404

    with_server(test)


def test_who_is_evicted_is_told_why() -> None:
    async def test(c: Client) -> None:
        obj = pod()
        obj["metadata"]["finalizers"] = ["example.com/held"]
        await c.post(PODS, obj)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        dry = {**eviction, "deleteOptions": {"dryRun": ["All"]}}
        assert (await c.post(f"{PODS}/p/eviction", dry)).status == 201
        assert "conditions" not in (await c.get(f"{PODS}/p")).body["status"]
        assert (await c.post(f"{PODS}/p/eviction", eviction)).status == 201
        found = (await c.get(f"{PODS}/p")).body
        assert "deletionTimestamp" in found["metadata"]
        (why,) = found["status"]["conditions"]
        assert (why["type"], why["status"], why["reason"]) == ("DisruptionTarget", "True", "EvictionByEvictionAPI")

    with_server(test)


def test_watches_leave_room_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of requests under way is one of short requests: watches are under way for hours."""
    monkeypatch.setattr(server, "INFLIGHT_MAX", 2)

    async def test(c: Client) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                await stack.enter_async_context(c.watch(MAPS))
            assert (await c.get(MAPS)).status == 200

    with_server(test)
