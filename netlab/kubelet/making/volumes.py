"""Volumes of a pod: made and filled, found again by the name that Kubernetes has for them, and taken away.

What is made of API objects lies in memory, as the original has it (no secret reaches a disk); an emptyDir lies where
the kubelet's directory is. hostPath and what a claim is bound to is used in place. Every other kind is refused by name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from netlab.api import Json
from netlab.api.quantity import value
from netlab.base.errors import KernelError
from netlab.kernel import mounts
from netlab.kubelet.making import atomic, hostpaths, owning, payload, resources
from netlab.kubelet.making.fields import quoted
from netlab.kubelet.making.payload import Payload
from netlab.kubelet.making.world import Missing, NodeFacts, World

#: a kind of volume by its field, and the plug-in whose name its directory has; first those that are made of API objects
OBJECTS = {"configMap": "configmap", "secret": "secret", "downwardAPI": "downward-api", "projected": "projected"}
PLUGINS = {**OBJECTS, "emptyDir": "empty-dir"}
#: directories that everybody may write to
_OPEN = 0o777


def kind_of(volume: Json) -> str:
    """The field that says what a volume is."""
    return next((key for key, said in volume.items() if key != "name" and said is not None), "emptyDir")


def failed(name: str, error: Missing) -> Missing:
    """The same, with the volume's name in front."""
    return Missing("FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {error}')


class Volumes:
    """Of all pods; directory: ROOT/pods. Whatever is called here blocks."""

    def __init__(self, directory: Path, world: World, node: NodeFacts) -> None:
        self._directory, self._world, self._node = directory, world, node

    def of(self, uid: str) -> Path:
        """All that is kept of a pod."""
        return self._directory / uid

    # -- making

    def make(self, pod: Json, volume: Json, tokens: Mapping[int, str]) -> None:
        """One volume, any number of times. tokens: by the number of their projected source. Missing (FailedMount)."""
        kind = kind_of(volume)
        if kind in OBJECTS:
            self._filled(pod, volume, kind, tokens)
        elif kind == "emptyDir":
            self._empty(pod, volume)
        else:
            self._elsewhere(pod, volume)

    def _filled(self, pod: Json, volume: Json, kind: str, tokens: Mapping[int, str]) -> None:
        files = self._payload(pod, volume[kind], kind, tokens)
        payload.checked(files)
        path = self._plugin(pod, volume)
        path.mkdir(parents=True, exist_ok=True)
        group = _group(pod)
        if not path.is_mount():
            mounts.tmpfs(path, _mode(0o755, group, read_only=True))

        def own(new: Path) -> None:
            if group is not None:
                owning.give(new, group, read_only=True)

        atomic.write(path, files, own)

    def _payload(self, pod: Json, source: Json, kind: str, tokens: Mapping[int, str]) -> Payload:
        said = source.get("defaultMode")
        mode = payload.DEFAULT_MODE if said is None else int(said)
        namespace = pod["metadata"]["namespace"]
        match kind:
            case "configMap":
                return payload.configmap(self._world, namespace, source, mode)
            case "secret":
                return payload.secret(self._world, namespace, source, mode)
            case "downwardAPI":
                return payload.downward(pod, source, mode, self._node)
            case _:
                return payload.projected(pod, source, self._world, self._node, tokens, mode=mode)

    def _empty(self, pod: Json, volume: Json) -> None:
        source, path, group = volume.get("emptyDir") or {}, self._plugin(pod, volume), _group(pod)
        medium = source.get("medium") or ""
        if medium == "Memory":
            path.mkdir(parents=True, exist_ok=True)
            if not path.is_mount():
                size = self._memory(pod, source)
                options = _mode(_OPEN, group, read_only=False)
                mounts.tmpfs(path, f"size={size},{options}" if size else options)
        elif medium:
            raise Missing(
                "FailedMount", f"storage medium {quoted(medium)} is not supported here: leave it out, or Memory"
            )
        elif not path.exists():
            # it gets its name when it is as it should be: who is killed in between makes it again
            new = path.with_name(f".{path.name}.new")
            new.mkdir(parents=True, exist_ok=True)
            new.chmod(_OPEN)
            if group is not None:
                owning.give(new, group, read_only=False)
            new.rename(path)

    def _memory(self, pod: Json, source: Json) -> int:
        """Bytes of an emptyDir in memory: no more than the pod may have; 0 for the kernel's own measure."""
        most = [
            int(value(str(source.get("sizeLimit") or "0"))),
            resources.pod_limits(pod["spec"], None).memory or 0,
            int(value(self._node.allocatable.get("memory", "0"))),
        ]
        return min((size for size in most if size), default=0)

    def _elsewhere(self, pod: Json, volume: Json) -> None:
        """What is not the kubelet's: it is looked at, and given to the pod's group if it is the pod's alone."""
        source = self._place(pod, volume)
        if "hostPath" in source:
            hostpaths.provide(Path(source["hostPath"]["path"]), source["hostPath"].get("type") or "")
            return
        path, group = Path(source["local"]["path"]), _group(pod)
        if not path.is_dir():
            raise Missing("FailedMount", f'path "{path}" does not exist')
        marker = self.of(pod["metadata"]["uid"]) / "volumes" / "kubernetes.io~local-volume" / volume["name"]
        if not marker.exists():
            if group is not None:
                policy = (pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy")
                owning.give(path, group, read_only=False, unless_given=policy == "OnRootMismatch")
            marker.mkdir(parents=True)

    # -- finding

    def path(self, pod: Json, volume: Json) -> tuple[Path, bool]:
        """Where a volume is, and whether it is only to be read. Missing."""
        kind = kind_of(volume)
        if kind in PLUGINS:
            return self._plugin(pod, volume), kind in OBJECTS
        source = self._place(pod, volume)
        place = source.get("hostPath") or source["local"]
        return Path(place["path"]), bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))

    def _plugin(self, pod: Json, volume: Json) -> Path:
        name = f"kubernetes.io~{PLUGINS[kind_of(volume)]}"
        return self.of(pod["metadata"]["uid"]) / "volumes" / name / str(volume["name"])

    def _place(self, pod: Json, volume: Json) -> Json:
        """A source that is a hostPath or local. Missing for every other."""
        kind = kind_of(volume)
        if kind == "hostPath":
            return volume
        if kind not in ("persistentVolumeClaim", "ephemeral"):
            raise _unknown(kind)
        own = f"{pod['metadata']['name']}-{volume['name']}"
        name = volume["persistentVolumeClaim"]["claimName"] if kind == "persistentVolumeClaim" else own
        claim = self._world.claim(pod["metadata"]["namespace"], name)
        if claim is None:
            raise Missing("FailedMount", f'persistentvolumeclaim "{name}" not found')
        if kind == "ephemeral" and not _owned(claim, pod):
            raise Missing(
                "FailedMount", f"PVC {name} was not created for pod {pod['metadata']['name']} (pod is not owner)"
            )
        bound = (claim.get("status") or {}).get("phase") == "Bound"
        found = self._world.volume(claim["spec"].get("volumeName") or "") if bound else None
        if found is None:
            raise Missing("FailedMount", f'persistentvolumeclaim "{name}" is not bound')
        source = kind_of({k: v for k, v in found["spec"].items() if k in _PERSISTENT})
        if source not in ("hostPath", "local"):
            raise _unknown(source)
        return {source: found["spec"][source]}

    # -- watching and taking away

    def overfull(self, pod: Json) -> list[str]:
        """emptyDirs on disk with more in them than they may have."""
        found = []
        for volume in pod["spec"].get("volumes") or ():
            source = volume.get("emptyDir") or {}
            if source.get("sizeLimit") and source.get("medium") != "Memory":
                limit = source["sizeLimit"]
                if _used(self._plugin(pod, volume)) > int(value(str(limit))):
                    found.append(f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". ')
        return found

    def release(self, uid: str) -> None:
        """All that there is of a pod. KernelError."""
        directory = self.of(uid)
        for target in mounts.below(directory):
            mounts.unmount(target)
        if mounted := mounts.below(directory):  # never delete into what is somebody else's
            raise KernelError(f"{mounted[0]} is still mounted")
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            pass
        except OSError as e:
            raise KernelError(f"{e.filename}: {e.strerror}", errno_=e.errno or 0) from e


#: what a PersistentVolume may be made of, of which two are known here
_PERSISTENT = (
    "hostPath", "local", "nfs", "csi", "iscsi", "rbd", "cephfs", "glusterfs", "fc", "flexVolume", "cinder",
    "awsElasticBlockStore", "gcePersistentDisk", "azureDisk", "azureFile", "vsphereVolume",
)  # fmt: skip


def _unknown(kind: str) -> Missing:
    return Missing(
        "FailedMount", f"no volume plugin matched: {kind} is not supported here; hostPath, emptyDir, configMap, "
        "secret, downwardAPI, projected are, and claims that are bound to a volume of hostPath or local",
    )  # fmt: skip


def _owned(claim: Json, pod: Json) -> bool:
    references = claim["metadata"].get("ownerReferences") or ()
    return any(ref.get("controller") and ref.get("uid") == pod["metadata"]["uid"] for ref in references)


def _group(pod: Json) -> int | None:
    return (pod["spec"].get("securityContext") or {}).get("fsGroup")


def _mode(mode: int, group: int | None, *, read_only: bool) -> str:
    """A tmpfs's root, as its options have it: right from the first moment."""
    if group is None:
        return f"mode={mode:o}"
    return f"mode={owning.mode_for(mode, directory=True, read_only=read_only):o},gid={group}"


def _used(directory: Path) -> int:
    """Bytes on the disk of all that is in a directory, as du(1) counts: a file with two names once."""
    seen: set[int] = set()
    total = 0
    for entry in _entries(directory):
        with contextlib.suppress(FileNotFoundError):
            found = entry.stat(follow_symlinks=False)
            if found.st_ino not in seen or not stat.S_ISREG(found.st_mode):
                seen.add(found.st_ino)
                total += found.st_blocks * 512
    return total


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as listed:
            entries = list(listed)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))
