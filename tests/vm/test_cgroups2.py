"""Pods under control groups of version 2, which a VM has in one hierarchy: what limits do, and what is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nodeworld import LACKING, PODS, World, container, eventually, on_node, ready, state

from netlab.kernel import cgroups
from netlab.kubelet.serving import stats
from netlab.runtime.images import build
from netlab.runtime.images.store import Store

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making pods needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]


def numbers(path: Path) -> dict[str, int]:
    """A file of a group that has a name and a number in each line."""
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


def test_limits_of_pods_hold_and_what_they_use_is_told(tmp_path: Path) -> None:
    assert cgroups.unified(), "the guest has not one hierarchy of version 2"
    root = tmp_path / "images"
    root.mkdir()
    build.build(Store(root), ["busybox", "k8s.gcr.io/pause"])

    async def test(w: World) -> None:
        w.network()
        await w.start()
        few = {"limits": {"memory": "32Mi"}}
        # a buffer that is larger than what it may have
        eater = "exec dd if=/dev/zero of=/dev/null bs=100M count=1"
        await w.make("eater", container(eater, resources=few), restartPolicy="Never")
        some = {"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "50m"}}
        await w.make("spinner", container("while :; do :; done", resources=some))
        pod = await w.when("eater", lambda p: p["status"]["phase"] == "Failed")
        ended = state(pod)["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)

        pod = await w.when("spinner", ready)
        assert w.kubelet is not None
        top = cgroups.ROOT / w.options.cgroup.lstrip("/") / "kubepods" / "burstable" / f"pod{pod['metadata']['uid']}"
        own = top / pod["status"]["containerStatuses"][0]["containerID"].removeprefix("netlab://")
        for at in (top, own):
            assert (at / "cpu.max").read_text() == "10000 100000\n"
            assert (at / "memory.max").read_text() == f"{64 << 20}\n"
            assert (at / "memory.swap.max").read_text() == "0\n"

        # a tenth of a processor: it is stopped in every period in which it has had that
        async def throttled() -> bool:
            counted = numbers(own / "cpu.stat")
            return counted["nr_throttled"] > 3 and counted["usage_usec"] > 30_000

        await eventually(throttled)
        sample = await stats.sampled(w.kubelet.doors)
        [used] = [each.usage for each in sample.containers if each.name == "c"]
        assert used.cpu > 30_000_000 and 0 < used.working_set <= used.memory < 64 << 20 and used.pids == 1
        assert sample.total.cpu >= used.cpu and sample.total.memory >= used.memory
        await w.client.delete(PODS.path("default", "spinner"), grace=0)

    on_node(root, test)


def test_a_group_that_has_all_its_processes_has_no_more(tmp_path: Path) -> None:
    """What a pod may have of processes holds for all of its containers together."""
    group = f"/netlab.c2-{os.getpid()}"
    cgroups.limit(f"{group}/pod", {"pids": 7, "memory": 32 << 20, "quota": 20_000, "period": 100_000, "shares": 512})
    try:
        top = cgroups.ROOT / group.lstrip("/") / "pod"
        assert (top / "pids.max").read_text() == "7\n"
        # those below have the controllers, and it has no process of its own
        assert {"cpu", "memory", "pids"} <= set((top / "cgroup.subtree_control").read_text().split())
        assert cgroups.usage(f"{group}/pod").pids == 0
    finally:
        cgroups.clear(group, 30)
    assert not (cgroups.ROOT / group.lstrip("/")).exists()
