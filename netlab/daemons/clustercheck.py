"""`netlab cluster check`: the matrix on a cluster that is up. Makes its pods and Services, asks, takes them away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from netlab.base.clusters import SWITCH
from netlab.base.errors import MachineError, NetlabError
from netlab.base.patience import patience
from netlab.cluster import matrix, networks, plan
from netlab.cluster.engine import Engine
from netlab.cluster.machine import Process, Progress
from netlab.cluster.matrix import Place, World
from netlab.cluster.plan import Cluster, Node
from netlab.cluster.probing import Seen, seen
from netlab.daemons.clusters import LOOK, api_client
from netlab.daemons.creating import create
from netlab.daemons.podnetwork import wired

if TYPE_CHECKING:
    from netlab.client.rest import RestClient

#: seconds that pods have to run, and to be gone
PODS_LIMIT = 60.0


def check(
    engine: Engine, name: str, kinds: Collection[str], *, within: float, progress: Progress
) -> list[Seen]:  # fmt: skip
    """Every probe of these kinds, and how it ended. within: seconds that they have to pass, once the pods run.

    InputError, MachineError, NetlabError.
    """
    engine.machine.require_root()
    cluster, inits = engine.cluster(name), engine.inits(name)
    if not inits:
        raise MachineError(f"no node of cluster {name} is on", hint=f"netlab cluster up {name}")
    return asyncio.run(_checked(engine, cluster, inits, kinds, patience(within), progress))


async def _checked(
    engine: Engine, cluster: Cluster, inits: Mapping[str, Process], kinds: Collection[str], limit: float,
    progress: Progress,
) -> list[Seen]:  # fmt: skip
    async with api_client(cluster.kubeconfig) as client:
        try:
            await create(client, matrix.objects(list(inits)))
            found = await _pods(client, len(inits) + 1, len(plan.families(cluster.options)), progress)
            world = await _world(client, cluster, inits, found)
            probes = [probe for probe in matrix.probes(world) if probe.kind in kinds]
            return await seen(probes, engine.machine.probes(), limit=limit, progress=progress)
        finally:
            await _remove(client, progress)


async def _pods(client: RestClient, count: int, families: int, progress: Progress) -> list[dict[str, Any]]:
    """All pods, when they run and have an address of each family. NetlabError."""
    from netlab.client.rest import path

    end = time.monotonic() + patience(PODS_LIMIT)
    while True:
        pods = (await client.list(path("v1", "pods", namespace=matrix.NAMESPACE)))["items"]
        waiting = [pod for pod in pods if not _runs(pod, families)]
        if len(pods) == count and not waiting:
            return list(pods)
        progress("waiting for pods", len(waiting))
        if time.monotonic() > end:
            first = next(iter(waiting), None)
            what = f"pod {first['metadata']['name']} is {first.get('status')}" if first else f"{len(pods)} of {count}"
            raise NetlabError(f"the pods of the check do not run after {patience(PODS_LIMIT):g} s: {what}")
        await asyncio.sleep(LOOK)


def _runs(pod: Mapping[str, Any], families: int) -> bool:
    status = pod.get("status") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    return ready and len(status.get("podIPs") or ()) == families


async def _world(
    client: RestClient, cluster: Cluster, inits: Mapping[str, Process], pods: list[dict[str, Any]]
) -> World:
    from netlab.client.rest import path

    listed = (await client.list(path("v1", "services", namespace=matrix.NAMESPACE)))["items"]
    api = await client.get(path("v1", "services", namespace="default", name="kubernetes"))
    nodes = [cluster.node(name) for name in inits]
    return World(
        outside=Place("outside", f"{cluster.name}.{SWITCH}", cluster.gateways, ""),
        nodes=tuple(Place(node.name, node.netns, node.ips, node.name) for node in nodes),
        pods=tuple(_pod(cluster.node(pod["spec"]["nodeName"]), inits, pod) for pod in pods),
        services={obj["metadata"]["name"]: matrix.service(obj) for obj in listed},
        api=ip_address(api["spec"]["clusterIP"]), dns=plan.DNS_IP, mtu=networks.pod_mtu(cluster.options),
    )  # fmt: skip


def _pod(node: Node, inits: Mapping[str, Process], pod: dict[str, Any]) -> Place:
    name = pod["metadata"]["name"]
    found = wired(node, inits[node.name][0], pod)
    if found is None:
        raise NetlabError(f"pod {name} runs on {node.name}, and has no network there")
    addresses = tuple(ip_address(entry["ip"]) for entry in pod["status"]["podIPs"])
    return Place(name, found.netns, addresses, node.name)


async def _remove(client: RestClient, progress: Progress) -> None:
    """The cluster as it was, as far as it lets us: what the check has to say goes before."""
    from netlab.client.rest import ApiError, ApiUnavailable, path

    at = path("v1", "namespaces", name=matrix.NAMESPACE)
    end = time.monotonic() + patience(PODS_LIMIT)
    with contextlib.suppress(ApiUnavailable):
        try:
            await client.delete(at)
            while time.monotonic() < end:
                await client.get(at)
                progress("taking the pods away", 0)
                await asyncio.sleep(LOOK)
        except ApiError as e:
            if e.code != 404:
                raise
