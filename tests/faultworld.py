"""A cluster under load while it is harmed: what its users see meanwhile, and what is left behind on its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from clusterup import Cluster
from patience import patience

from netlab.base.errors import KernelError
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, ApiUnavailable, Object, RestClient
from netlab.kernel import cgroups, netns

PODS, NODES, SERVICES = Resource("v1", "pods"), Resource("v1", "nodes"), Resource("v1", "services")
DEPLOYMENTS = Resource("apps/v1", "deployments")
#: seconds for what has to come after a harm was done
LIMIT = 120.0
#: seconds for one answer of a Service
ANSWER = 15.0
IMAGE = "nginx:1.9.1"


async def until(cluster: Cluster, what: str, holds: Callable[[], Awaitable[object]], seconds: float = LIMIT) -> None:
    """Wait until it holds. An API server that does not answer is no answer, nor is a file that goes while it is read."""
    end, last = time.monotonic() + patience(seconds), ""
    while True:
        try:
            if await holds():
                return
            last = "it does not"
        except (ApiUnavailable, ApiError, AssertionError, KeyError, TypeError, FileNotFoundError) as e:
            last = f"{type(e).__name__}: {e}"
        if time.monotonic() > end:
            raise AssertionError(f"{what}: {last}\n{cluster.logs()}")
        await asyncio.sleep(0.1)


# -- what is left


def inventory(cluster: Cluster, node: str) -> dict[str, list[str]]:
    """All of a node that is made for pods, by kind, each with what it is known by: of an address whose it is."""
    lib = cluster.own(node, "/var/lib")
    init = cluster.runs(f"{node}/init").pid

    def names(directory: Path) -> list[str]:
        return sorted(p.name for p in directory.iterdir()) if directory.is_dir() else []

    mounts = [line.split()[4] for line in Path(f"/proc/{init}/mountinfo").read_text().splitlines()]
    group = f"/netlab/{cluster.name}/{node}"
    groups: set[str] = set()
    for root in cgroups.hierarchies():
        top = root / group.lstrip("/")
        groups |= {str(Path(path).relative_to(top)) for path, _, _ in os.walk(top)}
    links = json.loads(_told("ip", "-n", f"{cluster.name}.{node}", "-j", "link"))
    return {
        "containers": names(lib / "netlab/containers"),
        "runc": names(lib / "netlab/runc"),
        "records": names(lib / "kubelet/networks"),
        "volumes": names(lib / "kubelet/pods"),
        "addresses": [
            f"{file.name} {file.read_text().split()[0]}"
            for file in sorted((lib / "cni/networks").glob("*/*"))
            if file.name[0].isdigit()
        ],
        "results": names(lib / "cni/results"),
        "claims": sorted(f.name for f in (lib / "cni").glob("netlab/*/*") if ":" in f.name),
        "delegates": names(lib / "cni/flannel"),
        "namespaces": [n for n in names(Path(f"/proc/{init}/root/run/netns")) if n.startswith("cni-")],
        "mounts": sorted({m for m in mounts if "/pods/" in m or "/containers/" in m or "/netns/" in m}),
        "groups": sorted(g for g in groups if "pod" in g.replace("kubepods", "") or g.endswith(".monitor")),
        "links": sorted(link["ifname"] for link in links if link["ifname"].startswith("veth")),
        "logs": names(cluster.own(node, "/var/log") / "pods"),
    }


def rules(cluster: Cluster, node: str) -> list[str]:
    """The rules of a node, without counters."""
    found = []
    for tool in ("iptables-save", "ip6tables-save"):
        found += [line for line in _told("ip", "netns", "exec", f"{cluster.name}.{node}", tool).splitlines()
                  if line.startswith("-A")]  # fmt: skip
    return sorted(found)


def _told(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


async def leaks(cluster: Cluster, client: RestClient) -> list[str]:
    """What there is on the nodes of pods that the API does not know, and what is there more than once."""
    listed = (await client.list(PODS.path()))["items"]
    found: list[str] = []
    for node in cluster.nodes():
        pods = {p["metadata"]["uid"]: p for p in listed if p["spec"].get("nodeName") == node}
        there = inventory(cluster, node)
        whose: dict[str, str] = {}
        for name in there["containers"]:
            file = cluster.own(node, "/var/lib") / "netlab/containers" / name / "state.json"
            with contextlib.suppress(OSError, ValueError):
                whose[name] = json.loads(file.read_text())["labels"].get("io.kubernetes.pod.uid", "")
        known = {*pods, *(name for name, uid in whose.items() if uid in pods)}
        boxes = {name for name in there["records"] if whose.get(name) in pods}
        for kind, names in there.items():
            if kind == "links":
                if len(names) != len(boxes):
                    found.append(f"{node} links: {names} for {len(boxes)} pods")
                continue
            of = boxes if kind in ("records", "addresses", "results", "claims", "delegates", "namespaces") else known
            found += [f"{node} {kind}: {name}" for name in names if not any(word in name for word in of)]
        for kind in ("records", "addresses", "namespaces"):
            if len(there[kind]) != len(boxes):
                found.append(f"{node} {kind}: {there[kind]} for {len(boxes)} pods")
        if len(boxes) != len(pods):
            found.append(f"{node}: {len(boxes)} sandboxes for {sorted(p['metadata']['name'] for p in pods.values())}")
        living = {p["status"].get("podIP") for p in listed}
        found += [
            f"{node} rules: {rule}" for rule in rules(cluster, node)
            if any(word.startswith("10.244.") and word.endswith("/32") and word[:-3] not in living
                   and not word.endswith(".0/32") for word in rule.split())
        ]  # fmt: skip
    return found


# -- load


@dataclass
class Load:
    """served: connections that were answered; failed: when (monotonic) one was not, and why; came, went: pods."""

    served: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)
    came: int = 0
    went: int = 0

    def failures(self, since: float = 0.0, to: float = float("inf")) -> list[str]:
        return [why for at, why in self.failed if since <= at <= to]


def ask(where: str, address: str) -> bytes:
    """One page of a Service, asked from a namespace. OSError, KernelError if there is no such namespace."""
    with netns.entered(where):
        sock = socket.create_connection((address, 80), timeout=patience(ANSWER))
    try:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b""
        while data := sock.recv(65536):
            said += data
    finally:
        sock.close()
    if b" 200 " not in said[:20]:
        raise ConnectionError(f"answered {said[:40]!r}")
    return said


def _visit(where: str, address: str, load: Load, ended: threading.Event) -> None:
    while not ended.wait(0.03):
        began = time.monotonic()
        try:
            ask(where, address)
            load.served += 1
        except (OSError, KernelError) as e:
            load.failed.append((began, f"{where}: {e}"))


def pod(name: str, *, node: str = "", seconds: int = 1, image: str = "busybox") -> Object:
    spec: Object = {
        "terminationGracePeriodSeconds": seconds, "restartPolicy": "Never",
        "containers": [{"name": "c", "image": image, "command": ["sleep", "1000"]}],
    }  # fmt: skip
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "labels": {"of": "load"}}, "spec": spec}


async def _churn(client: RestClient, load: Load) -> None:
    """Pods come, three at a time, and go again."""
    number = 0
    there: list[str] = []
    while True:
        try:
            name = f"load-{number}"
            await client.create(PODS.path("default"), pod(name))
            number += 1
            load.came += 1
            there.append(name)
            if len(there) > 3:
                await client.delete(PODS.path("default", there[0]))
                there.pop(0)
                load.went += 1
        except ApiUnavailable:
            pass
        except ApiError as e:
            # what was done although nobody heard that it was
            if e.reason == "AlreadyExists":
                number += 1
                there.append(name)
            elif e.reason == "NotFound":
                there.pop(0)
        await asyncio.sleep(0.3)


@contextlib.asynccontextmanager
async def under_load(cluster: Cluster, client: RestClient, *places: str) -> AsyncIterator[Load]:
    """Connections to the Service web from these nodes, and pods that come and go. Ends with the pods gone."""
    address = (await client.get(SERVICES.path("default", "web")))["spec"]["clusterIP"]
    load, ended = Load(), threading.Event()
    threads = [
        threading.Thread(target=_visit, args=(f"{cluster.name}.{node}", address, load, ended)) for node in places
    ]
    for thread in threads:
        thread.start()
    churn = asyncio.create_task(_churn(client, load))
    try:
        yield load
    finally:
        churn.cancel()
        ended.set()
        await asyncio.gather(churn, return_exceptions=True)
        for thread in threads:
            thread.join()


async def deployed(cluster: Cluster, client: RestClient, replicas: int = 3) -> None:
    """The Deployment web and its Service, which answers."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": IMAGE}]}}  # fmt: skip
    await client.create(DEPLOYMENTS.path("default"), {
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    })  # fmt: skip
    spec = {"selector": labels, "ports": [{"port": 80}]}
    await client.create(SERVICES.path("default"), {"metadata": {"name": "web"}, "spec": spec})
    await until(cluster, "the Deployment is there", lambda: available(client, replicas))
    address = (await client.get(SERVICES.path("default", "web")))["spec"]["clusterIP"]

    async def answers() -> bool:
        return all([await asyncio.to_thread(_answered, f"{cluster.name}.{node}", address) for node in cluster.nodes()])

    await until(cluster, "the Service answers everywhere", answers)


