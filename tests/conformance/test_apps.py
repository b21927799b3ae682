"""apps: the API halves, where no controller has to act."""

from __future__ import annotations

from typing import Any

from lifecycles import CORE, LABEL, collection, condition, contains, fine, lifecycle, made, object_, status_life
from serving import PODS, Client, Json, with_server

DEPLOYMENTS = collection("apps/v1", "deployments")
SETS = collection("apps/v1", "replicasets")
STATEFUL = collection("apps/v1", "statefulsets")
DAEMONS = collection("apps/v1", "daemonsets")
JOBS = collection("batch/v1", "jobs")
BUDGETS = collection("policy/v1", "poddisruptionbudgets")
CONTROLLERS = f"{CORE}/replicationcontrollers"


def template(restart: str = "Always") -> Json:
    """A pod template."""
    spec = {"restartPolicy": restart, "containers": [{"name": "c", "image": "registry.k8s.io/pause:3.10"}]}
    return {"metadata": {"labels": {"e2e": "yes"}}, "spec": spec}


def workload(kind: str, name: str = "w", replicas: int | None = 1, **spec: Any) -> Json:
    """A workload of apps/v1."""
    fields: Json = {"selector": {"matchLabels": {"e2e": "yes"}}, "template": template(), **spec}
    if replicas is not None:
        fields["replicas"] = replicas
    return object_("apps/v1", kind, name, spec=fields)


def job(name: str = "j", **spec: Any) -> Json:
    """A Job."""
    return object_("batch/v1", "Job", name, spec={"template": template("Never"), **spec})


def status_of(path: str, obj: Json, status: Json) -> None:
    """/status of an object."""

    async def test(c: Client) -> None:
        await made(c, path, obj)
        await status_life(c, f"{path}/{obj['metadata']['name']}", status)

    with_server(test)


def scale_of(path: str, obj: Json) -> None:
    """/scale: get, update, patch."""

    async def test(c: Client) -> None:
        await made(c, path, obj)
        one = f"{path}/{obj['metadata']['name']}"
        scale = await fine(c.get(f"{one}/scale"))
        assert (scale["kind"], scale["apiVersion"], scale["spec"]["replicas"]) == ("Scale", "autoscaling/v1", 1)
        assert scale["status"]["selector"] == LABEL
        scale["spec"]["replicas"] = 2
        assert (await fine(c.put(f"{one}/scale", scale)))["spec"]["replicas"] == 2
        assert (await fine(c.get(one)))["spec"]["replicas"] == 2
        await fine(c.patch(f"{one}/scale", {"spec": {"replicas": 4}}))
        assert (await fine(c.get(one)))["spec"]["replicas"] == 4

    with_server(test)


def collected(path: str, first: Json, second: Json) -> None:
    """List by label, patch, delete as a collection."""

    async def test(c: Client) -> None:
        for obj in (first, second):
            await made(c, path, obj)
        assert len((await fine(c.get(path, labelSelector=LABEL)))["items"]) == 2
        one = f"{path}/{first['metadata']['name']}"
        patched = await fine(c.patch(one, {"metadata": {"labels": {"patched": "true"}}, "spec": {"replicas": 3}}))
        assert (patched["metadata"]["labels"]["patched"], patched["spec"]["replicas"]) == ("true", 3)
        await fine(c.delete(path, labelSelector="patched=true"))
        left = (await fine(c.get(path, labelSelector=LABEL)))["items"]
        assert [o["metadata"]["name"] for o in left] == [second["metadata"]["name"]]
        await fine(c.delete(path, labelSelector=LABEL))
        assert (await fine(c.get(path)))["items"] == []

    with_server(test)


def test_cronjob_api() -> None:
    spec = {"schedule": "* */1 * * *", "concurrencyPolicy": "Allow",
            "jobTemplate": {"spec": {"template": template("OnFailure")}}}  # fmt: skip
    status = {"lastScheduleTime": "2026-01-01T00:00:00Z"}
    lifecycle("batch/v1", "CronJob", "cronjobs", {"spec": spec}, status=status)


def test_daemonset_status() -> None:
    status_of(DAEMONS, workload("DaemonSet", replicas=None), {"conditions": [condition()]})


def test_deployment_scale() -> None:
    scale_of(DEPLOYMENTS, workload("Deployment"))


def test_deployment_status() -> None:
    status_of(DEPLOYMENTS, workload("Deployment"), {"conditions": [condition()]})


def test_deployment_lifecycle() -> None:
    async def test(c: Client) -> None:
        async with c.watch(DEPLOYMENTS, labelSelector=LABEL) as events:
            await made(c, DEPLOYMENTS, workload("Deployment"))
            assert (await events.next())["type"] == "ADDED"
            one = f"{DEPLOYMENTS}/w"
            image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}, "replicas": 2}}
            patched = await fine(c.patch(one, image, "strategic"))
            assert patched["metadata"]["generation"] == 2
            assert [x["image"] for x in patched["spec"]["template"]["spec"]["containers"]] == ["nginx"]
            assert (await events.next())["object"]["spec"]["replicas"] == 2
            everywhere = await fine(c.get("/apis/apps/v1/deployments", labelSelector=LABEL))
            assert [d["metadata"]["name"] for d in everywhere["items"]] == ["w"]
            await status_life(c, one, {"readyReplicas": 1, "replicas": 1})
            for _ in range(2):
                assert (await events.next())["object"]["status"]["readyReplicas"] == 1
            await fine(c.delete(DEPLOYMENTS, labelSelector=LABEL))
            assert (await events.next())["type"] == "DELETED"

    with_server(test)


def test_pdb_crud() -> None:
    spec = {"selector": {"matchLabels": {"foo": "bar"}}, "minAvailable": "1%"}
    lifecycle("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", {"spec": spec})


