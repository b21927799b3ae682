"""Pods that nobody else takes away: of nodes that are gone, ended ones beyond a number, deleted ones that have no node.

    node not there for a while, nor when asked ──▶ Failed, and deleted at once: no kubelet is left to confirm it
    node out of service, not Ready, pod ending ──▶ the same
    pod ending that never had a node           ──▶ deleted at once
    more ended pods than are kept              ──▶ the oldest are deleted

Keys are those of pods; "" stands for the number of ended ones. Source: kubernetes pkg/controller/podgc.
"""

from __future__ import annotations

from collections.abc import Iterable

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import key_of
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, Object
from netlab.controllers.owning import ENDED, created, ending, phase
from netlab.controllers.shape import LEAN_PODS, NODES, PODS, Tools, Watch

#: seconds for which a node has to be missing: it may be made anew, or not be seen yet
QUARANTINE = 40.0
#: ended pods that are kept
KEPT = 12_500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def out_of_service(node: Object) -> bool:
    """Whether a person has said that what is on this node will not come back, and nothing says otherwise."""
    tainted = any(t.get("key") == OUT_OF_SERVICE for t in (node.get("spec") or {}).get("taints") or ())
    conditions = (node.get("status") or {}).get("conditions") or ()
    return tainted and not any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


class PodGarbageCollector:
    """Keys are those of pods, and ""."""

    NAME = "pod-garbage-collector-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._now, self._clock = tools.client, tools.now, tools.clock
        self._nodes, self._pods = tools.store(Interest(NODES)), tools.store(LEAN_PODS)
        self._of_node: dict[str, set[str]] = {}
        self._ended: set[str] = set()
        #: when a node was first not there, by a clock that nobody sets
        self._missing: dict[str, float] = {}
        self.WATCHES = (Watch(LEAN_PODS, self._pod), Watch(Interest(NODES), self._node))

    def _pod(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """Keeps where pods are and which have ended; a pod is looked at if it may be one of ours."""
        obj = new if new is not None else old
        assert obj is not None
        key, node = key_of(obj), _node_of(obj)
        if new is None:
            self._of_node.get(node, set()).discard(key)
            self._ended.discard(key)
            return
        if phase(new) in ENDED:
            self._ended.add(key)
            if len(self._ended) > KEPT:
                yield ""
        if node:
            self._of_node.setdefault(node, set()).add(key)
        if (ending(new) and not node) or (node and (old is None or _node_of(old) != node)):
            yield key

    def _node(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """The pods of a node that is gone or out of service."""
        obj = new if new is not None else old
        assert obj is not None
        name = str(obj["metadata"]["name"])
        if new is None:
            return sorted(self._of_node.get(name, ()))
        self._missing.pop(name, None)
        return sorted(self._of_node.get(name, ())) if out_of_service(new) else ()

    async def reconcile(self, key: str) -> float | None:
        """Take the pod away if nobody else will."""
        if not key:
            await self._too_many()
            return None
        pod = self._pods.get(key)
        if pod is None:
            return None
        name = _node_of(pod)
        if not name:
            if ending(pod):
                await self._delete(pod)
            return None
        node = self._nodes.get(name)
        if node is not None:
            if ending(pod) and out_of_service(node):
                await self._take(pod, "DeletionByPodGC", "PodGC: node is out of service")
            return None
        left = self._missing.setdefault(name, self._clock()) + QUARANTINE - self._clock()
        if left > 0:
            return left
        if await self._there(name):
            return QUARANTINE
        await self._take(pod, "DeletionByPodGC", "PodGC: node no longer exists")
        return None

    async def _there(self, node: str) -> bool:
        """Whether the server knows the node: our cache might be wrong."""
        try:
            await self._client.get(NODES.path("", node))
        except ApiError as e:
            if e.code == 404:
                return False
            raise
        return True

    async def _take(self, pod: Object, reason: str, message: str) -> None:
        """Say why, let it have failed if it has not ended, and delete it."""
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
                     "lastTransitionTime": times.seconds(self._now())}  # fmt: skip
        if phase(pod) not in ENDED:
            patch = {
                "metadata": {"uid": pod["metadata"]["uid"]}, "status": {"phase": "Failed", "conditions": [condition]},
            }  # fmt: skip
            try:
                await self._client.patch(PODS.at(key_of(pod), "status"), patch, kind=STRATEGIC_MERGE_PATCH)
            except ApiError as e:
                if e.code == 404:
                    return
                raise
        await self._delete(pod)

    async def _delete(self, pod: Object) -> None:
        try:
            await self._client.delete(PODS.at(key_of(pod)), uid=pod["metadata"]["uid"], grace=0)
        except ApiError as e:
            if e.code not in (404, 409):  # gone, or another of the same name
                raise

    async def _too_many(self) -> None:
        ended = [pod for key in self._ended if (pod := self._pods.get(key)) is not None and not ending(pod)]
        ended.sort(key=lambda pod: (created(pod), key_of(pod)))
        for pod in ended[: max(0, len(ended) - KEPT)]:
            await self._delete(pod)


def _node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName", ""))
