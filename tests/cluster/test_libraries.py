"""Programs that were written for the original: the official Python client, typed and dynamic, and an operator of kopf."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

#: seconds until a wait is given up
DEADLINE = 60.0
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}]},
}  # fmt: skip
PLANET = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "planets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "planets", "singular": "planet", "kind": "Planet", "listKind": "PlanetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"moons": {"type": "integer"}}},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
OPERATOR = """
import kopf

@kopf.on.create("planets")
def made(spec, name, namespace, patch, **_):
    patch.status["seen"] = f"{name} has {spec['moons']} moons"

@kopf.on.update("planets", field="spec.moons")
def changed(new, patch, **_):
    patch.status["seen"] = f"now {new}"

@kopf.on.delete("planets")
def gone(name, **_):
    print(f"farewell {name}", flush=True)
"""


def until(what: Callable[[], Any], why: str) -> Any:
    """What it returns, once that is something."""
    end = time.monotonic() + DEADLINE
    while not (found := what()):
        assert time.monotonic() < end, f"waited in vain for {why}"
        time.sleep(0.05)
    return found


@pytest.fixture
def client(server: Path) -> Iterator[Any]:
    """The official client, as a person's program makes it from a kubeconfig."""
    made = kubernetes.config.new_client_from_config(config_file=str(server))
    yield made
    made.close()


def test_the_official_client_typed(client: Any) -> None:
    core, apps = kubernetes.client.CoreV1Api(client), kubernetes.client.AppsV1Api(client)
    assert kubernetes.client.VersionApi(client).get_code().major == "1"
    core.create_namespace({"metadata": {"name": "shop"}})
    until(lambda: [a for a in core.list_namespaced_service_account("shop").items if a.metadata.name == "default"], "it")
    pod = core.create_namespaced_pod("shop", POD)
    assert pod.status.phase == "Pending" and pod.spec.restart_policy == "Always" and pod.metadata.creation_timestamp
    pod.metadata.labels["tier"] = "front"
    assert core.replace_namespaced_pod("web", "shop", pod).metadata.labels["tier"] == "front"
    with pytest.raises(kubernetes.client.ApiException) as stale:
        core.replace_namespaced_pod("web", "shop", pod)  # its resourceVersion has gone by
    assert stale.value.status == 409 and json.loads(stale.value.body)["reason"] == "Conflict"
    patched = core.patch_namespaced_pod("web", "shop", {"metadata": {"annotations": {"a": "b"}}})
    assert patched.metadata.annotations == {"a": "b"}
    seen = []
    watch = kubernetes.watch.Watch()
    for event in watch.stream(core.list_namespaced_pod, "shop", timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 1:
            core.delete_namespaced_pod("web", "shop", grace_period_seconds=0)
        if event["type"] == "DELETED":
            watch.stop()
    assert seen[0] == ("ADDED", "web") and seen[-1] == ("DELETED", "web")
    labels = {"app": "web"}
    apps.create_namespaced_deployment(
        "shop",
        kubernetes.client.V1Deployment(
            metadata=kubernetes.client.V1ObjectMeta(name="web"),
            spec=kubernetes.client.V1DeploymentSpec(
                replicas=2,
                selector=kubernetes.client.V1LabelSelector(match_labels=labels),
                template=kubernetes.client.V1PodTemplateSpec(
                    metadata=kubernetes.client.V1ObjectMeta(labels=labels),
                    spec=kubernetes.client.V1PodSpec(
                        containers=[kubernetes.client.V1Container(name="web", image="nginx")]
                    ),
                ),
            ),
        ),
    )
    until(lambda: len(core.list_namespaced_pod("shop", label_selector="app=web").items) == 2, "two pods")
    scale = apps.patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 1}})
    assert scale.spec.replicas == 1
    until(lambda: len(core.list_namespaced_pod("shop", label_selector="app=web").items) == 1, "one pod")


def test_the_official_client_dynamic(client: Any) -> None:
    dynamic = kubernetes.dynamic.DynamicClient(client)
    dynamic.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition").create(body=PLANET)

    def served() -> bool:
        dynamic.resources.invalidate_cache()
        return bool(dynamic.resources.search(api_version="example.com/v1", kind="Planet"))

    until(served, "the new kind in discovery")
    planets = dynamic.resources.get(api_version="example.com/v1", kind="Planet")
    body = {"apiVersion": "example.com/v1", "kind": "Planet", "metadata": {"name": "mars"}, "spec": {"moons": 2}}
    assert planets.create(body=body, namespace="default").spec.moons == 2
    applied = planets.server_side_apply(
        body={**body, "spec": {"moons": 3}}, name="mars", namespace="default", field_manager="me", force_conflicts=True
    )
    assert applied.spec.moons == 3
    with pytest.raises(kubernetes.dynamic.exceptions.ConflictError) as conflict:
        planets.server_side_apply(
            body={**body, "spec": {"moons": 4}}, name="mars", namespace="default", field_manager="you"
        )
    assert json.loads(conflict.value.body)["details"]["causes"][0]["field"] == ".spec.moons"
    assert [p.metadata.name for p in planets.get(namespace="default").items] == ["mars"]
    with pytest.raises(kubernetes.dynamic.exceptions.UnprocessibleEntityError, match=r"spec\.moons"):
        planets.create(body={**body, "metadata": {"name": "x"}, "spec": {"moons": "many"}}, namespace="default")


def test_an_operator_of_kopf(client: Any, server: Path, tmp_path: Path) -> None:
    kubernetes.client.ApiextensionsV1Api(client).create_custom_resource_definition(PLANET)
    operator = tmp_path / "operator.py"
    operator.write_text(OPERATOR)
    log = tmp_path / "operator.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "kopf", "run", "--standalone", "-A", str(operator)],
            stdout=out, stderr=subprocess.STDOUT, env={"KUBECONFIG": str(server), "HOME": str(tmp_path)},
        )  # fmt: skip
    custom = kubernetes.client.CustomObjectsApi(client)
    at = {"group": "example.com", "version": "v1", "plural": "planets", "namespace": "default"}

    def seen() -> str | None:
        found: dict[str, Any] = custom.get_namespaced_custom_object(name="mars", **at)
        return (found.get("status") or {}).get("seen")

    try:
        body = {"apiVersion": "example.com/v1", "kind": "Planet", "metadata": {"name": "mars"}, "spec": {"moons": 2}}
        custom.create_namespaced_custom_object(body=body, **at)
        until(lambda: seen() == "mars has 2 moons", "the operator to see it")
        custom.patch_namespaced_custom_object(name="mars", body={"spec": {"moons": 7}}, **at)
        until(lambda: seen() == "now 7", "the operator to see the change")
        custom.delete_namespaced_custom_object(name="mars", **at)  # it has a finalizer, kopf's
        until(lambda: not custom.list_namespaced_custom_object(**at)["items"], "it to go")
        assert "farewell mars" in log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
    assert "Traceback" not in log.read_text(), log.read_text()
