"""A node whose disk is full: what runs goes on, what cannot begin says why, and all goes its way when there is room.

The disk is a small file system of its own, below all that a kubelet writes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodeworld import LACKING, NODE, NODES, PODS, World, container, eventually, on_node, ready, state

from netlab.kubelet import evicting
from netlab.kubelet import kubelet as kubelets
from netlab.runtime.images import build
from netlab.runtime.images.store import Store

pytestmark = [
    pytest.mark.not_in_vm("pods by the dozen, one by one: an emulator takes an hour; tests/vm has one of each"),
    pytest.mark.skipif(os.geteuid() != 0, reason="making pods needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]
#: bytes of the disk
SIZE = 64 << 20


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What a node is made of in these tests is on it."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], check=True)
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    build.build(Store(root), ["busybox", "k8s.gcr.io/pause"])
    return root


def fill(ballast: Path, *, left: int = 0) -> None:
    """Until only so many bytes are left."""
    with ballast.open("ab", buffering=0) as file:
        try:
            while (room := os.statvfs(ballast)).f_bavail * room.f_frsize > left:
                file.write(b"\0" * 4096)
        except OSError as e:
            assert e.errno == errno.ENOSPC


def test_a_full_disk(disk: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = disk / "ballast"

    async def test(w: World) -> None:
        w.network()
        await w.start(eviction_hard="")
        for name in ("stays", "goes"):
            await w.make(name, container())
        stays, _ = [await w.when(name, ready) for name in ("stays", "goes")]
        fill(ballast)
        await w.make("late", container())
        await w.said("late", "FailedCreatePodSandBox", "No space left on device")
        # what is there is served, and taken away
        await w.run(stays, "c", "true")
        await w.client.delete(PODS.path("default", "goes"), grace=1)
        await w.gone("goes")
        late = await w.pod("late")
        assert late is not None and late["status"]["phase"] == "Pending"
        ballast.unlink()
        await w.when("late", ready)
        now = await w.pod("stays")
        assert now is not None and state(now) == state(stays)

    monkeypatch.setattr(kubelets, "LOOK", 0.2)
    on_node(images, test)


def test_a_disk_that_is_nearly_full(disk: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = disk / "ballast"

    async def test(w: World) -> None:
        async def pressed() -> bool:
            node = await w.client.get(NODES.path(None, NODE))
            return any(c["type"] == "DiskPressure" and c["status"] == "True" for c in node["status"]["conditions"])

        async def relieved() -> bool:
            return not await pressed()

        w.network()
        await w.start(eviction_hard="nodefs.available<10%")
        fills = "dd if=/dev/zero of=/full bs=1M count=8 2>/dev/null; trap 'exit 0' TERM; sleep 1000 & wait"
        await w.make("small", container())
        await w.make("large", container(fills))
        await w.when("small", ready)
        await w.when("large", ready)
        await asyncio.to_thread(fill, ballast, left=SIZE // 12)
        # who uses most goes, and with what it had there is room again: nobody else has to
        large = await w.when("large", lambda p: p["status"]["phase"] == "Failed")
        assert large["status"]["reason"] == "Evicted"
        assert large["status"]["message"].startswith(
            "The node was low on resource: ephemeral-storage. Threshold quantity: 10%, available: "
        )
        assert "Container c was using " in large["status"]["message"]
        await eventually(pressed)
        await w.make("late", container())
        late = await w.when("late", lambda p: p["status"]["phase"] == "Failed")
        assert late["status"]["message"] == "Pod was rejected: The node had condition: [DiskPressure]. "
        ballast.unlink()
        monkeypatch.setattr(evicting, "HOLD", 0.0)
        await eventually(relieved)
        await w.make("later", container())
        await w.when("later", ready)
        small = await w.pod("small")
        assert small is not None and ready(small)

    monkeypatch.setattr(kubelets, "LOOK", 0.2)
    monkeypatch.setattr(kubelets, "REFRESH", 0.2)
    on_node(images, test)
