"""Control groups of version 2, which a VM has in one hierarchy."""

from __future__ import annotations

import os

import pytest

from netlab.kernel import cgroups

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making groups needs root"),
    pytest.mark.skipif("NETLAB_VM" not in os.environ, reason="for the kernel of a VM run: scripts/vm-test"),
]


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
