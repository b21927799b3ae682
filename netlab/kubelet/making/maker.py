"""The making of pods of one node. What blocks is done in threads; two calls for one pod never overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.kubelet.making.world import NodeFacts, Tell, World
from netlab.runtime.images.store import Image
from netlab.runtime.sandbox import Sandbox
from netlab.runtime.spec import Container


def _quiet(pod: Json, reason: str, message: str) -> None:
    """Nobody wants to know."""


class Making:
    """root: /var/lib/kubelet. Nothing is kept in memory but tokens: whoever opens the same directory after a restart
    finds what was made, and `prepare` makes what is missing."""

    def __init__(self, root: Path, world: World, node: NodeFacts, *, tell: Tell = _quiet) -> None:
        self.root, self.world, self.node, self.tell = root, world, node, tell

    async def prepare(self, pod: Json) -> None:
        """Its directories and volumes, made and filled; any number of times. Missing (FailedMount): the others are made."""
        raise NotImplementedError

    def sandbox(self, pod: Json, *, netns: str) -> Sandbox:
        """What holds the pod; netns is disregarded for a pod on the host's network. Missing (FailedCreatePodSandBox)."""
        raise NotImplementedError

    def container(
        self, pod: Json, container: Json, *, image: Image, namespaces: Mapping[str, str], ips: Sequence[Address],
        attempt: int,
    ) -> Container:  # fmt: skip
        """One of its containers, of any sort, after `prepare`. Writes files: call it in a thread. Missing.

        image: as `images.ensuring.ensure` has it; namespaces: as `runtime.sandbox.namespaces`; ips: of the pod, the
        first is its podIP; attempt: how often it was started before.
        """
        raise NotImplementedError

    def termination_log(self, uid: str, container: str, attempt: int) -> Path:
        """Where the termination message of a container lies, seen from here."""
        raise NotImplementedError

    async def refresh(self, pod: Json) -> None:
        """configMap, secret, downwardAPI and projected volumes and tokens as they should be now. Missing (FailedMount):
        what is there stays as it was, the others are new."""
        raise NotImplementedError

    def overfull(self, pod: Json) -> list[str]:
        """What a pod has to be evicted for, in Kubernetes' words: emptyDirs that are larger than their sizeLimit.
        Walks through all files: call it in a thread, and seldom."""
        raise NotImplementedError

    def release(self, uid: str) -> None:
        """Nothing is left of the pod: unmounted, removed. Success if there is nothing. Blocks: call it in a thread."""
        raise NotImplementedError

    def known(self) -> set[str]:
        """The UIDs of pods of which there is something below root."""
        raise NotImplementedError
