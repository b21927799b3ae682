"""What admission changes and refuses: accounts, limits, quotas, priorities, classes."""

from types import SimpleNamespace
from typing import Any

import pytest
from serving import MAPS, PODS, Client, config_map, pod, with_server

from netlab.apiserver.admission import accounts

CORE = "/api/v1/namespaces/default"


def sized(name: str = "p", **resources: Any) -> Any:
    obj = pod(name)
    obj["spec"]["containers"][0]["resources"] = resources
    return obj


def test_a_pod_runs_as_somebody() -> None:
    async def test(c: Client) -> None:
        await c.post(f"{CORE}/serviceaccounts", {"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "s"}]})
        spec = (await c.post(PODS, pod())).body["spec"]
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
        assert spec["imagePullSecrets"] == [{"name": "s"}]
        mount = spec["containers"][0]["volumeMounts"][0]
        assert (mount["mountPath"], mount["readOnly"]) == ("/var/run/secrets/kubernetes.io/serviceaccount", True)
        assert spec["volumes"][0]["name"] == mount["name"]
        bare = (await c.post(PODS, pod("bare", automountServiceAccountToken=False))).body["spec"]
        assert "volumes" not in bare
        refused = await c.post(PODS, pod("x", serviceAccountName="nobody"))
        assert refused.message == (
            'pods "x" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
        )

    with_server(test, accounts_required=True)


def test_a_pod_waits_for_the_account_that_its_namespace_is_about_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes a namespace and a pod in it does not know of the controller between the two."""

    async def test(c: Client) -> None:
        async def meanwhile(_: float) -> None:
            await c.post(f"{CORE}/serviceaccounts", {"metadata": {"name": "default"}})

        monkeypatch.setattr(accounts, "asyncio", SimpleNamespace(sleep=meanwhile))
        assert (await c.post(PODS, pod())).body["spec"]["serviceAccountName"] == "default"

    with_server(test, accounts_required=True)


def test_a_pod_of_a_namespace_that_gets_no_account_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "LOOK", 0.0)

    async def test(c: Client) -> None:
        refused = await c.post(PODS, pod())
        assert refused.message == (
            'pods "p" is forbidden: error looking up service account default/default: '
            'serviceaccount "default" not found'
        )

    with_server(test, accounts_required=True)


def test_priorities() -> None:
    async def test(c: Client) -> None:
        spec = (await c.post(PODS, pod(priorityClassName="system-node-critical"))).body["spec"]
        assert spec["priority"] == 2000001000
        refused = await c.post(PODS, pod("x", priorityClassName="nope"))
        assert refused.message == 'pods "x" is forbidden: no PriorityClass with name nope was found'

    with_server(test)


def test_limits() -> None:
    async def test(c: Client) -> None:
        limit = {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
                 "max": {"memory": "1Gi"}, "min": {"cpu": "50m"}}  # fmt: skip
        made = await c.post(f"{CORE}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [limit]}})
        assert made.body["spec"]["limits"][0]["default"] == {"cpu": "500m", "memory": "1Gi"}
        got = (await c.post(PODS, pod())).body
        assert got["spec"]["containers"][0]["resources"] == {
            "limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"},
        }  # fmt: skip
        assert got["status"]["qosClass"] == "Burstable"
        over = await c.post(PODS, sized("x", limits={"memory": "2Gi"}, requests={"memory": "1Gi"}))
        assert over.message == 'pods "x" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi'

    with_server(test)


def test_quotas() -> None:
    async def test(c: Client) -> None:
        hard = {"pods": "2", "requests.cpu": "1", "configmaps": "1"}
        await c.post(f"{CORE}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
        async with c.watch(f"{CORE}/resourcequotas") as events:
            await events.next()
        missing = await c.post(PODS, pod())
        assert missing.message == 'pods "p" is forbidden: failed quota: q: must specify requests.cpu for: c'
        assert (await c.post(PODS, sized("a", requests={"cpu": "600m"}))).status == 201
        over = await c.post(PODS, sized("b", requests={"cpu": "600m"}))
        assert (over.status, over.message) == (
            403, 'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, '
            "limited: requests.cpu=1",
        )  # fmt: skip
        status = (await c.get(f"{CORE}/resourcequotas/q")).body["status"]
        assert status["used"] == {"pods": "1", "requests.cpu": "600m", "configmaps": "0"}
        assert (await c.post(MAPS, config_map())).status == 201
        assert (await c.post(MAPS, config_map())).status in (403, 409)
        used = (await c.get(f"{CORE}/resourcequotas/q")).body["status"]["used"]
        assert used["configmaps"] == "1"

    with_server(test)


def test_claims_get_a_class_and_are_protected() -> None:
    async def test(c: Client) -> None:
        mark = {"storageclass.kubernetes.io/is-default-class": "true"}
        await c.post("/apis/storage.k8s.io/v1/storageclasses", {
            "metadata": {"name": "fast", "annotations": mark}, "provisioner": "x",
        })  # fmt: skip
        async with c.watch("/apis/storage.k8s.io/v1/storageclasses") as events:
            await events.next()
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
        claim = (await c.post(f"{CORE}/persistentvolumeclaims", {"metadata": {"name": "d"}, "spec": spec})).body
        assert claim["spec"]["storageClassName"] == "fast"
        assert claim["spec"]["resources"]["requests"] == {"storage": "1Gi"}
        assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        assert claim["status"] == {"phase": "Pending"}

    with_server(test)


def test_jobs_and_secrets_get_what_strategies_set() -> None:
    async def test(c: Client) -> None:
        job = {"metadata": {"name": "j"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}],
        }}}}  # fmt: skip
        made = (await c.post("/apis/batch/v1/namespaces/default/jobs", job)).body
        uid = made["metadata"]["uid"]
        assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
        assert (made["spec"]["backoffLimit"], made["spec"]["completions"]) == (6, 1)
        secret = (await c.post(f"{CORE}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})).body
        assert (secret["data"], secret["type"], "stringData" in secret) == ({"a": "Yg=="}, "Opaque", False)

    with_server(test)


def test_presets() -> None:
    async def test(c: Client) -> None:
        path = "/apis/settings.k8s.io/v1alpha1/namespaces/default/podpresets"
        preset = {
            "apiVersion": "settings.k8s.io/v1alpha1", "kind": "PodPreset", "metadata": {"name": "db"},
            "spec": {
                "selector": {"matchLabels": {"role": "frontend"}}, "env": [{"name": "DB_PORT", "value": "6379"}],
                "volumeMounts": [{"mountPath": "/cache", "name": "cache"}], "volumes": [{"name": "cache", "emptyDir": {}}],
            },
        }  # fmt: skip
        assert (await c.post(path, preset)).status == 201
        async with c.watch(path) as events:
            await events.next()
        website = pod("website")
        website["metadata"]["labels"] = {"role": "frontend"}
        got = (await c.post(PODS, website)).body
        assert got["spec"]["containers"][0]["env"] == [{"name": "DB_PORT", "value": "6379"}]
        assert got["spec"]["volumes"] == [{"name": "cache", "emptyDir": {}}]
        assert "podpreset.admission.kubernetes.io/podpreset-db" in got["metadata"]["annotations"]
        website["metadata"]["name"] = "own"
        website["spec"]["containers"][0]["env"] = [{"name": "DB_PORT", "value": "1"}]
        own = (await c.post(PODS, website)).body
        assert own["spec"]["containers"][0]["env"] == [{"name": "DB_PORT", "value": "1"}]
        assert "volumes" not in own["spec"]

    with_server(test)
