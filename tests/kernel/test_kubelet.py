"""The kubelet on a real kernel, against a real API server: pods from their beginning to their end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nodeworld import LACKING, World, container, on_node

from netlab.runtime.images import build
from netlab.runtime.images.store import Store

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making pods needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    build.build(Store(root), ["busybox", "k8s.gcr.io/pause", "hostnames"])
    return root


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
        assert w.log(pod, "c") == "hello\n"
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