def test_pdb_status_update_patch() -> None:
    spec = {"selector": {"matchLabels": {"foo": "bar"}}, "minAvailable": 1}
    status = {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1,
              "expectedPods": 2, "disruptedPods": {"p": "2026-01-01T00:00:00Z"}}  # fmt: skip
    status_of(BUDGETS, object_("policy/v1", "PodDisruptionBudget", "b", spec=spec), status)


def test_pdb_eviction_blocked() -> None:
    async def test(c: Client) -> None:
        await made(c, PODS, object_("v1", "Pod", "p", spec=template()["spec"]))
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await fine(c.patch(f"{PODS}/p/status", {"status": ready}))
        spec = {"selector": {"matchLabels": {"e2e": "yes"}}, "minAvailable": 1}
        await made(c, BUDGETS, object_("policy/v1", "PodDisruptionBudget", "b", spec=spec))
        observed = {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1,
                    "expectedPods": 1}  # fmt: skip
        await fine(c.patch(f"{BUDGETS}/b/status", {"status": observed}))
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        refused = await c.post(f"{PODS}/p/eviction", eviction)
        assert refused.status == 429
        assert refused.message == "Cannot evict pod as it would violate the pod's disruption budget."
        assert refused.body["details"]["causes"][0]["reason"] == "DisruptionBudget"
        await fine(c.patch(f"{BUDGETS}/b/status", {"status": {"disruptionsAllowed": 1}}))
        assert (await c.post(f"{PODS}/p/eviction", eviction)).status == 201
        assert "p" in (await fine(c.get(f"{BUDGETS}/b")))["status"]["disruptedPods"]

    with_server(test)


def test_job_status() -> None:
    status_of(JOBS, job(), {"conditions": [condition("CustomConditionType")]})


def test_job_lifecycle() -> None:
    async def test(c: Client) -> None:
        one = f"{JOBS}/j"
        assert (await made(c, JOBS, job(suspend=True, parallelism=2)))["spec"]["suspend"] is True
        patched = await fine(c.patch(one, {"metadata": {"labels": {"patched": "yes"}}}))
        patched["metadata"].setdefault("annotations", {})["updated"] = "true"
        replaced = await fine(c.put(one, patched))
        assert replaced["metadata"]["annotations"]["updated"] == "true"
        replaced["spec"]["suspend"] = False
        assert (await fine(c.put(one, replaced)))["spec"]["suspend"] is False
        everywhere = await fine(c.get("/apis/batch/v1/jobs", labelSelector="patched=yes"))
        assert len(everywhere["items"]) == 1
        await fine(c.delete(JOBS, {"propagationPolicy": "Background"}, labelSelector="patched=yes"))
        assert (await c.get(one)).status == 404

    with_server(test)


def test_replicaset_replace_patch() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, SETS, workload("ReplicaSet"))
        obj["spec"]["replicas"] = 2
        assert (await fine(c.put(f"{SETS}/w", obj)))["metadata"]["generation"] == 2
        change = {"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3, "template": {"spec": {
            "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "nginx"}]}}}}  # fmt: skip
        patched = await fine(c.patch(f"{SETS}/w", change, "strategic"))
        assert contains(patched, {"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3}})
        assert patched["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx"

    with_server(test)


def test_replicaset_scale() -> None:
    scale_of(SETS, workload("ReplicaSet"))


def test_replicaset_list_deletecollection() -> None:
    collected(SETS, workload("ReplicaSet", "a"), workload("ReplicaSet", "b"))


def test_replicaset_status() -> None:
    status_of(SETS, workload("ReplicaSet"), {"conditions": [condition()]})


def test_rc_lifecycle() -> None:
    async def test(c: Client) -> None:
        one = f"{CONTROLLERS}/rc"
        spec = {"replicas": 1, "selector": {"e2e": "yes"}, "template": template()}
        async with c.watch(CONTROLLERS, labelSelector=LABEL) as events:
            await made(c, CONTROLLERS, object_("v1", "ReplicationController", "rc", spec=spec))
            assert (await events.next())["type"] == "ADDED"
            patched = await fine(c.patch(one, {"metadata": {"labels": {"patched": "true"}}}, "strategic"))
            assert patched["metadata"]["labels"]["patched"] == "true"
            await events.next()
            await fine(c.patch(f"{one}/status", {"status": {"readyReplicas": 0, "availableReplicas": 0,
                                                            "observedGeneration": 1}}))  # fmt: skip
            await events.next()
            assert (await fine(c.get(f"{one}/status")))["status"]["observedGeneration"] == 1
            assert (await fine(c.patch(f"{one}/scale", {"spec": {"replicas": 2}})))["spec"]["replicas"] == 2
            assert (await events.next())["object"]["spec"]["replicas"] == 2
            whole = await fine(c.get(one))
            whole["spec"]["replicas"] = 1
            await fine(c.put(one, whole))
            await events.next()
            listed = await fine(c.get("/api/v1/replicationcontrollers", labelSelector=LABEL))
            assert len(listed["items"]) == 1
            await fine(c.delete(CONTROLLERS, labelSelector=LABEL))
            assert (await events.next())["type"] == "DELETED"

    with_server(test)


def test_statefulset_scale() -> None:
    scale_of(STATEFUL, workload("StatefulSet", serviceName="test"))


def test_statefulset_list_patch_deletecollection() -> None:
    collected(STATEFUL, workload("StatefulSet", "a", serviceName="s"), workload("StatefulSet", "b", serviceName="s"))


def test_statefulset_status() -> None:
    status_of(STATEFUL, workload("StatefulSet", serviceName="s"), {"conditions": [condition()]})
