"""Pods under control groups of version 2, which a VM has in one hierarchy: what limits do, and what is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nodeworld import LACKING, World, container, eventually, many, on_node, ready, state

from netlab.kernel import cgroups
from netlab.kubelet.serving import stats
from netlab.runtime.images import build
from netlab.runtime.images.store import Store

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making pods needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]
#: processes that a pod may have
PIDS = 24


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
        await w.start(pids=PIDS)
        few = {"limits": {"memory": "32Mi"}}
        # a buffer that is larger than what it may have
        eater = "exec dd if=/dev/zero of=/dev/null bs=100M count=1"
        some = {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "50m"}}
        await w.make("eater", container(eater, resources=few), restartPolicy="Never")
        await w.make("spinner", container("while :; do :; done", resources=some), terminationGracePeriodSeconds=0)
        await w.make("parent", container(many(2 * PIDS)), terminationGracePeriodSeconds=0)

        pod = await w.when("eater", lambda p: p["status"]["phase"] == "Failed")
        ended = state(pod)["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)

        pod = await w.when("spinner", ready)
        top = cgroups.ROOT / f"{w.options.cgroup.lstrip('/')}/kubepods/burstable/pod{pod['metadata']['uid']}"
        own = top / pod["status"]["containerStatuses"][0]["containerID"].removeprefix("netlab://")
        for at in (top, own):
            assert (at / "cpu.max").read_text() == "20000 100000\n"
            assert (at / "memory.max").read_text() == f"{64 << 20}\n"
            assert (at / "memory.swap.max").read_text() == "0\n"

        # a fifth of a processor: it is stopped in every period in which it has had that
        async def throttled() -> bool:
            counted = numbers(own / "cpu.stat")
            return counted["nr_throttled"] > 3 and counted["usage_usec"] > 30_000

        await eventually(throttled)
        assert w.kubelet is not None
        sample = await stats.sampled(w.kubelet.doors)
        [used] = [each.usage for each in sample.containers if each.pod == ("default", "spinner") and each.name == "c"]
        assert used.cpu > 30_000_000 and 0 < used.working_set <= used.memory < 64 << 20 and used.pids == 1
        assert sample.total.cpu >= used.cpu and sample.total.memory >= used.memory

        # for all containers of a pod together, that of its namespaces as well
        pod = await w.when("parent", ready)
        await w.wrote(pod, "c", "no more\n")
        group = f"{w.options.cgroup}/kubepods/besteffort/pod{pod['metadata']['uid']}"
        assert PIDS // 2 < cgroups.usage(group).pids <= PIDS

    on_node(root, test)


def test_a_pods_group_hands_its_limits_down() -> None:
    """What a pod may have holds for all of its containers together: they are below it, and have the controllers."""
    assert cgroups.unified(), "the guest has not one hierarchy of version 2"
    group = f"/netlab.c2-{os.getpid()}"
    cgroups.limit(f"{group}/pod", {"pids": 7, "memory": 32 << 20, "quota": 20_000, "period": 100_000, "shares": 512})
    try:
        top = cgroups.ROOT / group.lstrip("/") / "pod"
        assert (top / "pids.max").read_text() == "7\n"
        assert {"cpu", "memory", "pids"} <= set((top / "cgroup.subtree_control").read_text().split())
        assert cgroups.usage(f"{group}/pod").pids == 0
    finally:
        cgroups.clear(group, 30)
    assert not (cgroups.ROOT / group.lstrip("/")).exists()
