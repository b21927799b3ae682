"""Containers without volumes, users and the rest: what stands in until `making` is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.kubelet import pods
from netlab.runtime.images.store import Image
from netlab.runtime.sandbox import Sandbox
from netlab.runtime.spec import Container, Mount


class StandIn:
    """See `needs.Making`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def prepare(self, pod: Json) -> None:
        """Nothing."""

    def sandbox(self, pod: Json, *, netns: str) -> Sandbox:
        """What holds the pod."""
        shared = bool(pod["spec"].get("shareProcessNamespace"))
        return Sandbox(hostname=pod["metadata"]["name"][:63], netns=netns, shared_pid=shared)

    def container(
        self, pod: Json, container: Json, *, image: Image, namespaces: Mapping[str, str], ips: Sequence[Address],
        attempt: int,
    ) -> Container:  # fmt: skip
        """One of its containers."""
        log = self.termination_log(pods.uid(pod), container["name"], attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        command, args = container.get("command"), container.get("args")
        return Container(
            image=container["image"], command=tuple(command) if command else None, args=tuple(args) if args else None,
            env={e["name"]: e.get("value", "") for e in container.get("env") or ()}, namespaces=namespaces,
            cwd=container.get("workingDir", ""), hostname=pod["metadata"]["name"],
            mounts=(Mount(str(log), container.get("terminationMessagePath") or "/dev/termination-log"),),
        )  # fmt: skip

    def termination_log(self, uid: str, container: str, attempt: int) -> Path:
        """Where the termination message of a container lies."""
        return self.root / "pods" / uid / "containers" / container / str(attempt)

    async def refresh(self, pod: Json) -> None:
        """Nothing."""

    def release(self, uid: str) -> None:
        """Nothing is left of the pod."""
        import shutil

        shutil.rmtree(self.root / "pods" / uid, ignore_errors=True)

    def known(self) -> set[str]:
        """Of which there is something left."""
        directory = self.root / "pods"
        return {path.name for path in directory.iterdir()} if directory.is_dir() else set()
