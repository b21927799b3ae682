"""The kubelet on a real kernel, against a real API server: pods from their beginning to their end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nodeworld import (
    LACKING,
    MAPS,
    NODE,
    NODES,
    PODS,
    World,
    container,
    eventually,
    many,
    on_node,
    ready,
    state,
    waiting,
)
from patience import patience

from netlab.client.rest import STRATEGIC_MERGE_PATCH, Object
from netlab.kernel import cgroups
from netlab.kubelet import kubelet as kubelets
from netlab.kubelet import logs
from netlab.runtime.images import build
from netlab.runtime.images.store import Store

pytestmark = [
    pytest.mark.not_in_vm("pods by the dozen, one by one: an emulator takes an hour; tests/vm has one of each"),
    pytest.mark.skipif(os.geteuid() != 0, reason="making pods needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    build.build(Store(root), ["busybox", "k8s.gcr.io/pause", "hostnames"])
    return root


def test_a_pod_has_no_more_processes_than_it_may(images: Path) -> None:
    """With those that hold its namespaces, in all of its containers together."""

    async def test(w: World) -> None:
        w.network()
        await w.start(pids=24)
        pod = await w.make("many", container(many(48)), terminationGracePeriodSeconds=0)
        pod = await w.when("many", ready)
        await w.wrote(pod, "c", "no more\n")
        group = f"{w.options.cgroup}/kubepods/besteffort/pod{pod['metadata']['uid']}"
        assert 12 < cgroups.usage(group).pids <= 24

    on_node(images, test)


def test_a_pod_from_beginning_to_end(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        await w.make("web", container("echo hello; trap 'exit 0' TERM; sleep 1000 & wait"))
        pod = await w.when("web", lambda p: p["status"]["phase"] == "Running")
        status = pod["status"]
        assert status["podIP"].startswith("10.201.0.") and status["podIPs"] == [{"ip": status["podIP"]}]
        assert status["hostIP"] == "10.200.0.1" and status["startTime"]
        assert {c["type"]: c["status"] for c in status["conditions"]} == dict.fromkeys(
            ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
        )
        [c] = status["containerStatuses"]
        assert c["ready"] and c["started"] and c["restartCount"] == 0 and "running" in c["state"]
        assert c["containerID"].startswith("netlab://") and c["image"].endswith("busybox:latest")
        assert "busybox@sha256:" in c["imageID"]
        await w.wrote(pod, "c", "hello\n")
        await w.said("web", "Started")
        said = [f"{r}: {m}" for r, m in await w.events("web")]
        assert said == [
            'Pulled: Container image "busybox" already present on machine', "Created: Created container: c",
            "Started: Started container c",
        ]  # fmt: skip
        listed = await w.kubectl("get", "pod", "web", "-o", "wide")
        assert listed.returncode == 0, listed
        assert listed.stdout.splitlines()[1].split()[:4] == ["web", "1/1", "Running", "0"], listed
        done = await w.kubectl("delete", "pod", "web")
        assert done.returncode == 0 and "deleted" in done.stdout, done
        assert await w.pod("web") is None
        await w.said("web", "Killing", "Stopping container c")
        assert not w.left()

    on_node(images, test)


def test_what_is_done_is_done_and_nothing_has_changed(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        await w.make("once", container("echo done"), restartPolicy="Never")
        await w.when("once", lambda p: p["status"]["phase"] == "Succeeded")
        await w.said("once", "Started")
        done = await w.kubectl("delete", "pod", "once")
        assert done.returncode == 0, done
        assert [reason for reason, _ in await w.events("once")] == ["Pulled", "Created", "Started"]

    on_node(images, test)


def test_what_ends_begins_again_and_waits_ever_longer(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        crashes = "echo bad luck >/dev/termination-log; exit 3"
        await w.make("crash", container(crashes))
        pod = await w.when("crash", lambda p: waiting(p) == "CrashLoopBackOff")
        [c] = pod["status"]["containerStatuses"]
        uid = pod["metadata"]["uid"]
        assert c["state"]["waiting"]["message"] == (
            f"back-off 10s restarting failed container=c pod=crash_default({uid})"
        )
        assert c["restartCount"] == 1 and not c["ready"] and not c["started"]
        last = c["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"], last["message"]) == (3, "Error", "bad luck\n")
        assert pod["status"]["phase"] == "Running"
        await w.said("crash", "BackOff", f"Back-off restarting failed container c in pod crash_default({uid})")
        # the one before is there for `logs --previous`
        for attempt in (0, 1):
            await w.wrote(pod, "c", "", attempt)

        await w.make("once", container("exit 0"), restartPolicy="OnFailure")
        await w.make("never", container("echo a; echo b; exit 1", terminationMessagePolicy="FallbackToLogsOnError"),
                     restartPolicy="Never")  # fmt: skip
        pod = await w.when("once", lambda p: p["status"]["phase"] == "Succeeded")
        conditions = {c["type"]: c.get("reason") for c in pod["status"]["conditions"]}
        assert conditions["Ready"] == conditions["Initialized"] == "PodCompleted"
        pod = await w.when("never", lambda p: p["status"]["phase"] == "Failed")
        [c] = pod["status"]["containerStatuses"]
        assert c["state"]["terminated"]["message"] == "a\nb\n" and c["restartCount"] == 0
        assert pod["status"]["podIP"]

    on_node(images, test)


def test_what_cannot_begin_says_why(images: Path) -> None:
    async def test(w: World) -> None:
        await w.start()
        await w.make("early", container())
        await w.said("early", "NetworkNotReady", "cni plugin not initialized")
        node = await w.client.get(NODES.path(None, NODE))
        ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
        w.network()
        await w.when("early", lambda p: p["status"]["phase"] == "Running")

        async def turned() -> bool:
            node = await w.client.get(NODES.path(None, NODE))
            return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])

        await eventually(turned)
        await w.make("image", container(image="nginx:1.91"), container(name="d"))
        pod = await w.when("image", lambda p: waiting(p) == "ImagePullBackOff" and "running" in state(p, 1))
        assert state(pod, 0)["waiting"]["message"].startswith('Back-off pulling image "nginx:1.91": ErrImagePull: ')
        assert pod["status"]["phase"] == "Pending"
        for reason, text in (
            ("Pulling", 'Pulling image "nginx:1.91"'), ("Failed", 'Failed to pull image "nginx:1.91": '),
            ("Failed", "Error: ErrImagePull"), ("BackOff", 'Back-off pulling image "nginx:1.91"'),
            ("Failed", "Error: ImagePullBackOff"),
        ):  # fmt: skip
            await w.said("image", reason, text)
        await w.make("never", container(image="nosuch", imagePullPolicy="Never"))
        await w.make("wrong", container(image="Not:An:Image"))
        await w.make("command", container(command=["nosuch"]))
        await w.make(
            "config", container(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}])
        )
        await w.make("mount", container(), volumes=[{"name": "v", "configMap": {"name": "m"}}])
        for name, reason in (
            ("never", "ErrImageNeverPull"), ("wrong", "InvalidImageName"), ("command", "CrashLoopBackOff"),
            ("config", "CreateContainerConfigError"), ("mount", "ContainerCreating"),
        ):  # fmt: skip
            pod = await w.when(name, lambda p, reason=reason: waiting(p) == reason)
            if name == "command":
                last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
                assert (last["reason"], last["exitCode"]) == ("StartError", 128)
                assert last["message"].endswith(
                    "OCI runtime create failed: runc create failed: unable to start container process: "
                    'exec: "nosuch": executable file not found in $PATH: unknown'
                )
        await w.said("config", "Failed", 'Error: configmap "m" not found')
        await w.said("mount", "FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "m" not found')
        # what was missing comes, and nobody has to wait for the next try
        await w.client.create(MAPS.path("default"), {"metadata": {"name": "m"}, "data": {"k": "v"}})
        for name in ("config", "mount"):
            await w.when(name, lambda p: p["status"]["phase"] == "Running")

    on_node(images, test)


def test_init_containers_and_sidecars_in_their_order(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        shared = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        side = container("trap 'echo side >>/v/end; exit 0' TERM; touch /v/side; while :; do sleep 0.1; done", "side",
                         restartPolicy="Always", startupProbe={"exec": {"command": ["test", "-e", "/v/side"]},
                                                               "periodSeconds": 1}, **shared)  # fmt: skip
        await w.make(
            "order", container("cat /v/order; until [ -e /v/go ]; do sleep 0.05; done", **shared),
            volumes=[{"name": "v", "emptyDir": {}}], restartPolicy="Never",
            initContainers=[
                container("echo one >>/v/order", "one", **shared), side,
                container("test -e /v/side && echo two >>/v/order", "two", **shared),
            ],
        )  # fmt: skip
        pod = await w.when("order", lambda p: "running" in state(p, 0))
        await w.wrote(pod, "c", "one\ntwo\n")
        init = {c["name"]: c for c in pod["status"]["initContainerStatuses"]}
        assert init["one"]["ready"] and init["side"]["ready"] and init["side"]["started"]
        assert (await w.kubectl("get", "pod", "order", "--no-headers")).stdout.split()[1] == "2/2"
        assert w.kubelet
        await w.run(pod, "c", "touch", "/v/go")
        pod = await w.when("order", lambda p: p["status"]["phase"] == "Succeeded")
        side = next(c for c in pod["status"]["initContainerStatuses"] if c["name"] == "side")
        assert side["state"]["terminated"]["exitCode"] == 0
        await w.said("order", "Killing", "Stopping container side")

        await w.make("stuck", container(), restartPolicy="Never", initContainers=[container("exit 4", "bad")])
        pod = await w.when("stuck", lambda p: p["status"]["phase"] == "Failed")
        message = {c["type"]: c.get("message") for c in pod["status"]["conditions"]}
        assert message["Initialized"] == "containers with incomplete status: [bad]"
        assert waiting(pod) == "PodInitializing"

    on_node(images, test)


def test_probes_decide_what_is_ready_and_what_begins_again(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        quick = {"periodSeconds": 1, "failureThreshold": 1}
        serve = "mkdir -p /w; echo ok >/w/live; httpd -p 8080 -h /w; trap 'exit 0' TERM; while :; do sleep 0.1; done"
        await w.make(
            "probed",
            container(
                serve, ports=[{"name": "web", "containerPort": 8080}],
                livenessProbe={"httpGet": {"path": "/live", "port": "web"}, **quick},
                readinessProbe={"httpGet": {"path": "/ready", "port": 8080}, **quick},
                startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 30},
            ),
        )  # fmt: skip
        await w.said("probed", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404")
        pod = await w.when("probed", lambda p: p["status"]["containerStatuses"][0]["started"])
        conditions = {c["type"]: c for c in pod["status"]["conditions"]}
        assert conditions["Ready"]["message"] == "containers with unready status: [c]"
        await w.run(pod, "c", "touch", "/w/ready")
        pod = await w.when("probed", ready)
        await w.run(pod, "c", "rm", "/w/live")
        pod = await w.when("probed", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        await w.said("probed", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404")
        await w.said("probed", "Killing", "Container c failed liveness probe, will be restarted")

    on_node(images, test)


def test_hooks_and_the_time_that_an_end_takes(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        hooks = {
            "postStart": {"exec": {"command": ["sh", "-c", "until [ -e /go ]; do sleep 0.05; done; echo post >/proc/1/fd/1"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo pre >/v/end"]}},
        }  # fmt: skip
        volume = {"name": "v", "hostPath": {"path": str(w.folder)}}
        await w.make(
            "hooked", container("trap 'echo term >>/v/end; exit 0' TERM; while :; do sleep 0.1; done", lifecycle=hooks,
                                volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=[volume],
        )  # fmt: skip
        await w.said("hooked", "Started")
        pod = await w.when("hooked", lambda p: "containerID" in p["status"]["containerStatuses"][0])
        assert pod["status"]["phase"] == "Pending" and waiting(pod) == "ContainerCreating"
        await w.run(pod, "c", "touch", "/go")
        pod = await w.when("hooked", lambda p: p["status"]["phase"] == "Running")
        await w.wrote(pod, "c", "post\n")
        await w.client.delete(PODS.path("default", "hooked"))
        await w.gone("hooked")
        assert (w.folder / "end").read_text() == "pre\nterm\n"

        deaf = "trap '' TERM; while :; do sleep 0.1; done"
        await w.make("deaf", container(deaf), terminationGracePeriodSeconds=600)
        await w.when("deaf", lambda p: p["status"]["phase"] == "Running")
        await w.client.delete(PODS.path("default", "deaf"))
        pod = await w.when("deaf", lambda p: p["metadata"].get("deletionTimestamp"))
        await w.said("deaf", "Killing")
        await w.client.delete(PODS.path("default", "deaf"), grace=1)
        await w.gone("deaf")

        bad = {"postStart": {"exec": {"command": ["false"]}}}
        await w.make("bad", container(lifecycle=bad))
        await w.said("bad", "FailedPostStartHook", "PostStartHook failed")
        await w.when("bad", lambda p: p["status"]["containerStatuses"][0]["restartCount"] > 0)

    on_node(images, test)


def test_another_kubelet_goes_on_with_what_runs(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        probe = {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1}
        await w.make("stays", container("touch /ready; trap 'exit 0' TERM; sleep 1000 & wait", readinessProbe=probe))
        await w.make("ends", container("until [ -e /go ]; do sleep 0.05; done; exit 7"), restartPolicy="Never")
        await w.make("goes", container())
        await w.make("vanishes", container())
        before = {name: await w.when(name, ready) for name in ("stays", "ends", "goes", "vanishes")}
        await w.stop()
        await w.exec_alone(before["ends"], "touch", "/go")
        await w.client.delete(PODS.path("default", "goes"))
        await w.client.delete(PODS.path("default", "vanishes"), grace=0)
        await w.make("comes", container())
        kubelet = await w.start()
        pod = await w.when("ends", lambda p: p["status"]["phase"] == "Failed")
        assert state(pod, 0)["terminated"]["exitCode"] == 7
        await w.gone("goes")
        await w.when("comes", ready)
        uid = before["vanishes"]["metadata"]["uid"]

        async def forgotten() -> bool:
            return uid not in kubelet.workers

        await eventually(forgotten)
        now = await w.pod("stays")
        assert now is not None and now["status"] == before["stays"]["status"]
        # one that another process has ended behind the kubelet's back begins again
        await w.exec_alone(now, "kill", "-9", "-1")
        await w.when("stays", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)

    on_node(images, test)


def test_a_sandbox_that_dies_is_made_anew_with_all_in_it(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        kubelet = await w.start()
        await w.make("pod", container(), initContainers=[container("exit 0", "init")])
        pod = await w.when("pod", ready)
        held = kubelet.workers[pod["metadata"]["uid"]].held
        assert held is not None
        w.runtime.stop(held.box.id, 0)
        pod = await w.when("pod", lambda p: ready(p) and p["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert pod["status"]["initContainerStatuses"][0]["restartCount"] == 1
        await w.said("pod", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")

    on_node(images, test)


def test_a_pod_of_the_nodes_network_and_one_with_a_port_of_the_node(images: Path) -> None:
    async def test(w: World) -> None:
        await w.start()
        serve = "mkdir /w; echo here >/w/index.html; httpd -f -p {} -h /w"
        await w.make("host", container(serve.format(8081)), hostNetwork=True, terminationGracePeriodSeconds=1)
        pod = await w.when("host", ready)  # it needs no network of pods
        assert pod["status"]["podIP"] == pod["status"]["hostIP"] == "10.200.0.1"
        w.network()
        ports = [{"containerPort": 80, "hostPort": 8082}]
        await w.make("mapped", container(serve.format(80), ports=ports), terminationGracePeriodSeconds=1)
        await w.when("mapped", ready)
        fetch = ["sh", "-c", "until wget -qO- http://10.200.0.1:8082/ || [ $((i+=1)) = 50 ]; do sleep 0.1; done"]
        assert (await w.run(pod, "c", *fetch)).output == "here\n"
        # the same port a second time is refused by the node, whoever sent the pod
        await w.make("twice", container(ports=ports))
        pod = await w.when("twice", lambda p: p["status"]["phase"] == "Failed")
        assert (pod["status"]["reason"], pod["status"]["message"]) == (
            "NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested "
            "pod ports",
        )  # fmt: skip
        await w.make("large", container(resources={"requests": {"cpu": "1000"}}))
        pod = await w.when("large", lambda p: p["status"]["phase"] == "Failed")
        assert pod["status"]["reason"] == "OutOfcpu"
        await w.make("late", container(), activeDeadlineSeconds=1)
        pod = await w.when("late", lambda p: p["status"]["phase"] == "Failed")
        assert pod["status"]["reason"] == "DeadlineExceeded"

    on_node(images, test)


def test_the_node_is_registered_and_gives_signs_of_life(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start(labels={"zone": "a"}, taints=({"key": "k", "effect": "PreferNoSchedule"},))
        node = await w.client.get(NODES.path(None, NODE))
        assert node["metadata"]["labels"].items() >= {"zone": "a", "kubernetes.io/hostname": NODE}.items()
        assert node["spec"]["taints"] == [{"key": "k", "effect": "PreferNoSchedule"}]
        state = node["status"]
        assert {c["type"]: c["status"] for c in state["conditions"]} == {
            "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True",
        }  # fmt: skip
        assert state["addresses"] == [
            {"type": "InternalIP", "address": "10.200.0.1"}, {"type": "Hostname", "address": NODE},
        ]  # fmt: skip
        assert state["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250
        assert state["allocatable"]["pods"] == "110" and state["nodeInfo"]["kubeletVersion"].startswith("v1.")
        assert any("busybox:latest" in name for image in state["images"] for name in image["names"])

        async def lease() -> bool:
            found = await w.client.list("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
            return any(lease["spec"]["holderIdentity"] == NODE for lease in found["items"])

        await eventually(lease)
        shown = await w.kubectl("get", "nodes", "--no-headers")
        assert shown.stdout.split()[:3] == [NODE, "Ready", "<none>"], shown

    on_node(images, test)


def test_a_pod_may_be_deleted_at_any_step(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        steps: list[tuple[str, Callable[[Object], Any]]] = [
            ("at-once", lambda p: True), ("told", lambda p: p["status"].get("startTime")),
            ("wired", lambda p: p["status"].get("podIP")), ("init", lambda p: p["status"].get("initContainerStatuses")),
            ("begun", lambda p: any("containerID" in c for c in p["status"].get("containerStatuses", ()))),
        ]  # fmt: skip
        for name, _ in steps:
            await w.make(name, container(), initContainers=[container("exit 0", "init")])

        async def one(name: str, step: Callable[[Object], Any]) -> None:
            await w.when(name, step)
            await w.client.delete(PODS.path("default", name))
            await w.gone(name)

        await asyncio.gather(*(one(*step) for step in steps))
        assert not w.left()

    on_node(images, test)


def test_what_may_change_of_a_pod(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        kubelet = await w.start()
        await w.make("web", container())
        pod = await w.when("web", ready)
        debug = {"spec": {"ephemeralContainers": [container("echo here; hostname; exit 3", "debug")]}}
        await w.client.patch(PODS.path("default", "web", "ephemeralcontainers"), debug, kind=STRATEGIC_MERGE_PATCH)
        pod = await w.when("web", lambda p: "terminated" in ephemeral(p))
        assert ephemeral(pod)["terminated"]["exitCode"] == 3
        await w.wrote(pod, "debug", "here\nweb\n")
        before = pod["status"]["containerStatuses"][0]["containerID"]
        image = {"spec": {"containers": [{"name": "c", "image": "busybox:latest"}]}}
        await w.client.patch(PODS.path("default", "web"), image, kind=STRATEGIC_MERGE_PATCH)
        pod = await w.when("web", lambda p: ready(p) and p["status"]["containerStatuses"][0]["containerID"] != before)
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        await w.said("web", "Killing", "Container c definition changed, will be restarted")
        assert len(kubelet.workers) == 1

    def ephemeral(pod: Object) -> Object:
        listed = pod["status"].get("ephemeralContainerStatuses") or [{"state": {}}]
        return dict(listed[0]["state"])

    on_node(images, test)


def test_static_pods_are_run_and_mirrored(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        folder = w.folder / "manifests"
        folder.mkdir()

        def write(word: str) -> None:
            spec = {"containers": [container(f"echo {word}; trap 'exit 0' TERM; sleep 1000 & wait")],
                    "terminationGracePeriodSeconds": 5}  # fmt: skip
            new = folder / ".web.yaml"
            new.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}))
            new.replace(folder / "web.yaml")

        write("one")
        (folder / "bad.yaml").write_text("kind: Pod\nspec: {}\n")
        kubelet = await w.start(manifests=folder)
        mirror = await w.when("web-n1", ready)
        assert mirror["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
        assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
        [uid] = kubelet.workers
        # whoever deletes the mirror gets another, and the pod runs on
        await w.client.delete(PODS.path("default", "web-n1"))
        again = await w.when("web-n1", lambda p: ready(p) and p["metadata"]["uid"] != mirror["metadata"]["uid"])
        assert again["status"]["containerStatuses"] == mirror["status"]["containerStatuses"]
        # another kubelet goes on with it
        await w.stop()
        kubelet = await w.start()
        assert list(kubelet.workers) == [uid]
        write("two")
        other = await w.when("web-n1", lambda p: ready(p) and annotation(p) != annotation(mirror))
        assert (
            other["status"]["containerStatuses"][0]["containerID"]
            != again["status"]["containerStatuses"][0]["containerID"]
        )
        (folder / "web.yaml").unlink()
        await w.gone("web-n1")

        async def none() -> bool:
            return not kubelet.workers

        await eventually(none)

    def annotation(pod: Object) -> str:
        return str(pod["metadata"]["annotations"]["kubernetes.io/config.hash"])

    on_node(images, test)


def test_who_is_in_the_way_has_to_go(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(w: World) -> None:
        w.network()
        await w.start()
        limited = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
        fill = "dd if=/dev/zero of=/v/full bs=1M count=3 2>/dev/null; trap 'exit 0' TERM; sleep 1000 & wait"
        await w.make("full", container(fill, volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=limited)
        pod = await w.when("full", lambda p: p["status"]["phase"] == "Failed")
        assert pod["status"]["reason"] == "Evicted", pod["status"]
        await w.make("web", container(terminationMessagePath="/dev/termination-log"))
        await w.when("web", ready)
        await w.stop()
        await w.start(eviction_hard="nodefs.available<100%")
        pod = await w.when("web", lambda p: p["status"]["phase"] == "Failed")
        assert pod["status"]["reason"] == "Evicted"
        assert pod["status"]["message"].startswith(
            "The node was low on resource: ephemeral-storage. Threshold quantity: "
        )

        async def pressed() -> bool:
            node = await w.client.get(NODES.path(None, NODE))
            return any(c["type"] == "DiskPressure" and c["status"] == "True" for c in node["status"]["conditions"])

        await eventually(pressed)
        await w.make("late", container())
        pod = await w.when("late", lambda p: p["status"]["phase"] == "Failed")
        assert pod["status"]["message"] == "Pod was rejected: The node had condition: [DiskPressure]. "
        await w.stop()
        await w.start(eviction_hard="")

    monkeypatch.setattr(kubelets, "LOOK", 0.2)
    monkeypatch.setattr(kubelets, "REFRESH", 0.2)
    on_node(images, test)


def test_logs_stay_small_and_lose_no_line(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, files = 1 << 16, 3

    async def test(w: World) -> None:
        w.network()
        await w.start()
        # without an end, but not as fast as it can: the machine has others
        lines = "i=0; until [ -e /stop ]; do echo line $i; i=$((i + 1)); [ $((i % 500)) -gt 0 ] || usleep 20000; done"
        await w.make("chatty", container(f"trap 'exit 0' TERM; {lines}; echo stop; sleep 1000 & wait"))
        pod = await w.when("chatty", ready)
        folder = w.folder / "logs" / f"default_chatty_{pod['metadata']['uid']}" / "c"

        def written() -> list[tuple[str, list[str]]]:
            """The files from the oldest to the newest, and what the container said in each."""
            names = sorted(path.name for path in folder.iterdir())
            names = [*names[1:], names[0]]
            said = [(name, (folder / name).read_text().splitlines()) for name in names]
            return [(name, [line.split(" ", 3)[3] for line in text]) for name, text in said]

        async def thrown_away() -> bool:
            try:
                found = written()
            except FileNotFoundError:  # just now
                return False
            return len(found) == files and bool(found[0][1]) and found[0][1][0] != "line 0"

        await eventually(thrown_away)
        await w.exec_alone(pod, "touch", "/stop")

        async def stopped() -> bool:
            found = written()
            said = [line for _, text in found for line in text]
            return said[-1] == "stop" and found == written()

        await eventually(stopped)
        found = written()
        said = [line for _, text in found for line in text]
        first = int(said[0].removeprefix("line "))
        assert said[:-1] == [f"line {first + n}" for n in range(len(said) - 1)]
        assert found[-1][0] == "0.log" and len(found) <= files
        assert all((folder / name).stat().st_size >= size for name, _ in found[:-1])

    monkeypatch.setattr(kubelets, "rotating", partial(logs.rotating, every=0.1, size=size, files=files))
    on_node(images, test)


def test_the_verb_and_what_kubectl_asks_of_it(images: Path) -> None:
    async def test(w: World) -> None:
        w.network()
        process, log = await w.verb(), w.folder / "kubelet.log"
        try:
            await w.make("web", container("echo hello; trap 'exit 0' TERM; sleep 1000 & wait"))
            pod = await w.when("web", ready)
            await w.wrote(pod, "c", "hello\n")
            said = await w.kubectl("logs", "web")
            assert said.stdout == "hello\n", (said, log.read_text())
            said = await w.kubectl("exec", "web", "--", "hostname")
            assert said.stdout == "web\n", (said, log.read_text())
        finally:
            process.terminate()
            status = await asyncio.to_thread(process.wait, patience(60))
        assert status == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
        # the pod stays, and the fixture's kubelet goes on with it
        assert (await w.exec_alone(pod, "true")) is None

    on_node(images, test)


def test_a_kubelet_may_be_killed_anywhere(images: Path) -> None:
    """What it was about to make is made by the next one, or taken away: see the fixture."""

    async def test(w: World) -> None:
        w.network()
        chance = random.Random(7)
        names: list[str] = []
        for turn in range(6):
            log = w.folder / "kubelet.log"
            log.write_bytes(b"")
            process = await w.verb()
            try:

                async def runs(log: Path = log) -> bool:
                    return b"runs" in log.read_bytes()

                await eventually(runs)
                names += [f"p{turn}", f"q{turn}"]
                await w.make(names[-2], container())
                await w.make(names[-1], container("exit 1"), initContainers=[container("exit 0", "init")])
                if turn > 1:
                    await w.client.delete(PODS.path("default", names.pop(0)), grace=1)
                # not a wait for anything: a moment of chance in which the process is
                await asyncio.to_thread(process.wait, chance.uniform(0.0, 0.7))
            except subprocess.TimeoutExpired:
                pass
            finally:
                process.kill()
                await asyncio.to_thread(process.wait)
            assert "Traceback" not in log.read_text(), log.read_text()
        await w.start()
        for name in names:
            if name.startswith("p"):
                await w.when(name, ready)
            else:
                await w.when(name, lambda p: waiting(p) == "CrashLoopBackOff")
        # addresses are as many as sandboxes
        leases = [p for p in (w.folder / "var/lib/cni/results").iterdir() if "cni-loopback" not in p.name]
        assert len(leases) == len(names)

    on_node(images, test)
