"""volumeMounts: which directory or file of the node is to be seen where in a container."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from netlab.api import Json
from netlab.kernel import mounts
from netlab.kubelet.making import subpaths
from netlab.kubelet.making.expansion import expand
from netlab.kubelet.making.fields import quoted
from netlab.kubelet.making.volumes import PLUGINS, Volumes, kind_of
from netlab.kubelet.making.world import Missing
from netlab.runtime.spec import Mount, Propagation

_PROPAGATION: dict[str, Propagation] = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}


class Binder:
    """Of one container. variables: its own, for subPathExpr."""

    def __init__(self, volumes: Volumes, pod: Json, container: Json, variables: Mapping[str, str]) -> None:
        self._volumes, self._pod, self._container, self._variables = volumes, pod, container, variables

    def mounts(self) -> Iterator[Mount]:
        """As the runtime is told. What a subPath needs is made. Missing (CreateContainerConfigError)."""
        known = {volume["name"]: volume for volume in self._pod["spec"].get("volumes") or ()}
        for number, mount in enumerate(self._container.get("volumeMounts") or ()):
            volume = known.get(mount["name"])
            if volume is None:
                raise _missing(
                    f"cannot find volume {quoted(mount['name'])} to mount into container "
                    f"{quoted(self._container['name'])}"
                )
            path, read_only = self._volumes.path(self._pod, volume)
            if kind_of(volume) not in PLUGINS:
                path = _there(path)
            if (text := self._sub(mount)) is not None:
                path = self._bound(path, text, mount["name"], number)
            yield Mount(
                str(path), "/" + mount["mountPath"].lstrip("/"), bool(mount.get("readOnly")) or read_only,
                _PROPAGATION[mount.get("mountPropagation") or "None"],
                recursive=mount.get("recursiveReadOnly") == "Enabled",
            )  # fmt: skip

    def _sub(self, mount: Json) -> str | None:
        """What part of the volume is meant, with its variables in it; None for all of it."""
        if not mount.get("subPathExpr"):
            return subpaths.checked(mount["subPath"]) if mount.get("subPath") else None
        lacking: set[str] = set()

        def value(name: str) -> str:
            if not self._variables.get(name):
                lacking.add(name)
            return self._variables.get(name, "")

        text = expand(mount["subPathExpr"], value)
        if lacking:
            raise _missing(f"missing value for {', '.join(sorted(lacking))}")
        return subpaths.checked(text) if text else None

    def _bound(self, volume: Path, text: str, name: str, number: int) -> Path:
        """A part of a volume, bound where no link leads to: what the runtime opens there is what was looked at."""
        of_pod = self._volumes.of(self._pod["metadata"]["uid"])
        target = of_pod / "volume-subpaths" / name / str(self._container["name"]) / str(number)
        fd = subpaths.opened(volume, text, mount=name, container=self._container["name"])
        try:
            while mounts.unmount(target):  # of the container's last life
                pass
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                if target.is_file():
                    target.unlink()
                target.mkdir(exist_ok=True)
            else:
                if target.is_dir():
                    target.rmdir()
                target.touch()
            mounts.bind(fd, target)
        finally:
            os.close(fd)
        return target


def _there(path: Path) -> Path:
    """A path of the node, made a directory if there is nothing, as container engines do. Missing."""
    try:
        if not path.exists():
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return Path(os.path.realpath(path, strict=True))
    except OSError as e:
        raise Missing("CreateContainerError", f"failed to mkdir {quoted(str(path))}: {e.strerror}") from e


def _missing(message: str) -> Missing:
    return Missing("CreateContainerConfigError", message)
