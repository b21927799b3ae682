"""Behaviours of workloads whose containers run, on a real cluster, and of kubectl with them."""

from __future__ import annotations

import json
import re
from typing import Any

import clusterup
import pytest
from podworld import NAMESPACE, PODS, Api, Json

pytestmark = [*clusterup.NEEDS, pytest.mark.xdist_group("cluster")]
JOBS = "/apis/batch/v1/namespaces/e2e/jobs"
CONTROLLERS, SETS = f"{NAMESPACE}/replicationcontrollers", "/apis/apps/v1/namespaces/e2e/replicasets"


def template(name: str, *command: str, image: str = "busybox", policy: str = "Always", **container: Any) -> Json:
    """Of pods with the label app=name."""
    spec = {"name": "c", "image": image, **({"command": list(command)} if command else {}), **container}
    return {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [spec], "restartPolicy": policy, "terminationGracePeriodSeconds": 1,
                     "automountServiceAccountToken": False}}  # fmt: skip


def job(api: Api, name: str, *command: str, policy: str = "Never", **spec: Any) -> str:
    """Make one: its path."""
    api.make(JOBS, {"metadata": {"name": name}, "spec": {"template": template(name, *command, policy=policy), **spec}})
    return f"{JOBS}/{name}"


def ended(found: Json) -> Json | None:
    """The condition that says that a job is over."""
    conditions = found.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def pods_of(api: Api, name: str) -> list[Json]:
    found: list[Json] = api.get(f"{PODS}?labelSelector=app%3D{name}")["items"]
    return found


def test_job_indexed(api: Api) -> None:
    command = ("sh", "-c", "echo $JOB_COMPLETION_INDEX $(hostname)")
    path = job(api, "indexed", *command, completions=3, parallelism=3, completionMode="Indexed")
    found = api.until(path, ended)
    assert (found["status"]["succeeded"], found["status"]["completedIndexes"]) == (3, "0-2")
    said = sorted(api.log(pod["metadata"]["name"]) for pod in pods_of(api, "indexed"))
    assert said == [f"{i} indexed-{i}\n" for i in range(3)]
    key = "batch.kubernetes.io/job-completion-index"
    for pod in pods_of(api, "indexed"):
        assert pod["metadata"]["annotations"][key] == pod["metadata"]["labels"][key]


def test_job_local_restarts(api: Api) -> None:
    script = "[ -e /v/once ] || { touch /v/once; exit 1; }"
    spec = template(
        "restarting", "sh", "-c", script, policy="OnFailure", volumeMounts=[{"name": "v", "mountPath": "/v"}]
    )
    spec["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    api.make(JOBS, {"metadata": {"name": "restarting"}, "spec": {"template": spec, "completions": 2, "parallelism": 2}})
    done = api.until(f"{JOBS}/restarting", ended)
    assert done["status"]["succeeded"] == 2 and not done["status"].get("failed")
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods_of(api, "restarting")]
    assert restarts == [1, 1]


def test_job_podfailurepolicy_exit_code(api: Api) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}}
    path = job(api, "policy", "sh", "-c", "exit 42", podFailurePolicy={"rules": [rule]})
    done = ended(api.until(path, ended))
    assert done is not None and (done["type"], done["reason"]) == ("Failed", "PodFailurePolicy")
    assert len(pods_of(api, "policy")) == 1


def test_job_podfailurepolicy_ignore_disruptiontarget(api: Api) -> None:
    """The first pod is evicted, the next one finds what it waits for."""
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    wait = "until [ -e /go/now ]; do sleep 0.1; done"
    spec = template("evicted", "sh", "-c", wait, policy="Never", volumeMounts=[{"name": "go", "mountPath": "/go"}])
    spec["spec"]["volumes"] = [{"name": "go", "configMap": {"name": "go", "optional": True}}]
    body = {"template": spec, "backoffLimit": 0, "podFailurePolicy": {"rules": [rule]}}
    path = f"{JOBS}/{api.make(JOBS, {'metadata': {'name': 'evicted'}, 'spec': body})['metadata']['name']}"
    api.until(path, lambda found: found.get("status", {}).get("ready") == 1)
    (pod,) = pods_of(api, "evicted")
    name = pod["metadata"]["name"]
    api.make(f"{PODS}/{name}/eviction", {"metadata": {"name": name}})
    # not before it has gone, or it would find that, too
    api.until(
        f"{PODS}?labelSelector=app%3Devicted",
        lambda listed: name not in [p["metadata"]["name"] for p in listed["items"]],
    )
    api.make(f"{NAMESPACE}/configmaps", {"metadata": {"name": "go"}, "data": {"now": "1"}})
    done = ended(found := api.until(path, ended))
    assert done is not None and done["type"] == "Complete" and not found["status"].get("failed")