def _answered(where: str, address: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ask(where, address))
    return False


async def available(client: RestClient, replicas: int = 3) -> bool:
    status = (await client.get(DEPLOYMENTS.path("default", "web")))["status"]
    return bool(status.get("availableReplicas") == replicas == status.get("replicas"))


async def ready(client: RestClient) -> bool:
    """Whether all nodes are Ready."""
    listed = (await client.list(NODES.path()))["items"]
    return all(c["status"] == "True" for node in listed for c in node["status"]["conditions"] if c["type"] == "Ready")


async def nothing_of_load(client: RestClient) -> bool:
    """Ask the load's pods to go; whether they are gone."""
    listed = (await client.list(PODS.path("default"), label_selector="of=load"))["items"]
    for each in listed:
        if "deletionTimestamp" not in each["metadata"]:
            with contextlib.suppress(ApiError):
                await client.delete(PODS.path("default", each["metadata"]["name"]))
    return not listed


async def converges(cluster: Cluster, client: RestClient, replicas: int = 3, seconds: float = LIMIT) -> None:
    """All nodes Ready, the Deployment whole, the load's pods gone, nothing left of anything."""
    await until(cluster, "the nodes are Ready", lambda: ready(client), seconds)
    await until(cluster, "the Deployment is whole", lambda: available(client, replicas), seconds)
    await until(cluster, "the load's pods are gone", lambda: nothing_of_load(client), seconds)
    last: list[str] = []

    async def clean() -> bool:
        nonlocal last
        last = await leaks(cluster, client)
        return not last

    try:
        await until(cluster, "nothing is left", clean, seconds)
    except AssertionError:
        raise AssertionError("\n".join(["left behind:", *last, cluster.logs()])) from None
