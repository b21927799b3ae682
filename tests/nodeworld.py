"""A node of a test: a network namespace with an address and a pod network, an API server in it, and a kubelet.

All of it runs in this process, whose thread lives in the node's namespace meanwhile: nothing else is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson
from patience import patience

from netlab.client.kubeconfig import load
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, Object, RestClient
from netlab.daemons.apiserver import Options as ServerOptions
from netlab.daemons.apiserver import issue_kubeconfig, serve
from netlab.daemons.kubelet import Options, kubelet_of
from netlab.kernel import cgroups, netns, syscalls
from netlab.kernel.commands import Completed, run_in
from netlab.kubelet import pods
from netlab.kubelet.engine import Engine
from netlab.kubelet.handlers import Ran
from netlab.kubelet.kubelet import Kubelet
from netlab.runtime.containers import Runtime
from netlab.runtime.images.store import Store

PODS, EVENTS = Resource("v1", "pods"), Resource("v1", "events")
NODES, MAPS = Resource("v1", "nodes"), Resource("v1", "configmaps")
NODE = "n1"
ADDRESS = "10.200.0.1"
LACKING = [tool for tool in ("runc", "conmon", "busybox") if not shutil.which(tool)]


@contextlib.contextmanager
def living_in(name: str) -> Iterator[None]:
    """This thread, and those that it starts, take a namespace for the one that the process began in."""
    home, fd = netns.own(), netns.open_fd(name)
    assert fd is not None
    syscalls.setns(fd)
    netns._own = fd
    try:
        yield
    finally:
        netns._own = home
        syscalls.setns(home)
        os.close(fd)


@contextlib.contextmanager
def node_namespace(name: str) -> Iterator[None]:
    """A namespace with lo and an address, and the thread in it."""
    netns.prepare()
    os.close(netns.create(name))
    try:
        for line in (
            "link set lo up",
            "link add eth0 type bridge",
            f"addr add {ADDRESS}/24 dev eth0",
            "link set eth0 up",
        ):
            run_in(name, ["ip", *line.split()], check=True)
        with living_in(name):
            yield
    finally:
        netns.delete(name)


class World:
    """client: the administrator's; folder: where all is."""

    def __init__(self, client: RestClient, folder: Path, images: Path) -> None:
        self.client, self.folder = client, folder
        self.options = Options(
            kubeconfig=folder / "config", node=NODE, root=folder / "k", runtime=folder / "r", images=images,
            logs=folder / "logs", cni=folder / "net.d", cni_root=folder, ips=(ip_address(ADDRESS),), dns=(ip_address("10.96.0.10"),),
            cgroup=f"/netlab.t{os.getpid()}",
        )  # fmt: skip
        #: of the kubelet's own server
        self.cert, self.key, self.ca = (folder / name for name in ("kubelet.crt", "kubelet.key", "api/pki/ca.crt"))
        (folder / "config").write_bytes(issue_kubeconfig(folder / "api", f"system:node:{NODE}", ["system:nodes"]))
        self.kubelet: Kubelet | None = None
        self._running: asyncio.Task[None] | None = None
        self._own: RestClient | None = None

    def network(self) -> None:
        """Pods can be wired from now on."""
        (self.folder / "net.d").mkdir(exist_ok=True)
        ipam = {"type": "host-local", "ranges": [[{"subnet": "10.201.0.0/24"}]]}
        plugins = [
            {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]
        document = {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}
        (self.folder / "net.d" / "10-pods.conflist").write_bytes(orjson.dumps(document))

    async def start(self, **changed: Any) -> Kubelet:
        """A kubelet that knows its pods."""
        self.options = replace(self.options, **changed)
        self._own = RestClient(load(self.options.kubeconfig))
        self.kubelet = kubelet_of(self._own, self.options)
        self._running = asyncio.create_task(self.kubelet.run())
        ready = asyncio.create_task(self.kubelet.ready.wait())
        await asyncio.wait({ready, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            self._running.result()
        return self.kubelet

    async def verb(self) -> subprocess.Popen[bytes]:
        """`netlab kubelet` as a process of its own, which writes to FOLDER/kubelet.log."""
        o = self.options
        argv = [
            sys.executable, "-m", "netlab.cli.main", "kubelet", "--kubeconfig", o.kubeconfig, "--node-name", NODE,
            "--root", o.root, "--runtime-root", o.runtime, "--images", o.images, "--logs", o.logs, "--cni-conf-dir",
            o.cni, "--cni-root", o.cni_root, "--node-ip", ADDRESS, "--cgroup-root", o.cgroup, "--cluster-dns",
            "10.96.0.10", "--tls-cert-file", self.cert, "--tls-private-key-file", self.key, "--client-ca-file", self.ca,
        ]  # fmt: skip
        with (self.folder / "kubelet.log").open("ab") as file:
            return await asyncio.to_thread(
                lambda: subprocess.Popen(list(map(str, argv)), stdout=file, stderr=subprocess.STDOUT)
            )

    async def stop(self) -> None:
        """The kubelet ends, the pods stay."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._own is not None:
            await self._own.aclose()
        self._running = self._own = self.kubelet = None

    # -- objects

    async def make(self, name: str, *containers: Object, namespace: str = "default", **spec: Any) -> Object:
        """A pod of this node."""
        metadata = {"name": name, **spec.pop("metadata", {})}
        whole = {"nodeName": NODE, "terminationGracePeriodSeconds": 5, "containers": list(containers), **spec}
        return await self.client.create(PODS.path(namespace), {"metadata": metadata, "spec": whole})

    async def pod(self, name: str) -> Object | None:
        """None if it is not there."""
        try:
            return await self.client.get(PODS.path("default", name))
        except ApiError as e:
            if e.code == 404:
                return None
            raise

    async def when(self, name: str, condition: Callable[[Object], Any]) -> Object:
        """The pod, once it is so."""
        last: Object | None = None

        async def holds() -> Object | None:
            nonlocal last
            last = await self.pod(name)
            return last if last is not None and condition(last) else None

        try:
            found: Object = await eventually(holds)
        except TimeoutError:
            events = await self.events(name)
            raise AssertionError(f"{name} does not come to it: {last and last.get('status')}\n{events}") from None
        return found

    async def gone(self, name: str) -> None:
        """Until it is."""

        async def away() -> bool:
            return await self.pod(name) is None

        await eventually(away)

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages about an object, in the order in which they were first said."""
        listed = await self.client.list(EVENTS.path("default"), field_selector=f"involvedObject.name={name}")
        found = sorted(listed["items"], key=lambda e: e["metadata"]["name"])
        return [(e["reason"], e["message"]) for e in found]

    async def said(self, name: str, reason: str, text: str = "") -> None:
        """Until that is said about an object."""

        async def there() -> bool:
            return any(r == reason and text in m for r, m in await self.events(name))

        try:
            await eventually(there)
        except TimeoutError:
            raise AssertionError(f"{reason} {text} is not said: {await self.events(name)}") from None

    async def wrote(self, pod: Object, container: str, text: str, attempt: int = 0) -> None:
        """Until a container has written that, and nothing else."""
        meta = pod["metadata"]
        path = self.folder / "logs" / f"default_{meta['name']}_{meta['uid']}" / container / f"{attempt}.log"

        async def there() -> bool:
            lines = path.read_text().splitlines() if path.exists() else ["- - - nothing"]
            return "".join(line.split(" ", 3)[3] + "\n" for line in lines) == text

        try:
            await eventually(there)
        except TimeoutError:
            raise AssertionError(f"{path} is {path.read_text() if path.exists() else 'not there'!r}") from None

    @property
    def runtime(self) -> Runtime:
        """Where the containers are, whether there is a kubelet or not."""
        return Runtime(self.options.runtime, Store(self.options.images), cgroup=self.options.cgroup)

    async def run(self, pod: Object, name: str, *argv: str) -> Ran:
        """One more program in a container that runs."""
        id = pods.statuses(pod["status"])[name]["containerID"]
        ran = await Engine(self.runtime).run(id.removeprefix("netlab://"), argv, patience(30))
        assert ran.status == 0, ran
        return ran

    async def exec_alone(self, pod: Object, *argv: str) -> None:
        """The same in its first container, however that ends."""
        id = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("netlab://")
        await Engine(self.runtime).run(id, argv, patience(30))

    async def kubectl(self, *argv: str) -> Completed:
        """The person's own."""
        env = {"KUBECONFIG": str(self.folder / "api" / "admin.conf"), "HOME": str(self.folder)}
        return await asyncio.to_thread(lambda: run_in(None, ["kubectl", *argv], env=env, timeout=patience(60)))

    def left(self) -> list[str]:
        """What there is of pods on this machine."""
        found = [str(p) for p in (self.folder / "r" / "containers").glob("*")]
        found += [str(p) for p in (self.folder / "k" / "networks").glob("*")]
        found += [str(p) for p in (self.folder / "k" / "pods").glob("*")]
        found += [str(p) for p in (self.folder / "logs").glob("*")]
        found += [n for n in netns.names() if n.startswith("cni-") and self._mine(n)]
        found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.folder) in line]
        leases = self.folder / "var/lib/cni"
        found += [str(p) for p in leases.rglob("*:*")] + [str(p) for p in leases.glob("results/*")]
        return found + [path for path, _, _ in self._groups() if "/pod" in path]

    def _groups(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """Those of this test, the innermost first; what goes meanwhile is passed over."""
        for top in cgroups.hierarchies():
            yield from os.walk(top / self.options.cgroup.lstrip("/"), topdown=False)

    def empty(self) -> None:
        """Take away the groups that stay for the next pod."""
        for path, _, _ in self._groups():
            Path(path).rmdir()
        cgroups.remove(self.options.cgroup)

    def _mine(self, name: str) -> bool:
        return (self.folder / "k" / "networks" / name.removeprefix("cni-")).exists()


async def eventually(condition: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> Any:
    """What a condition gives, once it is so. TimeoutError."""
    async with asyncio.timeout(patience(seconds)):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found


def state(pod: Object, number: int = 0) -> Object:
    """Of a container."""
    found = pod["status"].get("containerStatuses") or []
    return dict(found[number]["state"]) if len(found) > number else {}


def waiting(pod: Object) -> str:
    """What the first container waits for, "" if it does not."""
    return str((state(pod).get("waiting") or {}).get("reason", ""))


def ready(pod: Object) -> bool:
    """Whether the pod is."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())


def container(script: str = "exec sleep 1000", name: str = "c", **more: Any) -> Object:
    """A shell that ends when it is asked to."""
    if script == "exec sleep 1000":
        script = "trap 'exit 0' TERM; sleep 1000 & wait"
    return {
        "name": name,
        "image": "busybox",
        "command": ["sh", "-c", script],
        "imagePullPolicy": "IfNotPresent",
        **more,
    }


def many(count: int) -> str:
    """A script that wants so many processes, and says so if it does not get them. A shell that gets no more ends."""
    return f"(for n in $(seq {count}); do sleep 1000 & done) 2>/dev/null || echo no more; exec sleep 1000"


@contextlib.asynccontextmanager
async def world(images: Path) -> AsyncIterator[World]:
    """Everything, and nothing of it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="nl"))
    try:
        server = await serve(ServerOptions(data_dir=folder / "api", store="memory", port=0))
        try:
            client = RestClient(load(folder / "api" / "admin.conf"))
            w = World(client, folder, images)
            own = server.authority.issue(f"system:node:{NODE}", ("system:nodes",), addresses=[ADDRESS], server=True)
            w.cert.write_bytes(own.cert)
            w.key.write_bytes(own.key)
            try:
                yield w
            finally:
                if w.kubelet is None:
                    await w.start()
                await client.delete(PODS.path("default"), grace=1)

                async def nothing() -> bool:
                    listed = await client.list(PODS.path("default"))
                    return not listed["items"] and not w.left()

                try:
                    await eventually(nothing)
                except TimeoutError:
                    raise AssertionError(f"left: {w.left()}") from None
                finally:
                    await w.stop()
                    await client.aclose()
                    w.empty()
        finally:
            await server.aclose()
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


def on_node(images: Path, test: Callable[[World], Awaitable[None]]) -> None:
    """Run a test. What a bug makes the kubelet log fails it."""
    bugs: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                bugs.append(logging.Formatter().format(record))

    async def whole() -> None:
        async with world(images) as w:
            await test(w)

    handler = Catch()
    logging.getLogger("kubelet").addHandler(handler)
    try:
        with node_namespace(f"kt{os.getpid()}"):
            asyncio.run(whole())
    finally:
        logging.getLogger("kubelet").removeHandler(handler)
    assert not bugs, "\n".join(bugs)
