"""node: what of pods, nodes and their configuration an API server decides alone."""

from __future__ import annotations

from typing import Any

from lifecycles import CORE, LABEL, collection, contains, fine, lifecycle, made, object_, status_life
from serving import MAPS, PODS, Client, Json, with_server

SECRETS = f"{CORE}/secrets"
TEMPLATES = f"{CORE}/podtemplates"
CLASSES = collection("node.k8s.io/v1", "runtimeclasses", namespaced=False)


def pod(name: str = "p", *, resources: Json | None = None, **spec: Any) -> Json:
    """A pod."""
    container: Json = {"name": "c", "image": "registry.k8s.io/pause:3.10"}
    if resources is not None:
        container["resources"] = resources
    return object_("v1", "Pod", name, spec={"containers": [container], **spec})


def test_configmap_empty_key_refused() -> None:
    async def test(c: Client) -> None:
        refused = await c.post(MAPS, object_("v1", "ConfigMap", "m", data={"": "value-1"}))
        assert refused.status == 422
        assert refused.body["details"]["causes"][0]["reason"] == "FieldValueInvalid"

    with_server(test)


def test_configmap_lifecycle() -> None:
    lifecycle("v1", "ConfigMap", "configmaps", {"data": {"valueName": "value"}})


def test_secret_patch_list() -> None:
    async def test(c: Client) -> None:
        await made(c, SECRETS, object_("v1", "Secret", "s", data={"key": "dmFsdWU="}, type="Opaque"))
        assert len((await fine(c.get("/api/v1/secrets", labelSelector=LABEL)))["items"]) == 1
        change = {"metadata": {"labels": {"patched": "true"}}, "data": {"key": "dmFsdWUx"}}
        assert (await fine(c.patch(f"{SECRETS}/s", change, "strategic")))["data"] == {"key": "dmFsdWUx"}
        await fine(c.delete(SECRETS, labelSelector="patched=true"))
        assert (await fine(c.get("/api/v1/secrets", labelSelector="patched=true")))["items"] == []

    with_server(test)


def test_ephemeral_containers_update() -> None:
    async def test(c: Client) -> None:
        await made(c, PODS, pod())
        first = {"name": "debugger", "image": "busybox", "command": ["/bin/sh"], "stdin": True, "tty": True}
        change = {"spec": {"ephemeralContainers": [first]}}
        now = await fine(c.patch(f"{PODS}/p/ephemeralcontainers", change, "strategic"))
        assert [e["name"] for e in now["spec"]["ephemeralContainers"]] == ["debugger"]
        now["spec"]["ephemeralContainers"].append({**first, "name": "debugger2"})
        now = await fine(c.put(f"{PODS}/p/ephemeralcontainers", now))
        assert [e["name"] for e in now["spec"]["ephemeralContainers"]] == ["debugger", "debugger2"]
        now["spec"]["ephemeralContainers"].pop()
        assert (await c.put(f"{PODS}/p/ephemeralcontainers", now)).status == 422

    with_server(test)


def test_lease_api() -> None:
    spec = {"holderIdentity": "holder", "leaseDurationSeconds": 30, "leaseTransitions": 0,
            "acquireTime": "2026-01-01T00:00:00.123456Z", "renewTime": "2026-01-01T00:00:00.123456Z"}  # fmt: skip
    lifecycle("coordination.k8s.io/v1", "Lease", "leases", {"spec": spec})


def test_node_lifecycle() -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "reason": "E2E"}]}
    lifecycle("v1", "Node", "nodes", {"spec": {"unschedulable": True}}, namespaced=False, status=status)