def answers(api: Api, name: str) -> None:
    """Each of two replicas tells its name over HTTP, asked through the API server."""
    api.until(f"{PODS}?labelSelector=app%3D{name}", lambda listed: _running(listed["items"]) == 2)
    for pod in pods_of(api, name):
        own = pod["metadata"]["name"]
        api.answer(f"{PODS}/{own}:9376/proxy/", lambda text, own=own: text == f"{own}\n")  # type: ignore[misc]


def _running(pods: list[Json]) -> int:
    return sum(pod["status"].get("phase") == "Running" for pod in pods)


def test_replicaset_basic_image(api: Api) -> None:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "rs"}}, "template": template("rs", image="hostnames")}
    api.make(SETS, {"metadata": {"name": "rs"}, "spec": spec})
    answers(api, "rs")


def test_rc_basic_image(api: Api) -> None:
    spec = {"replicas": 2, "selector": {"app": "rc"}, "template": template("rc", image="hostnames")}
    api.make(CONTROLLERS, {"metadata": {"name": "rc"}, "spec": spec})
    answers(api, "rc")


def controller(api: Api, name: str, image: str = "hostnames") -> None:
    """A ReplicationController of two, by kubectl."""
    spec = {"replicas": 2, "selector": {"app": name}, "template": template(name, image=image)}
    kinds = {"apiVersion": "v1", "kind": "ReplicationController"}
    api.kubectl("create", "-f", "-", given=json.dumps({**kinds, "metadata": {"name": name}, "spec": spec}))


def shown(api: Api, name: str) -> list[str]:
    """The pods that kubectl shows to run."""
    form = '{{range .items}}{{if eq .status.phase "Running"}}{{.metadata.name}} {{end}}{{end}}'
    return api.kubectl("get", "pods", "-l", f"app={name}", "-o", f"template={form}").split()


def test_kubectl_rc_create_stop(api: Api) -> None:
    controller(api, "stopped")
    api.until(f"{PODS}?labelSelector=app%3Dstopped", lambda listed: _running(listed["items"]) == 2)
    assert len(shown(api, "stopped")) == 2
    api.kubectl("delete", "rc", "stopped", "--cascade=foreground")
    assert api.kubectl("get", "rc,pods", "-l", "app=stopped", "-o", "name") == ""


def test_kubectl_scale_rc(api: Api) -> None:
    controller(api, "scaled")
    for count in (1, 2):
        api.kubectl("scale", "rc", "scaled", f"--replicas={count}", "--timeout=5m")
        api.until(
            f"{PODS}?labelSelector=app%3Dscaled",
            lambda listed, count=count: (
                _running([p for p in listed["items"] if "deletionTimestamp" not in p["metadata"]]) == count
            ),  # type: ignore[misc]
        )
    assert len(shown(api, "scaled")) >= 2


def test_kubectl_logs(api: Api) -> None:
    script = "for i in 1 2 3; do echo line $i; done; exec sleep 100000"
    api.make(PODS, {"metadata": {"name": "logging"}, "spec": template("logging", "sh", "-c", script)["spec"]})
    api.until(
        f"{PODS}/logging", lambda pod: pod["status"].get("phase") == "Running" and api.log("logging").count("\n") == 3
    )
    assert api.kubectl("logs", "logging") == "line 1\nline 2\nline 3\n"
    assert api.kubectl("logs", "logging", "--tail=1") == "line 3\n"
    assert api.kubectl("logs", "logging", "--limit-bytes=1") == "l"
    stamped = api.kubectl("logs", "logging", "--tail=1", "--timestamps")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z line 3\n", stamped)
    assert api.kubectl("logs", "logging", "--since=24h").count("\n") == 3
    assert api.kubectl("logs", "logging", "--since-time=2100-01-01T00:00:00Z") == ""
