"""Static pods: manifests in a directory of the node, run without anybody's leave, and what stands for them in the API.

    DIR/web.yaml ──▶ pod web-NODE, by whose content its uid is ──▶ a worker
                                        └──▶ a mirror pod: seen by kubectl, and deleted and changed in vain

A file that makes no sense is told of, and what it was before stays. Files are replaced by renaming another over them.
Source: kubernetes pkg/kubelet/config/{file,common}.go, pkg/kubelet/pod/mirror_client.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import orjson
from asyncinotify import Inotify, Mask

from netlab.api import Json, times
from netlab.api.defaults.pods import pod as defaults
from netlab.api.validation.pods import pod_spec
from netlab.base import manifests
from netlab.base.errors import InputError, Problem
from netlab.kubelet.pods import HASH, MIRROR, SOURCE

log = logging.getLogger("kubelet")

SEEN = "kubernetes.io/config.seen"
SUFFIXES = (".yaml", ".yml", ".json", ".manifest")
_CHANGES = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.CLOSE_WRITE
#: seconds in which several changes count as one; after which a directory that is not there is looked for again
SETTLE, AGAIN = 0.05, 10.0


def static_pod(data: Json, node: str, place: str, now: float) -> Json:
    """A manifest as the pod of a node. InputError."""
    if not isinstance(data, dict) or data.get("kind") != "Pod" or not isinstance(data.get("spec"), dict):
        raise InputError([Problem(place, "is no Pod", "a static pod has kind Pod and a spec")])
    pod = copy.deepcopy(data)
    meta = pod.setdefault("metadata", {})
    if not isinstance(meta, dict) or not meta.get("name"):
        raise InputError([Problem(place, "the pod has no name")])
    content = orjson.dumps([data, node, place], option=orjson.OPT_SORT_KEYS)
    meta["uid"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    meta["name"], meta["namespace"] = f"{meta['name']}-{node}", meta.get("namespace") or "default"
    meta["creationTimestamp"] = times.seconds(now)
    own = {HASH: meta["uid"], SEEN: times.seconds(now), SOURCE: "file"}
    meta["annotations"] = {**(meta.get("annotations") or {}), **own}
    spec = pod["spec"]
    spec["nodeName"] = node
    spec["tolerations"] = [*(spec.get("tolerations") or ()), {"operator": "Exists", "effect": "NoExecute"}]
    pod["apiVersion"], pod["status"] = "v1", {}
    defaults(pod)
    errors = pod_spec(spec, "spec")
    if errors:
        raise InputError([Problem(place, f"{e.field}: {e.detail}") for e in errors])
    return pod


def mirror_of(pod: Json, node: Json) -> Json:
    """What stands for a static pod in the API."""
    meta = node["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": meta["name"], "uid": meta.get("uid", ""), "controller": True}
    own = pod["metadata"]
    kept = {name: own[name] for name in ("name", "namespace", "labels") if own.get(name)}
    annotations = {**own["annotations"], MIRROR: own["annotations"][HASH]}
    return {
        "apiVersion": "v1", "kind": "Pod", "spec": pod["spec"],
        "metadata": {**kept, "annotations": annotations, "ownerReferences": [owner]},
    }  # fmt: skip


class Manifests:
    """The pods of a directory, for a node."""

    def __init__(self, directory: Path, node: str) -> None:
        self.directory, self._node = directory, node
        self._kept: dict[Path, list[Json]] = {}
        self._told: set[str] = set()

    def look(self, now: float) -> dict[str, Json]:
        """As they are now (seconds since 1970), by uid."""
        files = (
            sorted(p for p in self.directory.glob("[!.]*") if p.suffix in SUFFIXES) if self.directory.is_dir() else []
        )
        found: dict[Path, list[Json]] = {}
        problems: set[str] = set()
        for path in files:
            try:
                text = path.read_text(encoding="utf-8")
                found[path] = [static_pod(m.data, self._node, m.place(), now) for m in manifests.parse(text, str(path))]
            except InputError as e:
                problems.add(e.message)
                found[path] = self._kept.get(path, [])
            except (OSError, UnicodeDecodeError) as e:
                problems.add(f"{path}: {e}")
                found[path] = self._kept.get(path, [])
        for problem in sorted(problems - self._told):
            log.warning("%s; what it was before stays", problem)
        self._told, self._kept = problems, found
        return {pod["metadata"]["uid"]: pod for listed in found.values() for pod in listed}

    async def changes(self) -> AsyncGenerator[None, None]:
        """At once, and then whenever something in the directory is another."""
        while True:
            with Inotify() as inotify:
                there = self.directory.is_dir()
                if there:
                    inotify.add_watch(self.directory, _CHANGES | Mask.DELETE_SELF | Mask.MOVE_SELF)
                yield  # what happens from here on is told
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if there else AGAIN):
                        await inotify.get()
                with contextlib.suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(SETTLE):
                            await inotify.get()
