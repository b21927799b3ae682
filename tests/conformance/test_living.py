"""Behaviours of pods that live on, on a real cluster: restarts, probes, hooks, what is changed while they run.

All pods are made before the first test looks at one: their time passes at once.
"""

from __future__ import annotations

import json
import time
from typing import Any

import clusterup
import pytest
from podcases import on
from podworld import NODES, PODS, Api, Json, Refused, container

pytestmark = [*clusterup.NEEDS, pytest.mark.xdist_group("cluster")]
SLEEP = "trap 'exit 0' TERM; sleep 100000 & wait"
#: seconds that a taint is tolerated: longer than it is there
TOLERATED = 20
_EMPTY = {"volumes": [{"name": "v", "emptyDir": {}}]}


def pod(script: str = SLEEP, *, probes: Json | None = None, metadata: Json | None = None, **spec: Any) -> Json:
    """A pod of one container. probes: and hooks, of it."""
    asked = {name: {"periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 1, **probe}
             if name.endswith("Probe") else probe for name, probe in (probes or {}).items()}  # fmt: skip
    return {"metadata": metadata or {}, "spec": {"containers": [container(script, **asked)], **spec}}


def _http(path: str = "/", port: int = 9376) -> Json:
    return {"httpGet": {"path": path, "port": port}}


def serving(**probes: Json) -> Json:
    """A pod that answers HTTP on port 9376, with probes."""
    made = pod(probes=probes)
    made["spec"]["containers"][0] |= {"image": "hostnames"}
    del made["spec"]["containers"][0]["command"]
    return made


def _expanding(script: str, path: str, **more: Any) -> Json:
    """A pod whose volume is mounted at a path that is made of an annotation."""
    case = on({"emptyDir": {}}, script, "", mount={"subPathExpr": path},
              env=[{"name": "DIR", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['dir']"}}}])  # fmt: skip
    return {"metadata": {"annotations": {"dir": more.get("dir", "made")}}, "spec": case.spec}


MANIFESTS: dict[str, Json] = {
    "always": pod("exit 0"), "on-failure": pod("exit 0", restartPolicy="OnFailure"),
    "on-failure-bad": pod("[ -e /v/once ] || { touch /v/once; exit 1; }", restartPolicy="OnFailure", **_EMPTY),
    "never-bad": pod("exit 1", restartPolicy="Never"),
    "init-bad": pod(initContainers=[{"name": "bad", "image": "busybox", "command": ["false"]}]),
    "crashing": pod("exit 1"), "deadline": pod(), "ephemeral": pod(), "target": pod("exec httpd -f -vv -p 9376 -h /etc 2>&1"),
    "tolerant": pod(nodeName="control-plane", tolerations=[
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"},
        {"key": "e2e", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED}]),
    "http-ok": serving(livenessProbe={**_http(), "failureThreshold": 5}), "tcp-ok": serving(livenessProbe={"tcpSocket": {"port": 9376}, "failureThreshold": 5}),
    "http-failing": serving(livenessProbe=_http("/missing")),
    "grpc-failing": serving(livenessProbe={"grpc": {"port": 2333}}),
    "exec-failing": pod(f"touch /tmp/ok; (sleep 2; rm /tmp/ok) & {SLEEP}",
                        probes={"livenessProbe": {"exec": {"command": ["cat", "/tmp/ok"]}}}),
    "late": serving(readinessProbe={**_http(), "initialDelaySeconds": 6}),
    "never-ready": serving(readinessProbe=_http("/missing")),
    "expands-absolute": _expanding("true", "$(DIR)", dir="/absolute"),
    "expands-later": _expanding(f"echo here >/v/f; {SLEEP}", "$(DIR)", dir="/absolute"),
}  # fmt: skip
MANIFESTS["on-failure-bad"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]


@pytest.fixture(scope="module")
def untainted(api: Api) -> float:
    """Makes all pods; when the taint was taken off that one of them tolerates for a while."""
    for name, manifest in MANIFESTS.items():
        body = {**manifest, "metadata": {"name": name, **manifest.get("metadata", {})}}
        body["spec"] = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1, **body["spec"]}
        api.make(PODS, body)
    api.until(at("tolerant"), is_ready)
    taints = f"{NODES}/control-plane"
    before = api.get(taints)["spec"].get("taints") or []
    for there in ([*before, {"key": "e2e", "effect": "NoExecute"}], before):
        api.patch(taints, {"spec": {"taints": there}}, "application/merge-patch+json")
    return time.monotonic()


@pytest.fixture
def living(api: Api, untainted: float) -> Api:
    """The API of a cluster with the pods."""
    del untainted
    return api


def at(name: str) -> str:
    return f"{PODS}/{name}"


def of(found: Json) -> Json:
    """The status of the first container; nothing if there is none yet."""
    statuses: list[Json] = found["status"].get("containerStatuses") or [{"restartCount": 0, "state": {}}]
    return statuses[0]


def phase(found: Json) -> str:
    return str(found["status"].get("phase", ""))


def condition(found: Json, kind: str) -> Json:
    return next((c for c in found["status"].get("conditions") or () if c["type"] == kind), {"status": "Unknown"})


def is_ready(found: Json) -> bool:
    return bool(condition(found, "Ready")["status"] == "True")


def restarted(living: Api, name: str) -> None:
    living.until(at(name), lambda found: of(found)["restartCount"] >= 1)


def seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


def test_restart_policy_phases(living: Api) -> None:
    found = living.until(at("always"), lambda p: of(p)["restartCount"] >= 2 and "waiting" in of(p)["state"])
    assert (phase(found), is_ready(found)) == ("Running", False)
    for name, ended, times, reason in (
        ("on-failure", "Succeeded", 0, "Completed"), ("on-failure-bad", "Succeeded", 1, "Completed"),
        ("never-bad", "Failed", 0, "Error"),
    ):  # fmt: skip
        found = living.until(at(name), lambda p: phase(p) in ("Succeeded", "Failed"))
        told = of(found)
        assert (phase(found), told["restartCount"], told["state"]["terminated"]["reason"]) == (ended, times, reason)
        assert not is_ready(found)


def test_init_fails_restartalways(living: Api) -> None:
    found = living.until(
        at("init-bad"), lambda p: any(c["restartCount"] >= 2 for c in p["status"].get("initContainerStatuses") or ())
    )
    assert phase(found) == "Pending" and condition(found, "Initialized")["status"] == "False"
    assert of(found)["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_failing_pod_can_be_deleted(living: Api) -> None:
    living.until(at("crashing"), lambda p: "waiting" in of(p)["state"])
    gone(living, "crashing")


def gone(living: Api, name: str) -> None:
    """Delete a pod, and wait until it is not there."""
    living.delete(at(name))
    with pytest.raises(Refused) as refused:
        living.until(at(name), lambda _: False)
    assert refused.value.code == 404


def test_pod_activedeadlineseconds_update(living: Api) -> None:
    living.until(at("deadline"), is_ready)
    living.patch(at("deadline"), {"spec": {"activeDeadlineSeconds": 1}})
    found = living.until(at("deadline"), lambda p: phase(p) == "Failed")
    assert found["status"]["reason"] == "DeadlineExceeded"


def test_ephemeral_containers_start(living: Api) -> None:
    living.until(at("ephemeral"), is_ready)
    added = {"name": "debugger", "image": "busybox", "command": ["sh", "-c", f"echo polo; {SLEEP}"], "stdin": True}
    living.patch(f"{at('ephemeral')}/ephemeralcontainers", {"spec": {"ephemeralContainers": [added]}})
    living.until(
        at("ephemeral"),
        lambda p: "running" in (p["status"].get("ephemeralContainerStatuses") or [{}])[0].get("state", {}),
    )
    end = living.until(at("ephemeral"), lambda _: living.log("ephemeral", "debugger"))
    assert living.log("ephemeral", "debugger") == "polo\n" and of(end)["restartCount"] == 0


def test_liveness_http_ok(living: Api) -> None:
    lives(living, "http-ok")


def test_liveness_tcp_ok(living: Api) -> None:
    lives(living, "tcp-ok")


def lives(living: Api, name: str) -> None:
    """It is probed every second, and not restarted."""
    found = living.until(at(name), is_ready)
    since = seconds(of(found)["state"]["running"]["startedAt"])
    living.until(at(name), lambda _: time.mktime(time.gmtime()) - since > 5)
    assert of(living.get(at(name)))["restartCount"] == 0


def test_liveness_http_failure(living: Api) -> None:
    restarted(living, "http-failing")


def test_liveness_grpc_failure(living: Api) -> None:
    restarted(living, "grpc-failing")


def test_liveness_exec_failure(living: Api) -> None:
    restarted(living, "exec-failing")


def test_readiness_initialdelay(living: Api) -> None:
    found = living.until(at("late"), is_ready)
    told = of(found)
    waited = seconds(condition(found, "Ready")["lastTransitionTime"]) - seconds(told["state"]["running"]["startedAt"])
    assert waited >= 5 and told["restartCount"] == 0  # stamps are whole seconds


def test_readiness_failure(living: Api) -> None:
    living.until("/api/v1/namespaces/e2e/events?fieldSelector=involvedObject.name%3Dnever-ready",
                 lambda listed: any(e["reason"] == "Unhealthy" for e in listed["items"]))  # fmt: skip
    found = living.get(at("never-ready"))
    assert not is_ready(found) and of(found)["restartCount"] == 0


def test_subpathexpr_absolute(living: Api) -> None:
    found = living.until(at("expands-absolute"), lambda p: "waiting" in of(p)["state"] and "reason" in of(p)["state"]["waiting"]
                         and of(p)["state"]["waiting"]["reason"] != "ContainerCreating")  # fmt: skip
    assert of(found)["state"]["waiting"]["reason"] == "CreateContainerConfigError" and of(found)["restartCount"] == 0


def test_subpathexpr_fixed_later(living: Api) -> None:
    living.until(at("expands-later"),
                 lambda p: (of(p)["state"].get("waiting") or {}).get("reason") == "CreateContainerConfigError")  # fmt: skip
    living.patch(at("expands-later"), {"metadata": {"annotations": {"dir": "made"}}})
    assert of(living.until(at("expands-later"), is_ready))["restartCount"] == 0


def told_by(living: Api, mark: str, **lifecycle: Json) -> None:
    """A pod is deleted, and its hook asks the pod `target`, whose log says so."""
    address = living.until(at("target"), is_ready)["status"]["podIP"]
    name = f"hooked-{mark}"
    url = f"http://{address}:9376/{mark}"
    hook = json.loads(json.dumps(lifecycle).replace("URL", url).replace("ADDRESS", address))
    body = pod(probes={"lifecycle": hook}, terminationGracePeriodSeconds=30, automountServiceAccountToken=False)
    living.make(PODS, {**body, "metadata": {"name": name}})
    living.until(at(name), is_ready)
    living.delete(at(name), 30)
    living.until(at("target"), lambda _: f"/{mark}" in living.log("target"))
    with pytest.raises(Refused):
        living.until(at(name), lambda _: False)


def test_hook_prestop_exec(living: Api) -> None:
    told_by(living, "exec", preStop={"exec": {"command": ["wget", "-q", "-O-", "URL"]}})


def test_hook_prestop_http(living: Api) -> None:
    told_by(living, "http", preStop={"httpGet": {"host": "ADDRESS", "port": 9376, "path": "/http"}})


def test_prestop_on_delete(living: Api) -> None:
    told_by(living, "delete", preStop={"exec": {"command": ["sh", "-c", "wget -q -O- URL; true"]}})


def test_noexecute_taint_removed(living: Api, untainted: float) -> None:
    """It was tainted for a moment before the first test: nobody has been evicted when that would have been due."""
    living.until(at("tolerant"), lambda _: time.monotonic() > untainted + TOLERATED + 2)
    assert "deletionTimestamp" not in living.get(at("tolerant"))["metadata"]