def template_fields() -> Json:
    """A PodTemplate without its head."""
    return {"template": {"metadata": {"labels": {"e2e": "yes"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}


def test_podtemplate_deletecollection() -> None:
    async def test(c: Client) -> None:
        for name in "abc":
            await made(c, TEMPLATES, object_("v1", "PodTemplate", name, **template_fields()))
        assert len((await fine(c.get(TEMPLATES, labelSelector=LABEL)))["items"]) == 3
        await fine(c.delete(TEMPLATES, labelSelector=LABEL))
        assert (await fine(c.get(TEMPLATES, labelSelector=LABEL)))["items"] == []

    with_server(test)


def test_podtemplate_replace() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, TEMPLATES, object_("v1", "PodTemplate", "t", **template_fields()))
        obj["metadata"]["annotations"] = {"updated": "true"}
        assert (await fine(c.put(f"{TEMPLATES}/t", obj)))["metadata"]["annotations"] == {"updated": "true"}

    with_server(test)


def test_pod_qos_class() -> None:
    async def test(c: Client) -> None:
        amounts = {"cpu": "100m", "memory": "100Mi"}
        obj = await made(c, PODS, pod(resources={"requests": amounts, "limits": amounts}))
        assert obj["status"]["qosClass"] == "Guaranteed"
        assert (await made(c, PODS, pod("q", resources={"requests": amounts})))["status"]["qosClass"] == "Burstable"
        assert (await made(c, PODS, pod("r")))["status"]["qosClass"] == "BestEffort"

    with_server(test)


async def running(c: Client, name: str = "p") -> None:
    """Give a pod a node and let it run, as a kubelet would say."""
    target = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"kind": "Node", "name": "n"},
    }
    assert (await c.post(f"{PODS}/{name}/binding", target)).status == 201
    await fine(c.patch(f"{PODS}/{name}/status", {"status": {"phase": "Running"}}))


def test_pod_submitted_and_removed() -> None:
    async def test(c: Client) -> None:
        async with c.watch(PODS, labelSelector=LABEL) as events:
            await made(c, PODS, pod())
            assert (await events.next())["type"] == "ADDED"
            await running(c)
            for _ in range(2):
                await events.next()
            going = await fine(c.delete(f"{PODS}/p", gracePeriodSeconds=30))
            assert going["metadata"]["deletionTimestamp"]
            assert going["metadata"]["deletionGracePeriodSeconds"] == 30
            told = await events.next()
            assert (told["type"], told["object"]["metadata"]["deletionGracePeriodSeconds"]) == ("MODIFIED", 30)
            uid = going["metadata"]["uid"]
            await fine(c.delete(f"{PODS}/p", {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}))
            told = await events.next()
            assert told["type"] == "DELETED"
            assert told["object"]["metadata"]["deletionTimestamp"]

    with_server(test)


def test_pod_update() -> None:
    async def test(c: Client) -> None:
        stale = await made(c, PODS, pod())
        now = await fine(c.patch(f"{PODS}/p", {"metadata": {"labels": {"time": "1"}}}))
        stale["metadata"]["labels"]["time"] = "2"
        refused = await c.put(f"{PODS}/p", stale)
        assert (refused.status, refused.body["reason"]) == (409, "Conflict")
        now["metadata"]["labels"]["time"] = "2"
        await fine(c.put(f"{PODS}/p", now))
        assert len((await fine(c.get(PODS, labelSelector="time=2")))["items"]) == 1

    with_server(test)


def test_pod_deletecollection() -> None:
    async def test(c: Client) -> None:
        for name in "abc":
            await made(c, PODS, pod(name))
        await running(c, "a")
        await fine(c.delete(PODS, {"gracePeriodSeconds": 0}, labelSelector=LABEL))
        assert (await fine(c.get(PODS)))["items"] == []

    with_server(test)


def test_pod_patch_status() -> None:
    async def test(c: Client) -> None:
        await made(c, PODS, pod())
        change = {"message": "Patched by e2e test", "reason": "E2E"}
        now = await fine(c.patch(f"{PODS}/p/status", {"status": change}))
        assert contains(now["status"], change)

    with_server(test)


def test_pod_lifecycle() -> None:
    async def test(c: Client) -> None:
        async with c.watch(PODS, labelSelector=LABEL) as events:
            await made(c, PODS, pod())
            await events.next()
            change = {"metadata": {"labels": {"patched": "true"}}, "spec": {"terminationGracePeriodSeconds": 30,
                      "containers": [{"name": "c", "image": "registry.k8s.io/pause:3.9"}]}}  # fmt: skip
            patched = await fine(c.patch(f"{PODS}/p", change, "strategic"))
            assert patched["spec"]["containers"][0]["image"] == "registry.k8s.io/pause:3.9"
            assert (await events.next())["type"] == "MODIFIED"
            status = {"conditions": [{"type": "Ready", "status": "True", "reason": "E2E"}]}
            await status_life(c, f"{PODS}/p", status)
            for _ in range(2):
                assert (await events.next())["type"] == "MODIFIED"
            await fine(c.delete(PODS, labelSelector=LABEL))
            assert (await events.next())["type"] == "DELETED"

    with_server(test)


