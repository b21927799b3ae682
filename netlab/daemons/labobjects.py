"""A lab's objects in the API of its cluster: laid from its manifests, and laid again when they have become others.

Whose hand was on an object is read off its managedFields: netlab's own writers are called netlab-…, and everybody else
is a person. What a person has changed is replaced, or made anew where the API lets nobody replace it; what a person has
made is deleted; what controllers have made goes with its owners.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netlab.base.errors import InputError, NetlabError, Problem
from netlab.base.manifests import Manifest
from netlab.base.patience import patience
from netlab.client.resources import Served, distinct
from netlab.client.rest import APPLY_PATCH, ApiError
from netlab.daemons.labcluster import LabCluster

Json = dict[str, Any]

#: as whom a lab's objects are applied, and those of an exercise, who is somebody else
LAB, EXERCISE = "netlab-lab", "exercise"
#: seconds that what an object needs has to be there, such as its namespace's ServiceAccount; that one has to be gone
LIMIT = 60.0
#: seconds that the pods of what was made anew have to be there
WHOLE = 30.0
_LOOK = 0.1
#: what has a history, which a replaced one would keep: revisions, and pods of which a roll may be stuck
_WITH_HISTORY = ("Deployment", "StatefulSet", "DaemonSet")
#: namespaces in which labs have nothing
_SYSTEM = ("kube-system", "kube-public", "kube-node-lease", "kube-flannel")
#: what others derive
_DERIVED = ("events", "endpoints", "endpointslices", "leases", "controllerrevisions", "nodes", "pods.metrics.k8s.io")
#: the namespace and its ServiceAccount, the Service of the API
_BY_ITSELF = ("default", "kubernetes")
_TAINTS = ("node.kubernetes.io/", "node-role.kubernetes.io/")


async def apply(cluster: LabCluster, manifests: Iterable[Manifest], *, manager: str = LAB) -> None:
    """Apply objects in their order. InputError at what the API refuses."""
    for manifest in manifests:
        await _patient(cluster, manifest, manager)


async def restore(cluster: LabCluster, manifests: Sequence[Manifest]) -> list[str]:
    """Everything as the manifests say and nothing else; what was removed that nobody had asked for, in words."""
    removed = await _strangers(cluster, manifests)
    for manifest in manifests:
        served = await _served(cluster, manifest)
        live = await _get(cluster, served, manifest.data)
        if live is None or not (_touched(live) or _lost(served, live)):
            await _patient(cluster, manifest, LAB)
        elif served.kind in _WITH_HISTORY:
            await _gone(cluster, _path(served, manifest.data), propagation="Foreground")
            await _patient(cluster, manifest, LAB)
            await _whole(cluster, served, manifest)
        else:
            await _replace(cluster, served, manifest, live)
    await _nodes(cluster)
    return removed


async def change(cluster: LabCluster, manifests: Iterable[Manifest]) -> None:
    """Have these objects be like that, whole, as an exercise."""
    for manifest in manifests:
        served = await _served(cluster, manifest)
        live = await _get(cluster, served, manifest.data)
        if live is None:
            await _patient(cluster, manifest, EXERCISE)
        else:
            await _replace(cluster, served, manifest, live, manager=EXERCISE)


async def delete(cluster: LabCluster, kind: str, name: str, namespace: str) -> None:
    """Delete an object, and wait until it is gone. One that is not there is no error."""
    found = next((s for s in distinct(await cluster.served()) if kind in (s.kind, s.resource.plural)), None)
    if found is None:
        raise InputError(f"the server has no kind {kind!r}")
    await _gone(cluster, found.resource.path(namespace if found.namespaced else None, name))


async def patch(cluster: LabCluster, kind: str, name: str, namespace: str, body: Mapping[str, Any]) -> None:
    """Change a part of an object, as an exercise (RFC 7386)."""
    found = next((s for s in distinct(await cluster.served()) if kind in (s.kind, s.resource.plural)), None)
    if found is None:
        raise InputError(f"the server has no kind {kind!r}")
    at = found.resource.path(namespace if found.namespaced else None, name)
    await cluster.client.patch(at, dict(body), fieldManager=EXERCISE)


# -- one object


async def _served(cluster: LabCluster, manifest: Manifest) -> Served:
    """The resource of a manifest. InputError."""
    wanted = (manifest.data["apiVersion"], manifest.data["kind"])
    end = time.monotonic() + patience(LIMIT)
    while True:
        found = next((s for s in await cluster.served() if (s.resource.api_version, s.kind) == wanted), None)
        if found is not None:
            return found
        if time.monotonic() > end:
            raise InputError([Problem(manifest.place(("kind",)), f"the server has no {wanted[1]} of {wanted[0]}")])
        await asyncio.sleep(_LOOK)  # a definition is established a moment after it was made
        await cluster.served(anew=True)


def _path(served: Served, obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace") or "default" if served.namespaced else None
    return served.resource.path(namespace, metadata["name"])


async def _get(cluster: LabCluster, served: Served, obj: Mapping[str, Any]) -> Json | None:
    try:
        return await cluster.client.get(_path(served, obj))
    except ApiError as e:
        if e.code == 404:
            return None
        raise


async def _patient(cluster: LabCluster, manifest: Manifest, manager: str) -> None:
    """Apply it, as soon as what it needs is there: a namespace has its ServiceAccount a moment after it was made."""
    served = await _served(cluster, manifest)
    end = time.monotonic() + patience(LIMIT)
    while True:
        try:
            await cluster.client.patch(
                _path(served, manifest.data), manifest.data, kind=APPLY_PATCH, fieldManager=manager, force="true"
            )
            return
        except ApiError as e:
            # what is wrong with the object itself is so for good
            if e.code not in (403, 404, 409) or time.monotonic() > end:
                raise InputError([Problem(manifest.place(), e.message)]) from e
        await asyncio.sleep(_LOOK)


async def _replace(
    cluster: LabCluster, served: Served, manifest: Manifest, live: Json, *, manager: str = LAB
) -> None:  # fmt: skip
    """Have it be like that, whole; what the API lets nobody replace is made anew."""
    body = {**manifest.data, "metadata": {**manifest.data["metadata"]}}
    if served.kind == "Namespace":
        body["spec"] = live.get("spec", {})
    at = _path(served, manifest.data)
    end = time.monotonic() + patience(LIMIT)
    while served.kind != "Pod":
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        try:
            await cluster.client.replace(at, body, fieldManager=manager)
            return
        except ApiError as e:
            if e.code == 422:
                break
            # a controller has written its status meanwhile
            if e.code != 409 or time.monotonic() > end:
                raise
        found = await _get(cluster, served, manifest.data)
        if found is None:
            break
        live = found
    await _gone(cluster, at)
    await _patient(cluster, manifest, manager)


async def _whole(cluster: LabCluster, served: Served, manifest: Manifest) -> None:
    """Wait until all of its pods are there, unless it is a lab in which they are not meant to be."""
    end = time.monotonic() + patience(WHOLE)
    while time.monotonic() < end:
        live = await _get(cluster, served, manifest.data) or {}
        state = live.get("status") or {}
        wanted = state.get("desiredNumberScheduled", live.get("spec", {}).get("replicas"))
        has = state.get("numberAvailable", state.get("availableReplicas", 0))
        if state.get("observedGeneration") == live.get("metadata", {}).get("generation") and has == wanted:
            return
        await asyncio.sleep(_LOOK)


async def _gone(cluster: LabCluster, at: str, *, propagation: str = "Background") -> None:
    began, limit = time.monotonic(), patience(LIMIT)
    while True:
        # a pod whose object goes ahead of its containers still has its ports: another one would be rejected for them.
        # Who waits in vain for a kubelet that is no more does not wait for ever
        grace = None if "/pods/" not in at else 1 if time.monotonic() < began + limit / 2 else 0
        try:
            await cluster.client.delete(at, grace=grace, propagation=propagation)
            await cluster.client.get(at)
        except ApiError as e:
            if e.code == 404:
                return
            raise
        if time.monotonic() > began + limit:
            raise NetlabError(f"{at} was deleted and is still there after {LIMIT:g} s")
        await asyncio.sleep(_LOOK)


# -- what persons have done


def _managers(obj: Json) -> set[str]:
    return {entry.get("manager", "") for entry in obj["metadata"].get("managedFields") or ()}


def _lost(kind: Served, obj: Json) -> bool:
    """A pod that its node has rejected, or given up, or is about to: nobody makes it anew but who made it."""
    failed = (obj.get("status") or {}).get("phase") == "Failed"
    return kind.kind == "Pod" and (failed or bool(obj["metadata"].get("deletionTimestamp")))


def _touched(obj: Json) -> bool:
    return any(not manager.startswith("netlab") for manager in _managers(obj))


async def _strangers(cluster: LabCluster, manifests: Sequence[Manifest]) -> list[str]:
    """Delete what persons have made. What it was, in words."""
    wanted = {(m.data["kind"], _namespace(m.data), m.data["metadata"]["name"]) for m in manifests}
    served = [s for s in distinct(await cluster.served(anew=True)) if {"list", "delete"} <= s.verbs]
    kinds = [s for s in served if s.resource.plural not in _DERIVED]

    async def look(kind: Served) -> list[tuple[Served, Json]]:
        try:
            listed = (await cluster.client.list(kind.resource.path()))["items"]
        except ApiError as e:
            if e.code in (404, 405, 503):  # of a definition that is going, or a server that is not there
                return []
            raise
        return [(kind, obj) for obj in listed if _somebodys(kind, obj)]

    found = [pair for listed in await asyncio.gather(*map(look, kinds)) for pair in listed]
    removed = []
    for kind, obj in found:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        ours = {(kind.kind, namespace if kind.namespaced else "default", metadata["name"])}
        if ours & wanted:
            continue
        at = kind.resource.path(namespace if kind.namespaced else None, metadata["name"])
        try:
            await cluster.client.delete(at, grace=1, propagation="Background")
        except ApiError as e:
            if e.code != 404:
                raise
        removed.append(f"{kind.kind} {namespace + '/' if namespace else ''}{metadata['name']}")
    return removed


def _namespace(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("namespace") or "default")


def _somebodys(kind: Served, obj: Json) -> bool:
    """A person made it, and it is no part of anything else."""
    metadata, managers = obj["metadata"], _managers(obj)
    if metadata.get("namespace") in _SYSTEM or metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
        return False
    if not managers:
        # nothing was said but a name; what the API server makes by itself is like that as well
        return (kind.namespaced or kind.kind == "Namespace") and metadata["name"] not in (*_SYSTEM, *_BY_ITSELF)
    return _touched(obj) and not managers & {LAB, "netlab-cluster"}


async def _nodes(cluster: LabCluster) -> None:
    """Nodes without what persons have put on them: labels, taints, the mark of a cordon."""
    served = next(s for s in await cluster.served() if (s.resource.api_version, s.kind) == ("v1", "Node"))
    for node in (await cluster.client.list(served.resource.path()))["items"]:
        if not _touched(node):
            continue
        fields = [
            entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:labels", {})
            for entry in node["metadata"].get("managedFields") or ()
            if not entry.get("manager", "").startswith("netlab")
        ]
        labels = {key.removeprefix("f:"): None for listed in fields for key in listed if key != "."}
        spec = node.get("spec") or {}
        taints = [taint for taint in spec.get("taints") or () if str(taint.get("key", "")).startswith(_TAINTS)]
        body = {"metadata": {"labels": labels}, "spec": {"unschedulable": None, "taints": taints or None}}
        await cluster.client.patch(served.resource.path(None, node["metadata"]["name"]), body, fieldManager=LAB)
