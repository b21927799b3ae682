"""Simulated kubelets: many nodes in one process, which do at the API server what kubelets do, and run nothing.

    register ─▶ Lease every 10 s
             ─▶ watch of the own Node: its podCIDR
             ─▶ watch of the own pods ─┬─ new      ─▶ status Pending, then Running and Ready with an address; events
                                       └─ deleted  ─▶ event, and the deletion that confirms it

Each node asks as itself (system:node:NAME), over connections of its own. What is left out: what a kubelet reads for a
pod's volumes and environment, its tokens, its probes. Containers start at once and never end by themselves, so Jobs do
not come to an end on these nodes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_network

from netlab.api import times
from netlab.base.aio import first
from netlab.client.informer import Informers, Interest
from netlab.client.recorder import Correlator, Recorder
from netlab.client.resources import Resource, key_of
from netlab.client.rest import STRATEGIC_MERGE_PATCH, ApiError, ApiUnavailable, Object, RestClient
from netlab.client.workqueue import WorkQueue

log = logging.getLogger("simnodes")

NODES, PODS = Resource("v1", "nodes"), Resource("v1", "pods")
LEASES = Resource("coordination.k8s.io/v1", "leases")
LEASE_NAMESPACE = "kube-node-lease"
#: seconds for which a Lease is good, and between two renewals: a kubelet's
LEASE_SECONDS, RENEW = 40, 10.0
#: pods of one node that are worked on at once
WORKERS = 2
#: what a node says that it has
CAPACITY = {"cpu": "16", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}


def node_object(name: str, address: str, stamp: str) -> Object:
    """A node as its kubelet registers it, Ready."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    conditions = [
        _condition("MemoryPressure", "False", "KubeletHasSufficientMemory", stamp),
        _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", stamp),
        _condition("PIDPressure", "False", "KubeletHasSufficientPID", stamp),
        _condition("Ready", "True", "KubeletReady", stamp),
    ]
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {},
        "status": {
            "capacity": CAPACITY, "allocatable": CAPACITY, "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.33.0-netlab-simulated",
                "kubeProxyVersion": "v1.33.0-netlab-simulated", "containerRuntimeVersion": "simulated://1",
                "kernelVersion": "", "osImage": "", "machineID": "", "systemUUID": "", "bootID": "",
            },
        },
    }  # fmt: skip