def test_pod_generation_start_and_increment() -> None:
    async def test(c: Client) -> None:
        assert (await made(c, PODS, pod()))["metadata"]["generation"] == 1
        labelled = await fine(c.patch(f"{PODS}/p", {"metadata": {"labels": {"x": "y"}}}))
        assert labelled["metadata"]["generation"] == 1
        toleration = [{"key": "k", "operator": "Exists"}]
        for generation, change in enumerate((
            {"containers": [{"name": "c", "image": "nginx"}]}, {"activeDeadlineSeconds": 5000},
            {"tolerations": toleration},
        ), 2):  # fmt: skip
            now = await fine(c.patch(f"{PODS}/p", {"spec": change}, "strategic"))
            assert now["metadata"]["generation"] == generation
        observed = await fine(c.patch(f"{PODS}/p/status", {"status": {"observedGeneration": 4}}))
        assert (observed["status"]["observedGeneration"], observed["metadata"]["generation"]) == (4, 4)

    with_server(test)


def test_pod_generation_custom_set_graceful_delete() -> None:
    async def test(c: Client) -> None:
        obj = pod()
        obj["metadata"]["generation"] = 100
        now = await made(c, PODS, obj)
        assert now["metadata"]["generation"] == 1
        now["metadata"]["generation"] = 50
        assert (await fine(c.put(f"{PODS}/p", now)))["metadata"]["generation"] == 1
        await running(c)
        before = (await fine(c.get(f"{PODS}/p")))["metadata"]["generation"]
        going = await fine(c.delete(f"{PODS}/p", gracePeriodSeconds=30))
        assert going["metadata"]["generation"] == before + 1

    with_server(test)


def test_runtimeclass_api() -> None:
    lifecycle("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", {"handler": "handler"}, namespaced=False)


def test_runtimeclass_missing() -> None:
    async def test(c: Client) -> None:
        refused = await c.post(PODS, pod(runtimeClassName="nonexistent"))
        assert refused.status == 403
        assert refused.message == 'pods "p" is forbidden: pod rejected: RuntimeClass "nonexistent" not found'

    with_server(test)


def test_runtimeclass_deleted() -> None:
    async def test(c: Client) -> None:
        await made(c, CLASSES, object_("node.k8s.io/v1", "RuntimeClass", "r", handler="runc"))
        assert (await made(c, PODS, pod(runtimeClassName="r")))["spec"]["runtimeClassName"] == "r"
        await fine(c.delete(f"{CLASSES}/r"))
        while (refused := await c.post(PODS, pod("q", runtimeClassName="r"))).status == 201:
            await c.delete(f"{PODS}/q")  # the server's cache follows
        assert refused.status == 403

    with_server(test)


def test_sysctl_invalid_names() -> None:
    async def test(c: Client) -> None:
        names = ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..")
        sysctls = [{"name": n, "value": "100000000"} for n in names]
        refused = await c.post(PODS, pod(securityContext={"sysctls": sysctls}))
        assert refused.status == 422
        wrong = [x["field"] for x in refused.body["details"]["causes"]]
        assert wrong == ["spec.securityContext.sysctls[0].name", "spec.securityContext.sysctls[3].name"]
        assert 'Invalid value: "foo-"' in refused.message

    with_server(test)


def test_resize_put_resize() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, PODS, pod(resources={"requests": {"cpu": "10m"}, "limits": {"cpu": "20m"}}))
        obj["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "20m"}, "limits": {"cpu": "30m"}}
        now = await fine(c.put(f"{PODS}/p/resize", obj))
        assert now["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "20m"
        assert now["metadata"]["generation"] == 2
        more = [{"name": "c", "resources": {"requests": {"cpu": "15m"}}}]
        assert (await c.patch(f"{PODS}/p", {"spec": {"containers": more}}, "strategic")).status == 422
        now["spec"]["containers"][0]["image"] = "other"  # a resize leaves all else as it was
        assert (await fine(c.put(f"{PODS}/p/resize", now)))["spec"] == (await fine(c.get(f"{PODS}/p")))["spec"]
        assert (await fine(c.get(f"{PODS}/p")))["spec"]["containers"][0]["image"] != "other"

    with_server(test)


def test_resize_equivalents() -> None:
    async def test(c: Client) -> None:
        await made(c, PODS, pod(resources={"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}))
        same = [{"name": "c", "resources": {"requests": {"cpu": "0.1"}, "limits": {"cpu": "0.2"}}}]
        now = await fine(c.patch(f"{PODS}/p/resize", {"spec": {"containers": same}}, "strategic"))
        assert now["metadata"]["generation"] == 1
        assert now["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "100m"

    with_server(test)
