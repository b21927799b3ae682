"""An API server, a node's HTTPS server and real containers, in one process: all that streams need, without a kubelet.

`StreamWorld` runs both servers in a thread; pods are made by `pod`, one container of the runtime for each.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from patience import patience

from netlab.client.kubeconfig import load
from netlab.client.rest import RestClient
from netlab.daemons import apiserver
from netlab.kernel import netns
from netlab.kernel.cgroups import Usage
from netlab.kernel.commands import run_in
from netlab.kubelet.serving.access import Access
from netlab.kubelet.serving.server import Server
from netlab.runtime.containers import Runtime
from netlab.runtime.images import build
from netlab.runtime.images.store import Store
from netlab.runtime.spec import Container

Json = dict[str, Any]
T = TypeVar("T")
NODE = "n1"


class StandIn:
    """What the server asks of a kubelet."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.node = runtime, NODE
        self.pods: dict[tuple[str, str], Json] = {}
        self.ids: dict[tuple[str, str, str, bool], str] = {}
        self.nets: dict[tuple[str, str], str] = {}

    def all(self) -> Sequence[Json]:
        return list(self.pods.values())

    def get(self, namespace: str, name: str) -> Json | None:
        return self.pods.get((namespace, name))

    def container_id(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str | None:
        return self.ids.get((namespace, pod, container, previous))

    def netns(self, namespace: str, pod: str) -> str | None:
        return self.nets.get((namespace, pod))

    def usage(self) -> Usage:
        return Usage(cpu=time.process_time_ns(), memory=64 << 20, working_set=32 << 20)


class StreamWorld:
    """directory: for everything; name: of control groups and namespaces. Use as a context manager."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        images = Store(directory / "images")
        build.build(images, ["busybox"])
        self.runtime = Runtime(directory / "run", images, cgroup=f"/netlab.{name}")
        self.pods = StandIn(self.runtime)
        self.namespaces: list[str] = []
        self._up = AsyncExitStack()
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="stream-world")

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the servers' loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(patience(60))

    def __enter__(self) -> StreamWorld:
        netns.own()
        self._thread.start()
        try:
            self.do(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.do(self._up.aclose())
        finally:
            self._stop_thread()
            for status in self.runtime.all():
                self.runtime.remove(status.id)
            for name in self.namespaces:
                netns.delete(name)

    def _stop_thread(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _start(self) -> None:
        options = apiserver.Options(data_dir=self.directory / "data", store="memory", port=0)
        self.api = await apiserver.serve(options)
        self._up.push_async_callback(self.api.aclose)
        self.kubeconfig = self.directory / "data" / apiserver.ADMIN
        pair = self.api.authority.issue(f"system:node:{NODE}", ("system:nodes",), addresses=["127.0.0.1"], server=True)
        cert, key, ca = (self.directory / name for name in ("kubelet.crt", "kubelet.key", "ca.crt"))
        cert.write_bytes(pair.cert)
        key.write_bytes(pair.key)
        ca.write_bytes(self.api.authority.pair.cert)
        self.server = Server(self.pods, Access(), cert=cert, key=key, client_ca=ca)
        self.port = await self.server.start(["127.0.0.1"], 0)
        self._up.push_async_callback(self.server.aclose)
        self.client = RestClient(load(self.kubeconfig))
        self._up.push_async_callback(self.client.aclose)
        node: Json = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        made = await self.client.create("/api/v1/nodes", node)
        made["status"] = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "capacity": {"cpu": "2", "memory": "4Gi"}, "allocatable": {"cpu": "2", "memory": "4Gi"},
        }  # fmt: skip
        await self.client.replace(f"/api/v1/nodes/{NODE}/status", made)

    def network(self, pod: str) -> str:
        """A network namespace for a pod, with lo up; its path."""
        name = f"{self.name}-{pod}"
        os.close(netns.create(name))
        self.namespaces.append(name)
        run_in(name, ["ip", "link", "set", "lo", "up"], check=True)
        path = self.pods.nets["default", pod] = str(netns.path(name))
        return path

    def pod(self, name: str, script: str, **more: Any) -> str:
        """A pod that runs a shell's script in its container `c`; the container's name in the runtime."""
        run = f"{name}-c"
        labels = {
            "io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.name": name,
            "io.kubernetes.container.name": "c",
        }  # fmt: skip
        container = Container(image="busybox", command=("sh", "-c", script), labels=labels, **more)
        self.runtime.create(run, container, log=self.directory / "logs" / name / "0.log")
        self.runtime.start(run)
        spec: Json = {"name": "c", "image": "busybox", "tty": container.tty, "stdin": container.stdin}
        self.pods.ids["default", name, "c", False] = run
        self.do(self._tell(name, {"containers": [spec], "nodeName": NODE}, run))
        return run

    async def _tell(self, name: str, spec: Json, run: str) -> None:
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        made = await self.client.create("/api/v1/namespaces/default/pods", body)
        now = "2024-01-01T00:00:00Z"
        made["status"] = {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "c", "image": "busybox", "imageID": "", "ready": True, "restartCount": 0,
                "containerID": f"netlab://{run}", "state": {"running": {"startedAt": now}},
            }],
        }  # fmt: skip
        self.pods.pods["default", name] = await self.client.replace(
            f"/api/v1/namespaces/default/pods/{name}/status", made
        )
