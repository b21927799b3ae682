"""What the kubelet's server asks of the kubelet, answered from what its workers know (see `serving.Pods`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from netlab.api import Json
from netlab.kernel import cgroups, netns
from netlab.kubelet import pods
from netlab.kubelet.worker import Worker
from netlab.runtime.containers import Runtime
from netlab.runtime.spec import HOST


class Doors:
    """workers: of all pods, as they are when it is asked."""

    def __init__(self, node: str, runtime: Runtime, workers: Callable[[], Iterable[Worker]]) -> None:
        self._node, self._runtime, self._workers = node, runtime, workers

    @property
    def node(self) -> str:
        """The node's name."""
        return self._node

    @property
    def runtime(self) -> Runtime:
        """Where the containers are."""
        return self._runtime

    def all(self) -> Sequence[Json]:
        """The pods of this node, as the kubelet knows them."""
        return [{**w.pod, "status": w.status} for w in self._workers() if w.pod["spec"]]

    def _worker(self, namespace: str, name: str) -> Worker | None:
        """Of two of the same name, one of which ends yet, the other."""
        found = None
        for worker in self._workers():
            meta = worker.pod["metadata"]
            if (meta.get("namespace", ""), meta["name"]) == (namespace, name) and (found is None or found.gone):
                found = worker
        return found

    def get(self, namespace: str, name: str) -> Json | None:
        """One of them."""
        worker = self._worker(namespace, name)
        return None if worker is None else {**worker.pod, "status": worker.status}

    def container_id(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str | None:
        """The newest attempt at a container, or the one before."""
        worker = self._worker(namespace, pod)
        if worker is None:
            return None
        seen = worker.state.seen
        found = seen.previous(container) if previous else seen.newest(container)
        return None if found is None else found.id

    def netns(self, namespace: str, pod: str) -> str | None:
        """Where the pod's network is; None if it has no sandbox that runs."""
        worker = self._worker(namespace, pod)
        if worker is None or worker.held is None or not worker.held.box.running:
            return None
        return netns.HERE if worker.held.netns == HOST or pods.host_network(worker.pod) else worker.held.netns

    def usage(self) -> cgroups.Usage:
        """What all that runs in pods uses."""
        return cgroups.usage(self._runtime.cgroup)