def _condition(kind: str, status: str, reason: str, stamp: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": stamp, "lastTransitionTime": stamp}


def pending_status(pod: Object, address: str, stamp: str) -> Object:
    """The status of a pod that its node has taken, and whose containers are being made."""
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    return {
        "phase": "Pending", "hostIP": address, "hostIPs": [{"ip": address}], "startTime": stamp,
        "conditions": _pod_conditions("False", stamp),
        "containerStatuses": [
            {"name": c["name"], "image": c.get("image", ""), "imageID": "", "ready": False, "restartCount": 0,
             "started": False, "state": waiting}
            for c in pod["spec"]["containers"]
        ],
    }  # fmt: skip


def running_status(pod: Object, ip: str, stamp: str) -> Object:
    """What changes when they run."""
    uid = pod["metadata"]["uid"]
    return {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": _pod_conditions("True", stamp),
        "containerStatuses": [
            {"name": c["name"], "image": c.get("image", ""), "imageID": f"sim@{c.get('image', '')}", "ready": True,
             "restartCount": 0, "started": True, "containerID": f"simulated://{uid}/{c['name']}",
             "state": {"running": {"startedAt": stamp}}}
            for c in pod["spec"]["containers"]
        ],
    }  # fmt: skip


def _pod_conditions(ready: str, stamp: str) -> list[Object]:
    states = {"PodReadyToStartContainers": ready, "Initialized": "True", "Ready": ready, "ContainersReady": ready,
              "PodScheduled": "True"}  # fmt: skip
    return [{"type": kind, "status": status, "lastTransitionTime": stamp} for kind, status in states.items()]


class Addresses:
    """Those of one node's pods: the lowest of its prefix that is free, from the second on (the first is the node's)."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self._free: list[int] = []
        self._next = 2

    def give(self, uid: str, prefix: str) -> str:
        """The address of a pod, the same each time."""
        number = self._of.get(uid)
        if number is None:
            if self._free:
                number = self._free.pop()
            else:
                number, self._next = self._next, self._next + 1
            self._of[uid] = number
        return str(ip_network(prefix)[number])

    def take(self, uid: str) -> None:
        """It is gone."""
        number = self._of.pop(uid, None)
        if number is not None:
            self._free.append(number)


@dataclass(slots=True)
class Counts:
    """What all nodes of a process have done."""

    registered: int = 0
    running: int = 0
    deleted: int = 0
    failed: int = 0


@dataclass(slots=True)
class SimNode:
    """One of them. client: as system:node:NAME; address: its own; wall: seconds since 1970."""

    name: str
    address: str
    client: RestClient
    counts: Counts
    wall: Callable[[], float] = field(default=time.time)

    async def run(self) -> None:
        """Be the node until cancelled."""
        informers = Informers(self.client)
        recorder = Recorder(self.client, Correlator("kubelet", self.name, now=self.wall))
        node = informers.of(Interest(NODES, field_selector=f"metadata.name={self.name}"))
        pods = informers.of(Interest(PODS, field_selector=f"spec.nodeName={self.name}"))
        queue, addresses = WorkQueue(), Addresses()
        running: set[str] = set()

        def heard(old: Object | None, new: Object | None) -> None:
            pod = new if new is not None else old
            assert pod is not None
            if new is None:
                running.discard(pod["metadata"]["uid"])
                addresses.take(pod["metadata"]["uid"])
            elif "deletionTimestamp" in new["metadata"] or new["metadata"]["uid"] not in running:
                queue.add(key_of(new))

        def prefix() -> str:
            own = node.store.get(self.name)
            return str(((own or {}).get("spec") or {}).get("podCIDR", ""))

        async def work() -> None:
            while (key := await queue.get()) is not None:
                try:
                    pod = pods.store.get(key)
                    if pod is not None:
                        await self._sync(pod, running, addresses, prefix(), recorder)
                    queue.forget(key)
                except (ApiError, ApiUnavailable) as e:
                    self.counts.failed += 1
                    if queue.failures(key) == 0:
                        log.warning("%s: %s: %s", self.name, key, e)
                    queue.retry(key)
                finally:
                    queue.done(key)

        def given(_old: Object | None, new: Object | None) -> None:
            if new is not None and (new.get("spec") or {}).get("podCIDR"):
                for pod in pods.store:
                    heard(None, pod)

        node.add_handler(given)
        pods.add_handler(heard)
        await self._register()
        informers.start()
        try:
            works = [work() for _ in range(WORKERS)]
            await first(informers.failure(), recorder.run(), self._renew(), *works)
        finally:
            queue.close()
            await informers.aclose()

    async def _register(self) -> None:
        try:
            await self.client.create(NODES.path(), node_object(self.name, self.address, times.seconds(self.wall())))
        except ApiError as e:
            if e.reason != "AlreadyExists":
                raise
        self.counts.registered += 1

    async def _renew(self) -> None:
        """Keep the Lease. Each node begins at another moment of the interval."""
        lease: Object | None = None
        while True:
            spec = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS,
                    "renewTime": times.micros(self.wall())}  # fmt: skip
            path = LEASES.path(LEASE_NAMESPACE, self.name)
            try:
                if lease is None:
                    try:
                        body = {"metadata": {"name": self.name}, "spec": spec}
                        lease = await self.client.create(LEASES.path(LEASE_NAMESPACE), body)
                    except ApiError as e:
                        if e.reason != "AlreadyExists":
                            raise
                        lease = await self.client.get(path)
                lease = await self.client.replace(path, {**lease, "spec": spec})
            except (ApiError, ApiUnavailable) as e:
                lease = None
                log.warning("%s: the Lease is not renewed: %s", self.name, e)
            await asyncio.sleep(RENEW)

    async def _sync(
        self, pod: Object, running: set[str], addresses: Addresses, prefix: str, recorder: Recorder
    ) -> None:
        """Make so what the pod asks for. ApiError."""
        meta, path = pod["metadata"], PODS.at(key_of(pod))
        uid, containers = meta["uid"], [c["name"] for c in pod["spec"]["containers"]]
        if "deletionTimestamp" in meta:
            if uid in running:
                for name in containers:
                    recorder.normal(pod, "Killing", f"Stopping container {name}")
            if await _there(self.client.delete(path, uid=uid, grace=0)):
                self.counts.deleted += 1
            return
        if uid in running or not prefix:
            return
        stamp = times.seconds(self.wall())
        ip = addresses.give(uid, prefix)
        for status in (pending_status(pod, self.address, stamp), running_status(pod, ip, stamp)):
            patch = {"metadata": {"uid": uid}, "status": status}
            if not await _there(self.client.patch(f"{path}/status", patch, kind=STRATEGIC_MERGE_PATCH)):
                return
        running.add(uid)
        self.counts.running += 1
        for name in containers:
            recorder.normal(pod, "Created", f"Created container: {name}")
            recorder.normal(pod, "Started", f"Started container {name}")


async def _there(request: Awaitable[Object]) -> bool:
    """Whether what a request was about is still there, and no other of the same name. ApiError."""
    try:
        await request
    except ApiError as e:
        if e.code in (404, 409):
            return False
        raise
    return True
